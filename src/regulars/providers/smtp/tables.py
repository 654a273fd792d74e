"""What a mail server's replies mean for us (RFC 5321, RFC 3463). Pure.

A reply is judged by its enhanced code if it has one, else by its basic code; the first row that
fits is taken. The rows hold for replies about a recipient or a letter. A refusal before a
recipient was named (greeting, TLS, login, sender) can only be about the account.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from regulars.providers.base import Outcome, Verdict
from regulars.providers.classes import ErrorClass, Refusal, plain


class Stage(StrEnum):
    """How far a hand-over has come. After WRITTEN nobody can take the letter back."""

    CONNECT = "connect"
    SENDER = "sender"
    RECIPIENT = "recipient"
    DATA = "data"
    WRITTEN = "written"


@dataclass(frozen=True, slots=True)
class Row:
    """Matches by the beginning of the basic code, and by the enhanced one where given: all of it, or
    its beginning where that ends in a dot.
    """

    basic: str
    enhanced: str
    refusal: Refusal

    def fits(self, basic: str, enhanced: str) -> bool:
        """Whether a reply is one of these."""
        whole = self.enhanced and not self.enhanced.endswith(".")
        same = enhanced == self.enhanced if whole else enhanced.startswith(self.enhanced)
        return same and basic.startswith(self.basic)


_C = ErrorClass
_MINUTE, _GREYLISTED, _FULL = timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1)
_ADDRESS = Refusal(_C.PERMANENT, "Invalid address", bad_address=True)
_LOGIN = Refusal(_C.STOP_ACCOUNT, "The mail server refuses the login: check username and password")
_SENDER = Refusal(_C.STOP_ACCOUNT, "The mail server refuses the sender: check from_address")
_SLOWER = Refusal(_C.TEMPORARY, "The mail server asks to slow down", retry_after=_MINUTE)
_QUOTA = Refusal(_C.TEMPORARY, "The mail account's quota is used up", retry_after=_FULL)
_BLOCKED = Refusal(_C.STOP_ACCOUNT, "The mail service has blocked the account: ask it why")
_TOO_LARGE = Refusal(_C.STOP_TEMPLATE, "The mail server takes no letter this large: shorten the template")

ROWS = (
    Row("535", "", _LOGIN),
    Row("534", "", _LOGIN),
    Row("530", "", _LOGIN),
    Row("421", "", _SLOWER),
    Row("4", "4.7.", _SLOWER),
    Row("4", "4.2.2", Refusal(_C.LATER, "The mailbox is full", retry_after=_FULL)),
    Row("5", "5.2.2", Refusal(_C.LATER, "The mailbox is full", retry_after=_FULL)),
    Row("4", "", Refusal(_C.LATER, "The mail server asks to try later", retry_after=_GREYLISTED)),
    Row("5", "5.3.4", _TOO_LARGE),
    # Gmail's and Exchange's words for a day's quota, which look like a guest's fault.
    *(Row("5", code, _QUOTA) for code in ("5.4.5", "5.1.90", "5.7.232", "5.7.233")),
    *(
        Row("5", code, _BLOCKED)
        for code in ("5.7.501", "5.7.502", "5.7.503", "5.7.705", "5.7.708", "5.7.750")
    ),
    *(Row("5", code, _SENDER) for code in ("5.1.7", "5.1.8", "5.7.60")),
    Row("5", "5.1.", _ADDRESS),
    Row("5", "5.7.", Refusal(_C.MESSAGE, "The mail server refuses the message by its policy")),
    Row("5", "", Refusal(_C.PERMANENT, "The mail server refuses the message")),
)
# Before a recipient was named: a 4xx is about now, a 5xx about the account.
EARLY = {
    Stage.CONNECT: Refusal(
        _C.STOP_ACCOUNT, "The mail server refuses the connection: ask the mail service why"
    ),
    Stage.SENDER: _SENDER,
}
# These keep their meaning there, too.
ABOUT_THE_ACCOUNT = (_LOGIN, _SLOWER, _QUOTA, _BLOCKED)
EARLY_LATER = Refusal(_C.TEMPORARY, "The mail server asks to try later", retry_after=_MINUTE)

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\b")


def reply_outcome(stage: Stage, basic: int, text: str, *secrets: str) -> Outcome:
    """The outcome of a refusal (4xx or 5xx); any other number is no answer at all."""
    if not 400 <= basic <= 599:
        return silence(stage, f"unexpected reply {basic}")
    found = _ENHANCED.match(text)
    enhanced = found[1] if found and found[1][0] == str(basic)[0] else ""
    refusal = _refusal(stage, str(basic), enhanced)
    return refusal.outcome(f"{basic} {enhanced}".strip(), plain(f"{basic} {text}", *secrets))


def silence(stage: Stage, words: str) -> Outcome:
    """The outcome when no reply came: known before the final dot was written, unknown after it."""
    if stage is Stage.WRITTEN:
        sentence = f"The mail server did not answer, so the message may have been sent: {words}"
        return Outcome(Verdict.UNKNOWN, code="no_answer", error=sentence)
    sentence = f"The mail server cannot be used: {words}"
    return Outcome(Verdict.UNAVAILABLE, code="not_written", error=sentence)


def _refusal(stage: Stage, basic: str, enhanced: str) -> Refusal:
    refusal = next(row.refusal for row in ROWS if row.fits(basic, enhanced))
    if stage not in EARLY or refusal in ABOUT_THE_ACCOUNT:
        return refusal
    return EARLY_LATER if basic.startswith("4") else EARLY[stage]
