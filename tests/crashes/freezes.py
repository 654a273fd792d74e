"""A worker frozen at every named point past its lease, then woken."""

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests import live
from tests.crashes import battle
from tests.crashes.kills import WORKER_POINTS, groups, strike

# Enough for the woken to go through with whatever they were about to do.
AWAKE_SECONDS = 3


@dataclass
class Thaw:
    """What was frozen, and how the world stands after it was woken."""

    struck: dict[str, battle.Struck | None] = field(default_factory=dict)
    # Whether it was stopped in the kernel's eyes when the others had taken over.
    stopped: dict[str, bool] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    # Addresses that a person let have it again before the frozen were woken.
    again: list[str] = field(default_factory=list)
    verdict: battle.Verdict | None = None
    violations: dict[str, int] = field(default_factory=dict)
    # Sent more often than once plus once for each decision to send again.
    too_often: list[str] = field(default_factory=list)
    after_waking: int = 0


def _is_stopped(child):
    state = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


def thaw(world, *, settle, points=WORKER_POINTS):
    """Freeze a worker at each point side by side; others take over; wake the frozen.

    With `settle` they are woken after everything is over and every unknown was sent again; without,
    as soon as the first chunk has been taken over, while their successors are at work.
    """
    found, frozen = Thaw(), {}
    more = groups(world)
    for point in points:
        frozen[point], found.struck[point], _ = strike(world, point, "freeze", more)
    world.worker()
    if settle:
        world.wait_until_over()
        found.again = world.do("settle_unknowns", decision="send_again")
        world.wait_until_over()
    else:
        live.wait_until(world.taken_over, seconds=battle.ALIVE_SECONDS, what="a takeover")
    found.stopped = {point: _is_stopped(child) for point, child in frozen.items()}
    woken_at = time.time()
    for child in frozen.values():
        child.signal(signal.SIGCONT)
    battle.wait(AWAKE_SECONDS)
    world.wait_until_over()
    _end(world, found, frozen)
    arrivals = world.arrivals()
    found.too_often = [
        address for address, times in arrivals.items() if len(times) > 1 + found.again.count(address)
    ]
    found.after_waking = sum(at > woken_at for times in arrivals.values() for at in times)
    return found


def _end(world, found, frozen):
    for child in frozen.values():
        child.signal(signal.SIGTERM)
    found.codes = {point: child.wait(20) for point, child in frozen.items()}
    world.stop_workers()
    found.verdict = world.verdict()
    found.violations = world.do("violations")
