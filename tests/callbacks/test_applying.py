"""What was taken is applied once, in any order; what cannot be holds up no other."""

import random
from contextlib import nullcontext
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from psycopg.errors import DeadlockDetected

from regulars.automations import callback_access
from regulars.callbacks import applying, certificates
from regulars.callbacks.certificates import UnreachableError
from regulars.callbacks.models import Callback
from regulars.customers.addresses import fingerprint
from regulars.customers.models import Consent, Suppression
from regulars.lib import sql
from regulars.organizations.models import Organization
from regulars.runs import engine
from regulars.runs.models import DeliveryEvent, Message
from runs.ended import ended_run, recounted, summed

pytestmark = pytest.mark.django_db


@pytest.fixture
def twilio(make_account):
    return make_account("twilio")


@pytest.fixture
def brevo(make_account):
    return make_account("brevo")


@pytest.fixture
def make_run(automation, now):
    def make(account, *states, **fields):
        return ended_run(automation, account, list(states), now, **fields)

    return make


def suppressed():
    return list(Suppression.objects.order_by("pk").values_list("channel", "reason"))


def status(number, status, message=None, **fields):
    query = f"message={message}&attempt=1" if message else ""
    return {"told": {"MessageSid": f"SM{number}", "MessageStatus": status} | fields, "query": query}


def test_statuses_in_any_order_and_twice_come_to_the_highest(twilio, make_run, arrive, apply_all):
    run = make_run(twilio, *["sent", "unknown", "sent", "unknown"])
    pks = list(Message.objects.filter(run=run).order_by("pk").values_list("pk", flat=True))
    told = [status(n, kind, pk) for n, pk in enumerate(pks) for kind in ("sent", "delivered", "sending")] * 2
    random.Random(7).shuffle(told)
    for one in told:
        arrive(twilio, **one)
    apply_all()
    assert set(Message.objects.filter(run=run).values_list("state", flat=True)) == {"delivered"}
    assert DeliveryEvent.objects.count() == 12
    assert summed(run) == recounted(run)
    assert not Callback.objects.filter(due_at__isnull=False).exists()
    assert set(Callback.objects.values_list("problem", flat=True)) == {""}


def test_applying_again_after_a_crash_changes_nothing(twilio, make_run, make_customer, arrive, apply_all):
    make_run(twilio, "unknown")
    make_customer(channels=("sms",), address="+12015550100")
    arrive(twilio, **status(1, "delivered", Message.objects.get().pk))
    arrive(twilio, {"MessageSid": "SM2", "From": "+12015550100", "Body": "Baja"})
    arrive(twilio, **status(3, "failed", To="+12015550101", ErrorCode="30005"))

    def picture():
        return (
            list(Message.objects.values_list("state", "provider_id")),
            DeliveryEvent.objects.count(),
            list(Consent.objects.order_by("pk").values_list("pk", "granted", "is_current")),
            suppressed(),
        )

    apply_all()
    first = picture()
    # As if the worker had died before it could say that they are done.
    Callback.objects.update(due_at=sql.database_now())
    apply_all()
    assert picture() == first


def test_nobody_says_anything_of_another_organizations_messages(
    twilio, make_account, make_run, arrive, apply_all
):
    other = Organization.objects.create(slug="other", name="Other")
    make_run(twilio, "sent")
    stranger = make_account("twilio", organization=other)
    arrive(stranger, **status(1, "failed", Message.objects.get().pk))
    apply_all()
    assert Message.objects.get().state == "sent"
    assert Callback.objects.get().problem == "It is about no message of ours."


def test_accounts_of_one_house_may_share_an_address(twilio, make_account, make_run, arrive, apply_all):
    make_run(make_account("twilio", name="second number"), "sent")
    arrive(twilio, **status(1, "delivered", Message.objects.get().pk))
    apply_all()
    assert Message.objects.get().state == "delivered"


def test_a_status_that_is_faster_than_our_record_is_tried_again(brevo, make_run, arrive, apply_all):
    make_run(brevo, "sent", provider_id="")
    told = {"event": "delivered", "email": "guest0@example.com", "message-id": "<1@x>"}
    arrive(brevo, told)
    apply_all()
    waiting = Callback.objects.get()
    assert waiting.due_at > sql.database_now()
    Message.objects.update(provider_id="<1@x>")
    apply_all(after=timedelta(seconds=5))
    assert Message.objects.get().state == "delivered"
    assert Callback.objects.get().due_at is None


def test_what_is_about_no_message_of_ours_is_given_up_in_the_end(brevo, arrive, apply_all):
    arrive(brevo, {"event": "delivered", "email": "a@example.com", "message-id": "<other@x>"})
    for hours in range(1, 8):
        apply_all(after=timedelta(hours=hours))
    assert Callback.objects.get().due_at is None
    assert Callback.objects.get().problem == "It is about no message of ours."


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"event": "hard_bounce"}, "bounce"),
        ({"event": "spam"}, "complaint"),
        ({"event": "unsubscribe"}, "opt_out"),
        ({"event": "soft_bounce"}, None),
        ({"event": "blocked"}, None),
    ],
)
def test_bounces_complaints_and_opt_outs_suppress_the_address(
    brevo, make_run, make_customer, arrive, apply_all, told, reason
):
    make_run(brevo, "sent", provider_id="<1@x>")
    guest = make_customer(address="guest0@example.com")
    arrive(brevo, {"email": "Guest0@example.com", "message-id": "<1@x>"} | told)
    apply_all()
    apply_all()
    assert suppressed() == ([("email", reason)] if reason else [])
    current = Consent.objects.get(customer=guest, channel="email", is_current=True)
    assert current.granted is (reason != "opt_out")
    if reason:
        row = Suppression.objects.get()
        assert bytes(row.fingerprint) == fingerprint(brevo.organization, "guest0@example.com")


def test_a_bounce_that_names_only_our_message_suppresses_its_address(brevo, make_run, arrive, apply_all):
    make_run(brevo, "sent")
    arrive(brevo, {"event": "hard_bounce", "X-Mailin-custom": f"m{Message.objects.get().pk}"})
    apply_all()
    assert suppressed() == [("email", "bounce")]
    assert Message.objects.get().state == "bounced"


def test_a_complaint_is_harder_than_an_opt_out(brevo, arrive, apply_all):
    for event in ("unsubscribe", "spam"):
        arrive(brevo, {"event": event, "email": "a@example.com"})
        apply_all()
    assert suppressed() == [("email", "complaint")]


@pytest.mark.parametrize("watched", [False, True])
def test_opens_and_clicks_are_known_only_where_the_owner_wants_them(
    brevo, make_run, arrive, apply_all, watched
):
    callback_access.configure(brevo, tracking=watched)
    make_run(brevo, "sent", provider_id="<1@x>")
    for event in ("opened", "click"):
        arrive(brevo, {"event": event, "email": "guest0@example.com", "message-id": "<1@x>"})
    apply_all()
    assert Message.objects.get().state == ("read" if watched else "sent")
    assert DeliveryEvent.objects.count() == (2 if watched else 0)
    assert {bool(row.body) for row in Callback.objects.all()} == {watched}


def test_what_cannot_be_read_or_kept_holds_up_no_other(brevo, make_run, arrive, apply_all):
    make_run(brevo, "sent", provider_id="<1@x>")
    arrive(brevo, {}, body=b"not json")
    arrive(
        brevo,
        {"event": "delivered", "email": "a\x00@example.com", "message-id": "<\x00>", "reason": "\ud800"},
    )
    arrive(brevo, {"event": "delivered", "email": "guest0@example.com", "message-id": "<1@x>"})
    apply_all()
    assert Message.objects.get().state == "delivered"
    assert Callback.objects.order_by("pk").first().problem == "The body is not JSON."


def test_if_writing_all_facts_fails_each_callback_is_tried_alone(
    twilio, make_run, arrive, apply_all, monkeypatch
):
    make_run(twilio, "sent", "sent", "sent")
    pks = list(Message.objects.order_by("pk").values_list("pk", flat=True))
    for number, pk in enumerate(pks):
        arrive(twilio, **status(number, "delivered", pk))
    really = engine.report_all

    def stumbling(news, now):
        if pks[1] in {one.message_id for one in news}:
            raise ValueError
        return really(news, now)

    monkeypatch.setattr(engine, "report_all", stumbling)
    apply_all()
    assert list(Message.objects.order_by("pk").values_list("state", flat=True)) == [
        "delivered",
        "sent",
        "delivered",
    ]
    assert Callback.objects.filter(due_at__isnull=False).count() == 1
    monkeypatch.undo()
    apply_all(after=timedelta(seconds=3))
    assert not Message.objects.exclude(state="delivered").exists()


@pytest.mark.parametrize(("cause", "waits"), [(DeadlockDetected, True), (None, False)])
def test_a_lost_race_is_run_again_and_a_lost_database_is_not_blamed_on_callbacks(
    twilio, make_run, arrive, monkeypatch, cause, waits
):
    make_run(twilio, "sent")
    arrive(twilio, **status(1, "delivered", Message.objects.get().pk))

    def lost(news, now):
        raise OperationalError from cause

    with monkeypatch.context() as broken:
        broken.setattr(engine, "report_all", lost)
        with nullcontext() if waits else pytest.raises(OperationalError):
            applying.apply_due(sql.database_now())
    row = Callback.objects.get()
    assert row.problem == ""
    again = applying.LEASE + timedelta(seconds=1)
    assert applying.apply_due(sql.database_now() + again).number == 1
    assert Message.objects.get().state == "delivered"


def test_amazons_question_is_answered_and_repeated_until_it_is(make_account, arrive, apply_all, monkeypatch):
    ses, asked = make_account("ses"), []

    async def fetch(url):
        asked.append(url)
        if len(asked) == 1:
            raise UnreachableError("away")
        return b"ok"

    monkeypatch.setattr(certificates, "fetch", fetch)
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    arrive(ses, {"Type": "SubscriptionConfirmation", "SubscribeURL": url})
    apply_all()
    assert Callback.objects.get().due_at is not None
    apply_all(after=timedelta(seconds=3))
    apply_all(after=timedelta(minutes=3))
    assert asked == [url, url]
    assert Callback.objects.get().due_at is None


def test_a_storm_costs_few_statements(twilio, make_run, arrive):
    make_run(twilio, *["sent"] * 60)
    for number, pk in enumerate(Message.objects.values_list("pk", flat=True)):
        for kind in ("sent", "delivered"):
            arrive(twilio, **status(number, kind, pk))
    with CaptureQueriesContext(connection) as asked:
        assert applying.apply_due(sql.database_now()).number == 120
    assert len(asked) < 25, [query["sql"][:80] for query in asked]
    assert not Message.objects.exclude(state="delivered").exists()


def test_large_bodies_are_not_read_all_at_once(twilio, arrive, monkeypatch):
    monkeypatch.setattr(applying, "MOST_BYTES", 100)
    for number in range(5):
        arrive(twilio, {"MessageSid": f"SM{number}", "MessageStatus": "x" * 60})
    assert [applying.apply_due(sql.database_now()).number for _ in range(4)] == [2, 2, 1, 0]


def test_old_requests_are_removed_and_those_that_wait_stay_longer(twilio, arrive):
    now = sql.database_now()
    days = {day: timedelta(days=day) for day in (1, 15, 31)}
    for ago in days.values():
        for waits in (False, True):
            arrive(twilio, {}, received_at=now - ago, due_at=now if waits else None)
    assert applying.forget(now - days[1] * 14, now - days[1] * 30) == 3
    assert Callback.objects.count() == 3


def test_what_an_account_that_is_gone_was_told_is_dropped(twilio, arrive, apply_all):
    arrive(twilio, {"MessageSid": "SM1"})
    Callback.objects.update(account_id=twilio.pk + 1)
    apply_all()
    assert not Callback.objects.exists()


def test_an_organization_is_removed_with_all_that_came_in(twilio, make_customer, arrive, apply_all, now):
    make_customer(channels=("sms",), address="+12015550100")
    arrive(twilio, {"MessageSid": "SM2", "From": "+12015550100", "Body": "Baja"})
    apply_all()
    removed = engine.remove_organization(twilio.organization, now)
    assert {table: removed[table] for table in ("callbacks", "inbound_messages", "replies")} == {
        "callbacks": 1,
        "inbound_messages": 1,
        "replies": 1,
    }
