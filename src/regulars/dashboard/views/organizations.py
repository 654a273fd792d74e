"""Choosing the organization whose pages are shown, for people who belong to several."""

from django.http import Http404, HttpResponse
from django.shortcuts import redirect

from regulars.dashboard.scope import MemberRequest, member_page
from regulars.organizations.access import CHOSEN_ORGANIZATION
from regulars.organizations.models import Membership


@member_page
def choose(request: MemberRequest) -> HttpResponse:
    """Remember the chosen organization in the session."""
    mine = Membership.objects.filter(user=request.user).values_list("organization_id", flat=True)
    chosen = {str(pk): pk for pk in mine}.get(request.POST.get("organization", ""))
    if chosen is None:
        raise Http404
    request.session[CHOSEN_ORGANIZATION] = chosen
    return redirect("automations")
