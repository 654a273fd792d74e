"""What follows messages that were purged: events, the sandbox's copies, skips, chunks, verdict lists.

Each statement removes one bounded batch, so that nobody waits long and an interruption costs nothing:
whatever is left is found again by the same conditions.
"""

from datetime import datetime
from typing import Any

from django.db import transaction

from regulars.automations.models import Automation
from regulars.lib import sql
from regulars.runs import deltas
from regulars.runs.models import PurgedRange, Run, RunState

BATCH = 10_000
_OVER = (RunState.FINISHED, RunState.CANCELLED, RunState.FAILED, RunState.MISSED)


def remove(now: datetime, cutoff: datetime) -> dict[str, int]:
    """Remove what belonged to purged messages and to runs older than `cutoff`; rows by table."""
    removed: dict[str, int] = {}
    for known in PurgedRange.objects.order_by("first_id"):
        bounds = {"first": known.first_id, "below": known.below}
        _add(removed, {table: _by_batches(text, bounds) for table, text in _OF_MESSAGES.items()})
    for run_id in _old_runs(cutoff):
        _add(removed, _purge_run(run_id, now))
    for automation in Automation.objects.filter(deleted_at__lt=cutoff).values_list("pk", flat=True):
        _add(removed, {"occasions": _by_batches(_OCCASIONS, {"automation": automation})})
    return removed


def _add(removed: dict[str, int], more: dict[str, int]) -> None:
    for table, number in more.items():
        removed[table] = removed.get(table, 0) + number


def _by_batches(text: str, values: dict[str, Any]) -> int:
    total = 0
    while number := sql.execute(text, values | {"batch": BATCH}):
        total += number
    return total


def _old_runs(cutoff: datetime) -> list[Any]:
    """Runs that ended and have no message left."""
    values = {"cutoff": cutoff, "over": [str(state) for state in _OVER]}
    return [row["id"] for row in sql.fetch_rows(_OLD_RUNS, values)]


def _purge_run(run_id: Any, now: datetime) -> dict[str, int]:
    """The lists first; then the chunks, whose sums the run keeps from then on."""
    removed = {table: _by_batches(text, {"run": run_id}) for table, text in _OF_RUNS.items()}
    with transaction.atomic():
        deltas.hold_run(run_id, alone=True)
        Run.objects.filter(pk=run_id).update(purged_at=now)
        sql.execute(_TOTALS, {"run": run_id})
        removed["run_chunks"] = sql.execute("DELETE FROM run_chunks WHERE run_id = %(run)s", {"run": run_id})
    return removed | {"runs summed up": 1}


def _of_message(table: str) -> str:
    return f"""DELETE FROM {table} WHERE id IN (
                 SELECT id FROM {table} WHERE message_id >= %(first)s AND message_id < %(below)s
                  LIMIT %(batch)s)"""


def _of_run(table: str, key: str) -> str:
    return f"""DELETE FROM {table} WHERE run_id = %(run)s AND {key} IN (
                 SELECT {key} FROM {table} WHERE run_id = %(run)s LIMIT %(batch)s)"""


_OF_MESSAGES = {table: _of_message(table) for table in ("delivery_events", "sandbox_outbox")}
_OF_RUNS = {"skips": _of_run("skips", "id"), "run_verdicts": _of_run("run_verdicts", "ordinal")}

_OLD_RUNS = """
SELECT run.id FROM automation_logs run
 WHERE run.purged_at IS NULL AND run.created_at < %(cutoff)s AND run.state = ANY (%(over)s)
   AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.run_id = run.id)
 ORDER BY run.created_at
"""

_TOTALS = """
UPDATE automation_logs run
   SET totals = jsonb_build_object('sent', sums.sent, 'failed', sums.failed,
                                   'unknown', sums.unknown, 'withheld', sums.withheld)
  FROM (SELECT sum(sent) AS sent, sum(failed) AS failed, sum(unknown) AS unknown, sum(withheld) AS withheld
          FROM run_chunks WHERE run_id = %(run)s HAVING count(*) > 0) sums
 WHERE run.id = %(run)s
"""

# The guards of an automation that was deleted: nobody asks them any more. One whose message is still
# there stays with it.
_OCCASIONS = """
DELETE FROM occasions
 WHERE automation_id = %(automation)s AND (customer_id, occasion) IN (
   SELECT customer_id, occasion FROM occasions guard
    WHERE guard.automation_id = %(automation)s
      AND (guard.kind <> 'message'
           OR EXISTS (SELECT 1 FROM purged_ranges known
                       WHERE guard.message_id >= known.first_id AND guard.message_id < known.below))
    LIMIT %(batch)s)
"""
