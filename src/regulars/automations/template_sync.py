"""The provider's list of templates, copied here: what may be used, and what may not any more.

A copy is replaced as a whole, in one transaction; a list that could not be read changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.db import transaction

from regulars.automations import provider_templates
from regulars.automations.accounts import AccountError, options_of
from regulars.automations.models import Automation, ProviderAccount, ProviderTemplate
from regulars.automations.triggers import UnknownTriggerError
from regulars.automations.triggers import get as trigger_of
from regulars.customers.models import Channel
from regulars.lib.secret_box import SecretUnreadableError
from regulars.providers import registry
from regulars.providers.base import ListedTemplate, Outgoing, Provider, TemplatesUnavailableError

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = ["Synced", "TemplatesUnavailableError", "pause", "synchronise", "synchronise_all"]


@dataclass(frozen=True, slots=True)
class Synced:
    """The templates of an account after a look at its provider, and the automations that had to stop."""

    templates: list[ProviderTemplate]
    paused: list[Automation]

    def document(self) -> dict[str, Any]:
        """As JSON, for programs."""
        names = ("reference", *_COPIED[:-1], "quality")
        rows = [{name: getattr(each, name) for name in names} for each in self.templates]
        return {"templates": rows, "paused": [str(automation.pk) for automation in self.paused]}

    def lines(self) -> Iterator[str]:
        """For people, in English: a line each."""
        for each in self.templates:
            yield f"{each.name}  {each.language}  {each.category}  {each.approval}  {_places(each)}"
        for automation in self.paused:
            yield f"PAUSED {automation.name}: {automation.paused_reason}"


def _places(template: ProviderTemplate) -> str:
    told = registry.get(template.account.kind).tells_places
    unnamed = "no places" if told else "places not told: name them as they are called there"
    return ", ".join(template.placeholders) or unnamed


def synchronise(account: ProviderAccount, now: datetime) -> Synced:
    """Copy the provider's templates; an automation whose template may not be used any more is paused.

    Raises:
        TemplatesUnavailableError: the provider keeps none, cannot be reached, or refuses; nothing changed.
    """
    provider = registry.get(account.kind)
    if not provider.lists_templates:
        raise TemplatesUnavailableError(f"{provider.label} keeps no templates: nothing to synchronise.")
    try:
        options = options_of(account)
    except (AccountError, SecretUnreadableError) as problem:
        raise TemplatesUnavailableError(str(problem)) from None
    listed = async_to_sync(_list)(provider, options)
    with transaction.atomic():
        # Two who synchronise at once take turns.
        ProviderAccount.objects.select_for_update(no_key=True).only("id").get(pk=account.pk)
        before = dict(_enabled(account).values_list("pk", "paused_reason"))
        _replace(account, listed, now)
        paused = [one for one in pause(account) if one.paused_reason != before.get(one.pk)]
    return Synced(list(account.templates.order_by("name", "language", "pk")), paused)


def synchronise_all(now: datetime) -> dict[int, str]:
    """Every account that can be asked, one after the other; what went wrong, by account."""
    kinds = [provider.kind for provider in registry.all_providers() if provider.lists_templates]
    accounts = ProviderAccount.objects.filter(
        kind__in=kinds, channels__contains=[Channel.WHATSAPP], organization__is_demo=False
    )
    problems: dict[int, str] = {}
    for account in accounts.select_related("organization").order_by("pk"):
        try:
            synchronise(account, now)
        except TemplatesUnavailableError as problem:
            problems[account.pk] = str(problem)
    return problems


async def _list(provider: Provider, options: Any) -> list[ListedTemplate]:
    connection = await provider.connect(options, _no_outbox)
    try:
        return await connection.templates()
    finally:
        await connection.close()


async def _no_outbox(batch: Sequence[Outgoing]) -> None:
    """Nothing is sent from here."""


def _replace(account: ProviderAccount, listed: Sequence[ListedTemplate], now: datetime) -> None:
    rows = {each.reference: each for each in listed}
    known = {row.reference: row for row in account.templates.filter(reference__in=rows)}
    account.templates.exclude(reference__in=rows).delete()
    ProviderTemplate.objects.bulk_create(
        [
            ProviderTemplate(
                account=account,
                synced_at=now,
                **asdict(each)
                | {"placeholders": list(each.placeholders)}
                | _told_since(known.get(each.reference), now),
            )
            for each in rows.values()
        ],
        update_conflicts=True,
        unique_fields=["account", "reference"],
        update_fields=_COPIED,
    )


def _told_since(row: ProviderTemplate | None, moment: datetime) -> dict[str, Any]:
    """What the provider told of a template after `moment`: a list asked for then may not know it."""
    if row is None:
        return {}
    asked = moment.replace(microsecond=0)
    later = [name for name, (at, _) in row.told.items() if datetime.fromisoformat(at) >= asked]
    names = [*later, *(["reason"] if "approval" in later else [])]
    return {name: getattr(row, name) for name in names if name != "quality"}


_COPIED = [
    *("name", "language", "approval", "category", "text", "placeholders"),
    *("reason", "unsupported", "synced_at"),
]


def pause(account: ProviderAccount) -> list[Automation]:
    """Pause the enabled automations of which a WhatsApp template cannot be used now, with the reason.

    Those that are paused for it already are named as well; one that waits for another reason keeps that.
    """
    paused = []
    for automation in _enabled(account).select_related("organization"):
        problem = _problem(automation)
        if problem and not automation.paused_reason:
            automation.paused_reason = problem
            automation.save(update_fields=["paused_reason"])
        if problem and automation.paused_reason == problem:
            paused.append(automation)
    return paused


def _enabled(account: ProviderAccount) -> "QuerySet[Automation]":
    return Automation.objects.filter(organization=account.organization, enabled=True, deleted_at=None)


def _problem(automation: Automation) -> str:
    texts = list(automation.current_version.templates.exclude(provider_template=""))
    if not texts:
        return ""
    try:
        purpose = trigger_of(automation.trigger).purpose
    except UnknownTriggerError:
        return ""
    found = provider_templates.activation_problems(automation.organization, purpose, texts)
    return " ".join(dict.fromkeys(item["problem"] for item in found))
