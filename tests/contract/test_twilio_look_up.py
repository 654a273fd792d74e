"""Asking Twilio what became of a message: only a single one that fits is certain."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from regulars.providers import registry
from regulars.providers.base import Found, Outgoing, Question, Report

from .servers import answering, http_answer, serve

SID = "AC" + "a" * 32
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
QUESTION = Question(
    Outgoing(7, "key", "sms", "+12015550123", "Hola Marta"), since=NOW, until=NOW + timedelta(seconds=20)
)


def row(**changes):
    """A message as Twilio lists it."""
    return {
        "sid": "SM" + "b" * 32,
        "to": "+12015550123",
        "body": "Hola Marta",
        "direction": "outbound-api",
        "status": "queued",
        "date_created": "Mon, 15 Jun 2026 12:00:05 +0000",
    } | changes


def asked(*rows, status=200, **document):
    """What a look-up makes of this answer, and the requests that it made."""
    body = json.dumps({"messages": list(rows)} | document).encode()

    async def ask():
        async with serve(answering(lambda _request: http_answer(status, body))) as served:
            provider = registry.get("twilio")
            options = provider.options.model_validate(
                {"account_sid": SID, "auth_token": "hush", "from": "+12015550100", "base_url": served.url}
            )
            connection = await provider.connect(options, outbox=None)
            try:
                (found,) = await connection.look_up([QUESTION])
            finally:
                await connection.close()
            return found, served.received

    return asyncio.run(ask())


def test_it_asks_for_the_messages_to_the_number_and_sends_nothing():
    _, (request,) = asked(row())
    method, target, _ = request.split(b"\r\n")[0].decode().split(" ")
    assert method == "GET"
    assert urlsplit(target).path == f"/2010-04-01/Accounts/{SID}/Messages.json"
    assert parse_qs(urlsplit(target).query)["To"] == ["+12015550123"]
    assert b"authorization: basic" in request.lower()


@pytest.mark.parametrize(
    ("status", "report"),
    [
        ("queued", Report.ACCEPTED),
        ("sent", Report.ACCEPTED),
        ("delivered", Report.DELIVERED),
        ("read", Report.READ),
        ("undelivered", Report.FAILED),
        ("failed", Report.FAILED),
    ],
)
def test_the_single_message_that_fits_tells_what_became_of_it(status, report):
    found, _ = asked(row(status=status), row(body="Another text", sid="SM" + "c" * 32))
    assert found == Found(report, "SM" + "b" * 32)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": "Hola Marta!"},
        {"to": "+12015550124"},
        {"direction": "inbound"},
        {"direction": "outbound-reply"},
        {"date_created": "Mon, 15 Jun 2026 11:59:00 +0000"},
        {"date_created": "Mon, 15 Jun 2026 12:01:00 +0000"},
        {"date_created": "yesterday"},
        {"date_created": None},
        {"status": "receiving"},
        {"sid": None},
        {"sid": "SM\u0000"},
    ],
)
def test_what_does_not_fit_in_everything_says_nothing(changes):
    assert asked(row(**changes))[0] is None


def test_none_and_two_say_nothing():
    assert asked()[0] is None
    assert asked(row(), row(sid="SM" + "c" * 32))[0] is None


def test_a_list_that_goes_on_says_nothing():
    assert asked(row(), next_page_uri="/2010-04-01/more")[0] is None


@pytest.mark.parametrize(("status", "document"), [(429, {}), (500, {}), (200, {"messages": "none"})])
def test_an_answer_that_is_no_list_says_nothing(status, document):
    assert asked(status=status, **document)[0] is None
