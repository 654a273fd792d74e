"""`/api/providers`: the organization's accesses to vendors. A secret goes in, never comes out."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.parsing import Id
from regulars.api.schemas import (
    ProviderChange,
    ProviderIn,
    ProviderList,
    ProviderOut,
    ProviderTest,
    SyncOut,
    TemplateListing,
    answers,
)
from regulars.automations import accounts, template_sync
from regulars.automations.account_checks import check_account
from regulars.automations.models import ProviderAccount
from regulars.automations.provider_news import flagged_numbers
from regulars.lib import clock
from regulars.lib.secret_box import SecretUnreadableError
from regulars.organizations import audit
from regulars.organizations.access import Permission

router = Router(tags=["providers"])


@router.get("/providers", response=answers(ProviderList), operation_id="list_providers")
def list_providers(request: HttpRequest) -> Any:
    """The configured accesses, in the order in which they are tried."""
    rows = ProviderAccount.objects.filter(organization=caller_of(request).organization)
    return {"items": [_present(account) for account in rows.order_by("position", "id")]}


@router.post("/providers", response=answers(ProviderOut, 201, 409), operation_id="create_provider")
def create_provider(request: HttpRequest, provider: ProviderIn) -> Any:
    """Configure access to a provider; credentials are stored sealed."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_PROVIDERS)
    taken = ProviderAccount.objects.filter(organization=caller.organization, name=provider.name)
    if taken.exists():
        raise ApiError(409, f"There is an access called “{provider.name}” already. Choose another name.")
    try:
        account = accounts.create_account(
            caller.organization,
            provider.name,
            provider.kind,
            provider.options,
            provider.channels,
            accounts.Limits(
                provider.per_second, provider.per_minute, provider.per_day, provider.recipients_per_day
            ),
        )
    except accounts.AccountError as error:
        raise ApiError(422, str(error), details=error.details) from error
    _record(caller, account, "provider.created")
    return Status(201, _present(account))


@router.patch("/providers/{id}", response=answers(ProviderOut, 200, 409), operation_id="change_provider")
def change_provider(request: HttpRequest, id: Id, change: ProviderChange) -> Any:  # noqa: A002
    """Change a name, options, channels or limits. The access counts as working again."""
    caller = caller_of(request)
    account = _account(caller, id)
    given = change.model_dump(exclude_unset=True)
    limits = accounts.limits_of(account).changed(**{name: given.pop(name) for name in LIMITS & set(given)})
    try:
        accounts.change_account(account, **given, limits=limits)
    except accounts.AccountError as error:
        raise ApiError(422, str(error), details=error.details) from error
    _record(caller, account, "provider.changed")
    return _present(account)


@router.get(
    "/providers/{id}/templates", response=answers(TemplateListing), operation_id="list_provider_templates"
)
def list_provider_templates(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """The templates that the provider keeps for this access (WhatsApp), as last synchronised."""
    account = _find(caller_of(request), id)
    return {"items": list(account.templates.order_by("name", "language", "pk"))}


@router.post("/providers/{id}/sync", response=answers(SyncOut, 200, 409), operation_id="sync_provider")
def sync_provider(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """Ask the provider for its templates now; by itself that happens every hour.

    An automation whose template may not be used any more is paused with the reason.
    """
    caller = caller_of(request)
    account = _account(caller, id)
    try:
        found = template_sync.synchronise(account, clock.now())
    except template_sync.TemplatesUnavailableError as error:
        raise ApiError(409, str(error), code="templates_unavailable") from error
    _record(caller, account, "provider.synchronised")
    return {"items": found.templates, "paused": [automation.pk for automation in found.paused]}


@router.post("/providers/{id}/test", response=answers(ProviderTest), operation_id="test_provider")
def test_provider(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """Ask the provider whether the access can be used. Sends nothing to anybody."""
    account = _account(caller_of(request), id)
    try:
        found = check_account(account)
    except accounts.AccountError as error:
        raise ApiError(422, str(error), details=error.details) from error
    except SecretUnreadableError as error:
        raise ApiError(422, str(error)) from error
    if found is None:
        return {"works": None, "words": CANNOT_ASK}
    return {"works": found.works, "words": found.words}


CANNOT_ASK = "This provider cannot be asked without sending something."
LIMITS = {"per_second", "per_minute", "per_day", "recipients_per_day"}


def _account(caller: Caller, number: int) -> ProviderAccount:
    """An access that the caller may change or try."""
    caller.require(Permission.CHANGE_PROVIDERS)
    return _find(caller, number)


def _find(caller: Caller, number: int) -> ProviderAccount:
    account = ProviderAccount.objects.filter(pk=number, organization=caller.organization).first()
    if account is None:
        raise ApiError(404, "There is no such access to a provider.")
    return account


def _record(caller: Caller, account: ProviderAccount, action: str) -> None:
    details = {"kind": account.kind}
    audit.record(caller.organization, caller.user, action, now=clock.now(), subject=account.pk, **details)


def _present(account: ProviderAccount) -> dict[str, Any]:
    names = (
        "id name kind channels options per_second per_minute per_day recipients_per_day "
        "told_recipients_per_day portfolio position broken_reason created_at"
    )
    shown = {name: getattr(account, name) for name in names.split()}
    return shown | {"flagged_numbers": flagged_numbers(account)}
