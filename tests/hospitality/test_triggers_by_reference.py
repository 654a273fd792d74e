"""Each trigger against its slow and plain double, over random worlds and clocks."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from regulars.automations import triggers
from regulars.automations.triggers import DUE_COLUMNS
from regulars.hospitality.upcoming import guests_who_booked
from regulars.lib.sql import compile_query, fetch_rows

from . import reference, worlds

pytestmark = pytest.mark.slow
EXAMPLES = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


# How often a trigger found somebody, and nobody: two that agree on nothing prove nothing.
tally = Counter()


def found_by(kind, organization, now, customers=None, **parameters):
    """What the query finds, run as the engine runs it: compiled, inside a common table expression."""
    trigger = triggers.get(kind)
    chosen = trigger.parameters(**parameters)
    query = trigger.due(organization, chosen, now, customers)
    text, values = compile_query(query)
    rows = fetch_rows(f"WITH due AS MATERIALIZED ({text}) SELECT * FROM due", values)
    assert all(tuple(row) == DUE_COLUMNS for row in rows)
    assert len({(row["customer_id"], row["occasion"]) for row in rows}) == len(rows)
    if trigger.once_a_guest(chosen):
        assert len({row["customer_id"] for row in rows}) == len(rows)
    return {reference.Due(**row) for row in rows}


def agree(kind, organization, now, expected, customers, **parameters):
    """Query and double find the same, for everybody and for the subjects of an event."""
    name = "rise" if parameters.get("period") == "rise" else kind
    tally[name, bool(expected)] += 1
    assert found_by(kind, organization, now, **parameters) == set(expected)
    some = [customer.pk for customer in customers[:1]]
    assert found_by(kind, organization, now, some, **parameters) == {
        due for due in expected if due.customer_id in some
    }
    assert found_by(kind, organization, now, [], **parameters) == set()


class TriggersAgreeWithTheirDoubles(TestCase):
    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for kind in {kind for kind, _ in tally}:
            assert tally[kind, True] > 0.1 * tally[kind, False], f"{kind}: hardly anybody was due"

    @given(st.data(), worlds.moments)
    @EXAMPLES
    def test_inactive(self, data, now):
        organization, venues = worlds.make_organization(data.draw)
        customers = worlds.make_customers(organization)
        visits = []
        if venues:
            visits = worlds.make_visits(data.draw, organization, venues, customers, now)
            self.somebody_elses(data, now)
        days = data.draw(st.sampled_from((1, 2, 5, 30)))
        parameters = {
            "days": days,
            "min_visits": data.draw(st.integers(1, 3)),
            "max_days": days + data.draw(st.sampled_from((60, 60, 3, 1, 0))),
            "repeat_days": data.draw(st.sampled_from((None, 1, 2, 7))),
        }
        expected = reference.inactive(customers, visits, venues, now, **parameters)
        agree("inactive", organization, now, expected, customers, **parameters)

    @given(st.data(), worlds.moments, st.sampled_from((0, 1, 7, 60)))
    @EXAMPLES
    def test_birthday(self, data, now, lead):
        organization, venues = worlds.make_organization(data.draw)
        days = st.one_of(
            st.integers(-70, 70).map(lambda shift: now + worlds.timedelta(days=shift)),
            st.integers(-8, 8).map(lambda shift: now + worlds.timedelta(days=shift)),
        ).map(lambda day: (day.month, day.day))
        # The last two do not exist: a damaged row must not stop the run.
        special = st.sampled_from(((2, 29), (2, 28), (3, 1), (1, 1), (None, None), (2, 31), (1, 0)))
        customers = []
        for _ in range(4):
            month, day = data.draw(st.one_of(days, special))
            customers += worlds.make_customers(organization, 1, birth_month=month, birth_day=day)
        zone = venues[0].timezone if venues else organization.timezone
        expected = reference.birthday(customers, venues, zone, now, lead_days=lead)
        agree("birthday", organization, now, expected, customers, lead_days=lead)

    @given(st.data(), worlds.moments, st.sampled_from(("month", "quarter", "year")))
    @EXAMPLES
    def test_vip_reward_in_a_period(self, data, now, period):
        organization, venues = worlds.make_organization(data.draw)
        customers = []
        for _ in range(3):
            tier = data.draw(st.sampled_from(("", *worlds.TIERS)))
            customers += worlds.make_customers(organization, 1, tier=tier)
        zone = venues[0].timezone if venues else organization.timezone
        tiers = data.draw(st.lists(st.sampled_from(worlds.TIERS), min_size=1, unique=True))
        expected = reference.vip_period(customers, venues, zone, now, tiers=tiers, period=period)
        agree("vip_reward", organization, now, expected, customers, tiers=tiers, period=period)

    @given(st.data(), worlds.moments)
    @EXAMPLES
    def test_vip_reward_on_the_rise(self, data, now):
        organization, venues = worlds.make_organization(data.draw)
        customers = worlds.make_customers(organization)
        changes = worlds.make_tier_changes(data.draw, customers, now)
        zone = venues[0].timezone if venues else organization.timezone
        tiers = data.draw(st.lists(st.sampled_from(worlds.TIERS), min_size=1, unique=True))
        expected = reference.vip_rise(customers, changes, venues, zone, now, tiers=tiers)
        agree("vip_reward", organization, now, expected, customers, tiers=tiers, period="rise")

    @given(st.data(), worlds.moments)
    @EXAMPLES
    def test_post_visit(self, data, now):
        organization, venues = worlds.make_organization(data.draw)
        customers = worlds.make_customers(organization)
        visits = []
        if venues:
            visits = worlds.make_visits(data.draw, organization, venues, customers, now)
            self.somebody_elses(data, now)
        parameters = {
            "delay_hours": data.draw(st.sampled_from((0, 2, 24, 48))),
            "max_late_hours": data.draw(st.sampled_from((1, 24, 72))),
        }
        expected = reference.post_visit(visits, now, **parameters)
        agree("post_visit", organization, now, expected, customers, **parameters)

    @given(st.data(), worlds.moments, st.sampled_from((1, 24, 48)))
    @EXAMPLES
    def test_reservation_confirmation(self, data, now, late):
        organization, venues = worlds.make_organization(data.draw)
        customers = worlds.make_customers(organization)
        bookings = []
        if venues:
            bookings = worlds.make_reservations(data.draw, organization, venues, customers, now)
        expected = reference.reservation_confirmation(bookings, now, max_late_hours=late)
        agree("reservation_confirmation", organization, now, expected, customers, max_late_hours=late)
        booked = guests_who_booked(organization, now).values_list("customer_id", flat=True)
        assert set(booked) == reference.promised(bookings, now)

    def somebody_elses(self, data, now):
        """Another tenant with the same life: nothing of it may show."""
        organization, venues = worlds.make_organization(data.draw)
        if venues:
            customers = worlds.make_customers(organization, 1)
            worlds.make_visits(data.draw, organization, venues, customers, now)
