"""What Meta tells of templates, numbers and the account itself, beside what happens to messages. Pure.

Source: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from regulars.providers import callbacks
from regulars.providers.base import Approval
from regulars.providers.callbacks import NO_LIMIT, AccountNews, Event, TemplateNews, Unread
from regulars.providers.classes import plain
from regulars.providers.meta import tables
from regulars.providers.meta.listing import APPROVALS

# The option by which an owner names the business account that news are about.
OPTION = "business_account_id"
# What becomes of a template. Others (`FLAGGED`, `LOCKED`, `UNARCHIVED`, `LIMIT_EXCEEDED`) say nothing of
# whether it can be sent.
_EVENTS = APPROVALS | {
    "REINSTATED": Approval.APPROVED,
    **dict.fromkeys(("DISABLED", "DELETED", "PENDING_DELETION", "ARCHIVED"), Approval.DISABLED),
}
# Different guests in 24 hours, for all numbers of the business.
_TIERS: dict[object, int] = {
    "TIER_50": 50,
    "TIER_250": 250,
    "TIER_1K": 1_000,
    "TIER_2K": 2_000,
    "TIER_10K": 10_000,
    "TIER_100K": 100_000,
    "TIER_UNLIMITED": NO_LIMIT,
    -1: NO_LIMIT,
}
_STOPPING = "RESTRICTED_BIZ_INITIATED_MESSAGING"
_BANS = {"DISABLE": False, "REINSTATE": True}


def told(field: str, value: dict[str, Any], business: str, at: datetime | None) -> Iterator[Event]:
    """What one change says. What nobody reads is named, so that it is not lost in silence."""
    if field in _OF_TEMPLATES:
        found = list(_OF_TEMPLATES[field](value, at))
    elif field in _OF_ACCOUNTS:
        found = list(_OF_ACCOUNTS[field](value, (OPTION, business), at))
    else:
        found = []
    event = plain(str(value.get("event") or ""), limit=60)
    yield from found or [Unread(f"{plain(field, limit=60)} {event}".strip())]


def _status(value: dict[str, Any], at: datetime | None) -> Iterator[Event]:
    approval = _EVENTS.get(str(value.get("event")))
    if (reference := _reference(value)) and approval:
        category = str(value.get("message_template_category") or "").lower()
        yield TemplateNews(reference, at, approval, _reason(value), category)


def _reason(value: dict[str, Any]) -> str:
    """In Meta's words; the details say more than the code."""
    details = (
        callbacks.mapped(value.get("rejection_info")).get("reason"),
        callbacks.mapped(value.get("other_info")).get("description"),
        value.get("reason"),
    )
    words = next((text for text in details if isinstance(text, str) and text), "")
    return "" if words == "NONE" else plain(words)


def _category(value: dict[str, Any], at: datetime | None) -> Iterator[Event]:
    category = value.get("new_category")
    if (reference := _reference(value)) and isinstance(category, str):
        yield TemplateNews(reference, at, category=category.lower())


def _quality(value: dict[str, Any], at: datetime | None) -> Iterator[Event]:
    quality = value.get("new_quality_score")
    if (reference := _reference(value)) and isinstance(quality, str):
        yield TemplateNews(reference, at, quality=quality.lower())


def _reference(value: dict[str, Any]) -> str:
    reference = value.get("message_template_id")
    return str(reference)[:128] if isinstance(reference, str | int) else ""


def _number(value: dict[str, Any], option: tuple[str, str], at: datetime | None) -> Iterator[Event]:
    flagged = {"FLAGGED": True, "UNFLAGGED": False}.get(str(value.get("event")))
    most = _most(value, "max_daily_conversations_per_business", "current_limit")
    if most is not None or flagged is not None:
        # As people write it: "+1 201-555-0100".
        number = callbacks.phone(re.sub(r"\D", "", str(value.get("display_phone_number") or "")))
        yield AccountNews(option, at, most, number=number, flagged=flagged)


def _capability(value: dict[str, Any], option: tuple[str, str], at: datetime | None) -> Iterator[Event]:
    most = _most(value, "max_daily_conversations_per_business", "max_daily_conversation_per_phone")
    if most is not None:
        yield AccountNews(option, at, most)


def _most(value: dict[str, Any], *names: str) -> int | None:
    """The first of these limits that is named, as a tier or as a number; None where none is understood."""
    for name in names:
        given = value.get(name)
        if isinstance(given, str | int) and given in _TIERS:
            return _TIERS[given]
        if type(given) is int and given > 0:
            return given
    return None


def _account(value: dict[str, Any], option: tuple[str, str], at: datetime | None) -> Iterator[Event]:
    works = _works(value)
    if works is not None:
        words = "" if works else tables.CODES[131031].words
        yield AccountNews(option, at, works=works, words=words)


def _works(value: dict[str, Any]) -> bool | None:
    """Whether the account may still write by itself; None where this says nothing of it."""
    match value.get("event"):
        case "DISABLED_UPDATE":
            state = callbacks.mapped(value.get("ban_info")).get("waba_ban_state")
            return _BANS.get(str(state))
        case "ACCOUNT_RESTRICTION":
            found = [row.get("restriction_type") for row in callbacks.listed(value.get("restriction_info"))]
            return False if _STOPPING in found else None
        case "ACCOUNT_DELETED" | "ACCOUNT_OFFBOARDED":
            return False
        case "ACCOUNT_RECONNECTED":
            return True
    return None


_OF_TEMPLATES: dict[str, Callable[[dict[str, Any], datetime | None], Iterator[Event]]] = {
    "message_template_status_update": _status,
    "template_category_update": _category,
    "message_template_quality_update": _quality,
}
_OF_ACCOUNTS: dict[str, Callable[[dict[str, Any], tuple[str, str], datetime | None], Iterator[Event]]] = {
    "phone_number_quality_update": _number,
    "business_capability_update": _capability,
    "account_update": _account,
}
