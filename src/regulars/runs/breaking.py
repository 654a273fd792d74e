"""The circuit breaker's judgment: when an account, not a guest, is what fails.

Pure, kept by one lane while it sends; what it decides is shared through the account's bucket.
Without it a provider that is away for an hour would fail five thousand guests one by one, or leave
each of them in doubt.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from regulars.providers.base import Outcome, Verdict

# So many calls in a row that brought no answer mean that the service is away.
FAILURES_IN_A_ROW = 16
# So many refusals in a row for one and the same reason are no longer about the guests.
REFUSALS_IN_A_ROW = 50
# The least pauses after the first strike: for a service that is away, and for one that is busy.
_AWAY = timedelta(seconds=5)
_BUSY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Judgment:
    """What follows for the account.

    `reason` (not empty) opens the breaker for `pause` at least, doubled with each strike;
    `works_again` closes it; `refused` stops what everybody is refused for.
    """

    reason: str = ""
    pause: timedelta = _AWAY
    works_again: bool = False
    refused: Outcome | None = None


class Breaker:
    """Counts what a lane's calls say about the account. `strikes`: how often it failed before."""

    def __init__(self, strikes: int = 0) -> None:
        # One message tries, and only its answer opens the way for more.
        self.on_trial = strikes > 0
        self._failures = 0
        self._refusals = 0
        self._refusal = Outcome(Verdict.REJECTED)
        self._judgment = Judgment()

    @property
    def account_is_down(self) -> bool:
        """Whether a failure now says nothing about the message that met it."""
        return self.on_trial or bool(self._judgment.reason)

    def allows(self, room: int, under_way: int = 0) -> int:
        """How many of `room` messages may be claimed: none where the next judgment ends the sending.

        And none in the place of those that have just failed in a row: they may be in doubt as well,
        and one window of doubts is enough. One at least where none is `under_way` (claimed, and without
        an end yet), or nobody would learn that it works again.
        """
        if self._judgment.reason or self._judgment.refused is not None:
            return 0
        least = 0 if under_way else min(room, 1)
        return max(least, room - self._failures)

    def count(self, outcome: Outcome | None) -> None:
        """Take one outcome into account; None is a message that never left."""
        if outcome is None or outcome.this_address_only:
            return
        match outcome.verdict:
            case Verdict.ACCEPTED:
                self._answered()
                self._refusals = 0
            case Verdict.REJECTED:
                self._refused(outcome)
            case Verdict.THROTTLED:
                self._open(outcome, max(outcome.retry_after or _AWAY, _BUSY))
            case Verdict.UNAVAILABLE | Verdict.UNKNOWN:
                self._failures += 1
                if self.on_trial or self._failures >= FAILURES_IN_A_ROW:
                    self._open(outcome, outcome.retry_after or _AWAY)

    def judge(self) -> Judgment:
        """What follows from all that was counted since the last question."""
        judgment, self._judgment = self._judgment, Judgment()
        return judgment

    def _answered(self) -> None:
        self._failures = 0
        if self.on_trial:
            self.on_trial = False
            self._judgment = replace(self._judgment, works_again=True)

    def _open(self, outcome: Outcome, pause: timedelta) -> None:
        self._judgment = Judgment(reason=outcome.error or str(outcome.verdict), pause=pause)

    def _refused(self, outcome: Outcome) -> None:
        if outcome.code != "template":
            self._answered()
        if outcome.bad_address or outcome.opt_out:
            # A list with many bad addresses is no fault of the account.
            return
        self._refusals = self._refusals + 1 if outcome.code == self._refusal.code else 1
        self._refusal = outcome
        if self._refusals >= REFUSALS_IN_A_ROW:
            self._refusals = 0
            self._judgment = replace(self._judgment, refused=_stop(outcome))


def _stop(refusal: Outcome) -> Outcome:
    """What everybody is refused for is about the template or the account."""
    template = refusal.code == "template"
    words = f"{REFUSALS_IN_A_ROW} messages in a row were refused with the same answer"
    return Outcome(
        Verdict.STOP_TEMPLATE if template else Verdict.STOP_ACCOUNT,
        code=refusal.code,
        error=f"{words}: {refusal.error}. Nothing more is sent until somebody has looked: "
        f"mend the {'template' if template else 'account or its settings'}, then resume.",
    )
