"""What a verdict rests on: facts in words of ours, which edges put into the reader's language and zone.

Pure: no input or output. Whoever decides (a trigger, a rule) says why with these; nobody decides by them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from regulars.lib.masking import mask_address


class Term(str):
    """A word of ours among the values (a state, a channel): pages translate it."""

    __slots__ = ()


class Contact(str):
    """An address among the values: shown whole only to those who may see contact data."""

    __slots__ = ()


Value = str | int | date | datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact: `words` with places such as `%(date)s`, and the `values` that go there.

    `kind` names the fact for programs (`last_visit`, `message`, `consent`), `at` is the moment that it
    is about, `reference` the id of its row where there is one. Moments among the values are in UTC, or
    in the zone of the venue where they are meant.
    """

    kind: str
    words: str
    values: Mapping[str, Value] = field(default_factory=dict)
    at: datetime | None = None
    reference: int | None = None

    def text(self, zone: str, *, show_addresses: bool) -> str:
        """The fact in English, moments in `zone`."""
        return self.words % {
            name: plain(value, zone, show_addresses=show_addresses) for name, value in self.values.items()
        }


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known about one customer: the facts, and when time alone changes what follows from them.

    `next_at` is None where nothing changes by itself.
    """

    evidence: tuple[Evidence, ...] = ()
    next_at: datetime | None = None


def plain(value: Value, zone: str, *, show_addresses: bool) -> str:
    """A value in English: `3 May 2026`, `3 May 2026, 14:05`, an address perhaps masked."""
    if isinstance(value, datetime):
        there = local(value, zone)
        return f"{there.day} {there:%B %Y, %H:%M}"
    if isinstance(value, date):
        return f"{value.day} {value:%B %Y}"
    if isinstance(value, Contact) and not show_addresses:
        return mask_address(value)
    return str(value)


def local(moment: datetime, zone: str) -> datetime:
    """The moment in `zone`, unless it is in a venue's zone already."""
    return moment.astimezone(ZoneInfo(zone)) if moment.tzinfo is UTC else moment
