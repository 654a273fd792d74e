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

# A run that was stopped for good is taken over by nobody. What its dead sender had claimed may have
# arrived, and says so; what a living one had claimed when it was stopped, and handed back since, is
# withheld and gives its occasion back, as what still waited was at once. Messages that somebody else is
# writing are passed by (`runs.deltas`): their chunk stays open for the next sweep.
_STOPPED = """
WITH chunks AS (
  SELECT chunk.id, chunk.run_id, chunk.number, chunk.first_id, chunk.last_id
    FROM run_chunks chunk JOIN automation_logs run ON run.id = chunk.run_id
   WHERE NOT chunk.closed AND run.state IN ('cancelled', 'failed')
     AND (chunk.lease_until IS NULL OR chunk.lease_until < now() - make_interval(secs => %(grace)s))
   ORDER BY chunk.id LIMIT 500
     FOR NO KEY UPDATE OF chunk SKIP LOCKED
),
left_over AS MATERIALIZED (
  SELECT message.id, message.state, chunks.id AS chunk_id
    FROM messages message
    JOIN chunks ON message.id BETWEEN chunks.first_id AND chunks.last_id
     AND message.run_id = chunks.run_id AND message.chunk_number = chunks.number
   WHERE message.state IN ('queued', 'sending')
     FOR UPDATE OF message SKIP LOCKED
),
ended AS (
  UPDATE messages message
     SET state = CASE left_over.state WHEN 'queued' THEN 'withheld' ELSE 'unknown' END,
         reason = CASE left_over.state WHEN 'queued' THEN 'run_cancelled' ELSE 'interrupted' END,
         error = CASE left_over.state WHEN 'queued' THEN ''
           ELSE 'Outcome unknown: the sender was interrupted between handing over and recording' END,
         state_at = %(now)s
    FROM left_over WHERE message.id = left_over.id
  RETURNING message.id, message.automation_id, message.customer_id, message.occasion,
            left_over.chunk_id, left_over.state AS earlier
),
freed AS (
  DELETE FROM occasions guard USING ended
   WHERE ended.earlier = 'queued'
     AND guard.automation_id = ended.automation_id AND guard.customer_id = ended.customer_id
     AND guard.occasion = ended.occasion AND guard.message_id = ended.id
),
counted AS (
  SELECT chunks.id, count(*) FILTER (WHERE ended.earlier = 'queued') AS withheld,
         count(*) FILTER (WHERE ended.earlier = 'sending') AS unknown
    FROM chunks LEFT JOIN ended ON ended.chunk_id = chunks.id GROUP BY chunks.id
)
UPDATE run_chunks chunk
   SET lease_until = NULL, epoch = chunk.epoch + 1,
       withheld = chunk.withheld + counted.withheld, unknown = chunk.unknown + counted.unknown,
       closed = chunk.sent + chunk.failed + chunk.unknown + chunk.withheld
                + counted.withheld + counted.unknown >= chunk.total
  FROM counted WHERE chunk.id = counted.id
"""


def sweep(now: datetime) -> None:
    """Defer what is due and has no live job; end what was stopped, and the runs that have nothing left."""
    sql.execute(_STOPPED, {"now": now, "grace": statements.GRACE_SECONDS})
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
