"""A small world of guests and a plain reading of the condition rules, to hold the SQL against."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st


@dataclass(frozen=True)
class Stay:
    """A visit as the test states it."""

    place: str
    day: date
    amount: Decimal | None
    state: str = "completed"


@dataclass
class Guest:
    tier: str = ""
    tags: tuple[str, ...] = ()
    language: str = ""
    born: tuple[int | None, int | None, int | None] = (None, None, None)  # year, month, day
    stays: list[Stay] = field(default_factory=list)


ZONES = {"Centro": "Europe/Madrid", "Playa": "Pacific/Auckland"}
TIERS = ["", "gold", "silver"]
TAGS = ["wine", "family", "terrace"]
LANGUAGES = ["", "es", "en"]


def guest_value(guest: Guest, name: str, now: datetime, asked):
    """The value a field has for a guest; None where it is unknown."""
    stays = [stay for stay in guest.stays if stay.state == "completed"]
    match name:
        case "tier" | "language":
            return getattr(guest, name) or None
        case "tags":
            return set(guest.tags)
        case "birthday_month":
            return guest.born[1]
        case "age":
            return _age(guest, now)
        case "visit_count":
            return len(stays)
        case "spend":
            return sum((stay.amount or Decimal(0) for stay in stays), Decimal(0))
        case "venue":
            return {stay.place for stay in stays}
    return _last_visit(stays, now, asked)


def _age(guest, now):
    year, month, day = guest.born
    if None in guest.born:
        return None
    today = now.astimezone(ZoneInfo("Europe/Madrid")).date()
    return today.year - year - ((today.month, today.day) < (month, day))


def _last_visit(stays, now, asked):
    if not stays:
        return None
    last = max(stays, key=lambda stay: stay.day)
    if isinstance(asked[0] if isinstance(asked, list) else asked, str):
        return last.day.isoformat()
    local = now.astimezone(ZoneInfo(ZONES[last.place])).replace(tzinfo=None)
    return ((local - timedelta(hours=5)).date() - last.day).days


def holds(tree: dict, guest: Guest, now: datetime) -> bool:
    """Whether the rules of `tree` hold for `guest`, read word by word."""
    if not tree:
        return True
    if "all" in tree:
        return all(holds(part, guest, now) for part in tree["all"])
    if "any" in tree:
        return any(holds(part, guest, now) for part in tree["any"])
    if "not" in tree:
        return not holds(tree["not"], guest, now)
    asked = tree.get("value")
    value = guest_value(guest, tree["field"], now, asked)
    return _leaf(tree["field"], tree["operator"], value, asked)


def _leaf(name, operator, value, asked):
    match operator:
        case "known":
            return bool(value) if isinstance(value, set) else value is not None
        case "unknown":
            return not value if isinstance(value, set) else value is None
        case "contains":
            return asked in value
        case "any_of":
            return bool(value & set(asked))
        case "all_of":
            return value >= set(asked)
        case "none_of":
            return not value & set(asked)
    if name == "venue":
        wanted = set(asked) if isinstance(asked, list) else {asked}
        return bool(value & wanted) is (operator in ("is", "in"))
    if value is None:
        # A text that is unknown is not the one asked for; an unknown number satisfies nothing.
        return name in ("tier", "language") and operator in ("is_not", "not_in")
    if not isinstance(value, str) or name == "last_visit":
        return _compared(operator, value, asked)
    return {
        "is": value == asked,
        "is_not": value != asked,
        "in": value in asked,
        "not_in": value not in asked,
    }[operator]


def _compared(operator, value, asked):
    if isinstance(value, Decimal):
        # Money as people write it: 99.99 is not the nearest binary fraction.
        asked = [Decimal(str(each)) for each in asked] if operator == "between" else Decimal(str(asked))
    match operator:
        case "is":
            return value == asked
        case "is_not":
            return value != asked
        case "in":
            return value in asked
        case "not_in":
            return value not in asked
        case "between":
            return asked[0] <= value <= asked[1]
        case ">=":
            return value >= asked
        case "<=":
            return value <= asked
        case ">":
            return value > asked
    return value < asked


def _leaves_of(name, operators, values):
    single = st.sampled_from(values)
    several = st.lists(single, min_size=1, max_size=3)
    pair = st.tuples(single, single).map(sorted)

    def leaf(operator):
        base = {"field": name, "operator": operator}
        if operator in ("known", "unknown"):
            return st.just(base)
        if operator == "between":
            return pair.map(lambda two: base | {"value": two})
        if operator in ("in", "not_in", "any_of", "all_of", "none_of"):
            return several.map(lambda many: base | {"value": many})
        return single.map(lambda one: base | {"value": one})

    return st.sampled_from(operators).flatmap(leaf)


EQUAL = ["is", "is_not", "in", "not_in"]
ORDER = [">=", "<=", ">", "<", "between"]
PRESENCE = ["known", "unknown"]

leaves = st.one_of(
    _leaves_of("tier", EQUAL + PRESENCE, TIERS[1:]),
    _leaves_of("language", EQUAL + PRESENCE, LANGUAGES[1:]),
    _leaves_of("tags", ["contains", "any_of", "all_of", "none_of", *PRESENCE], TAGS),
    _leaves_of("birthday_month", EQUAL + ORDER + PRESENCE, [1, 6, 12]),
    _leaves_of("age", EQUAL + ORDER + PRESENCE, [17, 18, 40, 41]),
    _leaves_of("visit_count", EQUAL + ORDER, [0, 1, 2, 3]),
    _leaves_of("spend", ORDER, [0, 50, 99.99, 100]),
    _leaves_of("last_visit", EQUAL + ORDER + PRESENCE, [0, 1, 30, 31]),
    _leaves_of("last_visit", EQUAL + ORDER, ["2026-05-15", "2026-06-14", "2026-06-15"]),
    _leaves_of("venue", EQUAL + PRESENCE, list(ZONES)),
)

trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=8,
)

_DAYS = [date(2026, 6, 15), date(2026, 6, 14), date(2026, 5, 16), date(2026, 5, 15)]
WORLD = [
    Guest(),
    Guest("gold", ("wine",), "es", (1986, 6, 15), [Stay("Centro", _DAYS[0], Decimal(50))]),
    Guest("silver", ("wine", "family"), "en", (1986, 6, 16), [Stay("Playa", _DAYS[1], Decimal(100))]),
    Guest("gold", ("terrace",), "", (2008, 6, 15), [Stay("Centro", _DAYS[3], None)]),
    Guest("", (), "es", (2008, 6, 16), [Stay("Playa", _DAYS[2], Decimal("99.99"))]),
    Guest("silver", (), "en", (None, 1, 3), []),
    Guest(
        "",
        ("family", "terrace"),
        "es",
        (1990, 12, 31),
        [Stay("Centro", _DAYS[0], Decimal(500), "voided")],
    ),
    Guest("gold", tuple(TAGS), "en", (1985, 1, 1), [Stay("Playa", d, Decimal(30)) for d in _DAYS[:3]]),
    Guest(
        "",
        (),
        "",
        (None, None, None),
        [Stay("Centro", _DAYS[3], Decimal(60)), Stay("Playa", _DAYS[0], Decimal(40))],
    ),
]
