"""Asking the provider what became of messages in doubt: only what it knows settles, nothing is sent."""

from datetime import timedelta
from unittest.mock import AsyncMock

import pytest
from asgiref.sync import async_to_sync

from regulars.providers import registry
from regulars.providers.base import Connection, Found, Report
from regulars.providers.sandbox.send import Sandbox
from regulars.runs import engine, looking_up, planning, tasks
from regulars.runs.models import DeliveryEvent, Message, Run, RunChunk, SandboxMessage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def doubted(lapsed, make_automation, now):
    """A finished run of three messages, all in doubt."""
    for _ in range(3):
        lapsed()
    run = engine.start(make_automation(), now=now)
    planning.plan(str(run.pk), now)
    Message.objects.update(
        state="unknown", attempt=1, reason="no_answer", state_at=now + timedelta(seconds=7)
    )
    RunChunk.objects.update(closed=True, unknown=3)
    Run.objects.update(state="finished", totals={"sent": 0, "failed": 0, "unknown": 3, "withheld": 0})
    return Run.objects.get()


def arrived(message):
    SandboxMessage.objects.create(
        organization_id=message.organization_id, account_id=message.account_id, message_id=message.pk,
        channel="email", address=message.address, body="Hola", at=message.created_at,
    )  # fmt: skip


def test_what_the_sandbox_took_is_settled_and_the_rest_stays_in_doubt(doubted, now):
    first, *others = Message.objects.order_by("pk")
    arrived(first)
    found = engine.look_up(doubted, now)
    assert (found.asked, found.settled, found.cannot) == (3, 1, set())
    first.refresh_from_db()
    assert (first.state, first.provider_id) == ("sent", f"sandbox-{first.pk}")
    assert set(Message.objects.filter(pk__in=[m.pk for m in others]).values_list("state", flat=True)) == {
        "unknown"
    }
    event = DeliveryEvent.objects.get()
    assert (event.kind, event.actor) == ("accepted", "look-up")
    doubted.refresh_from_db()
    assert doubted.totals == {"sent": 1, "failed": 0, "unknown": 2, "withheld": 0}
    assert SandboxMessage.objects.count() == 1


def test_asking_again_changes_nothing(doubted, now):
    arrived(Message.objects.first())
    engine.look_up(doubted, now)
    again = engine.look_up(doubted, now)
    assert (again.asked, again.settled) == (2, 0)
    assert DeliveryEvent.objects.count() == 1


class Oracle(Sandbox):
    """A provider that answers a look-up as it was told."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers)
        self.questions = []

    async def connect(self, options, outbox):
        return OracleConnection(self)


class OracleConnection(Connection):
    def __init__(self, oracle):
        self.oracle = oracle

    async def send(self, batch):
        raise AssertionError("A look-up sends nothing")

    async def look_up(self, questions):
        self.oracle.questions += questions
        if callable(self.oracle.answers[0]):
            self.oracle.answers[0]()
        return (self.oracle.answers * 3)[: len(questions)]


@pytest.fixture
def answers(monkeypatch):
    def say(*found):
        oracle = Oracle(*found)
        monkeypatch.setattr(registry, "get", lambda kind: oracle)
        return oracle

    return say


def test_the_provider_is_asked_about_what_was_said_and_when(doubted, answers, now):
    oracle = answers(None)
    assert engine.look_up(doubted, now).settled == 0
    question = oracle.questions[0]
    assert question.message.body.startswith("Hola Guest")
    assert (question.since, question.until) == (now, now + timedelta(seconds=7))


def test_one_number_for_two_messages_settles_neither(doubted, answers, now):
    answers(Found(Report.ACCEPTED, "SM1"), Found(Report.ACCEPTED, "SM1"), Found(Report.DELIVERED, "SM2"))
    assert engine.look_up(doubted, now).settled == 1
    assert sorted(Message.objects.values_list("state", "provider_id")) == [
        ("delivered", "SM2"),
        ("unknown", ""),
        ("unknown", ""),
    ]


def test_a_number_that_another_message_bears_says_nothing(doubted, answers, now):
    first, second, _ = Message.objects.order_by("pk")
    Message.objects.filter(pk=second.pk).update(state="sent", provider_id="SM1", address=first.address)
    answers(Found(Report.ACCEPTED, "SM1"), None)
    assert engine.look_up(doubted, now).settled == 0
    assert Message.objects.get(pk=first.pk).state == "unknown"


def test_a_look_up_that_breaks_leaves_all_in_doubt(doubted, answers, now):
    def breaks():
        raise RuntimeError("adapter bug")

    answers(breaks)
    assert engine.look_up(doubted, now).settled == 0
    assert set(Message.objects.values_list("state", flat=True)) == {"unknown"}


def test_who_cannot_be_asked_is_named(doubted, answers, monkeypatch, now):
    oracle = answers(None)
    monkeypatch.setattr(Oracle, "can_look_up", False)
    found = engine.look_up(doubted, now)
    assert (found.asked, found.cannot) == (0, {"Sandbox (sends nothing)"})
    assert oracle.questions == []


def test_a_worker_asks_by_itself_about_what_came_into_doubt_lately(doubted, now):
    """Not at once, because the sender may still know; and not for ever."""
    just_now, lately, long_ago = Message.objects.order_by("pk")
    for message, minutes in ((just_now, 0), (lately, 5), (long_ago, 50)):
        arrived(message)
        Message.objects.filter(pk=message.pk).update(state_at=now - timedelta(minutes=minutes))
    async_to_sync(looking_up.look_up_lately)(now)
    assert list(Message.objects.filter(state="sent")) == [lately]


def test_a_worker_does_so_every_five_minutes(doubted, monkeypatch):
    asked = []
    monkeypatch.setattr(looking_up, "look_up_lately", AsyncMock(side_effect=asked.append))
    async_to_sync(tasks.look_up.func)(0)
    assert len(asked) == 1
