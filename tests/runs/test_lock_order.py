"""Whoever changes messages, chunks and runs at the same moment waits for the other, never in a circle.

Each test lets two meet on real connections: a third one holds a row until both wait, so that each has
what it took first and wants what comes next. Where the orders differed, the database would end one of
them as a deadlock, and the test fails with it. The order itself: `regulars.runs.deltas`.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from django.db import connection
from tests.live import wait_until
from tests.runs.ended import ended_run, recounted, summed
from tests.runs.scripted import planned

from regulars.customers.models import Address
from regulars.lib import async_database
from regulars.providers.base import Outcome, Report, Verdict
from regulars.runs import engine, preparing, sweeping
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import Message, Run, RunChunk
from regulars.runs.recording import Attempt, Ended
from regulars.runs.states import after

pytestmark = pytest.mark.django_db(transaction=True)

NOT_THERE = Outcome(Verdict.REJECTED, code="131026", bad_address=True, permanent=True)
NO_ANSWER = Outcome(Verdict.UNKNOWN, code="no_answer")
BROKEN = Outcome(Verdict.STOP_ACCOUNT, code="190", error="The token has expired")

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


class Sender:
    """A sender of one chunk, on a connection and in a thread of its own."""

    def __init__(self, chunk, now):
        self.now, self.loop = now, asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.work = preparing.prepare(chunk.pk, now)
        self.database = self.do(async_database.connect())

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def take(self):
        return self.do(ChunkLedger.take(self.database, self.work, self.now))

    def begin(self):
        """Take the chunk, without claiming anything yet."""
        self.ledger = ChunkLedger(self.database, self.work, self.take().epoch)
        self.do(self.ledger.prepare())

    def claim(self):
        """Take the chunk and claim what is in it; the messages' ids."""
        self.begin()
        rows = self.do(self.ledger.exchange([], 64, self.now)).rows
        self.attempts = {row["id"]: Attempt.of(row) for row in rows}
        return list(self.attempts)

    def record(self, outcome, *ids):
        """Write down what the provider said of these messages, and what follows."""
        return self.record_each(dict.fromkeys(ids, outcome))

    def record_each(self, outcomes):
        """The same where it said different things; by message."""
        ended = [Ended(self.attempts[pk], one, after(one, 1, self.now)) for pk, one in outcomes.items()]
        return self.do(self.ledger.exchange(ended, 0, self.now))

    def release(self):
        return self.do(self.ledger.release(None))

    def close(self):
        self.do(self.database.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def sender(now):
    made = []

    def make(chunk):
        made.append(Sender(chunk, now))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def run(make_automation, lapsed, provider, now):
    """Three guests who are to hear by WhatsApp, else by SMS."""
    for number in range(3):
        guest = lapsed(channels=("whatsapp", "sms"))
        Address.objects.filter(customer=guest).update(address=f"+1201555010{number}")
    automation = make_automation(channels=("whatsapp", "sms"), policy={"fallback": True})
    return planned(automation, now)


@pytest.fixture
def meet():
    """Let `first` and then `second` wait for what `held` locks, then let go; what they returned."""

    def both(held, first, second):
        with ThreadPoolExecutor(2) as pool, psycopg.connect(_url()) as blocker:
            blocker.execute(*held)
            found = []
            for number, act in enumerate((first, second), start=1):
                found.append(pool.submit(_released, act))
                _until_it_waits(found[-1], number)
            blocker.rollback()
            return [one.result(30) for one in found]

    return both


def _until_it_waits(act, number):
    """Until so many wait for a lock; an act that ended instead says why."""
    wait_until(lambda: act.done() or _waiting() == number, seconds=20, every=0.01, what="a wait for a lock")
    assert not act.done(), act.result()


def _url():
    return psycopg.conninfo.make_conninfo(**async_database.parameters())


def _waiting():
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return cursor.fetchone()[0]


def _released(act):
    try:
        return act()
    finally:
        connection.close()


def row_of(table, pk):
    return f"SELECT 1 FROM {table} WHERE id = %s FOR UPDATE", [pk]


def deciding(run, now, decision=engine.Decision.LEAVE):
    return lambda: engine.settle_all(run, decision, "marta@example.com", now)


def fallen_back(sender, run):
    """The source's sender and its three messages; the first waits in the chunk of the other way."""
    first = sender(run.chunks.get())
    ids = first.claim()
    assert first.record(NOT_THERE, ids[0]).fell_back == 1
    return first, ids, run.chunks.get(source_number__isnull=False)


@pytest.mark.parametrize("decision", [engine.Decision.LEAVE, engine.Decision.SEND_AGAIN])
def test_all_of_a_run_are_settled_while_one_falls_back(sender, meet, run, now, decision):
    first, ids, other = fallen_back(sender, run)
    second = sender(other)
    second.record(NO_ANSWER, *second.claim())
    first.record(NO_ANSWER, ids[1])
    # The mark on the address stands between the source's chunk and the other way's.
    address = Address.objects.get(channel="whatsapp", address=first.attempts[ids[2]].address)
    found, settled = meet(
        row_of("addresses", address.pk),
        lambda: first.record(NOT_THERE, ids[2]),
        deciding(run, now, decision),
    )
    assert (found.fell_back, settled) == (1, 2)
    assert Message.objects.get(pk=ids[2]).channel == "sms"
    assert summed(run) == recounted(run)


def test_all_of_a_run_are_settled_while_a_late_refusal_falls_back(sender, meet, run, now):
    """The chunks are closed and the run is over: both want the run as well."""
    first, ids, other = fallen_back(sender, run)
    second = sender(other)
    second.record(NO_ANSWER, *second.claim())
    _called_unknown(run)
    (found, settled) = meet(
        row_of("automation_logs", run.pk),
        lambda: first.record(NOT_THERE, ids[1]),
        lambda: engine.settle(ids[0], engine.Decision.LEAVE, "marta@example.com", now).state,
    )
    assert (found.fell_back, settled) == (1, "failed")
    run.refresh_from_db()
    assert (run.state, run.totals) == ("sending", {})
    assert summed(run) == recounted(run)


def _called_unknown(run):
    """What successors leave that find everything in doubt, and end the run."""
    doubted = Message.objects.filter(run=run, state="sending").update(state="unknown", reason="interrupted")
    RunChunk.objects.filter(run=run, source_number=None).update(unknown=doubted)
    RunChunk.objects.filter(run=run).update(closed=True, lease_until=None)
    Run.objects.filter(pk=run.pk).update(state="finished", totals=summed(run))


@pytest.mark.parametrize("told", ["decided", "reported"])
def test_a_late_result_meets_whoever_settles_its_message(sender, meet, run, now, told):
    first = sender(run.chunks.get())
    ids = first.claim()
    Message.objects.filter(pk=ids[0]).update(state="unknown", reason="interrupted")
    RunChunk.objects.update(unknown=1)
    news = engine.News(Report.DELIVERED, ids[0])
    act = deciding(run, now) if told == "decided" else lambda: engine.report(news, now)
    meet(row_of("run_chunks", run.chunks.get().pk), lambda: first.record(NOT_THERE, *ids[:2]), act)
    # Whoever came first, it is decided once, and the other message has fallen back.
    assert Message.objects.get(pk=ids[0]).state == ("failed" if told == "decided" else "delivered")
    assert Message.objects.get(pk=ids[1]).channel == "sms"
    assert summed(run) == recounted(run)


def test_a_report_about_a_dead_senders_message_meets_the_successor(sender, meet, run, now):
    first, second = sender(run.chunks.get()), sender(run.chunks.get())
    ids = first.claim()
    RunChunk.objects.update(lease_until=now - timedelta(days=400))
    news = engine.News(Report.DELIVERED, ids[1])
    meet(row_of("run_chunks", run.chunks.get().pk), second.take, lambda: engine.report(news, now))
    states = Message.objects.filter(run=run).order_by("pk").values_list("state", flat=True)
    assert list(states) == ["unknown", "delivered", "unknown"]
    assert summed(run) == recounted(run)


def test_a_chunk_is_taken_in_quiet_hours_while_its_run_is_cancelled(sender, meet, run, organization, now):
    organization.tact = organization.tact | {"quiet_hours": {"from": "00:00", "until": "23:59"}}
    organization.save()
    first = sender(run.chunks.get())
    assert first.work.silences
    meet(row_of("run_chunks", run.chunks.get().pk), first.take, lambda: engine.cancel(run, now))
    assert set(Message.objects.filter(run=run).values_list("state", flat=True)) == {"withheld"}
    assert summed(run) == recounted(run)


def test_a_run_is_cancelled_while_its_account_breaks(sender, meet, run, now):
    first = sender(run.chunks.get())
    ids = first.claim()
    Message.objects.filter(pk=ids[2]).update(state="queued")
    # The mark on the address stands between the chunk and the run.
    address = Address.objects.get(channel="whatsapp", address=first.attempts[ids[0]].address)
    meet(
        row_of("addresses", address.pk),
        lambda: first.record_each({ids[0]: NOT_THERE, ids[1]: BROKEN}),
        lambda: engine.cancel(run, now),
    )
    first.release()
    sweeping.sweep(now)
    run.refresh_from_db()
    assert (run.state, engine.counts(run).held) == ("cancelled", 0)
    assert summed(run) == recounted(run)


def test_a_chunk_is_given_back_while_somebody_sends_again(sender, meet, run, now):
    """What was put back at this moment is due now, whatever else of the chunk waits for tomorrow."""
    first = sender(run.chunks.get())
    ids = first.claim()
    first.record(NO_ANSWER, ids[0])
    Message.objects.filter(pk__in=ids[1:]).update(state="queued", send_after=now + timedelta(days=1))
    chunk = run.chunks.get()
    meet(
        row_of("run_chunks", chunk.pk),
        deciding(run, now, engine.Decision.SEND_AGAIN),
        first.release,
    )
    chunk.refresh_from_db()
    assert (chunk.closed, chunk.next_due) == (False, None)


def test_two_senders_of_a_portfolio_meet_where_one_falls_back_to_the_other(sender, meet, run, account, now):
    """Each guest has a second number for WhatsApp: the refused message moves to a chunk of the same account."""
    type(account).objects.update(recipients_per_day=100)
    for address in Address.objects.filter(channel="whatsapp"):
        address.pk, address.position = None, 1
        address.address, address.fingerprint = f"{address.address}9", address.fingerprint[::-1]
        address.save()
    first, ids, other = fallen_back(sender, run)
    assert other.account_id == account.pk
    second = sender(other)
    second.begin()
    found, more = meet(
        row_of("run_chunks", other.pk),
        lambda: first.record(NOT_THERE, ids[1]),
        lambda: second.do(second.ledger.exchange([], 64, now)),
    )
    assert (found.fell_back, len(more.rows)) == (1, 2)


def test_reports_about_two_runs_meet_an_account_that_breaks(make_automation, account, sender, meet, run, now):
    other = _smaller(
        run, lambda: ended_run(make_automation(), account, ["sent", "sent"], now, state="sending")
    )
    RunChunk.objects.create(run=other, number=3, account_id=account.pk, total=0, closed=False)
    first = sender(run.chunks.get())
    ids = first.claim()
    reported = [Message.objects.filter(run=other).first().pk, ids[1]]
    bounces = [engine.News(Report.FAILED, pk) for pk in reported]
    meet(
        row_of("automation_logs", other.pk),
        lambda: engine.report_all(bounces, now),
        lambda: first.record(BROKEN, ids[0]),
    )
    assert set(Message.objects.filter(pk__in=reported).values_list("state", flat=True)) == {"failed"}
    assert set(Run.objects.filter(pk__in=(run.pk, other.pk)).values_list("state", flat=True)) == {"paused"}
    assert summed(run) == recounted(run)


def _smaller(run, make):
    """A run whose id comes before that of `run`: ids are random."""
    return next(made for made in iter(make, None) if made.pk < run.pk)
