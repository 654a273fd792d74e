"""Brevo's adapter against descriptions of Brevo's API, served by Prism.

The shared description has what sends. What only looks (the account, the list of templates) is in
`descriptions/brevo_looking.json`, held here against the models of Brevo's own client.
"""

import asyncio
import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from brevo.account import GetAccountResponse
from brevo.whats_app_campaigns import GetWhatsAppTemplatesResponseTemplatesItem

from regulars.lib.http import HttpClient
from regulars.providers.base import Approval, TemplatesUnavailableError, TemplateUse, Verdict
from regulars.providers.registry import get

from .forwarder import forwarder
from .http_vendor import Asked
from .suite import TEXTS, message, no_outbox

pytestmark = [pytest.mark.contract, pytest.mark.slow]
SENDING = "brevo/brevo_messaging_subset.json"
LOOKING = Path(__file__).parent / "descriptions" / "brevo_looking.json"
OPTIONS = {
    "api_key": "xkeysib-not-a-real-key",
    "from_address": "hola@example.com",
    "from_name": "Casa Pepe · Málaga",
    "sms_sender": "CasaPepe",
    "whatsapp_sender": "+12015550100",
}
LIST = "/whatsappCampaigns/template-list"
USE = TemplateUse("465118589032810", "we_miss_you", "es", (("FNAME", "Zoë “2”"),))


@pytest.fixture
def sending(start_prism):
    return start_prism(SENDING)


@pytest.fixture
def looking(start_prism):
    return start_prism(LOOKING)


def exchange(url, call, prefer=""):
    """What `call(connection)` gives with Prism behind it, and the requests that it made."""

    async def scenario():
        async with forwarder(url, prefer) as served:
            provider = get("brevo")
            options = provider.options.model_validate(OPTIONS | {"base_url": served.url})
            connection = await provider.connect(options, no_outbox)
            try:
                return await call(connection), [Asked.of(request) for request in served.received]
            finally:
                await connection.close()

    return asyncio.run(scenario())


def send(url, *batch, prefer=""):
    """The outcomes of one batch, which is one call."""
    outcomes, (asked,) = exchange(url, lambda way: way.send(list(batch)), prefer)
    return outcomes, asked


def letter(number=1, **fields):
    address = f"guest{number}@example.com"
    values = {"channel": "email", "address": address, "subject": "¡Olé! 🎂"}
    unsubscribe = {"List-Unsubscribe": "<https://example.com/u>"}
    return message(number, **values | {"headers": unsubscribe} | fields)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_description_accepts_a_letter(sending, text):
    (outcome,), asked = send(sending, letter(body=text), prefer="example=single")
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    assert asked.path == "/smtp/email"
    assert "messageVersions" not in asked.document


def test_the_description_accepts_letters_in_a_batch(sending):
    outcomes, asked = send(sending, letter(1), letter(2, html="<p>¡Olé!</p>"), prefer="example=batch")
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * 2, outcomes
    assert len({outcome.provider_id for outcome in outcomes}) == 2
    assert len(asked.document["messageVersions"]) == 2


@pytest.mark.parametrize("purpose", ["marketing", "transactional", ""])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_description_accepts_an_sms(sending, text, purpose):
    (outcome,), asked = send(sending, message(body=text, purpose=purpose))
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    assert (asked.path, asked.document["content"]) == ("/transactionalSMS/send", text)


@pytest.mark.parametrize(
    "template", [None, USE, TemplateUse("12", "closed", "es")], ids=["text", "template", "without places"]
)
def test_the_description_accepts_whatsapp(sending, template):
    (outcome,), asked = send(sending, message(channel="whatsapp", template=template))
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    assert asked.path == "/whatsapp/sendMessage"
    assert asked.document.get("templateId") == (template and int(template.reference))


MESSAGES = {
    "/smtp/email": letter(),
    "/transactionalSMS/send": message(),
    "/whatsapp/sendMessage": message(channel="whatsapp", template=USE),
}
ERRORS = [
    ("invalid_parameter", 400, Verdict.REJECTED),
    ("duplicate_request", 400, Verdict.UNKNOWN),
    ("account_under_validation", 400, Verdict.STOP_ACCOUNT),
    ("unauthorized", 401, Verdict.STOP_ACCOUNT),
    ("not_enough_credits", 402, Verdict.STOP_ACCOUNT),
    ("permission_denied", 403, Verdict.STOP_ACCOUNT),
    ("too_many_requests", 429, Verdict.THROTTLED),
    ("internal", 500, Verdict.UNKNOWN),
    ("unavailable", 503, Verdict.UNKNOWN),
]


@pytest.mark.parametrize("path", MESSAGES)
@pytest.mark.parametrize(("example", "status", "verdict"), ERRORS)
def test_each_described_error_has_its_outcome(sending, path, example, status, verdict):
    (outcome,), asked = send(sending, MESSAGES[path], prefer=f"code={status}, example={example}")
    assert (asked.path, outcome.verdict) == (path, verdict), outcome


def posted(url, document, **headers):
    async def scenario():
        http = HttpClient(concurrency=1)
        try:
            return await http.post_json(url, document, headers=headers)
        finally:
            await http.close()

    return asyncio.run(scenario())


WRONG = {"/smtp/email": {"to": [{"mail": "x"}]}, "/transactionalSMS/send": {}, "/whatsapp/sendMessage": {}}


@pytest.mark.parametrize(("path", "document"), WRONG.items(), ids=WRONG)
def test_the_description_refuses_what_is_wrong(sending, path, document):
    """Without this the tests above could pass against a server that accepts anything."""
    assert posted(sending + path, document).status == 401
    answer = posted(sending + path, document, **{"api-key": "k"})
    assert (answer.status, answer.json_object()["code"]) == (400, "spec_violation")


# What only looks.


def test_the_account_is_known(looking):
    checked, (asked,) = exchange(looking, lambda way: way.check())
    assert checked.works, checked
    assert (asked.method, asked.path) == ("GET", "/account")


def test_the_templates_are_listed(looking):
    found, (asked,) = exchange(looking, lambda way: way.templates(), prefer="example=two")
    assert [(each.reference, each.name, each.language, each.approval) for each in found] == [
        ("12", "we_miss_you", "es", Approval.APPROVED),
        ("465118589032810", "booking", "en", Approval.REJECTED),
    ]
    assert found[1].reason == "INVALID_FORMAT"
    known = json.loads(LOOKING.read_text())["paths"][LIST]["get"]["parameters"]
    assert {name for name, _ in parse_qsl(urlsplit(asked.path).query)} <= {each["name"] for each in known}


def test_an_account_without_templates_lists_none(looking):
    assert exchange(looking, lambda way: way.templates(), prefer="example=none")[0] == []


@pytest.mark.parametrize(
    ("example", "status", "words"),
    [
        ("invalid_parameter", 400, "Limit exceeds"),
        ("unauthorized", 401, "api_key"),
        ("permission_denied", 403, "api_key"),
        ("too_many_requests", 429, "Too many requests"),
        ("internal_error", 500, "no list"),
    ],
)
def test_each_described_error_of_the_list_is_said(looking, example, status, words):
    with pytest.raises(TemplatesUnavailableError, match=words):
        exchange(looking, lambda way: way.templates(), prefer=f"code={status}, example={example}")


def test_a_page_longer_than_brevos_longest_would_be_seen(looking, monkeypatch):
    monkeypatch.setattr("regulars.providers.brevo.listing.PAGE_SIZE", 101)
    with pytest.raises(TemplatesUnavailableError, match="in time"):
        exchange(looking, lambda way: way.templates())


@pytest.mark.parametrize(
    ("name", "model"),
    [("Account", GetAccountResponse), ("Template", GetWhatsAppTemplatesResponseTemplatesItem)],
)
def test_the_description_has_the_fields_of_brevos_own_client(name, model):
    ours = json.loads(LOOKING.read_text())["components"]["schemas"][name]
    theirs = {field.alias or plain: field for plain, field in model.model_fields.items()}
    assert set(ours["properties"]) == set(theirs)
    assert set(ours["required"]) == {plain for plain, field in theirs.items() if field.is_required()}
