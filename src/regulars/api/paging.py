"""Pages by key: each starts after the last row of the one before, at the same cost however far."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from django.db.models import Q, QuerySet
from pydantic import Field

from regulars.api.errors import ApiError
from regulars.api.parsing import BIGGEST_ID

Limit = Annotated[int, Field(ge=1, le=500, description="Rows a page")]
After = Annotated[int, Field(ge=0, le=BIGGEST_ID, description="`next` of the page before")]


def page(rows: "QuerySet[Any, Any]", limit: int, present: Callable[[Any], Any]) -> dict[str, Any]:
    """`{"items", "next"}` of the first `limit` rows; `next` is the last key if more follow."""
    found = list(rows[: limit + 1])
    shown = found[:limit]
    return {
        "items": [present(row) for row in shown],
        "next": shown[-1].pk if len(found) > limit else None,
    }


def newest_first(rows: "QuerySet[Any, Any]", after: UUID | None) -> "QuerySet[Any, Any]":
    """`rows` by time of creation, from the row after `after` on.

    Raises:
        ApiError: 404, there is no such row here.
    """
    if after is not None:
        mark = rows.filter(pk=after).values_list("created_at", flat=True).first()
        if mark is None:
            raise ApiError(404, "There is no such row to read on from.")
        rows = rows.filter(Q(created_at__lt=mark) | Q(created_at=mark, pk__lt=after))
    return rows.order_by("-created_at", "-pk")
