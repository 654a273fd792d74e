"""Twilio's list of Content templates with WhatsApp's approvals, read into ours. Pure.

Source: Content API v1, `GET /v1/ContentAndApprovals`.
"""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from regulars.providers.base import Approval, ListedTemplate

PAGE_SIZE = 500
# More is a list without end.
MOST_PAGES = 100

_APPROVALS = {
    "approved": Approval.APPROVED,
    "pending": Approval.PENDING,
    "received": Approval.PENDING,
    "rejected": Approval.REJECTED,
    "paused": Approval.PAUSED,
}
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_SID = re.compile(r"HX[0-9a-fA-F]{32}")
UNSUBMITTED = "it has not been submitted to WhatsApp for approval"


def templates_in(document: dict[str, Any]) -> list[ListedTemplate]:
    """The templates of one page; what cannot be read is left out."""
    rows = document.get("contents")
    return [_listed(row) for row in rows if _is_whole(row)] if isinstance(rows, list) else []


def next_page(document: dict[str, Any]) -> dict[str, str]:
    """The query of the next page, or empty. Only the query: credentials stay with our own address."""
    meta = document.get("meta")
    url = meta.get("next_page_url") if isinstance(meta, dict) else None
    return dict(parse_qsl(urlsplit(url).query)) if isinstance(url, str) else {}


def _is_whole(row: object) -> bool:
    return isinstance(row, dict) and _SID.fullmatch(str(row.get("sid"))) is not None


def _listed(row: dict[str, Any]) -> ListedTemplate:
    approval = row.get("approval_requests")
    asked: dict[str, Any] = approval if isinstance(approval, dict) else {}
    status = str(asked.get("status", "unsubmitted"))
    text = _PLACEHOLDER.sub(lambda found: f"{{{{{found[1]}}}}}", _text(row.get("types")))
    variables = row.get("variables")
    named = list(variables) if isinstance(variables, dict) else []
    return ListedTemplate(
        reference=row["sid"],
        name=str(row.get("friendly_name") or row["sid"]),
        language=str(row.get("language") or ""),
        approval=_APPROVALS.get(status, Approval.PENDING if status == "unsubmitted" else Approval.DISABLED),
        category=str(asked.get("category") or "").lower(),
        text=text,
        placeholders=tuple(dict.fromkeys([*re.findall(r"\{\{(\w+)\}\}", text), *named])),
        reason=UNSUBMITTED if status == "unsubmitted" else str(asked.get("rejection_reason") or ""),
    )


def _text(types: object) -> str:
    """What a guest reads: the body of the first type that has one."""
    parts = [part for part in types.values() if isinstance(part, dict)] if isinstance(types, dict) else []
    texts = [part[name] for part in parts for name in ("body", "title") if isinstance(part.get(name), str)]
    return texts[0] if texts else ""
