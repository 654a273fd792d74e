"""Adding a provider account, and changing one: forms made of what its kind declares."""

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_post_parameters

from regulars.automations import accounts
from regulars.automations.callback_access import CallbackSettingError, configure, secret_names
from regulars.automations.models import ProviderAccount
from regulars.automations.problems import Problem
from regulars.dashboard import account_form, account_words
from regulars.dashboard.account_form import Entered
from regulars.dashboard.scope import MemberRequest, member_page, organization_of
from regulars.dashboard.views.account_pages import account_of, provider_of, record, require
from regulars.lib.secret_box import SecretUnreadableError
from regulars.providers import registry
from regulars.providers.base import Provider


@member_page
def kinds(request: MemberRequest) -> HttpResponse:
    """Whose account it is to be: first step of adding one."""
    require(request)
    organization = organization_of(request)
    offered = accounts.providers_for(organization)
    context = {"providers": offered, "is_demo": organization.is_demo}
    return render(request, "dashboard/account_kinds.html", context)


@sensitive_post_parameters()
@member_page
def new(request: MemberRequest, kind: str) -> HttpResponse:
    """The form of a new account; by POST it is made, or what is wrong is said."""
    require(request)
    provider = _provider(kind)
    if request.method != "POST":
        offered = provider in accounts.providers_for(organization_of(request))
        return _form(request, provider, Entered()) if offered else redirect("new_account")
    try:
        account = _create(request, provider)
    except accounts.AccountError as problem:
        return _form(request, provider, account_form.posted(provider, request.POST), problem.details)
    messages.success(request, gettext("“%(name)s” is there. Test it now.") % {"name": account.name})
    return redirect("account", account.pk)


def _provider(kind: str) -> Provider:
    try:
        return registry.get(kind)
    except LookupError as problem:
        raise Http404(str(problem)) from problem


def _create(request: MemberRequest, provider: Provider) -> ProviderAccount:
    form, organization = request.POST, organization_of(request)
    with transaction.atomic():
        account = accounts.create_account(
            organization,
            account_form.name_from(form),
            provider.kind,
            account_form.options_from(provider, form),
            # None ticked: all that the options allow.
            account_form.channels_from(provider, form) or None,
            account_form.limits_from(form),
        )
        record(request, account, "provider.created", kind=account.kind)
    return account


@sensitive_post_parameters()
@member_page
def change(request: MemberRequest, account_id: int) -> HttpResponse:
    """The form of an account; by POST it is changed and counts as working again."""
    account = account_of(request, account_id)
    provider = provider_of(account)
    if provider is None:
        raise Http404(f"No provider of the kind {account.kind} can be used")
    before = _stored(account)
    if request.method != "POST":
        return _form(request, provider, before, account=account)
    try:
        _change(request, account, provider)
    except accounts.AccountError as problem:
        entered = account_form.posted(provider, request.POST, before.stored)
        return _form(request, provider, entered, problem.details, account)
    except SecretUnreadableError as problem:
        messages.error(request, account_words.fault(str(problem)))
        return redirect("change_account", account.pk)
    messages.success(request, gettext("Saved. It holds from the next message on."))
    return redirect("account", account.pk)


@sensitive_post_parameters()
@member_page
def callback_secrets(request: MemberRequest, account_id: int) -> HttpResponse:
    """Set what checks that the provider calls; what is left empty stays."""
    account = account_of(request, account_id)
    form = {name: request.POST.get(name, "").strip() for name in secret_names(account.kind)}
    try:
        with transaction.atomic():
            configure(account, secrets={name: text for name, text in form.items() if text})
            record(request, account, "provider.callbacks_changed", what="secrets")
    except (CallbackSettingError, SecretUnreadableError) as problem:
        messages.error(request, account_words.fault(str(problem)))
    else:
        messages.success(request, gettext("Saved."))
    return redirect("account", account.pk)


def _stored(account: ProviderAccount) -> Entered:
    try:
        return account_form.stored_in(account, accounts.secrets_set(account))
    except SecretUnreadableError:
        # Nothing to keep: every secret has to be entered again.
        return account_form.stored_in(account, ())


def _change(request: MemberRequest, account: ProviderAccount, provider: Provider) -> None:
    form = request.POST
    with transaction.atomic():
        accounts.change_account(
            account,
            name=account_form.name_from(form),
            options=account_form.options_from(provider, form),
            channels=account_form.channels_from(provider, form),
            limits=account_form.limits_from(form),
        )
        record(request, account, "provider.changed", kind=account.kind)


def _form(
    request: MemberRequest,
    provider: Provider,
    entered: Entered,
    problems: list[Problem] | None = None,
    account: ProviderAccount | None = None,
) -> HttpResponse:
    shown = account_form.page(provider, entered, problems or [])
    context = shown | {"provider": provider}
    if account is not None:
        # Its name as it is stored, not as it was entered.
        names = ProviderAccount.objects.filter(pk=account.pk).values_list("name", flat=True)
        context |= {"account_id": account.pk, "name": names.get()}
    status = 422 if problems else 200
    return render(request, "dashboard/account_form.html", context, status=status)
