"""The one form in which a phone number or an e-mail address is kept, compared and fingerprinted.

Owns normalisation and the Address rows of one customer. Asks no network: whether an address works
is learned from the provider that tries it.
"""

import hashlib
import hmac
import re
from functools import lru_cache

import phonenumbers
from django.db import transaction
from email_validator import EmailNotValidError, validate_email

from regulars.customers.models import Address, Channel, Customer
from regulars.organizations.models import Organization

LANDLINE = "landline"
# What one contact detail of a customer makes reachable; both share the text.
PHONE_CHANNELS = (Channel.WHATSAPP, Channel.SMS)
EMAIL_CHANNELS = (Channel.EMAIL,)
# E.164 allows fifteen digits; people add signs, spaces and an extension, never this many.
LONGEST_PHONE_TEXT = 60
# Meta's business-scoped user id: country, a dot, up to 128 letters and digits; `ENT` for one that a
# parent business shares.
_USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
# RFC 5321, 4.5.3.1.3: a path has 256 octets, two of them angle brackets.
LONGEST_EMAIL = 254


class AddressError(ValueError):
    """No message could reach such an address; the text says why."""


def normalise_phone(text: str, country: str) -> str:
    """`text` in E.164 (`+34612345678`); without a country code it is a number of `country` (ISO 3166).

    Raises:
        AddressError: no phone number, or none that exists in its country's numbering plan.
    """
    return _normalise_phone(text.strip(), country.upper())


@lru_cache(maxsize=4096)
def _normalise_phone(text: str, country: str) -> str:
    if len(text) > LONGEST_PHONE_TEXT:
        raise AddressError("is too long for a phone number")
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        raise AddressError("is not a phone number; write it like +34 612 345 678") from None
    if not phonenumbers.is_valid_number(number):
        raise AddressError(
            f"is no valid number in {country} or its own country; write it with its country code,"
            " like +34 612 345 678"
        )
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


@lru_cache(maxsize=4096)
def is_landline(number: str) -> bool:
    """Whether `number` (E.164) can only be a fixed line, which takes no SMS (E26).

    Countries that do not tell fixed from mobile (the United States) are given the benefit of doubt.
    """
    kind = phonenumbers.number_type(phonenumbers.parse(number, None))
    return bool(kind == phonenumbers.PhoneNumberType.FIXED_LINE)


def normalise_user_id(text: str) -> str:
    """`text` as a WhatsApp user id (`ES.1349…`), which stands in place of a number that a guest hides.

    Raises:
        AddressError: it has another form.
    """
    text = text.strip()
    if not _USER_ID.fullmatch(text):
        raise AddressError("is not a WhatsApp user id; it looks like ES.13491208655302741918")
    return text


def normalise_email(text: str) -> str:
    """`text` in the canonical form: NFC, domain in Unicode, all in lower case.

    Lower case also before the @: the standard lets servers tell them apart, none that matters does,
    and one guest typed twice must not hear twice.

    Raises:
        AddressError: not an e-mail address that could exist; no DNS is asked.
    """
    text = text.strip()
    if len(text) > LONGEST_EMAIL:
        raise AddressError("is too long for an e-mail address")
    try:
        normal = validate_email(text, check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise AddressError(f"is not an e-mail address: {error}") from None
    if len(normal) > LONGEST_EMAIL:
        raise AddressError("is too long for an e-mail address")
    return normal


def fingerprint(organization: Organization, address: str) -> bytes:
    """32 bytes that stand for the normalised `address` within `organization` and cannot be undone.

    HMAC-SHA256 under the organization's key: a suppression outlives the erasure of the address.
    """
    return hmac.digest(bytes(organization.fingerprint_key), address.encode(), hashlib.sha256)


def bad_reason_of(channel: str, address: str) -> str:
    """Why `address` cannot be used on `channel`, as far as the text itself tells, or empty."""
    return LANDLINE if channel in PHONE_CHANNELS and is_landline(address) else ""


def set_addresses(customer: Customer, *, phone: str | None = None, email: str | None = None) -> bool:
    """Make `phone` the customer's number for WhatsApp and SMS, and `email` the e-mail address.

    None leaves a contact detail as it is, an empty text takes it away. A row that already says so
    is not rewritten, so that a known `bad_reason` stays. Returns whether anything changed.

    Raises:
        AddressError: from the normalisation; then nothing is written.
    """
    organization = customer.organization
    wanted: dict[str, str] = {}
    if phone is not None:
        number = normalise_phone(phone, organization.country) if phone.strip() else ""
        wanted |= dict.fromkeys(PHONE_CHANNELS, number)
    if email is not None:
        mailbox = normalise_email(email) if email.strip() else ""
        wanted |= dict.fromkeys(EMAIL_CHANNELS, mailbox)
    with transaction.atomic():
        # Two writers of one customer take turns, so that neither leaves a second address behind.
        Customer.objects.select_for_update(no_key=True).only("id").get(pk=customer.pk)
        changes = [_replace(customer, channel, address) for channel, address in wanted.items()]
    return any(changes)


def set_whatsapp_user_id(customer: Customer, portfolio: str, user_id: str) -> bool:
    """Make `user_id` the way in which accounts of `portfolio` reach the customer without a number.

    It changes when the guest's number does, so there is one for each portfolio; it comes after a
    number that we know. An empty text takes it away. Returns whether anything changed.

    Raises:
        AddressError: no user id, or no portfolio that it belongs to; then nothing is written.
    """
    if not portfolio:
        raise AddressError("has no portfolio: a user id means nothing without the business it is for")
    wanted = normalise_user_id(user_id) if user_id.strip() else ""
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).only("id").get(pk=customer.pk)
        return _replace(customer, Channel.WHATSAPP, wanted, portfolio)


def _replace(customer: Customer, channel: str, address: str, portfolio: str = "") -> bool:
    """Leave exactly `address` (or none) of `portfolio` on `channel`; whether that changed a row."""
    held = Address.objects.filter(customer=customer, channel=channel)
    rows = held.filter(portfolio=portfolio)
    # What was said to be of another business before has moved.
    removed, _ = (
        rows.exclude(address=address) | held.filter(address=address).exclude(portfolio=portfolio)
    ).delete()
    if not address or rows.exists():
        return removed > 0
    Address.objects.create(
        organization_id=customer.organization_id,
        customer=customer,
        channel=channel,
        address=address,
        fingerprint=fingerprint(customer.organization, address),
        bad_reason="" if portfolio else bad_reason_of(channel, address),
        portfolio=portfolio,
        position=1 if portfolio else 0,
    )
    return True
