"""A guest says no, or yes again: the verbs behind links, STOP messages and forms.

A no attaches to the address, so it binds everybody who shares it and outlives whoever is erased
(E23); the ledger of each of them says why. A yes is one person's: it takes back the stop on the
address, and nobody else's no.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from regulars.customers import consent
from regulars.customers.addresses import fingerprint
from regulars.customers.models import Address, Channel, Consent, Customer, Purpose, Suppression
from regulars.customers.suppression import standing, suppress
from regulars.organizations.models import Organization

OPT_OUT = "opt_out"
# The reply of somebody who has this number now and is not the guest (E26).
WRONG_PERSON = "wrong_person"


def opt_out(
    organization: Organization,
    address: str,
    channel: str,
    *,
    source: str,
    at: datetime,
    actor: str = "guest",
    evidence: Mapping[str, Any] | None = None,
) -> list[Customer]:
    """No marketing to the normalised `address` on `channel` any more, from this moment on.

    Returns the guests whose address it is; nobody, if we do not know it: the stop holds all the
    same. What waits to be sent is withheld at its turn. Repeating it changes nothing.
    """
    with transaction.atomic():
        suppress(organization, address, channel, OPT_OUT, source)
        guests = holders(organization, address, channel)
        _take_turns(guests)
        for guest in guests:
            withdraw(guest, channel, source=source, at=at, actor=actor, evidence=evidence)
    return guests


def withdraw(
    customer: Customer,
    channel: str,
    *,
    source: str,
    at: datetime,
    actor: str = "guest",
    evidence: Mapping[str, Any] | None = None,
) -> Consent | None:
    """The guest's no to marketing on `channel`, in the ledger alone; None if it was said before."""
    purpose = Purpose.MARKETING
    return consent.record(
        customer, channel, purpose, False, source=source, at=at, actor=actor, evidence=evidence
    )


def opt_out_customer(
    customer: Customer,
    channel: str,
    *,
    source: str,
    at: datetime,
    actor: str = "guest",
    evidence: Mapping[str, Any] | None = None,
) -> Consent | None:
    """The guest's no to marketing on `channel`, wherever it was said; it binds each address there.

    None if it was said before.
    """
    with transaction.atomic():
        mine = addresses_of(customer, channel)
        sharing = [guest for address in mine for guest in holders(customer.organization, address, channel)]
        _take_turns([customer, *sharing])
        said = withdraw(customer, channel, source=source, at=at, actor=actor, evidence=evidence)
        for address in mine:
            opt_out(
                customer.organization,
                address,
                channel,
                source=source,
                at=at,
                actor=actor,
                evidence=evidence,
            )
    return said


def opt_in(  # noqa: PLR0913 - as `consent.record`
    customer: Customer,
    channel: str,
    *,
    source: str,
    at: datetime,
    actor: str = "guest",
    wording: str = "",
    wording_version: str = "",
    basis: str = "consent",
    evidence: Mapping[str, Any] | None = None,
) -> Consent | None:
    """The guest personally says yes to marketing on `channel`.

    Takes back what opting out had stopped at the guest's addresses there; bounces, complaints and a
    person's decision stay. None if it was no news: then nothing is taken back either.
    """
    with transaction.atomic():
        said = consent.record(
            customer,
            channel,
            Purpose.MARKETING,
            True,
            source=source,
            at=at,
            actor=actor,
            wording=wording,
            wording_version=wording_version,
            basis=basis,
            evidence=evidence,
        )
        for address in addresses_of(customer, channel) if said else []:
            _take_back(customer.organization, address, channel)
    return said


def opt_in_again(
    organization: Organization, address: str, channel: str, *, source: str, at: datetime, actor: str = "guest"
) -> bool:
    """Whoever holds the normalised `address` says START: what was withdrawn there is granted again.

    Nobody gains by it what they never had: without a withdrawal on record only the stop is lifted. Any
    other suppression (a bounce, a complaint, an opt-out of everything) stays, and then nothing changes;
    nor does it where a no is as new as this yes. Returns whether anything changed.
    """
    against = standing(organization, address, channel)
    if any(row.reason != OPT_OUT or row.channel != channel for row in against):
        return False
    with transaction.atomic():
        guests = [one for one in holders(organization, address, channel) if has_withdrawn(one, channel)]
        _take_turns(guests)
        granted = [
            consent.record(guest, channel, Purpose.MARKETING, True, source=source, at=at, actor=actor)
            for guest in guests
        ]
        if None in granted:
            return False
        _take_back(organization, address, channel)
    return bool(against or granted)


def has_withdrawn(customer: Customer, channel: str) -> bool:
    """Whether the guest's last word about marketing on `channel` was a no."""
    rows = Consent.objects.filter(customer=customer, channel=channel, purpose=Purpose.MARKETING)
    return rows.filter(is_current=True, granted=False).exists()


def _take_turns(guests: Iterable[Customer]) -> None:
    """Hold all who are concerned before the first is written to, in one order: a couple that clicks at the
    same moment must not wait for each other in a circle."""
    ids = sorted(guest.pk for guest in guests)
    list(Customer.objects.select_for_update(no_key=True).only("id").filter(pk__in=ids).order_by("pk"))


def _take_back(organization: Organization, address: str, channel: str) -> None:
    """The stop of one channel; one for all channels goes on for the others."""
    mine = Suppression.objects.filter(
        organization=organization, fingerprint=fingerprint(organization, address), reason=OPT_OUT
    )
    whole = mine.filter(channel="").first()
    if whole is not None:
        for other in set(Channel.values) - {channel}:
            suppress(organization, address, other, OPT_OUT, whole.source)
        whole.delete()
    mine.filter(channel=channel).delete()


def addresses_of(customer: Customer, channel: str) -> list[str]:
    """The guest's normalised addresses on `channel`."""
    held = Address.objects.filter(customer=customer, channel=channel)
    return list(held.order_by("position", "pk").values_list("address", flat=True))


def holders(organization: Organization, address: str, channel: str) -> list[Customer]:
    """The guests who can be reached at the normalised `address` on `channel`."""
    held = Address.objects.filter(organization=organization, address=address, channel=channel)
    mine = Customer.objects.filter(pk__in=held.values("customer_id"))
    return list(mine.select_related("organization").order_by("pk"))


def wrong_person(organization: Organization, address: str, channel: str, at: datetime) -> int:
    """Somebody else has this address now: it is no way to any guest of ours, on this channel (E26).

    Returns how many guests it was taken from.
    """
    mine = Address.objects.filter(organization=organization, address=address, channel=channel)
    return mine.filter(bad_reason="").update(bad_reason=WRONG_PERSON, bad_since=at)
