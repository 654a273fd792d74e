"""From an answer of Amazon SES to outcomes. Pure."""

from typing import Any

from regulars.lib.http import Answer
from regulars.providers.base import Checked, Outcome
from regulars.providers.calling import accepted, wait_of
from regulars.providers.classes import plain
from regulars.providers.ses import tables


def outcome_of(answer: Answer, *secrets: str) -> Outcome:
    """Of a call for one letter."""
    if 200 <= answer.status < 300:
        return accepted(answer.json_object().get("MessageId"), tables.STATUSES, answer.status)
    return refusal_of(answer, *secrets)


def outcomes_of(answer: Answer, number: int, *secrets: str) -> list[Outcome] | Outcome:
    """Of a bulk call: one for each entry, in their order, or one that holds for all."""
    if not 200 <= answer.status < 300:
        return refusal_of(answer, *secrets)
    entries = answer.json_object().get("BulkEmailEntryResults")
    if not isinstance(entries, list) or len(entries) != number:
        words = "an answer without a result for each letter"
        return tables.STATUSES.unclear().outcome(f"http_{answer.status}", words)
    return [_entry(entry if isinstance(entry, dict) else {}, secrets) for entry in entries]


def _entry(entry: dict[str, Any], secrets: tuple[str, ...]) -> Outcome:
    state = str(entry.get("Status"))
    if state == "SUCCESS":
        return accepted(entry.get("MessageId"), tables.STATUSES, 200)
    refusal = tables.ENTRIES.get(state) or tables.STATUSES.unclear()
    return refusal.outcome(state[:64], plain(str(entry.get("Error") or ""), *secrets))


def refusal_of(answer: Answer, *secrets: str) -> Outcome:
    """A known exception decides; else the status."""
    name = exception_of(answer)
    document = answer.json_object()
    words = plain(str(document.get("message") or document.get("Message") or ""), *secrets)
    refusal = tables.EXCEPTIONS.get(name)
    code = name if refusal else f"http_{answer.status}"
    refusal = refusal or tables.STATUSES.refusal(answer.status, coded=bool(name))
    return refusal.outcome(code, words, wait_of(answer.headers, "retry-after"))


def exception_of(answer: Answer) -> str:
    """The name of the exception, from the header or the body, without what AWS puts around it."""
    named = answer.headers.get("x-amzn-errortype") or str(answer.json_object().get("__type") or "")
    return named.partition(":")[0].rpartition("#")[2]


def granted(account: dict[str, Any]) -> Checked:
    """What `GetAccount` says, for the owner."""
    quota = account.get("SendQuota")
    numbers = quota if isinstance(quota, dict) else {}
    words = (
        f"Amazon SES grants {numbers.get('MaxSendRate')} letters a second and "
        f"{numbers.get('Max24HourSend')} in 24 hours: give the account these limits."
    )
    if not account.get("SendingEnabled", True):
        return Checked(works=False, words="Sending is paused: switch it on in the SES console.")
    if not account.get("ProductionAccessEnabled", True):
        words += " It is still in SES's sandbox: only verified addresses can be written to."
    return Checked(works=True, words=words)
