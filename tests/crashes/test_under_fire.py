"""Killed, frozen, asked to end, and told the wrong time: nobody gets two, nobody is forgotten.

Each campaign has a world of its own. A killed worker's messages are taken over when its lease and its
calls' longest time are over (18 s), so all worlds of this file recover side by side.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.crashes import battle, clocks, deciders, drains, freezes, kills

# The campaigns run within the first test's time; each wait in them has an end of its own.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SMALL_SLICES = {"slice_size": 40}
# Another seed with REGULARS_SEED=...
SEED = int(os.environ.get("REGULARS_SEED", "20261123"))
RANDOM_KILLS = 25

# name -> (guests of each restaurant, the world's options, what happens in it)
CAMPAIGNS = {
    "kills_1": (kills.sizes_for(), SMALL_SLICES, kills.at_named_points),
    "kills_3": (
        kills.sizes_for(workers=3),
        SMALL_SLICES,
        lambda world: kills.at_named_points(world, workers=3),
    ),
    "fallbacks": (kills.sizes_for(kills.FALLBACK_POINTS), {}, kills.at_points_of_a_fallback),
    "fallbacks_woken": (
        kills.sizes_for(kills.FALLBACK_POINTS),
        {},
        kills.among_the_unreachable(freezes.thaw, settle=False),
    ),
    "fallbacks_ended": (
        kills.sizes_for(kills.FALLBACK_POINTS),
        {},
        kills.among_the_unreachable(drains.at_named_points),
    ),
    "random": ([220] * RANDOM_KILLS, {}, lambda world: kills.at_random_moments(world, RANDOM_KILLS, SEED)),
    "woken_amid": (kills.sizes_for(), SMALL_SLICES, lambda world: freezes.thaw(world, settle=False)),
    "woken_after": (kills.sizes_for(), SMALL_SLICES, lambda world: freezes.thaw(world, settle=True)),
    "clocks": ([120] * 6, {}, clocks.jump),
    "terms": (kills.sizes_for(), SMALL_SLICES, drains.at_named_points),
    "drain": ([1200], {"delay_ms": 40}, drains.in_mid_run),
    "rolling": ([150] * 6, {"delay_ms": 60}, drains.rolling),
    "deciders": ([150, 150], {}, deciders.decide),
}
# The freezes hold a dozen connections for each frozen worker: not both at once.
EXCLUSIVE = ("woken_amid", "woken_after")


@pytest.fixture(scope="module")
def fought(request, tmp_path_factory):
    """The campaigns that the chosen tests ask for, all at once: name -> its result."""
    wanted = {
        mark.args[0]
        for item in request.session.items
        if item.path == request.path
        for mark in item.iter_markers("campaign")
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in wanted}

    def fight(name):
        sizes, options, happen = CAMPAIGNS[name]
        with battle.world(name, folders[name], sizes, **options) as world:
            return happen(world)

    def one_after_another(names):
        return {name: _caught(fight, name) for name in names}

    together = [[name] for name in CAMPAIGNS if name in wanted and name not in EXCLUSIVE]
    apart = [name for name in EXCLUSIVE if name in wanted]
    with ThreadPoolExecutor(max_workers=len(CAMPAIGNS)) as pool:
        results = {}
        for part in pool.map(one_after_another, [apart, *together]):
            results |= part
    return results


def _caught(function, name):
    """A campaign that broke is the failure of its own tests only."""
    try:
        return function(name)
    except BaseException as problem:
        return problem


@pytest.fixture
def campaign(fought, request):
    found = fought[request.node.get_closest_marker("campaign").args[0]]
    if isinstance(found, BaseException):
        raise found
    return found


def assert_kept(campaign, *, kills):
    """The promises: nobody twice, nobody without an end, in doubt only what a kill left so."""
    found = campaign.verdict
    assert found.lost == []
    assert found.denied == []
    assert found.invented == []
    assert found.sent + found.unknown == found.planned == found.due > 0, found.states
    assert found.unknown <= battle.WINDOW * kills
    assert found.unfinished == 0
    assert campaign.violations == {}


NAMED = [
    pytest.param(point, marks=pytest.mark.campaign(name), id=f"{point}-{name[-1]}-workers")
    for name in ("kills_1", "kills_3")
    for point in kills.WORKER_POINTS
]


@pytest.mark.parametrize("point", NAMED)
def test_a_worker_was_killed_at(point, campaign):
    struck = campaign.struck[point]
    assert struck is not None, "the point was never reached"
    assert (struck.point, campaign.codes[point]) == (point, -9)


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param(1, marks=pytest.mark.campaign("kills_1")),
        pytest.param(3, marks=pytest.mark.campaign("kills_3")),
    ],
)
def test_kills_at_every_named_point_double_and_lose_nothing(workers, campaign):
    assert campaign.verdict.duplicates == []
    assert_kept(campaign, kills=campaign.kills)
    assert campaign.longest < battle.ALIVE_SECONDS


@pytest.mark.parametrize("point", kills.FALLBACK_POINTS)
@pytest.mark.campaign("fallbacks")
def test_a_worker_was_killed_where_a_message_takes_another_way(point, campaign):
    struck = campaign.struck[point]
    assert struck is not None, "the point was never reached"
    assert (struck.point, campaign.codes[point]) == (point, -9)


@pytest.mark.campaign("fallbacks")
def test_a_killed_fallback_doubles_and_loses_nothing(campaign):
    """Nobody gets two, by whichever channel; who was refused comes by the other, or is in doubt."""
    assert campaign.verdict.duplicates == []
    assert_kept(campaign, kills=campaign.kills)
    assert campaign.fell_back["sent"] > 0
    assert set(campaign.fell_back) <= {"sent", "unknown"}


@pytest.mark.parametrize(
    "taken_over",
    [
        pytest.param(len(kills.FALLBACK_POINTS), marks=pytest.mark.campaign("fallbacks_woken")),
        pytest.param(0, marks=pytest.mark.campaign("fallbacks_ended")),
    ],
)
def test_a_fallback_that_was_frozen_or_asked_to_end_doubles_and_loses_nothing(taken_over, campaign):
    assert None not in campaign.struck.values(), "a point was never reached"
    assert set(campaign.codes) == set(kills.FALLBACK_POINTS)
    assert set(campaign.codes.values()) == {0}
    assert campaign.verdict.duplicates == []
    assert_kept(campaign, kills=taken_over)


@pytest.mark.campaign("random")
def test_kills_at_random_moments_double_and_lose_nothing(campaign):
    assert campaign.kills == RANDOM_KILLS
    assert campaign.verdict.duplicates == []
    assert_kept(campaign, kills=campaign.kills)


@pytest.mark.parametrize("point", kills.WORKER_POINTS)
@pytest.mark.parametrize(
    "woken",
    [
        pytest.param("amid", marks=pytest.mark.campaign("woken_amid")),
        pytest.param("after", marks=pytest.mark.campaign("woken_after")),
    ],
)
def test_a_worker_was_frozen_at(point, woken, campaign):
    assert campaign.struck[point] is not None, "the point was never reached"
    assert campaign.stopped[point]
    assert campaign.codes[point] == 0


@pytest.mark.campaign("woken_amid")
def test_a_worker_that_wakes_while_others_do_its_work_neither_repeats_nor_ends_it(campaign):
    assert campaign.verdict.duplicates == []
    assert_kept(campaign, kills=len(campaign.struck))


@pytest.mark.campaign("woken_after")
def test_a_worker_that_wakes_after_its_unknowns_were_sent_again_repeats_nobody_else(campaign):
    assert campaign.again
    assert campaign.too_often == []
    # Each decision led to at most one more message.
    assert set(campaign.verdict.duplicates) <= set(campaign.again)
    assert_kept(campaign, kills=0)


@pytest.mark.campaign("woken_after")
def test_nothing_leaves_a_worker_after_it_was_woken(campaign):
    assert campaign.after_waking == 0


@pytest.mark.campaign("clocks")
def test_clocks_that_jump_by_hours_double_nothing_and_break_no_lease(campaign):
    assert campaign.verdict.duplicates == []
    assert campaign.verdict.unknown == 0
    assert campaign.violations == {}
    assert campaign.verdict.sent == campaign.verdict.due == campaign.verdict.planned - campaign.held > 0


@pytest.mark.campaign("clocks")
def test_a_held_message_does_not_leave_early_where_the_clock_is_fast(campaign):
    assert campaign.held
    assert campaign.held_that_left == []


@pytest.mark.parametrize("point", kills.WORKER_POINTS)
@pytest.mark.campaign("terms")
def test_a_worker_was_asked_to_end_at(point, campaign):
    assert campaign.struck[point] is not None, "the point was never reached"
    assert campaign.codes[point] == 0


@pytest.mark.campaign("terms")
def test_sigterm_at_every_named_point_leaves_nothing_in_doubt(campaign):
    assert campaign.verdict.duplicates == []
    assert_kept(campaign, kills=0)


@pytest.mark.campaign("drain")
def test_sigterm_hands_back_what_did_not_leave(campaign):
    assert campaign.codes == {"worker": 0}
    assert set(campaign.states) == {"sent", "queued"}
    assert campaign.verdict.duplicates == []
    assert_kept(campaign, kills=0)


@pytest.mark.campaign("rolling")
def test_replacing_all_workers_in_mid_run_doubles_and_loses_nothing(campaign):
    assert list(campaign.codes.values()) == [0, 0, 0]
    assert campaign.verdict.duplicates == []
    assert_kept(campaign, kills=0)


DECIDERS = ("settle.inside", "settle.committed", "report.inside", "report.committed")


@pytest.mark.parametrize("point", DECIDERS)
@pytest.mark.campaign("deciders")
def test_whoever_decides_was_killed_at(point, campaign):
    assert campaign.struck[point] is not None, "the point was never reached"
    assert campaign.codes[point] == -9


@pytest.mark.campaign("deciders")
def test_decisions_that_were_killed_and_repeated_count_once(campaign):
    assert campaign.again
    assert campaign.too_often == []
    assert campaign.reported == campaign.to_report
    assert_kept(campaign, kills=0)
