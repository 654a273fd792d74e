"""What a `venue_id` of the engine means: the name a guest knows, and the zone of its clock."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regulars.hospitality.models import Venue
from regulars.organizations.models import Organization

if TYPE_CHECKING:
    from django.db.models import QuerySet


def zones_of_venues(organization: Organization) -> "QuerySet[Any, Any]":
    """The `timezone` of each of its venues."""
    return Venue.objects.filter(organization=organization).values_list("timezone", flat=True)


def venues_named(ids: Sequence[int]) -> "QuerySet[Any, Any]":
    """`id`, `name` and `timezone` of these venues."""
    return Venue.objects.filter(pk__in=ids).values("id", "name", "timezone")


def clocks(organization: Organization) -> "QuerySet[Any, Any]":
    """`id`, `timezone` and `quiet_hours` of an organization's venues."""
    return Venue.objects.filter(organization=organization).values("id", "timezone", "quiet_hours")


def with_hours_of_their_own(organization: Organization) -> "QuerySet[Any, Any]":
    """`name` and `quiet_hours` of the venues that do not keep the organization's quiet hours."""
    venues = Venue.objects.filter(organization=organization, quiet_hours__isnull=False)
    return venues.order_by("name").values("name", "quiet_hours")


def set_quiet_hours(organization: Organization, venue_id: int, hours: dict[str, Any] | None) -> bool:
    """Give a venue quiet hours of its own (as JSON), or None for the organization's; False: no such venue."""
    return bool(Venue.objects.filter(pk=venue_id, organization=organization).update(quiet_hours=hours))
