"""At the door: who is let in, how much of it, and what the vendor hears."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from procrastinate.contrib.django.models import ProcrastinateJob

from callbacks import calling
from regulars.automations import callback_access
from regulars.callbacks import receiving
from regulars.callbacks.certificates import UnreachableError
from regulars.callbacks.doors import Door, Doors
from regulars.callbacks.models import Callback
from regulars.callbacks.receiving import Receiver
from regulars.callbacks.writing import NotTakenError, Writer
from regulars.providers.callbacks import PASSWORD, handler

TOKEN = "a" * 32
SECRETS = {PASSWORD: "p4ss", "auth_token": "t0ken", "app_secret": "s3cret"}


def path(kind, token=TOKEN, pk=7):
    return f"/api/callbacks/{kind}/{pk}-{token}"


def door(kind):
    return Door(7, handler(kind), TOKEN, SECRETS)


def at(kind, writer=None, fetched=b""):
    return calling.receiver(door(kind), writer or calling.Notebook(), fetched)


BREVO = calling.with_password(path("brevo"), {"event": "delivered"}, "p4ss")


def test_a_checked_request_is_kept_as_it_came():
    writer = calling.Notebook()
    call = calling.twilio(f"{path('twilio')}?message=77", MessageSid="SM1", Body="olé")
    status, headers, body = calling.called(at("twilio", writer), "POST", **call)
    assert (status, headers["content-type"], body) == (200, "text/xml", b"<Response/>")
    (row,) = writer.rows
    assert (row.account_id, row.query, row.body) == (7, "message=77", call["body"])


@pytest.mark.parametrize("kind", ["brevo", "meta", "postmark"])
def test_the_answer_says_nothing_more(kind):
    call = calling.meta(path("meta"), {}) if kind == "meta" else calling.with_password(path(kind), {}, "p4ss")
    status, headers, body = calling.called(at(kind), "POST", **call)
    assert (status, body, headers["content-length"]) == (200, b"", "0")


def test_metas_handshake_is_answered():
    ask = f"{path('meta')}?hub.mode=subscribe&hub.challenge=42&hub.verify_token="
    assert calling.called(at("meta"), "GET", f"{ask}p4ss")[::2] == (200, b"42")
    assert calling.called(at("meta"), "GET", f"{ask}guess")[0] == 403


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (BREVO | {"path": path("brevo", "b" * 32)}, 403),
        (BREVO | {"path": path("carrier-pigeon")}, 404),
        (BREVO | {"path": path("sandbox")}, 404),
        (BREVO | {"path": "/api/callbacks/brevo/7"}, 404),
        (BREVO | {"path": path("brevo", pk="99999999999999999999")}, 404),
        (BREVO | {"headers": {}}, 401),
        (BREVO | {"headers": {"authorization": "Bearer guess"}}, 403),
        (BREVO | {"method": "PUT"}, 405),
        (BREVO | {"method": "GET"}, 405),
    ],
)
def test_what_is_not_the_vendors_is_refused_and_not_kept(call, status):
    writer = calling.Notebook()
    found, headers, body = calling.called(at("brevo", writer), **({"method": "POST"} | call))
    assert (found, writer.rows) == (status, [])
    assert set(json.loads(body)) == {"error", "code", "details"}
    assert "p4ss" not in body.decode()
    assert ("www-authenticate" in headers) == (status == 401)


def test_a_stranger_is_refused_before_the_body_is_read():
    read = []

    async def ask():
        async def receive():
            read.append(1)
            return {"type": "http.request", "body": b"x" * 100}

        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path("brevo", "b" * 32),
            "query_string": b"",
            "headers": [],
        }
        await at("brevo")(scope, receive, send)
        return sent[0]["status"]

    assert asyncio.run(ask()) == 403
    assert read == []


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_not_taken(declared):
    most = handler("brevo").most_bytes
    chunks = [b"x" * (most // 4 + 1)] * 5
    headers = BREVO["headers"] | ({"content-length": str(most + 1)} if declared else {})
    writer = calling.Notebook()
    assert (
        calling.called(at("brevo", writer), "POST", path("brevo"), headers=headers, chunks=chunks)[0] == 413
    )
    assert writer.rows == []


def test_a_body_in_pieces_is_one():
    writer = calling.Notebook()
    chunks = [b'{"event":', b' "sent"}']
    assert calling.called(at("brevo", writer), **(BREVO | {"method": "POST", "chunks": chunks}))[0] == 200
    assert writer.rows[0].body == b'{"event": "sent"}'


def test_a_body_that_trickles_in_is_given_up(monkeypatch):
    monkeypatch.setattr(receiving, "BODY_SECONDS", 0.01)

    async def ask():
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path("brevo"), "query_string": b"", "headers": []}
        await at("brevo")(scope, lambda: asyncio.sleep(10), send)
        return sent[0]["status"]

    assert asyncio.run(ask()) == 408


@pytest.mark.parametrize(("kind", "status"), [("brevo", 429), ("twilio", 503), ("meta", 503)])
@pytest.mark.parametrize("why", ["full", "not written", "no database"])
def test_under_pressure_each_vendor_hears_what_makes_it_come_again(kind, status, why, monkeypatch):
    writer = calling.Notebook()
    writer.is_full = why == "full"
    writer.problem = NotTakenError("OperationalError") if why == "not written" else None
    application = at(kind, writer)
    if why == "no database":

        def away(kind, pk):
            raise OSError

        application = Receiver(writer, Doors(away))
    call = {
        "brevo": BREVO,
        "twilio": calling.twilio(path("twilio"), MessageSid="SM1"),
        "meta": calling.meta(path("meta"), {}),
    }[kind]
    found, headers, _ = calling.called(application, "POST", **call)
    assert (found, writer.rows) == (status, [])
    assert headers["retry-after"] == "30"


def test_without_amazons_certificate_amazon_comes_again():
    told = {"Type": "Notification", "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/a.pem"}
    call = {"path": path("ses"), "body": json.dumps(told).encode()}
    assert calling.called(at("ses", fetched=UnreachableError("away")), "POST", **call)[0] == 503
    assert calling.called(at("ses", fetched=b"no certificate"), "POST", **call)[0] == 401
    foreign = json.dumps(told | {"SigningCertURL": "https://example.com/a.pem"}).encode()
    assert calling.called(at("ses"), "POST", path("ses"), foreign)[0] == 403


def test_a_body_that_is_no_json_is_said_to_be_none():
    assert calling.called(at("ses"), "POST", path("ses"), b"{")[0] == 400


def test_the_address_is_the_public_one_whatever_is_in_between(settings):
    scope = {"path": "/a", "raw_path": b"/a", "query_string": b"b=1", "scheme": "http"}
    assert receiving.url_of(scope, {"host": "inside:8000"}) == "https://regulars.example.com/a?b=1"
    settings.PUBLIC_URL = ""
    assert receiving.url_of(scope, {"host": "inside:8000"}) == "http://inside:8000/a?b=1"


def test_one_look_serves_everybody_who_asks_meanwhile():
    looks = []

    def look(kind, pk):
        looks.append(pk)
        return door(kind)

    async def ask():
        doors = Doors(look)
        await asyncio.gather(*(doors.find("brevo", 7) for _ in range(50)))
        await doors.find("brevo", 8)

    asyncio.run(ask())
    assert looks == [7, 8]


@pytest.fixture
def jobs():
    """The jobs that ask for an application; tests that commit leave none behind."""
    asked = ProcrastinateJob.objects.filter(task_name="regulars.apply_callbacks", status="todo")
    yield asked
    asked.delete()


@pytest.mark.django_db(transaction=True)
def test_many_requests_are_durable_when_they_are_answered(make_account, path_of, jobs):
    account = make_account("twilio")
    calls = [calling.twilio(path_of(account), MessageSid=f"SM{n}", MessageStatus="sent") for n in range(40)]

    async def ask():
        application = Receiver(Writer())
        answers = await asyncio.gather(*(calling.ask(application, "POST", **call) for call in calls))
        await application.close()
        return {status for status, _, _ in answers}

    assert asyncio.run(ask()) == {200}
    rows = Callback.objects.filter(account=account)
    assert {bytes(row.body) for row in rows} == {call["body"] for call in calls}
    assert abs((rows[0].received_at - datetime.now(UTC)).total_seconds()) < 60
    assert jobs.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_died_meanwhile_costs_nobody_a_refusal(make_account, path_of, jobs):
    account = make_account("brevo")
    password = callback_access.password_of(account)
    call = calling.with_password(path_of(account), {"event": "sent"}, password)

    async def ask():
        writer = Writer()
        application = Receiver(writer)
        first = await calling.ask(application, "POST", **call)
        await writer._connection.close()
        second = await calling.ask(application, "POST", **call)
        await application.close()
        return first[0], second[0]

    assert asyncio.run(ask()) == (200, 200)
    assert Callback.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_demo_is_called_by_nobody(make_account, organization, path_of):
    account = make_account("brevo")
    type(organization).objects.update(is_demo=True)
    assert calling.called(Receiver(calling.Notebook()), "POST", path_of(account))[0] == 403
