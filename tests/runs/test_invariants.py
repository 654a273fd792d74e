"""The watchers of the ledger see what they are there to see."""

import pytest

from regulars.runs import engine, planning
from regulars.runs.invariants import violations
from regulars.runs.models import Message, Occasion, Run, RunChunk

pytestmark = pytest.mark.django_db


@pytest.fixture
def ledger(lapsed, make_automation, now):
    lapsed()
    run = engine.start(make_automation(), now=now)
    planning.plan(str(run.pk), now)
    return run


def test_a_healthy_ledger_has_no_violations(ledger):
    assert violations() == {}


def twice():
    message = Message.objects.get()
    message.pk = None
    message.save()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (twice, "at most one message"),
        (lambda: Occasion.objects.all().delete(), "holds its occasion"),
        (lambda: Message.objects.update(state="withheld") and Message.objects.all().delete(), "names its"),
        (lambda: Run.objects.update(state="finished"), "still to come"),
        (lambda: RunChunk.objects.update(closed=True), "closed chunk"),
        (lambda: RunChunk.objects.update(sent=1) and Run.objects.update(state="finished"), "the totals"),
        (lambda: Message.objects.update(organization_id=0), "own organization"),
    ],
)
def test_damage_is_seen(ledger, damage, sentence):
    damage()
    assert any(sentence in found for found in violations())


def test_a_chunk_nobody_owns_is_seen(ledger, now):
    from datetime import timedelta

    from regulars.lib import clock

    Message.objects.update(state="sending")
    RunChunk.objects.update(lease_until=clock.now() - timedelta(minutes=2))
    assert any("nobody has owned" in found for found in violations())
