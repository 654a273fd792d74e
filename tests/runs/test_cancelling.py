"""Cancelling beside what settles, retries and reports: each waits for the other, none is lost."""

import threading

import pytest
from django.db import connection

from regulars.runs import engine
from regulars.runs.models import Message, Run
from runs.ended import ended_run, recounted, summed

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*verbs):
    """Call all of these at the same moment; what each raised, or None."""
    start, raised = threading.Barrier(len(verbs)), [None] * len(verbs)

    def call(place, verb):
        try:
            start.wait(10)
            verb()
        except Exception as problem:
            raised[place] = problem
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate(verbs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return raised


@pytest.mark.parametrize("round_", range(5))
def test_a_run_that_is_cancelled_while_others_decide_keeps_its_counts(make_automation, account, now, round_):
    states = ["unknown", "failed", "queued", "sent", "unknown", "queued"] * 5
    run = ended_run(make_automation(), account, states, now, state="sending")
    Message.objects.filter(state="failed").update(reason="temporary")
    doubted = Message.objects.filter(state="unknown").last().pk
    _, again, retried, reported = at_once(
        lambda: engine.cancel(run, now),
        lambda: engine.settle_all(run, engine.Decision.SEND_AGAIN, "marta@example.com", now),
        lambda: engine.retry(run, "marta@example.com", now),
        lambda: engine.report(engine.News(engine.Report.DELIVERED, doubted), now),
    )
    assert isinstance(again, engine.RunStoppedError | None)
    assert isinstance(retried, engine.RunStoppedError | None)
    assert reported is None
    assert Run.objects.get().state == "cancelled"
    assert not Message.objects.filter(state="queued").exists()
    assert summed(run) == recounted(run)
