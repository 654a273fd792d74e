"""What is too old goes by the month; what guards, proves and counts stays."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from tests.runs.ended import ended_run
from tests.runs.scripted import planned, send_all

from regulars.customers.models import Consent, Suppression
from regulars.lib import append_only, clock, sql
from regulars.runs import engine, followers, partitions, purging, tasks, totals
from regulars.runs.invariants import violations
from regulars.runs.models import (
    DeliveryEvent,
    Message,
    MessageTotal,
    Occasion,
    PurgedRange,
    Run,
    RunChunk,
    RunVerdict,
    SandboxMessage,
    Skip,
)

pytestmark = pytest.mark.django_db(transaction=True)

KEEP = 24


@pytest.fixture(autouse=True)
def _months_of_today(transactional_db):
    """Tables are no rows: what a purge dropped is missing from the next test as well."""
    yield
    partitions.ensure(clock.now())


@pytest.fixture
def now():
    """A moment in a month that has a partition of its own, as all have in the years to come."""
    return partitions.first_moment(partitions.month_of(clock.now()) + 3) + timedelta(days=14, hours=12)


@pytest.fixture
def later(now):
    """Long enough after `now` for its month to be past its time."""
    return now + timedelta(days=31 * (KEEP + 2))


@pytest.fixture
def sent(lapsed, make_customer, make_automation, make_visit, provider, now):
    """A run that wrote to three guests and left one out, with all that comes with it."""
    for _ in range(3):
        lapsed()
    silent = make_customer(consents=())
    for days in (120, 90):
        make_visit(silent, days_ago=days, now=now)
    automation = make_automation(parameters={"max_days": 3650})
    run = planned(automation, now)
    send_all(run, now)
    for message in Message.objects.all():
        DeliveryEvent.objects.create(message_id=message.pk, kind="delivered", at=now)
        SandboxMessage.objects.create(
            organization_id=message.organization_id,
            account_id=message.account_id,
            message_id=message.pk,
            channel="email",
            address=message.address,
            body="Hola",
            at=now,
        )
    return run


def table_of(moment):
    return partitions.name_of(partitions.month_of(moment))


def tables():
    return [part.name for part in partitions.storage()]


def counted(organization):
    """The monthly statistic, as plain tuples."""
    return [tuple(row.values()) for row in totals.monthly(organization)]


def test_an_old_month_goes_as_a_whole_and_its_totals_stay(sent, organization, later, now):
    before = counted(organization)
    assert table_of(now) in tables()
    purged = purging.purge(later, KEEP)
    assert [(month.name, month.messages) for month in purged.months] == [(table_of(now), 3)]
    assert table_of(now) not in tables()
    assert Message.objects.count() == DeliveryEvent.objects.count() == SandboxMessage.objects.count() == 0
    assert counted(organization) == before != []
    assert violations() == {}


def test_purged_and_kept_months_read_as_one(sent, organization, make_automation, later, now):
    other = make_automation(family="other", parameters={"max_days": 3650})
    send_all(planned(other, later), later)
    before = counted(organization)
    assert len({row[0] for row in before}) == 2
    purging.purge(later, KEEP)
    assert counted(organization) == before
    assert MessageTotal.objects.count() == 1
    assert Message.objects.exists()


def test_nobody_is_contacted_twice_about_an_occasion_whose_message_is_gone(sent, provider, later):
    """The inactive trigger finds the same last visit again; only the guard knows."""
    calls = len(provider.calls)
    purging.purge(later, KEEP)
    again = planned(sent.automation, later)
    send_all(again, later)
    assert len(provider.calls) == calls
    assert engine.counts(again).skipped_by_reason == {"already_contacted": 3, "no_consent": 1}


def test_why_a_guest_gets_nothing_has_an_answer_after_the_purge(sent, later):
    customer_id = Occasion.objects.values_list("customer_id", flat=True)[0]
    purging.purge(later, KEEP)
    from regulars.customers.models import Customer

    lines = engine.explain(Customer.objects.get(pk=customer_id), later)
    assert [line.reason for line in lines] == ["already_contacted"]


def test_a_purged_run_keeps_its_counts_and_nothing_else(sent, later):
    before = engine.counts(sent)
    assert Skip.objects.exists()
    assert RunVerdict.objects.exists()
    purging.purge(later, KEEP)
    run = Run.objects.get(pk=sent.pk)
    assert engine.counts(run) == before
    assert run.purged_at == later
    assert not RunChunk.objects.exists()
    assert not Skip.objects.exists()
    assert not RunVerdict.objects.exists()
    answer = engine.answer(run, show_addresses=True, now=later)
    assert (answer["processed"], answer["sent"], answer["skipped"], answer["errors"]) == (4, 3, 1, [])


def test_a_cancelled_run_is_counted_before_its_chunks_go(lapsed, make_automation, now, later):
    lapsed()
    run = planned(make_automation(), now)
    engine.cancel(run, now)
    before = engine.counts(run)
    assert before.withheld == 1
    purging.purge(later, KEEP)
    assert engine.counts(Run.objects.get(pk=run.pk)) == before


def test_consents_suppressions_and_the_audit_trail_are_never_touched(sent, organization, later):
    from regulars.organizations import audit
    from regulars.organizations.models import AuditEvent

    audit.record(organization, None, "automation.enabled", now=later - timedelta(days=3000))
    Suppression.objects.create(organization=organization, fingerprint=b"x", reason="opt_out")
    with append_only.lifted():
        Consent.objects.update(at=later - timedelta(days=3000))
    before = [model.objects.count() for model in (Consent, Suppression, AuditEvent)]
    purging.purge(later, KEEP)
    assert [model.objects.count() for model in (Consent, Suppression, AuditEvent)] == before


def test_a_dry_run_says_what_would_go_and_removes_nothing(sent, later, now):
    purged = purging.purge(later, KEEP, dry_run=True)
    assert [(month.name, month.messages) for month in purged.months] == [(table_of(now), 3)]
    assert purged.months[0].size > 0
    assert Message.objects.count() == 3
    assert not MessageTotal.objects.exists()
    assert not PurgedRange.objects.exists()


def test_what_is_not_old_enough_stays(sent, now):
    assert purging.purge(now + timedelta(days=31 * (KEEP - 1)), KEEP).months == []
    assert Message.objects.count() == 3


@pytest.mark.parametrize("state", ["queued", "sending"])
def test_a_month_in_which_something_is_still_to_come_stays(sent, later, state):
    Run.objects.update(state="paused")
    Message.objects.filter(pk=Message.objects.first().pk).update(state=state)
    purged = purging.purge(later, KEEP, with_unknown=True)
    assert "may still leave" in purged.months[0].blocked[0]
    assert str(sent.pk) in purged.months[0].blocked[0]
    assert Message.objects.count() == DeliveryEvent.objects.count() == 3
    assert RunChunk.objects.exists()


@pytest.mark.parametrize("state", ["unknown", "sending"])
def test_a_month_with_a_message_in_doubt_stays_unless_told_otherwise(sent, later, state):
    """One in `sending` of a run that is over lost its sender: that is a doubt as well."""
    Message.objects.filter(pk=Message.objects.first().pk).update(state=state)
    Run.objects.update(state="cancelled")
    blocked = purging.purge(later, KEEP).months[0].blocked
    assert "1 message of run" in blocked[0]
    assert "--with-unknown" in blocked[0]
    assert Message.objects.count() == 3
    purging.purge(later, KEEP, with_unknown=True)
    assert not Message.objects.exists()
    assert set(MessageTotal.objects.values_list("state", "number")) == {("sent", 2), (state, 1)}


def test_less_than_a_cooldown_looks_back_is_refused_in_words(make_automation, now):
    automation = make_automation(policy={"cooldown_days": 700}, name="Win back")
    with pytest.raises(purging.KeepLongerError) as refused:
        purging.purge(now, 12)
    assert "“Win back” looks back 700 days" in str(refused.value)
    need = purging.least_months(now).months
    assert str(refused.value).endswith(f"keep at least {need} months")
    purging.purge(now, need)
    automation.deleted_at = now
    automation.save()
    purging.purge(now, 12)


def test_a_cooldown_is_seen_as_far_back_as_the_least_that_may_be_kept(
    lapsed, make_automation, make_visit, provider, now
):
    """A guest who came again is due again; the message before, in the oldest month that must be kept,
    still counts against the cooldown."""
    guest = lapsed()
    automation = make_automation(policy={"cooldown_days": 300})
    send_all(planned(automation, now), now)
    later = now + timedelta(days=299)
    make_visit(guest, days_ago=90, now=later)
    purging.purge(later, purging.least_months(later).months)
    assert engine.counts(planned(automation, later)).skipped_by_reason == {"cooldown": 1}


def test_guards_of_a_deleted_automation_go_and_those_of_others_stay(
    sent, lapsed, make_automation, provider, now, later
):
    other = make_automation(family="other", parameters={"max_days": 3650})
    send_all(planned(other, now), now)
    sent.automation.deleted_at = now
    sent.automation.save()
    recent = Occasion.objects.create(
        automation_id=sent.automation_id, customer_id=1, occasion="x", message_id=partitions.floor_id(later)
    )
    purging.purge(later, KEEP)
    assert set(Occasion.objects.values_list("automation_id", flat=True)) == {other.pk, sent.automation_id}
    assert list(Occasion.objects.filter(automation_id=sent.automation_id)) == [recent]
    assert Occasion.objects.filter(automation_id=other.pk).count() == 3


@pytest.mark.parametrize("place", ["_note_range", "rolled up", "followers", "batches"])
def test_a_crash_in_mid_purge_is_finished_by_the_next_one(sent, organization, later, place, monkeypatch):
    before, counts = counted(organization), engine.counts(sent)

    class CrashError(Exception):
        pass

    def crash(*arguments, **options):
        raise CrashError

    real = sql.execute
    with monkeypatch.context() as patch:
        if place == "followers":
            patch.setattr(followers, "remove", crash)
        elif place == "_note_range":
            patch.setattr(purging, "_note_range", crash)
        elif place == "rolled up":
            patch.setattr(sql, "execute", lambda text, *v: crash() if "DROP" in text else real(text, *v))
        else:
            patch.setattr(followers, "_purge_run", crash)
        with pytest.raises(CrashError):
            purging.purge(later, KEEP)
    assert counted(organization) == before
    assert engine.counts(Run.objects.get(pk=sent.pk)) == counts
    assert violations() == {}
    purging.purge(later, KEEP)
    assert counted(organization) == before
    assert engine.counts(Run.objects.get(pk=sent.pk)) == counts
    assert not any(model.objects.exists() for model in (Message, DeliveryEvent, SandboxMessage, RunChunk))
    assert purging.purge(later, KEEP).rows.get("delivery_events") == 0


def test_followers_go_in_bounded_batches(sent, later, monkeypatch):
    monkeypatch.setattr(followers, "BATCH", 2)
    assert purging.purge(later, KEEP).rows["delivery_events"] == 3
    assert not DeliveryEvent.objects.exists()


def old_run(make_automation, account, states, at, **fields):
    """A run from before there were months: plain ids."""
    run = ended_run(make_automation(), account, states, at, **fields)
    for number, message in enumerate(Message.objects.filter(run=run).order_by("pk"), 1):
        sql.execute("UPDATE messages SET id = %s WHERE id = %s", [number, message.pk])
        Occasion.objects.create(
            automation_id=message.automation_id,
            customer_id=message.customer_id,
            occasion=message.occasion,
            message_id=number,
        )
    return run


def test_what_was_there_before_the_months_goes_in_batches_up_to_what_must_stay(
    make_automation, account, organization, later, now, monkeypatch
):
    monkeypatch.setattr(followers, "BATCH", 2)
    old_run(make_automation, account, ["sent"] * 5 + ["failed", "sent"], now)
    sql.execute("UPDATE messages SET created_at = %s WHERE id = 7", [later])
    before = counted(organization)
    purged = purging.purge(later, KEEP)
    assert [(month.name, month.messages) for month in purged.months] == [("messages_before", 6)]
    assert list(Message.objects.values_list("pk", flat=True)) == [7]
    assert counted(organization) == before
    assert violations() == {}
    assert purging.purge(later, KEEP).months == []


def test_what_was_there_before_the_months_is_emptied_at_once_when_all_of_it_is_old(
    make_automation, account, organization, later, now
):
    run = old_run(make_automation, account, ["sent"] * 5, now)
    before, counts = counted(organization), engine.counts(run)
    purging.purge(later, KEEP)
    assert not Message.objects.exists()
    assert "messages_before" in tables()
    assert counted(organization) == before
    assert engine.counts(Run.objects.get(pk=run.pk)) == counts
    assert violations() == {}


def test_a_doubt_before_the_months_keeps_what_comes_after_it(make_automation, account, later, now):
    old_run(make_automation, account, ["sent", "sent", "unknown", "sent"], now)
    purged = purging.purge(later, KEEP)
    assert list(Message.objects.order_by("pk").values_list("pk", flat=True)) == [3, 4]
    assert "--with-unknown" in purged.months[0].blocked[0]
    purging.purge(later, KEEP, with_unknown=True)
    assert not Message.objects.exists()


def test_somebody_who_reads_all_the_time_puts_a_month_off_and_does_not_wait(sent, later, monkeypatch):
    from django.conf import settings as django_settings
    from psycopg import connect

    monkeypatch.setattr(purging, "_PAUSES", (0, 0.1))
    database = django_settings.DATABASES["default"]
    with connect(
        dbname=database["NAME"],
        user=database["USER"],
        host=database["HOST"],
        port=database["PORT"] or None,
        password=database["PASSWORD"] or None,
    ) as reader:
        reader.execute("SELECT count(*) FROM messages")
        purged = purging.purge(later, KEEP)
        assert "the next purge tries again" in purged.months[0].blocked[0]
        assert reader.execute("SELECT count(*) FROM messages").fetchone() == (3,)
    assert not MessageTotal.objects.exists()
    assert purging.purge(later, KEEP).months[0].blocked == ()


def test_a_run_under_way_goes_on_while_a_month_is_dropped(sent, make_automation, provider, later, now):
    """Its statements were prepared while the month was there."""
    other = planned(make_automation(family="other", parameters={"max_days": 3650}), later)
    provider.request_timeout = timedelta(seconds=7)
    first = other.chunks.get().first_id
    purged = []

    async def answer(message):
        if message.message_id == first:
            await asyncio.to_thread(lambda: purged.append(purged_elsewhere(later)))

    addresses = Message.objects.filter(run=other).values_list("address", flat=True)
    provider.answers = dict.fromkeys(addresses, answer)
    send_all(other, later)
    assert [month.blocked for month in purged[0].months] == [()]
    assert table_of(now) not in tables()
    assert (other.state, engine.counts(other).sent) == ("finished", 3)


def purged_elsewhere(moment):
    """A purge on a connection of its own."""
    try:
        return purging.purge(moment, KEEP)
    finally:
        connection.close()


def test_two_purges_at_once_count_everything_once(sent, organization, later):
    before = counted(organization)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(purged_elsewhere, [later] * 3))
    assert sum(month.messages for purged in found for month in purged.months) == 3
    assert not any(month.blocked for purged in found for month in purged.months)
    assert counted(organization) == before
    assert not DeliveryEvent.objects.exists()


def test_the_daily_purge_keeps_what_is_needed_whatever_the_setting(sent, make_automation, later, settings):
    settings.KEEP_MONTHS = 0
    assert purging.purge_daily(later) == purging.Purged()
    settings.KEEP_MONTHS = 1
    make_automation("birthday", policy={"cooldown_days": 3650})
    assert purging.purge_daily(later).months == []
    assert Message.objects.count() == 3
    from regulars.automations.models import Automation

    Automation.objects.filter(trigger="birthday").update(deleted_at=later)
    assert [month.messages for month in purging.purge_daily(later).months] == [3]


def test_the_daily_task_believes_the_slower_clock(sent, later, monkeypatch):
    """A worker whose clock has jumped years ahead removes nothing."""
    monkeypatch.setattr(clock, "now", lambda: later)
    tasks.purge(timestamp=0)
    assert Message.objects.count() == 3
    monkeypatch.setattr(sql, "database_now", lambda: later)
    tasks.purge(timestamp=0)
    assert not Message.objects.exists()


def test_the_months_to_come_are_made_daily(now, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(days=600))
    tasks._keep_house()
    assert table_of(now + timedelta(days=660)) in tables()
