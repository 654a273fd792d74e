"""Meta's adapter: the contract, each row of its table to its outcome, and its list of templates."""

import asyncio
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.lib.http import Answer
from regulars.providers.base import Approval, TemplatesUnavailableError, TemplateUse, Verdict
from regulars.providers.classes import VERDICTS, ErrorClass
from regulars.providers.meta import send, tables
from regulars.providers.meta.answers import outcome_of, state_of

from .http_vendor import HttpContract, Letter, reply
from .openapi import description
from .servers import answering, http_answer, serve
from .suite import message

DESCRIPTION = "meta/whatsapp_business_messaging_v23.messages.patched.json"
NUMBER, BUSINESS = "105512345678901", "220033445566778"
USE = TemplateUse(
    "1",
    "come_back",
    "es_ES",
    (("header.1", "Ana"), ("1", "Ana"), ("venue", "Casa Pepe"), ("button.0", "ana-1")),
)


def refusal(status: int, code: int, words: str = "Sorry", details: str = "") -> bytes:
    fault = {"message": words, "type": "OAuthException", "code": code, "fbtrace_id": "x"}
    if details:
        fault["error_data"] = {"messaging_product": "whatsapp", "details": details}
    return reply(status, {"error": fault})


class TestMeta(HttpContract):
    kind = "meta"
    secret = "not-a-real-access-token"
    channel = "whatsapp"
    module = send

    def options(self, port):
        return {
            "access_token": self.secret,
            "phone_number_id": NUMBER,
            "business_account_id": BUSINESS,
            "base_url": f"http://127.0.0.1:{port}",
        }

    def read(self, asked):
        self.asked = asked
        document = asked.document
        to = document.get("recipient") or f"+{document['to']}"
        return [Letter(to, document.get("text", {}).get("body", ""))]

    def accepts(self, letters):
        number = f"wamid.{len(self.taken)}"
        return reply(200, {"messaging_product": "whatsapp", "messages": [{"id": number}]})

    def refuses(self, letters, bad):
        return refusal(400, 131026, "Message undeliverable", f"{bad[0].address} is not on WhatsApp")

    def bad_key(self):
        return refusal(401, 190, f"Invalid OAuth access token {self.secret}")

    def too_many(self):
        return refusal(429, 130429)

    def account(self):
        return reply(200, {"display_phone_number": "+1 201-555-0100", "verified_name": "Casa Pepe"})

    def faults(self, asked):
        found, document = description(DESCRIPTION), asked.document
        if asked.headers.get("authorization") != f"Bearer {self.secret}":
            return ["no access token"]
        # Younger than the description: user ids, and our own number at the marketing endpoint.
        if found is None or "recipient" in document:
            return []
        endpoint = asked.path.rpartition("/")[2]
        if endpoint == "marketing_messages":
            document.pop("biz_opaque_callback_data", None)
        path = f"/{{Version}}/{{Phone-Number-ID}}/{endpoint}"
        return found.faults(path, json.dumps(document).encode(), asked.headers["content-type"])

    def faults_of_look(self, asked):
        return [] if asked.path.startswith(f"/v23.0/{NUMBER}?fields=") else [f"no page at {asked.path}"]

    def test_a_look_names_the_number(self):
        assert self.look_at("accept").words == "Meta knows the number +1 201-555-0100 Casa Pepe."

    def sent(self, *, purpose="marketing", template=USE, **options):
        """The request line and the document of one message."""
        address = options.pop("address", "+12015550001")
        message = self.message(purpose=purpose, template=template, address=address)
        (outcome,) = self.meet("accept", message, **options)
        assert outcome.verdict is Verdict.ACCEPTED
        return f"{self.asked.method} {self.asked.path}", self.asked.document

    def test_a_template_goes_out_with_each_value_in_its_place(self):
        line, document = self.sent()
        assert line == f"POST /v23.0/{NUMBER}/messages"
        assert document["to"] == "12015550001"
        assert document["biz_opaque_callback_data"] == "1"
        assert document["template"] == {
            "name": "come_back",
            "language": {"code": "es_ES"},
            "components": [
                {"type": "header", "parameters": [{"type": "text", "text": "Ana"}]},
                {
                    "type": "body",
                    "parameters": [
                        {"type": "text", "text": "Ana"},
                        {"type": "text", "parameter_name": "venue", "text": "Casa Pepe"},
                    ],
                },
                {
                    "type": "button",
                    "sub_type": "url",
                    "index": "0",
                    "parameters": [{"type": "text", "text": "ana-1"}],
                },
            ],
        }

    def test_a_picture_in_the_header_is_named_by_its_address(self):
        use = TemplateUse("1", "x", "es", (("header.image", "https://example.com/a.png"),))
        _, document = self.sent(template=use)
        (header,) = document["template"]["components"]
        assert header["parameters"] == [{"type": "image", "image": {"link": "https://example.com/a.png"}}]

    def test_a_user_id_stands_in_place_of_a_number(self):
        _, document = self.sent(address="ES.13491208655302741918")
        assert document["recipient"] == "ES.13491208655302741918"
        assert "to" not in document

    @pytest.mark.parametrize(
        ("purpose", "template", "endpoint"),
        [
            ("marketing", USE, "marketing_messages"),
            ("transactional", USE, "messages"),
            ("marketing", None, "messages"),
        ],
    )
    def test_only_templates_that_advertise_take_the_marketing_endpoint(self, purpose, template, endpoint):
        given_options = {"marketing_endpoint": "marketing_messages", "product_policy": "STRICT"}
        line, document = self.sent(purpose=purpose, template=template, **given_options)
        assert line == f"POST /v23.0/{NUMBER}/{endpoint}"
        advertises = endpoint == "marketing_messages"
        assert ("product_policy" in document) is advertises
        # The published description refuses it there.
        assert ("biz_opaque_callback_data" in document) is not advertises

    def test_our_own_id_goes_to_the_marketing_endpoint_where_the_owner_says_so(self):
        _, document = self.sent(marketing_endpoint="marketing_messages", marketing_callback_data=True)
        assert document["biz_opaque_callback_data"] == "1"

    def test_an_echoed_secret_is_blanked(self):
        answer = Answer(400, {}, json.dumps({"error": {"code": 1, "message": f"x {self.secret}"}}).encode())
        assert self.secret not in repr(outcome_of(answer, self.secret))

    def listed(self, *answers, **options):
        """The templates that the adapter reads from these answers, in their order."""
        left = list(answers)

        async def scenario():
            async with serve(answering(lambda request: left.pop(0))) as self.served:
                chosen = self.provider.options.model_validate(self.options(self.served.port) | options)
                connection = await self.provider.connect(chosen, self.outbox)
                try:
                    return await connection.templates()
                finally:
                    await connection.close()

        return asyncio.run(scenario())

    def test_templates_are_read_page_by_page(self):
        pages = [
            {"data": [row("one")], "paging": {"cursors": {"after": "MjQZD"}, "next": "https://…"}},
            {"data": [row("two"), {"id": 3}], "paging": {"cursors": {"after": "x"}}},
        ]
        found = self.listed(*(http_answer(200, json.dumps(page).encode()) for page in pages))
        assert [each.name for each in found] == ["one", "two"]
        first, second = (request.partition(b" HTTP")[0].decode() for request in self.served.received)
        assert first.startswith(f"GET /v23.0/{BUSINESS}/message_templates?")
        assert "after=MjQZD" in second

    def test_a_list_that_cannot_be_read_says_why(self):
        with pytest.raises(TemplatesUnavailableError, match="make a new one"):
            self.listed(refusal(401, 190))
        with pytest.raises(TemplatesUnavailableError, match="business_account_id"):
            self.listed(business_account_id="")


def row(name="come_back", **fields):
    return {
        "id": f"id-{name}",
        "name": name,
        "language": "es",
        "status": "APPROVED",
        "category": "MARKETING",
        "components": [{"type": "BODY", "text": "Hola {{1}}, vuelve."}],
    } | fields


def read(**fields):
    from regulars.providers.meta.listing import templates_in

    (found,) = templates_in({"data": [row(**fields)]})
    return found


def test_a_listed_template_names_every_place_to_fill():
    found = read(
        components=[
            {"type": "HEADER", "format": "TEXT", "text": "Para {{1}}"},
            {"type": "BODY", "text": "Hola {{1}}, {{ 2 }} te espera."},
            {"type": "FOOTER", "text": "Casa Pepe"},
            {
                "type": "BUTTONS",
                "buttons": [
                    {"type": "QUICK_REPLY", "text": "BAJA"},
                    {"type": "URL", "text": "Reservar", "url": "https://example.com/{{1}}"},
                ],
            },
        ]
    )
    assert found.placeholders == ("header.1", "1", "2", "button.1")
    assert found.text == (
        "Para {{header.1}}\n\nHola {{1}}, {{2}} te espera.\n\nCasa Pepe\n\n[BAJA]\n\n"
        "[Reservar] https://example.com/{{button.1}}"
    )
    assert (found.category, found.approval, found.unsupported) == ("marketing", Approval.APPROVED, "")


@pytest.mark.parametrize(
    ("status", "approval"),
    [
        ("APPROVED", Approval.APPROVED),
        ("PENDING", Approval.PENDING),
        ("IN_APPEAL", Approval.PENDING),
        ("REJECTED", Approval.REJECTED),
        ("PAUSED", Approval.PAUSED),
        ("DISABLED", Approval.DISABLED),
        ("PENDING_DELETION", Approval.DISABLED),
        ("SOMETHING_NEW", Approval.DISABLED),
    ],
)
def test_only_an_approved_template_counts_as_one(status, approval):
    assert read(status=status).approval is approval


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ({"type": "CAROUSEL", "cards": []}, "carousel"),
        ({"type": "HEADER", "format": "LOCATION"}, "location header"),
        ({"type": "BUTTONS", "buttons": [{"type": "COPY_CODE"}]}, "copy code button"),
    ],
)
def test_what_we_cannot_fill_in_is_said(component, words):
    assert read(components=[component]).unsupported == words


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "paging", "next", "cursors", "after", "id", "name", "language", "components", "type", "text", "buttons"]), inner), max_leaves=12))  # fmt: skip
def test_no_list_breaks_the_reading(document):
    from regulars.providers.meta.listing import next_page, templates_in

    whole = document if isinstance(document, dict) else {"data": document}
    assert isinstance(templates_in(whole), list)
    assert isinstance(next_page(whole), str)


@pytest.mark.parametrize("code", [*tables.CODES, 200, 299])
@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_a_known_code_decides_whatever_the_status(code, status):
    answer = Answer(status, {}, json.dumps({"error": {"code": code, "message": "x"}}).encode())
    outcome, known = outcome_of(answer), tables.CODES.get(code, tables.NO_PERMISSION)
    assert outcome.verdict is VERDICTS[known.error_class]
    assert outcome.opt_out is (known.error_class is ErrorClass.OPT_OUT)
    assert (outcome.code, outcome.error) == (str(code), known.words)
    assert outcome.permanent is (known.error_class is ErrorClass.PERMANENT)


# The classes of Meta's codes, written down a second time. What one country is refused for (130497) is
# about the message, never about the account.
CLASSES = {
    Verdict.REJECTED: "131026 131021 131030 130472 131062 130497 131050 100 131009 131008 131051 131052 131053 135000 137000",
    Verdict.THROTTLED: "131049 131056 131047 130429 4 80007 2 131000 131016 131057 133016",
    Verdict.STOP_TEMPLATE: "132000 132001 132005 132007 132008 132012 132015 132016 132068 132069",
    Verdict.STOP_ACCOUNT: "0 190 3 10 131005 368 131031 131037 131042 131045 131048 131064 131063",
}


def test_the_table_has_every_code_of_the_reference_in_its_class():
    ours = {code: VERDICTS[known.error_class] for code, known in tables.CODES.items()}
    theirs = {int(code): verdict for verdict, text in CLASSES.items() for code in text.split()}
    assert ours == theirs


def test_marketing_that_meta_holds_back_is_an_outcome_of_its_own():
    outcome = outcome_of(Answer(400, {}, b'{"error": {"code": 131049}}'))
    assert (outcome.verdict, outcome.retry_after) == (Verdict.THROTTLED, timedelta(hours=24))
    assert outcome.this_address_only
    assert outcome.growing


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"{}", Verdict.UNKNOWN),
        (200, b"<html>", Verdict.UNKNOWN),
        (200, b'{"messages": []}', Verdict.UNKNOWN),
        (200, b'{"messages": [{"id": null}]}', Verdict.UNKNOWN),
        (200, b'{"messages": [{"id": "wamid.1"}]}', Verdict.ACCEPTED),
        (200, b'{"messages": [{"id": "w", "message_status": "held_for_quality_assessment"}]}', Verdict.ACCEPTED),
        (302, b"", Verdict.UNKNOWN),
        (307, b"", Verdict.STOP_ACCOUNT),
        (400, b"", Verdict.REJECTED),
        (400, b'{"error": {"code": 999999, "message": "new"}}', Verdict.REJECTED),
        (400, b'{"error": {"code": "190"}}', Verdict.REJECTED),
        (401, b"", Verdict.STOP_ACCOUNT),
        (403, b"<html>", Verdict.STOP_ACCOUNT),
        (403, b'{"error": {"code": 999999}}', Verdict.REJECTED),
        (404, b"", Verdict.STOP_ACCOUNT),
        (408, b"", Verdict.UNKNOWN),
        (429, b"", Verdict.THROTTLED),
        (500, b"", Verdict.UNKNOWN),
        (500, b'{"error": {"code": 999999}}', Verdict.UNKNOWN),
        (502, b"<html>", Verdict.UNKNOWN),
        (503, b'{"error": {"code": 131016}}', Verdict.THROTTLED),
    ],
)  # fmt: skip
def test_without_a_known_code_the_status_decides(status, body, verdict):
    assert outcome_of(Answer(status, {}, body)).verdict is verdict


@given(st.integers(100, 599), st.binary(max_size=200))
def test_only_success_with_an_id_is_ever_accepted(status, body):
    outcome = outcome_of(Answer(status, {}, body))
    if outcome.verdict is Verdict.ACCEPTED:
        assert status // 100 == 2
        assert outcome.provider_id


def test_a_code_that_no_table_knows_tells_what_meta_said():
    body = {"error": {"code": 999999, "message": "(#999999) New", "error_data": {"details": "A new rule"}}}
    assert "A new rule" in outcome_of(Answer(400, {}, json.dumps(body).encode())).error


@pytest.mark.parametrize("status", ["BANNED", "RESTRICTED", "DISCONNECTED"])
def test_a_look_tells_of_a_number_that_may_not_send(status):
    assert not state_of({"status": status}).works
    assert state_of({"status": "CONNECTED"}).works


def test_the_portfolio_is_the_business_or_else_its_account():
    from regulars.providers.registry import get

    options = get("meta").options
    given_options = {"access_token": "x", "phone_number_id": "1", "business_account_id": "2"}
    assert get("meta").portfolio_of(options.model_validate(given_options)) == "2"
    assert get("meta").portfolio_of(options.model_validate(given_options | {"portfolio_id": "3"})) == "3"


def test_a_text_needs_no_template_inside_the_window():
    from regulars.providers.meta.documents import document_of as written
    from regulars.providers.meta.options import MetaOptions

    options = MetaOptions(access_token="x", phone_number_id="1")
    document = written(message(address="+12015550001", channel="whatsapp"), options)
    assert document["text"] == {"body": "Hola", "preview_url": False}
