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
