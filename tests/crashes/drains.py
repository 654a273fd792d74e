"""SIGTERM: at every named point, in mid-run, and to all workers in turn."""

import signal
import time
from dataclasses import dataclass, field

from tests import live
from tests.crashes import battle
from tests.crashes.kills import WORKER_POINTS, groups, strike


@dataclass
class Drained:
    struck: dict[str, battle.Struck | None] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    # The longest that one of them took to end, in seconds.
    longest: float = 0.0
    # The ledger between the end of the first worker and the start of the next.
    states: dict[str, int] = field(default_factory=dict)
    verdict: battle.Verdict | None = None
    violations: dict[str, int] = field(default_factory=dict)


def _ask_to_end(found, name, child):
    started = time.monotonic()
    child.signal(signal.SIGTERM)
    _wait(found, name, child, started)


def _wait(found, name, child, started):
    found.codes[name] = child.wait(20)
    found.longest = max(found.longest, time.monotonic() - started)


def at_named_points(world, points=WORKER_POINTS):
    """The signal comes at each point of the path, to one worker after another."""
    found, more = Drained(), groups(world)
    for point in points:
        child, found.struck[point], _ = strike(world, point, "term", more)
        _wait(found, point, child, time.monotonic())
    return _finish(world, found)


def in_mid_run(world):
    """One worker, one run; what it hands back is there for the next."""
    found = Drained()
    child = world.worker()
    world.start_runs()
    live.wait_until(world.arrived_at_least(200), seconds=30, every=0.02, what="the first messages")
    _ask_to_end(found, "worker", child)
    found.states = world.verdict().states
    return _finish(world, found)


def rolling(world, number=3):
    """Replace all workers, one after another, while they send."""
    found = Drained()
    old = [world.worker() for _ in range(number)]
    world.wait_until_at_work()
    world.start_runs()
    for place, child in enumerate(old):
        live.wait_until(
            world.arrived_at_least(100 * (place + 1)), seconds=30, every=0.02, what="more messages"
        )
        world.worker()
        world.wait_until_at_work()
        _ask_to_end(found, f"worker {place + 1}", child)
    return _finish(world, found, worker=False)


def _finish(world, found, *, worker=True):
    if worker:
        world.worker()
    world.wait_until_over()
    world.stop_workers()
    found.verdict = world.verdict()
    found.violations = world.do("violations")
    return found
