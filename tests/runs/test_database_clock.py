"""The database's time on our own clock: as exact as the fastest answer, never early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.lib import clock


@pytest.fixture
def at(monkeypatch):
    """Say what our clock shows."""

    def say(seconds):
        monkeypatch.setattr(clock, "boot_seconds", lambda: seconds)

    return say


# Their clock is 1000 ahead of ours; each answer takes its time on the way.
@given(st.lists(st.floats(0.0001, 0.5), min_size=1))
def test_a_moment_is_late_by_the_fastest_answer_and_never_early(delays):
    seen = clock.DatabaseClock()
    with pytest.MonkeyPatch.context() as patch:
        for number, delay in enumerate(delays):
            patch.setattr(clock, "boot_seconds", lambda arrived=number / 10 + delay: arrived)
            seen.see(1000 + number / 10)
    fastest = min(delays[-200:])
    assert 0 < seen.boot_seconds(1500) - 500 <= fastest + 1e-9


def test_slots_of_a_slow_and_of_a_quick_answer_keep_their_distance(at):
    seen, found = clock.DatabaseClock(), []
    for asked, delay, slot in [(0, 0.001, 1000.50), (0.1, 0.030, 1000.52), (0.2, 0.001, 1000.54)]:
        at(asked + delay)
        seen.see(1000 + asked)
        found.append(seen.boot_seconds(slot))
    assert found == pytest.approx([0.501, 0.521, 0.541], abs=1e-9)


def test_an_answer_that_was_long_ago_no_longer_counts(at):
    seen = clock.DatabaseClock()
    for now, delay in [(0, 0.001), (31, 0.005), (62, 0.005)]:
        at(now + delay)
        seen.see(1000 + now)
    assert seen.boot_seconds(1100) == pytest.approx(100.005, abs=1e-9)
