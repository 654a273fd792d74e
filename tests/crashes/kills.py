"""kill -9 at every named point and at random moments, in worlds that then recover by themselves."""

import itertools
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests import live
from tests.crashes import battle

from regulars.lib.crash_points import POINTS

# What a worker passes where a message takes another way; such worlds are made for it.
FALLBACK_POINTS = tuple(point for point in POINTS if point.startswith("fallback."))
# What a worker passes; the others belong to whoever takes a report or a decision (`deciders`).
WORKER_POINTS = tuple(point for point in POINTS if not point.startswith(("fallback.", "report.", "settle.")))

# The time at which a point strikes; the first, where nothing is said. In mid-batch for calls.
TIMES = {"claim.inside": 2, "call.before": 40, "call.after": 40, "record.inside": 2}

# The guests of a restaurant: more than one window. In a world of one worker one run is started for
# each strike; in a world of three so many that the armed one gets its share.
GUESTS = 90
GROUP_AMONG_THREE = 4
SPARE_GROUPS = 8
# How many of the random kills come before anything was sent, more or less.
EARLY_SHARE = 0.25
# How long a started group may take to be over, or to lead the armed worker to its point.
PATIENCE = 60


@dataclass
class Campaign:
    """What happened in one world: where it was struck, and how it stands afterwards."""

    workers: int
    struck: dict[str, battle.Struck | None] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, float] = field(default_factory=dict)
    kills: int = 0
    # Seconds from the last kill to the end of the last run.
    longest: float = 0.0
    verdict: battle.Verdict | None = None
    violations: dict[str, int] = field(default_factory=dict)
    # How the messages that took another way ended: state -> how many.
    fell_back: dict[str, int] = field(default_factory=dict)


def sizes_for(points=WORKER_POINTS, workers=1):
    """The restaurants of a world in which these points are struck."""
    return [GUESTS] * (_group(workers) * (len(points) + SPARE_GROUPS))


def groups(world, workers=1):
    """The automations, a group at a time."""
    waiting = iter(world.automations)
    return iter(lambda: list(itertools.islice(waiting, _group(workers))), [])


def _group(workers):
    return 1 if workers == 1 else GROUP_AMONG_THREE


def strike(world, point, action, more):
    """A worker that meets this action at this point: (child, where it was struck, its runs)."""
    child = world.worker(crash=f"{point}:{TIMES.get(point, 1)}:{action}")
    world.wait_until_at_work(child)
    runs = []
    for group in more:
        started = world.start_runs(group)
        runs += started
        live.wait_until(
            lambda started=started: world.struck(child) or world.are_over(started),
            seconds=PATIENCE,
            what=f"{point}, or the end of the runs that might lead there",
        )
        if struck := world.struck(child):
            return child, struck, runs
    return child, None, runs


def at_named_points(world, points=WORKER_POINTS, workers=1):
    """Kill a worker at each point, one after another, then let what is left recover."""
    campaign = Campaign(workers)
    for _ in range(workers - 1):
        world.worker()
    more, runs = groups(world, workers), {}
    for point in points:
        child, campaign.struck[point], runs[point] = strike(world, point, "kill", more)
        campaign.codes[point] = child.wait(10) if campaign.struck[point] else child.kill()
    finish(world, campaign, len(points))
    for point, ids in runs.items():
        if campaign.struck[point] and ids:
            campaign.recovery[point] = world.ended_at(ids) - campaign.struck[point].at
    return campaign


def among_the_unreachable(happen, **how):
    """The same among guests of whom a third cannot be reached by the first channel."""

    def unreachable(world):
        world.do("prefer_whatsapp", automations=world.automations)
        return happen(world, points=FALLBACK_POINTS, **how)

    return unreachable


def at_points_of_a_fallback(world, points=FALLBACK_POINTS, workers=1):
    """Killed there, and how the messages ended that took another way."""
    world.do("prefer_whatsapp", automations=world.automations)
    campaign = at_named_points(world, points, workers)
    campaign.fell_back = {row["state"]: row["number"] for row in world.ask(FELL_BACK)}
    return campaign


FELL_BACK = """
SELECT state, count(*)::int AS number FROM messages
 WHERE channel = 'sms' AND id IN (SELECT message_id FROM delivery_events WHERE kind = 'fell_back')
 GROUP BY state
"""


def finish(world, campaign, kills):
    """A worker that lives: everything comes to its end by itself."""
    campaign.kills, last_kill = kills, time.time()
    world.worker()
    world.wait_until_over()
    campaign.longest = world.recovery_seconds(last_kill)
    world.stop_workers()
    campaign.verdict = world.verdict()
    campaign.violations = world.do("violations")


def at_random_moments(world, kills, seed, companions=0):
    """Kill a worker `kills` times at moments that nobody chose, most of them while it sends."""
    chance, campaign = random.Random(seed), Campaign(companions + 1)
    for _ in range(companions):
        world.worker()
    with ThreadPoolExecutor(1) as starter:
        for automation in world.automations[:kills]:
            child = world.worker()
            world.wait_until_at_work()
            before = world.arrived()
            starting = starter.submit(world.start_runs, [automation])
            _wait_for_a_moment(world, before, chance)
            child.kill()
            starting.result()
    finish(world, campaign, kills)
    return campaign


def _wait_for_a_moment(world, before, chance):
    """Some time after a run was asked for, or some time after a share of its messages has arrived."""
    if chance.random() < EARLY_SHARE:
        time.sleep(chance.uniform(0, 0.35))
        return
    share = int(chance.random() * min(world.sizes))
    deadline = time.monotonic() + 3
    while world.arrived() - before <= share and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.01))
