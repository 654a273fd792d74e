"""What a provider says later: kept once, in any order, never backwards, never a reason to send."""

import re
import threading
from datetime import timedelta
from itertools import permutations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from procrastinate.contrib.django.models import ProcrastinateJob

from regulars.runs import engine, partitions
from regulars.runs.models import DeliveryEvent, Message, RunState
from runs.ended import ended_run, recounted, summed

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_run(make_automation, account, now):
    def make(*states, **fields):
        return ended_run(make_automation(), account, list(states), now, **fields)

    return make


def told(report, now, message=None, **fields):
    message = message or Message.objects.get()
    return engine.report(engine.News(engine.Report(report), message.pk, **fields), now)


def test_reports_in_any_order_come_to_the_same_state(make_run, now):
    reports = ["accepted", "failed", "bounced", "delivered", "read"]
    for best in range(1, len(reports) + 1):
        for order in permutations(reports[:best]):
            run = make_run("sent")
            message = Message.objects.get(run=run)
            for report in order:
                told(report, now, message)
            message.refresh_from_db()
            expected = {"accepted": "sent"}.get(reports[best - 1], reports[best - 1])
            assert message.state == expected, order
            assert summed(run) == recounted(run)


@pytest.mark.parametrize("state", ["delivered", "read"])
@pytest.mark.parametrize("report", ["accepted", "failed", "bounced", "never_accepted"])
def test_what_arrived_is_never_lowered(make_run, now, state, report):
    make_run(state)
    learned = told(report, now)
    assert (learned.was_new, learned.changed) == (True, False)
    assert Message.objects.get().state == state
    assert DeliveryEvent.objects.get().kind == report


def test_the_same_report_counts_once(make_run, now):
    run = make_run("unknown")
    assert told("delivered", now, key="status-17").changed
    again = told("delivered", now, key="status-17")
    assert (again.was_new, again.state) == (False, "delivered")
    assert DeliveryEvent.objects.count() == 1
    told("delivered", now, key="status-18")
    assert DeliveryEvent.objects.count() == 2
    assert summed(run)["sent"] == 1


@pytest.mark.parametrize(
    ("report", "state", "sent", "failed"),
    [
        ("accepted", "sent", 1, 0),
        ("delivered", "delivered", 1, 0),
        ("read", "read", 1, 0),
        ("bounced", "bounced", 1, 0),
        ("failed", "failed", 0, 1),
        ("never_accepted", "failed", 0, 1),
    ],
)
def test_every_report_settles_an_unknown(make_run, now, report, state, sent, failed):
    run = make_run("unknown")
    assert told(report, now, provider_id="SM1").state == state
    run.refresh_from_db()
    assert run.totals == {"sent": sent, "failed": failed, "unknown": 0, "withheld": 0}
    assert run.state == RunState.FINISHED
    message = Message.objects.get()
    assert message.provider_id == "SM1"
    assert (message.accepted_at == now) is (report != "never_accepted")


def test_a_failure_after_acceptance_is_counted_after_the_runs_end_and_sends_nothing(make_run, now):
    # Tests that commit leave jobs behind: the queue's tables are not emptied after them.
    known = set(ProcrastinateJob.objects.values_list("pk", flat=True))
    run = make_run("sent", "sent")
    message = Message.objects.filter(run=run).first()
    told("failed", now, message, words="The phone was switched off")
    run.refresh_from_db()
    assert run.totals == summed(run) == {"sent": 1, "failed": 1, "unknown": 0, "withheld": 0}
    message.refresh_from_db()
    assert (message.state, message.error) == ("failed", "The phone was switched off")
    assert engine.retry(run, "marta@example.com", now).queued == 0
    assert not ProcrastinateJob.objects.exclude(pk__in=known).exists()


def test_what_was_never_taken_may_be_tried_again_by_a_person(make_run, now):
    run = make_run("unknown")
    told("never_accepted", now)
    assert engine.retry(run, "marta@example.com", now).queued == 1


def test_a_word_about_an_earlier_try_fails_no_later_one(make_run, now):
    make_run("unknown", attempt=2)
    assert not told("never_accepted", now, attempt=1).changed
    assert not told("failed", now, attempt=1).changed
    assert told("delivered", now, attempt=1).changed


def test_a_message_that_waits_for_another_try_and_has_arrived_does_not_leave_again(make_run, now):
    run = make_run("queued", state="sending", attempt=1)
    Message.objects.update(state="queued")
    assert told("delivered", now).state == "delivered"
    assert engine.counts(run).sent == 1


@pytest.mark.parametrize("report", ["delivered", "failed", "bounced"])
def test_a_message_that_was_never_handed_over_is_not_moved_by_a_report(make_run, now, report):
    make_run("queued", state="sending", attempt=0)
    Message.objects.update(state="queued")
    assert not told(report, now).changed
    assert Message.objects.get().state == "queued"


def test_a_message_is_found_by_what_its_provider_calls_it(make_run, account, now):
    make_run("sent", provider_id="SM42")
    news = engine.News(engine.Report.READ, account_id=account.pk, provider_id="SM42")
    assert engine.report(news, now).state == "read"
    for unknown in (
        engine.News(engine.Report.READ, account_id=account.pk + 1, provider_id="SM42"),
        engine.News(engine.Report.READ, account_id=account.pk, provider_id="SM43"),
        engine.News(engine.Report.READ, account_id=account.pk),
        engine.News(engine.Report.READ, message_id=0),
    ):
        with pytest.raises(engine.NoSuchMessageError):
            engine.report(unknown, now)


def plan_of(queries):
    """How the server would look for the message: the first question of a report."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        return "\n".join(line for (line,) in cursor.fetchall())


def months_read(plan, now):
    """The months that are looked into, but for those to come: tests before may have made any of them."""
    last = partitions.name_of(partitions.month_of(now) + 1)
    return {
        name for name in re.findall(r" on (messages\w*)", plan) if name <= last or name == "messages_before"
    }


def test_a_report_with_our_id_reads_no_table_and_one_without_only_the_last_months(make_run, account, now):
    for months_ago in range(8):
        partitions.ensure(now - timedelta(days=30 * months_ago))
    make_run("sent")
    pk = partitions.floor_id(now) + 5
    for news, most, whole in [
        (engine.News(engine.Report.READ, pk), 1, False),
        (engine.News(engine.Report.READ, account_id=account.pk, provider_id="SM43"), 4, True),
    ]:
        with CaptureQueriesContext(connection) as asked, pytest.raises(engine.NoSuchMessageError):
            engine.report(news, now)
        plan = plan_of(asked.captured_queries)
        assert len(months_read(plan, now)) <= most, plan
        assert ("Seq Scan" in plan) <= whole, plan


@pytest.mark.django_db(transaction=True)
def test_reports_at_the_same_moment_are_kept_and_counted_once(make_run, now):
    run = make_run("unknown", "unknown", "unknown", "unknown")
    pks = list(Message.objects.values_list("pk", flat=True))

    def tell():
        try:
            for pk in pks:
                engine.report(engine.News(engine.Report.DELIVERED, pk), now)
        finally:
            connection.close()

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    run.refresh_from_db()
    assert DeliveryEvent.objects.count() == 4
    assert run.totals == summed(run) == {"sent": 4, "failed": 0, "unknown": 0, "withheld": 0}
