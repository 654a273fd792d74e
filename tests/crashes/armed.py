"""The tests' own way into the product: the ordinary command line, armed.

    REGULARS_CRASH=claim.committed:3:kill python -m tests.crashes.armed worker

The third time that this point is reached, the process kills itself (`kill`), stops until it is
woken (`freeze`), asks itself to end (`term`) or hangs for some seconds (`hang5`). `any:40:kill`
counts every point. REGULARS_CRASH_LOG names a file that says when and where it happened.

    REGULARS_CLOCK=0:+5400,2:-7200 python -m tests.crashes.armed worker

The wall clock of this process is 5400 seconds fast from the start and 7200 slow from the second second on.
Clocks that do not jump on a real machine (the boot clock) do not jump here.

    REGULARS_SLICE=40 python -m tests.crashes.armed worker

Planning writes slices of 40 instead of 50,000, so that a small world has more than one.

The product knows none of this: it only names the places (`regulars.lib.crash_points`).
"""

import os
import signal
import sys
import threading
import time
from datetime import datetime, timedelta

ANY = "any"


def arm(environment):
    """Do what the environment asks for; nothing when it asks for nothing."""
    if wanted := environment.get("REGULARS_CRASH"):
        _set_trap(wanted, environment.get("REGULARS_CRASH_LOG"))
    if number := environment.get("REGULARS_SLICE"):
        from regulars.runs import planning

        planning.SLICE = int(number)
    if jumps := environment.get("REGULARS_CLOCK"):
        _shift_clock(_parsed(jumps))


def _set_trap(wanted, log):
    from regulars.lib import crash_points

    point, number, action = wanted.split(":")
    if point not in (*crash_points.POINTS, ANY):
        raise SystemExit(f"There is no crash point {point}")
    left = [int(number)]
    lock = threading.Lock()

    def hook(reached):
        if point not in (reached, ANY):
            return
        with lock:
            left[0] -= 1
            if left[0] != 0:
                return
        if log:
            _write(log, f"{time.time()} {os.getpid()} {reached} {action}\n")
        _act(action)

    crash_points.hook = hook


def _write(log, line):
    """One write, so that lines of several processes do not mix; kill -9 loses nothing of it."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


def _act(action):
    if action.startswith("hang"):
        time.sleep(float(action.removeprefix("hang")))
        return
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "term": signal.SIGTERM}[action])


def _parsed(jumps):
    """[(second since the start, offset)] in order."""
    return sorted(tuple(float(part) for part in jump.split(":")) for jump in jumps.split(","))


def _shift_clock(jumps):
    """Every source of wall time that the worker uses: the product's one clock, the task engine, `time.time`."""
    import procrastinate.utils

    from regulars.lib import clock

    real_time, started = time.time, clock.boot_seconds()

    def offset():
        elapsed = clock.boot_seconds() - started
        return next((shift for at, shift in reversed(jumps) if at <= elapsed), 0.0)

    class Shifted(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(seconds=offset())

    clock.datetime = Shifted
    procrastinate.utils.utcnow = clock.now
    time.time = lambda: real_time() + offset()


def main():
    arm(os.environ)
    from regulars.cli import main as command_line

    command_line()


if __name__ == "__main__":
    sys.exit(main())
