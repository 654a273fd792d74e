"""`/api/providers`: the organization's accesses to vendors. A secret goes in, never comes out."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from regulars.api.callers import caller_of
from regulars.api.errors import ApiError
from regulars.api.schemas import ProviderIn, ProviderList, ProviderOut, answers
from regulars.automations import accounts
from regulars.automations.models import ProviderAccount
from regulars.lib import clock
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
            caller.organization, provider.name, provider.kind, provider.options, provider.channels
        )
    except accounts.AccountError as error:
        raise ApiError(422, str(error), details=error.details) from error
    audit.record(
        caller.organization,
        caller.user,
        "provider.created",
        now=clock.now(),
        subject=account.pk,
        kind=account.kind,
    )
    return Status(201, _present(account))


def _present(account: ProviderAccount) -> dict[str, Any]:
    names = "id name kind channels options position broken_reason created_at"
    return {name: getattr(account, name) for name in names.split()}
