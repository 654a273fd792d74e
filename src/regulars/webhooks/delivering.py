"""Telling: each delivery is tried until it is taken, with growing pauses over about a day.

An attempt is written down as begun before the call, and its outcome after it. A kill in between means
one more attempt after a while: a receiver may hear of an event twice, and knows it by its id.
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Coalesce

from regulars.lib import secret_box, sql, standard_webhooks
from regulars.lib.http import HttpClient, NoAnswerError, NotWrittenError
from regulars.runs.tasks import Draining
from regulars.webhooks import targets
from regulars.webhooks.models import Attempt, Delivery, DeliveryState, Endpoint, Told
from regulars.webhooks.targets import TargetRefusedError

# After the first, second, ... failure; 28 hours in all.
PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 36_000))
# Every attempt has failed for so long: nobody listens there.
PATIENCE = timedelta(hours=24)
# A killed sender's attempts are repeated after this.
_LEASE = timedelta(minutes=2)
_AT_ONCE = 8
_CLAIM = 200
# No call begins later than this after the first of a turn.
_TURN_SECONDS = 20.0


Taken = ParamSpec("Taken")
Given = TypeVar("Given")


def aside(ask: Callable[Taken, Given]) -> Callable[Taken, Coroutine[Any, Any, Given]]:
    """`ask` in a thread of its own: the thread that senders share must not wait for it."""
    return sync_to_async(ask, thread_sensitive=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The status of the answer, or why there was none."""

    status: int | None
    problem: str
    milliseconds: int

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300


async def deliver(endpoint_id: int) -> None:
    """One turn: what is due for this endpoint now, for twenty seconds at most."""
    ends = time.monotonic() + _TURN_SECONDS
    found = await aside(_claim)(endpoint_id)
    if not found:
        return
    secret, url = await aside(_target)(endpoint_id)
    try:
        resolved = await asyncio.to_thread(targets.resolve, url)
    except TargetRefusedError as refused:
        for delivery in found:
            await aside(_record)(delivery, Outcome(None, str(refused), 0))
        return
    client = HttpClient(concurrency=_AT_ONCE, resolved=resolved)
    try:
        while found:
            await _call_all(client, url, secret, found, ends)
            found = [] if _is_over(ends) else await aside(_claim)(endpoint_id)
    finally:
        await client.close()


async def _call_all(
    client: HttpClient, url: str, secret: str, found: Sequence[Delivery], ends: float
) -> None:
    waiting = list(reversed(found))

    async def caller() -> None:
        while waiting and not _is_over(ends):
            delivery = waiting.pop()
            outcome = await call(client, url, secret, delivery)
            await aside(_record)(delivery, outcome)

    await asyncio.gather(*(caller() for _ in range(_AT_ONCE)))
    if waiting:
        await aside(_give_back)(waiting)


def _is_over(ends: float) -> bool:
    return Draining.requested or time.monotonic() >= ends


async def call(client: HttpClient, url: str, secret: str, delivery: Delivery) -> Outcome:
    """One attempt."""
    body = json.dumps(delivery.payload, ensure_ascii=False).encode()
    signed = standard_webhooks.headers(secret, f"evt_{delivery.event_id.hex}", int(time.time()), body)
    began = time.monotonic()
    try:
        answer = await client.post_content(url, body, "application/json", headers=signed)
        status, problem = answer.status, ""
    except (NotWrittenError, NoAnswerError) as error:
        status, problem = None, str(error)[:300]
    return Outcome(status, problem, round((time.monotonic() - began) * 1000))


def _target(endpoint_id: int) -> tuple[str, str]:
    try:
        endpoint = Endpoint.objects.get(pk=endpoint_id)
        sealed = secret_box.unseal(endpoint.sealed_secret, settings.SECRET_KEY)
        return str(sealed["secret"]), endpoint.url
    finally:
        connection.close()


def _claim(endpoint_id: int) -> list[Delivery]:
    """Deliveries that are due, in order; begun as far as the database knows."""
    try:
        now = sql.database_now()
        values = {"endpoint": endpoint_id, "now": now, "again": now + _LEASE, "most": _CLAIM}
        ids = [row["id"] for row in sql.fetch_rows(_TAKE, values)]
        return list(Delivery.objects.filter(pk__in=ids).order_by("pk"))
    finally:
        connection.close()


def _give_back(waiting: Sequence[Delivery]) -> None:
    """The turn was over before these were called."""
    try:
        ids = [delivery.pk for delivery in waiting]
        sql.execute(_RETURN, {"ids": ids, "now": sql.database_now()})
    finally:
        connection.close()


def _record(delivery: Delivery, outcome: Outcome) -> None:
    try:
        record(delivery, outcome, sql.database_now())
    finally:
        connection.close()


@transaction.atomic
def record(delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    """Write an attempt down, and what follows from it for the delivery and its endpoint."""
    Attempt.objects.create(
        delivery=delivery,
        status=outcome.status,
        problem=outcome.problem,
        milliseconds=outcome.milliseconds,
        at=now,
    )
    mine = Delivery.objects.filter(pk=delivery.pk)
    endpoint = Endpoint.objects.filter(pk=delivery.endpoint_id)
    if outcome.taken:
        mine.update(state=DeliveryState.DELIVERED)
        endpoint.exclude(failing_since=None).update(failing_since=None)
        return
    if delivery.attempts > len(PAUSES):
        mine.update(state=DeliveryState.FAILED)
    else:
        mine.update(next_at=now + PAUSES[delivery.attempts - 1])
    endpoint.update(failing_since=Coalesce("failing_since", Value(now)))
    if outcome.status == 410:
        endpoint.update(disabled_reason="The receiver said that it is gone for good (410).")
    else:
        endpoint.filter(failing_since__lte=now - PATIENCE, disabled_reason="").update(
            disabled_reason="Every attempt has failed for a day."
        )


def active_endpoints() -> list[int]:
    """Endpoints that are told something; those that were given up are not."""
    return list(Endpoint.objects.filter(disabled_reason="").order_by("pk").values_list("pk", flat=True))


def forget(before: datetime) -> int:
    """Remove what was delivered, or given up, before then, and what nobody asks about any more."""
    Told.objects.filter(at__lt=before - PATIENCE * 70).delete()
    done = Delivery.objects.filter(created_at__lt=before).exclude(state=DeliveryState.WAITING)
    return done.delete()[0]


_TAKE = """
UPDATE webhook_deliveries SET attempts = attempts + 1, next_at = %(again)s
 WHERE id IN (SELECT id FROM webhook_deliveries
               WHERE endpoint_id = %(endpoint)s AND state = 'waiting' AND next_at <= %(now)s
               ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED)
RETURNING id
"""

_RETURN = """
UPDATE webhook_deliveries SET attempts = attempts - 1, next_at = %(now)s WHERE id = ANY (%(ids)s)
"""
