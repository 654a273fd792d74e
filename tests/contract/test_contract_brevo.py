"""Brevo's adapter: the contract on each channel, its table, and what a batch makes of a refusal."""

import asyncio
import json

import pytest
from anymail.backends.brevo import EmailBackend
from anymail.message import AnymailMessage

from regulars.lib.http import Answer
from regulars.providers.base import TemplateUse, Verdict
from regulars.providers.brevo import answers, requests, send, tables
from regulars.providers.brevo.options import BrevoOptions
from regulars.providers.classes import VERDICTS, ErrorClass

from .conftest import missing
from .http_vendor import HttpContract, Letter, reply
from .openapi import description
from .suite import LetterTests

DESCRIPTION = "brevo/brevo_messaging_subset.json"


class BrevoContract(HttpContract):
    kind = "brevo"
    secret = "xkeysib-not-a-real-key"
    module = send

    def options(self, port):
        return {
            "api_key": self.secret,
            "from_address": "hola@example.com",
            "from_name": "Casa Pepe · Málaga",
            "sms_sender": "CasaPepe",
            "whatsapp_sender": "12015550100",
            "base_url": f"http://127.0.0.1:{port}/v3",
        }

    def faults(self, asked):
        found = description(DESCRIPTION)
        if asked.headers.get("api-key") != self.secret:
            return ["no api-key"]
        path = asked.path.removeprefix("/v3")
        return found.faults(path, asked.body, asked.headers["content-type"]) if found else []

    def bad_key(self):
        return reply(401, {"code": "unauthorized", "message": f"Key not found: {self.secret}"})

    def too_many(self):
        return reply(429, {"code": "too_many_requests", "message": "Too many"}, x_sib_ratelimit_reset="7")

    def account(self):
        return reply(200, {"email": "owner@example.com", "plan": []})

    def test_brevo_says_for_how_long_to_wait(self):
        (outcome,) = self.meet("too many", self.message())
        assert outcome.retry_after.total_seconds() == 7


class TestLetters(LetterTests, BrevoContract):
    def read(self, asked):
        document = asked.document
        versions = document.get("messageVersions") or [document]
        return [
            Letter(
                address=version["to"][0]["email"],
                body=version["textContent"],
                headers=version["headers"],
                subject=version["subject"],
                html=version["htmlContent"],
            )
            for version in versions
        ]

    def accepts(self, letters):
        start = self.received() - len(letters)
        ids = [f"<2026.{start + n}@smtp-relay.example.com>" for n in range(len(letters))]
        return reply(201, {"messageIds": ids} if len(ids) > 1 else {"messageId": ids[0]})

    def refuses(self, letters, bad):
        return reply(400, {"code": "invalid_parameter", "message": "email is not valid in to"})

    def test_a_batch_is_one_call(self):
        self.meet_together("accept", *map(self.message, range(1, 33)))
        assert [len(letters) for letters in self.taken] == [32]

    def test_a_batch_that_is_refused_as_a_whole_goes_again_one_by_one(self):
        outcomes = self.meet_together("refuse second", *map(self.message, range(1, 5)))
        assert [len(letters) for letters in self.taken] == [4, 1, 1, 1, 1]
        assert [outcome.bad_address for outcome in outcomes] == [False, True, False, False]
        assert outcomes[1].error == "Invalid address"

    def test_what_all_are_refused_for_alike_stops_the_template_and_fails_nobody(self, monkeypatch):
        def refuse(letters):
            return reply(400, {"code": "invalid_parameter", "message": "subject is not valid"})

        monkeypatch.setattr(self, "accepts", refuse)
        outcomes = self.meet_together("accept", *map(self.message, range(1, 6)))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.STOP_TEMPLATE}
        assert "subject is not valid" in outcomes[0].error

    def test_fewer_ids_than_letters_leave_the_batch_in_doubt(self, monkeypatch):
        monkeypatch.setattr(self, "accepts", lambda letters: reply(201, {"messageIds": ["<1@x>"]}))
        outcomes = self.meet_together("accept", *map(self.message, range(1, 4)))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}
        assert len(self.taken) == 1

    def test_a_broken_address_is_refused_before_it_spoils_the_batch(self):
        spoiled = self.message(2, address="nobody at example.com")
        outcomes = self.meet_together("accept", self.message(1), spoiled, self.message(3))
        assert [outcome.verdict for outcome in outcomes] == ["accepted", "rejected", "accepted"]
        assert outcomes[1].bad_address
        assert [len(letters) for letters in self.taken] == [2]

    def test_a_letter_has_its_parts_and_our_id(self):
        self.meet("accept", self.message(7, subject="¡Olé! 🎂", html="<p>¡Olé!</p>", body="¡Olé!"))
        ((letter,),) = self.taken
        assert (letter.subject, letter.html, letter.body) == ("¡Olé! 🎂", "<p>¡Olé!</p>", "¡Olé!")
        assert letter.headers["X-Mailin-custom"] == "m7"

    def test_text_alone_is_shown_as_html_too_which_brevo_requires(self):
        self.meet("accept", self.message(body="1 < 2\nHola"))
        assert "1 &lt; 2\nHola" in self.taken[0][0].html

    def test_what_a_guest_wrote_is_not_read_as_brevos_template(self):
        self.meet("accept", self.message(body="{{ contact.EMAIL }}", html="<p>{% if %}{{x}}</p>"))
        ((letter,),) = self.taken
        assert "{{" not in letter.body.replace("\u2060", "\u2060 ")
        assert letter.body.replace("\u2060", "") == "{{ contact.EMAIL }}"
        assert letter.html == "<p>&#123;% if %}&#123;{x}}</p>"

    def test_a_batch_has_the_form_that_django_anymail_gives_it(self):
        """An oracle that was tried against the live service: the same places for the same things."""
        header = {"List-Unsubscribe": "<https://example.com/u>"}
        mail = AnymailMessage(
            "Hola", "Hola", "hola@example.com", ["guest1@example.com", "guest2@example.com"]
        )
        mail.attach_alternative("<p>Hola</p>", "text/html")
        mail.merge_data, mail.merge_headers = {}, dict.fromkeys(mail.to, header)
        payload = EmailBackend(api_key="k").build_message_payload(mail, {})
        theirs = json.loads(payload.get_request_params("https://example.com/")["data"])
        options = BrevoOptions.model_validate(self.options(1))
        batch = [self.message(n, html="<p>Hola</p>", headers=header) for n in (1, 2)]
        ours = requests.letters(batch, options)
        assert theirs.keys() <= ours.keys()
        for version, known in zip(ours["messageVersions"], theirs["messageVersions"], strict=True):
            assert version["to"] == known["to"]
            assert known["headers"].items() <= version["headers"].items()

    def test_a_name_with_comma_and_accents_is_encoded_or_brevo_drops_it(self):
        options = BrevoOptions.model_validate(self.options(1) | {"from_name": "Pepe, Málaga"})
        assert requests.letter(self.message(), options)["sender"]["name"].startswith("=?utf-8?")


class TestSms(BrevoContract):
    channel = "sms"

    def read(self, asked):
        return [Letter(address="+" + asked.document["recipient"], body=asked.document["content"])]

    def accepts(self, letters):
        return reply(201, {"messageId": 1511882900176220 + len(self.taken)})

    def refuses(self, letters, bad):
        return reply(400, {"code": "invalid_parameter", "message": "Invalid telephone number"})

    def test_a_text_beyond_gsm_says_so_or_brevo_spoils_it(self):
        options = BrevoOptions.model_validate(self.options(1))
        asked = [
            requests.sms(self.message(body=text), options)["unicodeEnabled"] for text in ("ñ€[", "á", "🎂")
        ]
        assert asked == [False, True, True]

    @pytest.mark.parametrize(
        ("purpose", "kind"),
        [("marketing", "marketing"), ("transactional", "transactional"), ("", "transactional")],
    )
    def test_brevo_is_told_what_an_sms_is_for(self, purpose, kind):
        options = BrevoOptions.model_validate(self.options(1))
        assert requests.sms(self.message(purpose=purpose), options)["type"] == kind


class TestWhatsApp(BrevoContract):
    channel = "whatsapp"

    def read(self, asked):
        document = asked.document
        text = document.get("text") or f"template {document['templateId']} {document.get('params')}"
        return [Letter(address="+" + document["contactNumbers"][0], body=text)]

    def accepts(self, letters):
        return reply(201, {"messageId": f"23befbae-1505-47a8-bd27-{len(self.taken):012d}"})

    def refuses(self, letters, bad):
        return reply(400, {"code": "invalid_parameter", "message": "Invalid phone number"})

    def test_an_approved_template_goes_with_its_values(self):
        use = TemplateUse(reference="12", name="we_miss_you", language="es", values=(("name", "Ana"),))
        self.meet("accept", self.message(template=use))
        assert self.bodies() == ["template 12 {'name': 'Ana'}"]


def test_a_template_of_another_vendor_stops_and_is_not_sent():
    use = TemplateUse(reference="HX12", name="we_miss_you", language="es")
    contract = TestWhatsApp()
    (outcome,) = contract.meet("accept", contract.message(template=use))
    assert outcome.verdict is Verdict.STOP_TEMPLATE
    assert not contract.received()


def test_the_descriptions_are_here():
    if description(DESCRIPTION) is None:
        missing("No API descriptions: set REGULARS_SHARED; Brevo's requests were held against nothing")


def test_a_wrong_request_would_be_seen():
    found = description(DESCRIPTION)
    if found is None:
        pytest.skip("No API descriptions: set REGULARS_SHARED")
    assert found.faults("/smtp/email", b'{"to": [{"mail": "x"}]}', "application/json")


EXAMPLES = {
    "invalid_parameter": Verdict.REJECTED,
    "missing_parameter": Verdict.REJECTED,
    "duplicate_request": Verdict.UNKNOWN,
    "account_under_validation": Verdict.STOP_ACCOUNT,
    "unauthorized": Verdict.STOP_ACCOUNT,
    "not_enough_credits": Verdict.STOP_ACCOUNT,
    "permission_denied": Verdict.STOP_ACCOUNT,
    "too_many_requests": Verdict.THROTTLED,
    "internal": Verdict.UNKNOWN,
    "unavailable": Verdict.UNKNOWN,
}


@pytest.mark.parametrize("path", ["/smtp/email", "/transactionalSMS/send", "/whatsapp/sendMessage"])
def test_each_error_of_the_description_has_its_outcome(path):
    found = description(DESCRIPTION)
    if found is None:
        pytest.skip("No API descriptions: set REGULARS_SHARED")
    examples = found.errors(path)
    assert {name for _, name, _ in examples} - {"spec_violation"} <= set(EXAMPLES)
    for status, name, document in examples:
        outcome = answers.outcome_of(Answer(status, {}, json.dumps(document).encode()), "sms")
        assert outcome.verdict is EXAMPLES.get(name, Verdict.REJECTED), name


@pytest.mark.parametrize("code", tables.CODES)
@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_known_code_decides_whatever_the_status(code, status):
    answer = Answer(status, {}, json.dumps({"code": code, "message": "x"}).encode())
    row = tables.CODES[code]
    for outcome in (answers.outcome_of(answer, "email"), answers.outcomes_of(answer, 3)):
        assert outcome.verdict is VERDICTS[row.error_class]
        assert (outcome.code, outcome.error) == (code, f"{row.words} (x)")


CLASSES = {
    ErrorClass.MESSAGE: "invalid_parameter missing_parameter out_of_range",
    ErrorClass.UNKNOWN: "duplicate_request",
    ErrorClass.STOP_ACCOUNT: "not_enough_credits permission_denied unauthorized account_under_validation",
}


def test_the_table_has_every_code_of_the_reference_in_its_class():
    theirs = {code: kind for kind, text in CLASSES.items() for code in text.split()}
    assert {code: row.error_class for code, row in tables.CODES.items()} == theirs


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (201, b"{}", Verdict.UNKNOWN),
        (201, b'{"messageId": true}', Verdict.UNKNOWN),
        (201, b'{"messageId": "<1@x>"}', Verdict.ACCEPTED),
        (307, b"", Verdict.STOP_ACCOUNT),
        (302, b"", Verdict.UNKNOWN),
        (400, b"", Verdict.REJECTED),
        (401, b"<html>", Verdict.STOP_ACCOUNT),
        (402, b"{}", Verdict.STOP_ACCOUNT),
        (404, b"<html>", Verdict.STOP_ACCOUNT),
        (408, b"", Verdict.UNKNOWN),
        (429, b"", Verdict.THROTTLED),
        (500, b'{"code": "internal_error"}', Verdict.UNKNOWN),
        (503, b'{"code": "unavailable"}', Verdict.UNKNOWN),
    ],
)
def test_without_a_known_code_the_status_decides(status, body, verdict):
    assert answers.outcome_of(Answer(status, {}, body), "email").verdict is verdict


def test_a_channel_without_a_sender_says_which_option_is_missing():
    options = {"api_key": "k", "sms_sender": "CasaPepe"}
    provider = send.Brevo()
    given = provider.options.model_validate(options)
    assert provider.channels_of(given) == ("sms",)

    async def scenario():
        connection = await provider.connect(given, None)
        outcomes = await connection.send([TestLetters().message()])
        await connection.close()
        return outcomes

    (outcome,) = asyncio.run(scenario())
    assert outcome.verdict is Verdict.STOP_ACCOUNT
    assert "from_address" in outcome.error


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"from_address": ""}, "at least one of"),
        ({"sms_sender": "Casa Pepe"}, "without spaces"),
        ({"whatsapp_sender": "Pepe"}, "with its country"),
        ({"from_address": "pepe"}, "Not an e-mail address"),
        ({"api_key": ""}, "api_key"),
    ],
)
def test_options_that_cannot_work_are_refused_with_advice(wrong, advice):
    with pytest.raises(ValueError, match=advice):
        BrevoOptions.model_validate({"api_key": "k"} | wrong)
