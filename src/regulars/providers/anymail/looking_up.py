"""Finding a letter in what Postmark and Mailgun say that they took. Pure.

Both keep the id that we gave a letter (`message`), so one that is listed under it, to this address and
from about then, is certainly ours. None proves nothing: the lists may be behind.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from regulars.lib.http import Answer
from regulars.providers.anymail.options import PostmarkOptions
from regulars.providers.base import Found, Outgoing, Question, Report
from regulars.providers.calling import ID

# Their clocks and ours may differ by a little; Mailgun's list has seconds and fractions.
SLACK = timedelta(minutes=1)
POSTMARK_STATES = {"queued", "processed", "sent"}


def stream_of(message: Outgoing, options: PostmarkOptions) -> str:
    """The stream that a letter goes through, and is found in."""
    marketing = message.purpose == "marketing"
    return options.marketing_stream if marketing else options.transactional_stream


def postmark_query(question: Question, options: PostmarkOptions) -> dict[str, str]:
    """For `GET /messages/outbound`."""
    return {
        "count": "50",
        "offset": "0",
        "recipient": question.message.address,
        "messagestream": stream_of(question.message, options),
        "metadata_message": str(question.message.message_id),
    }


def in_postmarks_list(answer: Answer, question: Question) -> Found | None:
    """The letter of this list that is ours."""
    for row in _rows(answer, "Messages"):
        ours = _mapped(row.get("Metadata")).get("message") == str(question.message.message_id)
        known = str(row.get("Status")).lower() in POSTMARK_STATES
        if ours and known and _is_in_time(_moment(row.get("ReceivedAt")), question):
            return _found(row.get("MessageID"))
    return None


def mailgun_query(question: Question) -> dict[str, str]:
    """For `GET /{domain}/events`."""
    return {
        "event": "accepted",
        "recipient": question.message.address,
        "begin": str(int((question.since - SLACK).timestamp())),
        "end": str(int((question.until + SLACK).timestamp())),
        "limit": "50",
    }


def in_mailguns_list(answer: Answer, question: Question) -> Found | None:
    """The letter of this list that is ours."""
    for row in _rows(answer, "items"):
        ours = str(_mapped(row.get("user-variables")).get("message")) == str(question.message.message_id)
        stamp = row.get("timestamp")
        at = (
            datetime.fromtimestamp(stamp, UTC)
            if isinstance(stamp, float | int) and 0 < stamp < 1e11
            else None
        )
        if ours and row.get("event") == "accepted" and _is_in_time(at, question):
            headers = _mapped(_mapped(row.get("message")).get("headers"))
            # What came as the answer to the call has the brackets.
            return _found(f"<{headers.get('message-id')}>" if headers.get("message-id") else None)
    return None


def _rows(answer: Answer, name: str) -> list[dict[str, Any]]:
    listed = answer.json_object().get(name) if answer.status == 200 else None
    return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []


def _mapped(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_in_time(at: datetime | None, question: Question) -> bool:
    return at is not None and question.since - SLACK <= at <= question.until + SLACK


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _found(provider_id: object) -> Found | None:
    fits = isinstance(provider_id, str) and ID.fullmatch(provider_id)
    return Found(Report.ACCEPTED, str(provider_id)) if fits else None
