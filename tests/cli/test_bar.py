"""The line that a run draws on a terminal."""

from regulars.cli.serving import bar_line
from regulars.runs.pace import Pace


def test_the_bar_shows_rate_and_time_left():
    pace = Pace()
    pace.see(0, 0)
    pace.see(5, 600)
    assert bar_line("sending", 600, 1_200, pace) == f"[{'#' * 15}{'-' * 15}] 600 of 1,200  120/s  0:05 left"
    assert bar_line("planning", 0, 0, pace) == "planning …"
    assert bar_line("sending", 0, 5, Pace()) == f"[{'-' * 30}] 0 of 5"
