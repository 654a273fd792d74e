"""The pack's fields for conditions: how often, how much, how long ago, and where a guest ate.

Only completed visits count. Each field is one correlated subquery: how often and when last over the
guest's one row of `visit_summaries`, spend and venue over the partial index
`visits_by_customer (customer, service_date desc) where completed`. So its cost grows with the
customers that the rest of the query leaves over, not with all visits, and an event about one
guest stays cheap.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import (
    DateTimeField,
    DecimalField,
    Exists,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce

from regulars.automations.conditions import Kind, compare, register_field
from regulars.hospitality.models import Venue, Visit, VisitState, VisitSummary
from regulars.organizations.models import Organization

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler

_AMOUNT: "DecimalField[Any, Any]" = DecimalField(max_digits=14, decimal_places=2)


def _visits() -> "QuerySet[Visit]":
    return Visit.objects.filter(customer=OuterRef("pk"), state=VisitState.COMPLETED).order_by()


def _summary() -> "QuerySet[VisitSummary]":
    return VisitSummary.objects.filter(customer=OuterRef("pk"))


def _visit_count(organization: Organization, now: datetime, operator: str, value: Any) -> Q:  # noqa: ARG001
    count = Coalesce(Subquery(_summary().values("completed")), Value(0), output_field=IntegerField())
    return compare(count, operator, value)


def _spend(organization: Organization, now: datetime, operator: str, value: Any) -> Q:  # noqa: ARG001
    spent = Subquery(_visits().values("customer").annotate(spend=Sum("amount")).values("spend"))
    return compare(Coalesce(spent, Value(Decimal(0)), output_field=_AMOUNT), operator, value)


class _DaysSince(Func):
    """Whole days from a service date to the venue's service day at a moment (E7, E8).

    Takes zone, moment, hour at which the day starts, and the date.
    """

    output_field = IntegerField()

    # PostgreSQL's own arithmetic: a date minus a date is a number of days, which the ORM hides.
    def as_sql(
        self,
        compiler: "SQLCompiler",
        connection: "BaseDatabaseWrapper",
        *_: str | None,
        **__: Any,
    ) -> tuple[str, tuple[str | int, ...]]:
        """`(timezone(zone, moment) - hours)::date - day`."""
        parts = [compiler.compile(part) for part in self.source_expressions]
        zone, moment, hour, day = (text for text, _ in parts)
        local = f"timezone({zone}, {moment}) - make_interval(hours => {hour})"
        return f"(({local})::date - {day})", tuple(v for _, values in parts for v in values)


def _days_since_service(now: datetime) -> Func:
    return _DaysSince(
        F("last_venue__timezone"),
        Value(now, output_field=DateTimeField()),
        F("last_venue__day_starts_at_hour"),
        F("last_service_date"),
    )


def _last_visit(organization: Organization, now: datetime, operator: str, value: Any) -> Q:  # noqa: ARG001
    if operator in ("known", "unknown"):
        return _has_visited(operator)
    if _asks_for_date(value):
        answer: Any = Subquery(_summary().values("last_service_date"))
    else:
        answer = Subquery(_summary().annotate(days_ago=_days_since_service(now)).values("days_ago"))
    # Who never came has no last visit: the answer is NULL, and no comparison holds.
    return compare(answer, operator, value)


def _has_visited(operator: str) -> Q:
    visited = Q(Exists(_summary()))
    return visited if operator == "known" else ~visited


def _asks_for_date(value: Any) -> bool:
    return isinstance(value[0] if isinstance(value, tuple) else value, date)


def _venue(organization: Organization, now: datetime, operator: str, value: Any) -> Q:  # noqa: ARG001
    if operator in ("known", "unknown"):
        return _has_visited(operator)
    visited = Q(Exists(_visits().filter(_places(_as_tuple(value)))))
    return visited if operator in ("is", "in") else ~visited


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _places(wanted: Sequence[str | int], prefix: str = "venue__") -> Q:
    names = [place for place in wanted if isinstance(place, str)]
    numbers = [place for place in wanted if isinstance(place, int)]
    return Q(**{f"{prefix}name__in": names}) | Q(**{f"{prefix}id__in": numbers})


def _unknown_venue(organization: Organization, value: Any) -> str | None:
    wanted = _as_tuple(value)
    found = Venue.objects.filter(_places(wanted, ""), organization=organization)
    known = {key for row in found.values_list("id", "name") for key in row}
    missing = [place for place in wanted if place not in known]
    if not missing:
        return None
    names = Venue.objects.filter(organization=organization).order_by("name")
    listed = ", ".join(names.values_list("name", flat=True)) or "none yet"
    return f"There is no venue “{missing[0]}”. Your venues: {listed}."


def register() -> None:
    """Make the pack's fields known; called when the pack is loaded."""
    register_field(
        "visit_count",
        Kind.NUMBER,
        _visit_count,
        label="Visits",
        operators=("is", "is_not", "in", "not_in", ">=", "<=", ">", "<", "between"),
        bounds=(0, 1_000_000),
    )
    register_field(
        "spend",
        Kind.AMOUNT,
        _spend,
        label="Spend",
        operators=(">=", "<=", ">", "<", "between"),
        bounds=(-(10**9), 10**9),
    )
    register_field("last_visit", Kind.DAYS_AGO, _last_visit, label="Last visit", bounds=(0, 36_500))
    register_field("venue", Kind.PLACE, _venue, label="Venue visited", check=_unknown_venue)
