"""One more try for what failed for a reason that may have passed; never for what was refused for good."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction

from regulars.lib import sql
from regulars.runs import engine, statements
from regulars.runs.models import DeliveryEvent, Message, RunChunk, RunState
from runs.ended import ended_run, recounted, summed

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(make_automation, account, now):
    """Two temporary failures in the first chunk, a permanent one and a sent one in the second."""
    run = ended_run(make_automation(), account, ["failed", "failed", "failed", "sent"], now, attempt=5)
    first, refused, third, _ = Message.objects.order_by("pk")
    Message.objects.filter(pk__in=[first.pk, third.pk]).update(reason="temporary")
    Message.objects.filter(pk=refused.pk).update(reason="permanent")
    return run


def test_temporary_failures_get_one_more_try_and_the_run_goes_on(run, now):
    later = now + timedelta(hours=1)
    assert engine.retry(run, "marta@example.com", later) == engine.Retried(queued=2, too_late=0)
    run.refresh_from_db()
    assert (run.state, run.finished_at) == (RunState.SENDING, None)
    queued = Message.objects.filter(state="queued")
    assert set(queued.values_list("chunk_number", "attempt", "send_after")) == {(1, 5, later)}
    assert RunChunk.objects.get(number=1).next_due == later
    assert (RunChunk.objects.get(number=1).closed, RunChunk.objects.get(number=2).closed) == (False, True)
    assert summed(run) == recounted(run) == {"sent": 1, "failed": 1, "unknown": 0, "withheld": 0}
    events = DeliveryEvent.objects.values_list("kind", "actor", "attempt")
    assert list(events) == [("retried", "marta@example.com", 5)] * 2


def test_what_was_refused_for_good_stays_failed(run, now):
    engine.retry(run, "marta@example.com", now)
    assert Message.objects.get(reason="permanent").state == "failed"
    with pytest.raises(engine.NeverAgainError, match="never sent again"):
        engine.retry(run, "marta@example.com", now, "permanent")


def test_what_is_too_late_stays_failed_and_is_counted(run, now):
    late = Message.objects.filter(reason="temporary").first()
    Message.objects.filter(pk=late.pk).update(expires_at=now)
    assert engine.retry(run, "marta@example.com", now) == engine.Retried(queued=1, too_late=1)
    assert Message.objects.get(pk=late.pk).state == "failed"
    assert summed(run) == recounted(run)


def test_asking_twice_gives_no_second_try(run, now):
    engine.retry(run, "marta@example.com", now)
    assert engine.retry(run, "marta@example.com", now).queued == 0


def test_a_cancelled_run_stays_cancelled(run, now):
    type(run).objects.update(state=RunState.CANCELLED)
    with pytest.raises(engine.RunStoppedError):
        engine.retry(run, "marta@example.com", now)
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    assert not Message.objects.filter(state="queued").exists()


def test_a_paused_run_stays_paused_until_it_is_resumed(run, now):
    type(run).objects.update(state=RunState.PAUSED)
    assert engine.retry(run, "marta@example.com", now).queued == 2
    run.refresh_from_db()
    assert run.state == RunState.PAUSED


def test_a_run_without_such_failures_is_left_as_it_is(make_automation, account, now):
    run = ended_run(make_automation(), account, ["sent"], now)
    assert engine.retry(run, "marta@example.com", now) == engine.Retried(queued=0, too_late=0)
    run.refresh_from_db()
    assert run.state == RunState.FINISHED


@pytest.mark.django_db(transaction=True)
def test_a_chunk_is_not_closed_over_a_message_that_goes_back_at_that_moment(run, now):
    """The sender gives the chunk back while the retry is not committed yet: it looks at the old rows."""
    chunk = RunChunk.objects.get(number=1)
    RunChunk.objects.filter(pk=chunk.pk).update(closed=False, epoch=3)
    ids = Message.objects.filter(chunk_number=1).order_by("pk").values_list("pk", flat=True)
    values = {"chunk": chunk.pk, "epoch": 3, "first": ids[0], "last": ids[1], "not_before": None,
              "account": chunk.account_id}  # fmt: skip

    def release():
        try:
            sql.execute(statements.RELEASE, values)
        finally:
            connection.close()

    with transaction.atomic():
        engine.retry(run, "marta@example.com", now)
        sender = threading.Thread(target=release)
        sender.start()
        while not _waiting_for_a_row():
            time.sleep(0.01)
    sender.join(10)
    assert not RunChunk.objects.get(pk=chunk.pk).closed


def _waiting_for_a_row():
    # Within a transaction the server shows what it has shown before, until it is told to look again.
    sql.execute("SELECT pg_stat_clear_snapshot()")
    return sql.fetch_rows(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
