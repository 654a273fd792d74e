"""A person stops a run for good, for a while, or lets it go on.

Each waits for whoever settles, retries or reports (`deltas.hold_run`), so that no decision meets a run
whose state is changing under it.
"""

from datetime import datetime

from django.db import transaction

from regulars.automations.models import ProviderAccount
from regulars.lib import sql
from regulars.runs import deltas, settling
from regulars.runs.deferring import chunk_job, defer, plan_job
from regulars.runs.models import AccountBucket, Run, RunState

OVER = (RunState.FINISHED, RunState.CANCELLED, RunState.FAILED, RunState.MISSED)


def cancel(run: Run, now: datetime) -> None:
    """Withhold what has not left, and give its occasions back.

    What a sender has claimed and not called at this moment comes back within a second, and is withheld by
    the next sweep. The run's row is touched last, in the order of locks of all others (`runs.deltas`).
    """
    with transaction.atomic():
        deltas.hold_run(run.pk, alone=True)
        going = Run.objects.filter(pk=run.pk).exclude(state__in=OVER)
        if going.exists():
            sql.execute(settling.WITHHOLD_QUEUED, {"run": run.pk, "now": now})
            going.update(state=RunState.CANCELLED, finished_at=now)


def pause(run: Run, reason: str) -> None:
    """Stop claiming; calls in flight end and are recorded."""
    going = Run.objects.filter(pk=run.pk, state__in=[RunState.SENDING, RunState.WAITING])
    going.update(state=RunState.PAUSED, reason=reason)


def resume(run: Run, now: datetime) -> None:
    """Everything that is left is due now, and accounts that were broken are tried again."""
    with transaction.atomic():
        deltas.hold_run(run.pk, alone=True)
        paused = Run.objects.filter(pk=run.pk, state=RunState.PAUSED)
        if paused.update(state=RunState.SENDING, reason=""):
            _wake(run, now)
        elif Run.objects.filter(pk=run.pk, state=RunState.PLANNING).exists():
            defer([plan_job(run.pk)])


def _wake(run: Run, now: datetime) -> None:
    chunks = run.chunks.filter(closed=False)
    accounts = list(chunks.values_list("account_id", flat=True).distinct())
    chunks.update(next_due=now)
    ProviderAccount.objects.filter(pk__in=accounts).update(broken_reason="")
    closed = {"paused_until": None, "strikes": 0, "pause_reason": ""}
    AccountBucket.objects.filter(pk__in=accounts).update(**closed)
    defer([chunk_job(chunk.pk, urgent=chunk.urgent) for chunk in chunks])
