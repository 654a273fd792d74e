"""kill -9 of whoever writes down a person's decision or a provider's report."""

from dataclasses import dataclass, field

from tests.crashes import battle
from tests.crashes.kills import groups, strike

ATTEMPTS = 3


@dataclass
class Decided:
    struck: dict[str, battle.Struck | None] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    # The addresses whose messages a person let be sent again.
    again: list[str] = field(default_factory=list)
    too_often: list[str] = field(default_factory=list)
    # How many messages the provider reports as delivered, and how many the ledger then knows of.
    to_report: int = 0
    reported: int = 0
    verdict: battle.Verdict | None = None
    violations: dict[str, int] = field(default_factory=dict)


def decide(world):
    """Leave messages in doubt, then decide them with interruptions; the same for reports."""
    found, more = Decided(), groups(world)
    for _ in world.automations:
        child, _, _ = strike(world, "claim.committed", "kill", more)
        child.wait(10)
    world.worker()
    world.wait_until_over()
    found.again = world.unknown_addresses()
    for crash in ("settle.inside:3:kill", "settle.committed:5:kill"):
        _attempt(world, found, "settle_unknowns", crash, decision="send_again")
    world.do("settle_unknowns", decision="send_again")
    world.wait_until_over()
    found.to_report = world.verdict().planned
    for crash in ("report.inside:20:kill", "report.committed:40:kill"):
        _attempt(world, found, "report_all", crash, report="delivered")
    for _ in range(2):
        world.do("report_all", report="delivered")
    return _judge(world, found)


def _attempt(world, found, name, crash, **arguments):
    """Until it was struck: on a busy machine an attempt may end before that, for want of a connection."""
    point = crash.split(":")[0]
    for _ in range(ATTEMPTS):
        child = world.attempt(name, crash=crash, **arguments)
        found.codes[point] = child.wait(60)
        found.struck[point] = world.struck(child)
        if found.struck[point]:
            break
    said = world.nursery.log()
    assert found.struck[point], f"{point}: {found.codes[point]}\n{said[-3000:]}"
    assert "deadlock" not in said, said[-3000:]


def _judge(world, found):
    world.stop_workers()
    found.verdict = world.verdict()
    found.violations = world.do("violations")
    found.reported = found.verdict.states.get("delivered", 0)
    arrivals = world.arrivals()
    found.too_often = [
        address for address, times in arrivals.items() if len(times) > 1 + found.again.count(address)
    ]
    return found
