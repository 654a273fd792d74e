"""Meta's list of templates, read into ours. Pure.

Source: Graph API, WhatsApp Business Account > Message Templates.
"""

import re
from collections.abc import Iterator
from typing import Any

from regulars.providers.base import Approval, ListedTemplate
from regulars.providers.meta.documents import MEDIA

FIELDS = "id,name,language,status,category,rejected_reason,components"
PAGE_SIZE = 100
# More is a list without end.
MOST_PAGES = 100

APPROVALS = {
    "APPROVED": Approval.APPROVED,
    "PENDING": Approval.PENDING,
    "IN_APPEAL": Approval.PENDING,
    "REJECTED": Approval.REJECTED,
    "PAUSED": Approval.PAUSED,
}
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
# Buttons that need nothing from us.
_PLAIN_BUTTONS = ("QUICK_REPLY", "PHONE_NUMBER", "URL")


def templates_in(document: dict[str, Any]) -> list[ListedTemplate]:
    """The templates of one page; what cannot be read is left out."""
    rows = document.get("data")
    return [_listed(row) for row in rows if _is_whole(row)] if isinstance(rows, list) else []


def next_page(document: dict[str, Any]) -> str:
    """The cursor after which to read on, or empty."""
    paging = document.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return ""
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else ""
    return after if isinstance(after, str) else ""


def _is_whole(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("id", "name", "language"))


def _listed(row: dict[str, Any]) -> ListedTemplate:
    components = [part for part in row.get("components") or [] if isinstance(part, dict)]
    lines = [line for part in components for line in _lines(part)]
    text = "\n\n".join(lines)
    reason = str(row.get("rejected_reason") or "")
    return ListedTemplate(
        reference=row["id"],
        name=row["name"],
        language=row["language"],
        approval=APPROVALS.get(str(row.get("status")), Approval.DISABLED),
        category=str(row.get("category", "")).lower(),
        text=text,
        placeholders=tuple(dict.fromkeys(re.findall(r"\{\{([\w.]+)\}\}", text))),
        reason="" if reason == "NONE" else reason,
        unsupported=next((words for part in components if (words := _strange(part))), ""),
    )


def _lines(part: dict[str, Any]) -> Iterator[str]:
    """What a component says, each placeholder under its full name."""
    match str(part.get("type")).upper():
        case "HEADER" if (form := str(part.get("format", "TEXT")).lower()) in MEDIA:
            yield f"{{{{header.{form}}}}}"
        case "HEADER":
            yield _marked(str(part.get("text", "")), "header.")
        case "BODY":
            yield _marked(str(part.get("text", "")), "")
        case "FOOTER":
            yield str(part.get("text", ""))
        case "BUTTONS":
            yield from (_button(index, each) for index, each in enumerate(_buttons(part)))


def _buttons(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in part.get("buttons") or [] if isinstance(each, dict)]


def _button(index: int, button: dict[str, Any]) -> str:
    address = str(button.get("url", ""))
    filled = _PLACEHOLDER.sub(f"{{{{button.{index}}}}}", address)
    return f"[{button.get('text', '')}] {filled}".strip()


def _marked(text: str, prefix: str) -> str:
    return _PLACEHOLDER.sub(lambda found: f"{{{{{prefix}{found[1]}}}}}", text)


def _strange(part: dict[str, Any]) -> str:
    """What of a component we cannot fill in, or empty."""
    kind = str(part.get("type")).upper()
    if kind not in ("HEADER", "BODY", "FOOTER", "BUTTONS"):
        return kind.lower().replace("_", " ")
    form = str(part.get("format", "TEXT")).upper()
    if kind == "HEADER" and form != "TEXT" and form.lower() not in MEDIA:
        return f"{form.lower()} header"
    strange = [each for each in _buttons(part) if str(each.get("type")).upper() not in _PLAIN_BUTTONS]
    return f"{str(strange[0].get('type')).lower().replace('_', ' ')} button" if strange else ""
