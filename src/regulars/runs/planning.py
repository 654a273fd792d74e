"""Planning: freeze the verdicts of a run, then write messages from them behind the guard.

What a crash at each step leaves behind:

1. Before the verdicts are frozen: a run in `planning` without a snapshot. The sweep asks again.
2. While slices are written: committed slices have their messages, guards and chunks, and are being
   sent. The next planner chooses anew; what this run already wrote is left out by the guard.
3. After the last slice: the run is `sending`, and the sweep moves its chunks.

Nobody is written to twice in any of these, because a message exists only behind a new row of
`occasions`. READ COMMITTED with the organization's advisory lock, taken in a statement of its own
before the snapshot, serialises what shares cooldowns and caps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import structlog
from django.db import InterfaceError, InternalError, OperationalError, transaction

from regulars.automations import triggers
from regulars.automations.models import AutomationVersion
from regulars.customers.models import Purpose
from regulars.lib import crash_points, sql
from regulars.runs import deltas, guarding, partitions
from regulars.runs.choosing import judge, who_is_due
from regulars.runs.deferring import chunk_job, defer
from regulars.runs.models import Run, RunState
from regulars.runs.requesting import MANUAL
from regulars.runs.settling import WITHHOLD_QUEUED

log = structlog.get_logger("regulars.planning")

# Up to this many due rows planning is one transaction; above, slices of this size.
SLICE = 20_000
CHUNK = 2_000


def plan(run_id: str, now: datetime) -> bool:
    """Plan one run; safe to call again after any interruption, and twice at once.

    Returns whether this call did the planning (False: it was done, or another process is at it).
    """
    with _only_planner(run_id) as alone:
        run = Run.objects.select_related("automation__organization").filter(pk=run_id).first()
        if not alone or run is None or run.state != RunState.PLANNING:
            return False
        try:
            _plan(run, now)
        except _StoppedError:
            return False
        except (OperationalError, InterfaceError, InternalError):
            # The database went away: the question is asked again when it is back. Never from here:
            # a server that crashed has emptied the frozen verdicts.
            raise
        except Exception as problem:
            log.exception("planning failed", run=run_id)
            _fail(run, str(problem) or type(problem).__name__, now)
        return True


class _StoppedError(Exception):
    """Somebody cancelled the run meanwhile: nothing more of it is written."""


def _hold(run: Run) -> None:
    """Keep cancelling out until this transaction ends: what it writes is withheld by it, or not written.

    Before the run's own row is touched, as cancelling does.

    Raises:
        _StoppedError: the run is no longer to be planned.
    """
    deltas.hold_run(run.pk)
    if not Run.objects.filter(pk=run.pk, state=RunState.PLANNING).exists():
        raise _StoppedError


@contextmanager
def _only_planner(run_id: str) -> Iterator[bool]:
    """A session lock: the kernel closes a dead planner's connection, and the lock goes with it."""
    key = {"key": f"plan {run_id}"}
    if not sql.fetch_rows(_TAKE, key)[0]["got"]:
        yield False
        return
    try:
        yield True
    finally:
        sql.execute(_GIVE_BACK, key)


def _fail(run: Run, reason: str, now: datetime) -> None:
    """The run cannot be planned, now or later: it ends, says why, and gives back what it had written."""
    with transaction.atomic():
        Run.objects.filter(pk=run.pk).update(state=RunState.FAILED, reason=reason, finished_at=now)
        sql.execute(WITHHOLD_QUEUED, {"run": run.pk, "now": now})


def _plan(run: Run, now: datetime) -> None:
    partitions.ensure(now)
    crash_points.reach("planning.start")
    interrupted = run.as_of is not None
    _close_to_others(run, now)
    with transaction.atomic():
        count = _freeze(run, now, interrupted=interrupted)
        crash_points.reach("planning.frozen")
        if count <= SLICE:
            if count:
                _write_slice(run, 0, now)
            _finish(run, now)
            return
        _lock(run, how="pg_advisory_lock")
    try:
        _write_slices(run, count, now)
    finally:
        _lock(run, how="pg_advisory_unlock")


def _write_slices(run: Run, count: int, now: datetime) -> None:
    """A large run, in many transactions: who shares its caps waits until the last one is written."""
    for start in range(0, count, SLICE):
        with transaction.atomic():
            _hold(run)
            _write_slice(run, start, now)
        crash_points.reach("planning.committed")
    with transaction.atomic():
        _hold(run)
        _finish(run, now)


def _close_to_others(run: Run, now: datetime) -> None:
    """Say that the snapshot is being taken, in a transaction that ends before it: nobody joins any more.

    Who joined before holds the run's row until what they wrote is committed: this waits for them,
    and so their guests are in the snapshot.

    Raises:
        _StoppedError: the run is no longer to be planned.
    """
    with transaction.atomic():
        _need_not_last()
        if not Run.objects.filter(pk=run.pk, state=RunState.PLANNING).update(as_of=now):
            raise _StoppedError
        run.refresh_from_db(fields=["subjects", "as_of"])


def _need_not_last() -> None:
    """Let this transaction end without waiting for the disk.

    A server that crashes may forget it, but then also all that was committed after it, by anybody: its
    log is kept in one order. So the run is planned anew, as if nobody had begun.
    """
    sql.execute("SET LOCAL synchronous_commit = off")


def _freeze(run: Run, now: datetime, *, interrupted: bool) -> int:
    """Choose and judge everybody who is due into `run_verdicts`; returns how many are due.

    From here until the transaction ends the run is held. `interrupted`: an earlier planner may have
    left verdicts and slices of this run.
    """
    _lock(run)
    version = run.automation.current_version if run.version_id is None else run.version
    assert version is not None
    version.automation = run.automation
    if interrupted:
        _forget_verdicts(run)
    count = _judge(run, version, now)
    if count and run.origin != MANUAL and guarding.is_surprise(run.automation, _sends(run, count)):
        guarding.hold_back(run.automation, now)
        _forget_verdicts(run)
        count = _judge(run, version, now)
    _hold(run)
    written = sum(run.chunks.values_list("total", flat=True)) if interrupted else 0
    run.version, run.due = version, count + written
    if count:
        Run.objects.filter(pk=run.pk).update(version=version, due=run.due, skipped_by_reason=_skipped(run))
    return count


def _judge(run: Run, version: AutomationVersion, now: datetime) -> int:
    """Freeze the verdicts; where nobody is due, as in most runs of a schedule, nothing more is asked."""
    due = who_is_due(version, now, run.subjects)
    if not sql.fetch_rows(f"SELECT EXISTS ({due.text}) AS anybody", due.parameters)[0]["anybody"]:
        return 0
    choice = judge(version, due, now, replanned_run=str(run.pk))
    return sql.execute(_FREEZE.format(choice=choice.text), choice.parameters | {"run": run.pk})


def _sends(run: Run, due: int) -> int:
    """Of the verdicts that are frozen: how many are to send."""
    return due - sum(_skipped(run).values())


def _forget_verdicts(run: Run) -> None:
    sql.execute("DELETE FROM run_verdicts WHERE run_id = %(run)s", {"run": run.pk})


def _lock(run: Run, how: str = "pg_advisory_xact_lock") -> None:
    """Marketing shares cooldowns and caps over the organization; a transactional automation only with
    itself. `how` is PostgreSQL's function: to the end of the transaction, or of the session."""
    trigger = triggers.get(run.automation.trigger)
    shared = trigger.purpose == Purpose.MARKETING
    name = f"organization {run.organization_id}" if shared else f"automation {run.automation_id}"
    sql.execute(f"SELECT {how}(hashtextextended(%(name)s, 0))", {"name": name})


def _skipped(run: Run) -> dict[str, int]:
    rows = sql.fetch_rows(
        """SELECT reason, count(*) AS number FROM run_verdicts
            WHERE run_id = %(run)s AND reason IS NOT NULL GROUP BY reason""",
        {"run": run.pk},
    )
    return {row["reason"]: row["number"] for row in rows}


def _write_slice(run: Run, start: int, now: datetime) -> None:
    """Guard, message and chunk rows of one slice, and the jobs that will send it: all or nothing.

    Whoever took an occasion between the snapshot and now wins; here it becomes `already_contacted`.
    """
    trigger = triggers.get(run.automation.trigger)
    urgent = trigger.purpose == Purpose.TRANSACTIONAL
    values = {
        "run": run.pk,
        "organization": run.organization_id,
        "automation": run.automation_id,
        "version": run.version_id,
        "purpose": str(trigger.purpose),
        "urgent": urgent,
        "start": start,
        "end": start + SLICE,
        "chunk_size": CHUNK,
        "first_chunk": run.chunks.count(),
        "month": partitions.floor_id(now),
        "now": now,
    }
    # Rows of this transaction have no statistics: taken for one, they would be joined one by one.
    sql.execute("SET LOCAL enable_nestloop = off")
    chunks = sql.fetch_rows(_WRITE_SLICE, values)
    sql.execute("SET LOCAL enable_nestloop = on")
    sql.execute(_HOLD_OUT, values)
    sql.execute(_WRITE_SKIPS, values)
    crash_points.reach("planning.sliced")
    defer([chunk_job(row["id"], urgent=urgent, start=_later(row, now)) for row in chunks])
    crash_points.reach("planning.deferred")


def _later(chunk: dict[str, Any], now: datetime) -> datetime | None:
    return chunk["next_due"] if chunk["next_due"] > now else None


def _finish(run: Run, now: datetime) -> None:
    """Planning is over: the run sends, or has nothing to send; a further wish becomes a further run."""
    planned = sum(run.chunks.values_list("total", flat=True)) if run.due else 0
    guarding.spend_agreement(run.automation, planned)
    skipped = _skipped(run) if run.due else {}
    if run.due:
        # Somebody may have joined it meanwhile, and made it a run by hand.
        run.refresh_from_db(fields=["origin"])
        if run.origin != MANUAL:
            _forget_verdicts(run)
    if planned or not _forget(run):
        Run.objects.filter(pk=run.pk).update(
            state=RunState.SENDING if planned else RunState.FINISHED,
            version=run.version,
            due=run.due,
            skipped_by_reason=skipped,
            planned_at=now,
            finished_at=None if planned else now,
        )
    crash_points.reach("planning.finished")


def _forget(run: Run) -> bool:
    """Remove a run that nobody asked for by hand and that has nothing to say; whether it was one."""
    forgotten = bool(sql.execute(_FORGET, {"run": run.pk}))
    if forgotten and not run.due:
        _need_not_last()
    return forgotten


# A planner that is frozen between two of its transactions loses its connection, and the lock.
_TAKE = """
SELECT got, CASE WHEN got THEN set_config('idle_session_timeout', '15s', FALSE) END
  FROM (SELECT pg_try_advisory_lock(hashtextextended(%(key)s, 0)) AS got OFFSET 0) tried
"""
_GIVE_BACK = """
RESET idle_session_timeout;
SELECT pg_advisory_unlock(hashtextextended(%(key)s, 0))
"""

# A run that came by itself and found nobody leaves nothing behind; one that only looked, nothing but
# what it found: those whom it has found before are its daily bread. Unless somebody has joined it.
_FORGET = """
DELETE FROM automation_logs run
 WHERE run.id = %(run)s AND NOT run.again
   AND (run.origin IN ('schedule', 'cron') AND run.due = 0
        OR run.origin = 'look' AND NOT EXISTS (SELECT 1 FROM skips WHERE skips.run_id = run.id))
"""

_FREEZE = """
INSERT INTO run_verdicts (run_id, ordinal, customer_id, occasion, due_at, expires_at, send_after,
                          venue_id, reference, reason, winner_id, channel, account_id, address, cost)
SELECT %(run)s, row_number() OVER (ORDER BY due_at, customer_id, occasion) - 1,
       customer_id, occasion, due_at, expires_at, send_after,
       venue_id, reference, reason, winner_id, channel, account_id, address, cost
  FROM ({choice}) choice
"""

# Guards are inserted in one order by every planner, so that two of them cannot lock each other out.
# Ids are given in the order of the chunks, so that each chunk is one narrow range of them.
_WRITE_SLICE = """
WITH picked AS MATERIALIZED (
  SELECT ordered.*, %(month)s + nextval('messages_number') AS message_id
    FROM (SELECT verdict.* FROM run_verdicts verdict
           WHERE verdict.run_id = %(run)s AND verdict.reason IS NULL
             AND verdict.ordinal >= %(start)s AND verdict.ordinal < %(end)s
           ORDER BY account_id, ordinal) ordered
),
guarded AS (
  INSERT INTO occasions (automation_id, customer_id, occasion, kind, message_id)
  SELECT %(automation)s, customer_id, occasion, 'message', message_id
    FROM picked ORDER BY customer_id, occasion
  ON CONFLICT DO NOTHING
  RETURNING message_id
),
beaten AS (
  UPDATE run_verdicts verdict SET reason = 'already_contacted'
    FROM picked
   WHERE verdict.run_id = %(run)s AND verdict.ordinal = picked.ordinal
     AND picked.message_id NOT IN (SELECT message_id FROM guarded)
),
placed AS (
  SELECT parted.*, %(first_chunk)s + dense_rank() OVER (ORDER BY part, account_id) AS chunk_number
    FROM (SELECT picked.*, (row_number() OVER (PARTITION BY account_id ORDER BY ordinal) - 1)
                           / %(chunk_size)s AS part
            FROM picked JOIN guarded USING (message_id)) parted
),
written AS (
  INSERT INTO messages (id, organization_id, run_id, chunk_number, automation_id, version_id,
                        customer_id, occasion, purpose, channel, account_id, address, cost, venue_id,
                        reference, due_at, expires_at, send_after, state, reason, error, epoch,
                        attempt, provider_id, created_at, state_at)
  SELECT message_id, %(organization)s, %(run)s, chunk_number, %(automation)s, %(version)s,
         customer_id, occasion, %(purpose)s, channel, account_id, address, cost, venue_id,
         reference, due_at, expires_at, send_after, 'queued', '', '', 0,
         0, '', %(now)s, %(now)s
    FROM placed
)
INSERT INTO run_chunks (run_id, number, account_id, first_id, last_id, urgent, epoch, next_due, total,
                        sent, failed, unknown, withheld, closed)
SELECT %(run)s, chunk_number, account_id, min(message_id), max(message_id), %(urgent)s, 0,
       min(send_after), count(*), 0, 0, 0, 0, FALSE
  FROM placed GROUP BY chunk_number, account_id
RETURNING id, next_due
"""

# The held out take their occasions, too: the next run does not write either, whatever its share.
_HOLD_OUT = """
INSERT INTO occasions (automation_id, customer_id, occasion, kind, message_id)
SELECT %(automation)s, customer_id, occasion, 'holdout', 0
  FROM run_verdicts
 WHERE run_id = %(run)s AND reason = 'holdout' AND ordinal >= %(start)s AND ordinal < %(end)s
 ORDER BY customer_id, occasion
ON CONFLICT DO NOTHING
"""

# A guest left out daily for the same reason keeps one row, untouched. The guard's own refusals need
# no row: the earlier message answers for itself.
_WRITE_SKIPS = """
INSERT INTO skips (organization_id, automation_id, customer_id, occasion, reason, winner_id, run_id, at)
SELECT %(organization)s, %(automation)s, customer_id, occasion, reason, winner_id, %(run)s, %(now)s
  FROM run_verdicts
 WHERE run_id = %(run)s AND reason IS NOT NULL AND reason <> 'already_contacted'
   AND ordinal >= %(start)s AND ordinal < %(end)s
 ORDER BY customer_id, occasion
ON CONFLICT (automation_id, customer_id, occasion)
DO UPDATE SET reason = EXCLUDED.reason, winner_id = EXCLUDED.winner_id, run_id = EXCLUDED.run_id,
              at = EXCLUDED.at
 WHERE (skips.reason, skips.winner_id) IS DISTINCT FROM (EXCLUDED.reason, EXCLUDED.winner_id)
"""
