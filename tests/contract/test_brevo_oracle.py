"""Brevo's own client is an oracle: the request that it makes for a message is the one that we make.

It does not know `headers` inside `messageVersions`, which Brevo's description of the interface and
django-anymail do; it sends what it does not know as it is given.
"""

import json

import httpx
import pytest
from brevo import Brevo
from brevo.transactional_emails import (
    SendTransacEmailRequestMessageVersionsItem,
    SendTransacEmailRequestMessageVersionsItemToItem,
    SendTransacEmailRequestSender,
    SendTransacEmailRequestToItem,
)
from brevo.transactional_whats_app import SendWhatsappMessageRequestParams, SendWhatsappMessageRequestText

from regulars.providers.base import TemplateUse
from regulars.providers.brevo.options import BrevoOptions

from .http_vendor import reply
from .suite import TEXTS, message
from .wire import asked_by

KEY = "xkeysib-not-a-real-key"
OPTIONS = {
    "api_key": KEY,
    "from_address": "hola@example.com",
    "from_name": "Casa Pepe · Málaga",
    "sms_sender": "CasaPepe",
    "whatsapp_sender": "+12015550100",
}
UNSUBSCRIBE = {"List-Unsubscribe": "<https://example.com/u>"}
SENDER = SendTransacEmailRequestSender(email="hola@example.com", name="Casa Pepe · Málaga")
PARTS = {"subject": "¡Olé! 🎂", "html_content": "<p>Ñ & {x}</p>", "text_content": "Ñ & {x}"}


def theirs(call):
    """The request that Brevo's client makes in `call(client)`."""
    sent = []

    def take(request):
        sent.append(request)
        return httpx.Response(201, json={"messageId": "1"})

    with httpx.Client(transport=httpx.MockTransport(take)) as session:
        # Its own repeats would be duplicates.
        call(Brevo(api_key=KEY, httpx_client=session, max_retries=0))
    (request,) = sent
    return request


def ours(*batch):
    def call(way):
        return way.send(list(batch)) if batch else way.check()

    return made_by(call, reply(201, {"messageId": "1"}))


def made_by(call, answer):
    return asked_by("brevo", call, answer, path="/v3", **OPTIONS)


def assert_same(asked, known):
    assert (asked.method, asked.path) == (known.method, known.url.raw_path.decode())
    assert asked.headers["api-key"] == known.headers["api-key"]
    assert str(known.url).startswith(str(BrevoOptions.model_fields["base_url"].default))
    if known.content:
        assert asked.headers["content-type"] == known.headers["content-type"]
        assert asked.document == json.loads(known.content)


def letter(number):
    return message(
        number,
        channel="email",
        address=f"guest{number}@example.com",
        subject=PARTS["subject"],
        html=PARTS["html_content"],
        body=PARTS["text_content"],
        headers=UNSUBSCRIBE,
    )


def version(number):
    to = SendTransacEmailRequestMessageVersionsItemToItem(email=f"guest{number}@example.com")
    headers = {**UNSUBSCRIBE, "X-Mailin-custom": f"m{number}"}
    return SendTransacEmailRequestMessageVersionsItem(to=[to], headers=headers, **PARTS)


def test_a_letter_is_the_request_that_brevos_own_client_makes():
    to = SendTransacEmailRequestToItem(email="guest1@example.com")
    headers = {**UNSUBSCRIBE, "X-Mailin-custom": "m1"}
    known = theirs(
        lambda client: client.transactional_emails.send_transac_email(
            sender=SENDER, to=[to], headers=headers, **PARTS
        )
    )
    assert_same(ours(letter(1)), known)


def test_a_batch_of_letters_is_the_request_that_brevos_own_client_makes():
    versions = [version(number) for number in (1, 2, 3)]
    known = theirs(
        lambda client: client.transactional_emails.send_transac_email(
            sender=SENDER, message_versions=versions, **PARTS
        )
    )
    assert_same(ours(*map(letter, (1, 2, 3))), known)


# Of the texts, those that fit into GSM's alphabet.
IN_GSM = {"plain", "form and markup characters", "lines", "longest"}


@pytest.mark.parametrize("purpose", ["marketing", "transactional"])
@pytest.mark.parametrize("name", TEXTS)
def test_an_sms_is_the_request_that_brevos_own_client_makes(name, purpose):
    known = theirs(
        lambda client: client.transactional_sms.send_async_transactional_sms(
            recipient="12015550001",
            sender="CasaPepe",
            content=TEXTS[name],
            type=purpose,
            unicode_enabled=name not in IN_GSM,
            tag="m1",
        )
    )
    assert_same(ours(message(body=TEXTS[name], purpose=purpose)), known)


WHOM = {"contact_numbers": ["12015550001"], "sender_number": "12015550100"}
WHATSAPP = {
    "template": (
        {"template": TemplateUse("12", "we_miss_you", "es", (("name", "Ana 🎂"), ("venue", "Ñ")))},
        SendWhatsappMessageRequestParams(template_id=12, params={"name": "Ana 🎂", "venue": "Ñ"}, **WHOM),
    ),
    "template without places": (
        {"template": TemplateUse("12", "we_miss_you", "es")},
        SendWhatsappMessageRequestParams(template_id=12, **WHOM),
    ),
    "text": ({"body": "Hola"}, SendWhatsappMessageRequestText(text="Hola", **WHOM)),
}


@pytest.mark.parametrize(("fields", "request_"), WHATSAPP.values(), ids=WHATSAPP)
def test_a_whatsapp_message_is_the_request_that_brevos_own_client_makes(fields, request_):
    known = theirs(lambda client: client.transactional_whats_app.send_whatsapp_message(request=request_))
    assert_same(ours(message(channel="whatsapp", **fields)), known)


def test_a_look_at_the_account_is_the_request_that_brevos_own_client_makes():
    assert_same(ours(), theirs(lambda client: client.account.get_account()))


def test_a_look_at_the_templates_is_the_request_that_brevos_own_client_makes():
    known = theirs(lambda client: client.whats_app_campaigns.get_whats_app_templates(limit=100, offset=0))
    assert_same(made_by(lambda way: way.templates(), reply(200, {"count": 0, "templates": []})), known)
