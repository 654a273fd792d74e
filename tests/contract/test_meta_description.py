"""Meta's adapter against Meta's own API description: what we write, and what it may answer.

By `jsonschema` without a server: the description is one of JSON, and a validator says more than Prism.
It is older than user ids (`recipient`), which it therefore cannot judge.
"""

import json

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from regulars.lib.http import Answer
from regulars.providers.base import TemplateUse, Verdict
from regulars.providers.classes import VERDICTS
from regulars.providers.meta import tables
from regulars.providers.meta.answers import outcome_of
from regulars.providers.meta.documents import document_of
from regulars.providers.meta.listing import templates_in
from regulars.providers.meta.options import MetaOptions

from .suite import TEXTS, message

pytestmark = pytest.mark.contract

MESSAGES = "/{Version}/{Phone-Number-ID}/messages"
MARKETING = "/{Version}/{Phone-Number-ID}/marketing_messages"
USES = {
    "no values": TemplateUse("1", "hello_world", "en_US"),
    "by number": TemplateUse("1", "come_back", "es", (("1", "Ana"), ("2", "Casa Pepe"))),
    "everywhere": TemplateUse("1", "come_back", "es", (("header.1", "Ana"), ("1", "Ana"), ("button.0", "x"))),
    "picture": TemplateUse("1", "x", "es", (("header.image", "https://example.com/a.png"), ("1", "Ana"))),
}


@pytest.fixture(scope="module")
def description(specs):
    text = (specs / "meta" / "whatsapp_business_messaging_v23.messages.patched.json").read_text()
    return json.loads(text)


@pytest.fixture(scope="module")
def faults(description):
    """`faults(path, document)`: what the description has against a request; the most specific words."""
    registry = Registry().with_resource("urn:meta", Resource.from_contents(description, DRAFT202012))

    def find(path, document):
        schema = description["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        validator = Draft202012Validator({"$ref": f"urn:meta{schema['$ref']}"}, registry=registry)
        return [error.message for error in validator.iter_errors(document)]

    return find


def written(*, template=None, purpose="marketing", body="Hola", **options):
    chosen = MetaOptions(access_token="x", phone_number_id="1055", **options)
    outgoing = message(
        address="+34600000001", channel="whatsapp", template=template, purpose=purpose, body=body
    )
    return document_of(outgoing, chosen)


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_the_description_accepts_our_templates(faults, use):
    assert faults(MESSAGES, written(template=use)) == []


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("policy", ["", "CLOUD_API_FALLBACK", "STRICT"])
def test_the_description_accepts_them_at_the_marketing_endpoint(faults, use, policy):
    document = written(template=use, marketing_endpoint="marketing_messages", product_policy=policy)
    assert faults(MARKETING, document) == []


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_description_accepts_our_texts(faults, text):
    assert faults(MESSAGES, written(body=text)) == []


def test_the_description_refuses_what_is_wrong(faults):
    """Without this the tests above could pass against a description that accepts anything."""
    whole = written(template=USES["by number"])
    assert faults(MESSAGES, {name: value for name, value in whole.items() if name != "to"})
    assert faults(MESSAGES, whole | {"template": {"name": "x"}})
    assert faults(MARKETING, whole), "it refuses our own id there: see marketing_callback_data"


def test_each_described_error_has_its_outcome(description):
    answers = description["paths"][MESSAGES]["post"]["responses"]
    met = {}
    for status, answer in answers.items():
        for name, example in (
            answer.get("content", {}).get("application/json", {}).get("examples", {}).items()
        ):
            if name[:1] == "E" and name[1:].isdigit():
                body = json.dumps(example["value"]).encode()
                met[name] = outcome_of(Answer(int(status), {}, body))
    assert len(met) > 15
    for name, outcome in met.items():
        row = tables.CODES[int(name[1:])]
        assert (outcome.code, outcome.verdict) == (name[1:], VERDICTS[row.error_class]), name


def test_the_described_answer_is_accepted(description):
    examples = description["paths"][MESSAGES]["post"]["responses"]["200"]["content"]["application/json"]
    values = [each["value"] for each in examples["examples"].values()]
    # The others answer the mark “read” and the like.
    bodies = [value for value in values if "messages" in value]
    assert bodies
    for body in bodies:
        assert outcome_of(Answer(200, {}, json.dumps(body).encode())).verdict is Verdict.ACCEPTED


def test_the_described_list_of_templates_is_read_whole(description):
    listing = description["paths"]["/{Version}/{WABA-ID}/message_templates"]["get"]
    examples = listing["responses"]["200"]["content"]["application/json"]["examples"]
    for each in examples.values():
        found = templates_in(each["value"])
        assert len(found) == len(each["value"]["data"])
        for template, row in zip(found, each["value"]["data"], strict=True):
            assert (template.name, template.reference) == (row["name"], row["id"])
            assert template.category == "marketing"
            asked = {name for part in row["components"] for name in _numbers(part.get("text", ""))}
            assert set(template.placeholders) == asked


def _numbers(text):
    return [str(number) for number in range(1, 10) if f"{{{{{number}}}}}" in text]
