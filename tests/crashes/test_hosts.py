"""A worker host that is cut off and comes back settles what it knows and sends nothing."""

import pytest
from tests.crashes import battle, hosts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    if problem := hosts.why_not():
        pytest.skip(problem)
    return hosts.cut_off(tmp_path_factory.mktemp("hosts"))


def test_two_hosts_were_cut_off_in_the_middle_of_it(story):
    assert sorted(story.struck) == ["call.after", "claim.committed"]


def test_another_host_finishes_what_a_lost_one_had_begun(story):
    assert story.away.unfinished == 0
    assert story.away.lost == []
    assert story.away.denied == []
    assert story.away.sent + story.away.unknown == story.away.planned == story.away.due > 0
    assert 0 < story.away.unknown <= 2 * battle.WINDOW


def test_late_results_settle_rows_and_never_send(story):
    assert story.settled_late > 0
    # Only to those who had not got it: what was claimed and could not be called is certain not to
    # have left, and goes back.
    assert story.sent_after <= story.away.due - story.away.arrived
    assert story.back.duplicates == []
    assert story.back.denied == []
    assert story.back.sent + story.back.unknown == story.back.planned
    assert story.violations == {}


def test_all_hosts_end_when_they_are_asked_to(story):
    assert set(story.codes) == {0}
