"""The named edge cases E1 to E20 (and E46, E48) that are the triggers' business, one by one."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from regulars.automations import triggers
from regulars.customers.models import TierChange
from regulars.hospitality import calendar
from regulars.hospitality.models import Reservation, Venue, Visit
from regulars.hospitality.triggers.birthday import COOLDOWN_DAYS, MOST_LEAD_DAYS
from regulars.hospitality.triggers.vip_reward import COOLDOWN_DAYS as VIP_COOLDOWN_DAYS
from regulars.lib.clock import local_date

pytestmark = pytest.mark.django_db
MADRID = ZoneInfo("Europe/Madrid")


def madrid(*parts):
    return datetime(*parts, tzinfo=MADRID).astimezone(UTC)


@pytest.fixture
def due(organization):
    """The due rows of a trigger, as dictionaries."""

    def find(kind, now, **parameters):
        trigger = triggers.get(kind)
        rows = trigger.due(organization, trigger.parameters(**parameters), now)
        return [dict(zip(triggers.DUE_COLUMNS, row, strict=True)) for row in rows]

    return find


@pytest.fixture
def visit(organization, venue):
    def make(customer, at, **fields):
        place = fields.pop("venue", venue)
        return Visit.objects.create(
            organization=organization,
            customer=customer,
            venue=place,
            visited_at=at,
            service_date=local_date(at, place.timezone, place.day_starts_at_hour),
            **fields,
        )

    return make


@pytest.fixture
def booking(organization, venue):
    def make(customer, starts_at, **fields):
        return Reservation.objects.create(
            organization=organization, customer=customer, venue=venue, starts_at=starts_at, **fields
        )

    return make


@pytest.mark.parametrize(
    ("year", "kept"),
    [
        (2027, date(2027, 2, 28)),  # E1: a common year keeps 29 February on the 28th
        (2028, date(2028, 2, 29)),  # a leap year on its own day
        (2100, date(2100, 2, 28)),  # a century is no leap year
    ],
)
def test_a_leap_day_birthday_is_kept(due, make_customer, year, kept):
    make_customer(birth_month=2, birth_day=29)
    eve = madrid(kept.year, kept.month, kept.day, 12) - timedelta(days=7)
    # The observed day first, then the lead: due seven days before, not eight.
    assert not due("birthday", eve - timedelta(days=1))
    (row,) = due("birthday", eve)
    assert row["occasion"] == f"birthday:{year}"
    assert row["expires_at"] == madrid(kept.year, kept.month, kept.day) + timedelta(days=1)


def test_e2_a_lead_across_the_year_end_carries_the_year_of_the_birthday(due, make_customer):
    make_customer(birth_month=1, birth_day=3)
    (row,) = due("birthday", madrid(2026, 12, 27, 9))
    assert row["occasion"] == "birthday:2027"
    assert row["due_at"] == madrid(2026, 12, 27)


def test_e3_a_missed_birthday_is_returned_as_expired_and_then_no_more(due, make_customer):
    make_customer(birth_month=6, birth_day=10)
    (row,) = due("birthday", madrid(2026, 6, 17, 9))
    assert row["expires_at"] == madrid(2026, 6, 11)
    assert not due("birthday", madrid(2026, 6, 18, 9))


def test_e3_a_greeting_on_the_day_is_listed_as_expired_for_one_day(due, make_customer):
    make_customer(birth_month=6, birth_day=10)
    assert due("birthday", madrid(2026, 6, 11, 9), lead_days=0)
    assert not due("birthday", madrid(2026, 6, 12, 9), lead_days=0)


def test_e3_a_late_run_still_congratulates_on_the_day_itself(due, make_customer):
    make_customer(birth_month=6, birth_day=10)
    now = madrid(2026, 6, 10, 23, 59)
    (row,) = due("birthday", now)
    assert row["expires_at"] > now


def test_e4_a_birthday_needs_no_year(due, make_customer):
    make_customer(birth_month=6, birth_day=20, birth_year=None)
    assert len(due("birthday", madrid(2026, 6, 15, 9))) == 1


def test_e5_an_absent_birthday_is_nobodys_birthday(due, make_customer):
    make_customer()
    assert not due("birthday", madrid(2026, 1, 1, 9))


def test_e6_today_is_the_venues_day_not_the_servers(due, make_customer, venue):
    Venue.objects.filter(pk=venue.pk).update(timezone="Pacific/Kiritimati")
    make_customer(birth_month=6, birth_day=16)
    # Noon UTC on the 15th is 02:00 on the 16th at UTC+14.
    (row,) = due("birthday", datetime(2026, 6, 15, 12, tzinfo=UTC), lead_days=0)
    assert row["due_at"] == datetime(2026, 6, 15, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (madrid(2026, 8, 12, 4, 59), 0),  # E8: before the cut-off it is still the 59th service day
        (madrid(2026, 8, 12, 5, 0), 1),  # E7: dates count, not 24-hour blocks since 22:00
    ],
)
def test_e7_inactive_counts_service_days(due, make_customer, visit, now, found):
    customer = make_customer()
    visit(customer, madrid(2026, 5, 1, 22))
    visit(customer, madrid(2026, 6, 13, 22))
    assert len(due("inactive", now)) == found


def test_e8_a_bill_closed_after_midnight_belongs_to_the_evening_before(due, make_customer, visit):
    customer = make_customer()
    visit(customer, madrid(2026, 5, 1, 22))
    visit(customer, madrid(2026, 6, 14, 0, 40))
    (row,) = due("inactive", madrid(2026, 8, 12, 9))
    assert row["occasion"] == "lapse:2026-06-13"


@pytest.mark.parametrize(
    ("day", "zone", "hour", "start"),
    [
        # E9: spring in Madrid, the clock jumps from 02:00 to 03:00.
        (date(2026, 3, 29), "Europe/Madrid", 0, datetime(2026, 3, 28, 23, tzinfo=UTC)),
        (date(2026, 3, 29), "Europe/Madrid", 2, datetime(2026, 3, 29, 1, tzinfo=UTC)),
        (date(2026, 3, 30), "Europe/Madrid", 0, datetime(2026, 3, 29, 22, tzinfo=UTC)),
        # Autumn: 02:00 comes twice, the day starts with the first.
        (date(2026, 10, 25), "Europe/Madrid", 2, datetime(2026, 10, 25, 0, tzinfo=UTC)),
        # Chatham jumps from 02:45 to 03:45: a day that starts at 03:00 starts with the jump.
        (date(2026, 9, 27), "Pacific/Chatham", 3, datetime(2026, 9, 26, 14, tzinfo=UTC)),
        # Lord Howe moves by half an hour.
        (date(2026, 10, 4), "Australia/Lord_Howe", 2, datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ],
)
def test_e9_a_day_starts_at_one_moment_whatever_the_clock_does(day, zone, hour, start):
    assert calendar.day_start(day, zone, hour) == start
    assert local_date(start, zone, hour) == day
    assert local_date(start - timedelta(seconds=1), zone, hour) < day


def test_e9_the_days_of_ten_years_start_where_each_does_alone():
    first, last = date(2020, 3, 29), date(2030, 3, 30)
    stretches = calendar._stretches(first, last, "Europe/Madrid", 2)
    assert stretches[0][0] == first
    for day in calendar.days_between(first, last):
        shift = next(shift for since, shift in reversed(stretches) if since <= day)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        assert midnight + shift == calendar.day_start(day, "Europe/Madrid", 2)


def test_e9_a_birthday_on_the_day_of_the_clock_change_ends_with_that_day(due, make_customer):
    make_customer(birth_month=10, birth_day=25)
    (row,) = due("birthday", madrid(2026, 10, 25, 9), lead_days=0)
    # 25 hours long.
    assert row["expires_at"] - row["due_at"] == timedelta(hours=25)


def test_e12_a_changed_booking_is_confirmed_once(due, make_customer, booking, now):
    made = booking(make_customer(), now + timedelta(days=2), confirmed_at=now)
    (before,) = due("reservation_confirmation", now)
    Reservation.objects.filter(pk=made.pk).update(revision=1, party_size=6, starts_at=now + timedelta(days=3))
    (after,) = due("reservation_confirmation", now)
    assert before["occasion"] == after["occasion"] == f"reservation:{made.pk}:confirmed"


@pytest.mark.parametrize("state", ["open", "voided"])
def test_e13_e14_only_a_completed_visit_is_thanked(due, make_customer, visit, now, state):
    visit(make_customer(), now - timedelta(hours=30), state=state)
    assert not due("post_visit", now)


@pytest.mark.parametrize(
    ("hours", "listed", "in_time"),
    [(24, True, True), (47, True, True), (97, True, False), (169, False, False)],
)
def test_e15_a_visit_synced_late_expires_with_a_record(
    due, make_customer, visit, now, hours, listed, in_time
):
    visit(make_customer(), now - timedelta(hours=hours))
    rows = due("post_visit", now)
    assert bool(rows) == listed
    assert any(row["expires_at"] > now for row in rows) == in_time


def test_e15_a_booking_imported_without_its_confirmation_is_not_confirmed(due, make_customer, booking, now):
    booking(make_customer(), now + timedelta(days=2), confirmed_at=None)
    assert not due("reservation_confirmation", now)


def test_e16_a_confirmation_never_outlives_the_booking(due, make_customer, booking, now):
    booking(make_customer(), now + timedelta(minutes=10), confirmed_at=now)
    (row,) = due("reservation_confirmation", now)
    assert row["expires_at"] == now + timedelta(minutes=10)


def test_e17_lunch_and_dinner_are_thanked_once_after_the_last(due, organization, make_customer, visit):
    other = Venue.objects.create(organization=organization, name="Playa", timezone="Europe/Madrid")
    customer = make_customer()
    visit(customer, madrid(2026, 6, 14, 15))
    dinner = visit(customer, madrid(2026, 6, 15, 0, 30), venue=other)
    (row,) = due("post_visit", madrid(2026, 6, 16, 12))
    assert row["occasion"] == f"visit:{dinner.pk}"


@pytest.mark.parametrize(
    ("status", "promised"),
    [("requested", 1), ("confirmed", 1), ("cancelled", 0), ("no_show", 0), ("completed", 0)],
)
def test_e19_only_a_booking_that_stands_is_a_promise(
    organization, make_customer, booking, now, status, promised
):
    booking(make_customer(), now + timedelta(days=1), status=status)
    (query,) = triggers.upcoming(organization, now)
    assert query.count() == promised


def test_e45_win_backs_are_one_family():
    assert triggers.get("inactive").family == "win_back"


def test_e46_tier_up_down_up_is_one_rise(due, make_customer, now):
    customer = make_customer(tier="Oro")
    for days, before, tier in ((100, "", "Oro"), (50, "Oro", ""), (5, "", "Oro")):
        TierChange.objects.create(
            customer=customer, tier_before=before, tier=tier, at=now - timedelta(days=days)
        )
    assert not due("vip_reward", now, tiers=["Oro"], period="rise")


def test_e46_a_fall_to_a_listed_tier_is_no_rise(due, make_customer, now):
    customer = make_customer(tier="Oro")
    TierChange.objects.create(customer=customer, tier_before="VIP", tier="Oro", at=now)
    assert not due("vip_reward", now, tiers=["Oro", "VIP"], period="rise")


def test_e48_the_default_cooldown_never_blocks_next_years_birthday():
    """From the last moment of one birthday to the first of the next message, whatever the lead."""
    for year in range(2026, 2035):
        for month, day in ((2, 28), (2, 29), (3, 1), (1, 1), (12, 31)):
            this = calendar.observed_birthday(year, month, day) + timedelta(days=1)
            following = calendar.observed_birthday(year + 1, month, day)
            assert (following - timedelta(days=MOST_LEAD_DAYS) - this).days > COOLDOWN_DAYS


def test_the_default_cooldown_never_blocks_a_monthly_reward():
    """A reward given at the very end of a month leaves days of the next one, February included."""
    for month in range(1, 25):
        day = date(2027 + (month - 1) // 12, (month - 1) % 12 + 1, 15)
        _, end = calendar.period_bounds(day, "month")
        assert end + timedelta(days=VIP_COOLDOWN_DAYS) < calendar.period_bounds(end, "month")[1]


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"status": "cancelled"}, False),  # E11
        ({"status": "no_show"}, False),
        ({"starts_at": datetime(2026, 6, 15, 11, tzinfo=UTC)}, False),
        ({"party_size": 9}, True),
    ],
)
def test_e11_a_confirmation_is_looked_at_once_more_before_it_leaves(
    make_customer, booking, now, change, valid
):
    made = booking(make_customer(), now + timedelta(days=1), confirmed_at=now)
    Reservation.objects.filter(pk=made.pk).update(**change)
    assert _still_valid("reservation_confirmation", made, now) == valid


def test_a_guest_who_came_again_is_no_longer_missed(make_customer, visit, now):
    customer = make_customer()
    last = visit(customer, now - timedelta(days=70))
    assert _still_valid("inactive", last, now)
    visit(customer, now - timedelta(hours=2))
    assert not _still_valid("inactive", last, now)


def test_a_voided_visit_is_not_thanked(make_customer, visit, now):
    made = visit(make_customer(), now - timedelta(days=1))
    assert _still_valid("post_visit", made, now)
    Visit.objects.filter(pk=made.pk).update(state="voided")
    assert not _still_valid("post_visit", made, now)


def _still_valid(kind, about, now):
    """The last look, as the engine compiles it: a condition over messages."""
    from uuid import uuid4

    from regulars.runs.models import Message

    message = Message.objects.create(
        organization_id=about.organization_id,
        run_id=uuid4(),
        chunk_number=1,
        automation_id=uuid4(),
        version_id=1,
        customer_id=about.customer_id,
        occasion=f"reservation:{about.pk}:confirmed",
        purpose="marketing",
        channel="email",
        account_id=1,
        address="guest@example.com",
        venue_id=about.venue_id,
        reference=about.pk,
        due_at=now,
        send_after=now,
        created_at=now,
        state_at=now,
    )
    return Message.objects.filter(triggers.get(kind).still_valid(now), pk=message.pk).exists()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("inactive", {"last_visit": {"date": "2026-06-14", "days": 1}}),
        ("birthday", {"birthday": {"date": "2027-02-28", "day": 28, "month": 2}}),
        ("vip_reward", {"vip": {"tier": "Oro"}}),
        (
            "post_visit",
            {"visit": {"id": 1, "date": "2026-06-14", "amount": "54.20", "currency": "EUR"}},
        ),
    ],
)
def test_templates_get_plain_local_values(make_customer, visit, now, kind, expected):
    customer = make_customer(tier="Oro", birth_month=2, birth_day=29)
    # 00:40 in Madrid on the 15th: the service day of the 14th.
    made = visit(customer, madrid(2026, 6, 15, 0, 40), amount="54.20", currency="EUR")
    reference = made.pk if kind in ("inactive", "post_visit") else customer.pk
    trigger = triggers.get(kind)
    (row,) = trigger.details([reference])
    values = trigger.present(row | {"now": now})
    if kind == "post_visit":
        values["visit"]["id"] = 1
    assert values == expected
    assert values.keys() == trigger.sample.keys() == trigger.variables.keys()


def test_a_booking_is_told_in_the_venues_time(make_customer, booking):
    made = booking(make_customer(), madrid(2026, 10, 25, 21, 30), party_size=4)
    trigger = triggers.get("reservation_confirmation")
    (row,) = trigger.details([made.pk])
    assert trigger.present(row)["reservation"] == {
        "id": made.pk,
        "date": "2026-10-25",
        "time": "21:30",
        "starts_at": "2026-10-25T21:30",
        "party_size": 4,
    }


def test_bounds_that_nobody_could_meet_are_refused():
    with pytest.raises(ValueError, match="max_days"):
        triggers.get("inactive").parameters(days=90, max_days=60)
    with pytest.raises(ValueError, match="name of its own"):
        triggers.get("vip_reward").parameters(tiers=["Oro", " Oro"])
