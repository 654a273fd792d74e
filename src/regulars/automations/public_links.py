"""Whether the links in messages lead anywhere: guests need an address at which they reach us."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from django.conf import settings

from regulars.automations.accounts import AccountError, accounts_by_channel, options_of
from regulars.automations.models import ProviderAccount
from regulars.automations.problems import Problem
from regulars.customers.models import Channel, Purpose
from regulars.lib.secret_box import SecretUnreadableError
from regulars.organizations.models import Organization
from regulars.providers import registry

MISSING = (
    "Advertising needs a link by which guests unsubscribe, and there is no address at which they could "
    "reach it: set REGULARS_PUBLIC_URL to the https:// address of this installation and restart it."
)
INSECURE = (
    "Mail services use a link to unsubscribe only if it begins with https:// (RFC 8058): put a TLS proxy "
    "in front, and set REGULARS_PUBLIC_URL accordingly."
)
_HERE = {"127.0.0.1", "::1", "localhost"}


def link_problems(organization: Organization, purpose: Purpose, channels: Sequence[str]) -> list[Problem]:
    """Why an automation of this purpose may not be switched on: its link would lead nowhere."""
    if purpose != Purpose.MARKETING or organization.is_demo:
        return []
    found = {
        words: None
        for channel, account in accounts_by_channel(organization).items()
        if channel in channels and (words := missing_link(account, channel))
    }
    return [Problem(path="channels", problem=words) for words in found]


def missing_link(account: ProviderAccount, channel: str) -> str:
    """Why advertising on `channel` may not leave through `account`: it needs a link, and none leads
    anywhere. Empty: it may."""
    return no_links(account.kind) if channel == Channel.EMAIL or not _takes_replies(account, channel) else ""


def _takes_replies(account: ProviderAccount, channel: str) -> bool:
    """Of an account that cannot be used as it is nobody knows; that is told elsewhere."""
    try:
        return registry.get(account.kind).takes_replies(options_of(account), channel)
    except (AccountError, SecretUnreadableError):
        return True


def no_links(kind: str) -> str:
    """Why links in what leaves through an account of this kind would lead nowhere, or empty.

    What goes to the sandbox reaches nobody but who sits at this machine.
    """
    if kind == "sandbox":
        return ""
    if not settings.PUBLIC_URL:
        return MISSING
    parts = urlsplit(settings.PUBLIC_URL)
    return "" if parts.scheme == "https" or parts.hostname in _HERE else INSECURE
