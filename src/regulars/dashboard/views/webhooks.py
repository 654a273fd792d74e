"""Webhooks: which programs are told, how each attempt went, and the buttons that send again."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext

from regulars.dashboard.scope import MemberRequest, member_page, organization_of, sees_webhooks
from regulars.dashboard.views.runs import number_in
from regulars.lib import clock
from regulars.webhooks import endpoints
from regulars.webhooks.models import Delivery, Endpoint

DELIVERIES_A_PAGE = 50


@member_page
def index(request: MemberRequest) -> HttpResponse:
    """The endpoints, and what they were told, newest first, with the last attempt at each."""
    _require(request)
    mine = Endpoint.objects.filter(organization=organization_of(request)).order_by("pk")
    deliveries = Delivery.objects.filter(endpoint__in=mine).order_by("-pk")
    if before := number_in(request.GET.get("before")):
        deliveries = deliveries.filter(pk__lt=before)
    shown = list(deliveries.select_related("endpoint").prefetch_related("tries")[:DELIVERIES_A_PAGE])
    rows = [
        {"delivery": delivery, "last": max(delivery.tries.all(), key=lambda each: each.pk, default=None)}
        for delivery in shown
    ]
    next_before = shown[-1].pk if len(shown) == DELIVERIES_A_PAGE else None
    context = {"endpoints": mine, "rows": rows, "next_before": next_before}
    return render(request, "dashboard/webhooks.html", context)


@member_page
def test(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Send an endpoint an event that means nothing."""
    _require(request)
    endpoint = get_object_or_404(Endpoint, pk=endpoint_id, organization=organization_of(request))
    endpoints.test(endpoint, clock.now())
    messages.success(request, gettext("The test is on its way: how it went is below in a few seconds."))
    return redirect("webhooks")


@member_page
def send_again(request: MemberRequest, delivery_id: int) -> HttpResponse:
    """Deliver one event (once more)."""
    _require(request)
    mine = Delivery.objects.filter(endpoint__organization=organization_of(request))
    endpoints.send_again(get_object_or_404(mine, pk=delivery_id), clock.now())
    messages.success(request, gettext("It is sent again: how it went is below in a few seconds."))
    return redirect("webhooks")


def _require(request: MemberRequest) -> None:
    if not sees_webhooks(request):
        raise PermissionDenied(gettext("Your role may not see or change webhooks here."))
