"""`/api/suppressions`: lists of people who want no advertising."""

from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from regulars.api.callers import caller_of
from regulars.api.parsing import Text
from regulars.api.schemas import Count, Strict, answers
from regulars.customers.suppression_lists import Stop, import_lines
from regulars.lib import clock
from regulars.organizations import audit
from regulars.organizations.access import Permission

router = Router(tags=["suppressions"])

MOST_ENTRIES = 10_000
Entry = Annotated[Text, Field(max_length=300)]


class SuppressionsIn(Strict):
    """A list, or a part of one."""

    source: Annotated[Text, Field(min_length=1, max_length=200, examples=["Lista Robinson 2026-11"])]
    channel: Literal["", "whatsapp", "sms", "email"] = Field(default="", description="Empty: all")
    everything: bool = Field(default=False, description="Also messages about their own bookings")
    entries: Annotated[list[Entry], Field(min_length=1, max_length=MOST_ENTRIES)] = Field(
        description="Addresses, or their SHA-256 in hexadecimal digits"
    )


class SuppressionAnswer(Schema):
    """What became of an entry."""

    index: Count = Field(description="Its place in the call, from 0")
    result: Literal["added", "known", "rejected"]
    reason: str


class SuppressionsOut(Schema):
    """How many went which way, and each of them; empty entries are left out."""

    added: Count
    known: Count
    rejected: Count
    rows: list[SuppressionAnswer]


@router.post("/suppressions", response=answers(SuppressionsOut), operation_id="import_suppressions")
def import_suppressions(request: HttpRequest, wanted: SuppressionsIn) -> Any:
    """Write to none of these addresses again. Only their fingerprints are kept."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_CUSTOMERS)
    stop = Stop(wanted.source, wanted.channel, "manual" if wanted.everything else "opt_out")
    found = list(import_lines(caller.organization, wanted.entries, stop))
    results = [answer.result for answer in found]
    counts = {name: results.count(name) for name in ("added", "known", "rejected")}
    told: dict[str, Any] = {"source": wanted.source, **counts}
    audit.record(caller.organization, caller.user, "suppressions.imported", now=clock.now(), **told)
    rows = [{"index": answer.line - 1, "result": answer.result, "reason": answer.reason} for answer in found]
    return counts | {"rows": rows}
