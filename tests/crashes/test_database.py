"""PostgreSQL under fire: whatever happens to the server, nobody is written to twice, nobody is lost.

The servers are real, with fsync on, and so are the workers; who got what is counted by a sink that
does not die. The scenarios run side by side; each test looks at one.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.crashes import battle, outages, servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def happened():
    """Every scenario under its name, as a future."""
    made = servers.Programs()
    chosen = outages.EVERYWHERE + (outages.AS_ROOT if servers.can_do_everything() else ())
    try:
        made.make_template()
        with ThreadPoolExecutor(len(chosen)) as pool:
            yield {scenario.__name__: pool.submit(scenario, made) for scenario in chosen}
    finally:
        made.close()


def well(seen, *, doubts):
    """The promises; `doubts` is how many windows may have been cut off."""
    found = seen.verdict
    assert found.duplicates == []
    assert found.lost == []
    assert found.denied == []
    assert found.invented == []
    assert found.planned == seen.guests
    assert found.sent + found.unknown == found.planned, found.states
    assert found.unknown <= battle.WINDOW * doubts
    assert found.unfinished == 0
    assert seen.violations == {}
    assert all(seen.facts["living"]), "a worker died of it"


def result(happened, name):
    if name not in happened:
        pytest.skip("needs root: a network namespace and a file system of its own")
    return happened[name].result(350)


def test_a_server_that_is_stopped_at_once_and_then_killed(happened):
    well(result(happened, "stopped_and_killed"), doubts=0)


def test_a_worker_ends_when_asked_also_while_the_server_is_away(happened):
    assert result(happened, "stopped_for_good") == 0


def test_connections_that_are_cut_again_and_again(happened):
    seen = result(happened, "connections_cut")
    assert seen.facts["cuts"] > 1
    well(seen, doubts=0)


def test_a_server_that_stops_between_two_slices_of_a_planning(happened):
    seen = result(happened, "stopped_while_planning")
    assert 0 < seen.facts["written"] < seen.guests
    # The crash emptied what the rest of the planning would have stood on.
    assert seen.facts["verdicts"] == 0
    well(seen, doubts=1)


def test_a_server_whose_connections_fall_silent(happened):
    seen = result(happened, "silent_backends")
    assert seen.facts["stopped"] > 0
    well(seen, doubts=1)


def test_a_worker_whose_event_loop_hangs_is_replaced(happened):
    seen = result(happened, "hanging_loop")
    assert "a hanging worker is replaced" in seen.log
    assert seen.facts["before"] != seen.facts["after"]
    assert seen.facts["after"][1:4] == ["-m", "regulars", "worker"]
    well(seen, doubts=1)


def test_a_network_that_loses_everything(happened):
    seen = result(happened, "silent_network")
    assert seen.log.count("the database does not answer") == 1
    assert seen.log.count("the database answers again") == 1
    well(seen, doubts=0)


def test_a_disk_without_room(happened):
    seen = result(happened, "full_disk")
    # In effect the run was paused: it neither ended nor failed.
    assert not seen.facts["over"]
    well(seen, doubts=0)


def test_the_database_that_comes_along_is_killed_alone_and_with_its_supervisor(happened):
    seen = result(happened, "embedded_killed")
    assert len(seen.facts["servers"]) == 2
    well(seen, doubts=0)


def test_the_database_that_comes_along_has_no_room(happened):
    seen = result(happened, "embedded_full")
    assert not seen.facts["over"]
    well(seen, doubts=0)
