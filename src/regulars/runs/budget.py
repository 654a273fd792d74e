"""What messages cost, and when a channel's money for the month is used up.

The price of a message is known before it is sent: by account, channel and number, an SMS times its
parts. What has been planned this month counts as spent unless it was withheld or refused. The rows of a
run are paid in their order; whoever is left when the money is gone is skipped with `budget`, by name.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from phonenumbers import country_code_for_region

from regulars.automations import triggers
from regulars.automations.models import Automation, AutomationVersion, Template
from regulars.automations.opt_outs import ending
from regulars.automations.rendering import compile_template
from regulars.automations.sms import sms_parts
from regulars.automations.tact import tact_of
from regulars.automations.templates import vocabulary_of
from regulars.customers.models import Channel, Purpose
from regulars.runs.partitions import floor_id

# The share of the month's money that is kept for those higher in the list: all of it may be used by
# the first, all but this by the last.
KEPT = Decimal("0.2")
NOTHING = "NULL::numeric"


def costs(version: AutomationVersion) -> tuple[str, dict[str, Any]]:
    """The SQL of what a verdict's message costs, over columns of `verdict`; null where no price is known."""
    organization = version.automation.organization
    prices = tact_of(organization.tact).prices
    if not prices:
        return NOTHING, {}
    accounts = dict(organization.accounts.values_list("name", "pk"))
    known = [price for price in prices if price.account in accounts]
    if not known:
        return NOTHING, {}
    parts = _parts(version)
    return _COST, {
        "price_accounts": [accounts[price.account] for price in known],
        "price_channels": [price.channel for price in known],
        "price_prefixes": [_prefix(price.channel, price.country) for price in known],
        "price_amounts": [price.amount for price in known],
        "part_languages": list(parts),
        "part_numbers": list(parts.values()),
        "part_language": organization.language,
        "part_most": max(parts.values(), default=1),
    }


def limits(automation: Automation, now: datetime) -> dict[str, Any]:
    """The parameters of `LEFT` for an automation; empty where it has no limit to keep to."""
    organization = automation.organization
    tact = tact_of(organization.tact)
    exempt = triggers.get(automation.trigger).purpose != Purpose.MARKETING
    if exempt or not tact.monthly_limits:
        return {}
    share = _share(automation)
    month = now.astimezone(ZoneInfo(organization.timezone)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return {
        "budget_channels": list(tact.monthly_limits),
        "budget_amounts": [amount * share for amount in tact.monthly_limits.values()],
        "budget_month": month,
        "budget_floor": floor_id(month),
    }


def _share(automation: Automation) -> Decimal:
    """How much of a month's money an automation may use up: near its end the lowest stops first."""
    alive = Automation.objects.filter(
        organization_id=automation.organization_id, deleted_at=None, enabled=True
    ).exclude(pk=automation.pk)
    kinds = [trigger.kind for trigger in triggers.all_triggers() if trigger.purpose == Purpose.MARKETING]
    places = sorted(
        [
            (automation.position, automation.created_at),
            *alive.filter(trigger__in=kinds).values_list("position", "created_at"),
        ]
    )
    above = places.index((automation.position, automation.created_at))
    return 1 - KEPT * above / max(1, len(places) - 1)


def _parts(version: AutomationVersion) -> Mapping[str, int]:
    """How many parts an SMS has, by language: of the text as it reads with the sample values."""
    trigger = triggers.get(version.automation.trigger)
    sample = vocabulary_of(trigger).sample
    return {
        text.language: sms_parts(_read(trigger, text, sample)).parts
        for text in version.templates.filter(channel=Channel.SMS)
    }


def _read(trigger: triggers.Trigger, text: Template, sample: Mapping[str, Any]) -> str:
    """An SMS as its reader gets it, with the sample values."""
    body = compile_template(text.channel, "", text.body).render(sample).body
    return body + ending(text.channel, body, text.language) if trigger.purpose == Purpose.MARKETING else body


def _prefix(channel: str, country: str) -> str:
    """What a number of this country begins with; empty: any."""
    if not country or channel == Channel.EMAIL:
        return ""
    return f"+{country_code_for_region(country)}"


_COST = """(
    SELECT price.amount * CASE WHEN verdict.channel <> 'sms' THEN 1 ELSE coalesce((
             SELECT part.number
               FROM unnest(%(part_languages)s::text[], %(part_numbers)s::int[]) part (language, number)
              WHERE part.language IN (verdict.language, left(verdict.language, 2), %(part_language)s)
              ORDER BY part.language = verdict.language DESC, part.language = left(verdict.language, 2) DESC
              LIMIT 1), %(part_most)s) END
      FROM unnest(%(price_accounts)s::bigint[], %(price_channels)s::text[], %(price_prefixes)s::text[],
                  %(price_amounts)s::numeric[]) price (account_id, channel, prefix, amount)
     WHERE price.account_id = verdict.account_id AND price.channel = verdict.channel
       AND starts_with(verdict.address, price.prefix)
     ORDER BY length(price.prefix) DESC LIMIT 1)"""

# What is left of the month's money by channel, for this automation's place in the list.
LEFT = """LEFT JOIN (
    SELECT purse.channel, purse.amount - coalesce(spent.amount, 0) AS amount
      FROM unnest(%(budget_channels)s::text[], %(budget_amounts)s::numeric[]) purse (channel, amount)
      LEFT JOIN (SELECT paid.channel, sum(paid.cost) AS amount FROM messages paid
                  WHERE paid.organization_id = %(organization)s AND paid.id >= %(budget_floor)s
                    AND paid.created_at >= %(budget_month)s AND paid.state NOT IN ('withheld', 'failed')
                  GROUP BY paid.channel) spent USING (channel)) purse ON purse.channel = paid.channel"""
# In the order of the rows: what they cost together, this one included.
SUM = "sum(cost) OVER (PARTITION BY reason IS NULL, channel ORDER BY due_at, customer_id, occasion)"
