"""Workers whose wall clocks jump by hours while they work."""

from dataclasses import dataclass, field

from tests.crashes import battle

HOUR = 3600
# (second since the worker's start: how far its clock is off), one worker each.
JUMPS = (
    f"0:0,1:{2 * HOUR},3:{-3 * HOUR}",
    f"0:{5 * HOUR},2:{-HOUR},4:{26 * HOUR}",
    f"0:{-2 * HOUR},2:{3 * HOUR}",
)
# What must not leave before this long has passed; less than every clock above is fast by.
HELD_SECONDS = 1800


@dataclass
class Jumped:
    held: int = 0
    held_that_left: list[str] = field(default_factory=list)
    verdict: battle.Verdict | None = None
    violations: dict[str, int] = field(default_factory=dict)


def jump(world):
    """Send under jumping clocks, with one restaurant's messages held for half an hour."""
    held, *others = world.automations
    found = Jumped()
    _, addresses = world.do("plan_and_hold", automation=held, seconds=HELD_SECONDS)
    found.held = len(addresses)
    for clock in JUMPS:
        world.worker(clock=clock)
    world.wait_until_at_work()
    # One after another, so that planning, too, happens under every clock.
    for automation in others:
        world.start_runs([automation])
        battle.wait(0.5)
    world.wait_until_over()
    battle.wait(3)
    world.stop_workers()
    found.verdict = world.verdict()
    found.violations = world.do("violations")
    found.held_that_left = sorted(set(addresses) & world.arrivals().keys())
    return found
