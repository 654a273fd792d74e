"""A run ends at the very moment at which its messages change: its totals hold the change, and it goes on
where something is to be sent again. Two connections each, made to meet in both orders.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from tests import live
from tests.runs.scripted import planned

from regulars.lib import async_database, sql
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine, finishing, preparing
from regulars.runs.invariants import violations
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import Message, Run, RunChunk
from regulars.runs.recording import Attempt, Ended
from regulars.runs.states import after
from runs.ended import ended_run, recounted, summed

pytestmark = pytest.mark.django_db(transaction=True)

WAITING = "SELECT count(*) AS number FROM pg_locks WHERE NOT granted"


@pytest.fixture
def run(make_automation, account, now):
    """All of its chunks are closed, and nobody has ended it yet."""
    run = ended_run(make_automation(), account, ["sent", "unknown", "sent"], now)
    Run.objects.update(state="sending", finished_at=None, totals={})
    return run


def bounced(now):
    engine.report(engine.News(engine.Report.FAILED, Message.objects.filter(state="sent").first().pk), now)


def sent_again(now):
    engine.settle(Message.objects.get(state="unknown").pk, engine.Decision.SEND_AGAIN, "marta", now)


def apart(verb):
    """A call of `verb` on a connection of its own."""

    def call():
        try:
            return verb()
        finally:
            connection.close()

    return call


def somebody_waits():
    return sql.fetch_rows(WAITING)[0]["number"] > 0


def meet(first, second):
    """`second` begins when `first` has changed the rows, and `first` commits when `second` is at it."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            first()
            begun = pool.submit(apart(second))
            live.wait_until(lambda: begun.done() or somebody_waits(), seconds=20, every=0.01)
        begun.result(20)


def is_true_of(run):
    run.refresh_from_db()
    assert summed(run) == recounted(run)
    assert run.totals == (summed(run) if run.state == "finished" else {})
    assert violations().keys() <= {"every message that has left or may leave holds its occasion"}


@pytest.mark.parametrize("end_comes_first", [True, False])
def test_the_totals_hold_a_report_that_comes_while_the_run_ends(run, now, end_comes_first):
    verbs = [lambda: finishing.finish(run.pk, now), lambda: bounced(now)]
    meet(*(verbs if end_comes_first else reversed(verbs)))
    is_true_of(run)
    assert (run.state, run.totals["failed"]) == ("finished", 1)


@pytest.mark.parametrize("end_comes_first", [True, False])
def test_a_run_that_ends_while_a_message_is_sent_again_goes_on(run, now, end_comes_first):
    verbs = [lambda: finishing.finish(run.pk, now), lambda: sent_again(now)]
    meet(*(verbs if end_comes_first else reversed(verbs)))
    is_true_of(run)
    assert (run.state, run.finished_at) == ("sending", None)
    assert RunChunk.objects.filter(closed=False).count() == 1


@pytest.mark.parametrize(
    ("outcome", "state", "of_the_run"),
    [
        (Outcome(Verdict.ACCEPTED, provider_id="SM1"), "sent", "finished"),
        (Outcome(Verdict.REJECTED, error="refused"), "failed", "finished"),
        (None, "queued", "sending"),
    ],
)
def test_the_totals_hold_what_a_sender_learns_after_the_end(
    lapsed, make_automation, provider, now, outcome, state, of_the_run
):
    lapsed()
    run = planned(make_automation(), now)
    work = preparing.prepare(run.chunks.get().pk, now)

    async def learn_late():
        database = await async_database.connect()
        taken = await ChunkLedger.take(database, work, now)
        ledger = ChunkLedger(database, work, taken.epoch)
        await ledger.prepare()
        found = await ledger.exchange([], 10, now)
        await asyncio.to_thread(apart(lambda: _taken_over(run, now)))
        attempt = Attempt.of(found.rows[0])
        ended = [Ended(attempt, outcome, after(outcome, 1, now, at_least_once=False, account_is_down=False))]
        await ledger.exchange(ended, 0, now)
        await database.close()

    asyncio.run(learn_late())
    is_true_of(run)
    assert (Message.objects.get().state, run.state) == (state, of_the_run)


def _taken_over(run, now):
    """Somebody else found the message in doubt, closed the chunk, and ended the run."""
    Message.objects.update(state="unknown")
    run.chunks.update(unknown=1, closed=True, lease_until=None)
    assert finishing.finish(run.pk, now)
