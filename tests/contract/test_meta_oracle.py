"""pywa, others' client for Meta's Cloud API, is an oracle: what it sends for a message, we send, too.

What differs is how it is spelled: pywa has the kinds of components and buttons in capitals and the index of
a button as a number, we have small letters and text; Meta's own examples have both. Only ours has
`product_policy`, only theirs `message_activity_sharing`; both are optional, and left out here.
"""

import hashlib
import hmac
import json

import httpx
import pytest
from pywa import WhatsApp
from pywa.types.templates import BodyText, HeaderImage, HeaderText, TemplateLanguage, URLButton

from regulars.providers.base import TemplateUse
from regulars.providers.callbacks import RefusedError, Request
from regulars.providers.meta.callbacks import MetaCallbacks
from regulars.providers.meta.options import MetaOptions

from .http_vendor import reply
from .suite import TEXTS, message
from .test_contract_meta import NUMBER
from .wire import asked_by

TOKEN, SECRET, VERIFY = "not-a-real-access-token", "not-a-real-app-secret", "not-a-real-word"
GUEST, USER = "12015550001", "ES.13491208655302741918"
PICTURE = "https://example.com/a.png"
SPANISH = TemplateLanguage.SPANISH_SPA
ANSWER = {
    "messaging_product": "whatsapp",
    "contacts": [{"input": GUEST, "wa_id": GUEST}],
    "messages": [{"id": "wamid.1"}],
}


def theirs(call):
    """The request that pywa makes in `call(client)`."""
    sent = []

    def take(request):
        sent.append(request)
        return httpx.Response(200, json=ANSWER)

    with httpx.Client(transport=httpx.MockTransport(take)) as session:
        call(WhatsApp(NUMBER, TOKEN, session=session, api_version="23.0"))
    (request,) = sent
    return request


def ours(one, **options):
    options = {"access_token": TOKEN, "phone_number_id": NUMBER} | options
    return asked_by("meta", lambda way: way.send([one]), reply(200, ANSWER), **options)


def spelled_like_ours(document):
    """pywa's document with small letters, and the index as text."""
    for component in document.get("template", {}).get("components", ()):
        for name in {"type", "sub_type"} & component.keys():
            component[name] = component[name].lower()
        if "index" in component:
            component["index"] = str(component["index"])
    return document


def to_guest(**fields):
    return message(channel="whatsapp", address=f"+{GUEST}", **fields)


def use(*values):
    return TemplateUse("1", "come_back", "es_ES", values)


def text(words):
    return to_guest(body=words), {}, lambda way: way.send_message(GUEST, words, tracker="1")


def template(values, params, one=to_guest, to=GUEST, on_marketing=False, **options):
    """Our message with its options, and pywa's call, for a template with these values."""
    return (
        one(template=use(*values), purpose="marketing"),
        options,
        lambda way: way.send_template(
            to, "come_back", SPANISH, params, tracker="1", use_mm_lite_api=on_marketing
        ),
    )


def to_user(**fields):
    return message(channel="whatsapp", address=USER, **fields)


CASES = {
    "numbered places": template([("1", "Ana"), ("2", "Ñ & Co 🎂")], [BodyText.params("Ana", "Ñ & Co 🎂")]),
    "named places": template(
        [("guest", "Ana"), ("venue", "Casa Pepe")], [BodyText.params(guest="Ana", venue="Casa Pepe")]
    ),
    "header, body and button": template(
        [("header.1", "Ana"), ("1", "Ana"), ("button.0", "ana-1")],
        [HeaderText.params("Ana"), BodyText.params("Ana"), URLButton.params(url_variable="ana-1", index=0)],
    ),
    "picture": template([("header.image", PICTURE)], [HeaderImage.params(image=PICTURE)]),
    "no places": template([], None),
    "user id": template([("1", "Ana")], [BodyText.params("Ana")], one=to_user, to=USER),
    "marketing": template(
        [("1", "Ana")],
        [BodyText.params("Ana")],
        on_marketing=True,
        marketing_endpoint="marketing_messages",
        marketing_callback_data=True,
    ),
} | {name: text(words) for name, words in TEXTS.items()}


@pytest.mark.parametrize(("one", "options", "call"), CASES.values(), ids=CASES)
def test_a_message_is_the_request_that_pywa_makes(one, options, call):
    known, asked = theirs(call), ours(one, **options)
    assert (asked.method, asked.path) == (known.method, known.url.path)
    assert str(known.url).startswith(str(MetaOptions.model_fields["base_url"].default))
    for name in ("authorization", "content-type"):
        assert asked.headers[name] == known.headers[name]
    assert asked.document == spelled_like_ours(json.loads(known.content))


# Callbacks.

BODY = '{"entry": [{"id": "Ñ 🎂"}]}'.encode()


def proof(body, secret=SECRET):
    return f"sha256={hmac.digest(secret.encode(), body, hashlib.sha256).hex()}"


def our_status(call):
    """What we answer: 200, or the status of the refusal."""
    try:
        call(MetaCallbacks())
    except RefusedError as refused:
        return refused.status
    return 200


@pytest.fixture(scope="module")
def client():
    with httpx.Client() as session:
        yield WhatsApp(session=session, token=TOKEN, app_secret=SECRET, verify_token=VERIFY, server=None)


SIGNED = {
    "as Meta signs": (BODY, proof(BODY)),
    "nothing": (b"", proof(b"")),
    "another body": (BODY + b" ", proof(BODY)),
    "another secret": (BODY, proof(BODY, "another")),
    "capitals": (BODY, proof(BODY).upper()),
    "no digits": (BODY, "sha256="),
    "no signature": (BODY, ""),
}


@pytest.mark.parametrize(("body", "signature"), SIGNED.values(), ids=SIGNED)
def test_a_callback_is_taken_exactly_where_pywa_takes_it(client, body, signature):
    """But for a signature without `sha256=`, which pywa takes and Meta never writes."""
    request = Request("POST", "", {"x-hub-signature-256": signature}, body)
    _, known = client.webhook_update_validator(body, signature) or ("", 200)
    assert our_status(lambda door: door.check(request, {"app_secret": SECRET}, None)) == known


@pytest.mark.parametrize("word", [VERIFY, "another", ""])
def test_the_handshake_is_answered_as_pywa_answers_it(client, word):
    address = f"/?hub.mode=subscribe&hub.verify_token={word}&hub.challenge=1158201444"
    request = Request("GET", address, {}, b"")
    challenge, known = client.webhook_challenge_handler(word, "1158201444")
    given = {"verify_token": VERIFY}
    assert our_status(lambda door: door.greet(request, given)) == known
    if known == 200:
        assert MetaCallbacks().greet(request, given) == challenge
