"""Runs stop because the provider said by itself that the account or the template cannot be used.

The same as when it answers a message so (`runs.recording.stop`), in the same order of locks: the runs,
then the account.
"""

from django.db import transaction

from regulars.automations.models import Automation, ProviderAccount
from regulars.lib import sql
from regulars.runs import statements
from regulars.runs.models import Run, RunState

_GOING = (RunState.PLANNING, RunState.SENDING, RunState.WAITING)


def break_account(account: ProviderAccount, reason: str) -> None:
    """Every run that still needs the account waits with it, and the reason stands at both."""
    values = {"account": account.pk, "reason": reason}
    with transaction.atomic():
        sql.execute(statements.PAUSE_RUNS_OF_ACCOUNT, values)
        sql.execute(statements.BREAK_ACCOUNT, values)


def pause_runs_of(automation: Automation) -> None:
    """The runs of what the automation says now wait, for the reason for which it is paused."""
    going = Run.objects.filter(
        automation=automation, version__number=automation.version_number, state__in=_GOING
    )
    for run_id in going.order_by("pk").values_list("pk", flat=True):
        sql.execute(statements.PAUSE_RUN, {"run": run_id, "reason": automation.paused_reason})
