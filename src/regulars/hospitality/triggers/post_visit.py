"""Thanks after a visit."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import (
    DateTimeField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Value,
)
from pydantic import Field

from regulars.automations.evidence import Outlook
from regulars.automations.policy import Policy
from regulars.automations.triggers import DUE_COLUMNS, Parameters, Trigger
from regulars.customers.models import Purpose
from regulars.hospitality import facts, variables
from regulars.hospitality.models import Visit, VisitState
from regulars.hospitality.triggers.audience import Joined, among
from regulars.organizations.models import Organization


class PostVisitParameters(Parameters):
    """How long after the visit, and how late at most."""

    delay_hours: int = Field(default=24, ge=0, le=24 * 60, description="Hours after the visit")
    max_late_hours: int = Field(
        default=72, ge=1, le=24 * 60, description="Hours that the message may be late (E15)"
    )


class PostVisit(Trigger):
    """Due `delay_hours` after a completed visit; of several on one service day the last (E17)."""

    kind = "post_visit"
    label = "After a visit"
    purpose = Purpose.MARKETING
    rank = 40
    parameters = PostVisitParameters
    policy = Policy(cooldown_days=30)
    variables = {"visit": "The visit: visit.date, visit.amount, visit.currency, visit.id"}
    optional = frozenset({"visit.amount", "visit.currency"})
    events = frozenset({"visits"})
    sample = {"visit": {"id": 1, "date": "2026-06-14", "amount": "54.20", "currency": "EUR"}}

    def due(
        self,
        organization: Organization,
        parameters: PostVisitParameters,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """One row for each visit; those too late are returned for one more `max_late_hours`."""
        delay = timedelta(hours=parameters.delay_hours)
        late = timedelta(hours=parameters.max_late_hours)
        return (
            Visit.objects.filter(among(customers), organization=organization)
            .filter(
                state=VisitState.COMPLETED,
                visited_at__lte=now - delay,
                visited_at__gt=now - delay - 2 * late,
            )
            .exclude(Exists(_later_that_day()))
            .annotate(
                occasion=Joined("visit:", F("pk")),
                due_at=_after_visit(delay),
                expires_at=_after_visit(delay + late),
                reference=F("pk"),
            )
            .values_list(*DUE_COLUMNS)
        )

    def outlook(
        self, organization: Organization, parameters: PostVisitParameters, now: datetime, customer_id: int
    ) -> Outlook:
        """The last visit, and from when until when there may be thanks for it."""
        delay = timedelta(hours=parameters.delay_hours)
        visits = (
            Visit.objects.filter(
                organization=organization, customer_id=customer_id, state=VisitState.COMPLETED
            )
            .exclude(Exists(_later_that_day()))
            .select_related("venue")
        )
        last = visits.order_by("-visited_at", "-pk").first()
        if last is None:
            return Outlook((facts.NO_VISIT,))
        coming = visits.filter(visited_at__gt=now - delay).order_by("visited_at").first()
        due = last.visited_at + delay
        over = due + timedelta(hours=parameters.max_late_hours)
        seen = (facts.last_visit(last), facts.due_from(due, due), facts.too_late(over, over))
        return Outlook(seen, coming.visited_at + delay if coming else None)

    def still_valid(self, now: datetime) -> Q | None:
        """The visit has not been voided since, nor followed by another on the same day."""
        about = Visit.objects.filter(pk=OuterRef("reference"), state=VisitState.COMPLETED)
        return Q(Exists(about.exclude(Exists(_later_that_day()))))

    def later(
        self,
        organization: Organization,
        parameters: PostVisitParameters,
        now: datetime,
        customers: Sequence[int],
    ) -> "QuerySet[Any, Any] | None":
        """Their visits of which the delay is not over yet."""
        delay = timedelta(hours=parameters.delay_hours)
        recent = Visit.objects.filter(among(customers), organization=organization)
        return recent.filter(state=VisitState.COMPLETED, visited_at__gt=now - delay).values_list(
            "customer_id", _after_visit(delay)
        )

    def details(self, references: Sequence[int]) -> "QuerySet[Any, Any] | None":
        """The visit that each reference names."""
        return Visit.objects.filter(pk__in=references).values(
            "service_date", "amount", "currency", reference=F("id")
        )

    def present(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"visit": variables.visit(row)}


def _after_visit(span: timedelta) -> "ExpressionWrapper[Any]":
    return ExpressionWrapper(F("visited_at") + Value(span, DurationField()), output_field=DateTimeField())


def _later_that_day() -> "QuerySet[Any, Any]":
    """Completed visits of the guest after the outer one, on its service day, at any venue."""
    later = Q(visited_at__gt=OuterRef("visited_at")) | Q(
        visited_at=OuterRef("visited_at"), pk__gt=OuterRef("pk")
    )
    return Visit.objects.filter(
        later,
        customer_id=OuterRef("customer_id"),
        service_date=OuterRef("service_date"),
        state=VisitState.COMPLETED,
    )
