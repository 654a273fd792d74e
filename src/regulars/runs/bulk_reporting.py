"""Many reports at once: a storm of callbacks, told to the ledger in a few statements.

By the same rules as one report (`reporting.learned`), in one transaction: after a crash either all of it
is there or nothing. The order of locks is that of one report (run, messages by id, chunks), and no
message is waited for: a sender that is recording it at this moment goes first, and the report is told again.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction

from regulars.lib import sql
from regulars.lib.crash_points import reach
from regulars.runs import deltas, partitions
from regulars.runs.models import DeliveryEvent, Message, MessageState
from regulars.runs.reporting import (
    CHANGED,
    REPORTED_WITHIN,
    Learned,
    News,
    event_of,
    key_of,
    learned,
    turn,
)


class Unheard(StrEnum):
    """Why a report was not taken note of."""

    # It is about no message of ours, or none that is known under this number yet.
    NO_SUCH_MESSAGE = "no_such_message"
    # Somebody is writing the message at this moment: tell it again.
    BUSY = "busy"


def report_all(news: Sequence[News], now: datetime) -> list[Learned | Unheard]:
    """Take note of each report; the answers are in the order of the reports."""
    with transaction.atomic():
        found = _find(news, now)
        _hold_runs({run for _, run in found.values()})
        messages = _lock({pk for pk, _ in found.values()})
        book = _Book(messages, _known_keys(list(messages)), now)
        answers = [book.take(one, found.get(index)) for index, one in enumerate(news)]
        book.write()
        reach("report.inside")
    reach("report.committed")
    return answers


class _Book:
    """What one batch changes: collected report by report, in their order, then written at once."""

    def __init__(self, messages: dict[int, Message], known: set[tuple[int, str]], now: datetime) -> None:
        self._messages = messages
        self._known = known
        self._now = now
        self._events: list[DeliveryEvent] = []
        self._changed: dict[int, Message] = {}
        self._moves: dict[UUID, list[deltas.Move]] = defaultdict(list)

    def take(self, news: News, place: tuple[int, UUID] | None) -> Learned | Unheard:
        """One report about the message at `place` (its id and run)."""
        if place is None:
            return Unheard.NO_SUCH_MESSAGE
        message = self._messages.get(place[0])
        if message is None:
            return Unheard.BUSY
        before, mark = message.state, (message.pk, key_of(news))
        if mark in self._known:
            return Learned(message.pk, message.run_id, before, was_new=False, changed=False)
        self._known.add(mark)
        self._events.append(event_of(message, news, self._now))
        state = learned(message, news)
        if state is not None:
            self._turn(message, state, news)
        return Learned(message.pk, message.run_id, message.state, was_new=True, changed=state is not None)

    def _turn(self, message: Message, state: MessageState, news: News) -> None:
        move = deltas.Move(message.chunk_number, message.state, state)
        turn(message, state, news, self._now)
        self._changed[message.pk] = message
        self._moves[message.run_id].append(move)

    def write(self) -> None:
        """All of it; chunks after their messages."""
        if self._events:
            events = [_event_row(event) for event in self._events]
            sql.execute(_KEEP, {"rows": json.dumps(events), "now": self._now})
        if self._changed:
            rows = [_row(self._changed[pk]) for pk in sorted(self._changed)]
            sql.execute(_CHANGE, {"rows": json.dumps(rows), "now": self._now, "ids": sorted(self._changed)})
        deltas.apply_all(self._moves, self._now)


def _event_row(event: DeliveryEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("message_id", "kind", "attempt", "actor", "raw")}


def _row(message: Message) -> dict[str, Any]:
    accepted = message.accepted_at
    return {
        "id": message.pk,
        "state": str(message.state),
        "reason": message.reason,
        "error": message.error,
        "provider_id": message.provider_id,
        "accepted_at": accepted.isoformat() if accepted else None,
    }


def _find(news: Sequence[News], now: datetime) -> dict[int, tuple[int, UUID]]:
    """The message (id and run) of each report, by the report's place; what is not found is not in it."""
    found = _by_our_id(news)
    found.update(_by_address(news, now))
    return found


def _by_our_id(news: Sequence[News]) -> dict[int, tuple[int, UUID]]:
    wanted = {one.message_id for one in news if one.message_id is not None}
    if not wanted:
        return {}
    rows = Message.objects.filter(pk__in=wanted).values_list("pk", "run_id", "organization_id")
    known = {pk: (run, organization) for pk, run, organization in rows}
    return {
        index: (one.message_id, known[one.message_id][0])
        for index, one in enumerate(news)
        if one.message_id in known and one.organization_id in (None, known[one.message_id][1])
    }


def _by_address(news: Sequence[News], now: datetime) -> dict[int, tuple[int, UUID]]:
    """By organization, address and the provider's number: without an address it would be reading months."""
    wanted = [
        {"place": index, "owner": one.organization_id, "address": one.address, "number": one.provider_id}
        for index, one in enumerate(news)
        if one.message_id is None and one.organization_id and one.address and one.provider_id
    ]
    if not wanted:
        return {}
    values = {"wanted": json.dumps(wanted), "floor": partitions.floor_id(now - REPORTED_WITHIN)}
    return {row["place"]: (row["id"], row["run_id"]) for row in sql.fetch_rows(_BY_ADDRESS, values)}


def _hold_runs(runs: set[UUID]) -> None:
    for run_id in sorted(runs):
        deltas.hold_run(run_id)


def _lock(ids: set[int]) -> dict[int, Message]:
    if not ids:
        return {}
    locked = Message.objects.select_for_update(skip_locked=True).filter(pk__in=sorted(ids))
    rows = locked.only("run_id", "chunk_number", "attempt", *CHANGED).order_by("pk")
    return {message.pk: message for message in rows}


def _known_keys(ids: Sequence[int]) -> set[tuple[int, str]]:
    if not ids:
        return set()
    known = DeliveryEvent.objects.filter(message_id__in=ids)
    return {(pk, str(key)) for pk, key in known.values_list("message_id", "raw__key")}


_BY_ADDRESS = """
SELECT wanted.place, message.id, message.run_id
  FROM jsonb_to_recordset(%(wanted)s::jsonb)
       AS wanted (place int, owner bigint, address text, number text)
  JOIN messages message
    ON message.organization_id = wanted.owner AND message.address = wanted.address
   AND message.provider_id = wanted.number
 WHERE message.id >= %(floor)s
"""

# In one document: a third of the time that as many rows of parameters take.
_KEEP = """
INSERT INTO delivery_events (message_id, kind, attempt, actor, raw, at)
SELECT message_id, kind, attempt, actor, raw, %(now)s
  FROM jsonb_to_recordset(%(rows)s::jsonb)
       AS told (message_id bigint, kind text, attempt int, actor text, raw jsonb)
"""

# The ids are named besides, so that only their months are looked into.
_CHANGE = """
UPDATE messages message
   SET state = told.state, state_at = %(now)s, reason = told.reason, error = told.error,
       provider_id = told.provider_id, accepted_at = told.accepted_at
  FROM jsonb_to_recordset(%(rows)s::jsonb)
       AS told (id bigint, state text, reason text, error text, provider_id text, accepted_at timestamptz)
 WHERE message.id = told.id AND message.id = ANY (%(ids)s)
"""
