"""From the answers of Postmark, Mailgun and Resend to outcomes. Pure."""

import json
from typing import Any

from regulars.lib.http import Answer
from regulars.providers.anymail import tables
from regulars.providers.base import Outcome
from regulars.providers.calling import Statuses, accepted, wait_of
from regulars.providers.classes import Refusal, plain

Outcomes = list[Outcome] | Outcome


def postmark(answer: Answer, number: int, *secrets: str) -> Outcomes:
    """One result for each letter, in order; or an error of the whole call."""
    results = _list(answer)
    if answer.status != 200:
        return _postmark_refusal(answer, answer.json_object(), secrets)
    if len(results) != number:
        return _incomplete(tables.POSTMARK_STATUSES, answer)
    return [_postmark_result(answer, one, secrets) for one in results]


def _postmark_result(answer: Answer, result: dict[str, Any], secrets: tuple[str, ...]) -> Outcome:
    # Where Postmark is slow, the code is missing and the message "may be delayed": it was taken.
    if result.get("ErrorCode", 0) == 0:
        return accepted(result.get("MessageID"), tables.POSTMARK_STATUSES, answer.status)
    return _postmark_refusal(answer, result, secrets)


def _postmark_refusal(answer: Answer, result: dict[str, Any], secrets: tuple[str, ...]) -> Outcome:
    code, words = result.get("ErrorCode"), plain(str(result.get("Message") or ""), *secrets)
    known = tables.POSTMARK.get(code) if type(code) is int else None
    if code == 300 and tables.POSTMARK_TO.match(words):
        known, words = tables.ADDRESS, ""
    elif code == 300 and tables.POSTMARK_FROM.match(words):
        known = tables.SENDER
    if type(code) is int and known is None and answer.status == 200:
        # An error of one letter whose code is new: that letter was refused.
        known = tables.POSTMARK[300]
    name = str(code) if type(code) is int else ""
    return _refused(tables.POSTMARK_STATUSES, answer, known, name, words)


def resend(answer: Answer, number: int, *secrets: str) -> Outcomes:
    """An id for each letter that was taken, in order, and the places of those that were not; or an
    error of the whole call.
    """
    document = answer.json_object()
    if not 200 <= answer.status < 300:
        return _resend_refusal(answer, document, secrets)
    taken, refused = document.get("data"), _resend_refused(document, secrets)
    fits = refused.keys() <= set(range(number))
    if not isinstance(taken, list) or len(taken) + len(refused) != number or not fits:
        return _incomplete(tables.RESEND_STATUSES, answer)
    ids = iter([one.get("id") if isinstance(one, dict) else None for one in taken])
    return [
        refused.get(place) or accepted(next(ids), tables.RESEND_STATUSES, answer.status)
        for place in range(number)
    ]


def _resend_refused(document: dict[str, Any], secrets: tuple[str, ...]) -> dict[int, Outcome]:
    """The letters of a batch that was taken without them, by their places."""
    listed = document.get("errors")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return {
        row["index"]: _resend_part(plain(str(row.get("message") or ""), *secrets))
        for row in rows
        if type(row.get("index")) is int
    }


def _resend_part(words: str) -> Outcome:
    if tables.RESEND_TO.search(words):
        return tables.ADDRESS.outcome("validation_error")
    return tables.RESEND["validation_error"].outcome("validation_error", words)


def _resend_refusal(answer: Answer, document: dict[str, Any], secrets: tuple[str, ...]) -> Outcome:
    name, words = str(document.get("name") or ""), plain(str(document.get("message") or ""), *secrets)
    known = tables.RESEND.get(name)
    if name == "validation_error" and answer.status == 401:
        known = tables.RESEND["invalid_api_key"]
    elif name == "validation_error" and answer.status == 403:
        known = tables.RESEND_DOMAIN
    elif known is not None and tables.RESEND_TO.search(words):
        known, words = tables.ADDRESS, ""
    return _refused(tables.RESEND_STATUSES, answer, known, name, words, "ratelimit-reset")


def mailgun(answer: Answer, *secrets: str) -> Outcome:
    """One letter's id, or the sentence that refuses it."""
    document = answer.json_object()
    words = plain(str(document.get("message") or answer.body[:200].decode(errors="replace")), *secrets)
    if 200 <= answer.status < 300:
        if "Mailgun Magnificent API" in words:
            return tables.MAGNIFICENT.outcome(f"http_{answer.status}")
        return accepted(document.get("id"), tables.MAILGUN_STATUSES, answer.status)
    rows = (
        refusal for status, form, refusal in tables.MAILGUN if status == answer.status and form.search(words)
    )
    known = next(rows, None)
    detail = "" if known is tables.ADDRESS else words
    return _refused(tables.MAILGUN_STATUSES, answer, known, "", detail, "x-ratelimit-reset")


def _refused(
    statuses: Statuses,
    answer: Answer,
    known: Refusal | None,
    name: str,
    words: str,
    *waits: str,
) -> Outcome:
    """A known code decides; else the status."""
    refusal = known or statuses.refusal(answer.status, coded=bool(name))
    code = name if name and known else f"http_{answer.status}"
    return refusal.outcome(code, words, wait_of(answer.headers, "retry-after", *waits))


def _incomplete(statuses: Statuses, answer: Answer) -> Outcome:
    words = "an answer without a result for each message"
    return statuses.unclear().outcome(f"http_{answer.status}", words)


def _list(answer: Answer) -> list[dict[str, Any]]:
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return []
    found = value if isinstance(value, list) else []
    return [one if isinstance(one, dict) else {} for one in found]
