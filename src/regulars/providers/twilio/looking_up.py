"""Finding a message in Twilio's list of what it took. Pure but for the question itself.

Twilio can be asked for the messages to a number. One that we handed over is recognised by its text
and by when Twilio made it; only a single one that fits is certain. None proves nothing: the list may
be behind, or the text may have been changed on its way.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from regulars.lib.http import Answer
from regulars.providers.base import Found, Question, Report
from regulars.providers.twilio.answers import ID
from regulars.providers.twilio.fields import address_of

# The newest of a number; a guest gets far fewer in the time that is looked at.
PAGE_SIZE = 50
# Twilio's moments have whole seconds; its clock and ours may differ by a little more.
_SLACK = timedelta(seconds=5)

REPORTS = {
    "accepted": Report.ACCEPTED,
    "scheduled": Report.ACCEPTED,
    "queued": Report.ACCEPTED,
    "sending": Report.ACCEPTED,
    "sent": Report.ACCEPTED,
    "partially_delivered": Report.ACCEPTED,
    "delivered": Report.DELIVERED,
    "read": Report.READ,
    "undelivered": Report.FAILED,
    "failed": Report.FAILED,
    "canceled": Report.FAILED,
}


def query_of(question: Question) -> dict[str, str]:
    """What to ask: the messages to this number, the newest first."""
    return {"To": address_of(question.message), "PageSize": str(PAGE_SIZE)}


def found_in(answer: Answer, question: Question) -> Found | None:
    """The one message of the list that is ours; None where there is not exactly one."""
    if answer.status != 200:
        return None
    document = answer.json_object()
    listed = document.get("messages")
    # What does not fit on one page may hold a second one.
    if not isinstance(listed, list) or document.get("next_page_uri"):
        return None
    fitting = [row for row in listed if isinstance(row, dict) and _is_ours(row, question)]
    return _found(fitting[0]) if len(fitting) == 1 else None


def _is_ours(row: Mapping[str, Any], question: Question) -> bool:
    made = _moment(row.get("date_created"))
    return (
        row.get("to") == address_of(question.message)
        and row.get("body") == question.message.body
        and row.get("direction") == "outbound-api"
        and made is not None
        and question.since - _SLACK <= made <= question.until + _SLACK
    )


def _found(row: Mapping[str, Any]) -> Found | None:
    sid, report = row.get("sid"), REPORTS.get(str(row.get("status")))
    if report is None or not isinstance(sid, str) or not ID.fullmatch(sid):
        return None
    return Found(report, sid)


def _moment(text: object) -> datetime | None:
    try:
        moment = parsedate_to_datetime(str(text))
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else None
