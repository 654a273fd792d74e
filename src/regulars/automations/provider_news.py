"""What providers tell of templates and accounts by themselves: the copies here follow, never backwards.

News may come twice and in any order. Each kind of news about a thing has a moment, and the latest
counts; of two at the same second the stricter. A list of templates that was read later than that knows
it already. So every order ends the same.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from regulars.automations import template_sync
from regulars.automations.models import Automation, ProviderAccount, ProviderTemplate
from regulars.providers.base import Approval
from regulars.providers.callbacks import NO_LIMIT, AccountNews, TemplateNews

# The stricter comes later.
_STRICTNESS: dict[object, int] = {
    word: place
    for words in (
        ("", *(Approval.APPROVED, Approval.PENDING, Approval.REJECTED, Approval.PAUSED, Approval.DISABLED)),
        ("unknown", "green", "yellow", "red"),
        ("authentication", "utility", "marketing"),
        (True, False),
    )
    for place, word in enumerate(words)
}


def take_template(account: ProviderAccount, news: TemplateNews, at: datetime) -> list[Automation]:
    """Take news about a template into its copies; the automations that cannot go on because of their texts.

    They are paused with the reason, as by a look at the provider's list. What comes again pauses nothing
    anew, but names them again: whoever stops their runs may have died in between.
    """
    with transaction.atomic():
        kin = ProviderAccount.objects.filter(organization_id=account.organization_id, kind=account.kind)
        # As whoever synchronises: the account first.
        accounts = list(kin.select_for_update(no_key=True).select_related("organization").order_by("pk"))
        templates = ProviderTemplate.objects.filter(account__in=accounts, reference=news.reference)
        concerned = {row.account_id for row in templates if _changed(row, news, at) or _is_told(row, news)}
        return [
            automation
            for owner in accounts
            if owner.pk in concerned
            for automation in template_sync.pause(owner)
        ]


def _changed(row: ProviderTemplate, news: TemplateNews, at: datetime) -> bool:
    # Told in whole seconds.
    if at < row.synced_at.replace(microsecond=0):
        return False
    given = {"approval": news.approval, "category": news.category, "quality": news.quality}
    fresh = [name for name, word in given.items() if word and _note(row.told, name, at, str(word))]
    for name in fresh:
        setattr(row, name, str(given[name])[:16])
    if "approval" in fresh:
        row.reason = news.reason
    if fresh:
        row.save(update_fields=["approval", "category", "quality", "reason", "told"])
    return bool(fresh)


def _is_told(row: ProviderTemplate, news: TemplateNews) -> bool:
    return news.approval is not None and row.approval == news.approval


def meant(account: ProviderAccount, news: AccountNews) -> Sequence[ProviderAccount]:
    """The accounts that news are about: one address may serve several, and several businesses one app."""
    name, value = news.option
    kin = ProviderAccount.objects.filter(organization_id=account.organization_id, kind=account.kind)
    found = list(kin.filter(**{f"options__{name}": value}).order_by("pk")) if value else []
    return found or ([] if account.options.get(name) else [account])


def is_news(account: ProviderAccount, news: AccountNews, at: datetime) -> bool:
    """Whether nothing later is known of whether the account may send."""
    return news.works is not None and _note(dict(account.told), "works", at, news.works)


def take_account(account: ProviderAccount, news: AccountNews, at: datetime) -> None:
    """Take news about an account into its row: what it may send, and what the provider thinks of it."""
    with transaction.atomic():
        row = ProviderAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        if news.works is not None:
            _note(row.told, "works", at, news.works)
        if news.flagged is not None:
            _note(row.told, f"flagged {news.number}", at, not news.flagged)
        most = news.recipients_per_day
        if most is not None and _note(row.told, "recipients_per_day", at, most):
            row.told_recipients_per_day = None if most == NO_LIMIT else most
        row.save(update_fields=["told", "told_recipients_per_day"])


def flagged_numbers(account: ProviderAccount) -> list[str]:
    """The numbers of which the provider last said that guests complain of what comes from them."""
    told = ((name.partition(" "), word) for name, (_, word) in account.told.items())
    return sorted(number for (about, _, number), word in told if about == "flagged" and not word)


def _note(told: dict[str, Any], name: str, at: datetime, word: object) -> bool:
    """Write down what was told, unless something later is known; whether it is the latest."""
    if name in told and _place(told[name]) >= (at, _strictness(word)):
        return False
    told[name] = [at.isoformat(), word]
    return True


def _place(noted: Sequence[Any]) -> tuple[datetime, int]:
    return datetime.fromisoformat(noted[0]), _strictness(noted[1])


def _strictness(word: object) -> int:
    """A limit is the stricter the smaller it is."""
    if type(word) is int:
        return -word if word != NO_LIMIT else -(10**9)
    return _STRICTNESS.get(word, 0)
