"""Filters that turn what the core knows into what a page shows."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import template

from regulars.automations.evidence import Evidence
from regulars.dashboard import account_words, words
from regulars.dashboard.scope import changes_accounts
from regulars.lib.masking import mask_address, mask_text
from regulars.organizations.models import Membership
from regulars.runs.engine import Explanation

register = template.Library()


@register.filter
def reason(code: str) -> str:
    """Why a guest was left out, in words."""
    return words.reason(code) if code else ""


@register.filter
def explanation(found: Explanation) -> str:
    """What an automation would do about a guest, in words."""
    return words.explanation(found)


@register.filter
def verdict(code: str) -> str:
    """A verdict, in a word or two."""
    return words.in_words(words.VERDICTS, code)


@register.filter
def evidence(fact: Evidence, sees_contact_data: bool) -> str:
    """A fact in words, with addresses masked for those who may not see contact data."""
    return words.evidence(fact, sees_contact_data=sees_contact_data)


@register.filter
def shows(feature: str) -> str:
    """What a sample was chosen for."""
    return words.shows(feature)


@register.filter
def run_state(code: str) -> str:
    """The state of a run, in a word."""
    return words.in_words(words.RUN_STATES, code)


@register.filter
def run_reason(text: str) -> str:
    """Why a run is paused, failed or was missed."""
    return words.run_reason(text)


@register.filter
def message_state(code: str) -> str:
    """The state of a message, in a word."""
    return words.in_words(words.MESSAGE_STATES, code)


@register.filter
def channel(code: str) -> str:
    """The name of a channel."""
    return words.in_words(words.CHANNELS, code) if code else ""


@register.filter
def purpose(code: str) -> str:
    """Marketing or transactional, in a word."""
    return words.in_words(words.PURPOSES, code)


@register.filter
def origin(code: str) -> str:
    """What made a run start."""
    return words.in_words(words.ORIGINS, code)


@register.filter
def tone(code: str) -> str:
    """The colour that goes with a state."""
    return words.TONES.get(code, "plain")


@register.filter
def address_for(address: str, sees_contact_data: bool) -> str:
    """The address, masked for those who may not see contact data."""
    return address if sees_contact_data or not address else mask_address(address)


@register.filter
def text_for(text: str, sees_contact_data: bool) -> str:
    """Free text, with addresses in it masked for those who may not see contact data."""
    return text if sees_contact_data else mask_text(text)


@register.filter
def named(automation_id: UUID | None, names: Mapping[UUID, str]) -> str:
    """`: <name>` of the automation that writes instead; nothing where there is none."""
    name = names.get(automation_id) if automation_id else None
    return f": {name}" if name else ""


@register.filter
def pairs(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """The names and values of a dictionary, whatever its names are (`items` among them)."""
    return list(values.items())


@register.filter
def may_change_accounts(membership: Membership) -> bool:
    """Whether the pages of the provider accounts are for this member."""
    return changes_accounts(membership)


@register.filter
def approval(code: str) -> str:
    """What the provider says of a template, in words."""
    return words.in_words(account_words.APPROVALS, code)


@register.filter
def approval_tone(code: str) -> str:
    """The colour that goes with an approval."""
    return account_words.APPROVAL_TONES.get(code, "bad")


@register.filter
def category(code: str) -> str:
    """What a template is filed under, in words."""
    return words.in_words(account_words.CATEGORIES, code) if code else "–"
