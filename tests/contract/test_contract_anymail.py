"""Postmark, Mailgun and Resend: the contract, and each row of their tables to its outcome."""

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from regulars.lib.http import Answer
from regulars.providers.anymail import answers, send, service, tables
from regulars.providers.base import Found, Question, Report, Verdict
from regulars.providers.classes import VERDICTS

from .http_vendor import Asked, HttpContract, Letter, reply
from .servers import answering, serve
from .suite import LetterTests


class MailServiceContract(LetterTests, HttpContract):
    module = service

    def options(self, port):
        return {
            "from_address": "hola@example.com",
            "from_name": 'Casa "Pepe", Málaga',
            "base_url": f"http://127.0.0.1:{port}",
        }

    def ids(self, letters):
        start = self.received() - len(letters)
        return [f"b7bc2f4a-e38e-4336-af7d-{start + number:012d}" for number in range(len(letters))]


class TestPostmark(MailServiceContract):
    kind = "postmark"
    secret = "not-a-real-server-token"

    def options(self, port):
        return super().options(port) | {"server_token": self.secret}

    def read(self, asked):
        assert asked.path == "/email/batch"
        assert asked.headers["x-postmark-server-token"] == self.secret
        return [
            Letter(
                one["To"],
                one["TextBody"],
                {header["Name"]: header["Value"] for header in one.get("Headers", ())},
                one["Subject"],
                one.get("HtmlBody", ""),
            )
            for one in asked.document
        ]

    def accepts(self, letters):
        return self.refuses(letters, [])

    def refuses(self, letters, bad):
        results = [
            {"ErrorCode": 300, "Message": f"Invalid 'To' address: '{letter.address}'."}
            if letter in bad
            else {"ErrorCode": 0, "Message": "OK", "MessageID": known, "To": letter.address}
            for letter, known in zip(letters, self.ids(letters), strict=True)
        ]
        return reply(200, results)

    def bad_key(self):
        return reply(401, {"ErrorCode": 10, "Message": f"Bad or missing token {self.secret}"})

    def too_many(self):
        return reply(429, {"ErrorCode": 429, "Message": "Rate limit exceeded"})

    def test_marketing_goes_through_its_own_stream_and_nobody_is_watched(self):
        mails = self.message(1, purpose="marketing"), self.message(2, purpose="transactional")
        self.meet_together("accept", *mails)
        (request,) = self.served.received
        sent = json.loads(request.partition(b"\r\n\r\n")[2])
        assert [one["MessageStream"] for one in sent] == ["broadcast", "outbound"]
        assert {(one["TrackOpens"], one["TrackLinks"]) for one in sent} == {(False, "None")}
        assert [one["Metadata"] for one in sent] == [{"message": "1"}, {"message": "2"}]
        assert sent[0]["From"] == '"Casa \\"Pepe\\", Málaga" <hola@example.com>'


class TestResend(MailServiceContract):
    kind = "resend"
    secret = "re_not_a_real_key"

    def options(self, port):
        return super().options(port) | {"api_key": self.secret}

    def read(self, asked):
        assert asked.path == "/emails/batch"
        assert asked.headers["authorization"] == f"Bearer {self.secret}"
        return [
            Letter(one["to"][0], one["text"], one.get("headers", {}), one["subject"], one.get("html", ""))
            for one in asked.document
        ]

    def accepts(self, letters):
        return reply(200, {"data": [{"id": known} for known in self.ids(letters)]})

    words = "Invalid `to` field. The email address needs to follow the `email@example.com` format."

    def refuses(self, letters, bad):
        if len(letters) == 1:
            return reply(422, {"name": "validation_error", "statusCode": 422, "message": self.words})
        assert Asked.of(self.served.received[-1]).headers["x-batch-validation"] == "permissive"
        errors = [{"index": letters.index(letter), "message": self.words} for letter in bad]
        ids = [known for known, letter in zip(self.ids(letters), letters, strict=True) if letter not in bad]
        return reply(200, {"data": [{"id": known} for known in ids], "errors": errors})

    def test_one_bad_letter_of_a_batch_is_named_and_needs_no_second_call(self):
        outcomes = self.meet_together("refuse second", *map(self.message, range(1, 6)))
        assert [outcome.bad_address for outcome in outcomes] == [False, True, False, False, False]
        assert [len(letters) for letters in self.taken] == [5]

    def test_a_batch_that_is_refused_all_the_same_goes_again_one_by_one(self, monkeypatch):
        def strict(letters, bad):
            return reply(422, {"name": "validation_error", "message": self.words})

        monkeypatch.setattr(self, "refuses", strict)
        outcomes = self.meet_together("refuse second", *map(self.message, range(1, 6)))
        assert [outcome.bad_address for outcome in outcomes] == [False, True, False, False, False]

    def bad_key(self):
        return reply(403, {"name": "invalid_api_key", "message": f"API key is invalid {self.secret}"})

    def too_many(self):
        return reply(429, {"name": "rate_limit_exceeded", "message": "Too many"}, ratelimit_reset="1")

    def test_each_attempt_has_a_key_of_its_own(self):
        """With one key for all, a letter that was refused and tried again would count as seen."""
        keys = []
        for attempt in (1, 1, 2):
            self.meet("accept", self.message(attempt=attempt))
            (request,) = self.served.received
            keys.append(Asked.of(request).headers["idempotency-key"])
        first, same, other = keys
        assert first == same != other

    def test_our_id_comes_back_as_a_tag_that_the_guest_does_not_see(self):
        self.meet("accept", self.message(7))
        (one,) = Asked.of(self.served.received[0]).document
        assert one["tags"] == [{"name": "message", "value": "7"}]
        assert not one.get("headers")

    def test_a_key_that_may_only_send_is_enough(self, monkeypatch):
        words = "This API key is restricted to only send emails"
        answer = reply(401, {"name": "restricted_api_key", "message": words})
        monkeypatch.setattr(self, "account", lambda: answer)
        assert self.look_at("accept").works


class TestMailgun(MailServiceContract):
    kind = "mailgun"
    secret = "key-not-a-real-one"

    def options(self, port):
        return super().options(port) | {"api_key": self.secret, "domain": "mg.example.com"}

    def read(self, asked):
        assert asked.path == "/mg.example.com/messages"
        fields = {
            name: values[0] for name, values in parse_qs(asked.body.decode(), strict_parsing=True).items()
        }
        self.fields = fields
        headers = {name[2:]: value for name, value in fields.items() if name.startswith("h:")}
        return [Letter(fields["to"], fields["text"], headers, fields["subject"], fields.get("html", ""))]

    def accepts(self, letters):
        return reply(200, {"id": f"<{self.ids(letters)[0]}@mg.example.com>", "message": "Queued. Thank you."})

    def refuses(self, letters, bad):
        return reply(400, {"message": "to parameter is not a valid address. please check documentation"})

    def bad_key(self):
        return reply(401, {"message": "Forbidden"})

    def too_many(self):
        return reply(429, {"message": "Too Many Requests"})

    def test_nobody_is_watched_and_our_id_comes_back(self):
        self.meet("accept", self.message(7))
        watched = {name: value for name, value in self.fields.items() if name.startswith("o:")}
        assert watched == {"o:tracking-opens": "no", "o:tracking-clicks": "no"}
        assert self.fields["v:message"] == "7"

    def test_a_wrong_address_of_the_api_stops_the_account(self, monkeypatch):
        monkeypatch.setattr(self, "accepts", lambda letters: reply(200, "Mailgun Magnificent API"))
        (outcome,) = self.meet("accept", self.message())
        assert outcome.verdict is Verdict.STOP_ACCOUNT
        assert "base_url" in outcome.error


@pytest.mark.parametrize("code", tables.POSTMARK)
def test_each_code_of_postmark_has_its_outcome(code):
    row = tables.POSTMARK[code]
    result = {"ErrorCode": code, "Message": "x"}
    (of_one,) = answers.postmark(Answer(200, {}, json.dumps([result]).encode()), 1)
    of_all = answers.postmark(Answer(422, {}, json.dumps(result).encode()), 3)
    for outcome in (of_one, of_all):
        assert (outcome.verdict, outcome.code) == (VERDICTS[row.error_class], str(code))
        assert outcome.bad_address is row.bad_address


@pytest.mark.parametrize("name", tables.RESEND)
def test_each_name_of_resend_has_its_outcome(name):
    answer = Answer(422, {}, json.dumps({"name": name, "message": "x"}).encode())
    outcome = answers.resend(answer, 2)
    assert (outcome.verdict, outcome.code) == (VERDICTS[tables.RESEND[name].error_class], name)


@pytest.mark.parametrize(
    ("status", "words", "verdict"),
    [
        (400, "to parameter is not a valid address. please check documentation", Verdict.REJECTED),
        (400, "from parameter is not a valid address.", Verdict.STOP_ACCOUNT),
        (400, "something else", Verdict.REJECTED),
        (401, "Forbidden", Verdict.STOP_ACCOUNT),
        (402, "", Verdict.STOP_ACCOUNT),
        (403, "Domain mg.example.com is not allowed to send", Verdict.STOP_ACCOUNT),
        (404, "Domain not found: mg.example.com", Verdict.STOP_ACCOUNT),
        (413, "", Verdict.STOP_TEMPLATE),
        (429, "", Verdict.THROTTLED),
        (500, "Internal error", Verdict.UNKNOWN),
    ],
)
def test_each_answer_of_mailgun_has_its_outcome(status, words, verdict):
    outcome = answers.mailgun(Answer(status, {}, json.dumps({"message": words}).encode()))
    assert outcome.verdict is verdict


@pytest.mark.parametrize("judge", [send.Postmark, send.Resend, send.Mailgun])
@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"", Verdict.UNKNOWN),
        (200, b"[]", Verdict.UNKNOWN),
        (200, b'{"data": []}', Verdict.UNKNOWN),
        (200, b"[" * 5000, Verdict.UNKNOWN),
        (302, b"", Verdict.UNKNOWN),
        (307, b"", Verdict.STOP_ACCOUNT),
        (401, b"<html>", Verdict.STOP_ACCOUNT),
        (404, b"<html>", Verdict.STOP_ACCOUNT),
        (408, b"", Verdict.UNKNOWN),
        (429, b"", Verdict.THROTTLED),
        (502, b"<html>", Verdict.UNKNOWN),
    ],
)
def test_without_a_known_code_the_status_decides(judge, status, body, verdict):
    judged = judge().judged(Answer(status, {}, body), 1, "secret")
    assert not isinstance(judged, list)
    assert judged.verdict is verdict


@pytest.mark.parametrize(
    ("status", "words", "verdict"),
    [
        (400, "API key is invalid", Verdict.REJECTED),
        (401, "API key is invalid", Verdict.STOP_ACCOUNT),
        (403, "The example.com domain is not verified", Verdict.STOP_ACCOUNT),
    ],
)
def test_resends_validation_error_means_what_its_status_says(status, words, verdict):
    answer = Answer(status, {}, json.dumps({"name": "validation_error", "message": words}).encode())
    assert answers.resend(answer, 1).verdict is verdict


@pytest.mark.parametrize("code", [4711, 1300])
def test_a_new_code_of_postmark_refuses_its_letter_only(code):
    results = [{"ErrorCode": code, "Message": "new"}, {"ErrorCode": 0, "MessageID": "1"}]
    first, second = answers.postmark(Answer(200, {}, json.dumps(results).encode()), 2)
    assert (first.verdict, second.verdict) == (Verdict.REJECTED, Verdict.ACCEPTED)


# What became of a letter whose answer was lost.

SINCE, UNTIL = datetime(2026, 6, 15, 12, 0, tzinfo=UTC), datetime(2026, 6, 15, 12, 1, tzinfo=UTC)


def ask(contract, rows, status=200):
    """Look letter 7 up in a service that lists these; what is found, and how it was asked."""
    asked = []

    async def scenario():
        def respond(request):
            asked.append(request.split(b" ")[1].decode())
            return reply(status, {"Messages": rows, "items": rows})

        async with serve(answering(respond)) as served:
            given = contract.provider.options.model_validate(contract.options(served.port))
            connection = await contract.provider.connect(given, None)
            question = Question(contract.message(7, purpose="marketing"), SINCE, UNTIL)
            found = await connection.look_up([question])
            await connection.close()
            return found

    (found,) = asyncio.run(scenario())
    path, _, query = asked[0].partition("?")
    return found, path, {name: values[0] for name, values in parse_qs(query).items()}


def listed_by_postmark(**changes):
    return {
        "MessageID": "0ac29aee-e1cd-480d-b08d-4f48548ff48d",
        "Status": "Sent",
        "ReceivedAt": "2026-06-15T08:00:30.0000000-04:00",
        "Metadata": {"message": "7"},
    } | changes


def listed_by_mailgun(**changes):
    return {
        "event": "accepted",
        "timestamp": SINCE.timestamp() + 30.5,
        "user-variables": {"message": "7"},
        "message": {"headers": {"message-id": "20260615.1@mg.example.com"}},
    } | changes


def test_postmark_is_asked_by_address_stream_and_our_id():
    found, path, query = ask(TestPostmark(), [listed_by_postmark()])
    assert found == Found(Report.ACCEPTED, "0ac29aee-e1cd-480d-b08d-4f48548ff48d")
    assert path == "/messages/outbound"
    assert query["recipient"] == "guest7@example.com"
    assert (query["messagestream"], query["metadata_message"]) == ("broadcast", "7")


def test_mailgun_is_asked_by_address_and_time_and_found_by_our_id():
    found, path, query = ask(TestMailgun(), [listed_by_mailgun()])
    assert found == Found(Report.ACCEPTED, "<20260615.1@mg.example.com>")
    assert path == "/mg.example.com/events"
    assert (query["event"], query["recipient"]) == ("accepted", "guest7@example.com")


@pytest.mark.parametrize(
    ("service", "row"),
    [
        (TestPostmark, listed_by_postmark(Metadata={"message": "8"})),
        (TestPostmark, listed_by_postmark(Metadata=None)),
        (TestPostmark, listed_by_postmark(ReceivedAt="2026-06-15T12:00:30.0000000-04:00")),
        (TestPostmark, listed_by_postmark(ReceivedAt="soon")),
        (TestPostmark, listed_by_postmark(Status="Mislaid")),
        (TestPostmark, listed_by_postmark(MessageID=None)),
        (TestMailgun, listed_by_mailgun(**{"user-variables": {"message": "8"}})),
        (TestMailgun, listed_by_mailgun(timestamp=1.0)),
        (TestMailgun, listed_by_mailgun(timestamp="now")),
        (TestMailgun, listed_by_mailgun(event="rejected")),
        (TestMailgun, listed_by_mailgun(message={})),
        (TestMailgun, None),
    ],
)
def test_what_is_not_certainly_ours_is_not_found(service, row):
    assert ask(service(), [row])[0] is None


@pytest.mark.parametrize("service", [TestPostmark, TestMailgun])
def test_a_look_up_that_fails_says_nothing(service):
    assert ask(service(), [], status=500)[0] is None


def test_resend_has_no_look_up():
    assert not send.Resend.can_look_up
