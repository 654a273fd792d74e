"""The audit trail: who did what, newest first."""

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext

from regulars.dashboard.scope import MemberRequest, member_page, organization_of
from regulars.dashboard.views.runs import number_in
from regulars.organizations.access import Permission, may
from regulars.organizations.models import AuditEvent

ROWS_A_PAGE = 100


@member_page
def page(request: MemberRequest) -> HttpResponse:
    """A page of the trail; those who may read it."""
    if not may(request.membership.role, Permission.READ_AUDIT):
        raise PermissionDenied(gettext("Your role may not read this. Ask a manager or an owner."))
    rows = AuditEvent.objects.filter(organization=organization_of(request)).select_related("user")
    if after := number_in(request.GET.get("after")):
        rows = rows.filter(pk__lt=after)
    found = list(rows.order_by("-pk")[: ROWS_A_PAGE + 1])
    shown = found[:ROWS_A_PAGE]
    more = shown[-1].pk if len(found) > ROWS_A_PAGE else None
    return render(request, "dashboard/audit.html", {"events": shown, "next_after": more})
