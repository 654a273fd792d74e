"""The one confirmation of a stop or start: handed over once, soon, through the account that was written to.

It is claimed in a commit of its own before the call. A crash in between leaves it `sending` for ever:
perhaps it left, so it is never tried again. What could not go within some minutes does not go at all.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar

import structlog
from asgiref.sync import sync_to_async
from django.db import connection

from regulars.automations.accounts import options_of
from regulars.callbacks.inbound import may_be_told
from regulars.callbacks.models import Reply, ReplyState
from regulars.callbacks.opting import Place
from regulars.lib import sql
from regulars.providers import registry
from regulars.providers.base import Outcome, Outgoing, Provider, Verdict

log = structlog.get_logger("regulars.replying")

# One text within five minutes of the request may confirm it (United States, TCPA).
WITHIN = timedelta(minutes=5)
_AT_ONCE = 50

Taken = ParamSpec("Taken")
Given = TypeVar("Given")


@dataclass(frozen=True, slots=True)
class _Ready:
    """A claimed reply with all that its call needs."""

    reply_id: int
    provider: Provider
    options: Any
    outgoing: Outgoing


def aside(ask: Callable[Taken, Given]) -> Callable[Taken, Coroutine[Any, Any, Given]]:
    """`ask` in a thread of its own, which lets go of the database afterwards."""

    def released(*arguments: Taken.args, **named: Taken.kwargs) -> Given:
        try:
            return ask(*arguments, **named)
        finally:
            # Inside a transaction somebody else (a test) owns the connection.
            if not connection.in_atomic_block:
                connection.close()

    return sync_to_async(released, thread_sensitive=False)


async def send_waiting() -> int:
    """Hand over what waits; how many were handed over."""
    ready = await aside(claim)(None)
    for one in ready:
        await aside(record)(one.reply_id, await _call(one), None)
    return len(ready)


async def _call(ready: _Ready) -> Outcome:
    try:
        way = await ready.provider.connect(ready.options, _no_outbox)
        try:
            (outcome,) = await way.send([ready.outgoing])
        finally:
            await way.close()
    except Exception as problem:
        log.exception("a confirmation failed", reply=ready.reply_id)
        return Outcome(Verdict.UNKNOWN, error=type(problem).__name__)
    return outcome


async def _no_outbox(_: Sequence[Outgoing]) -> None:
    """Nothing that is called back at writes to the sandbox's outbox."""


def claim(now: datetime | None) -> list[_Ready]:
    """Replies that are ours alone from now on; those that are too late are dropped."""
    now = now or sql.database_now()
    values = {"now": now, "since": now - WITHIN, "most": _AT_ONCE}
    sql.execute(_DROP, values)
    claimed = [row["inbound_id"] for row in sql.fetch_rows(_CLAIM, values)]
    replies = Reply.objects.filter(pk__in=claimed).select_related(
        "inbound__organization", "inbound__account__organization"
    )
    return [ready for reply in replies.order_by("pk") if (ready := _prepare(reply, now))]


def _prepare(reply: Reply, now: datetime) -> _Ready | None:
    """The last look: whoever was suppressed meanwhile hears nothing."""
    said = reply.inbound
    place = Place(said.organization, said.channel, said.address)
    account = said.account
    if account is None or account.broken_reason or said.channel not in account.channels:
        _drop(reply, now, "the account cannot send")
        return None
    if not may_be_told(place, place.customers()):
        _drop(reply, now, "suppressed")
        return None
    try:
        provider, options = registry.get(account.kind), options_of(account)
    except Exception as problem:  # noqa: BLE001 - an account that cannot be used says why elsewhere
        _drop(reply, now, type(problem).__name__)
        return None
    # No id of the ledger's: whatever the provider reports of it is about no message there.
    outgoing = Outgoing(0, f"reply:{reply.pk}", said.channel, said.address, reply.body, attempt=1)
    return _Ready(reply.pk, provider, options, outgoing)


def _drop(reply: Reply, now: datetime, why: str) -> None:
    Reply.objects.filter(pk=reply.pk).update(state=ReplyState.DROPPED, error=why, state_at=now)


def record(reply_id: int, outcome: Outcome, now: datetime | None) -> None:
    """What the call said; without a clear answer it stays `sending`, which nobody sends again."""
    fields: dict[str, Any] = {"state_at": now or sql.database_now(), "error": outcome.error[:300]}
    if outcome.verdict is Verdict.ACCEPTED:
        fields |= {"state": ReplyState.SENT, "provider_id": outcome.provider_id}
    elif outcome.verdict is not Verdict.UNKNOWN:
        fields |= {"state": ReplyState.FAILED}
    Reply.objects.filter(pk=reply_id, state=ReplyState.SENDING).update(**fields)


_DROP = """
UPDATE replies SET state = 'dropped', error = 'too late', state_at = %(now)s
 WHERE state = 'waiting' AND created_at <= %(since)s
"""

_CLAIM = """
UPDATE replies SET state = 'sending', state_at = %(now)s
 WHERE inbound_id IN (SELECT inbound_id FROM replies
                       WHERE state = 'waiting' AND created_at > %(since)s
                       ORDER BY created_at LIMIT %(most)s FOR UPDATE SKIP LOCKED)
RETURNING inbound_id
"""
