"""Twilio's own client is an oracle: what it sends for a message, and which callbacks it takes, we do, too."""

import json
import logging
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from django.http import QueryDict
from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator, get_signature_algorithm
from twilio.rest import Client

from regulars.providers.base import Question, TemplateUse
from regulars.providers.callbacks import RefusedError, Request
from regulars.providers.twilio.callbacks import TwilioCallbacks
from regulars.providers.twilio.options import TwilioOptions

from .suite import TEXTS, message
from .test_contract_twilio import ACCEPTED, SID
from .wire import asked_by

TOKEN = "not-a-real-auth-token"
SERVICE, CONTENT = "MG" + "c" * 32, "HX" + "d" * 32
NUMBER, GUEST = "+12015550100", "+12015550001"
CALLBACK = "https://regulars.example.com/api/callbacks/twilio/x?message=1&attempt=1"
VALUES = {"1": "Zoë “2” 🎂", "venue": "Ñ & Co"}
USE = TemplateUse(CONTENT, "come_back", "es", tuple(VALUES.items()))


class Capture(HttpClient):
    """Stands in for Twilio's client over `requests`: prepares the request as that does, and keeps it."""

    def __init__(self):
        super().__init__(logging.getLogger(__name__), is_async=False)

    def request(self, method, uri, params=None, data=None, headers=None, auth=None, **_):
        self.sent = requests.Request(method, uri, headers, params=params, data=data, auth=auth).prepare()
        return Response(201 if method == "POST" else 200, '{"messages": []}')


def theirs(call):
    """The request that Twilio's client makes in `call(client)`."""
    capture = Capture()
    call(Client(SID, TOKEN, http_client=capture))
    return capture.sent


def ours(call, **options):
    return asked_by("twilio", call, ACCEPTED, account_sid=SID, auth_token=TOKEN, **options)


def fields_of(body):
    """The form's fields; the variables as what they say, since JSON can be written in several ways."""
    text = body.decode() if isinstance(body, bytes) else body
    fields = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True))
    if "ContentVariables" in fields:
        fields["ContentVariables"] = json.loads(fields["ContentVariables"])
    return fields


CASES = {
    "sms": (message(body="Hola"), {"from": NUMBER}, {"from_": NUMBER, "body": "Hola"}),
    "sms by name": (message(body="Hola"), {"from": "Casa Pepe"}, {"from_": "Casa Pepe", "body": "Hola"}),
    "sms by service, with callback": (
        message(body="Hola", callback=CALLBACK),
        {"from": SERVICE},
        {"messaging_service_sid": SERVICE, "body": "Hola", "status_callback": CALLBACK},
    ),
    "whatsapp text": (
        message(channel="whatsapp", body="Hola"),
        {"whatsapp_from": NUMBER},
        {"from_": f"whatsapp:{NUMBER}", "body": "Hola"},
    ),
    "whatsapp template": (
        message(channel="whatsapp", template=USE, callback=CALLBACK),
        {"whatsapp_from": NUMBER},
        {
            "from_": f"whatsapp:{NUMBER}",
            "content_sid": CONTENT,
            "content_variables": json.dumps(VALUES),
            "status_callback": CALLBACK,
        },
    ),
    "whatsapp template without places": (
        message(channel="whatsapp", template=TemplateUse(CONTENT, "come_back", "es")),
        {"whatsapp_from": SERVICE},
        {"messaging_service_sid": SERVICE, "content_sid": CONTENT},
    ),
} | {
    name: (message(body=text), {"from": NUMBER}, {"from_": NUMBER, "body": text})
    for name, text in TEXTS.items()
}


@pytest.mark.parametrize(("one", "options", "arguments"), CASES.values(), ids=CASES)
def test_a_message_is_the_request_that_twilios_own_client_makes(one, options, arguments):
    to = f"whatsapp:{GUEST}" if one.channel == "whatsapp" else GUEST
    known = theirs(lambda client: client.messages.create(to=to, validity_period=14_400, **arguments))
    asked = ours(lambda way: way.send([one]), **options)
    assert (asked.method, asked.path) == (known.method, known.path_url)
    assert asked.headers["authorization"] == known.headers["Authorization"]
    assert asked.headers["content-type"].partition(";")[0] == known.headers["Content-Type"]
    assert fields_of(asked.body) == fields_of(known.body)


def test_a_look_up_and_a_look_at_the_account_are_reads_that_twilios_client_makes(now):
    asked = ours(lambda way: way.look_up([Question(message(), now, now)]), **{"from": NUMBER})
    known = theirs(lambda client: client.messages.page(to=GUEST, page_size=50))
    assert (asked.method, urlsplit(asked.path).path) == (known.method, urlsplit(known.url).path)
    assert fields_of(urlsplit(asked.path).query) == fields_of(urlsplit(known.url).query)
    asked = ours(lambda way: way.check(), **{"from": NUMBER})
    known = theirs(lambda client: client.api.accounts(SID).fetch())
    assert (asked.method, asked.path) == (known.method, known.path_url)


def test_the_addresses_are_those_of_twilios_own_client():
    host = theirs(lambda client: client.messages.create(to=GUEST, body="x")).url
    content = theirs(lambda client: client.content.v1.content_and_approvals.page(page_size=500)).url
    fields = TwilioOptions.model_fields
    assert host.startswith(str(fields["base_url"].default))
    assert content == f"{fields['content_url'].default}v1/ContentAndApprovals?PageSize=500"


# Callbacks.

ADDRESS = "https://regulars.example.com/api/callbacks/twilio/x"
STATUS = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": GUEST, "ErrorCode": ""}
SPELLINGS = {
    "as it is": (ADDRESS, ADDRESS),
    "with a query": (CALLBACK, CALLBACK),
    "with an encoded query": (ADDRESS + "?name=Ana%20%26%20Zo%C3%AB", ADDRESS + "?name=Ana%20%26%20Zo%C3%AB"),
    "signed with the port of https": (CALLBACK.replace(".com/", ".com:443/"), CALLBACK),
    "signed without the port of https": (CALLBACK, CALLBACK.replace(".com/", ".com:443/")),
    "a port of its own": (ADDRESS.replace(".com/", ".com:8443/"), ADDRESS.replace(".com/", ".com:8443/")),
    "signed without a port of its own": (ADDRESS, ADDRESS.replace(".com/", ".com:8443/")),
    "signed with the port of http": (
        "http://regulars.example.com:80/x",
        "http://regulars.example.com/x",
    ),
    "a host in capitals, signed with a port": (
        "https://Regulars.Example.com:443/x",
        "https://Regulars.Example.com/x",
    ),
    "another port": (ADDRESS.replace(".com/", ".com:9443/"), ADDRESS.replace(".com/", ".com:8443/")),
    "http behind a proxy that says nothing": (ADDRESS, ADDRESS.replace("https", "http")),
    "another host": (ADDRESS.replace("regulars", "other"), ADDRESS),
    "another path": (ADDRESS + "/", ADDRESS),
    "another query": (CALLBACK + "&x=1", CALLBACK),
    "no query": (ADDRESS, CALLBACK),
}
FORMS = {
    "a status": urlencode(STATUS),
    "blank fields": "MessageSid=SM1&Body=&ErrorCode=",
    "accents and an emoji": urlencode({"Body": "¡Olé! + 🎂 & más", "From": f"whatsapp:{GUEST}"}),
    "a name twice": "a=2&a=1&b=3",
    "a name twice with one value": "a=1&a=1",
    "capitals before small letters": "b=1&B=2&a=3&A=4",
    "blanks around": "Body=+Hola++",
    "nothing": "",
}


def we_take(url, body, headers, secrets=None):
    request = Request("POST", url, headers, body.encode())
    try:
        TwilioCallbacks().check(request, secrets or {"auth_token": TOKEN}, now=None)
    except RefusedError:
        return False
    return True


def by_token(signature):
    return {"x-twilio-signature": signature}


def they_take(url, body, signature, token=TOKEN):
    return RequestValidator(token).validate(url, QueryDict(body), signature)


def signed(url, body, token=TOKEN):
    return RequestValidator(token).compute_signature(url, QueryDict(body))


@pytest.mark.parametrize(("called", "known"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_callback_is_taken_exactly_where_twilios_own_validator_takes_it(called, known):
    """Signed by Twilio for the first address, known to us by the second."""
    body = FORMS["a status"]
    signature = signed(called, body)
    assert we_take(known, body, by_token(signature)) is they_take(known, body, signature)


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_each_form_that_twilio_signs_is_taken(body):
    signature = signed(CALLBACK, body)
    assert they_take(CALLBACK, body, signature)
    assert we_take(CALLBACK, body, by_token(signature))


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), st.lists(st.text(max_size=8), min_size=1, max_size=3), max_size=5)
)
def test_whatever_the_form_says_what_twilio_signs_is_taken(form):
    body = urlencode(form, doseq=True)
    assert we_take(CALLBACK, body, by_token(signed(CALLBACK, body)))


@pytest.mark.parametrize(
    ("body", "token"),
    [("MessageSid=SM2", TOKEN), ("MessageSid=SM1&MessageStatus=read", TOKEN), ("MessageSid=SM1", "another")],
)
def test_what_twilio_did_not_sign_is_refused_by_both(body, token):
    signature = signed(ADDRESS, "MessageSid=SM1")
    assert not we_take(ADDRESS, body, by_token(signature), {"auth_token": token})
    assert not they_take(ADDRESS, body, signature, token)


SHARED_KEY = "not-a-real-shared-key"
BY_SHARED_KEY = {
    "SHA-256": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
    "SHA-256, spread out": " key=webhooks_sharedkey_1 , algorithm=HMAC_SHA256 ",
    "SHA-256, small letters": "algorithm=hmac_sha256",
    "SHA-1": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA1",
    "no algorithm": "key=webhooks_sharedkey_1",
    "an empty algorithm": "key=webhooks_sharedkey_1,algorithm=",
    "an unknown algorithm": "key=webhooks_sharedkey_1,algorithm=HMAC_MD5",
}


@pytest.mark.parametrize("said", BY_SHARED_KEY.values(), ids=BY_SHARED_KEY)
@pytest.mark.parametrize("secret", [SHARED_KEY, TOKEN])
@pytest.mark.parametrize("signed_by", ["HMAC_SHA1", "HMAC_SHA256"])
def test_a_shared_key_is_taken_exactly_where_twilios_own_validator_takes_it(said, secret, signed_by):
    """Where Twilio names a shared key, nothing is taken that the auth token signed."""
    body = FORMS["accents and an emoji"]
    signature = RequestValidator(secret).compute_signature(CALLBACK, QueryDict(body), signed_by)
    headers = {"x-twilio-signature": signature, "x-twilio-webhooks-signature-settings": said}
    known = RequestValidator(SHARED_KEY).validate(
        CALLBACK, QueryDict(body), signature, get_signature_algorithm(said)
    )
    assert we_take(CALLBACK, body, headers, {"auth_token": TOKEN, "shared_key": SHARED_KEY}) is known


def test_without_the_shared_key_it_is_said_what_is_missing():
    headers = {"x-twilio-signature": "x", "x-twilio-webhooks-signature-settings": BY_SHARED_KEY["SHA-256"]}
    with pytest.raises(RefusedError, match="check shared_key"):
        TwilioCallbacks().check(Request("POST", CALLBACK, headers, b""), {"auth_token": TOKEN}, None)
