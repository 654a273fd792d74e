"""The states of a message: which follows from which, and what an outcome makes of a message.

Pure. Legal transitions besides the way forward: sending -> queued (never left, throttled), failed
(temporary) -> queued, unknown -> queued (a person's decision, or at-least-once), queued ->
withheld, unknown -> sent or failed. Callbacks never lower `delivered` or `read`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from regulars.providers.base import Outcome, Verdict
from regulars.runs.models import MessageState

# Tries of one message that was certainly not taken, and the pauses between them.
MOST_ATTEMPTS = 5
_PAUSES = tuple(timedelta(seconds=pause) for pause in (1, 5, 30, 300))


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a message after an outcome; `retry_at` only where it goes back to `queued`."""

    state: MessageState
    reason: str = ""
    retry_at: datetime | None = None


_FINAL = {
    Verdict.ACCEPTED: Next(MessageState.SENT),
    Verdict.REJECTED: Next(MessageState.FAILED, "permanent"),
    Verdict.UNKNOWN: Next(MessageState.UNKNOWN, "no_answer"),
}
_STOPS = (Verdict.STOP_ACCOUNT, Verdict.STOP_TEMPLATE)


def after(
    outcome: Outcome | None,
    attempt: int,
    now: datetime,
    *,
    at_least_once: bool = False,
    account_is_down: bool = False,
) -> Next:
    """The next state of a message whose attempt number `attempt` (from 1) ended in `outcome`.

    None: it was claimed and handed back before it left. `account_is_down`: nobody gets through, so
    that it is not this message's fault and no try of its five is lost for good.
    """
    if outcome is None:
        return Next(MessageState.QUEUED, "handed_back", now)
    if outcome.verdict is Verdict.UNKNOWN and at_least_once and attempt < MOST_ATTEMPTS:
        return Next(MessageState.QUEUED, "no_answer", now + _PAUSES[attempt - 1])
    if outcome.verdict in _FINAL:
        return _FINAL[outcome.verdict]
    if outcome.verdict in _STOPS:
        return Next(MessageState.QUEUED, str(outcome.verdict), now)
    if attempt >= MOST_ATTEMPTS and not account_is_down:
        return Next(MessageState.FAILED, "temporary")
    return Next(
        MessageState.QUEUED, "held_back" if outcome.growing else "retry", now + _pause(outcome, attempt)
    )


def _pause(outcome: Outcome, attempt: int) -> timedelta:
    """The provider's wish, doubled with each try where it holds back for the guest's sake; else ours."""
    wish = outcome.retry_after
    if wish is None:
        return _PAUSES[min(attempt, len(_PAUSES)) - 1]
    return wish * 2 ** (attempt - 1) if outcome.growing else wish
