"""When a schedule is due: tables over zones whose clocks jump, and what must hold everywhere."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from regulars.automations import schedule as schedules
from regulars.automations.schedule import Schedule, last_slot_before, newest_slot, next_slot, next_slots

# Whole hours, half an hour, midnight itself, no summer time, a day that was left out, quarters.
ZONES = (
    "Europe/Madrid",
    "Europe/Dublin",
    "Atlantic/Canary",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "UTC",
)


def daily(*times, **more):
    return Schedule(times=list(times), **more)


def on_the_wall(schedule, zone, since, days=1):
    """The slots of so many days after `since` (a moment on the wall), as the wall shows them."""
    start = datetime.fromisoformat(since).replace(tzinfo=ZoneInfo(zone))
    found, now = [], start.astimezone(UTC)
    while (now := next_slot(schedule, zone, now)) <= start.astimezone(UTC) + timedelta(days=days):
        found.append(now.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("zone", "time", "since", "slot"),
    [
        # The clock jumps over the time: the first minute that exists.
        ("Europe/Madrid", "02:30", "2026-03-28T12:00", "2026-03-29T03:00+02:00"),
        ("Europe/Madrid", "02:00", "2026-03-28T12:00", "2026-03-29T03:00+02:00"),
        ("Europe/Madrid", "03:00", "2026-03-28T12:00", "2026-03-29T03:00+02:00"),
        ("Europe/Dublin", "01:59", "2026-03-28T12:00", "2026-03-29T02:00+01:00"),
        ("Atlantic/Canary", "01:15", "2026-03-28T12:00", "2026-03-29T02:00+01:00"),
        ("America/New_York", "02:30", "2026-03-07T12:00", "2026-03-08T03:00-04:00"),
        ("Australia/Lord_Howe", "02:15", "2026-10-03T12:00", "2026-10-04T02:30+11:00"),
        ("America/Sao_Paulo", "00:30", "2018-11-03T12:00", "2018-11-04T01:00-02:00"),
        ("America/Sao_Paulo", "00:00", "2018-11-03T12:00", "2018-11-04T01:00-02:00"),
        ("Pacific/Chatham", "02:45", "2026-09-26T12:00", "2026-09-27T03:45+13:45"),
        # The clock shows the time twice: the first of them.
        ("Europe/Madrid", "02:30", "2026-10-24T12:00", "2026-10-25T02:30+02:00"),
        ("Europe/Dublin", "01:30", "2026-10-24T12:00", "2026-10-25T01:30+01:00"),
        ("America/New_York", "01:00", "2026-10-31T12:00", "2026-11-01T01:00-04:00"),
        ("Australia/Lord_Howe", "01:45", "2026-04-04T12:00", "2026-04-05T01:45+11:00"),
        ("America/Sao_Paulo", "23:30", "2018-02-17T12:00", "2018-02-17T23:30-02:00"),
        ("Africa/Casablanca", "02:30", "2026-02-14T12:00", "2026-02-15T02:30+01:00"),
        # Around it all is as on other days.
        ("Europe/Madrid", "10:00", "2026-03-28T12:00", "2026-03-29T10:00+02:00"),
        ("Europe/Madrid", "10:00", "2026-10-24T12:00", "2026-10-25T10:00+01:00"),
        ("Asia/Kathmandu", "10:00", "2026-03-28T12:00", "2026-03-29T10:00+05:45"),
    ],
)
def test_a_time_that_the_clock_skips_or_repeats_is_one_slot(zone, time, since, slot):
    hour, minute = time.split(":")
    for schedule in (daily(time), Schedule(cron=f"{int(minute)} {int(hour)} * * *")):
        assert on_the_wall(schedule, zone, since) == [slot]


def test_a_day_that_was_left_out_moves_to_the_next_minute_that_was():
    """Samoa went from 29 to 31 December 2011."""
    assert on_the_wall(daily("10:00"), "Pacific/Apia", "2011-12-28T12:00", days=3) == [
        "2011-12-29T10:00-10:00",
        "2011-12-31T00:00+14:00",
        "2011-12-31T10:00+14:00",
        "2012-01-01T10:00+14:00",
    ]


def test_several_skipped_times_are_one_slot():
    schedule = daily("02:00", "02:30", "03:00", "03:30")
    assert on_the_wall(schedule, "Europe/Madrid", "2026-03-29T00:00") == [
        "2026-03-29T03:00+02:00",
        "2026-03-29T03:30+02:00",
    ]


def test_every_half_hour_is_quiet_while_the_clock_repeats_itself():
    found = on_the_wall(Schedule(cron="*/30 * * * *"), "Europe/Madrid", "2026-10-25T01:00", days=0.17)
    assert found == [
        "2026-10-25T01:30+02:00",
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-25T03:00+01:00",
        "2026-10-25T03:30+01:00",
        "2026-10-25T04:00+01:00",
    ]


def test_within_the_hour_that_is_repeated_the_newest_slot_is_that_of_the_first_time():
    schedule = daily("02:15", "02:45")
    second_time = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Madrid"))
    slot = newest_slot(schedule, "Europe/Madrid", second_time.astimezone(UTC))
    assert slot == datetime(2026, 10, 25, 0, 45, tzinfo=UTC)


def test_weekdays_are_those_of_the_wall():
    schedule = daily("00:30", weekdays=["mon"])
    # Monday there, Sunday in UTC.
    assert next_slot(schedule, "Asia/Kathmandu", datetime(2026, 6, 11, tzinfo=UTC)) == datetime(
        2026, 6, 14, 18, 45, tzinfo=UTC
    )


def test_a_schedule_of_its_own_zone_is_shown_on_that_clock():
    schedule = daily("10:00", timezone="Atlantic/Canary")
    found = next_slots(schedule, "Europe/Madrid", datetime(2026, 6, 15, tzinfo=UTC), 2)
    assert [slot.isoformat() for slot in found] == ["2026-06-15T10:00:00+01:00", "2026-06-16T10:00:00+01:00"]


def test_as_it_happens_looks_every_minute():
    schedule = Schedule(as_it_happens=True)
    now = datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC)
    assert next_slot(schedule, "Europe/Madrid", now) == datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
    assert newest_slot(schedule, "Europe/Madrid", now) == datetime(2026, 10, 25, 0, 59, tzinfo=UTC)


def test_a_leap_day_comes_though_not_soon():
    found = next_slot(Schedule(cron="0 10 29 2 *"), "Europe/Madrid", datetime(2026, 6, 15, tzinfo=UTC))
    assert found == datetime(2028, 2, 29, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, schedules.NOT_ONE_KIND),
        ({"times": ["10:00"], "cron": "0 10 * * *"}, schedules.NOT_ONE_KIND),
        ({"cron": "0 10 * * *", "weekdays": ["mon"]}, schedules.WEEKDAYS_ALONE),
        ({"as_it_happens": True, "max_late_hours": 3}, schedules.LATE_HAS_NO_MEANING),
        ({"times": ["10:00"], "timezone": "Europe/Atlantis"}, schedules.NO_SUCH_ZONE),
        ({"cron": "0 10 * *"}, schedules.NO_CRON),
        ({"cron": "0 0 10 * * *"}, schedules.NO_CRON),
        ({"cron": "61 10 * * *"}, schedules.NO_CRON),
        ({"cron": "@daily"}, schedules.NO_CRON),
        ({"cron": "0 10 30 2 *"}, schedules.NO_CRON),
        ({"times": []}, "at least 1"),
        ({"times": ["24:00"]}, "pattern"),
        ({"times": ["9:00"]}, "pattern"),
        ({"times": ["10:00"], "weekdays": ["monday"]}, "'mon'"),
        ({"times": ["10:00"], "day": "mon"}, "Extra"),
        ({"times": ["10:00"], "max_late_hours": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_no_schedule_is_refused_with_words(given, words):
    with pytest.raises(ValidationError) as refused:
        Schedule.model_validate(given)
    assert words in str(refused.value)


def test_times_and_days_are_kept_in_order_and_once():
    schedule = daily("18:30", "10:00", "18:30", weekdays=["sun", "mon", "sun"])
    assert schedule.model_dump(exclude_none=True) == {"times": ["10:00", "18:30"], "weekdays": ["mon", "sun"]}


MOMENTS = st.datetimes(datetime(2009, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))
TIMES = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda at: f"{at[0]:02}:{at[1]:02}")
SCHEDULES = st.one_of(
    st.lists(TIMES, min_size=1, max_size=4).map(lambda times: daily(*times)),
    st.tuples(TIMES, st.lists(st.sampled_from(schedules.WEEKDAYS), min_size=1, unique=True)).map(
        lambda pair: daily(pair[0], weekdays=pair[1])
    ),
    st.sampled_from(["*/20 * * * *", "5 */3 * * *", "0 0 1 * *", "30 2 * * 0", "0 10 L * *"]).map(
        lambda cron: Schedule(cron=cron)
    ),
    st.just(Schedule(as_it_happens=True)),
)


@settings(max_examples=200, deadline=None)
@given(schedule=SCHEDULES, zone=st.sampled_from(ZONES), now=MOMENTS)
@example(Schedule(cron="30 2 * * 0"), "Australia/Lord_Howe", datetime(2009, 9, 20, tzinfo=UTC))
def test_slots_come_in_order_and_the_two_directions_agree(schedule, zone, now):
    # In UTC: a second before 02:30 there may be a time that no clock shows.
    first, second = (slot.astimezone(UTC) for slot in next_slots(schedule, zone, now, 2))
    assert now < first < second
    assert next_slot(schedule, zone, first - timedelta(microseconds=1)) == first
    assert newest_slot(schedule, zone, first) == first
    assert newest_slot(schedule, zone, second - timedelta(seconds=1)) == first
    assert last_slot_before(schedule, zone, second) == first
    newest = newest_slot(schedule, zone, now)
    assert newest <= now
    assert next_slot(schedule, zone, newest) == first


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from([zone for zone in ZONES if zone != "Pacific/Apia"]),
    time=TIMES,
    day=st.dates(date(2009, 1, 1), date(2036, 12, 1)),
)
def test_a_daily_time_is_one_slot_on_each_day(zone, time, day):
    """And never before its time, nor later than the next minute that the clock shows."""
    schedule, there = daily(time), ZoneInfo(zone)
    now = datetime.combine(day, datetime.min.time(), there).astimezone(UTC) - timedelta(microseconds=1)
    for slot in next_slots(schedule, zone, now, 400):
        assert slot.date() == day
        assert slot.strftime("%H:%M") >= time
        if slot.strftime("%H:%M") != time:
            minute_before = (slot.astimezone(UTC) - timedelta(minutes=1)).astimezone(there)
            assert minute_before.strftime("%Y-%m-%d %H:%M") < f"{day} {time}"
        day += timedelta(days=1)
