"""The summary of a guest's visits is what the visits say, whoever writes them and however."""

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from regulars.customers.models import Customer
from regulars.hospitality.invariants import SUMMARIES
from regulars.hospitality.models import Venue, Visit, VisitState, VisitSummary
from regulars.lib import sql
from regulars.organizations.models import Organization
from regulars.runs.invariants import violations

DAY = datetime(2026, 6, 15, 20, tzinfo=UTC)
GUESTS = 3


def untrue():
    return sql.fetch_rows(SUMMARIES.query)[0]["count"]


def counted():
    """The same in plain Python: completed visits by guest, the last by day, moment, and id."""
    own = {}
    for visit in Visit.objects.filter(state=VisitState.COMPLETED):
        own.setdefault(visit.customer_id, []).append(visit)
    found = {}
    for customer, visits in own.items():
        last = max(visits, key=lambda visit: (visit.service_date, visit.visited_at, visit.pk))
        found[customer] = (
            last.organization_id,
            len(visits),
            last.pk,
            last.venue_id,
            last.visited_at,
            last.service_date,
        )
    return found


def stored():
    return {row[0]: row[1:] for row in VisitSummary.objects.values_list(*FIELDS)}


FIELDS = (
    "customer_id",
    "organization_id",
    "completed",
    "last_visit_id",
    "last_venue_id",
    "last_visited_at",
    "last_service_date",
)

someone = st.integers(0, GUESTS - 1)
places = st.integers(0, 1)
# Few of each, so that visits share days and moments.
minutes = st.sampled_from((0, 0, 30, 1440, 2880, -1440))
states = st.sampled_from((*[VisitState.COMPLETED] * 4, *VisitState))
visits = st.tuples(someone, places, minutes, states)
which = st.integers(0, 1000)


class Histories(RuleBasedStateMachine):
    """Everything that can happen to visits, one statement or many rows at a time."""

    def __init__(self):
        super().__init__()
        VisitSummary.objects.all().delete()
        Visit.objects.all().delete()
        self.organization = Organization.objects.create(
            slug=f"world-{Organization.objects.count()}", name="World", timezone="Europe/Madrid"
        )
        make = Venue.objects.create
        self.venues = [make(organization=self.organization, name=name, timezone="UTC") for name in "ab"]
        self.customers = [Customer.objects.create(organization=self.organization) for _ in range(GUESTS)]

    def visit(self, drawn):
        customer, place, shift, state = drawn
        at = DAY + timedelta(minutes=shift)
        return Visit(
            organization=self.organization,
            customer=self.customers[customer],
            venue=self.venues[place],
            visited_at=at,
            service_date=at.date(),
            state=state,
        )

    def some(self, numbers):
        keys = list(Visit.objects.order_by("pk").values_list("pk", flat=True))
        return Visit.objects.filter(pk__in=[keys[number % len(keys)] for number in numbers] if keys else [])

    @rule(drawn=visits)
    def one_is_written(self, drawn):
        self.visit(drawn).save()

    @rule(drawn=st.lists(visits, max_size=6))
    def many_are_written_at_once(self, drawn):
        Visit.objects.bulk_create(self.visit(one) for one in drawn)

    @rule(drawn=st.lists(visits, min_size=1, max_size=6))
    def many_are_copied(self, drawn):
        columns = "organization_id, customer_id, venue_id, visited_at, service_date, state, currency"
        with connection.cursor() as cursor, cursor.copy(f"COPY visits ({columns}) FROM STDIN") as rows:
            for one in map(self.visit, drawn):
                where = (one.organization_id, one.customer_id, one.venue_id)
                rows.write_row((*where, one.visited_at, one.service_date, str(one.state), ""))

    @rule(numbers=st.lists(which, min_size=1, max_size=4), drawn=visits)
    def some_are_changed(self, numbers, drawn):
        new = self.visit(drawn)
        self.some(numbers).update(
            customer=new.customer,
            venue=new.venue,
            visited_at=new.visited_at,
            service_date=new.service_date,
            state=new.state,
        )

    @rule(numbers=st.lists(which, min_size=1, max_size=4), state=states)
    def some_change_their_state(self, numbers, state):
        self.some(numbers).update(state=state)

    @rule(numbers=st.lists(which, min_size=1, max_size=4))
    def amounts_are_corrected(self, numbers):
        self.some(numbers).update(amount=12)

    @rule(gone=someone, kept=someone)
    def guests_are_merged(self, gone, kept):
        Visit.objects.filter(customer=self.customers[gone]).update(customer=self.customers[kept])

    @rule(number=which, other=which)
    def two_swap_their_guests(self, number, other):
        pair = list(self.some([number, other]))
        if len(pair) == 2:
            first, second = pair
            first.customer_id, second.customer_id = second.customer_id, first.customer_id
            Visit.objects.bulk_update([first, second], ["customer_id"])

    @rule(numbers=st.lists(which, min_size=1, max_size=3))
    def some_are_deleted(self, numbers):
        self.some(numbers).delete()

    @rule(number=someone)
    def a_guest_is_deleted(self, number):
        self.customers[number].delete()
        self.customers[number] = Customer.objects.create(organization=self.organization)

    @rule(drawn=visits)
    def an_import_sees_a_row_twice(self, drawn):
        """INSERT ... ON CONFLICT DO UPDATE fires the triggers of both."""
        new = self.visit(drawn)
        new.external_id = "ticket 1"
        Visit.objects.bulk_create(
            [new],
            update_conflicts=True,
            unique_fields=["organization", "external_id"],
            update_fields=["customer", "venue", "visited_at", "service_date", "state"],
        )

    @invariant()
    def the_summary_is_what_the_visits_say(self):
        assert stored() == counted()
        assert untrue() == 0


class RandomHistories(TestCase):
    def test_keep_the_summary_true(self):
        run_state_machine_as_test(
            Histories,
            settings=settings(
                max_examples=60,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )


@pytest.fixture
def guest(make_customer):
    return make_customer()


def visit(customer, venue, days_ago=0, **fields):
    at = DAY - timedelta(days=days_ago)
    return Visit.objects.create(
        organization=customer.organization,
        customer=customer,
        venue=venue,
        visited_at=at,
        service_date=at.date(),
        **fields,
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    "damage",
    [
        {"completed": 7},
        {"last_service_date": date(2020, 1, 1)},
        {"last_visit_id": 0},
        {"organization_id": 0},
        {"last_venue_id": 0},
        {"last_visited_at": DAY - timedelta(minutes=1)},
    ],
)
def test_the_doctor_sees_a_summary_that_is_not_true(guest, venue, damage):
    visit(guest, venue)
    assert not violations()
    VisitSummary.objects.update(**damage)
    assert list(violations()) == [SUMMARIES.sentence]


@pytest.mark.django_db
def test_the_doctor_sees_a_summary_that_is_missing_or_left_over(guest, venue):
    visit(guest, venue)
    row = VisitSummary.objects.get()
    VisitSummary.objects.all().delete()
    assert violations() == {SUMMARIES.sentence: 1}
    row.save(force_insert=True)
    assert not violations()
    row.customer_id = 0
    row.save(force_insert=True)
    assert violations() == {SUMMARIES.sentence: 1}


@pytest.mark.django_db(transaction=True)
def test_emptying_the_table_empties_the_summary(guest, venue):
    visit(guest, venue)
    sql.execute("TRUNCATE visits")
    assert not VisitSummary.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_migration_counts_the_visits_that_are_there(guest, venue):
    executor = MigrationExecutor(connection)
    executor.migrate([("hospitality", "0002_initial")])
    try:
        for days in (3, 1, 2):
            visit(guest, venue, days)
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    assert stored() == counted()
    assert VisitSummary.objects.get().completed == 3


class Other:
    """A second connection that does one thing in a transaction of its own, and waits to commit it."""

    def __init__(self, act):
        self.acted, self.may_commit = threading.Event(), threading.Event()
        self.problem = None
        self.thread = threading.Thread(target=self._run, args=(act,))
        self.thread.start()

    def _run(self, act):
        try:
            with transaction.atomic():
                act()
                self.acted.set()
                self.may_commit.wait(30)
        except Exception as problem:
            self.problem = problem
        finally:
            self.acted.set()
            connection.close()

    def end(self):
        self.may_commit.set()
        self.thread.join(30)
        assert self.problem is None


def waiting():
    """Whether some backend waits for a lock."""
    return sql.fetch_rows("SELECT count(*) FROM pg_locks WHERE NOT granted")[0]["count"]


ACTS = {
    "adds": lambda guest, venue, _: visit(guest, venue, 0),
    "deletes": lambda _guest, _venue, own: own.delete(),
    "voids": lambda _guest, _venue, own: Visit.objects.filter(pk=own.pk).update(state="voided"),
    "moves": lambda _guest, _venue, own: Visit.objects.filter(pk=own.pk).update(
        visited_at=DAY + timedelta(days=3), service_date=(DAY + timedelta(days=3)).date()
    ),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ACTS)
@pytest.mark.parametrize("second", ACTS)
@pytest.mark.parametrize("known", [True, False], ids=["a known guest", "a new guest"])
def test_two_writers_at_once_leave_a_true_summary(guest, venue, first, second, known):
    """The second starts while the first has not committed: it waits, or has nothing to wait for."""
    one, two = visit(guest, venue, 5), visit(guest, venue, 4)
    if known:
        visit(guest, venue, 9)
    ahead = Other(lambda: ACTS[first](guest, venue, one))
    assert ahead.acted.wait(30)
    behind = Other(lambda: ACTS[second](guest, venue, two))
    while not behind.acted.is_set() and not waiting():
        behind.acted.wait(0.01)
    ahead.end()
    behind.end()
    assert stored() == counted()


@pytest.mark.django_db(transaction=True)
def test_two_first_visits_at_once_are_two(guest, venue):
    ahead = Other(lambda: visit(guest, venue, 1))
    assert ahead.acted.wait(30)
    behind = Other(lambda: visit(guest, venue, 0))
    while not behind.acted.is_set() and not waiting():
        behind.acted.wait(0.01)
    ahead.end()
    behind.end()
    assert VisitSummary.objects.get().completed == 2
    assert stored() == counted()
