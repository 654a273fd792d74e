"""Many start at once, and what a run stands on changes under it, with real workers."""

import pytest
from tests import live
from tests.crashes import battle

pytestmark = pytest.mark.slow

STARTERS = 20


@pytest.fixture
def make_world(tmp_path, request):
    made = []

    def make(sizes, **options):
        manager = battle.world(f"together{len(made)}", tmp_path / f"world{len(made)}", sizes, **options)
        made.append(manager)
        return manager.__enter__()

    yield make
    for manager in made:
        manager.__exit__(None, None, None)


def start_at_once(world, automations):
    """Twenty processes start these at the same moment; the runs that they got."""
    children = [
        world.nursery.bear(
            call="tests.crashes.world:start",
            arguments={"automations": automations},
            result=str(world.folder / f"started{number}.json"),
        )
        for number in range(STARTERS)
    ]
    assert {child.wait(60) for child in children} == {0}
    return list(world.ask("SELECT id::text AS id FROM automation_logs"))


def everybody_got_one(world):
    arrivals = world.arrivals()
    assert {len(times) for times in arrivals.values()} == {1}
    assert world.do("violations") == {}
    return len(arrivals)


def test_twenty_starts_at_once_give_each_guest_one_message(make_world):
    world = make_world([300])
    for _ in range(3):
        world.worker()
    world.wait_until_at_work()
    world.runs = [row["id"] for row in start_at_once(world, world.automations)]
    world.wait_until_over()
    assert everybody_got_one(world) == 300


@pytest.mark.parametrize("change", ["edit", "disable", "delete"])
def test_a_guest_gets_at_most_one_where_the_automation_changes_in_mid_run(make_world, change):
    world = make_world([600], delay_ms=80)
    world.worker()
    world.wait_until_at_work()
    world.start_runs()
    live.wait_until(world.arrived_at_least(60), seconds=30, every=0.02, what="the first messages")
    world.do("change_automation", automation=world.automations[0], change=change)
    world.wait_until_over()
    number = everybody_got_one(world)
    states = world.verdict().states
    if change == "edit":
        # The run keeps the version that it began with.
        assert (number, states) == (600, {"sent": 600})
    else:
        # What had not left is withheld, with the reason.
        assert set(states) == {"sent", "withheld"}
        assert number == states["sent"] < 600


def test_two_automations_of_one_family_write_to_a_guest_once(make_world):
    world = make_world([300])
    second = world.do("second_win_back", automation=world.automations[0])
    for _ in range(2):
        world.worker()
    world.wait_until_at_work()
    world.runs = world.do("start", automations=[world.automations[0], second])
    world.wait_until_over()
    assert everybody_got_one(world) == 300
