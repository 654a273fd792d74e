"""The tick: each slot runs once, late within its limit, else it is missed and says so; never a burst."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from regulars.automations import content, slots
from regulars.automations.models import Automation
from regulars.automations.schedule import Schedule
from regulars.lib import clock, sql
from regulars.runs import engine, planning, requesting, tasks, ticking
from regulars.runs.models import Message, Run, RunState, Slot

pytestmark = pytest.mark.django_db

TEN = datetime(2026, 6, 16, 8, 0, tzinfo=UTC)  # ten o'clock in Madrid
DAILY = {"times": ["10:00"]}


@pytest.fixture
def scheduled(make_automation, now):
    """An enabled automation whose schedule counts from Monday noon."""

    def make(schedule=DAILY, *, since=now, **fields):
        automation = make_automation(**{"body": "Hola"} | fields)
        return content.change_schedule(automation, schedule, since)

    return make


def slots_taken():
    return list(Slot.objects.order_by("at").values_list("at", flat=True))


def test_nothing_happens_before_its_time(scheduled):
    scheduled()
    assert engine.tick(TEN - timedelta(seconds=1)) == engine.Ticked()
    assert not Run.objects.exists()


def test_a_slot_runs_when_it_comes_and_moves_on(scheduled, lapsed):
    guest = lapsed()
    automation = scheduled()
    (run,) = engine.tick(TEN).runs
    assert (run.origin, run.scheduled_for) == ("schedule", TEN)
    planning.plan(str(run.pk), TEN)
    assert Message.objects.get().customer_id == guest.pk
    automation.refresh_from_db()
    assert automation.next_slot == TEN + timedelta(days=1)
    assert engine.tick(TEN + timedelta(minutes=1)) == engine.Ticked()
    assert slots_taken() == [TEN]


def test_a_run_by_schedule_for_which_nobody_is_due_leaves_no_run(scheduled):
    scheduled()
    (run,) = engine.tick(TEN).runs
    assert planning.plan(str(run.pk), TEN)
    assert not Run.objects.exists()
    assert slots_taken() == [TEN]


def test_a_person_who_joins_a_run_by_schedule_finds_it_afterwards(scheduled):
    automation = scheduled()
    (run,) = engine.tick(TEN).runs
    assert engine.start(automation, now=TEN) == run
    planning.plan(str(run.pk), TEN)
    run.refresh_from_db()
    assert (run.origin, run.state, run.scheduled_for) == ("manual", "finished", TEN)


def test_a_slot_within_the_limit_runs_late(scheduled, lapsed):
    lapsed()
    scheduled({"times": ["10:00"], "max_late_hours": 3})
    ticked = engine.tick(TEN + timedelta(hours=3))
    assert [run.scheduled_for for run in ticked.runs] == [TEN]
    assert ticked.missed == []


def test_a_slot_beyond_the_limit_is_missed_and_says_why(scheduled, lapsed):
    lapsed()
    automation = scheduled({"times": ["10:00"], "max_late_hours": 3})
    later = TEN + timedelta(hours=3, minutes=1)
    ticked = engine.tick(later)
    assert ticked.runs == []
    run = Run.objects.get()
    assert (run.state, run.scheduled_for, run.scheduled_until) == (RunState.MISSED, TEN, None)
    assert (run.reason, run.finished_at) == (ticking.NOBODY_WORKED, later)
    assert engine.has_ended(run)
    automation.refresh_from_db()
    assert automation.next_slot == TEN + timedelta(days=1)
    assert engine.tick(later + timedelta(minutes=1)) == engine.Ticked()


def test_a_long_downtime_is_no_burst(scheduled, lapsed):
    """A month of half hours: one line for what is too late, one run for the rest."""
    lapsed()
    scheduled({"cron": "*/30 * * * *", "max_late_hours": 2})
    back = TEN + timedelta(days=30, minutes=10)
    ticked = engine.tick(back)
    (run,), (missed,) = ticked.runs, ticked.missed
    assert run.scheduled_for == back - timedelta(minutes=10)
    assert missed.scheduled_for == datetime(2026, 6, 15, 12, 30, tzinfo=UTC)
    assert missed.scheduled_until == back - timedelta(hours=2, minutes=10)
    assert Run.objects.count() == 2
    assert engine.tick(back) == engine.Ticked()


def test_the_newest_slot_stands_for_those_before_it(scheduled):
    scheduled({"times": ["08:00", "09:00", "10:00"]})
    ticked = engine.tick(TEN + timedelta(minutes=5))
    assert [run.scheduled_for for run in ticked.runs] == [TEN]
    assert ticked.missed == []


def test_what_is_paused_is_missed_with_that_reason(scheduled):
    scheduled(paused_reason="The template is broken.")
    engine.tick(TEN)
    run = Run.objects.get()
    assert (run.state, run.reason) == ("missed", f"{ticking.PAUSED} The template is broken.")


def test_what_is_not_ready_fails_with_that_reason(scheduled, account, lapsed):
    lapsed()
    scheduled()
    account.channels = ["sms"]
    account.save()
    (run,) = engine.tick(TEN).runs
    planning.plan(str(run.pk), TEN)
    run.refresh_from_db()
    assert run.state == "failed"
    assert run.reason.startswith("No provider account can send on email.")


def test_one_broken_automation_does_not_keep_the_others_from_running(scheduled, lapsed):
    broken, healthy = scheduled(), scheduled()
    Automation.objects.filter(pk=broken.pk).update(schedule={"cron": "when I feel like it"})
    ticked = engine.tick(TEN)
    assert ticked.failed == [broken.pk]
    assert [run.automation_id for run in ticked.runs] == [healthy.pk]


def test_a_slot_of_which_the_row_is_there_runs_never_again(scheduled):
    """Whatever becomes of `next_slot`: the row is the guard."""
    automation = scheduled()
    Slot.objects.create(automation=automation, at=TEN, taken_at=TEN)
    assert engine.tick(TEN) == engine.Ticked()
    assert not Run.objects.exists()


def test_a_tick_that_dies_leaves_the_slot_to_the_next(scheduled, monkeypatch):
    scheduled()

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(requesting, "request", die)
        with pytest.raises(KeyboardInterrupt):
            engine.tick(TEN)
    assert not Slot.objects.exists()
    assert len(engine.tick(TEN).runs) == 1


def test_more_than_one_batch_is_said(scheduled, monkeypatch):
    monkeypatch.setattr(ticking, "BATCH", 2)
    for _ in range(3):
        scheduled()
    first, second = engine.tick(TEN), engine.tick(TEN)
    assert (len(first.runs), first.more) == (2, True)
    assert (len(second.runs), second.more) == (1, False)


def test_the_hour_that_is_repeated_runs_once_and_the_missing_one_later(scheduled):
    spring = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    automation = scheduled({"times": ["02:30"]}, since=spring)
    ran = []
    for minute in range(0, 60 * 24 * 2, 30):
        ran += engine.tick(spring + timedelta(minutes=minute)).runs
        Run.objects.update(state="finished")
    content.change_schedule(automation, None)
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC)
    content.change_schedule(automation, {"times": ["02:30"]}, autumn)
    for minute in range(0, 60 * 24, 30):
        ran += engine.tick(autumn + timedelta(minutes=minute)).runs
        Run.objects.update(state="finished")
    assert [run.scheduled_for.isoformat() for run in ran] == [
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
        "2026-10-25T00:30:00+00:00",
    ]


# As it happens


@pytest.fixture
def dined(make_customer, make_visit, now):
    """A guest who ate here so many hours ago."""

    def make(hours):
        guest = make_customer()
        make_visit(guest, days_ago=hours / 24, now=now)
        return guest

    return make


def look(now):
    """One tick, with the planning that follows; the run if it left one."""
    for run in engine.tick(now).runs:
        planning.plan(str(run.pk), now)
        return Run.objects.filter(pk=run.pk).first()
    return None


def test_what_runs_as_it_happens_finds_what_became_due_meanwhile(scheduled, dined, now):
    scheduled({"as_it_happens": True}, trigger="post_visit")
    guest = dined(hours=23.5)
    assert look(now + timedelta(minutes=1)) is None
    run = look(now + timedelta(minutes=31))
    assert (run.origin, Message.objects.get().customer_id) == ("look", guest.pk)
    Run.objects.update(state="finished")
    # What was found before is no news: no further run, for as long as the occasion is due.
    assert look(now + timedelta(minutes=32)) is None
    assert Run.objects.count() == 1
    assert not Slot.objects.exists()


def test_a_look_keeps_a_run_for_those_whom_it_newly_leaves_out(scheduled, dined, now):
    scheduled({"as_it_happens": True}, trigger="post_visit", channels=("sms",))
    dined(hours=25)
    assert look(now + timedelta(minutes=1)).skipped_by_reason == {"no_address": 1}
    assert look(now + timedelta(minutes=2)) is None


def test_it_looks_once_a_minute_however_often_one_ticks(scheduled, now):
    scheduled({"as_it_happens": True}, trigger="post_visit")
    looks = [engine.tick(now + timedelta(seconds=second)).runs for second in range(0, 180, 10)]
    assert sum(len(runs) for runs in looks) == 2
    # The second joined the first, which nobody had planned yet.
    assert Run.objects.count() == 1


def test_a_look_after_a_downtime_is_one_look(scheduled, now):
    scheduled({"as_it_happens": True}, trigger="post_visit")
    assert len(engine.tick(now + timedelta(days=3)).runs) == 1
    assert not Run.objects.filter(state="missed").exists()


def test_a_look_that_cannot_run_leaves_no_run(scheduled, account, now):
    scheduled({"as_it_happens": True}, trigger="post_visit")
    account.channels = []
    account.save()
    assert engine.tick(now + timedelta(minutes=1)) == engine.Ticked()


# The next slot


def test_the_next_slot_follows_every_change(scheduled, organization, now):
    automation = scheduled()

    def slot():
        automation.refresh_from_db()
        return automation.next_slot

    assert slot() == TEN
    content.disable(automation)
    assert slot() is None
    content.enable(automation, now + timedelta(days=2))
    assert slot() == TEN + timedelta(days=2)
    content.change_schedule(automation, {"times": ["18:00"]}, now)
    assert slot() == datetime(2026, 6, 15, 16, 0, tzinfo=UTC)
    slots.change_timezone(organization, "America/New_York", now)
    assert slot() == datetime(2026, 6, 15, 22, 0, tzinfo=UTC)
    content.change_schedule(automation, None, now)
    assert slot() is None
    content.change_schedule(automation, DAILY, now)
    content.delete(automation, now)
    assert slot() is None


def test_a_zone_of_its_own_stays_when_the_organization_moves(scheduled, organization, now):
    automation = scheduled({"times": ["10:00"], "timezone": "Atlantic/Canary"})
    slots.change_timezone(organization, "America/New_York", now)
    automation.refresh_from_db()
    assert automation.next_slot == datetime(2026, 6, 16, 9, 0, tzinfo=UTC)


def test_a_slot_that_is_due_outlives_an_edit_of_something_else(scheduled):
    automation = scheduled()
    content.change_schedule(automation, {"times": ["10:00"]}, TEN + timedelta(seconds=5))
    content.enable(automation, TEN + timedelta(seconds=5))
    assert len(engine.tick(TEN + timedelta(seconds=6)).runs) == 1


def test_a_slot_that_its_zone_no_longer_has_is_reckoned_anew(scheduled, now):
    """New rules for a zone: what was stored is an hour early."""
    automation = scheduled()
    Automation.objects.filter(pk=automation.pk).update(next_slot=TEN - timedelta(hours=1))
    assert engine.tick(TEN - timedelta(hours=1)) == engine.Ticked()
    automation.refresh_from_db()
    assert automation.next_slot == TEN


def test_switching_on_does_not_run_what_was_due_before(scheduled):
    automation = scheduled(enabled=False)
    content.enable(automation, TEN + timedelta(minutes=1))
    assert engine.tick(TEN + timedelta(minutes=1)) == engine.Ticked()


def test_old_slots_are_forgotten(scheduled):
    scheduled()
    engine.tick(TEN)
    assert ticking.forget_slots(TEN) == 0
    assert ticking.forget_slots(TEN + timedelta(seconds=1)) == 1


def test_a_tick_reads_one_index(scheduled):
    for _ in range(3):
        scheduled()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        plan = ticking._due(TEN).explain()
    assert "automations_by_slot" in plan


# Many at once


@pytest.mark.django_db(transaction=True)
def test_any_number_of_tickers_run_each_slot_once(scheduled, lapsed):
    """Real connections, six of them at the same moments, over three slots of four automations."""
    lapsed()
    made = [scheduled({"cron": "0 10 * * *"}, family=f"f{number}") for number in range(4)]
    found, problems = [], []
    moments = [TEN + timedelta(days=day, seconds=second) for day in range(3) for second in (0, 1)]
    together = threading.Barrier(6)

    def ticks():
        try:
            for moment in moments:
                together.wait(20)
                found.extend(engine.tick(moment).runs)
                together.wait(20)
                Run.objects.filter(state="planning").update(state="finished")
        except Exception as problem:
            problems.append(problem)
            together.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=ticks) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    ran = sorted((str(run.automation_id), run.scheduled_for) for run in found)
    days = [TEN + timedelta(days=day) for day in range(3)]
    assert ran == sorted((str(automation.pk), day) for automation in made for day in days)
    assert Slot.objects.count() == 12


def test_the_schedule_is_read_as_it_was_written(scheduled):
    automation = scheduled({"times": ["18:30", "10:00"], "weekdays": ["sun", "mon"]})
    assert automation.schedule == {"times": ["10:00", "18:30"], "weekdays": ["mon", "sun"]}
    assert slots.schedule_of(automation) == Schedule(times=["10:00", "18:30"], weekdays=["mon", "sun"])


@pytest.mark.django_db(transaction=True)
def test_the_task_ticks_by_the_databases_clock_and_asks_for_a_further_turn(scheduled, monkeypatch):
    monkeypatch.setattr(ticking, "BATCH", 2)
    for _ in range(3):
        scheduled({"cron": "* * * * *"}, since=clock.now() - timedelta(minutes=2))
    tasks.tick.func(0)
    assert Run.objects.count() == 2
    waiting = "SELECT task_name FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = 'tick'"
    assert sql.fetch_rows(waiting) == [{"task_name": "regulars.tick"}]
    tasks.tick.func(0)
    assert Run.objects.count() == 3
