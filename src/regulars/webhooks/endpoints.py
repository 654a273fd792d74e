"""Endpoints as their owner makes, changes and tries them."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from regulars.lib import secret_box, standard_webhooks
from regulars.lib.clock import iso_millis
from regulars.organizations.models import Organization
from regulars.webhooks import gathering, targets
from regulars.webhooks.models import Delivery, DeliveryState, Endpoint


class EndpointError(ValueError):
    """The endpoint cannot be so: `path` says what is wrong, the text why."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(problem)
        self.path = path


def create(
    organization: Organization, url: str, events: Sequence[str], now: datetime
) -> tuple[Endpoint, str]:
    """An endpoint that is told of these events from now on, and its secret, which is shown only now.

    Raises:
        EndpointError: an address that may not be called, or an event that there is not.
    """
    secret = standard_webhooks.new_secret()
    endpoint = Endpoint.objects.create(
        organization=organization,
        url=_checked_url(url),
        events=_checked_events(events),
        sealed_secret=secret_box.seal({"secret": secret}, settings.SECRET_KEY),
        cursor=gathering.last_report(),
        created_at=now,
    )
    return endpoint, secret


def change(endpoint: Endpoint, *, url: str | None = None, events: Sequence[str] | None = None) -> Endpoint:
    """Change what is given. The endpoint counts as working again, and is told what waits for it.

    Raises:
        EndpointError: as `create`.
    """
    if url is not None:
        endpoint.url = _checked_url(url)
    if events is not None:
        endpoint.events = _checked_events(events)
    endpoint.failing_since, endpoint.disabled_reason = None, ""
    endpoint.save(update_fields=["url", "events", "failing_since", "disabled_reason"])
    return endpoint


def test(endpoint: Endpoint, now: datetime) -> Delivery:
    """Send it an event that means nothing, also while it is switched on for nothing else."""
    payload: dict[str, Any] = {"type": gathering.TEST, "timestamp": iso_millis(now), "data": {}}
    return Delivery.objects.create(
        endpoint=endpoint,
        event_id=uuid.uuid4(),
        event=gathering.TEST,
        payload=payload,
        next_at=now,
        created_at=now,
    )


@transaction.atomic
def send_again(delivery: Delivery, now: datetime) -> None:
    """Deliver it (once more), under the same id, with all attempts anew."""
    Delivery.objects.filter(pk=delivery.pk).update(state=DeliveryState.WAITING, attempts=0, next_at=now)
    Endpoint.objects.filter(pk=delivery.endpoint_id).update(failing_since=None, disabled_reason="")


def _checked_url(url: str) -> str:
    try:
        targets.resolve(url)
    except targets.TargetRefusedError as refused:
        raise EndpointError("url", str(refused)) from None
    return url


def _checked_events(events: Sequence[str]) -> list[str]:
    if not events:
        raise EndpointError("events", "Choose at least one event.")
    for event in events:
        if event not in gathering.EVENTS:
            known = ", ".join(gathering.EVENTS)
            raise EndpointError("events", f"There is no event “{event}”. Known events: {known}.")
    return sorted(set(events))
