"""What every adapter that speaks HTTP makes of a call: its answer, or the outcome of having none."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from regulars.lib.http import Answer, NoAnswerError, NotWrittenError
from regulars.providers.base import Checked, Outcome, Verdict
from regulars.providers.classes import ErrorClass, Refusal

# A longer wish is a mistake or a matter for a person.
LONGEST_WAIT = timedelta(hours=1)
# What a person can type.
ID = re.compile(r"[!-~]{1,255}")

_C = ErrorClass


async def answer_of(vendor: str, call: Awaitable[Answer]) -> Answer | Outcome:
    """The answer; UNAVAILABLE where the request was certainly not written, UNKNOWN where no whole
    answer came after it was.
    """
    try:
        return await call
    except NotWrittenError as error:
        words = f"{vendor} cannot be reached: {error}"
        return Outcome(Verdict.UNAVAILABLE, code="not_written", error=words)
    except NoAnswerError as error:
        words = f"{vendor} did not answer, so the message may have been sent: {error}"
        return Outcome(Verdict.UNKNOWN, code="no_answer", error=words)


async def look(
    vendor: str,
    call: Awaitable[Answer],
    refusal_of: Callable[[Answer], Outcome],
    found: Callable[[dict[str, Any]], Checked],
) -> Checked:
    """What a question that sends nothing says of an account: what is found in the answer, or the words
    of the refusal.
    """
    answer = await answer_of(vendor, call)
    if isinstance(answer, Answer):
        return found(answer.json_object()) if answer.status == 200 else _wrong(refusal_of(answer).error)
    unreached = answer.verdict is Verdict.UNAVAILABLE
    return _wrong(answer.error if unreached else f"{vendor} did not answer in time.")


def known_by(vendor: str) -> Callable[[dict[str, Any]], Checked]:
    """For `look`: that there is an answer is all that can be known."""
    return lambda _: Checked(works=True, words=f"{vendor} knows the account.")


def _wrong(words: str) -> Checked:
    return Checked(works=False, words=words)


def wait_of(headers: Mapping[str, str], *names: str) -> timedelta | None:
    """How long to wait, in seconds by the first of these headers that says so; at most an hour."""
    for name in names:
        value = headers.get(name, "").strip()
        if value.isascii() and value.isdigit():
            return min(timedelta(seconds=int(value[:9])), LONGEST_WAIT)
    return None


@dataclass(frozen=True, slots=True)
class Statuses:
    """What an HTTP status means where no code of the vendor's table says more.

    `credentials` names the options to check.
    """

    vendor: str
    credentials: str

    def refusal(self, status: int, *, coded: bool) -> Refusal:
        """`coded`: the vendor's own error came with it, so it was its API that answered."""
        if status == 401:
            return Refusal(_C.STOP_ACCOUNT, f"{self.vendor} does not accept {self.credentials}: check it")
        if status == 402:
            return Refusal(_C.STOP_ACCOUNT, f"The {self.vendor} account is out of credit")
        if status == 429:
            return Refusal(_C.TEMPORARY, "Too many requests at once")
        # 307 and 308 say that nothing was done here; the older redirects may follow what was.
        if status in (307, 308) or (status in (403, 404, 405) and not coded):
            words = f"No {self.vendor} API at this address, or not for this account: check base_url"
            return Refusal(_C.STOP_ACCOUNT, words)
        # 408 comes from intermediaries, which cannot speak for the vendor.
        if 400 <= status < 500 and status != 408:
            return Refusal(_C.MESSAGE, f"{self.vendor} refuses the message")
        return self.unclear()

    def unclear(self) -> Refusal:
        """The answer to a request that may have been processed."""
        words = f"{self.vendor}'s answer does not say whether the message was taken"
        return Refusal(_C.UNKNOWN, words)


def accepted(provider_id: object, statuses: Statuses, status: int) -> Outcome:
    """Accepted under the vendor's id; unknown where the answer has none."""
    if isinstance(provider_id, int) and not isinstance(provider_id, bool):
        provider_id = str(provider_id)
    if isinstance(provider_id, str) and ID.fullmatch(provider_id):
        return Outcome(Verdict.ACCEPTED, provider_id=provider_id)
    return statuses.unclear().outcome(f"http_{status}", "success without an id")
