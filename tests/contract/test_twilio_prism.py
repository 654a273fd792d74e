"""Twilio's adapter against Twilio's own API description, served by Prism.

Prism checks types, patterns and required fields, but lets unknown form fields pass and answers fixed
examples: so the names sent are compared with the description here, and errors are chosen by a header
that a small forwarder adds.
"""

import asyncio
import json

import pytest

from regulars.lib.http import HttpClient
from regulars.providers.base import Verdict
from regulars.providers.registry import get

from .forwarder import forwarder
from .suite import TEXTS, message, no_outbox
from .test_contract_twilio import SID, fields_of

pytestmark = [pytest.mark.contract, pytest.mark.slow]
PLAIN = "twilio/twilio_api_v2010.messages.json"
STRICT = "twilio/twilio_api_v2010.messages.strict.json"


@pytest.fixture(scope="module")
def known_fields(specs):
    paths = json.loads((specs / PLAIN).read_text())["paths"]
    body = paths["/2010-04-01/Accounts/{AccountSid}/Messages.json"]["post"]["requestBody"]
    return set(body["content"]["application/x-www-form-urlencoded"]["schema"]["properties"])


def send(url: str, prefer: str = "", options=None, **fields):
    async def scenario():
        async with forwarder(url, prefer) as served:
            given = {
                "account_sid": SID,
                "auth_token": "x",
                "from": "+12015550100",
                "base_url": served.url,
            }
            provider = get("twilio")
            chosen = provider.options.model_validate(given | (options or {}))
            connection = await provider.connect(chosen, no_outbox)
            (outcome,) = await connection.send([message(**fields)])
            await connection.close()
            return outcome, fields_of(served.received[0])

    return asyncio.run(scenario())


@pytest.mark.parametrize("description", [PLAIN, STRICT])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_description_accepts_our_request(start_prism, known_fields, description, text):
    outcome, sent = send(start_prism(description), body=text)
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    assert outcome.provider_id.startswith("SM")
    assert sent["Body"] == text
    assert set(sent) <= known_fields


@pytest.mark.parametrize("sender", ["MG" + "0" * 32, "Casa Pepe", "12345"])
def test_the_description_accepts_every_kind_of_sender(start_prism, known_fields, sender):
    outcome, sent = send(start_prism(PLAIN), options={"from": sender})
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    assert set(sent) <= known_fields


def test_the_description_refuses_what_is_wrong(start_prism):
    """Without this the tests above could pass against a server that accepts anything."""

    async def scenario():
        http = HttpClient(concurrency=1)
        url = f"{start_prism(PLAIN)}/2010-04-01/Accounts/{SID}/Messages.json"
        try:
            return await http.post_form(url, {"Body": "x"}, basic_auth=(SID, "x"))
        finally:
            await http.close()

    assert asyncio.run(scenario()).status == 422


@pytest.mark.parametrize(
    ("example", "status", "verdict"),
    [
        ("E21211", 400, Verdict.REJECTED),
        ("E21610", 400, Verdict.REJECTED),
        ("E21614", 400, Verdict.REJECTED),
        ("E21612", 400, Verdict.REJECTED),
        ("E21408", 400, Verdict.REJECTED),
        ("E21606", 400, Verdict.STOP_ACCOUNT),
        ("E21617", 400, Verdict.STOP_TEMPLATE),
        ("E63007", 400, Verdict.STOP_ACCOUNT),
        ("E20003", 401, Verdict.STOP_ACCOUNT),
        ("E20005", 403, Verdict.STOP_ACCOUNT),
        ("E20404", 404, Verdict.STOP_ACCOUNT),
        ("E20429", 429, Verdict.THROTTLED),
        ("E21611", 429, Verdict.THROTTLED),
        ("E20500", 500, Verdict.UNKNOWN),
        ("E20503", 503, Verdict.UNKNOWN),
    ],
)
def test_each_described_error_has_its_outcome(start_prism, example, status, verdict):
    outcome, _ = send(start_prism(STRICT), prefer=f"code={status}, example={example}")
    assert outcome.code == example[1:]
    assert outcome.verdict is verdict
    assert outcome.opt_out is (example == "E21610")
