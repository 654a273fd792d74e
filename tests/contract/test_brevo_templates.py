"""Brevo's list of WhatsApp templates: read page by page, and honest about what it does not tell."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.lib.http import Answer
from regulars.providers.base import Approval, Outcome, TemplatesUnavailableError, Verdict
from regulars.providers.brevo import answers, listing
from regulars.providers.registry import get

from .http_vendor import Asked, reply
from .servers import answering, serve
from .suite import no_outbox

KEY = "xkeysib-not-a-real-key"
LOGIN = {"api_key": KEY, "whatsapp_sender": "+12015550100"}


def row(number=12, **fields):
    return {
        "id": number,
        "name": "we_miss_you",
        "status": "approved",
        "type": "template",
        "language": "es",
        "category": "MARKETING",
        "errorReason": "NONE",
        "createdAt": "2026-06-01T12:30:00.000Z",
        "modifiedAt": "2026-06-01T12:30:00.000Z",
    } | fields


def page(*rows, **fields):
    return reply(200, {"count": len(rows), "templates": list(rows)} | fields)


def asked(*pages, **changes):
    """The templates that an account lists whose calls are answered so; the requests, taken apart."""
    left = list(pages)

    async def scenario():
        async with serve(answering(lambda request: left.pop(0))) as served:
            given = LOGIN | {"base_url": f"{served.url}/v3"} | changes
            connection = await get("brevo").connect(get("brevo").options.model_validate(given), no_outbox)
            try:
                return await connection.templates(), [Asked.of(each) for each in served.received]
            finally:
                await connection.close()

    return asyncio.run(scenario())


def listed(number=12, **fields):
    (found,) = listing.templates_in([row(number, **fields)])
    return found


def test_a_template_is_listed_with_what_brevo_tells_of_it():
    (found,), (request,) = asked(page(row()))
    assert (found.reference, found.name, found.language) == ("12", "we_miss_you", "es")
    assert (found.approval, found.category, found.reason) == (Approval.APPROVED, "marketing", "")
    assert (request.method, request.headers["api-key"]) == ("GET", KEY)
    assert request.path == "/v3/whatsappCampaigns/template-list?limit=100&offset=0"


def test_neither_the_text_nor_the_places_are_made_up():
    assert (listed().text, listed().placeholders) == ("", ())
    assert not get("brevo").tells_places


def test_a_number_that_comes_as_text_and_one_beyond_32_bits_are_references_too():
    assert listed(number="465118589032810").reference == "465118589032810"
    assert listed(number=465118589032810).reference == "465118589032810"


def test_a_region_is_spelt_as_whatsapp_spells_it():
    assert listed(language="pt-BR").language == "pt_BR"


@pytest.mark.parametrize(
    ("status", "approval", "reason"),
    [
        ("approved", Approval.APPROVED, ""),
        ("APPROVED", Approval.APPROVED, ""),
        ("pending", Approval.PENDING, ""),
        ("In review", Approval.PENDING, ""),
        ("draft", Approval.PENDING, "submitted"),
        ("rejected", Approval.REJECTED, ""),
        ("paused", Approval.PAUSED, ""),
        ("disabled", Approval.DISABLED, ""),
        ("something new", Approval.DISABLED, "something_new"),
        (None, Approval.DISABLED, "nothing"),
    ],
)
def test_only_what_whatsapp_approved_counts(status, approval, reason):
    found = listed(status=status)
    assert found.approval is approval
    assert reason in found.reason
    assert bool(found.reason) is bool(reason)


def test_a_rejection_says_why():
    assert listed(status="rejected", errorReason="PROMOTIONAL").reason == "PROMOTIONAL"


# Pages.


def rows(number, start=1):
    return [row(n) for n in range(start, start + number)]


def offsets(requests):
    return [request.path.partition("offset=")[2] for request in requests]


@pytest.mark.parametrize(
    ("pages", "wanted"),
    [
        ([rows(99)], ["0"]),
        # Whether `count` is of all or of the page: a full page is never the last.
        ([rows(100), []], ["0", "100"]),
        ([rows(100), rows(100, 101), rows(3, 201)], ["0", "100", "200"]),
        ([[*rows(99), {"id": None}], rows(1, 100)], ["0", "100"]),
    ],
)
def test_the_list_is_read_to_its_end(pages, wanted):
    found, requests = asked(*(page(*each) for each in pages))
    assert offsets(requests) == wanted
    assert len(found) == sum(1 for each in pages for one in each if one["id"])


def test_a_page_shorter_than_asked_is_no_end_where_more_are_counted():
    found, requests = asked(page(*rows(50), count=60), page(*rows(10, 51), count=60))
    assert (len(found), offsets(requests)) == (60, ["0", "50"])


def test_a_list_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr("regulars.providers.brevo.send.MOST_PAGES", 3)
    _, requests = asked(*[page(*rows(100))] * 3)
    assert len(requests) == 3


@pytest.mark.parametrize("document", [{"count": 0}, {"count": 0, "templates": None}, {"templates": []}])
def test_an_account_without_templates_has_none(document):
    found, _ = asked(reply(200, document))
    assert found == []


# What is no list takes nothing away.


@pytest.mark.parametrize("document", [{}, {"count": 3}, {"templates": 7}, {"templates": {}}, [], "<html>"])
def test_an_answer_that_is_no_list_is_not_taken_for_an_empty_one(document):
    with pytest.raises(TemplatesUnavailableError, match="no list"):
        asked(reply(200, document))


def test_a_later_page_that_fails_spoils_the_whole():
    with pytest.raises(TemplatesUnavailableError, match="HTTP 500"):
        asked(page(*rows(100)), reply(500, {}))


@pytest.mark.parametrize(
    ("status", "document", "words"),
    [
        (401, {"code": "unauthorized", "message": f"Key not found: {KEY}"}, "does not accept api_key"),
        (403, {"code": "permission_denied", "message": "no"}, "may not do this"),
        (429, {"code": "too_many_requests", "message": "Too many"}, "Too many requests"),
        (404, "<html>", "base_url"),
        (400, {"code": "invalid_parameter", "message": "WhatsApp is not active"}, "WhatsApp is not active"),
        (500, {"code": "internal_error", "message": ""}, "HTTP 500"),
        (302, {}, "HTTP 302"),
    ],
)
def test_a_list_that_cannot_be_read_says_why(status, document, words):
    with pytest.raises(TemplatesUnavailableError) as fault:
        asked(reply(status, document))
    assert words in str(fault.value)
    assert KEY not in str(fault.value)
    assert "message" not in str(fault.value)


def test_brevo_out_of_reach_and_brevo_silent_are_told_apart():
    away = Outcome(Verdict.UNAVAILABLE, code="not_written", error="Brevo cannot be reached: x")
    silent = Outcome(Verdict.UNKNOWN, code="no_answer", error="the message may have been sent")
    assert answers.why_unlisted(away) == "Brevo cannot be reached: x"
    assert "in time" in answers.why_unlisted(silent)


def test_an_account_without_whatsapp_is_told_what_it_lacks():
    with pytest.raises(TemplatesUnavailableError, match="whatsapp_sender"):
        asked(whatsapp_sender="", sms_sender="CasaPepe")


NAMES = ["count", "templates", "id", "name", "language", "status", "category", "errorReason"]
ANYTHING = st.recursive(
    st.none() | st.text() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@given(ANYTHING)
def test_no_list_breaks_the_reading(document):
    whole = document if isinstance(document, dict) else {"templates": document}
    found = listing.rows_in(whole)
    if found is not None:
        for template in listing.templates_in(found):
            assert int(template.reference) >= 0
        assert listing.is_last(whole, found, len(found)) in (True, False)


# A template that Brevo refuses is not the guest's fault.


@pytest.mark.parametrize(
    ("channel", "code", "words", "verdict"),
    [
        ("whatsapp", "missing_parameter", "FNAME is missing", Verdict.STOP_TEMPLATE),
        ("whatsapp", "invalid_parameter", "Template is not approved", Verdict.STOP_TEMPLATE),
        ("whatsapp", "document_not_found", "templateId does not exist", Verdict.STOP_TEMPLATE),
        ("whatsapp", "invalid_parameter", "params are not valid", Verdict.STOP_TEMPLATE),
        ("whatsapp", "invalid_parameter", "Invalid phone number", Verdict.REJECTED),
        ("whatsapp", "invalid_parameter", "Something else", Verdict.REJECTED),
        ("whatsapp", "not_enough_credits", "for this template", Verdict.STOP_ACCOUNT),
        ("sms", "missing_parameter", "sender is missing", Verdict.REJECTED),
    ],
)
def test_a_refused_template_stops_and_costs_no_guest(channel, code, words, verdict):
    answer = Answer(400, {}, json.dumps({"code": code, "message": words}).encode())
    assert answers.outcome_of(answer, channel).verdict is verdict
