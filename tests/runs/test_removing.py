"""An organization that leaves takes everything with it, and nobody else's."""

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from tests.runs.scripted import planned, send_all

from regulars.automations.models import Automation, ProviderAccount
from regulars.customers.models import Customer
from regulars.lib import async_database, sql
from regulars.organizations import audit
from regulars.organizations.models import Organization
from regulars.organizations.people import create_user
from regulars.organizations.tokens import create as create_token
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine, planning, preparing, removing, sending, statements, tasks, totals
from regulars.runs.invariants import violations
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import DeliveryEvent, Message, MessageTotal, Run, RunChunk, SandboxMessage
from regulars.runs.recording import Attempt, Ended
from regulars.runs.states import after

pytestmark = pytest.mark.django_db(transaction=True)

# What a column of this name refers to, in every table that has one.
REFERENCES = {
    "organization_id": "organizations",
    "run_id": "automation_logs",
    "customer_id": "customers",
    "automation_id": "automations",
    "account_id": "provider_accounts",
    "version_id": "automation_versions",
    "message_id": "messages",
    "venue_id": "venues",
}


def left_over():
    """Columns that refer to a row that is not there: (table, column)."""
    columns = sql.fetch_rows(
        """SELECT column_name, table_name FROM information_schema.columns
             JOIN pg_class ON pg_class.oid = to_regclass(table_name) AND relkind IN ('r', 'p')
            WHERE table_schema = 'public' AND column_name = ANY (%s)""",
        [list(REFERENCES)],
    )
    assert len(columns) > 20
    found = set()
    for row in columns:
        table, column = row["table_name"], row["column_name"]
        empty = f"AND t.{column} <> 0" if column == "message_id" else ""
        if table.startswith(("account_email", "procrastinate")):
            continue
        if sql.fetch_rows(
            f"""SELECT 1 FROM {table} t WHERE t.{column} IS NOT NULL {empty}
                   AND NOT EXISTS (SELECT 1 FROM {REFERENCES[column]} r WHERE r.id = t.{column}) LIMIT 1"""
        ):
            found.add((table, column))
    return found


def contents():
    """The number of rows of every table."""
    tables = sql.fetch_rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {
        row["tablename"]: sql.fetch_rows(f"SELECT count(*) AS number FROM {row['tablename']}")[0]["number"]
        for row in tables
        if not row["tablename"].startswith("procrastinate")
    }


@pytest.fixture
def other(db):
    """Another restaurant on the same server."""
    return Organization.objects.create(slug="otra", name="Otra")


@pytest.fixture
def fill(make_customer, make_automation, provider, now):
    """Give an organization one row at least in every table that can hold one."""
    from regulars.hospitality.models import Reservation, Venue, Visit

    def fill(organization, guests=3):
        venue = Venue.objects.create(organization=organization, name="Bar", timezone="Europe/Madrid")
        account = ProviderAccount.objects.create(
            organization=organization, name="other", kind="sandbox", channels=["email"]
        )
        sql.execute("INSERT INTO account_buckets (account_id) VALUES (%s)", [account.pk])
        for number in range(guests + 1):
            customer = make_customer(organization=organization, consents=None if number else ())
            for days in (120, 90):
                Visit.objects.create(
                    organization=organization,
                    customer=customer,
                    venue=venue,
                    visited_at=now - timedelta(days=days),
                    service_date=(now - timedelta(days=days)).date(),
                )
            customer.tier_changes.create(tier="gold", at=now)
            Reservation.objects.create(
                organization=organization, customer=customer, venue=venue, starts_at=now - timedelta(days=1)
            )
        automation = make_automation(organization=organization)
        run = planned(automation, now)
        send_all(run, now)
        for message in Message.objects.filter(run=run):
            DeliveryEvent.objects.create(message_id=message.pk, kind="delivered", at=now)
            SandboxMessage.objects.create(
                organization_id=organization.pk,
                account_id=account.pk,
                message_id=message.pk,
                channel="email",
                address=message.address,
                body="Hola",
                at=now,
            )
        MessageTotal.objects.create(
            organization_id=organization.pk,
            automation_id=automation.pk,
            month=now.date(),
            channel="email",
            state="sent",
            reason="",
            number=7,
        )
        user = create_user(
            f"owner@{organization.slug}.example.com", "a-long-passphrase-9", "owner", organization
        )
        create_token(user, organization, "till")
        audit.record(organization, user, "automation.enabled", now=now)
        sql.execute(
            "INSERT INTO suppressions (organization_id, channel, fingerprint, reason, source, created_at)"
            " VALUES (%s, '', 'x', 'opt_out', '', now())",
            [organization.pk],
        )
        return run

    return fill


def test_nothing_of_it_is_left_in_any_table_and_others_keep_everything(organization, other, fill, now):
    fill(other)
    before, months = contents(), totals.monthly(other)
    fill(organization)
    grown = {table for table, number in contents().items() if number > before[table]}
    assert {"messages", "occasions", "skips", "run_verdicts", "delivery_events", "message_totals"} <= grown
    assert removing.remove_organization(organization, now)["messages"] == 3
    left = contents()
    changed = {table: left[table] - before[table] for table in before if left[table] != before[table]}
    # Itself and the account it had before; the person who signs in stays, as a member of nothing.
    assert changed == {"organizations": -1, "provider_accounts": -1, "users": 1}
    assert left_over() == set()
    assert totals.monthly(other) == months
    assert violations() == {}


def test_it_goes_in_bounded_transactions(organization, fill, now, monkeypatch):
    fill(organization, guests=5)
    monkeypatch.setattr(removing, "BATCH", 2)
    assert removing.remove_organization(organization, now)["messages"] == 5
    assert not Organization.objects.exists()
    assert left_over() == set()


@pytest.mark.parametrize("step", ["_wait_for_senders", "_remove_messages", "_remove_of", "_remove_itself"])
def test_a_removal_that_crashed_is_finished_by_the_next(organization, fill, now, step, monkeypatch):
    fill(organization)

    def crash(*arguments):
        raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr(removing, step, crash)
        with pytest.raises(RuntimeError, match="crash"):
            removing.remove_organization(organization, now)
    stopped = Organization.objects.get(slug=organization.slug)
    assert not Automation.objects.filter(enabled=True).exists()
    removing.remove_organization(stopped, now)
    assert not Organization.objects.exists()
    assert left_over() == set()


def test_a_row_that_comes_in_meanwhile_goes_as_well(organization, fill, now, monkeypatch):
    fill(organization)
    real, came = removing._remove_itself, []

    def last_moment(owner):
        if not came:
            came.append(Customer.objects.create(organization=owner, first_name="Late"))
        return real(owner)

    monkeypatch.setattr(removing, "_remove_itself", last_moment)
    removing.remove_organization(organization, now)
    assert came
    assert not Customer.objects.exists()


class Slow:
    """Answers only when it is told to."""

    def __init__(self):
        self.asked, self.may_answer = threading.Event(), threading.Event()

    async def __call__(self, message):
        self.asked.set()
        await asyncio.to_thread(self.may_answer.wait, 10)


def test_a_sender_in_mid_run_stops_at_its_next_exchange_and_survives(
    lapsed, organization, make_automation, provider, now
):
    """A real lane, with calls in flight while its organization is removed."""
    for _ in range(300):
        lapsed()
    provider.request_timeout = timedelta(seconds=7)
    slow = Slow()
    run = planned(make_automation(), now)
    provider.answers = dict.fromkeys(Message.objects.values_list("address", flat=True), slow)
    work, ended = preparing.prepare(run.chunks.get().pk, now), []

    async def send():
        database = await async_database.connect()
        try:
            ended.append(await sending.send_chunk(database, work, stopping=lambda: False, now=lambda: now))
        finally:
            await database.close()

    sender = threading.Thread(target=lambda: asyncio.run(send()))
    sender.start()
    assert slow.asked.wait(10)
    answers = threading.Timer(1.0, slow.may_answer.set)
    answers.start()
    removing.remove_organization(organization, now)
    calls = len(provider.calls)
    sender.join(20)
    assert not sender.is_alive()
    # It saw that it may not go on, recorded what was in flight, and gave nothing further away.
    assert len(ended) == 1
    assert calls == len(provider.calls) < 300
    assert not Message.objects.exists()
    assert not Organization.objects.exists()
    assert left_over() == set()


def test_a_sender_that_wakes_after_the_removal_changes_nothing(
    lapsed, organization, make_automation, provider, now
):
    """It was frozen past its lease: its chunk, run and messages are gone when it comes back."""
    lapsed()
    run = planned(make_automation(), now)
    work = preparing.prepare(run.chunks.get().pk, now)

    async def take_and_wake():
        database = await async_database.connect()
        try:
            taken = await ChunkLedger.take(database, work, now)
            ledger = ChunkLedger(database, work, taken.epoch)
            await ledger.prepare()
            claimed = (await ledger.exchange([], 10, now)).rows
            await database.execute("UPDATE run_chunks SET lease_until = now() - interval '1 minute'")
            await asyncio.to_thread(remove)
            outcome = Outcome(Verdict.ACCEPTED, provider_id="late")
            attempt = Attempt.of(claimed[0])
            ended = Ended(attempt, outcome, after(outcome, attempt.number, now))
            found = await ledger.exchange([ended], 10, now)
            await ledger.record_late([ended], [attempt.message_id], now)
            return found, await ledger.release(None)
        finally:
            await database.close()

    def remove():
        try:
            removing.remove_organization(organization, now)
        finally:
            connection.close()

    found, released = asyncio.run(take_and_wake())
    assert (found.still_ours, found.rows, released) == (False, [], None)
    assert not any(model.objects.exists() for model in (Message, Run, RunChunk, Organization))


def test_jobs_of_what_is_gone_do_nothing(lapsed, organization, make_automation, provider, now):
    lapsed()
    run = planned(make_automation(), now)
    chunk = run.chunks.get().pk
    removing.remove_organization(organization, now)
    assert preparing.prepare(chunk, now) is None
    assert planning.plan(str(run.pk), now) is False
    asyncio.run(tasks.send_chunk(chunk))
    assert not provider.calls


def test_a_planner_at_work_ends_before_anything_is_removed(lapsed, organization, make_automation, now):
    lapsed()
    run = engine.start(make_automation(), now=now)
    at_it, may_end = threading.Event(), threading.Event()

    def plan():
        try:
            with planning._only_planner(str(run.pk)):
                at_it.set()
                may_end.wait(10)
                planning._plan(Run.objects.select_related("automation__organization").get(pk=run.pk), now)
        finally:
            connection.close()

    planner = threading.Thread(target=plan)
    planner.start()
    assert at_it.wait(10)
    threading.Timer(0.5, may_end.set).start()
    removing.remove_organization(organization, now)
    planner.join(10)
    assert not any(model.objects.exists() for model in (Message, Run, RunChunk, Organization))
    assert left_over() == set()


def test_it_waits_for_a_lease_that_may_still_be_used(lapsed, organization, make_automation, provider, now):
    lapsed()
    run = planned(make_automation(), now)
    sql.execute("UPDATE run_chunks SET lease_until = now() - make_interval(secs => %s) + interval '1 second'",
                [statements.GRACE_SECONDS])  # fmt: skip
    began = time.monotonic()
    removing.remove_organization(organization, now)
    assert time.monotonic() - began > 0.5
    assert not Run.objects.filter(pk=run.pk).exists()
