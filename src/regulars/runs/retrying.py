"""One more try for messages that certainly never arrived, because a person asks for it.

Only temporary failures: the provider never took these, and the reason may have passed. What was
refused for good is never sent again, and what may have arrived is settled instead.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from regulars.lib import sql
from regulars.lib.crash_points import reach
from regulars.runs import deltas, settling
from regulars.runs.models import MessageState, Run

TEMPORARY = "temporary"


class NeverAgainError(Exception):
    """Messages that were refused for good are never sent again: only temporary failures are retried."""

    def __init__(self) -> None:
        super().__init__(NeverAgainError.__doc__)


@dataclass(frozen=True, slots=True)
class Retried:
    """How many messages get another try, and how many do not because it is too late for them."""

    queued: int
    too_late: int


def retry(run: Run, actor: str, now: datetime, failures: str = TEMPORARY) -> Retried:
    """Put the run's temporary failures back for one more try each; a finished run goes on.

    Raises:
        NeverAgainError: `failures` are not temporary ones.
        RunStoppedError: the run was cancelled or could not go on.
    """
    if failures != TEMPORARY:
        raise NeverAgainError
    with transaction.atomic():
        deltas.hold_run(run.pk)
        settling.refuse_stopped(run.pk)
        rows = sql.fetch_rows(_RETRY, {"run": run.pk, "actor": actor, "now": now})
        moves = [
            deltas.Move(row["chunk_number"], MessageState.FAILED, MessageState.QUEUED, row["number"])
            for row in rows
            if row["timely"]
        ]
        deltas.apply(run.pk, moves, now)
        reach("settle.inside")
    reach("settle.committed")
    return Retried(
        queued=sum(move.number for move in moves),
        too_late=sum(row["number"] for row in rows if not row["timely"]),
    )


def forecast(run: Run, now: datetime) -> Retried:
    """What `retry` would do now, without doing it."""
    (row,) = sql.fetch_rows(_FORECAST, {"run": run.pk, "now": now})
    return Retried(queued=row["timely"], too_late=row["late"])


_FORECAST = """
SELECT count(*) FILTER (WHERE timely) AS timely, count(*) FILTER (WHERE NOT timely) AS late
  FROM messages message
  JOIN run_chunks chunk ON chunk.run_id = message.run_id AND chunk.number = message.chunk_number,
       LATERAL (SELECT coalesce(message.expires_at > %(now)s, true) AS timely) judged
 WHERE message.run_id = %(run)s AND chunk.failed > 0
   AND message.id BETWEEN chunk.first_id AND chunk.last_id
   AND message.state = 'failed' AND message.reason = 'temporary'
"""

# The attempt goes on counting: a further failure is final again at once.
_RETRY = """
WITH failed AS MATERIALIZED (
  SELECT message.id, message.chunk_number,
         coalesce(message.expires_at > %(now)s, true) AS timely
    FROM messages message
    JOIN run_chunks chunk ON chunk.run_id = message.run_id AND chunk.number = message.chunk_number
   WHERE message.run_id = %(run)s AND chunk.failed > 0
     AND message.id BETWEEN chunk.first_id AND chunk.last_id
     AND message.state = 'failed' AND message.reason = 'temporary'
   ORDER BY message.id FOR UPDATE OF message
),
queued AS (
  UPDATE messages message
     SET state = 'queued', reason = 'retry', send_after = %(now)s, state_at = %(now)s
    FROM failed
   WHERE message.id = failed.id AND failed.timely AND message.state = 'failed'
  RETURNING message.id, message.chunk_number, message.attempt
),
told AS (
  INSERT INTO delivery_events (message_id, kind, attempt, actor, raw, at)
  SELECT id, 'retried', attempt, %(actor)s, '{}', %(now)s FROM queued
)
SELECT chunk_number, true AS timely, count(*) AS number FROM queued GROUP BY 1
 UNION ALL
SELECT chunk_number, false, count(*) FROM failed WHERE NOT timely GROUP BY 1
"""
