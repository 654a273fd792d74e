"""What a condition may ask about: the kinds of field, their operators, and the registry.

Rooms and packs register fields; this module checks the values given for them and refuses what
does not fit. It never looks at the database: a builder returns a `Q` over `Customer`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from django.db.models import Q
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    LessThan,
    LessThanOrEqual,
)

from regulars.automations.problems import listed
from regulars.organizations.models import Organization

MAX_VALUES = 500
MAX_TEXT = 200


class Kind(StrEnum):
    """The kind of a field decides its operators and what its values look like."""

    TEXT = "text"
    TAGS = "tags"
    NUMBER = "number"  # whole numbers
    AMOUNT = "amount"  # money, up to two decimals
    DAYS_AGO = "days_ago"  # a whole number of days ago, or a date such as 2026-05-31
    PLACE = "place"  # a name or an id


_PRESENCE = ("known", "unknown")
_EQUALITY = ("is", "is_not", "in", "not_in")
_ORDER = (">=", "<=", ">", "<", "between")
OPERATORS: Mapping[Kind, tuple[str, ...]] = {
    Kind.TEXT: (*_EQUALITY, *_PRESENCE),
    Kind.TAGS: ("contains", "any_of", "all_of", "none_of", *_PRESENCE),
    Kind.NUMBER: (*_EQUALITY, *_ORDER, *_PRESENCE),
    Kind.AMOUNT: (*_EQUALITY, *_ORDER, *_PRESENCE),
    Kind.DAYS_AGO: (*_EQUALITY, *_ORDER, *_PRESENCE),
    Kind.PLACE: (*_EQUALITY, *_PRESENCE),
}
OPERATOR_WORDS: Mapping[str, str] = {
    "is": "is",
    "is_not": "is not",
    "in": "is one of",
    "not_in": "is none of",
    ">=": "≥",
    "<=": "≤",
    ">": ">",
    "<": "<",
    "between": "is between",
    "known": "is known",
    "unknown": "is unknown",
    "contains": "contain",
    "any_of": "contain one of",
    "all_of": "contain all of",
    "none_of": "contain none of",
}
_LIST_OPERATORS = ("in", "not_in", "any_of", "all_of", "none_of")


class Builder(Protocol):
    """Makes the `Q` over `Customer` for one leaf; `value` is checked and of the field's kind.

    Use `Exists`/`Subquery` with `OuterRef("pk")`, never a join: a join would repeat customers.
    """

    def __call__(self, organization: Organization, now: datetime, operator: str, value: Any) -> Q: ...


# Says what is wrong with a value (a venue that does not exist), or None; may ask the database.
Check = Callable[[Organization, Any], str | None]


@dataclass(frozen=True)
class Field:
    """Something a condition may ask about; `minimum` and `maximum` bound numbers, inclusive."""

    name: str
    kind: Kind
    label: str
    build: Builder
    operators: tuple[str, ...]
    minimum: int | None = None
    maximum: int | None = None
    check: Check | None = None


_fields: dict[str, Field] = {}


def register_field(
    name: str,
    kind: Kind,
    build: Builder,
    *,
    label: str,
    operators: Sequence[str] | None = None,
    bounds: tuple[int | None, int | None] = (None, None),
    check: Check | None = None,
) -> None:
    """Make a field known. Registering a name again replaces it; a pack does this when it is loaded.

    Raises:
        ValueError: an operator does not exist for this kind.
    """
    chosen = tuple(operators or OPERATORS[kind])
    if strange := set(chosen) - set(OPERATORS[kind]):
        raise ValueError(f"A field of kind {kind} has no operator {listed(sorted(strange))}.")
    _fields[name] = Field(name, kind, label, build, chosen, *bounds, check=check)


def field_named(name: str) -> Field | None:
    """The field called `name`, or None."""
    return _fields.get(name)


def all_fields() -> list[Field]:
    """Every registered field, in the order of registration: what an editor offers."""
    return list(_fields.values())


class ValueProblem(ValueError):  # noqa: N818 - it becomes a ConditionError once the path is known
    """The value of a leaf does not fit; the text says what would."""


def checked_value(field: Field, operator: str, value: Any) -> Any:
    """`value` as the builder wants it: numbers as int or Decimal, dates as date, lists as tuples.

    Raises:
        ValueProblem: with what would fit.
    """
    if operator in _PRESENCE:
        if value is not None:
            raise ValueProblem(f"“{operator}” takes no value: leave it out.")
        return None
    if operator == "between":
        return _range(field, value)
    if operator in _LIST_OPERATORS:
        return _list(field, value)
    return _single(field, value)


def _list(field: Field, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        raise ValueProblem("This must be a list with at least one value.")
    if len(value) > MAX_VALUES:
        raise ValueProblem(f"This list has {len(value)} values; at most {MAX_VALUES} are allowed.")
    values = tuple(_single(field, item) for item in value)
    _refuse_mixture(values)
    return values


def _range(field: Field, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueProblem("“between” takes two values: [lowest, highest], both included.")
    low, high = _single(field, value[0]), _single(field, value[1])
    _refuse_mixture((low, high))
    if low > high:
        raise ValueProblem("The first value of “between” must not be above the second.")
    return low, high


def _refuse_mixture(values: tuple[Any, ...]) -> None:
    if len({isinstance(item, date) for item in values}) > 1:
        raise ValueProblem("Use either days ago or dates here, not both.")


def _single(field: Field, value: Any) -> Any:
    match field.kind:
        case Kind.TEXT | Kind.TAGS:
            return _text(value)
        case Kind.NUMBER:
            return _bounded(field, _whole(value))
        case Kind.AMOUNT:
            return _bounded(field, _amount(value))
        case Kind.DAYS_AGO:
            return _date(value) if isinstance(value, str) else _bounded(field, _whole(value))
        case Kind.PLACE:
            return _text(value) if isinstance(value, str) else _identifier(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueProblem("This must be text, not empty.")
    if len(value) > MAX_TEXT or "\x00" in value:
        raise ValueProblem(f"This must be at most {MAX_TEXT} ordinary characters.")
    return value


def _whole(value: Any) -> int:
    # A bool is an int to Python; `true` for an age is a mistake.
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueProblem("This must be a whole number, without quotes.")
    return value


def _identifier(value: Any) -> int:
    number = _whole(value)
    if not 0 < number < 2**63:
        raise ValueProblem("This is not an id.")
    return number


def _amount(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueProblem("This must be a number, without quotes.")
    amount = Decimal(str(value))
    if not amount.is_finite():
        raise ValueProblem("This must be an ordinary number.")
    return amount


def _date(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueProblem("This must be a whole number of days ago, or a date such as 2026-05-31.") from None


def _bounded(field: Field, number: Any) -> Any:
    if field.minimum is not None and number < field.minimum:
        raise ValueProblem(f"This must be at least {field.minimum}.")
    if field.maximum is not None and number > field.maximum:
        raise ValueProblem(f"This must be at most {field.maximum}.")
    return number


_LOOKUPS: Mapping[str, Any] = {
    "is": Exact,
    ">=": GreaterThanOrEqual,
    "<=": LessThanOrEqual,
    ">": GreaterThan,
    "<": LessThan,
}


def compare(expression: Any, operator: str, value: Any) -> Q:
    """`expression operator value` for numbers and dates, as a condition.

    NULL where the expression is NULL, which counts as not matching, also inside `not`: an unknown
    value satisfies no comparison.
    """
    match operator:
        case "is_not":
            return ~Q(Exact(expression, value))
        case "in":
            return Q(In(expression, list(value)))
        case "not_in":
            return ~Q(In(expression, list(value)))
        case "between":
            low, high = value
            return Q(GreaterThanOrEqual(expression, low)) & Q(LessThanOrEqual(expression, high))
    return Q(_LOOKUPS[operator](expression, value))
