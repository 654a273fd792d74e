"""From an answer of Twilio to an outcome. Pure."""

from datetime import timedelta

from regulars.lib.http import Answer
from regulars.providers.base import Outcome, Verdict
from regulars.providers.classes import Refusal, plain
from regulars.providers.twilio import tables

# A longer wish is a mistake or a matter for a person.
LONGEST_WAIT = timedelta(hours=1)


def outcome_of(answer: Answer, *secrets: str) -> Outcome:
    """A known code decides; else the status. What does not say is unknown, never a second send."""
    document = answer.json_object()
    if 200 <= answer.status < 300:
        return _accepted(document.get("sid"), answer.status)
    code = document.get("code")
    refusal = tables.CODES.get(code) if isinstance(code, int) else None
    words = "" if refusal else plain(str(document.get("message") or ""), *secrets)
    name = str(code) if isinstance(code, int) else f"http_{answer.status}"
    refusal = refusal or _by_status(answer.status, coded=isinstance(code, int))
    return refusal.outcome(name, words, retry_after(answer.headers.get("retry-after", "")))


def retry_after(value: str) -> timedelta | None:
    """The header in seconds, at most an hour; a date (Twilio sends none) counts as absent."""
    if not (value.isascii() and value.strip().isdigit()):
        return None
    return min(timedelta(seconds=int(value[:9])), LONGEST_WAIT)


def _accepted(sid: object, status: int) -> Outcome:
    if isinstance(sid, str) and sid:
        return Outcome(Verdict.ACCEPTED, provider_id=sid[:64])
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
