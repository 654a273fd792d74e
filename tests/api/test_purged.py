"""What the API says of a run whose messages were removed for their age."""

from datetime import timedelta

import pytest

from regulars.lib import clock
from regulars.runs import followers
from regulars.runs.models import Message, Run, RunChunk

JSON = "application/json"


@pytest.fixture
def purged(run, message):
    """A run that ended with two sent and one in doubt, and then grew old."""
    now = clock.now()
    Run.objects.filter(pk=run.pk).update(state="finished", due=3, finished_at=now)
    RunChunk.objects.create(
        run=run, number=1, account_id=message.account_id, total=3, sent=2, unknown=1, closed=True
    )
    Message.objects.all().delete()
    followers.remove(now, now + timedelta(days=1))
    return run


def test_its_counts_stay_and_its_lists_are_empty(purged, message, colleague, signed_in):
    client = signed_in(colleague)
    shown = client.get(f"/api/runs/{purged.pk}").json()
    assert (shown["processed"], shown["sent"], shown["failed"], shown["unknown"]) == (3, 2, 1, 1)
    assert shown["purged_at"]
    assert client.get(f"/api/runs/{purged.pk}/messages").json()["items"] == []
    assert client.get(f"/api/runs/{purged.pk}/skips").json()["items"] == []
    assert client.get(f"/api/messages/{message.pk}").status_code == 404
    assert client.get(f"/api/customers/{message.customer_id}/explain").status_code == 200


@pytest.mark.parametrize(
    ("verb", "body", "number"),
    [("settle", {"decision": "arrived"}, "settled"), ("retry", {"class": "temporary"}, "queued")],
)
def test_nothing_of_it_can_be_decided_or_sent_again(purged, colleague, signed_in, verb, body, number):
    answer = signed_in(colleague).post(f"/api/runs/{purged.pk}/{verb}", body, content_type=JSON)
    assert answer.json()[number] == 0
    assert answer.json()["run"]["unknown"] == 1
