"""Choosing the organization whose pages are shown, for people who belong to several."""

from django.http import Http404, HttpResponse
from django.shortcuts import redirect

from regulars.dashboard.scope import MemberRequest, member_page
from regulars.organizations.access import CHOSEN_ORGANIZATION
from regulars.organizations.models import Membership


@member_page
def choose(request: MemberRequest) -> HttpResponse:
    """Remember the chosen organization in the session."""
    chosen = request.POST.get("organization", "")
    mine = Membership.objects.filter(user=request.user).values_list("organization_id", flat=True)
    if not chosen.isdigit() or int(chosen) not in mine:
        raise Http404
    request.session[CHOSEN_ORGANIZATION] = int(chosen)
    return redirect("automations")
