"""Words about provider accounts: what each option is, and what is wrong with what was entered.

Options are known by their own names, whoever's they are; one that is not here shows its name, and the
description that its provider declares.
"""

import re
from functools import cache

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from regulars.dashboard import elsewhere
from regulars.dashboard.words import Words, in_words

OPTIONS: dict[str, Words] = {
    "access_key_id": _("Access key id"),
    "access_token": _("Access token"),
    "account_sid": _("Account SID"),
    "api_key": _("API key"),
    "api_version": _("Version of the API"),
    "auth_token": _("Auth token"),
    "base_url": _("Another address of the provider"),
    "business_account_id": _("Id of the WhatsApp business account"),
    "configuration_set": _("Configuration set"),
    "content_url": _("Address of its templates"),
    "delay_ms": _("How long a call takes, in milliseconds"),
    "die_addresses": _("Addresses that stop the worker"),
    "die_share": _("Share that stops the worker"),
    "domain": _("Domain"),
    "from": _("Who sends SMS"),
    "from_address": _("E-mail address of the sender"),
    "from_name": _("Name of the sender"),
    "host": _("Mail server"),
    "marketing_callback_data": _("Send our message number along with advertising"),
    "marketing_endpoint": _("Where advertising goes"),
    "marketing_stream": _("Stream of marketing"),
    "password": _("Password"),
    "phone_number_id": _("Id of the phone number"),
    "port": _("Port"),
    "portfolio_id": _("Id of the business"),
    "product_policy": _("What becomes of advertising that is not taken there"),
    "region": _("Region"),
    "reject_addresses": _("Addresses that are refused"),
    "reject_share": _("Share that is refused"),
    "secret_access_key": _("Secret access key"),
    "security": _("Encryption"),
    "server_token": _("Server token"),
    "sms_sender": _("Who sends SMS"),
    "throttle_addresses": _("Addresses that have to wait"),
    "throttle_share": _("Share that has to wait"),
    "timeout_addresses": _("Addresses without an answer"),
    "timeout_share": _("Share without an answer"),
    "transactional_stream": _("Stream of messages about bookings"),
    "username": _("User name"),
    "validity_seconds": _("How many seconds the provider may try"),
    "whatsapp_from": _("Who sends WhatsApp"),
    "whatsapp_sender": _("Who sends WhatsApp"),
}
HINTS: dict[str, Words] = {
    "account_sid": _("AC and 32 letters and digits, from the provider's console."),
    "base_url": _("Only for another region or a proxy. Empty: the provider's usual address."),
    "business_account_id": _("Whose templates are used."),
    "configuration_set": _("Where it reports what becomes of a letter. Empty: it does not."),
    "die_addresses": _("For tests: whole addresses or their endings, with commas between them."),
    "from": _(
        "A number such as +12015550100, a name of up to 11 characters, or a messaging service (MG…). "
        "Empty: no SMS."
    ),
    "from_address": _("One that the provider lets you write from."),
    "phone_number_id": _("The provider's id of the number, not the number itself."),
    "port": _("Empty: 587, 465 or 25, as the encryption says."),
    "portfolio_id": _("Numbers of one business share its daily limit. Empty: the business account."),
    "region": _("Such as eu-west-1: the one whose senders are verified."),
    "reject_addresses": _("Whole addresses or their endings, with commas between them."),
    "reject_share": _("From 0 to 1."),
    "sms_sender": _("A name of up to 11 letters and digits, or up to 15 digits. Empty: no SMS."),
    "validity_seconds": _("Short, so that nothing held up in the evening arrives at night."),
    "whatsapp_from": _("A number such as +12015550100, or a messaging service (MG…). Empty: no WhatsApp."),
    "whatsapp_sender": _("The number with its country, such as 12015550100. Empty: no WhatsApp."),
}
# Choices by option and value; others are shown as they are.
CHOICES: dict[tuple[str, str], Words] = {
    ("product_policy", ""): _("as the provider does by itself"),
    ("security", "none"): _("no encryption"),
    ("security", "starttls"): _("STARTTLS (usual)"),
    ("security", "tls"): _("TLS from the first byte"),
}
# Few ever change these: they come last, folded away.
RARE = {
    *("api_version", "base_url", "content_url", "validity_seconds"),
    *("marketing_endpoint", "product_policy", "marketing_callback_data", "portfolio_id"),
    *("die_share", "die_addresses"),
}
LIMITS: dict[str, Words] = {
    "per_second": _("Messages a second"),
    "per_minute": _("Messages a minute"),
    "per_day": _("Messages a day"),
    "recipients_per_day": _("WhatsApp guests in 24 hours"),
}
CATEGORIES: dict[str, Words] = {
    "marketing": _("Marketing"),
    "utility": _("Utility"),
    "authentication": _("Authentication"),
}
APPROVALS: dict[str, Words] = {
    "approved": _("approved"),
    "pending": _("waiting for approval"),
    "rejected": _("rejected"),
    "paused": _("paused for its quality"),
    "disabled": _("disabled"),
}
APPROVAL_TONES = {"approved": "good", "pending": "busy", "paused": "doubt"}


def option(name: str) -> str:
    """What an option is called."""
    return in_words(OPTIONS, name)


def hint(name: str, declared: str) -> str:
    """What to enter, in a sentence; `declared` is what the provider itself says of it."""
    return str(HINTS.get(name) or declared)


def choice(name: str, value: str) -> str:
    """One of the values that an option can have."""
    return str(CHOICES.get((name, value)) or value)


def fault(text: str) -> str:
    """What is wrong, in the reader's language; words that are not known stay as they are."""
    for words in elsewhere.ACCOUNT_FAULTS:
        if found := _form_of(words).fullmatch(text):
            return gettext(words).format(**found.groupdict())
    return text


@cache
def _form_of(words: str) -> re.Pattern[str]:
    """What a sentence looks like once its places, such as `{least}`, are filled in."""
    parts = re.split(r"\{(\w+)\}", words)
    return re.compile(
        "".join(f"(?P<{part}>.*)" if place % 2 else re.escape(part) for place, part in enumerate(parts)),
        re.DOTALL,
    )
