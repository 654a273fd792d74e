"""A person decides all that is in doubt of a run, at once or singly; counts follow by delta."""

import pytest

from regulars.runs import engine
from regulars.runs.models import DeliveryEvent, Message, RunChunk, RunState
from runs.ended import ended_run, recounted, summed

pytestmark = pytest.mark.django_db

ARRIVED, AGAIN, LEAVE = engine.Decision.ARRIVED, engine.Decision.SEND_AGAIN, engine.Decision.LEAVE
STATES = ["unknown", "sent", "unknown", "failed", "unknown"]


@pytest.fixture
def run(make_automation, account, now):
    return ended_run(make_automation(), account, STATES, now)


@pytest.mark.parametrize(
    ("decision", "state", "sent", "failed"), [(ARRIVED, "sent", 4, 1), (LEAVE, "failed", 1, 4)]
)
def test_all_of_a_run_are_decided_at_once(run, now, decision, state, sent, failed):
    doubted = list(Message.objects.filter(state="unknown").values_list("pk", flat=True))
    assert engine.settle_all(run, decision, "marta@example.com", now) == 3
    assert set(Message.objects.filter(pk__in=doubted).values_list("state", flat=True)) == {state}
    run.refresh_from_db()
    assert run.totals == summed(run) == recounted(run)
    assert (run.totals["sent"], run.totals["failed"], run.totals["unknown"]) == (sent, failed, 0)
    events = DeliveryEvent.objects.values_list("message_id", "kind", "actor")
    assert set(events) == {(pk, f"settled_{decision}", "marta@example.com") for pk in doubted}


def test_all_sent_again_open_their_chunks_and_the_run(run, now):
    assert engine.settle_all(run, AGAIN, "marta@example.com", now) == 3
    run.refresh_from_db()
    assert (run.state, run.finished_at, run.totals) == (RunState.SENDING, None, {})
    assert set(RunChunk.objects.filter(number=1).values_list("closed", "next_due")) == {(False, now)}
    assert RunChunk.objects.get(number=2).closed
    assert Message.objects.filter(state="queued", send_after=now, attempt=1).count() == 3
    assert summed(run) == recounted(run)


def test_the_message_that_is_sent_again_leaves_the_others_in_doubt(run, now):
    first = Message.objects.filter(state="unknown").first()
    engine.settle(first.pk, AGAIN, "marta@example.com", now)
    assert Message.objects.filter(state="unknown").count() == 2
    assert (engine.counts(run).unknown, engine.counts(run).held) == (2, 1)


def test_deciding_again_finds_nothing_more_to_decide(run, now):
    engine.settle_all(run, ARRIVED, "marta@example.com", now)
    assert engine.settle_all(run, LEAVE, "luis@example.com", now) == 0
    assert engine.counts(run).sent == 4


@pytest.mark.parametrize("state", ["cancelled", "failed"])
def test_a_run_that_was_stopped_sends_nothing_again(make_automation, account, now, state):
    run = ended_run(make_automation(), account, ["unknown"], now, state=state)
    message = Message.objects.get()
    with pytest.raises(engine.RunStoppedError):
        engine.settle_all(run, AGAIN, "marta@example.com", now)
    with pytest.raises(engine.RunStoppedError):
        engine.settle(message.pk, AGAIN, "marta@example.com", now)
    assert Message.objects.get().state == "unknown"
    assert engine.settle_all(run, LEAVE, "marta@example.com", now) == 1
    run.refresh_from_db()
    assert run.state == state


def test_another_runs_unknowns_are_left_alone(run, make_automation, account, now):
    other = ended_run(make_automation(), account, ["unknown"], now)
    engine.settle_all(run, ARRIVED, "marta@example.com", now)
    assert engine.counts(other).unknown == 1
