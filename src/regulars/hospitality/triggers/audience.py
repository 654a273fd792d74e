"""What the trigger queries have in common."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, DateTimeField, Func, Q, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

# No row has such an id. An empty IN would make the ORM refuse to compile the query at all, and the
# engine needs the text of every query.
NOBODY = 0


def among(customers: Sequence[int] | None, field: str = "customer_id") -> Q:
    """Only these customers; None: all of them; an empty sequence: nobody."""
    return Q() if customers is None else Q(**{f"{field}__in": list(customers) or [NOBODY]})


def number(value: int | None) -> Cast:
    """A bigint literal; typed, because a bare NULL in a common table expression would be text."""
    return Cast(Value(value), BigIntegerField())


def moment(value: datetime) -> Cast:
    """A timestamptz literal."""
    return Cast(Value(value), DateTimeField())


class Iso(Func):
    """A date as `2026-06-15`, whatever the session's DateStyle."""

    function = "to_char"
    template = "%(function)s(%(expressions)s, 'YYYY-MM-DD')"
    output_field = TextField()


class Joined(Func):
    """Texts put together with `||`, each cast to text."""

    template = "(%(expressions)s)"
    arg_joiner = " || "
    output_field = TextField()

    def __init__(self, *parts: str | Combinable | Any) -> None:
        texts = (Value(part) if isinstance(part, str) else part for part in parts)
        super().__init__(*(Cast(part, TextField()) for part in texts))
