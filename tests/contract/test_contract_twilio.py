"""Twilio's adapter: the contract, and each row of its table to its outcome."""

import asyncio
import contextlib
import json
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.lib.http import Answer
from regulars.providers.base import Verdict
from regulars.providers.classes import VERDICTS, ErrorClass
from regulars.providers.twilio import send, tables
from regulars.providers.twilio.answers import outcome_of, retry_after, state_of

from .servers import answering, http_answer, read_request, reset, serve
from .suite import Contract

SID = "AC" + "a" * 32
ACCEPTED = http_answer(201, json.dumps({"sid": "SM" + "b" * 32, "status": "queued"}).encode())


def fields_of(request: bytes) -> dict[str, str]:
    body = request.partition(b"\r\n\r\n")[2].decode()
    return {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}


def error(status: int, code: int, words: str = "Sorry") -> bytes:
    document = {"code": code, "message": words, "status": status, "more_info": ""}
    return http_answer(status, json.dumps(document).encode())


class TestTwilio(Contract):
    kind = "twilio"
    secret = "not-a-real-auth-token"

    def options(self, port):
        return {
            "account_sid": SID,
            "auth_token": self.secret,
            "from": "+12015550100",
            "base_url": f"http://127.0.0.1:{port}",
        }

    @contextlib.asynccontextmanager
    async def vendor(self, behaviour):
        self.texts = []

        def respond(request: bytes) -> bytes:
            if behaviour == "bad key":
                return error(401, 20003, f"Authentication Error {self.secret}")
            if request.startswith(b"GET "):
                return http_answer(200, b'{"status": "active"}')
            self.texts.append(fields_of(request)["Body"])
            if behaviour == "too many":
                return error(429, 20429)
            if behaviour == "broken":
                return http_answer(502, b"<html>")
            if behaviour == "refuse second" and fields_of(request)["To"].endswith("2"):
                return error(400, 21211, f"'{fields_of(request)['To']}' is no number")
            sid = f"SM{len(self.texts):032x}"
            return http_answer(201, json.dumps({"sid": sid, "status": "queued"}).encode())

        async def misbehave(reader, writer, served):
            self.texts.append(fields_of(await read_request(reader))["Body"])
            if behaviour == "lost after":
                reset(writer)
            await asyncio.sleep(5)

        handler = misbehave if behaviour.endswith("after") else answering(respond)
        async with serve(handler) as self.served:
            yield self.served.port

    def bodies(self):
        return self.texts

    def received(self):
        return len(self.texts)

    def hurry(self, monkeypatch):
        real = send.HttpClient

        def quick(concurrency):
            return real(concurrency=concurrency, total_timeout=timedelta(seconds=0.5))

        monkeypatch.setattr(send, "HttpClient", quick)

    def test_the_sentence_of_the_ordered_document(self):
        (outcome,) = self.meet("refuse second", self.message(2))
        assert outcome.error == "Invalid phone number"

    def test_a_message_expires_at_twilio_so_that_it_does_not_arrive_at_night(self):
        self.meet("accept", self.message())
        (request,) = self.served.received
        assert fields_of(request)["ValidityPeriod"] == "14400"
        assert request.startswith(b"POST /2010-04-01/Accounts/" + SID.encode() + b"/Messages.json ")

    def test_a_messaging_service_is_named_as_such(self):
        service = "MG" + "c" * 32
        self.meet("accept", self.message(), **{"from": service})
        fields = fields_of(self.served.received[0])
        assert fields["MessagingServiceSid"] == service
        assert "From" not in fields

    def test_an_echoed_secret_is_blanked(self):
        answer = Answer(400, {}, json.dumps({"code": 1, "message": f"x {self.secret} y"}).encode())
        assert self.secret not in repr(outcome_of(answer, self.secret))

    @pytest.mark.parametrize("sender", ["+12015550100", "12345", "Casa Pepe", "MG" + "0" * 32, "A-1_&+"])
    def test_senders_that_twilio_knows_are_taken(self, sender):
        given_options = self.options(1) | {"from": sender}
        assert self.provider.options.model_validate(given_options).sender == sender

    @pytest.mark.parametrize(
        "sender", ["", "+0", "600 123 456", "Casa Pepe Centro", "Peña", "MG12zz" * 3, "whatsapp:+1"]
    )
    def test_other_senders_are_refused_with_advice(self, sender):
        with pytest.raises(ValueError, match="Messaging Service"):
            self.provider.options.model_validate(self.options(1) | {"from": sender})


@pytest.mark.parametrize(
    ("status", "works"), [("active", True), ("suspended", False), ("closed", False), (None, True)]
)
def test_an_account_that_may_not_send_is_seen_before_a_run_meets_it(status, works):
    assert state_of({"status": status}).works is works


@pytest.mark.parametrize("code", tables.CODES)
@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_a_known_code_decides_whatever_the_status(code, status):
    answer = Answer(status, {}, json.dumps({"code": code, "message": "x"}).encode())
    outcome, row = outcome_of(answer), tables.CODES[code]
    assert outcome.verdict is VERDICTS[row.error_class]
    assert outcome.opt_out is (row.error_class is ErrorClass.OPT_OUT)
    assert (outcome.code, outcome.error) == (str(code), row.words)
    assert outcome.bad_address is row.bad_address


# The classes of Twilio's codes, written down a second time. What one country is refused for (21408,
# 30034) is about the message, never about the account.
CLASSES = {
    Verdict.REJECTED: "21211 21214 21217 21614 21612 21408 30034 30003 30004 30005 30006 63003 63024 63032 21610 63014",
    Verdict.THROTTLED: "63049 20429 21611 30001 63017 63018 30008",
    Verdict.STOP_TEMPLATE: "21617 63013 63016 63021 63027 63028 63029 63030 30007",
    Verdict.STOP_ACCOUNT: "20003 20005 20404 21603 21606 21659 21608 30002 63007 63020 63062",
}


def test_the_table_has_every_code_of_the_reference_in_its_class():
    ours = {code: VERDICTS[row.error_class] for code, row in tables.CODES.items()}
    theirs = {int(code): verdict for verdict, text in CLASSES.items() for code in text.split()}
    assert ours == theirs


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"{}", Verdict.UNKNOWN),
        (201, b"<html>", Verdict.UNKNOWN),
        (201, b'{"sid": null}', Verdict.UNKNOWN),
        (201, b'{"sid": "SM1"}', Verdict.ACCEPTED),
        (302, b"", Verdict.UNKNOWN),
        (307, b"", Verdict.STOP_ACCOUNT),
        (400, b"", Verdict.REJECTED),
        (400, b'{"code": 99999, "message": "new"}', Verdict.REJECTED),
        (400, b'{"code": "21211"}', Verdict.REJECTED),
        (401, b"", Verdict.STOP_ACCOUNT),
        (401, b'{"code": 99999}', Verdict.STOP_ACCOUNT),
        (403, b"<html>", Verdict.STOP_ACCOUNT),
        (403, b'{"code": 99999}', Verdict.REJECTED),
        (404, b"", Verdict.STOP_ACCOUNT),
        (408, b"", Verdict.UNKNOWN),
        (429, b"", Verdict.THROTTLED),
        (500, b"", Verdict.UNKNOWN),
        (500, b'{"code": 20500}', Verdict.UNKNOWN),
        (502, b"<html>", Verdict.UNKNOWN),
        (503, b'{"code": 20503}', Verdict.UNKNOWN),
        (503, b'{"code": 20429}', Verdict.THROTTLED),
    ],
)
def test_without_a_known_code_the_status_decides(status, body, verdict):
    assert outcome_of(Answer(status, {}, body)).verdict is verdict


@given(st.integers(100, 599), st.binary(max_size=200))
def test_only_success_with_an_id_is_ever_accepted(status, body):
    outcome = outcome_of(Answer(status, {}, body))
    if outcome.verdict is Verdict.ACCEPTED:
        assert status // 100 == 2
        assert outcome.provider_id


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("999999", 3600), ("", None), ("-1", None), ("١", None), ("soon", None)],
)
def test_retry_after_is_read_in_seconds_up_to_an_hour(value, seconds):
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after(value) == expected


def test_a_429_is_throttled_with_the_time_it_names():
    outcome = outcome_of(Answer(429, {"retry-after": "9"}, b'{"code": 20429}'))
    assert outcome.retry_after == timedelta(seconds=9)
    assert not outcome.this_address_only
