"""Who is asking, for which organization: every page but sign-in goes through `member_page`.

An object of another organization is not found: that it exists is nobody else's business.
"""

import zoneinfo
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from regulars.automations.models import Automation
from regulars.organizations.access import (
    CHOSEN_ORGANIZATION,
    Permission,
    may,
    may_run,
    membership_of,
)
from regulars.organizations.models import Membership, Organization, User

Extra = ParamSpec("Extra")


class MemberRequest(HttpRequest):
    """A request of a signed-in member; `membership` says under which role in which organization."""

    user: User
    membership: Membership


MemberView = Callable[Concatenate[MemberRequest, Extra], HttpResponseBase]
PlainView = Callable[Concatenate[HttpRequest, Extra], HttpResponseBase]


def member_page(view: MemberView[Extra]) -> PlainView[Extra]:
    """Only for members; times are shown in the organization's zone. Others are asked to sign in."""

    @wraps(view)
    def page(request: HttpRequest, *args: Extra.args, **kwargs: Extra.kwargs) -> HttpResponseBase:
        if request.user.is_anonymous:
            return _ask_to_sign_in(request)
        user = request.user
        membership = membership_of(user, request.session.get(CHOSEN_ORGANIZATION))
        if membership is None:
            return render(request, "dashboard/no_organization.html", status=403)
        request.membership = membership  # type: ignore[attr-defined]
        request.organizations = SimpleLazyObject(  # type: ignore[attr-defined]
            lambda: list(Organization.objects.filter(memberships__user=user).order_by("name"))
        )
        with timezone.override(zoneinfo.ZoneInfo(membership.organization.timezone)):
            return view(cast("MemberRequest", request), *args, **kwargs)

    return cast("PlainView[Extra]", page)


def _ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page; a part that polls makes its whole page load anew."""
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(headers={"HX-Refresh": "true"})
    return redirect_to_login(request.get_full_path())


def may_start_runs(request: MemberRequest) -> bool:
    """Whether this member may run automations here."""
    return may_run(organization_of(request), request.membership.role)


def sees_contact_data(request: MemberRequest) -> bool:
    """Whether addresses are shown whole to this member, or masked."""
    return may(request.membership.role, Permission.SEE_CONTACT_DATA)


def controls_runs(request: MemberRequest) -> bool:
    """Whether this member may cancel runs and decide unknown messages."""
    return may(request.membership.role, Permission.CONTROL_RUNS)


def changes_automations(request: MemberRequest) -> bool:
    """Whether this member may change automations, their schedule among other things."""
    return may(request.membership.role, Permission.CHANGE_AUTOMATIONS)


def changes_customers(request: MemberRequest) -> bool:
    """Whether this member may change what is known about guests."""
    return may(request.membership.role, Permission.CHANGE_CUSTOMERS)


def sees_webhooks(request: MemberRequest) -> bool:
    """Whether this member may see and change which programs are told."""
    return may(request.membership.role, Permission.CHANGE_PROVIDERS)


def changes_accounts(membership: Membership) -> bool:
    """Whether this member may see and change the provider accounts."""
    return may(membership.role, Permission.CHANGE_PROVIDERS)


def organization_of(request: MemberRequest) -> Organization:
    """The organization whose pages are shown."""
    return request.membership.organization


def automation_names(request: MemberRequest) -> dict[UUID, str]:
    """The names of the organization's automations: the few that a page may have to name."""
    mine = Automation.objects.filter(organization=organization_of(request))
    return dict(mine.values_list("pk", "name"))
