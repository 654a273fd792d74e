"""The sweep: liveness is found by looking at the ledger, whatever the jobs say.

Losing every job costs seconds, never a message.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef

from regulars.lib import sql
from regulars.runs import statements
from regulars.runs.deferring import chunk_job, defer, plan_job
from regulars.runs.finishing import finish, report_finished
from regulars.runs.models import Run, RunChunk, RunState

# A planner that is at work holds a lock of its own; asking again meanwhile does no harm. So a killed
# planner costs this, or nothing where the run is older, and the time to the next sweep.
_PLANNING_IS_LATE = timedelta(seconds=2)

_IDLE_CHUNKS = """
SELECT chunk.id, chunk.urgent
  FROM run_chunks chunk JOIN automation_logs run ON run.id = chunk.run_id
 WHERE NOT chunk.closed AND (chunk.next_due IS NULL OR chunk.next_due <= %(now)s)
   AND run.state IN ('planning', 'sending', 'waiting')
   AND (chunk.lease_until IS NULL
        OR chunk.lease_until < now() - make_interval(secs => %(grace)s))
   AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs waiting
                    WHERE waiting.queueing_lock = 'chunk:' || chunk.id AND waiting.status = 'todo')
 ORDER BY chunk.urgent DESC, chunk.id LIMIT 500
"""

# A run that was stopped for good is taken over by nobody: what its dead sender had claimed may have
# arrived, and says so.
_ABANDONED = """
WITH dead AS (
  SELECT chunk.id, chunk.run_id, chunk.number, chunk.first_id, chunk.last_id
    FROM run_chunks chunk JOIN automation_logs run ON run.id = chunk.run_id
   WHERE NOT chunk.closed AND run.state IN ('cancelled', 'failed')
     AND chunk.lease_until < now() - make_interval(secs => %(grace)s)
     FOR NO KEY UPDATE OF chunk SKIP LOCKED
),
orphaned AS (
  UPDATE messages message
     SET state = 'unknown', reason = 'interrupted', state_at = %(now)s,
         error = 'Outcome unknown: the sender was interrupted between handing over and recording'
    FROM dead
   WHERE message.id BETWEEN dead.first_id AND dead.last_id
     AND message.run_id = dead.run_id AND message.chunk_number = dead.number
     AND message.state = 'sending'
  RETURNING dead.id
)
UPDATE run_chunks chunk
   SET lease_until = NULL, epoch = chunk.epoch + 1,
       unknown = chunk.unknown + (SELECT count(*) FROM orphaned WHERE orphaned.id = chunk.id)
  FROM dead WHERE chunk.id = dead.id
"""


def sweep(now: datetime) -> None:
    """Defer what is due and has no live job; finish the runs that have nothing left."""
    sql.execute(_ABANDONED, {"now": now, "grace": statements.GRACE_SECONDS})
    with transaction.atomic():
        values = {"now": now, "grace": statements.GRACE_SECONDS}
        idle = sql.fetch_rows(_IDLE_CHUNKS, values)
        defer([chunk_job(row["id"], urgent=row["urgent"]) for row in idle])
        late = Run.objects.filter(state=RunState.PLANNING, created_at__lt=now - _PLANNING_IS_LATE)
        defer([plan_job(run_id) for run_id in late.values_list("pk", flat=True)])
    for run_id in _done():
        if finish(run_id, now):
            report_finished(str(run_id))
            sql.execute(statements.NOTIFY, {"run": str(run_id)})


def _done() -> list[UUID]:
    """The runs that have nothing left to send and do not say so; those that wait cost no statement each."""
    going = Run.objects.filter(state__in=[RunState.SENDING, RunState.WAITING])
    is_open = Exists(RunChunk.objects.filter(run_id=OuterRef("pk"), closed=False))
    return list(going.exclude(is_open).values_list("pk", flat=True))


def forget_lists(before: datetime) -> int:
    """Remove the verdict lists of runs that ended before then; returns how many rows went."""
    return sql.execute(
        """DELETE FROM run_verdicts USING automation_logs run
            WHERE run.id = run_verdicts.run_id AND run.finished_at < %(before)s""",
        {"before": before},
    )
