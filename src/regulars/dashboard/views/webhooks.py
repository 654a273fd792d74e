"""Webhooks: which programs are told, how each attempt went, and the buttons that send again."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext

from regulars.dashboard.scope import MemberRequest, member_page, organization_of, sees_webhooks
from regulars.dashboard.views.runs import number_in
from regulars.lib import clock
from regulars.organizations import audit
from regulars.webhooks import endpoints, gathering
from regulars.webhooks.models import Delivery, Endpoint

DELIVERIES_A_PAGE = 50


@member_page
def index(request: MemberRequest) -> HttpResponse:
    """The endpoints, and what they were told, newest first; by POST one more, whose secret is shown once."""
    _require(request)
    if request.method != "POST":
        return _page(request)
    url, events = request.POST.get("url", "").strip(), request.POST.getlist("events")
    try:
        made, secret = endpoints.create(organization_of(request), url, events, clock.now())
    except endpoints.EndpointError as problem:
        return _page(request, {"problem": str(problem), "url": url, "chosen": events}, status=422)
    _record(request, made, "webhook.created")
    return _page(request, {"made": made, "secret": secret})


def _page(request: MemberRequest, said: dict[str, Any] | None = None, status: int = 200) -> HttpResponse:
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
    context = {"endpoints": mine, "rows": rows, "next_before": next_before, "events": gathering.EVENTS}
    return render(request, "dashboard/webhooks.html", context | (said or {}), status=status)


@member_page
def remove(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Tell an endpoint nothing any more, and forget what it was told."""
    _require(request)
    endpoint = get_object_or_404(Endpoint, pk=endpoint_id, organization=organization_of(request))
    _record(request, endpoint, "webhook.deleted")
    endpoint.delete()
    messages.success(request, gettext("It is told nothing any more."))
    return redirect("webhooks")


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


def _record(request: MemberRequest, endpoint: Endpoint, action: str) -> None:
    audit.record(organization_of(request), request.user, action, now=clock.now(), subject=endpoint.pk)


def _require(request: MemberRequest) -> None:
    if not sees_webhooks(request):
        raise PermissionDenied(gettext("Your role may not see or change webhooks here."))
