"""When marketing keeps silent: over zones, midnight, clock changes, and in France."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.hospitality.worlds import TRICKY, ZONES

from regulars.automations.quiet_hours import (
    LONGEST,
    MARGIN,
    QuietHours,
    country_of,
    easter_sunday,
    french_holidays,
    held_until,
    is_quiet,
    release,
)


def hours(starts, ends):
    return QuietHours.model_validate({"from": starts, "until": ends})


NIGHT = hours("21:00", "10:00")
SIESTA = hours("14:00", "17:00")


def local(zone, *moment):
    return datetime(*moment, tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("window", "zone", "now", "leaves"),
    [
        (NIGHT, "Europe/Madrid", (2026, 6, 15, 20, 59), None),
        (NIGHT, "Europe/Madrid", (2026, 6, 15, 21, 0), (2026, 6, 16, 10, 0)),
        (NIGHT, "Europe/Madrid", (2026, 6, 16, 0, 0), (2026, 6, 16, 10, 0)),
        (NIGHT, "Europe/Madrid", (2026, 6, 16, 9, 59), (2026, 6, 16, 10, 0)),
        (NIGHT, "Europe/Madrid", (2026, 6, 16, 10, 0), None),
        (NIGHT, "Pacific/Kiritimati", (2026, 12, 31, 23, 30), (2027, 1, 1, 10, 0)),
        (NIGHT, "America/New_York", (2026, 6, 15, 23, 0), (2026, 6, 16, 10, 0)),
        (SIESTA, "Europe/Madrid", (2026, 6, 15, 15, 0), (2026, 6, 15, 17, 0)),
        (SIESTA, "Europe/Madrid", (2026, 6, 15, 17, 0), None),
        (None, "Europe/Madrid", (2026, 6, 15, 3, 0), None),
        # The night of a clock change is an hour shorter or longer; ten o'clock stays ten o'clock.
        (NIGHT, "Europe/Madrid", (2026, 3, 28, 22, 0), (2026, 3, 29, 10, 0)),
        (NIGHT, "Europe/Madrid", (2026, 10, 24, 22, 0), (2026, 10, 25, 10, 0)),
        # An end that the clock jumps over is the moment of the jump.
        (hours("22:00", "02:30"), "Europe/Madrid", (2026, 3, 28, 23, 0), (2026, 3, 29, 3, 0)),
    ],
)
def test_a_window_ends_when_the_guests_clock_says_so(window, zone, now, leaves):
    moment = local(zone, *now)
    expected = local(zone, *leaves) if leaves else moment
    assert release(moment, ZoneInfo(zone), window) == expected


def test_an_end_that_the_clock_shows_twice_comes_with_the_first():
    madrid = ZoneInfo("Europe/Madrid")
    window = hours("22:00", "02:30")
    assert release(local("Europe/Madrid", 2026, 10, 24, 23), madrid, window) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )
    # In the second two o'clock the night is here again, until half past.
    again = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert release(again, madrid, window) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_nothing_is_started_in_the_last_minute_before_silence():
    madrid = ZoneInfo("Europe/Madrid")
    before = local("Europe/Madrid", 2026, 6, 15, 21) - MARGIN
    assert held_until(before - timedelta(seconds=1), madrid, NIGHT) is None
    assert held_until(before, madrid, NIGHT) == local("Europe/Madrid", 2026, 6, 16, 10)


@pytest.mark.parametrize("ends", [("10:00", "10:00"), ("10:00:30", "11:00"), ("25:00", "11:00")])
def test_a_window_that_says_nothing_clear_is_refused(ends):
    with pytest.raises(ValidationError):
        hours(*ends)


class TestFrance:
    paris = ZoneInfo("Europe/Paris")

    @pytest.mark.parametrize(
        ("now", "leaves"),
        [
            ((2026, 6, 15, 21, 59), None),
            ((2026, 6, 15, 22, 0), (2026, 6, 16, 8, 0)),
            # Saturday night: over the Sunday.
            ((2026, 6, 20, 22, 30), (2026, 6, 22, 8, 0)),
            ((2026, 6, 21, 12, 0), (2026, 6, 22, 8, 0)),
            # Easter Sunday and Monday.
            ((2026, 4, 5, 12, 0), (2026, 4, 7, 8, 0)),
            # Ascension, Bastille Day, and Christmas Day on a Friday.
            ((2026, 5, 14, 12, 0), (2026, 5, 15, 8, 0)),
            ((2026, 7, 14, 12, 0), (2026, 7, 15, 8, 0)),
            ((2026, 12, 25, 12, 0), (2026, 12, 26, 8, 0)),
        ],
    )
    def test_no_sms_by_night_on_sundays_and_on_holidays(self, now, leaves):
        moment = local("Europe/Paris", *now)
        expected = local("Europe/Paris", *leaves) if leaves else moment
        assert release(moment, self.paris, None, "FR") == expected

    def test_the_stricter_of_wish_and_law_holds(self):
        assert release(local("Europe/Paris", 2026, 6, 15, 21, 30), self.paris, NIGHT, "FR") == local(
            "Europe/Paris", 2026, 6, 16, 10
        )
        assert is_quiet(local("Europe/Paris", 2026, 6, 21, 12), self.paris, NIGHT, "FR")

    def test_silences_without_a_gap_are_not_followed_for_ever(self):
        moment = local("Europe/Paris", 2026, 6, 15, 12)
        assert release(moment, self.paris, hours("08:00", "22:00"), "FR") >= moment + LONGEST

    @pytest.mark.parametrize(
        ("channel", "address", "country"),
        [
            ("sms", "+33123456789", "FR"),
            ("email", "marie@example.com", ""),
            ("whatsapp", "+33123456789", ""),
            ("sms", "+34600000000", ""),
        ],
    )
    def test_the_number_tells_the_country(self, channel, address, country):
        assert country_of(channel, address) == country

    def test_easter_moves_three_holidays(self):
        assert [easter_sunday(year) for year in (2024, 2025, 2026, 2038)] == [
            date(2024, 3, 31), date(2025, 4, 20), date(2026, 4, 5), date(2038, 4, 25)
        ]  # fmt: skip
        assert {date(2026, 4, 6), date(2026, 5, 14), date(2026, 5, 25)} <= french_holidays(2026)


windows = st.builds(
    lambda starts, ends: (
        hours(
            time(starts // 4, starts % 4 * 15).isoformat("minutes"),
            time(ends // 4, ends % 4 * 15).isoformat("minutes"),
        )
        if starts != ends
        else None
    ),
    st.integers(0, 95),
    st.integers(0, 95),
)


@given(
    day=st.sampled_from(TRICKY),
    minutes=st.integers(-14 * 60, 38 * 60),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    window=windows,
    country=st.sampled_from(["", "FR"]),
)
def test_a_release_is_the_first_moment_that_is_not_quiet(day, minutes, zone, window, country):
    moment = datetime(*day, tzinfo=UTC) + timedelta(minutes=minutes)
    found = release(moment, zone, window, country)
    if found >= moment + LONGEST:
        return
    assert not is_quiet(found, zone, window, country)
    step = moment
    while step < found:
        assert is_quiet(step, zone, window, country)
        step += timedelta(minutes=15)
    assert found == moment or is_quiet(found - timedelta(minutes=1), zone, window, country)
