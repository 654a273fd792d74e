"""The ways in which an automation can reach its guests: channel, account, and what each asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from regulars.automations import triggers
from regulars.automations.accounts import accounts_by_channel
from regulars.automations.models import AutomationVersion, ProviderAccount
from regulars.automations.provider_templates import activation_problems
from regulars.automations.tact import tact_of
from regulars.customers.models import Channel
from regulars.organizations.models import Organization
from regulars.providers import registry

# The ways as a relation, the preferred one first; columns channel, account_id, portfolio, windowed,
# preference. `windowed`: only guests who have just written can be reached (`customers.service_window`).
RELATION = """unnest(%(channels)s::text[], %(accounts)s::bigint[], %(portfolios)s::text[],
                %(windowed)s::boolean[])
         WITH ORDINALITY AS wanted (channel, account_id, portfolio, windowed, preference)"""


def closed(address: str, now: str) -> str:
    """The condition under which WhatsApp takes no free text to this address; arguments are SQL."""
    return f"coalesce({address}.last_inbound_at <= {now} - interval '24 hours', TRUE)"


def doubtful(organization: Organization, *, marketing: bool, now: datetime) -> tuple[str, dict[str, Any]]:
    """The condition under which a number may be somebody else's by now (E26), and its parameters.

    About the columns of `address` and of the `consent` beside it. What counts is the guest's own word, by
    which the number was confirmed: agreeing, or writing from it. FALSE where nobody asks for it.
    """
    days = tact_of(organization.tact).numbers_confirmed_within_days
    if days is None or not marketing:
        return "FALSE", {}
    last = "greatest(address.last_inbound_at, consent.at)"
    text = f"(address.channel <> 'email' AND coalesce({last} < %(confirmed_since)s, FALSE))"
    return text, {"confirmed_since": now - timedelta(days=days)}


def parts_of(ways: "Sequence[Way]", now: str) -> dict[str, str]:
    """The parts of a query about these ways: only what one of them asks for is asked.

    What is always the same is said so: the database would estimate it, and badly.
    """
    windowed = any(way.windowed for way in ways)
    return {
        "ways": RELATION,
        "portfolio": "IN ('', wanted.portfolio)" if any(way.portfolio for way in ways) else "= ''",
        "closed": f"wanted.windowed AND {closed('address', now)}" if windowed else "FALSE",
        "stopped_last": "stopped, " if windowed else "",
    }


class AutomationNotReadyError(Exception):
    """The automation cannot run: something that it needs is missing. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Way:
    """A channel of the automation with the account that sends on it."""

    channel: str
    account_id: int
    portfolio: str
    windowed: bool


def ways_of(version: AutomationVersion) -> list[Way]:
    """The channels in the automation's order, those without an account left out."""
    accounts = accounts_by_channel(version.automation.organization)
    usable = [channel for channel in version.channels if channel in accounts]
    return [
        Way(
            channel,
            accounts[channel].pk,
            accounts[channel].portfolio,
            is_windowed(version, accounts[channel], channel),
        )
        for channel in usable
    ]


def is_windowed(version: AutomationVersion, account: ProviderAccount, channel: str) -> bool:
    """Whether the account takes nothing but approved templates there, and the automation names none."""
    if channel not in registry.get(account.kind).template_channels:
        return False
    return not version.templates.filter(channel=channel).exclude(provider_template="").exists()


def ready_ways_of(version: AutomationVersion) -> list[Way]:
    """The ways of a version that may be used now.

    Raises:
        AutomationNotReadyError: there is no account for any channel, or a template that the provider keeps
            cannot be used (any more): another account may have taken the channel since.
    """
    ways = ways_of(version)
    if not ways:
        wanted = ", ".join(version.channels)
        raise AutomationNotReadyError(
            f"No provider account can send on {wanted}. Add one: regulars provider add NAME --kind KIND"
        )
    if any(way.channel == Channel.WHATSAPP for way in ways) and (problem := _template_problem(version)):
        raise AutomationNotReadyError(problem)
    return ways


def _template_problem(version: AutomationVersion) -> str:
    automation = version.automation
    texts = list(version.templates.exclude(provider_template=""))
    purpose = triggers.get(automation.trigger).purpose
    found = activation_problems(automation.organization, purpose, texts) if texts else []
    return " ".join(dict.fromkeys(item["problem"] for item in found))


def values_of(ways: Sequence[Way]) -> dict[str, Any]:
    """The parameters of `RELATION`."""
    return {
        "channels": [way.channel for way in ways],
        "accounts": [way.account_id for way in ways],
        "portfolios": [way.portfolio for way in ways],
        "windowed": [way.windowed for way in ways],
    }
