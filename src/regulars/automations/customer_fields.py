"""The fields that every customer has: tier, tags, language, birthday month, age.

An unknown tier or language is simply not the one asked for, so `is_not` matches it. An unknown
birthday or age satisfies no comparison at all, not even `is_not` (E33: unknown age never matches).
"""

from datetime import datetime
from typing import Any

from django.db.models import Case, F, IntegerField, Q, Value, When

from regulars.automations.condition_fields import Builder, Kind, compare, register_field
from regulars.lib.clock import local_date
from regulars.organizations.models import Organization


def _text_field(column: str) -> Builder:
    def build(organization: Organization, now: datetime, operator: str, value: Any) -> Q:  # noqa: ARG001
        match operator:
            case "known":
                return ~Q(**{column: ""})
            case "unknown":
                return Q(**{column: ""})
            case "is" | "is_not":
                found = Q(**{column: value})
            case _:
                found = Q(**{f"{column}__in": list(value)})
        return found if operator in ("is", "in") else ~found

    return build


def _tags(organization: Organization, now: datetime, operator: str, value: Any) -> Q:  # noqa: ARG001
    match operator:
        case "known":
            return ~Q(tags=[])
        case "unknown":
            return Q(tags=[])
        case "contains":
            return Q(tags__contains=[value])
        case "all_of":
            return Q(tags__contains=list(value))
    found = Q(tags__overlap=list(value))
    return found if operator == "any_of" else ~found


def _birthday_month(
    organization: Organization,  # noqa: ARG001
    now: datetime,  # noqa: ARG001
    operator: str,
    value: Any,
) -> Q:
    known = Q(birth_month__isnull=False)
    if operator in ("known", "unknown"):
        return known if operator == "known" else ~known
    return known & compare(F("birth_month"), operator, value)


def _age(organization: Organization, now: datetime, operator: str, value: Any) -> Q:
    known = Q(birth_year__isnull=False, birth_month__isnull=False, birth_day__isnull=False)
    if operator in ("known", "unknown"):
        return known if operator == "known" else ~known
    today = local_date(now, organization.timezone)
    birthday_ahead = Q(birth_month__gt=today.month) | Q(birth_month=today.month, birth_day__gt=today.day)
    age = (
        Value(today.year)
        - F("birth_year")
        - Case(When(birthday_ahead, then=Value(1)), default=Value(0), output_field=IntegerField())
    )
    return known & compare(age, operator, value)


def register() -> None:
    """Make the fields of every customer known."""
    register_field("tier", Kind.TEXT, _text_field("tier"), label="Tier")
    register_field("tags", Kind.TAGS, _tags, label="Tags")
    register_field("language", Kind.TEXT, _text_field("language"), label="Language")
    register_field("birthday_month", Kind.NUMBER, _birthday_month, label="Month of birth", bounds=(1, 12))
    register_field("age", Kind.NUMBER, _age, label="Age in years", bounds=(0, 150))
