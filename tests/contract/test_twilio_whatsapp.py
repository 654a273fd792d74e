"""Twilio's WhatsApp: Content templates on the wire, in Twilio's own description, and as a list."""

import asyncio
import json

import pytest
from jsonschema import Draft202012Validator

from regulars.lib.http import Answer
from regulars.providers.base import (
    Approval,
    Question,
    TemplatesUnavailableError,
    TemplateUse,
    Verdict,
)
from regulars.providers.registry import get
from regulars.providers.twilio.answers import outcome_of
from regulars.providers.twilio.fields import fields_of as written
from regulars.providers.twilio.listing import next_page, templates_in
from regulars.providers.twilio.looking_up import query_of

from .servers import answering, http_answer, serve
from .suite import message, no_outbox
from .test_contract_twilio import ACCEPTED, SID, fields_of

CONTENT = "HX" + "d" * 32
USE = TemplateUse(CONTENT, "come_back", "es", (("1", "Zoë “2”"), ("venue", "Ñ & Co")))
LOGIN = {"account_sid": SID, "auth_token": "x", "whatsapp_from": "+12015550100"}


def options(**changes):
    return get("twilio").options.model_validate(LOGIN | changes)


def guest(**fields):
    return message(channel="whatsapp", address="+12015550001", **fields)


def exchange(*answers, call, **changes):
    """What `call(connection)` gives against a server that answers so; the requests it saw."""
    left = list(answers)

    async def scenario():
        async with serve(answering(lambda request: left.pop(0))) as served:
            connection = await get("twilio").connect(
                options(base_url=served.url, content_url=served.url, **changes), no_outbox
            )
            try:
                return await call(connection), served.received
            finally:
                await connection.close()

    return asyncio.run(scenario())


def test_a_content_template_travels_with_its_variables():
    (outcome,), (request,) = exchange(ACCEPTED, call=lambda way: way.send([guest(template=USE)]))
    assert outcome.verdict is Verdict.ACCEPTED
    fields = fields_of(request)
    assert json.loads(fields.pop("ContentVariables")) == {"1": "Zoë “2”", "venue": "Ñ & Co"}
    assert fields == {
        "To": "whatsapp:+12015550001",
        "From": "whatsapp:+12015550100",
        "ContentSid": CONTENT,
        "ValidityPeriod": "14400",
    }


def test_a_template_without_places_needs_no_variables():
    assert "ContentVariables" not in written(guest(template=TemplateUse(CONTENT, "x", "es")), options())


def test_a_messaging_service_sends_whatsapp_too():
    service = "MG" + "c" * 32
    fields = written(guest(template=USE), options(whatsapp_from=service))
    assert fields["MessagingServiceSid"] == service
    assert "From" not in fields


def test_a_text_inside_the_window_is_a_body():
    fields = written(guest(body="Hola"), options())
    assert (fields["Body"], fields["To"]) == ("Hola", "whatsapp:+12015550001")


def test_sms_of_the_same_account_keeps_its_own_sender():
    fields = written(message(address="+12015550001"), options(**{"from": "Casa Pepe"}))
    assert (fields["To"], fields["From"]) == ("+12015550001", "Casa Pepe")


def test_twilios_description_knows_every_field_that_we_send(specs):
    paths = json.loads((specs / "twilio" / "twilio_api_v2010.messages.strict.json").read_text())["paths"]
    body = paths["/2010-04-01/Accounts/{AccountSid}/Messages.json"]["post"]["requestBody"]
    schema = body["content"]["application/x-www-form-urlencoded"]["schema"]
    for fields in (written(guest(template=USE), options()), written(guest(), options())):
        typed = fields | {"ValidityPeriod": int(fields["ValidityPeriod"])}
        assert [error.message for error in Draft202012Validator(schema).iter_errors(typed)] == []
        assert set(fields) <= set(schema["properties"])


@pytest.mark.parametrize(
    ("given", "channels"),
    [
        ({}, ("whatsapp",)),
        ({"from": "+12015550100"}, ("sms", "whatsapp")),
        ({"from": "+12015550100", "whatsapp_from": ""}, ("sms",)),
    ],
)
def test_an_account_has_the_channels_that_it_has_senders_for(given, channels):
    assert get("twilio").channels_of(options(**given)) == channels


@pytest.mark.parametrize("sender", ["Casa Pepe", "12345", "whatsapp:+12015550100", "MG12"])
def test_other_whatsapp_senders_are_refused_with_advice(sender):
    with pytest.raises(ValueError, match="Messaging Service"):
        options(whatsapp_from=sender)


def test_an_account_without_any_sender_is_refused():
    with pytest.raises(ValueError, match="whatsapp_from"):
        options(whatsapp_from="")


def test_marketing_that_meta_holds_back_waits_longer_each_time():
    outcome = outcome_of(Answer(400, {}, b'{"code": 63049}'))
    assert outcome.growing
    assert outcome.this_address_only


def test_a_lost_whatsapp_message_is_looked_for_under_its_whatsapp_address(now):
    assert query_of(Question(guest(), now, now))["To"] == "whatsapp:+12015550001"


def row(status="approved", **fields):
    return {
        "sid": CONTENT,
        "friendly_name": "come_back",
        "language": "es",
        "variables": {"1": "Ana", "2": "Casa Pepe"},
        "types": {"twilio/text": {"body": "Hola {{1}}, {{2}} te espera."}},
        "approval_requests": {"status": status, "category": "MARKETING", "rejection_reason": ""},
    } | fields


def listed(**fields):
    (found,) = templates_in({"contents": [row(**fields)]})
    return found


def test_a_content_template_is_listed_with_its_places():
    found = listed()
    assert (found.reference, found.name, found.language) == (CONTENT, "come_back", "es")
    assert (found.text, found.placeholders) == ("Hola {{1}}, {{2}} te espera.", ("1", "2"))
    assert (found.approval, found.category) == (Approval.APPROVED, "marketing")


@pytest.mark.parametrize(
    ("status", "approval"),
    [
        ("pending", Approval.PENDING),
        ("received", Approval.PENDING),
        ("rejected", Approval.REJECTED),
        ("paused", Approval.PAUSED),
        ("disabled", Approval.DISABLED),
        ("something new", Approval.DISABLED),
    ],
)
def test_only_what_whatsapp_approved_counts(status, approval):
    assert listed(status=status).approval is approval


def test_what_was_never_submitted_says_so():
    found = listed(approval_requests={"status": "unsubmitted"})
    assert (found.approval, "submitted" in found.reason) == (Approval.PENDING, True)
    assert listed(approval_requests=None).approval is Approval.PENDING


def test_the_list_is_read_page_by_page_from_our_own_address():
    pages = [
        {"contents": [row()], "meta": {"next_page_url": "https://elsewhere.example.com/v1?Page=1&PageToken=t"}},
        {"contents": [row(sid="HX" + "e" * 32), {"sid": 7}], "meta": {"next_page_url": None}},
    ]  # fmt: skip
    answers = [http_answer(200, json.dumps(page).encode()) for page in pages]
    found, requests = exchange(*answers, call=lambda way: way.templates())
    assert len(found) == 2
    assert [request.partition(b" HTTP")[0] for request in requests] == [
        b"GET /v1/ContentAndApprovals?PageSize=500",
        b"GET /v1/ContentAndApprovals?Page=1&PageToken=t",
    ]


def test_a_list_that_cannot_be_read_says_why():
    with pytest.raises(TemplatesUnavailableError, match="check both"):
        exchange(http_answer(401, b'{"code": 20003}'), call=lambda way: way.templates())


@pytest.mark.parametrize("document", [{}, {"contents": 7}, {"contents": [None]}, {"meta": []}])
def test_no_list_breaks_the_reading(document):
    assert templates_in(document) == []
    assert next_page(document) == {}
