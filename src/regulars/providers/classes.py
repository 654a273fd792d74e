"""The finer classes of refusal that the vendors' code tables use, and the outcome each one means.

Pure. Vendors write their tables as `{code: Refusal(...)}`; nobody outside the vendors' folders
reads these classes: the engine knows verdicts only.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from regulars.providers.base import Outcome, Verdict


class ErrorClass(StrEnum):
    """What a vendor's code is about."""

    # The address: never again for this occasion.
    PERMANENT = "permanent"
    # The guest said stop: as permanent, and to be suppressed.
    OPT_OUT = "opt_out"
    # This recipient only, not before `retry_after`.
    LATER = "later"
    # Rate and queues: the whole account slows down.
    TEMPORARY = "temporary"
    # This message only; also every code that no table knows.
    MESSAGE = "message"
    STOP_TEMPLATE = "stop_template"
    STOP_ACCOUNT = "stop_account"
    # May have been processed.
    UNKNOWN = "unknown"


VERDICTS = {
    ErrorClass.PERMANENT: Verdict.REJECTED,
    ErrorClass.OPT_OUT: Verdict.REJECTED,
    ErrorClass.LATER: Verdict.THROTTLED,
    ErrorClass.TEMPORARY: Verdict.THROTTLED,
    ErrorClass.MESSAGE: Verdict.REJECTED,
    ErrorClass.STOP_TEMPLATE: Verdict.STOP_TEMPLATE,
    ErrorClass.STOP_ACCOUNT: Verdict.STOP_ACCOUNT,
    ErrorClass.UNKNOWN: Verdict.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of a vendor's table: the class, words for people, whether the address is to blame."""

    error_class: ErrorClass
    words: str
    bad_address: bool = False
    retry_after: timedelta | None = None
    # Each further try waits twice as long.
    growing: bool = False

    def outcome(self, code: str, detail: str = "", retry_after: timedelta | None = None) -> Outcome:
        """The outcome; `detail` is the vendor's own text, `retry_after` the vendor's own wish, which
        counts only where the message comes back by itself.
        """
        verdict = VERDICTS[self.error_class]
        return Outcome(
            verdict,
            code=code,
            error=f"{self.words} ({detail})" if detail else self.words,
            retry_after=(retry_after or self.retry_after) if verdict is Verdict.THROTTLED else None,
            bad_address=self.bad_address,
            opt_out=self.error_class is ErrorClass.OPT_OUT,
            this_address_only=self.error_class is ErrorClass.LATER,
            growing=self.growing,
            permanent=self.error_class is ErrorClass.PERMANENT,
        )


def plain(text: str, *secrets: str, limit: int = 200) -> str:
    """A vendor's own text, fit for a page: one line, at most `limit` characters, and without any of
    `secrets`, should the vendor have echoed one.
    """
    for secret in filter(None, secrets):
        text = text.replace(secret, "•••")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
