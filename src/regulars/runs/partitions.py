"""Where messages are stored: one partition a month, found by the message's id alone.

The upper bits of an id are the month in which it was planned (counted from January 2020, UTC), the
lower forty a number that never repeats. So the id alone tells the partition, a lookup by id touches
one of them, and dropping an old month is dropping a table (`runs.purging`). What was written before
there were partitions, and whatever bears an older month, is in `messages_before`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction

from regulars.lib import sql

_FIRST_YEAR = 2020
_BITS = 40

# The partition of what was written before there were months, and of whatever bears an older one.
BEFORE = "messages_before"


@dataclass(frozen=True, slots=True)
class Partition:
    """One table of messages: about how many, and its size on disk with indexes, in bytes."""

    name: str
    messages: int
    size: int


def month_of(moment: datetime) -> int:
    """Months since January 2020, in UTC."""
    there = moment.astimezone(UTC)
    return (there.year - _FIRST_YEAR) * 12 + there.month - 1


def floor_id(moment: datetime) -> int:
    """The lowest id that a message planned in the month of `moment`, or later, can have."""
    return max(0, month_of(moment)) << _BITS


def name_of(month: int) -> str:
    """The name of the partition that holds this month."""
    return f"messages_{_FIRST_YEAR + month // 12}_{month % 12 + 1:02}"


def first_moment(month: int) -> datetime:
    """When this month begins."""
    year, index = divmod(max(0, month), 12)
    return datetime(_FIRST_YEAR + year, index + 1, 1, tzinfo=UTC)


def bounds(month: int) -> tuple[int, int]:
    """The lowest id of this month, and the lowest after it."""
    return month << _BITS, (month + 1) << _BITS


def months() -> list[int]:
    """The months that have a partition of their own, the oldest first."""
    rows = sql.fetch_rows(
        """SELECT child.relname AS name FROM pg_inherits
             JOIN pg_class child ON child.oid = inhrelid
            WHERE inhparent = 'messages'::regclass AND child.relname ~ '^messages_[0-9]{4}_[0-9]{2}$'"""
    )
    years = sorted(row["name"].split("_")[1:] for row in rows)
    return [(int(year) - _FIRST_YEAR) * 12 + int(month) - 1 for year, month in years]


def storage() -> list[Partition]:
    """Every table of messages, the oldest first. Counted by the server's statistics, so about right."""
    rows = sql.fetch_rows(
        """SELECT child.relname AS name, pg_stat_get_live_tuples(child.oid) AS messages,
                  pg_total_relation_size(child.oid) AS size
             FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
            WHERE inhparent = 'messages'::regclass ORDER BY child.relname <> 'messages_before', 1"""
    )
    return [Partition(**row) for row in rows]


def size_of(name: str) -> int:
    """The bytes on disk of one partition, with its indexes."""
    row = sql.fetch_rows("SELECT pg_total_relation_size(%(name)s::regclass) AS size", {"name": name})[0]
    return int(row["size"])


def lock() -> None:
    """Of those who make and drop partitions, one at a time, until the transaction ends."""
    sql.execute("SELECT pg_advisory_xact_lock(hashtextextended('message partitions', 0))")


def ensure(now: datetime, ahead: int = 1) -> None:
    """Make the partitions of this month and the next ones; those that exist stay untouched.

    Attaching asks for a lock that lets reading and writing of the other months go on.
    """
    wanted = range(month_of(now), month_of(now) + ahead + 1)
    missing = set(wanted) - set(months())
    if not missing:
        return
    with transaction.atomic():
        lock()
        before = sql.fetch_rows("SELECT regulars_first_partition() AS id")[0]["id"] >> _BITS
        for month in sorted(missing - set(months())):
            if month >= before:
                _create(month)


def _create(month: int) -> None:
    name = name_of(month)
    sql.execute(f"CREATE TABLE {name} (LIKE messages INCLUDING DEFAULTS) WITH ({STORAGE})")
    sql.execute(
        f"ALTER TABLE messages ATTACH PARTITION {name}"
        f" FOR VALUES FROM ({month << _BITS}) TO ({(month + 1) << _BITS})"
    )


# A message is rewritten twice, and no index holds what changes: with room on its page the new
# version needs no index entry, and the old one is removed by whoever comes by next.
STORAGE = "fillfactor = 70"
