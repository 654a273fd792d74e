"""Brevo's list of WhatsApp templates, read into ours. Pure.

It tells of each template its number, name, language, category and state, and neither its text nor the
places in it: both stay empty, and an automation names the places as they are called at Brevo.

Source: Brevo's API v3, `GET /whatsappCampaigns/template-list`, and the models of its own SDK.
"""

from typing import Any

from regulars.providers.base import Approval, ListedTemplate

# The most that Brevo gives at once.
PAGE_SIZE = 100
# More is a list without end.
MOST_PAGES = 100

# Brevo names the states by example only ("approved"); the others are WhatsApp's words and those that
# Brevo has for campaigns.
_APPROVALS = {
    "approved": Approval.APPROVED,
    "pending": Approval.PENDING,
    "in_review": Approval.PENDING,
    "in_appeal": Approval.PENDING,
    "draft": Approval.PENDING,
    "rejected": Approval.REJECTED,
    "paused": Approval.PAUSED,
    "suspended": Approval.PAUSED,
    "disabled": Approval.DISABLED,
}
UNSUBMITTED = "it has not been submitted to WhatsApp for approval"


def query_of(offset: int) -> dict[str, str]:
    """The query of the page that begins at the template `offset`."""
    return {"limit": str(PAGE_SIZE), "offset": str(offset)}


def rows_in(document: dict[str, Any]) -> list[object] | None:
    """What stands on one page, readable or not; None where the answer is no list at all."""
    rows = document.get("templates")
    if isinstance(rows, list):
        return rows
    return [] if rows is None and document.get("count") == 0 else None


def is_last(document: dict[str, Any], rows: list[object], seen: int) -> bool:
    """Whether nothing follows this page, `seen` rows having been read with it.

    `count` may be of all or of this page. More than were seen can only be of all; then a short page
    is no end. A full page is never taken for the last.
    """
    count = document.get("count")
    more = isinstance(count, int) and count > seen
    return not rows or (len(rows) < PAGE_SIZE and not more)


def templates_in(rows: list[object]) -> list[ListedTemplate]:
    """The templates of one page; what cannot be read is left out."""
    return [_listed(row, number) for row in rows if isinstance(row, dict) and (number := _number(row))]


def _number(row: dict[str, Any]) -> str:
    """The template's number, which some of Brevo's models have as text; empty where it cannot be used."""
    number = row.get("id")
    text = "" if isinstance(number, bool) else str(number)
    whole = all(isinstance(row.get(key), str) and row[key] for key in ("name", "language"))
    return text if whole and text.isascii() and text.isdecimal() else ""


def _listed(row: dict[str, Any], number: str) -> ListedTemplate:
    state = str(row.get("status") or "").strip().lower().replace(" ", "_")
    return ListedTemplate(
        reference=number,
        name=row["name"],
        language=row["language"].replace("-", "_"),
        approval=_APPROVALS.get(state, Approval.DISABLED),
        category=str(row.get("category") or "").lower(),
        text="",
        reason=_reason(row, state),
    )


def _reason(row: dict[str, Any], state: str) -> str:
    told = str(row.get("errorReason") or "")
    if told and told.upper() != "NONE":
        return told
    if state == "draft":
        return UNSUBMITTED
    return "" if state in _APPROVALS else f"Brevo says “{state or 'nothing'}” of it"
