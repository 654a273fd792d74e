"""Amazon SES's adapter: the contract, its tables, and every request held against botocore's own model."""

import contextlib
import functools
import json

import pytest
from botocore import loaders, model, validate
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials
from botocore.session import get_session
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from regulars.lib.http import Answer
from regulars.providers.base import Verdict
from regulars.providers.classes import VERDICTS, ErrorClass
from regulars.providers.ses import answers, requests, send, tables
from regulars.providers.ses.options import SesOptions

from .http_vendor import HttpContract, Letter, reply
from .suite import LetterTests

KEY, REGION = "AKIAIOSFODNN7EXAMPLE", "eu-west-1"
OPERATIONS = {
    "outbound-emails": "SendEmail",
    "outbound-bulk-emails": "SendBulkEmail",
    "account": "GetAccount",
}


@functools.cache
def service() -> model.ServiceModel:
    return model.ServiceModel(loaders.Loader().load_service_model("sesv2", "service-2"), "sesv2")


def exception(name: str, words: str = "Sorry", status: int = 400) -> bytes:
    return reply(status, {"message": words}, x_amzn_errortype=f"{name}:http://internal.example.com/")


class TestSes(LetterTests, HttpContract):
    kind = "ses"
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    module = send
    # An entry's INVALID_PARAMETER does not say which.
    blames_address = False

    def options(self, port):
        return {
            "access_key_id": KEY,
            "secret_access_key": self.secret,
            "region": REGION,
            "from_address": "hola@example.com",
            "from_name": "Casa Pepe, Málaga",
            "configuration_set": "regulars",
            "base_url": f"http://127.0.0.1:{port}",
        }

    def faults(self, asked):
        found = validate.ParamValidator().validate(asked.document, self.operation(asked).input_shape)
        return [found.generate_report()] * found.has_errors() + self.wrong_signature(asked)

    def faults_of_look(self, asked):
        return self.wrong_signature(asked)

    def operation(self, asked):
        return service().operation_model(OPERATIONS[asked.path.rpartition("/")[2]])

    def wrong_signature(self, asked):
        """Signed anew by AWS's library over what arrived: the host, the path, the date and the bytes."""
        url = f"http://{asked.headers['host']}{asked.path}"
        again = AWSRequest(asked.method, url, data=asked.body)
        again.context["timestamp"] = asked.headers["x-amz-date"]
        again.headers["X-Amz-Date"] = asked.headers["x-amz-date"]
        signer = SigV4Auth(Credentials(KEY, self.secret), "ses", REGION)
        signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
        return [] if asked.headers["authorization"].endswith(signature) else ["the signature is wrong"]

    def read(self, asked):
        document = asked.document
        if "BulkEmailEntries" not in document:
            simple = document["Content"]["Simple"]
            texts = {name: part["Data"] for name, part in simple["Body"].items()}
            return [self.letter(document["Destination"], simple.get("Headers", ()), texts)]
        template = document["DefaultContent"]["Template"]["TemplateContent"]
        return [self.merged(template, entry) for entry in document["BulkEmailEntries"]]

    def merged(self, template, entry):
        data = json.loads(entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"])
        texts = {name: data[hole.strip("{}")] for name, hole in template.items()}
        return self.letter(entry["Destination"], entry.get("ReplacementHeaders", ()), texts)

    def letter(self, destination, headers, texts):
        (address,) = destination["ToAddresses"]
        named = {header["Name"]: header["Value"] for header in headers}
        return Letter(address, texts["Text"], named, html=texts.get("Html", ""))

    def accepts(self, letters):
        return self.refuses(letters, [])

    def refuses(self, letters, bad):
        start = self.received() - len(letters)
        results = [
            {"Status": "INVALID_PARAMETER", "Error": f"bad {letter.address}"}
            if letter in bad
            else {"Status": "SUCCESS", "MessageId": f"0102-{start + number}"}
            for number, letter in enumerate(letters)
        ]
        if len(letters) > 1:
            return reply(200, {"BulkEmailEntryResults": results})
        if bad:
            return exception("BadRequestException", f"Illegal address {letters[0].address}")
        return reply(200, {"MessageId": results[0]["MessageId"]})

    def bad_key(self):
        return exception("SignatureDoesNotMatch", "The signature does not match", 403)

    def too_many(self):
        return exception("TooManyRequestsException", "Maximum sending rate exceeded.", 429)

    def account(self):
        quota = {"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": 0.0}
        return reply(200, {"SendQuota": quota, "SendingEnabled": True, "ProductionAccessEnabled": False})

    def test_several_letters_are_one_bulk_call_and_one_is_a_single_call(self):
        self.meet_together("accept", *map(self.message, range(1, 33)))
        assert [request.split(b" ")[1] for request in self.served.received] == [
            b"/v2/email/outbound-bulk-emails"
        ]
        self.meet_together("accept", self.message())
        assert [request.split(b" ")[1] for request in self.served.received] == [b"/v2/email/outbound-emails"]

    def test_letters_with_and_without_html_go_in_calls_of_their_own_in_order(self):
        mixed = [self.message(n, body=f"text {n}", html="<p>x</p>" * (n % 2)) for n in range(1, 7)]
        outcomes = self.meet_together("accept", *mixed)
        assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
        assert sorted(len(letters) for letters in self.taken) == [3, 3]
        assert {letter.body: bool(letter.html) for letters in self.taken for letter in letters} == {
            f"text {n}": bool(n % 2) for n in range(1, 7)
        }

    def test_a_bulk_call_that_is_refused_as_a_whole_goes_again_one_by_one(self, monkeypatch):
        def refuse(letters, bad=None):
            if len(letters) > 1 or self.is_second(letters[0].address):
                return exception("BadRequestException", "Illegal address")
            return reply(200, {"MessageId": "0102-1"})

        monkeypatch.setattr(self, "accepts", refuse)
        outcomes = self.meet_together("accept", *map(self.message, range(1, 5)))
        assert [outcome.verdict for outcome in outcomes] == ["accepted", "rejected", "accepted", "accepted"]

    def test_a_look_tells_what_the_account_is_granted(self):
        words = self.look_at("accept").words
        assert "14.0 letters a second" in words
        assert "sandbox" in words

    def test_the_request_is_the_one_that_amazons_own_client_would_make(self):
        """An oracle: botocore's client is given the same values, and its bytes are compared."""
        options = SesOptions.model_validate(self.options(1))
        message = self.message(
            1, html="<p>¡Olé! 🎂</p>", headers={"List-Unsubscribe": "<https://example.com/u>"}
        )
        bulk = requests.letters([message, self.message(2, html="<p>x</p>")], options)
        for operation, document in (
            ("SendEmail", requests.letter(message, options)),
            ("SendBulkEmail", bulk),
        ):
            assert json.loads(self.as_botocore_writes(operation, document)) == document

    def test_moto_understands_a_letter_as_it_was_meant(self):
        """Another oracle: moto takes it in the place of SES, and keeps what it understood."""
        options = SesOptions.model_validate(self.options(1))
        message = self.message(1, subject="¡Olé! 🎂", body="¡Olé!", html="<p>¡Olé!</p>")
        with mock_aws():
            client = get_session().create_client(
                "sesv2", REGION, aws_access_key_id=KEY, aws_secret_access_key=self.secret
            )
            with pytest.raises(client.exceptions.MessageRejected):
                client.send_email(**requests.letter(message, options))
            client.create_email_identity(EmailIdentity="hola@example.com")
            assert client.send_email(**requests.letter(message, options))["MessageId"]
            (kept,) = ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages
        assert (kept.subject, kept.destinations["ToAddresses"]) == (message.subject, [message.address])
        assert "hola@example.com" in kept.source

    def as_botocore_writes(self, operation, document):
        client = get_session().create_client(
            "sesv2", REGION, aws_access_key_id=KEY, aws_secret_access_key=self.secret
        )
        written = []

        def keep(request, **_):
            written.append(request.body)
            return AWSResponse(request.url, 200, {}, None)

        client.meta.events.register(f"before-send.sesv2.{operation}", keep)
        method = {"SendEmail": client.send_email, "SendBulkEmail": client.send_bulk_email}[operation]
        # The empty answer above has no body to read.
        with contextlib.suppress(AttributeError):
            method(**document)
        return written[0]


@pytest.mark.parametrize("name", tables.EXCEPTIONS)
@pytest.mark.parametrize("status", [400, 403, 429])
def test_a_known_exception_decides_whatever_the_status(name, status):
    row = tables.EXCEPTIONS[name]
    by_header = Answer(status, {"x-amzn-errortype": f"{name}:http://x/"}, b'{"message": "x"}')
    by_body = Answer(status, {}, json.dumps({"__type": f"com.amazonaws#{name}", "Message": "x"}).encode())
    for answer in (by_header, by_body):
        outcome = answers.outcome_of(answer)
        assert (outcome.verdict, outcome.code) == (VERDICTS[row.error_class], name)
        assert outcome == answers.outcomes_of(answer, 5)


@pytest.mark.parametrize("state", tables.ENTRIES)
def test_each_state_of_an_entry_is_its_own_letters_outcome(state):
    results = [{"Status": "SUCCESS", "MessageId": "1"}, {"Status": state, "Error": "x"}]
    answer = Answer(200, {}, json.dumps({"BulkEmailEntryResults": results}).encode())
    first, second = answers.outcomes_of(answer, 2)
    assert first.verdict is Verdict.ACCEPTED
    assert second.verdict is VERDICTS[tables.ENTRIES[state].error_class]
    assert second.code == state


def test_the_tables_know_every_state_and_exception_of_amazons_model():
    states = service().shape_for("BulkEmailStatus").enum
    assert set(tables.ENTRIES) == set(states) - {"SUCCESS"}
    thrown = {
        error.name
        for name in ("SendEmail", "SendBulkEmail")
        for error in service().operation_model(name).error_shapes
    }
    assert thrown <= set(tables.EXCEPTIONS)


CLASSES = {
    ErrorClass.MESSAGE: "MESSAGE_REJECTED INVALID_PARAMETER FAILED",
    ErrorClass.TEMPORARY: "TRANSIENT_FAILURE ACCOUNT_THROTTLED",
    ErrorClass.STOP_ACCOUNT: "ACCOUNT_SUSPENDED ACCOUNT_DAILY_QUOTA_EXCEEDED ACCOUNT_SENDING_PAUSED "
    "CONFIGURATION_SET_NOT_FOUND CONFIGURATION_SET_SENDING_PAUSED MAIL_FROM_DOMAIN_NOT_VERIFIED "
    "TEMPLATE_NOT_FOUND INVALID_SENDING_POOL_NAME",
}


def test_the_states_are_in_the_classes_of_the_reference():
    theirs = {state: kind for kind, text in CLASSES.items() for state in text.split()}
    assert {state: row.error_class for state, row in tables.ENTRIES.items()} == theirs


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"{}", Verdict.UNKNOWN),
        (200, b'{"BulkEmailEntryResults": []}', Verdict.UNKNOWN),
        (200, b'{"BulkEmailEntryResults": [{"Status": "SUCCESS"}]}', Verdict.UNKNOWN),
        (200, b'{"BulkEmailEntryResults": [{"Status": "NEW_ONE"}]}', Verdict.UNKNOWN),
        (200, b'{"BulkEmailEntryResults": [null]}', Verdict.UNKNOWN),
        (403, b"", Verdict.STOP_ACCOUNT),
        (404, b"<html>", Verdict.STOP_ACCOUNT),
        (500, b'{"__type": "InternalServerErrorException"}', Verdict.UNKNOWN),
        (503, b"", Verdict.UNKNOWN),
    ],
)
def test_without_a_known_code_the_status_decides(status, body, verdict):
    judged = answers.outcomes_of(Answer(status, {}, body), 1)
    outcome = judged[0] if isinstance(judged, list) else judged
    assert outcome.verdict is verdict


@pytest.mark.parametrize(
    "wrong",
    [{"region": "Ireland"}, {"access_key_id": "x"}, {"configuration_set": "a b"}, {"from_address": "x"}],
)
def test_options_that_cannot_work_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SesOptions.model_validate(TestSes().options(1) | wrong)
