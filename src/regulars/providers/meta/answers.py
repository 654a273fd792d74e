"""From an answer of Meta to an outcome. Pure."""

import re
from typing import Any

from regulars.lib.http import Answer
from regulars.providers.base import Outcome, Verdict
from regulars.providers.classes import Refusal, plain
from regulars.providers.meta import tables

# What the ledger can keep and a person can type.
ID = re.compile(r"[!-~]{1,255}")


def outcome_of(answer: Answer, *secrets: str) -> Outcome:
    """A known code decides; else the status. What does not say is unknown, never a second send."""
    document = answer.json_object()
    if 200 <= answer.status < 300:
        return _accepted(document.get("messages"), answer.status)
    error = document.get("error")
    fault: dict[str, Any] = error if isinstance(error, dict) else {}
    code = _code(fault)
    refusal = None if code is None else _by_code(code)
    words = "" if refusal else plain(_words(fault), *secrets)
    name = f"http_{answer.status}" if code is None else str(code)
    return (refusal or _by_status(answer.status, coded=code is not None)).outcome(name, words)


def _code(fault: dict[str, Any]) -> int | None:
    code = fault.get("code")
    # `true` is an int to Python.
    return code if type(code) is int and 0 <= code < 10_000_000 else None


def _by_code(code: int) -> Refusal | None:
    return tables.NO_PERMISSION if code in tables.PERMISSIONS else tables.CODES.get(code)


def _words(fault: dict[str, Any]) -> str:
    """The details say more than the message, where there are any."""
    data = fault.get("error_data")
    details = data.get("details") if isinstance(data, dict) else None
    return next((text for text in (details, fault.get("message")) if isinstance(text, str) and text), "")


def _accepted(messages: object, status: int) -> Outcome:
    """Also what Meta holds back for a while to see how people like it: it has been taken."""
    first = messages[0] if isinstance(messages, list) and messages else None
    number = first.get("id") if isinstance(first, dict) else None
    if isinstance(number, str) and ID.fullmatch(number):
        return Outcome(Verdict.ACCEPTED, provider_id=number)
    return tables.UNCLEAR.outcome(f"http_{status}", "success without an id")


def _by_status(status: int, *, coded: bool) -> Refusal:
    if status == 401:
        return tables.UNAUTHORIZED
    if status == 429:
        return tables.TOO_MANY
    # 307 and 308 say that nothing was done here; the older redirects may follow a processed request.
    if status in (307, 308) or (status in (403, 404, 405) and not coded):
        return tables.NOT_THE_API
    # 408 comes from intermediaries, which cannot speak for Meta.
    if 400 <= status < 500 and status != 408:
        return tables.REFUSED
    return tables.UNCLEAR
