"""A run that is stopped for good stays stopped, and says of each message what is known."""

import asyncio

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext
from tests.runs.scripted import planned

from regulars.lib import async_database, crash_points
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine, invariants, planning, preparing, sweeping
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import Message, Occasion, Run
from regulars.runs.recording import Attempt, Ended
from regulars.runs.states import after

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("place", ["planning.start", "planning.committed"])
def test_a_run_that_is_cancelled_while_it_is_planned_stays_cancelled(
    lapsed, make_automation, now, place, monkeypatch
):
    for _ in range(6):
        lapsed()
    monkeypatch.setattr(planning, "SLICE", 2)
    real = crash_points.reach

    def reach(name):
        if name == place:
            engine.cancel(Run.objects.get(), now)
        real(name)

    monkeypatch.setattr(crash_points, "reach", reach)
    run = engine.start(make_automation(), now=now)
    planning.plan(str(run.pk), now)
    assert Run.objects.get().state == "cancelled"
    assert set(Message.objects.values_list("state", flat=True)) <= {"withheld"}
    assert not Occasion.objects.exists()


def test_a_sweep_asks_no_more_for_three_runs_that_go_on_than_for_one(lapsed, make_automation, now):
    def statements():
        sweeping.sweep(now)
        with CaptureQueriesContext(connection) as asked:
            sweeping.sweep(now)
        return len(asked)

    lapsed()
    planned(make_automation(family="a"), now)
    alone = statements()
    for family in ("b", "c"):
        planned(make_automation(family=family), now)
    assert statements() == alone
    assert set(Run.objects.values_list("state", flat=True)) == {"sending"}


@pytest.fixture
def claimed(lapsed, make_automation, provider, now):
    """A run of three, claimed by a sender; what it may still do before it goes away is given."""
    for _ in range(3):
        lapsed()
    run = planned(make_automation(), now)
    work = preparing.prepare(run.chunks.get().pk, now)

    def claim(*further):
        async def sender():
            database = await async_database.connect()
            taken = await ChunkLedger.take(database, work, now)
            ledger = ChunkLedger(database, work, taken.epoch)
            await ledger.prepare()
            rows = (await ledger.exchange([], 10, now)).rows
            for step in further:
                await step(ledger, [Attempt.of(row) for row in rows])
            await database.close()

        asyncio.run(sender())
        return run

    return claim


def test_what_a_dead_sender_of_a_cancelled_run_had_claimed_is_unknown(claimed, now):
    run = claimed()
    engine.cancel(run, now)
    sweeping.sweep(now)
    assert set(Message.objects.values_list("state", flat=True)) == {"sending"}
    run.chunks.update(lease_until=now.replace(year=2020))
    sweeping.sweep(now)
    assert set(Message.objects.values_list("state", flat=True)) == {"unknown"}
    assert engine.counts(run).unknown == 3
    first = Message.objects.first().pk
    assert engine.settle(first, engine.Decision.ARRIVED, "marta", now).state == "sent"
    assert (engine.counts(run).unknown, engine.counts(run).sent) == (2, 1)


def test_a_message_that_somebody_is_writing_does_not_keep_the_sweep_waiting(claimed, now):
    run = claimed()
    engine.cancel(run, now)
    run.chunks.update(lease_until=now.replace(year=2020))
    busy = Message.objects.first().pk
    with psycopg.connect(psycopg.conninfo.make_conninfo(**async_database.parameters())) as other:
        other.execute("SELECT 1 FROM messages WHERE id = %s FOR UPDATE", [busy])
        sweeping.sweep(now)
        assert list(Message.objects.filter(state="sending").values_list("pk", flat=True)) == [busy]
    sweeping.sweep(now)
    assert set(Message.objects.values_list("state", flat=True)) == {"unknown"}
    assert (engine.counts(run).unknown, run.chunks.get().closed) == (3, True)


def test_what_was_handed_back_after_the_run_was_cancelled_is_withheld(claimed, now):
    """A sender holds up to a window of messages that it has not called: they are nobody's any more."""

    async def cancelled(ledger, attempts):
        await sync_to_async(lambda: engine.cancel(Run.objects.get(), now))()

    async def winds_up(ledger, attempts):
        accepted, *others = attempts
        ended = [Ended(one, None, after(None, 1, now)) for one in others]
        taken = Outcome(Verdict.ACCEPTED)
        ended.append(Ended(accepted, taken, after(taken, 1, now)))
        assert not (await ledger.exchange(ended, 0, now)).still_ours
        await ledger.release(None)

    run = claimed(cancelled, winds_up)
    sweeping.sweep(now)
    told = Message.objects.order_by("pk").values_list("state", "reason")
    assert list(told) == [("sent", ""), ("withheld", "run_cancelled"), ("withheld", "run_cancelled")]
    assert Occasion.objects.count() == 1
    counts = engine.counts(run)
    assert (counts.sent, counts.withheld, counts.held) == (1, 2, 0)
    assert run.chunks.get().closed
    assert not invariants.violations()
