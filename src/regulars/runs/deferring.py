"""Asking the task engine for work, always inside the caller's own transaction.

The app's own connector has a pool of its own in a worker and would commit apart from the ledger, so
that a job could exist without its rows or rows without their job. This is the only door; a test
forbids others. The task engine's own function does the insert; a job that already waits under the
same name is not asked for twice.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from regulars.lib import sql

URGENT = "urgent"
BULK = "bulk"
PLAN = "plan"
HOUSEKEEPING = "housekeeping"
WEBHOOKS = "webhooks"
CALLBACKS = "callbacks"

_DEFER = """
SELECT procrastinate_defer_jobs_v1(array_agg(
         ROW(wanted.queue, wanted.task, wanted.priority, NULL, wanted.name,
             wanted.arguments, wanted.start)::procrastinate_job_to_defer_v1))
  FROM jsonb_to_recordset(%(jobs)s::jsonb)
       AS wanted (queue text, task text, priority int, name text, arguments jsonb, start timestamptz)
 WHERE NOT EXISTS (SELECT 1 FROM procrastinate_jobs waiting
                    WHERE waiting.queueing_lock = wanted.name AND waiting.status = 'todo')
HAVING count(*) > 0
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A wish for a task to be run: `name` is unique among the waiting ones."""

    task: str
    name: str
    queue: str
    arguments: dict[str, Any] = field(default_factory=dict)
    start: datetime | None = None
    priority: int = 0


def plan_job(run_id: object, start: datetime | None = None) -> Job:
    """Plan this run."""
    return Job("regulars.plan_run", f"plan:{run_id}", PLAN, {"run_id": str(run_id)}, start)


def chunk_job(chunk_id: int, *, urgent: bool, start: datetime | None = None) -> Job:
    """Send what is due of this chunk."""
    queue = URGENT if urgent else BULK
    return Job("regulars.send_chunk", f"chunk:{chunk_id}", queue, {"chunk_id": chunk_id}, start)


def tick_job() -> Job:
    """Tick once more at once."""
    return Job("regulars.tick", "tick", HOUSEKEEPING, {"timestamp": 0})


def apply_callbacks_job(start: datetime | None = None) -> Job:
    """Apply the callbacks that are due; at `start` where some are due again."""
    return Job("regulars.apply_callbacks", "apply_callbacks", CALLBACKS, {"timestamp": 0}, start)


def ask_job(automation_id: object, subjects: Sequence[int], start: datetime) -> Job:
    """Ask at `start` whether these customers are due, and for a run if they are.

    The name holds the customers: another wish for the same moment is about others.
    """
    whom = hashlib.sha256(json.dumps(list(subjects)).encode()).hexdigest()[:16]
    name = f"ask:{automation_id}:{start.isoformat()}:{whom}"
    arguments = {"automation_id": str(automation_id), "subjects": list(subjects)}
    return Job("regulars.ask", name, PLAN, arguments, start)


def statement(jobs: Sequence[Job]) -> tuple[str, dict[str, str]]:
    """The statement that defers `jobs`, for whichever connection holds the transaction."""
    wanted = [
        {
            "queue": job.queue,
            "task": job.task,
            "priority": job.priority,
            "name": job.name,
            "arguments": job.arguments,
            "start": job.start.isoformat() if job.start else None,
        }
        for job in jobs
    ]
    return _DEFER, {"jobs": json.dumps(wanted)}


def defer_new(jobs: Sequence[Job]) -> None:
    """`defer` for jobs about what this transaction has just made: nobody else can have asked for them."""
    sql.fetch_rows(*statement(jobs))


def defer(jobs: Sequence[Job]) -> None:
    """Defer `jobs` on Django's connection: they exist exactly if its transaction commits.

    Somebody else may ask for the same job at the same moment: one of the two is enough.
    """
    if not jobs:
        return
    try:
        with transaction.atomic():
            sql.fetch_rows(*statement(jobs))
    except IntegrityError:
        for job in jobs:
            with suppress(IntegrityError), transaction.atomic():
                sql.fetch_rows(*statement([job]))
