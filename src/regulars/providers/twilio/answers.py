"""From an answer of Twilio to an outcome. Pure."""

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from regulars.lib.http import Answer
from regulars.providers.base import Checked, Outcome, Verdict
from regulars.providers.classes import Refusal, plain
from regulars.providers.twilio import tables

# A longer wish is a mistake or a matter for a person.
LONGEST_WAIT = timedelta(hours=1)
# What the ledger can keep and a person can type.
ID = re.compile(r"[!-~]{1,64}")


def outcome_of(answer: Answer, *secrets: str) -> Outcome:
    """A known code decides; else the status. What does not say is unknown, never a second send."""
    document = answer.json_object()
    if 200 <= answer.status < 300:
        return _accepted(document.get("sid"), answer.status)
    code = _code(document)
    refusal = None if code is None else tables.CODES.get(code)
    words = "" if refusal else plain(_text(document.get("message")), *secrets)
    name = f"http_{answer.status}" if code is None else str(code)
    refusal = refusal or _by_status(answer.status, coded=code is not None)
    wish = retry_after(answer.headers.get("retry-after", ""), answer.headers.get("date", ""))
    return refusal.outcome(name, words, wish)


def retry_after(value: str, date: str = "") -> timedelta | None:
    """The header, at most an hour: seconds, or a date (Twilio sends none, what stands in between
    may), which is counted from the answer's own `date` and not from our clock.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=int(value[:9])), LONGEST_WAIT)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), LONGEST_WAIT)


def _code(document: dict[str, Any]) -> int | None:
    code = document.get("code")
    # `true` is an int to Python.
    return code if type(code) is int and 0 <= code < 1_000_000 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _accepted(sid: object, status: int) -> Outcome:
    if isinstance(sid, str) and ID.fullmatch(sid):
        return Outcome(Verdict.ACCEPTED, provider_id=sid)
    return tables.UNCLEAR.outcome(f"http_{status}", "success without an id")


def _by_status(status: int, *, coded: bool) -> Refusal:
    if status == 401:
        return tables.UNAUTHORIZED
    if status == 429:
        return tables.TOO_MANY
    # 307 and 308 say that nothing was done here; the older redirects may follow a processed form.
    if status in (307, 308) or (status in (403, 404, 405) and not coded):
        return tables.NOT_THE_API
    # 408 comes from intermediaries, which cannot speak for Twilio.
    if 400 <= status < 500 and status != 408:
        return tables.REFUSED
    return tables.UNCLEAR


def state_of(account: dict[str, Any]) -> Checked:
    """What the account's page says: Twilio shows it even where nothing may be sent."""
    codes = {"suspended": 30002, "closed": 20005}
    if code := codes.get(str(account.get("status"))):
        return Checked(works=False, words=tables.CODES[code].words)
    return Checked(works=True, words="Twilio knows the account.")
