"""Provider accounts: which there are and how they are, what one is like, and the buttons that ask."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Max
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, ngettext

from regulars.automations import accounts, callback_access, template_sync
from regulars.automations.account_checks import check_account
from regulars.automations.models import ProviderAccount
from regulars.automations.provider_news import flagged_numbers
from regulars.customers.models import Channel
from regulars.dashboard import account_words
from regulars.dashboard.scope import MemberRequest, changes_accounts, member_page, organization_of
from regulars.lib import clock
from regulars.lib.secret_box import SecretUnreadableError
from regulars.organizations import audit
from regulars.providers import callbacks, registry
from regulars.providers.base import Checked, Provider


def require(request: MemberRequest) -> None:
    """Let nobody in who may not change accounts."""
    if not changes_accounts(request.membership):
        raise PermissionDenied(gettext("Your role may not see or change provider accounts here."))


def account_of(request: MemberRequest, account_id: int) -> ProviderAccount:
    """The account, for a member who may change it."""
    require(request)
    mine = ProviderAccount.objects.filter(organization=organization_of(request))
    return get_object_or_404(mine.select_related("organization", "callback_access"), pk=account_id)


def provider_of(account: ProviderAccount) -> Provider | None:
    """The kind of the account; None where its package is gone or cannot be used."""
    try:
        return registry.get(account.kind)
    except LookupError:
        return None


def record(request: MemberRequest, account: ProviderAccount, action: str, **details: str) -> None:
    """Write it into the audit trail, as the API does."""
    organization, now = organization_of(request), clock.now()
    audit.record(organization, request.user, action, now=now, subject=account.pk, **details)


@member_page
def index(request: MemberRequest) -> HttpResponse:
    """The accounts, in the order in which they are tried."""
    require(request)
    mine = ProviderAccount.objects.filter(organization=organization_of(request))
    found = mine.annotate(synced_at=Max("templates__synced_at")).order_by("position", "pk")
    return render(request, "dashboard/accounts.html", {"rows": [_row(account) for account in found]})


def _row(account: ProviderAccount) -> dict[str, Any]:
    provider = provider_of(account)
    keeps = provider is not None and provider.lists_templates and Channel.WHATSAPP in account.channels
    shown = {"account": account, "provider": provider, "keeps_templates": keeps}
    return shown | {"limits": _limits(account)}


def _limits(account: ProviderAccount) -> list[tuple[str, int]]:
    """The limits that are set, by what they limit; of two for the same the stricter."""
    most = {name: getattr(account, name) for name in account_words.LIMITS}
    most["recipients_per_day"] = account.most_recipients_per_day
    return [(str(account_words.LIMITS[name]), each) for name, each in most.items() if each is not None]


@member_page
def page(request: MemberRequest, account_id: int) -> HttpResponse:
    """One account: its state and limits, where it is called back, and the templates that it keeps."""
    account = account_of(request, account_id)
    templates = list(account.templates.order_by("name", "language", "pk"))
    shown = _row(account) | {
        "templates": templates,
        "synced_at": max((each.synced_at for each in templates), default=None),
        "flagged": flagged_numbers(account),
        "callbacks": _callbacks(account),
    }
    return render(request, "dashboard/account.html", shown)


def _callbacks(account: ProviderAccount) -> dict[str, Any] | None:
    """Where the provider calls, and what is still missing; None for kinds that never call."""
    handler = callbacks.handler(account.kind)
    if handler is None:
        return None
    return {
        "address": callback_access.address_of(account),
        "path": callback_access.path_of(account),
        "password": callback_access.password_of(account),
        "where": handler.where,
        "secrets": callback_access.secret_names(account.kind),
        **_missing(account),
    }


def _missing(account: ProviderAccount) -> dict[str, Any]:
    try:
        return {"missing": callback_access.missing(account)}
    except SecretUnreadableError as problem:
        return {"unreadable": account_words.fault(str(problem))}


@member_page
def test(request: MemberRequest, account_id: int) -> HttpResponse:
    """Ask the provider whether the account can be used, and say what it answered."""
    account = account_of(request, account_id)
    try:
        _say(request, check_account(account))
    except accounts.AccountError as problem:
        said = [account_words.fault(each["problem"]) for each in problem.details]
        messages.error(request, " ".join(said))
    except SecretUnreadableError as problem:
        messages.error(request, account_words.fault(str(problem)))
    return redirect("account", account.pk)


def _say(request: MemberRequest, found: Checked | None) -> None:
    if found is None:
        messages.warning(request, gettext("This provider cannot be asked without sending something."))
    elif found.works:
        messages.success(request, gettext("It can be used. %(words)s") % {"words": found.words})
    else:
        messages.error(request, gettext("It cannot be used. %(words)s") % {"words": found.words})


@member_page
def synchronise(request: MemberRequest, account_id: int) -> HttpResponse:
    """Copy the provider's templates now; automations that have to stop for it are named."""
    account = account_of(request, account_id)
    try:
        found = template_sync.synchronise(account, clock.now())
    except (template_sync.TemplatesUnavailableError, LookupError) as problem:
        messages.error(request, str(problem))
        return redirect("account", account.pk)
    record(request, account, "provider.synchronised", kind=account.kind)
    count = len(found.templates)
    said = ngettext("%(count)d template was copied.", "%(count)d templates were copied.", count)
    messages.success(request, said % {"count": count})
    for automation in found.paused:
        told = {"name": automation.name, "reason": automation.paused_reason}
        messages.warning(request, gettext("“%(name)s” is paused: %(reason)s") % told)
    return redirect("account", account.pk)
