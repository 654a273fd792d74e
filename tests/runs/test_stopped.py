"""A run that is stopped for good stays stopped, and says of each message what is known."""

import asyncio

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from tests.runs.scripted import planned

from regulars.lib import async_database, crash_points
from regulars.runs import engine, planning, preparing, sweeping
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import Message, Occasion, Run

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


def test_what_a_dead_sender_of_a_cancelled_run_had_claimed_is_unknown(lapsed, make_automation, provider, now):
    lapsed()
    run = planned(make_automation(), now)
    work = preparing.prepare(run.chunks.get().pk, now)

    async def claim_and_die():
        database = await async_database.connect()
        taken = await ChunkLedger.take(database, work, now)
        ledger = ChunkLedger(database, work, taken.epoch)
        await ledger.prepare()
        await ledger.exchange([], 10, now)
        await database.close()

    asyncio.run(claim_and_die())
    engine.cancel(run, now)
    sweeping.sweep(now)
    assert Message.objects.get().state == "sending"
    run.chunks.update(lease_until=now.replace(year=2020))
    sweeping.sweep(now)
    assert Message.objects.get().state == "unknown"
    assert engine.counts(run).unknown == 1
    assert engine.settle(Message.objects.get().pk, engine.Decision.ARRIVED, "marta", now).state == "sent"
    assert (engine.counts(run).unknown, engine.counts(run).sent) == (0, 1)
