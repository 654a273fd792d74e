"""Removing what is too old to be kept: whole months of messages, then what belonged to them.

A month goes in one transaction: its totals are kept, the range of its ids is written down, its table
is dropped. What belonged to its messages follows in bounded batches (`runs.followers`), found through
the ranges that were written down and through the runs. So a crash at any point leaves nothing that
the next purge does not finish, and nothing counted twice.

Never removed: consents, suppressions, the audit trail, runs with their totals, and the occasions of
every automation that is not deleted: they are the guard, and hold without their messages.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import F
from psycopg.errors import DeadlockDetected, LockNotAvailable

from regulars.automations import triggers
from regulars.automations.models import AutomationVersion
from regulars.automations.policy import Policy
from regulars.customers.models import Purpose
from regulars.lib import sql
from regulars.runs import followers, partitions
from regulars.runs.allowance import LONGEST_PLANNED_AHEAD
from regulars.runs.totals import ROLL_UP

log = structlog.get_logger("regulars.purging")

# Dropping a month needs every reader and writer of messages out of the way for a moment. It waits
# for that only this long, because whoever comes meanwhile waits behind it; then it tries again later.
_PATIENCE = "200ms"
_PAUSES = (0, 1, 2, 4, 8, 15, 30)


class KeepLongerError(ValueError):
    """What was to be removed is still looked at. The text says by what, and how much must be kept."""


@dataclass(frozen=True, slots=True)
class Need:
    """The fewest whole months, besides the current one, that must be kept, and what needs them."""

    months: int
    reason: str


@dataclass(frozen=True, slots=True)
class Month:
    """A table past its time: the messages that are (to be) removed, the bytes it takes, and why it
    stays nevertheless, if it does."""

    name: str
    messages: int
    size: int
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge removed, or would: messages by month, and other rows by table."""

    months: list[Month] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What one purge goes by."""

    now: datetime
    # What was planned before this moment goes.
    cutoff: datetime
    with_unknown: bool

    def values(self) -> dict[str, Any]:
        return {"cutoff": self.cutoff, "with_unknown": self.with_unknown}


def purge(now: datetime, keep_months: int, *, dry_run: bool = False, with_unknown: bool = False) -> Purged:
    """Remove what is older than `keep_months` whole months before the current one.

    A month in which something is still to come, or (unless `with_unknown`) still in doubt, stays.

    Raises:
        KeepLongerError: that would be less than some automation, or the engine, looks back.
    """
    need = least_months(now)
    if keep_months < need.months:
        raise KeepLongerError(f"{need.reason}: keep at least {need.months} months")
    first_kept = partitions.month_of(now) - keep_months
    terms = _Terms(now, partitions.first_moment(first_kept), with_unknown)
    old = [month for month in partitions.months() if month < first_kept]
    if dry_run:
        found = [_look_before(terms), *(_look(partitions.name_of(month), terms) for month in old)]
    else:
        found = [_purge_before(terms), *(_patiently(_drop, month, terms) for month in old)]
    rows = {} if dry_run else followers.remove(now, terms.cutoff)
    return Purged([month for month in found if month.messages or month.blocked], rows)


def purge_daily(now: datetime) -> Purged:
    """What the setting asks for, but never less than is needed; a setting of 0 keeps everything."""
    if settings.KEEP_MONTHS <= 0:
        return Purged()
    need = least_months(now)
    if need.months > settings.KEEP_MONTHS:
        log.warning("keeping longer than REGULARS_KEEP_MONTHS", months=need.months, reason=need.reason)
    purged = purge(now, max(settings.KEEP_MONTHS, need.months))
    for month in purged.months:
        if month.blocked:
            log.warning("old messages stay", table=month.name, reasons=month.blocked)
        else:
            log.info("old messages purged", table=month.name, messages=month.messages, bytes=month.size)
    return purged


def least_months(now: datetime) -> Need:
    """How far back planning looks: a cooldown, and as long as a message may have waited before it.

    A trigger's own repeat or period needs no message: its occasions are held, and they stay.
    """
    current = AutomationVersion.objects.filter(
        automation__deleted_at=None, number=F("automation__version_number")
    )
    longest, name = 0, ""
    for version in current.select_related("automation"):
        trigger = triggers.get(version.automation.trigger)
        policy = Policy.model_validate(trigger.policy.model_dump() | version.policy)
        if trigger.purpose == Purpose.MARKETING and policy.cooldown_days > longest:
            longest, name = policy.cooldown_days, version.automation.name
    waits = LONGEST_PLANNED_AHEAD
    months = partitions.month_of(now) - partitions.month_of(now - timedelta(days=longest) - waits)
    if longest:
        looks = f"“{name}” looks back {longest} days for its cooldown"
        return Need(months, f"{looks}, and a message may wait {waits.days} days")
    return Need(months, f"A message may wait {waits.days} days")


def _patiently(step: Any, what: Any, terms: _Terms) -> Month:
    """Take the step as soon as that stops nobody; give up for today where somebody is always there."""
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            with transaction.atomic():
                month: Month = step(what, terms)
                return month
        except OperationalError as problem:
            if not isinstance(problem.__cause__, LockNotAvailable | DeadlockDetected):
                raise
    name = what if isinstance(what, str) else partitions.name_of(what)
    return Month(name, 0, 0, ("it is being used all the time: the next purge tries again",))


def _drop(month: int, terms: _Terms) -> Month:
    """The month's totals, the range of its ids, and the end of its table: all or nothing."""
    name = partitions.name_of(month)
    sql.execute("SET LOCAL lock_timeout = '5s'")
    partitions.lock()
    if month not in partitions.months():
        return Month(name, 0, 0)
    found = _close(name, terms)
    if not found.blocked:
        _note_range(*partitions.bounds(month), found.messages, terms.now)
        sql.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
        sql.execute(f"DROP TABLE {name}")
    return found


def _close(name: str, terms: _Terms) -> Month:
    """Keep the totals of a table in which nobody reports, settles or retries anything any more."""
    sql.execute(f"LOCK TABLE {name} IN SHARE MODE")
    found = _look(name, terms)
    if not found.blocked:
        sql.execute(ROLL_UP.format(source=name))
    return found


def _look(name: str, terms: _Terms) -> Month:
    number = sql.fetch_rows(f"SELECT count(*) AS number FROM {name}")[0]["number"]
    return Month(name, number, partitions.size_of(name), _blocked(name, terms))


def _blocked(name: str, terms: _Terms) -> tuple[str, ...]:
    rows = sql.fetch_rows(_BLOCKING.format(source=name), terms.values())
    return tuple(_words(row) for row in rows)


def _words(row: dict[str, Any]) -> str:
    messages = "1 message" if row["number"] == 1 else f"{row['number']} messages"
    if row["in_doubt"]:
        return (
            f"nobody knows whether {messages} of run {row['run_id']} arrived: "
            "decide that on its page, or purge --with-unknown"
        )
    return f"{messages} of run {row['run_id']} may still leave: let it go on, or cancel it"


def _look_before(terms: _Terms) -> Month:
    """What of the oldest table goes: all before the first message that must be kept."""
    first_kept = _first_kept(terms)
    number = sql.fetch_rows(
        f"SELECT count(*) AS number FROM {partitions.BEFORE} WHERE id < coalesce(%(first)s, 1::bigint << 62)",
        {"first": first_kept},
    )[0]["number"]
    blocked = () if first_kept is None else _blocked(partitions.BEFORE, terms)
    return Month(partitions.BEFORE, number, partitions.size_of(partitions.BEFORE), blocked)


def _purge_before(terms: _Terms) -> Month:
    """Empty the oldest table: at once where nothing in it must be kept, else by batches from its start.

    The table itself stays, so that a message which bears an old month finds its place.
    """
    found = _look_before(terms)
    first_kept = _first_kept(terms)
    if found.messages and first_kept is None:
        return _patiently(_empty, partitions.BEFORE, terms)
    while found.messages and first_kept is not None:
        with transaction.atomic():
            values = terms.values() | {"first_kept": first_kept, "batch": followers.BATCH}
            gone = sql.fetch_rows(_DELETE_BEFORE, values)[0]
            if not gone["number"]:
                break
            _note_range(0, gone["last_id"] + 1, gone["number"], terms.now)
    return found


def _empty(name: str, terms: _Terms) -> Month:
    sql.execute("SET LOCAL lock_timeout = '5s'")
    sql.execute(f"LOCK TABLE {name} IN SHARE MODE")
    last = sql.fetch_rows(f"SELECT max(id) AS id FROM {name}")[0]["id"]
    if last is None or _first_kept(terms) is not None:
        return Month(name, 0, 0)
    found = _close(name, terms)
    _note_range(0, last + 1, found.messages, terms.now)
    sql.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
    sql.execute(f"TRUNCATE {name}")
    return found


def _first_kept(terms: _Terms) -> int | None:
    rows = sql.fetch_rows(_FIRST_KEPT, terms.values())
    return rows[0]["id"] if rows else None


def _note_range(first_id: int, below: int, messages: int, now: datetime) -> None:
    values = {"first_id": first_id, "below": below, "messages": messages, "now": now}
    sql.execute(_NOTE_RANGE, values)


# In doubt: nobody knows whether it arrived. Also one in `sending` whose run is over: its sender died,
# and nobody takes over.
_DOUBT = """(message.state = 'unknown'
       OR (message.state = 'sending'
           AND coalesce(run.state, 'finished') IN ('finished', 'cancelled', 'failed', 'missed')))"""

# What may still leave stays, whatever its age; what is in doubt, unless told otherwise.
_STAYS = f"""(message.state IN ('queued', 'sending', 'unknown')
       AND NOT (%(with_unknown)s AND {_DOUBT}))"""

_BLOCKING = f"""
SELECT message.run_id, {_DOUBT} AS in_doubt, count(*) AS number
  FROM {{source}} message LEFT JOIN automation_logs run ON run.id = message.run_id
 WHERE message.created_at < %(cutoff)s AND {_STAYS}
 GROUP BY 1, 2 ORDER BY 2, 1
"""

_FIRST_KEPT = f"""
SELECT message.id
  FROM {partitions.BEFORE} message LEFT JOIN automation_logs run ON run.id = message.run_id
 WHERE message.created_at >= %(cutoff)s OR {_STAYS}
 ORDER BY message.id LIMIT 1
"""

# What somebody puts back to be sent at this very moment ends the batch: the range has no holes.
_DELETE_BEFORE = f"""
WITH due AS MATERIALIZED (
  SELECT id, state FROM {partitions.BEFORE}
   WHERE id < %(first_kept)s ORDER BY id LIMIT %(batch)s FOR UPDATE
),
gone AS (
  DELETE FROM {partitions.BEFORE} message USING due
   WHERE message.id = due.id
     AND due.id < coalesce((SELECT min(id) FROM due WHERE state = 'queued'), %(first_kept)s)
  RETURNING message.*
),
kept AS ({ROLL_UP.format(source="gone")})
SELECT count(*) AS number, max(id) AS last_id FROM gone
"""

_NOTE_RANGE = """
INSERT INTO purged_ranges AS known (first_id, below, messages, at)
VALUES (%(first_id)s, %(below)s, %(messages)s, %(now)s)
ON CONFLICT (first_id) DO UPDATE
   SET below = greatest(known.below, EXCLUDED.below), messages = known.messages + EXCLUDED.messages,
       at = EXCLUDED.at
"""
