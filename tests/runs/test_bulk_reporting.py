"""Many reports at once come to the same as one after the other."""

import random
import threading

import pytest
from django.db import connection, transaction

from regulars.runs import engine
from regulars.runs.models import DeliveryEvent, Message
from runs.ended import ended_run, recounted, summed

pytestmark = pytest.mark.django_db
REPORTS = [str(report) for report in engine.Report]
STATES = ["sent", "unknown", "failed", "delivered", "read", "bounced", "withheld"]


@pytest.fixture
def make_run(make_automation, account, now):
    def make(*states, **fields):
        return ended_run(make_automation(), account, list(states), now, **fields)

    return make


def picture(run):
    rows = Message.objects.filter(run=run).order_by("pk")
    events = DeliveryEvent.objects.filter(message_id__in=rows.values("pk")).order_by("pk")
    first = rows[0].pk
    run.refresh_from_db()
    return (
        [(one.state, one.reason, one.error, one.provider_id, one.accepted_at is None) for one in rows],
        [
            (one.message_id - first, one.kind, one.attempt, one.raw)
            for one in events.order_by("message_id", "pk")
        ],
        run.totals,
    )


@pytest.mark.parametrize("seed", range(6))
def test_many_at_once_come_to_the_same_as_one_by_one(make_run, now, seed):
    dice = random.Random(seed)
    states = [dice.choice(STATES) for _ in range(12)]
    one_by_one, at_once = make_run(*states), make_run(*states)
    told = [
        (dice.randrange(12), dice.choice(REPORTS), dice.choice(["", "again"]), dice.choice([None, 1, 2]))
        for _ in range(40)
    ]

    def news(run):
        pks = list(Message.objects.filter(run=run).order_by("pk").values_list("pk", flat=True))
        return [
            engine.News(
                engine.Report(report),
                pks[which],
                provider_id=f"P{which}",
                key=key,
                attempt=attempt,
                words="why",
            )
            for which, report, key, attempt in told
        ]

    first = [engine.report(one, now) for one in news(one_by_one)]
    second = engine.report_all(news(at_once), now)
    assert [(one.state, one.was_new, one.changed) for one in second] == [
        (one.state, one.was_new, one.changed) for one in first
    ]
    assert picture(at_once) == picture(one_by_one)
    assert summed(at_once) == recounted(at_once)


def test_a_message_is_found_by_number_and_address_and_only_by_its_own_organization(make_run, account, now):
    make_run("sent", provider_id="SM42")
    message = Message.objects.get()

    def news(**fields):
        return engine.News(engine.Report.READ, **fields)

    owner = account.organization_id
    by_number = {"organization_id": owner, "provider_id": "SM42", "address": message.address}
    answers = engine.report_all(
        [
            news(**by_number | {"organization_id": owner + 1}),
            news(**by_number | {"provider_id": "SM43"}),
            news(**by_number | {"address": "other@example.com"}),
            news(**by_number | {"address": ""}),
            news(message_id=message.pk, organization_id=owner + 1),
            news(message_id=1),
            news(**by_number),
        ],
        now,
    )
    assert answers[:-1] == [engine.Unheard.NO_SUCH_MESSAGE] * 6
    assert answers[-1].state == "read"
    assert engine.report(news(**by_number), now).was_new is False
    with pytest.raises(engine.NoSuchMessageError):
        engine.report(news(message_id=message.pk, organization_id=owner + 1), now)


def test_nothing_to_tell_is_no_fault(db, now):
    assert engine.report_all([], now) == []


@pytest.mark.django_db(transaction=True)
def test_a_message_that_is_being_written_is_told_again(make_run, now):
    make_run("sent", "sent")
    held, free = Message.objects.order_by("pk").values_list("pk", flat=True)
    locked, done = threading.Event(), threading.Event()

    def hold():
        try:
            with transaction.atomic():
                Message.objects.select_for_update().get(pk=held)
                locked.set()
                done.wait(20)
        finally:
            connection.close()

    sender = threading.Thread(target=hold)
    sender.start()
    assert locked.wait(20)
    both = [engine.News(engine.Report.DELIVERED, pk) for pk in (held, free)]
    answers = engine.report_all(both, now)
    done.set()
    sender.join(20)
    assert answers[0] is engine.Unheard.BUSY
    assert answers[1].state == "delivered"
    assert engine.report_all(both, now)[0].state == "delivered"
