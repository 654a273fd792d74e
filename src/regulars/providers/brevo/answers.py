"""From an answer of Brevo to outcomes. Pure."""

from regulars.lib.http import Answer
from regulars.providers.base import Outcome, Verdict
from regulars.providers.brevo import tables
from regulars.providers.calling import accepted, wait_of
from regulars.providers.classes import ErrorClass, Refusal, plain


def outcome_of(answer: Answer, channel: str, *secrets: str) -> Outcome:
    """Of a call for one message (`messageId`)."""
    if 200 <= answer.status < 300:
        return accepted(answer.json_object().get("messageId"), tables.STATUSES, answer.status)
    return refusal_of(answer, channel, *secrets)


def outcomes_of(answer: Answer, number: int, *secrets: str) -> list[Outcome] | Outcome:
    """Of a call for a batch of letters (`messageIds`, in their order), or one that holds for all.

    Fewer ids than letters do not say whose they are: then nobody's fate is known.
    """
    if not 200 <= answer.status < 300:
        return refusal_of(answer, "email", *secrets)
    ids = answer.json_object().get("messageIds")
    if not isinstance(ids, list) or len(ids) != number:
        words = "an answer without an id for each message"
        return tables.STATUSES.unclear().outcome(f"http_{answer.status}", words)
    return [accepted(one, tables.STATUSES, answer.status) for one in ids]


def refusal_of(answer: Answer, channel: str, *secrets: str) -> Outcome:
    """A known code decides, else the status; Brevo's own words may say more."""
    document = answer.json_object()
    code, words = document.get("code"), plain(str(document.get("message") or ""), *secrets)
    wait = wait_of(answer.headers, "x-sib-ratelimit-reset", "retry-after")
    if answer.status == 429:
        return tables.TOO_MANY.outcome("429", words, wait)
    known = isinstance(code, str) and code in tables.CODES
    refusal = tables.CODES[str(code)] if known else _by_status(answer, coded=isinstance(code, str))
    refusal = _narrowed(refusal, channel, words)
    return refusal.outcome(
        str(code) if known else f"http_{answer.status}", "" if refusal.bad_address else words, wait
    )


def _narrowed(refusal: Refusal, channel: str, words: str) -> Refusal:
    """The refusal, of the guest's address or of the template where Brevo's words are about those.

    On WhatsApp all that can be missing are values of the template: each call has the rest.
    """
    if refusal is tables.CODES["invalid_parameter"] and tables.BAD_ADDRESS.search(words):
        return tables.INVALID[channel]
    about_template = refusal is tables.CODES["missing_parameter"] or tables.BAD_TEMPLATE.search(words)
    if channel == "whatsapp" and refusal.error_class is ErrorClass.MESSAGE and about_template:
        return tables.WRONG_TEMPLATE
    return refusal


def why_unlisted(answer: Answer | Outcome, *secrets: str) -> str:
    """Why there is no list of templates, for people; what is said of messages would be wrong of a list."""
    refused = refusal_of(answer, "whatsapp", *secrets) if isinstance(answer, Answer) else answer
    if refused.verdict in (Verdict.STOP_ACCOUNT, Verdict.THROTTLED, Verdict.UNAVAILABLE):
        return refused.error
    if isinstance(answer, Outcome):
        return "Brevo did not answer in time: try again later"
    words = plain(str(answer.json_object().get("message") or ""), *secrets)
    return f"Brevo gave no list of templates ({words or f'HTTP {answer.status}'})"


def _by_status(answer: Answer, *, coded: bool) -> Refusal:
    return tables.STATUSES.refusal(answer.status, coded=coded)
