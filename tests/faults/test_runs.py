"""Whole runs against the server that fails: what the ledger says afterwards, and who was written to."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Max, Q, Sum
from django.db.models.functions import Now
from tests.faults.server import ACCEPTS, HttpFaults, Reply, SmtpFaults, smtp
from tests.faults.table import SECTIONS, follows, says

from regulars.automations import accounts
from regulars.automations.models import Automation, ProviderAccount
from regulars.customers.addresses import fingerprint
from regulars.customers.models import Address, Consent, Customer
from regulars.hospitality.models import Reservation, Visit
from regulars.lib import async_database
from regulars.lib.clock import local_date
from regulars.providers.base import Verdict
from regulars.runs import engine, planning, preparing, sending, statements
from regulars.runs.breaking import FAILURES_IN_A_ROW, REFUSALS_IN_A_ROW
from regulars.runs.lane import WINDOW
from regulars.runs.models import AccountBucket, Message, Run, RunState
from regulars.runs.states import MOST_ATTEMPTS

pytestmark = pytest.mark.django_db(transaction=True)

CHANNELS = {"twilio": "sms", "smtp": "email"}
SERVERS = {"twilio": HttpFaults, "smtp": SmtpFaults}
# What a message is after its first meeting with the fault.
STATES = {
    Verdict.REJECTED: "failed",
    Verdict.UNKNOWN: "unknown",
    Verdict.THROTTLED: "queued",
    Verdict.UNAVAILABLE: "queued",
    Verdict.STOP_TEMPLATE: "queued",
    Verdict.STOP_ACCOUNT: "queued",
}
NO_ANSWER = Reply("read", ending="reset")
BUSY = says(429, 20429, Retry_After="120")


class World:
    """A restaurant with one account, whose runs are sent turn by turn while time passes in jumps."""

    def __init__(self, organization, venue, make_automation, now):
        self.organization, self.venue, self.now = organization, venue, now
        self._make_automation = make_automation
        self._guests = 0

    def account_at(self, kind, values):
        """The restaurant's only account leads there."""
        account = ProviderAccount.objects.filter(organization=self.organization, kind=kind).first()
        if account:
            AccountBucket.objects.all().delete()
            return accounts.change_account(account, options=values)
        ProviderAccount.objects.filter(organization=self.organization).delete()
        return accounts.create_account(self.organization, "the one", kind, values)

    def plan(self, kind, number):
        """A planned run that will write to that many new guests."""
        Automation.objects.update(enabled=False)
        made = self._make_automation(
            name=f"{kind} {self._guests}", channels=(CHANNELS[kind],), parameters={"min_visits": 1}, family=""
        )
        guests = self._new_guests(CHANNELS[kind], number)
        run = engine.start(made, now=self.now, subjects=guests)
        planning.plan(str(run.pk), self.now)
        assert Message.objects.filter(run=run, state="queued").count() == number
        return Run.objects.get(pk=run.pk)

    def _new_guests(self, channel, number):
        first, self._guests = self._guests, self._guests + number
        numbers = range(first, first + number)
        kinds = {"email": "guest{}@example.com", "sms": "+1201555{:04d}"}
        guests = Customer.objects.bulk_create(
            Customer(organization=self.organization, first_name=f"Guest{n}", language="es") for n in numbers
        )
        texts = [kinds[channel].format(n) for n in numbers]
        Address.objects.bulk_create(
            Address(
                organization=self.organization,
                customer=guest,
                channel=channel,
                address=text,
                fingerprint=fingerprint(self.organization, text),
            )
            for guest, text in zip(guests, texts, strict=True)
        )
        Consent.objects.bulk_create(
            Consent(customer=guest, channel=channel, granted=True, at=self.now) for guest in guests
        )
        moment = self.now - timedelta(days=90)
        Visit.objects.bulk_create(
            Visit(
                organization=self.organization,
                customer=guest,
                venue=self.venue,
                visited_at=moment,
                service_date=local_date(moment, self.venue.timezone, self.venue.day_starts_at_hour),
            )
            for guest in guests
        )
        if number > 100:
            # As after an import: without it each claim would look through all visits.
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE customers, visits, addresses, consents")
        return [guest.pk for guest in guests]

    def turn(self, run):
        """Send what is due now, as the tasks would, until nothing is."""

        async def send(works):
            database = await async_database.connect()
            try:
                for work in works:
                    for _ in range(20):
                        left = await sending.send_chunk(
                            database, work, stopping=lambda: False, now=lambda: self.now
                        )
                        if (
                            not left
                            or left["closed"]
                            or left["next_due"] is None
                            or left["next_due"] > self.now
                        ):
                            break
                await database.execute(statements.FINISH, {"run": run.pk, "now": self.now})
            finally:
                await database.close()

        chunks = run.chunks.filter(closed=False).values_list("pk", flat=True)
        asyncio.run(send([preparing.prepare(pk, self.now) for pk in chunks]))
        run.refresh_from_db()

    def time_passes(self, run):
        """Until everything that waits is due and no pause is left."""
        latest = Message.objects.filter(run=run, state="queued").aggregate(latest=Max("send_after"))["latest"]
        self.now = max(self.now, latest or self.now) + timedelta(seconds=1)
        paused = AccountBucket.objects.filter(paused_until__isnull=False)
        paused.update(paused_until=Now() - timedelta(seconds=1))

    def mended(self, run):
        """Somebody has looked, and resumes."""
        Automation.objects.filter(pk=run.automation_id).update(paused_reason="")
        engine.resume(run, self.now)

    def turns_until_over(self, run, most=12):
        for _ in range(most):
            if run.state == RunState.FINISHED:
                break
            self.time_passes(run)
            self.turn(run)
        assert run.state == RunState.FINISHED, states(run)


def states(run):
    return Counter(Message.objects.filter(run=run).values_list("state", flat=True))


def attempts(run):
    return Message.objects.filter(run=run).aggregate(all=Sum("attempt"))["all"]


def addresses(run, *wanted):
    return set(Message.objects.filter(run=run, state__in=wanted).values_list("address", flat=True))


def nobody_got_two(*servers):
    """What the ledger is held against: the counts of those who received."""
    taken = Counter(address for server in servers for address in server.taken)
    assert not [address for address, number in taken.items() if number > 1]
    return set(taken)


@pytest.fixture
def world(organization, venue, make_automation, now):
    return World(organization, venue, make_automation, now)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_the_run_does_what_the_table_says(section, world, open_door, hurry):
    """Of three guests the first meets the fault; when all is mended, nobody got two and nobody none."""
    for row in section.rows:
        server, values = open_door(section.kind, row.door, ACCEPTS)
        if server:
            # A login that is offered is offered on every connection.
            well = replace(ACCEPTS, extensions=row.reply.extensions)
            server.follow(*([well, [row.reply]] if row.door == "plain" else [row.reply]))
        world.account_at(section.kind, values | row.options)
        run = world.plan(section.kind, 3)
        world.turn(run)
        _met(run, row)
        _mended(world, section.kind, run, row, server, open_door)


def _met(run, row):
    """After the first turn: the state of whoever met the fault, and that of the run."""
    expected = STATES[row.verdict]
    assert states(run)[expected] >= 1, (row.fault, states(run))
    assert set(states(run)) <= {expected, "sent", "queued"}, (row.fault, states(run))
    if row.verdict in (Verdict.STOP_ACCOUNT, Verdict.STOP_TEMPLATE):
        assert run.state == RunState.PAUSED, (row.fault, follows(row))
        assert row.words in run.reason
    else:
        assert run.state in (RunState.SENDING, RunState.FINISHED), (row.fault, run.state)


def _mended(world, kind, run, row, server, open_door):
    """The fault ends (the account may have to be changed): the run goes on to its end."""
    final = {Verdict.REJECTED: "failed", Verdict.UNKNOWN: "unknown"}.get(row.verdict)
    if row.door != "plain" or row.options:
        healthy, values = open_door(kind, "plain", ACCEPTS)
        world.account_at(kind, values)
    else:
        healthy = server
        server.follow()
    if run.state == RunState.PAUSED:
        world.mended(run)
    world.turns_until_over(run)
    servers = {healthy, server} - {None}
    taken = nobody_got_two(*servers)
    sent, doubtful = addresses(run, "sent"), addresses(run, "unknown")
    assert sent <= taken <= sent | doubtful, row.fault
    assert states(run)["sent"] == 3 - states(run)[final or "none"], (row.fault, states(run))
    for one in servers:
        one.close()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_down_does_not_fail_the_guests_one_by_one(kind, world, open_door):
    server, values = open_door(kind, "plain", ACCEPTS)
    account = world.account_at(kind, values)
    run = world.plan(kind, 1000)
    server.down()
    world.turn(run)
    assert states(run) == {"queued": 1000}
    assert FAILURES_IN_A_ROW <= attempts(run) <= WINDOW
    assert account.bucket.pause_reason
    # However long it lasts: one message tries, nobody fails, though it may be tried more than five times.
    tried = attempts(run)
    for _ in range(MOST_ATTEMPTS + 3):
        world.time_passes(run)
        world.turn(run)
    assert states(run) == {"queued": 1000}
    assert attempts(run) == tried + MOST_ATTEMPTS + 3
    server.up()
    world.turns_until_over(run)
    assert states(run) == {"sent": 1000}
    assert nobody_got_two(server) == addresses(run, "sent")
    assert AccountBucket.objects.get().strikes == 0


def test_a_server_that_falls_silent_leaves_at_most_one_window_in_doubt(world, open_door):
    server, values = open_door("twilio", "plain", NO_ANSWER)
    world.account_at("twilio", values)
    run = world.plan("twilio", 300)
    world.turn(run)
    doubtful = states(run)["unknown"]
    assert FAILURES_IN_A_ROW <= doubtful <= WINDOW
    server.follow()
    world.turns_until_over(run)
    assert states(run) == {"sent": 300 - doubtful, "unknown": doubtful}
    # The server had taken them all the same: a second try would have been a second message.
    assert len(nobody_got_two(server)) == 300


def test_too_many_requests_slow_the_account_and_burn_no_guest(world, open_door):
    server, values = open_door("twilio", "plain", ACCEPTS)
    account = world.account_at("twilio", values)
    run = world.plan("twilio", 200)
    for _ in range(MOST_ATTEMPTS + 2):
        server.follow(BUSY)
        world.turn(run)
        assert states(run) == {"queued": 200}
        assert "Too many requests" in account.bucket.pause_reason
        # At least as long as it asked for.
        assert AccountBucket.objects.filter(paused_until__gt=Now() + timedelta(seconds=100)).exists()
        account.refresh_from_db()
        world.time_passes(run)
    # The first time a window found out, then one message each time.
    assert len(server.received) <= WINDOW + MOST_ATTEMPTS + 1
    server.follow()
    world.turns_until_over(run)
    assert states(run) == {"sent": 200}
    assert nobody_got_two(server) == addresses(run, "sent")


def test_one_greylisted_guest_waits_alone(world, open_door):
    server, values = open_door("smtp", "plain", ACCEPTS)
    world.account_at("smtp", values)
    run = world.plan("smtp", 40)
    guest = Message.objects.filter(run=run).order_by("?").first().address
    server.follow(by_address={guest: smtp("RCPT", "450 Greylisted")})
    world.turn(run)
    assert states(run) == {"sent": 39, "queued": 1}
    assert not AccountBucket.objects.filter(strikes__gt=0).exists()
    server.follow()
    world.turns_until_over(run)
    assert nobody_got_two(server) == addresses(run, "sent")


def test_a_guest_who_can_never_be_reached_fails_after_five_tries(world, open_door):
    server, values = open_door("smtp", "plain", ACCEPTS)
    world.account_at("smtp", values)
    run = world.plan("smtp", 10)
    guest = Message.objects.filter(run=run).first().address
    server.follow(by_address={guest: smtp("RCPT", "450 Greylisted")})
    world.turn(run)
    world.turns_until_over(run)
    assert states(run) == {"sent": 9, "failed": 1}
    failed = Message.objects.get(run=run, state="failed")
    assert (failed.address, failed.reason, failed.attempt) == (guest, "temporary", MOST_ATTEMPTS)


def test_fifty_equal_refusals_pause_the_run_and_say_why(world, open_door):
    server, values = open_door("twilio", "plain", says(400, 99999, "Your plan does not allow this"))
    world.account_at("twilio", values)
    run = world.plan("twilio", 300)
    world.turn(run)
    assert run.state == RunState.PAUSED
    assert "Your plan does not allow this" in run.reason
    assert REFUSALS_IN_A_ROW <= states(run)["failed"] < REFUSALS_IN_A_ROW + 2 * WINDOW
    refused = states(run)["failed"]
    server.follow()
    world.mended(run)
    world.turns_until_over(run)
    assert states(run) == {"sent": 300 - refused, "failed": refused}
    assert nobody_got_two(server) == addresses(run, "sent")


def test_one_guest_in_a_country_that_is_not_enabled_stops_nobody_else(world, open_door):
    server, values = open_door("twilio", "plain", ACCEPTS)
    account = world.account_at("twilio", values)
    run = world.plan("twilio", 30)
    foreign = Message.objects.filter(run=run).first().address
    server.follow(by_address={foreign: says(400, 21408)})
    world.turn(run)
    assert (run.state, states(run)) == (RunState.FINISHED, {"sent": 29, "failed": 1})
    failed = Message.objects.get(run=run, state="failed")
    assert (failed.address, failed.reason) == (foreign, "permanent")
    assert "enable it" in failed.error
    account.refresh_from_db()
    assert account.broken_reason == ""


def test_a_list_with_many_bad_numbers_goes_on_to_its_end(world, open_door):
    _, values = open_door("twilio", "plain", says(400, 21211))
    world.account_at("twilio", values)
    run = world.plan("twilio", 120)
    world.turn(run)
    assert (run.state, states(run)) == (RunState.FINISHED, {"failed": 120})
    assert Address.objects.filter(~Q(bad_reason="")).count() == 120


def test_a_broken_account_is_said_once_and_spares_the_guests(world, open_door):
    server, values = open_door("twilio", "plain", says(403, 20005))
    account = world.account_at("twilio", values)
    run = world.plan("twilio", 300)
    world.turn(run)
    world.turn(run)
    account.refresh_from_db()
    assert run.state == RunState.PAUSED
    assert run.reason == account.broken_reason
    assert "out of credit" in run.reason
    assert states(run) == {"queued": 300}
    assert len(server.received) <= 2 * WINDOW
    server.follow()
    world.mended(run)
    world.turns_until_over(run)
    assert states(run) == {"sent": 300}
    assert nobody_got_two(server) == addresses(run, "sent")


class TestNoAnswer:
    """The owner's choice for a transactional automation, met by a server that takes and says nothing."""

    @pytest.fixture
    def confirm(self, world, open_door, make_automation, make_customer, venue):
        """A run that confirms one reservation by SMS under this policy, and its server."""

        def one(policy, *replies):
            server, values = open_door("twilio", "plain", ACCEPTS)
            server.follow(in_turn=replies)
            world.account_at("twilio", values)
            guest = make_customer(channels=("sms",))
            Reservation.objects.create(
                organization=guest.organization,
                customer=guest,
                venue=venue,
                starts_at=world.now + timedelta(days=1),
                confirmed_at=world.now,
            )
            made = make_automation("reservation_confirmation", channels=("sms",), policy=policy)
            run = engine.start(made, now=world.now)
            planning.plan(str(run.pk), world.now)
            run.refresh_from_db()
            world.turn(run)
            return run, server

        return one

    def test_at_most_once_stays_in_doubt(self, confirm, world):
        run, server = confirm({}, NO_ANSWER)
        world.turns_until_over(run)
        assert states(run) == {"unknown": 1}
        assert len(server.taken) == 1

    def test_at_least_once_is_sent_again_by_itself_and_may_arrive_twice(self, confirm, world):
        run, server = confirm({"delivery": "at_least_once"}, NO_ANSWER)
        assert states(run) == {"queued": 1}
        world.turns_until_over(run)
        assert states(run) == {"sent": 1}
        # The price that its owner chose.
        assert len(server.taken) == 2

    def test_at_least_once_gives_up_after_five_tries(self, confirm, world):
        run, server = confirm({"delivery": "at_least_once"}, *[NO_ANSWER] * (MOST_ATTEMPTS + 3))
        world.turns_until_over(run)
        assert states(run) == {"unknown": 1}
        assert len(server.taken) == MOST_ATTEMPTS
