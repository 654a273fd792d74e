"""Rewards for guests of a tier: once a month, quarter or year, or on the rise."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db.models import (
    DateTimeField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Value,
)
from pydantic import Field, field_validator

from regulars.automations.evidence import Evidence, Outlook
from regulars.automations.policy import Policy
from regulars.automations.triggers import DUE_COLUMNS, Parameters, Trigger
from regulars.customers.models import Customer, Purpose, TierChange
from regulars.hospitality import facts
from regulars.hospitality.calendar import Home, day_start, home, period_bounds, period_key
from regulars.hospitality.triggers.audience import Iso, Joined, among, moment, number
from regulars.lib.clock import local_date
from regulars.organizations.models import Organization

# A rise is rewarded while it is news; the same time again it is listed as expired.
RISE_LIMIT = timedelta(days=30)
# A tier held within this time before the rise makes it none (E46).
TWELVE_MONTHS = timedelta(days=365)
# Short enough that a reward given on the last day of January leaves room in February: the period in
# the occasion bounds the frequency, the cooldown only keeps two periods' rewards apart.
COOLDOWN_DAYS = 25


class VipRewardParameters(Parameters):
    """Which tiers are rewarded, and how often."""

    tiers: list[str] = Field(min_length=1, max_length=50, description="Tiers, the lowest first")
    period: Literal["month", "quarter", "year", "rise"] = Field(
        default="quarter", description="Once in each, or once when a guest rises to the tier"
    )

    @field_validator("tiers")
    @classmethod
    def _names_are_distinct(cls, tiers: list[str]) -> list[str]:
        names = [tier.strip() for tier in tiers]
        if not all(names) or len(set(names)) < len(names):
            raise ValueError("Each tier needs a name of its own: remove empty and repeated ones.")
        return names


class VipReward(Trigger):
    """Due once in each period for every guest of the tiers, or on the rise to one of them."""

    kind = "vip_reward"
    label = "VIP reward"
    purpose = Purpose.MARKETING
    rank = 50
    parameters = VipRewardParameters
    policy = Policy(cooldown_days=COOLDOWN_DAYS)
    variables = {"vip": "The reward: vip.tier, the tier it is for"}
    sample = {"vip": {"tier": "Gold"}}

    def due(
        self,
        organization: Organization,
        parameters: VipRewardParameters,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """One row for each guest of the tiers (period), or for each fresh rise that still holds.

        A period that has ended is not returned as expired: who was of the tier then is not known.
        `reference` is the customer's id.
        """
        where = home(organization)
        if parameters.period == "rise":
            rows = _rises(organization, parameters.tiers, now).filter(among(customers))
            return _as_risen(rows, where).values_list(*DUE_COLUMNS)
        rows = Customer.objects.filter(among(customers, "pk"), tier__in=parameters.tiers)
        rows = rows.filter(organization=organization)
        return _as_members(rows, where, parameters.period, now).values_list(*DUE_COLUMNS)

    def once_a_guest(self, parameters: VipRewardParameters) -> bool:
        return parameters.period != "rise"

    def outlook(
        self, organization: Organization, parameters: VipRewardParameters, now: datetime, customer_id: int
    ) -> Outlook:
        """The tier, and when the next period begins or when the guest rose to it."""
        guest = Customer.objects.filter(organization=organization, pk=customer_id).first()
        tier = _tier(guest.tier if guest else "", parameters.tiers)
        if parameters.period == "rise":
            seen, later = _last_rise(organization, parameters.tiers, now, customer_id)
            return Outlook((tier, *seen), later)
        if guest is None or guest.tier not in parameters.tiers:
            return Outlook((tier,))
        zone = home(organization).timezone
        first, after = period_bounds(local_date(now, zone), parameters.period)
        return Outlook((tier, facts.due_from(first, day_start(first, zone))), day_start(after, zone))

    def details(self, references: Sequence[int]) -> "QuerySet[Any, Any] | None":
        """The tier of the customer that each reference names."""
        return Customer.objects.filter(pk__in=references).values("tier", reference=F("id"))

    def present(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"vip": {"tier": row["tier"]}}


def _as_members(rows: "QuerySet[Any, Any]", where: Home, period: str, now: datetime) -> "QuerySet[Any, Any]":
    today = local_date(now, where.timezone)
    first, after = period_bounds(today, period)
    annotated: QuerySet[Any, Any] = rows.annotate(
        customer_id=F("pk"),
        occasion=Joined("vip:", F("tier"), f":{period_key(today, period)}"),
        due_at=moment(day_start(first, where.timezone)),
        expires_at=moment(day_start(after, where.timezone)),
        venue_id=number(where.venue_id),
        reference=F("pk"),
    )
    return annotated


def _tier(tier: str, wanted: list[str]) -> Evidence:
    known = {"tier": tier, "tiers": ", ".join(wanted)}
    if not tier:
        return Evidence("tier", "The guest has no tier. Rewarded are: %(tiers)s.", known)
    return Evidence("tier", "The tier is %(tier)s. Rewarded are: %(tiers)s.", known)


def _last_rise(
    organization: Organization, tiers: list[str], now: datetime, customer_id: int
) -> tuple[list[Evidence], datetime | None]:
    """The newest rise that counts, until when it is news; and one that is still to come."""
    rises = _lifts(organization, tiers).filter(customer_id=customer_id)
    rise = rises.filter(at__lte=now).order_by("-at", "-pk").first()
    coming = rises.filter(at__gt=now).order_by("at").values_list("at", flat=True).first()
    if rise is None:
        return [Evidence("no_rise", "No rise to one of these tiers is on record that counts.")], coming
    over = rise.at + RISE_LIMIT
    rose = Evidence(
        "rise", "Rose to %(tier)s on %(date)s.", {"tier": rise.tier, "date": rise.at}, rise.at, rise.pk
    )
    return [rose, facts.too_late(over, over)], coming


def _rises(organization: Organization, tiers: list[str], now: datetime) -> "QuerySet[Any, Any]":
    """The lifts that are news, or were until one limit ago."""
    return _lifts(organization, tiers).filter(at__lte=now, at__gt=now - 2 * RISE_LIMIT)


def _lifts(organization: Organization, tiers: list[str]) -> "QuerySet[Any, Any]":
    """Changes that lifted a guest to the present tier, one not held for twelve months."""
    lifted = Q()
    for position, tier in enumerate(tiers):
        # From the tier itself it is no change; from one that is listed after it, it is a fall.
        lifted |= Q(tier=tier) & ~Q(tier_before__in=tiers[position:])
    return TierChange.objects.filter(
        lifted,
        customer__organization=organization,
        customer__tier=F("tier"),
    ).exclude(Exists(_held_before()))


def _held_before() -> "QuerySet[Any, Any]":
    """Earlier changes, within twelve months, by which the guest came to this tier or left it."""
    since = ExpressionWrapper(
        OuterRef("at") - Value(TWELVE_MONTHS, DurationField()), output_field=DateTimeField()
    )
    earlier = Q(at__lt=OuterRef("at")) | Q(at=OuterRef("at"), pk__lt=OuterRef("pk"))
    return TierChange.objects.filter(
        earlier,
        Q(tier=OuterRef("tier")) | Q(tier_before=OuterRef("tier")),
        customer_id=OuterRef("customer_id"),
        at__gte=since,
    )


def _as_risen(rows: "QuerySet[Any, Any]", where: Home) -> "QuerySet[Any, Any]":
    local = Func(Value(where.timezone), F("at"), function="timezone", output_field=DateTimeField())
    annotated: QuerySet[Any, Any] = rows.annotate(
        occasion=Joined("vip:", F("tier"), ":rise-", Iso(local)),
        due_at=F("at"),
        expires_at=ExpressionWrapper(
            F("at") + Value(RISE_LIMIT, DurationField()), output_field=DateTimeField()
        ),
        venue_id=number(where.venue_id),
        reference=F("customer_id"),
    )
    return annotated
