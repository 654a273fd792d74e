"""The table of contents of the engine: edges call these and nothing else of `runs`."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync

from regulars.automations.models import Automation
from regulars.customers.models import Customer
from regulars.lib import sql
from regulars.lib.clock import iso_millis
from regulars.lib.masking import mask_address, mask_text
from regulars.organizations.models import Organization, User
from regulars.providers.base import Report
from regulars.runs import (
    bulk_reporting,
    events,
    explaining,
    guarding,
    previewing,
    removing,
    reporting,
    requesting,
    retrying,
    settling,
    steering,
    ticking,
)
from regulars.runs.bulk_reporting import Unheard
from regulars.runs.choosing import AutomationNotReadyError, require_ready
from regulars.runs.explaining import Explanation
from regulars.runs.finishing import Counts, count
from regulars.runs.guarding import Reach, ReachGrewError
from regulars.runs.holds import Hold, holds
from regulars.runs.models import Message, MessageState, Run, RunState, RunVerdict
from regulars.runs.pausing import break_account, pause_runs_of
from regulars.runs.previewing import Guest, Preview, VerdictRow
from regulars.runs.reporting import Learned, News, NoSuchMessageError
from regulars.runs.requesting import AutomationNotActiveError
from regulars.runs.retrying import NeverAgainError, Retried
from regulars.runs.sampling import Sample
from regulars.runs.settling import Decision, NotUnknownError, RunStoppedError
from regulars.runs.steering import OVER
from regulars.runs.ticking import Ticked

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from regulars.runs.looking_up import LookedUp

__all__ = [
    "AutomationNotActiveError",
    "AutomationNotReadyError",
    "Counts",
    "Decision",
    "Explanation",
    "Guest",
    "Hold",
    "Learned",
    "NeverAgainError",
    "News",
    "NoSuchMessageError",
    "NotUnknownError",
    "Preview",
    "Reach",
    "ReachGrewError",
    "Report",
    "Retried",
    "RunStoppedError",
    "Sample",
    "Ticked",
    "Unheard",
    "VerdictRow",
    "answer",
    "break_account",
    "cancel",
    "count_due",
    "counts",
    "explain",
    "forecast",
    "forecast_all",
    "guard",
    "guard_import",
    "happened",
    "has_ended",
    "holds",
    "is_over",
    "look_up",
    "pause",
    "pause_runs_of",
    "preview",
    "reach_of",
    "remove_organization",
    "report",
    "report_all",
    "resume",
    "retry",
    "retryable",
    "settle",
    "settle_all",
    "start",
    "tick",
    "verdicts",
    "worker_alive",
]

# The ordered document's `errors` holds this many sentences at most, then one that says where the rest is.
MOST_ERRORS = 100


def preview(
    automation: Automation,
    now: datetime,
    subjects: Sequence[int] | None = None,
    *,
    limit: int = 100,
    sample: int = 0,
) -> Preview:
    """The run without writing and sending: the same query, judged at `now`.

    Counts, up to `limit` verdicts, and `sample` messages chosen to differ. Takes the longer the more
    are due; `count_due` comes at once.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    return previewing.preview(automation, now, subjects, limit=limit, sample=sample)


def count_due(automation: Automation, now: datetime) -> int:
    """How many verdicts a preview would count, without judging anybody.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    return previewing.count_due(automation, now)


def forecast(
    automation: Automation, now: datetime, *, after: int = 0, limit: int = 100, verdict: str = ""
) -> tuple[list[Guest], int | None]:
    """The verdicts of the next `limit` guests by id, and the id after which to read on (None: the end).

    `verdict`: only `send`, or the code of one reason; such a page may be short, or empty, before the end.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    return previewing.page(automation, now, after=after, limit=limit, verdict=verdict)


def forecast_all(automation: Automation, now: datetime, verdict: str = "") -> Iterator[Guest]:
    """Every verdict (or one, as in `forecast`) by id of the guest, a few thousand in memory at a time.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    return previewing.everybody(automation, now, verdict)


def reach_of(automation: Automation, now: datetime) -> Reach:
    """What switching an automation on would do at once; nothing is written."""
    return guarding.reach_of(automation, now)


def guard(automation: Automation, now: datetime, agreed: int | None = None) -> Reach:
    """After an automation was switched on: what it would do at once, and whether that is held back.

    Raises:
        ReachGrewError: it would write to more guests than were agreed to.
    """
    return guarding.guard(automation, now, agreed)


def guard_import(organization: Organization, now: datetime) -> list[Reach]:
    """After an import: the automations that start from now on, because too many became due at once."""
    return guarding.guard_import(organization, now)


def start(
    automation: Automation,
    *,
    now: datetime,
    origin: str = requesting.MANUAL,
    user: User | None = None,
    subjects: Sequence[int] | None = None,
) -> Run:
    """Start a run, or join the one that already covers this wish.

    Raises:
        AutomationNotActiveError: the automation is off, deleted or paused.
        AutomationNotReadyError: no account can send on any of its channels.
    """
    if automation.enabled:
        require_ready(automation.current_version, now)
    return requesting.request(automation, now=now, origin=origin, user=user, subjects=subjects)


def tick(now: datetime) -> Ticked:
    """Start what is due by its schedule, each slot once, whoever else ticks at the same moment."""
    return ticking.tick(now)


def happened(organization: Organization, event: str, customers: Sequence[int], now: datetime) -> None:
    """Something changed about these customers: withhold what is no longer true, ask for their runs.

    `event` is the kind of row that changed (`visits`, `reservations`). In the caller's transaction.
    """
    events.happened(organization, event, customers, now)


def cancel(run: Run, now: datetime) -> None:
    """Stop for good: what has not left is withheld and gives its occasion back."""
    steering.cancel(run, now)


def pause(run: Run, reason: str) -> None:
    """Stop claiming; calls in flight end and are recorded."""
    steering.pause(run, reason)


def resume(run: Run, now: datetime) -> None:
    """Go on with what has not left: whoever says so has mended what was broken, or wants to know."""
    steering.resume(run, now)


def settle(message_id: int, decision: Decision, actor: str, now: datetime) -> Message:
    """A person decides an unknown: it arrived, send it again, or leave it.

    Raises:
        NotUnknownError: the message is not unknown (any more).
        RunStoppedError: it was to be sent again, and its run never sends again.
    """
    return settling.settle(message_id, decision, actor, now)


def settle_all(run: Run, decision: Decision, actor: str, now: datetime) -> int:
    """A person decides all unknowns of a run at once; how many they were.

    Raises:
        RunStoppedError: they were to be sent again, and the run never sends again.
    """
    return settling.settle_all(run, decision, actor, now)


def retry(run: Run, actor: str, now: datetime, failures: str = retrying.TEMPORARY) -> Retried:
    """One more try for each message that failed for a reason which may have passed.

    Raises:
        NeverAgainError: `failures` are not temporary ones.
        RunStoppedError: the run was cancelled or could not go on.
    """
    return retrying.retry(run, actor, now, failures)


def retryable(run: Run, now: datetime) -> Retried:
    """How many messages `retry` would try again, and for how many it is too late."""
    return retrying.forecast(run, now)


def report(news: News, now: datetime) -> Learned:
    """Take note of what a provider says later: once each, in any order, never sending anything.

    Raises:
        NoSuchMessageError: it is about no message of ours.
    """
    return reporting.report(news, now)


def report_all(news: Sequence[News], now: datetime) -> list[Learned | Unheard]:
    """Take note of many reports in one transaction: for each what was learned, or why not (yet).

    One whose message somebody else is writing at this moment is to be told again.
    """
    return bulk_reporting.report_all(news, now)


def remove_organization(organization: Organization, now: datetime) -> dict[str, int]:
    """Stop all that is under way and remove every row of the organization; returns rows by table.

    What crashed in between is finished by calling it again.
    """
    return removing.remove_organization(organization, now)


def counts(run: Run) -> Counts:
    """The counts of a run as far as it has come."""
    return count(run)


def is_over(run: Run) -> bool:
    """Whether waiting for this run is of no use: it ended, is paused, or has only future rows."""
    return run.state in (*OVER, RunState.PAUSED, RunState.WAITING)


def has_ended(run: Run) -> bool:
    """Whether nothing more will happen to this run by itself: a paused one may still go on."""
    return run.state in OVER


def answer(run: Run, *, show_addresses: bool, now: datetime) -> dict[str, Any]:
    """The ordered document's answer to a run call, with the counts so far."""
    number = count(run)
    body: dict[str, Any] = {
        "success": True,
        "processed": number.processed,
        "sent": number.sent,
        "skipped": number.skipped,
        "failed": number.failed,
        "held": number.held,
        "errors": _errors(run, show_addresses=show_addresses),
    }
    if message := _message(run):
        body["message"] = message
    return body | {"run_id": str(run.pk), "timestamp": iso_millis(now)}


def _message(run: Run) -> str:
    match run.state:
        case RunState.PAUSED:
            return f"Run paused: {run.reason}"
        case RunState.CANCELLED:
            return "Run cancelled"
        case RunState.WAITING:
            return "Run continues: some messages leave later"
        case RunState.PLANNING | RunState.SENDING:
            return "Run continues in the background"
    return ""


def _errors(run: Run, *, show_addresses: bool) -> list[str]:
    if not count(run).failed:
        # The usual case: do not look through a million messages for none.
        return []
    failed = Message.objects.filter(run=run, state__in=[MessageState.FAILED, MessageState.UNKNOWN]).order_by(
        "pk"
    )
    rows = list(failed.values_list("address", "error")[: MOST_ERRORS + 1])
    sentences = [_sentence(address, error, show_addresses) for address, error in rows[:MOST_ERRORS]]
    if len(rows) > MOST_ERRORS:
        more = failed.count() - MOST_ERRORS
        sentences.append(
            f"… and {more} more: see /api/runs/{run.pk}/messages?state=failed and ?state=unknown"
        )
    return sentences


def _sentence(address: str, error: str, show_addresses: bool) -> str:
    if show_addresses:
        return f"Failed to send to {address}: {error}"
    return f"Failed to send to {mask_address(address)}: {mask_text(error)}"


def verdicts(run: Run) -> "QuerySet[RunVerdict, RunVerdict]":
    """The full list of a run by hand: every customer who was due, with the reason if left out."""
    return RunVerdict.objects.filter(run_id=run.pk).order_by("ordinal")


def explain(customer: Customer, now: datetime, automation: Automation | None = None) -> list[Explanation]:
    """For each automation of the organization, or one, what it would decide about this customer and why.

    The same query as the run's, asked about one customer.
    """
    return explaining.explain(customer, now, automation)


def look_up(run: Run, now: datetime) -> "LookedUp":
    """Ask the providers what became of the run's messages in doubt; what they know settles them."""
    from regulars.runs import looking_up

    return async_to_sync(looking_up.look_up)(run.pk, now)


def worker_alive() -> bool:
    """Whether any worker has shown a sign of life lately."""
    recent = sql.fetch_rows(
        "SELECT 1 FROM procrastinate_workers WHERE last_heartbeat > now() - %(limit)s LIMIT 1",
        {"limit": timedelta(seconds=10)},
    )
    return bool(recent)
