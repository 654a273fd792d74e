"""What a `venue_id` of the engine means: the name a guest knows, and the zone of its clock."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regulars.hospitality.models import Venue

if TYPE_CHECKING:
    from django.db.models import QuerySet


def venues_named(ids: Sequence[int]) -> "QuerySet[Any, Any]":
    """`id`, `name` and `timezone` of these venues."""
    return Venue.objects.filter(pk__in=ids).values("id", "name", "timezone")
