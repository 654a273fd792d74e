"""From an answer of Meta to an outcome. Pure."""

from typing import Any

from regulars.lib.http import Answer
from regulars.providers.base import Checked, Outcome
from regulars.providers.calling import accepted, wait_of
from regulars.providers.classes import Refusal, plain
from regulars.providers.meta import tables

# States of a number from which nothing is sent.
BLOCKED = ("BANNED", "RESTRICTED", "DELETED", "DISCONNECTED")


def outcome_of(answer: Answer, *secrets: str) -> Outcome:
    """A known code decides; else the status. What does not say is unknown, never a second send."""
    document = answer.json_object()
    if 200 <= answer.status < 300:
        return _accepted(document.get("messages"), answer.status)
    error = document.get("error")
    fault: dict[str, Any] = error if isinstance(error, dict) else {}
    code, refusal = _code(fault), refusal_of(fault.get("code"))
    words = "" if refusal else plain(_words(fault), *secrets)
    name = f"http_{answer.status}" if code is None else str(code)
    refusal = refusal or tables.STATUSES.refusal(answer.status, coded=code is not None)
    return refusal.outcome(name, words, wait_of(answer.headers, "retry-after"))


def _code(fault: dict[str, Any]) -> int | None:
    code = fault.get("code")
    # `true` is an int to Python.
    return code if type(code) is int and 0 <= code < 10_000_000 else None


def refusal_of(code: object) -> Refusal | None:
    """What the tables say of a code, in an answer or in a callback; None where they do not know it."""
    if type(code) is not int:
        return None
    return tables.NO_PERMISSION if code in tables.PERMISSIONS else tables.CODES.get(code)


def _words(fault: dict[str, Any]) -> str:
    """The details say more than the message, where there are any."""
    data = fault.get("error_data")
    details = data.get("details") if isinstance(data, dict) else None
    return next((text for text in (details, fault.get("message")) if isinstance(text, str) and text), "")


def _accepted(messages: object, status: int) -> Outcome:
    """Also what Meta holds back for a while to see how people like it: it has been taken."""
    first = messages[0] if isinstance(messages, list) and messages else None
    return accepted(first.get("id") if isinstance(first, dict) else None, tables.STATUSES, status)


def state_of(number: dict[str, Any]) -> Checked:
    """What the number's page says."""
    shown = " ".join(
        str(number[name]) for name in ("display_phone_number", "verified_name") if number.get(name)
    )
    if str(number.get("status", "CONNECTED")) in BLOCKED:
        return Checked(works=False, words=tables.CODES[131031].words)
    return Checked(works=True, words=f"Meta knows the number {shown}".strip() + ".")
