"""The kinds of file that can be imported. A pack registers its own; nobody here imports a pack."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from regulars.customers.importing.dates import DateOrder
from regulars.customers.importing.summary import ImportRefusedError, Reject
from regulars.organizations.models import Organization


@dataclass(frozen=True)
class Column:
    """A column of a kind: its name, other headers it is known by, and what it must hold."""

    name: str
    synonyms: tuple[str, ...] = ()
    required: bool = False
    holds_dates: bool = False


@dataclass(frozen=True)
class Context:
    """What an importer may know: whose rows, where they come from, the moment, how dates are written.

    `live`: the rows tell what happens now, and not what has been so for nobody knows how long.
    """

    organization: Organization
    source: str
    now: datetime
    order: DateOrder = DateOrder.DAY_FIRST
    live: bool = False


@dataclass
class Merged:
    """What merging one batch did; `rejected` are rows that were clean but did not fit the data."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: list[Reject] = field(default_factory=list)


class Importer(ABC):
    """Cleans and merges the rows of one file of one kind. Made anew for each file."""

    # The staging table's columns besides `line`: name and SQL type, in the order of `clean`.
    staging: tuple[tuple[str, str], ...]
    # The tables it writes: the planner is told of their new size after a large file.
    tables: tuple[str, ...]
    # After a merge: a SELECT of line, id, customer_id, is_new and changed of what is staged.
    answers: str

    def __init__(self, context: Context) -> None:
        self.context = context

    def prepare(self, seen: Mapping[str, set[str]]) -> None:  # noqa: B027 - most need nothing
        """Called once inside the import's lock; `seen` are the distinct values of `observed`."""

    @abstractmethod
    def clean(self, values: Mapping[str, str]) -> tuple[Any, ...]:
        """The staging row made of `values` (known columns only; absent ones are not there).

        Raises:
            CellError: the first cell that cannot be used.
        """

    @abstractmethod
    def merge(self, table: str) -> Merged:
        """Merge the rows staged in `table` in sets, inside the caller's transaction."""

    def notes(self) -> list[str]:
        """Sentences for the summary."""
        return []


@dataclass(frozen=True)
class Kind:
    """A kind of file: its columns and who imports it.

    `any_of`: at least one of these columns is needed. `observed`: columns whose distinct values the
    importer wants to know before the first row.
    """

    name: str
    columns: tuple[Column, ...]
    importer: Callable[[Context], Importer]
    any_of: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Make a kind known."""
    _kinds[kind.name] = kind


def get(name: str) -> Kind:
    """The kind called `name`.

    Raises:
        ImportRefusedError: with the names that exist.
    """
    try:
        return _kinds[name]
    except KeyError:
        known = ", ".join(sorted(_kinds))
        raise ImportRefusedError(f"“{name}” cannot be imported. Known kinds: {known}.") from None


def all_kinds() -> list[Kind]:
    """Every registered kind."""
    return list(_kinds.values())
