"""How fast a run goes, and how long it will take."""

from regulars.runs.pace import Pace


def seen(*looks):
    pace = Pace()
    for seconds, done in looks:
        pace.see(seconds, done)
    return pace


def test_one_look_says_nothing():
    assert seen((0, 10)).per_second is None
    assert seen((0, 10)).seconds_left(5) is None


def test_the_rate_is_of_the_last_seconds_only():
    slow_then_fast = seen((0, 0), (10, 10), (15, 510), (20, 1010))
    assert slow_then_fast.per_second == 100
    assert slow_then_fast.seconds_left(300) == 3


def test_a_run_that_stands_still_has_no_end_in_sight():
    still = seen((0, 7), (1, 7), (2, 7))
    assert still.per_second == 0
    assert still.seconds_left(3) is None


def test_nothing_left_takes_no_time():
    assert seen((0, 0), (1, 5)).seconds_left(0) is None


def test_messages_that_went_back_begin_a_new_measure():
    assert seen((0, 100), (1, 40)).per_second is None
