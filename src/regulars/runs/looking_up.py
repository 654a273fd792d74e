"""Asking the provider what became of messages in doubt, where it can be asked.

Only what is found settles a message (as a report, `runs.reporting`); what is not found stays in
doubt, for it may still be on its way. Nothing is ever sent from here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from asgiref.sync import sync_to_async
from django.db import connection as django_connection
from psycopg import AsyncConnection

from regulars.lib import async_database
from regulars.providers.base import Found, Outgoing, Question
from regulars.runs.models import RunChunk
from regulars.runs.outbox import Reading
from regulars.runs.preparing import Assignment, prepare
from regulars.runs.recording import Attempt
from regulars.runs.rendering import Renderer
from regulars.runs.reporting import News, report

log = structlog.get_logger("regulars.looking_up")

# At most so many questions at once; who has more in doubt asks again. By itself a worker asks less,
# and only about what has been in doubt for a while (the sender may still know) but not for long.
MOST = 200
MOST_BY_ITSELF = 40
_NOT_BEFORE = timedelta(minutes=1)
_NOT_AFTER = timedelta(minutes=30)

Asked = tuple[Attempt, Question]


@dataclass(slots=True)
class LookedUp:
    """How many messages were asked about, how many that settled, and who cannot be asked."""

    asked: int = 0
    settled: int = 0
    # Kinds of providers that have no look-up.
    cannot: set[str] = field(default_factory=set)


async def look_up_lately(now: datetime) -> None:
    """Ask about what has come into doubt lately, in whichever run."""
    span = (now - _NOT_AFTER, now - _NOT_BEFORE)
    for run_id in await sync_to_async(_runs)(now):
        done = await look_up(run_id, now, most=MOST_BY_ITSELF, span=span)
        if done.asked:
            log.info("looked up", run=str(run_id), asked=done.asked, settled=done.settled)


def _runs(now: datetime) -> list[UUID]:
    doubted = RunChunk.objects.filter(unknown__gt=0, run__created_at__gt=now - timedelta(days=2))
    try:
        return list(doubted.order_by("run_id").values_list("run_id", flat=True).distinct())
    finally:
        _release()


async def look_up(
    run_id: UUID, now: datetime, *, most: int = MOST, span: tuple[datetime, datetime] | None = None
) -> LookedUp:
    """Ask about the run's unknown messages; what the provider knows for certain settles them.

    `span`: only those that came into doubt between these moments.
    """
    done = LookedUp()
    for chunk_id in await sync_to_async(_chunks)(run_id):
        work = await sync_to_async(_prepare)(chunk_id, now)
        if work is None or done.asked >= most:
            continue
        if work.provider.can_look_up:
            await _ask(work, now, done, most - done.asked, span)
        else:
            done.cannot.add(work.provider.label)
    return done


def _chunks(run_id: UUID) -> list[int]:
    found = RunChunk.objects.filter(run_id=run_id, unknown__gt=0).order_by("number")
    try:
        return list(found.values_list("pk", flat=True))
    finally:
        _release()


def _prepare(chunk_id: int, now: datetime) -> Assignment | None:
    try:
        return prepare(chunk_id, now)
    finally:
        _release()


def _release() -> None:
    # Inside a transaction somebody else (a test) owns the connection.
    if not django_connection.in_atomic_block:
        django_connection.close()


async def _ask(
    work: Assignment, now: datetime, done: LookedUp, most: int, span: tuple[datetime, datetime] | None
) -> None:
    async with async_database.borrow() as database:
        chunk = work.chunk
        values: dict[str, Any] = {"run": chunk.run_id, "number": chunk.number, "most": most}
        values |= {"first": chunk.first_id, "last": chunk.last_id}
        values |= dict(zip(("since", "until"), span or (None, None), strict=True))
        rows = await (await database.execute(_IN_DOUBT, values)).fetchall()
        asked = await _questions(database, work, rows, now)
        done.asked += len(asked)
        provider = await work.provider.connect(work.options, Reading(database, chunk.account_id))
        try:
            answers = await provider.look_up([question for _, question in asked])
            sure = await _without_mistakes(database, work, asked, answers)
        except Exception:
            # A look-up may always be repeated; what it did not answer stays in doubt.
            log.exception("look-up failed", run=str(work.run.pk), provider=work.provider.kind)
            return
        finally:
            await provider.close()
    for attempt, found in sure:
        learned = await sync_to_async(_tell)(attempt, found, now)
        done.settled += learned


async def _questions(
    database: AsyncConnection[Any], work: Assignment, rows: Sequence[dict[str, Any]], now: datetime
) -> list[Asked]:
    """The messages in doubt, rendered as they were when they left, or as near as can be."""
    renderer = Renderer(work)
    await renderer.learn(database, rows, now)
    return [
        (Attempt.of(row), Question(outgoing, row["send_after"], row["state_at"]))
        for row in rows
        if isinstance(outgoing := renderer.render(row), Outgoing)
    ]


async def _without_mistakes(
    database: AsyncConnection[Any],
    work: Assignment,
    asked: Sequence[Asked],
    answers: Sequence[Found | None],
) -> list[tuple[Attempt, Found]]:
    """Without what belongs to another message: one that is known under that number, or an equal one."""
    found = [
        (attempt, answer) for (attempt, _), answer in zip(asked, answers, strict=True) if answer is not None
    ]
    numbers = Counter(answer.provider_id for _, answer in found if answer.provider_id)
    values = {
        "organization": work.run.organization_id,
        "account": work.chunk.account_id,
        "addresses": [attempt.address for attempt, _ in found],
        "provider_ids": list(numbers),
    }
    rows = await (await database.execute(_KNOWN, values)).fetchall()
    taken = {(row["provider_id"], row["id"]) for row in rows}

    def is_its_own(attempt: Attempt, answer: Found) -> bool:
        others = {pk for name, pk in taken if name == answer.provider_id and pk != attempt.message_id}
        return numbers[answer.provider_id] <= 1 and not others

    return [(attempt, answer) for attempt, answer in found if is_its_own(attempt, answer)]


def _tell(attempt: Attempt, found: Found, now: datetime) -> bool:
    news = News(
        found.report,
        attempt.message_id,
        provider_id=found.provider_id,
        key=f"look-up:{attempt.number}:{found.report}",
        attempt=attempt.number,
        actor="look-up",
    )
    try:
        return report(news, now).changed
    finally:
        _release()


_IN_DOUBT = """
SELECT message.id, message.automation_id, message.customer_id, message.occasion, message.channel,
       message.address, message.venue_id, message.reference, message.attempt, message.send_after,
       message.state_at,
       customer.first_name, customer.last_name, customer.tier, customer.language
  FROM messages message LEFT JOIN customers customer ON customer.id = message.customer_id
 WHERE message.run_id = %(run)s AND message.chunk_number = %(number)s AND message.state = 'unknown'
   AND message.id BETWEEN %(first)s AND %(last)s
   AND (%(since)s::timestamptz IS NULL OR message.state_at BETWEEN %(since)s AND %(until)s)
 ORDER BY message.id LIMIT %(most)s
"""

_KNOWN = """
SELECT id, provider_id FROM messages
 WHERE organization_id = %(organization)s AND address = ANY (%(addresses)s::text[])
   AND account_id = %(account)s AND provider_id = ANY (%(provider_ids)s::text[])
"""
