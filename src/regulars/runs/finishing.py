"""Counting a run, ending it, and saying in the log that it is over."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Sum

from regulars.lib import sql
from regulars.runs import statements
from regulars.runs.models import Run, RunState

log = structlog.get_logger("regulars.runs")

_NAMES = ("sent", "failed", "unknown", "withheld")


@dataclass(frozen=True, slots=True)
class Counts:
    """`processed = sent + skipped + failed + held`; unknown is part of failed, withheld of skipped."""

    processed: int = 0
    sent: int = 0
    skipped: int = 0
    failed: int = 0
    held: int = 0
    unknown: int = 0
    withheld: int = 0
    skipped_by_reason: dict[str, int] = field(default_factory=dict)


def count(run: Run) -> Counts:
    """The counts of a run as far as it has come, summed from its chunks while it has any."""
    sums = run.totals if run.purged_at else _summed(run)
    sent, failed, unknown, withheld = (sums.get(name) or 0 for name in _NAMES)
    skipped = sum(run.skipped_by_reason.values()) + withheld
    return Counts(
        processed=run.due,
        sent=sent,
        skipped=skipped,
        failed=failed + unknown,
        held=max(0, run.due - sent - failed - unknown - skipped),
        unknown=unknown,
        withheld=withheld,
        skipped_by_reason=dict(run.skipped_by_reason),
    )


def _summed(run: Run) -> dict[str, int | None]:
    return run.chunks.aggregate(**{name: Sum(name) for name in _NAMES})


def finish(run_id: UUID, now: datetime) -> bool:
    """End the run if each of its chunks is closed; whether it ended now."""
    values = {"run": run_id, "now": now}
    with transaction.atomic():
        return bool(
            sql.fetch_rows(statements.LOCK_IF_OVER, values) and sql.fetch_rows(statements.FINISH, values)
        )


def report_finished(run_id: str) -> None:
    """Write the ordered document's log line for a run that has just finished."""
    run = Run.objects.filter(pk=run_id, state=RunState.FINISHED).first()
    if run is None:
        return
    counts = count(run)
    log.info(
        "Automation executed successfully",
        component="AutomationsAPI",
        automationId=str(run.automation_id),
        runId=run_id,
        processed=counts.processed,
        sent=counts.sent,
        skipped=counts.skipped,
        failed=counts.failed,
    )
