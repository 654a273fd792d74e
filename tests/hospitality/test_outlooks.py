"""What a trigger says of one guest: the facts, and a next date that the query keeps to the second."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from regulars.automations import triggers
from regulars.lib.clock import local_date

from . import worlds

EXAMPLES = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SECOND = timedelta(seconds=1)
LATER = [timedelta(days=days) for days in (1, 3, 10, 40, 100)]


def kept(kind, organization, now, customers, **given):
    """`next_at` is when a further occasion falls due, and nothing falls due before it."""
    trigger = triggers.get(kind)
    parameters = trigger.parameters(**given)

    def fresh(moment, customer):
        rows = trigger.due(organization, parameters, moment, [customer.pk])
        return {row[2] for row in rows if row[2] > now}

    for customer in customers:
        outlook = trigger.outlook(organization, parameters, now, customer.pk)
        assert outlook.evidence
        for fact in outlook.evidence:
            assert fact.text("Europe/Madrid", show_addresses=True)
        if outlook.next_at is None:
            assert not any(fresh(now + later, customer) for later in LATER)
            continue
        assert outlook.next_at > now
        assert fresh(outlook.next_at, customer) == {outlook.next_at}
        assert not fresh(outlook.next_at - SECOND, customer)
        assert not any(fresh(now + later, customer) for later in LATER if now + later < outlook.next_at)


@pytest.mark.slow
class TheNextDateIsKept(TestCase):
    @given(st.data(), worlds.moments, st.sampled_from((None, 1, 2, 7)))
    @EXAMPLES
    def test_inactive(self, data, now, repeat):
        organization, venues = worlds.make_organization(data.draw)
        customers = worlds.make_customers(organization)
        if venues:
            worlds.make_visits(data.draw, organization, venues, customers, now)
        days = data.draw(st.sampled_from((1, 2, 5, 30)))
        longest = days + data.draw(st.sampled_from((60, 3, 0)))
        bounds = {"days": days, "min_visits": 2, "max_days": longest, "repeat_days": repeat}
        kept("inactive", organization, now, customers, **bounds)

    @given(st.data(), worlds.moments, st.sampled_from((0, 1, 7, 60)))
    @EXAMPLES
    def test_birthday(self, data, now, lead):
        organization, _ = worlds.make_organization(data.draw)
        near = st.integers(-70, 70).map(lambda shift: now + timedelta(days=shift))
        days = near.map(lambda day: (day.month, day.day))
        special = st.sampled_from(((2, 29), (2, 28), (3, 1), (1, 1), (None, None), (2, 31), (1, 0)))
        month, day = data.draw(st.one_of(days, special))
        customers = worlds.make_customers(organization, 1, birth_month=month, birth_day=day)
        kept("birthday", organization, now, customers, lead_days=lead)

    @given(st.data(), worlds.moments, st.sampled_from(("month", "quarter", "year")))
    @EXAMPLES
    def test_vip_reward_in_a_period(self, data, now, period):
        organization, _ = worlds.make_organization(data.draw)
        tier = data.draw(st.sampled_from(("", *worlds.TIERS)))
        customers = worlds.make_customers(organization, 1, tier=tier)
        kept("vip_reward", organization, now, customers, tiers=list(worlds.TIERS[:2]), period=period)

    @given(st.data(), worlds.moments)
    @EXAMPLES
    def test_vip_reward_on_the_rise(self, data, now):
        organization, _ = worlds.make_organization(data.draw)
        customers = worlds.make_customers(organization)
        worlds.make_tier_changes(data.draw, customers, now)
        kept("vip_reward", organization, now, customers, tiers=list(worlds.TIERS), period="rise")

    @given(st.data(), worlds.moments, st.sampled_from((0, 2, 24, 48)))
    @EXAMPLES
    def test_post_visit(self, data, now, delay):
        organization, venues = worlds.make_organization(data.draw)
        customers = worlds.make_customers(organization)
        if venues:
            worlds.make_visits(data.draw, organization, venues, customers, now)
        kept("post_visit", organization, now, customers, delay_hours=delay, max_late_hours=24)

    @given(st.data(), worlds.moments)
    @EXAMPLES
    def test_reservation_confirmation(self, data, now):
        organization, venues = worlds.make_organization(data.draw)
        customers = worlds.make_customers(organization)
        if venues:
            worlds.make_reservations(data.draw, organization, venues, customers, now)
        kept("reservation_confirmation", organization, now, customers, max_late_hours=24)


def told(kind, customer, now, **given):
    trigger = triggers.get(kind)
    found = trigger.outlook(customer.organization, trigger.parameters(**given), now, customer.pk)
    return [fact.text("Europe/Madrid", show_addresses=True) for fact in found.evidence], found.next_at


def test_a_guest_who_came_lately_is_told_when_it_is_missed(make_customer, organization, venue, now):
    from regulars.hospitality.models import Visit

    guest = make_customer()
    for days in (30, 43):
        at = now - timedelta(days=days)
        Visit.objects.create(
            organization=organization,
            customer=guest,
            venue=venue,
            visited_at=at,
            service_date=local_date(at, venue.timezone, 5),
        )
    lines, coming = told("inactive", guest, now, days=60)
    assert lines == [
        "The last visit was on 16 May 2026, at Casa Pepe Centro.",
        "Visits so far: 2. At least 2 are asked for.",
        "It is due from 15 July 2026.",
        "It is too late from 17 May 2027.",
    ]
    assert coming.isoformat() == "2026-07-15T03:00:00+00:00"


def test_a_birthday_says_its_day_and_the_day_it_is_due(make_customer, venue, now):
    guest = make_customer(birth_month=8, birth_day=12)
    lines, coming = told("birthday", guest, now, lead_days=7)
    assert lines == ["The birthday is on 12 August 2026.", "It is due from 5 August 2026."]
    assert coming.isoformat() == "2026-08-04T22:00:00+00:00"
    assert told("birthday", make_customer(), now)[0] == ["The birthday is not known."]


def test_a_booking_that_nobody_knows_to_be_confirmed_says_so(make_customer, organization, venue, now):
    from regulars.hospitality.models import Reservation

    guest = make_customer()
    Reservation.objects.create(
        organization=organization, customer=guest, venue=venue, starts_at=now + timedelta(days=2)
    )
    lines, coming = told("reservation_confirmation", guest, now)
    assert lines == [
        "There is a booking for 17 June 2026, 14:00, at Casa Pepe Centro (confirmed).",
        "When it was confirmed is not known, so it is never due.",
    ]
    assert coming is None
