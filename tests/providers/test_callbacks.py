"""What each vendor's callback is believed to prove, and what it is understood to say."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.lib import standard_webhooks
from regulars.lib.http import Answer
from regulars.providers import callbacks
from regulars.providers.base import Report
from regulars.providers.callbacks import (
    BUILT_IN,
    PASSWORD,
    Choice,
    Fact,
    Inbound,
    MalformedError,
    RefusedError,
    Request,
    Subscription,
    handler,
)
from regulars.providers.meta import tables
from regulars.providers.meta.answers import outcome_of
from regulars.providers.ses import sns
from regulars.providers.twilio.callbacks import signature

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
URL = "https://regulars.example.com/api/callbacks/x/1-abc"
SECRETS = {
    PASSWORD: "p4ss",
    "auth_token": "t0ken",
    "app_secret": "s3cret",
    "webhook_signing_key": "k3y",
    "webhook_secret": "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode(),
}


def post(body, url=URL, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", url, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def form(fields, url=URL, **headers):
    return post(urlencode(fields).encode(), url, **headers)


@pytest.fixture(scope="module")
def amazon():
    """A key and a certificate as SNS serves one."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + timedelta(days=90))
    return key, made.sign(key, SHA256()).public_bytes(Encoding.PEM)


def by_sns(key, message, version="2", **fields):
    told = {
        "Type": "Notification",
        "MessageId": "n-1",
        "TopicArn": "arn:aws:sns:eu-west-1:1:regulars",
        "Message": json.dumps(message),
        "Timestamp": "2026-06-15T12:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
    } | fields
    algorithm = {"1": SHA1, "2": SHA256}[version]()
    signed = key.sign(sns.signed_text(told).encode(), PKCS1v15(), algorithm)
    return told | {"Signature": base64.b64encode(signed).decode()}


def by_svix(body, moment=NOW):
    content, stamp = json.dumps(body).encode(), int(moment.timestamp())
    made = standard_webhooks.headers(SECRETS["webhook_secret"], "msg_1", stamp, content)
    proof = f"v1,AAAA {made['webhook-signature']}"
    return post(body, svix_id="msg_1", svix_timestamp=str(stamp), svix_signature=proof)


def by_mailgun(data, moment=NOW):
    stamp = str(int(moment.timestamp()))
    proof = hmac.new(b"k3y", f"{stamp}tok".encode(), hashlib.sha256).hexdigest()
    return post({"signature": {"timestamp": stamp, "token": "tok", "signature": proof}, "event-data": data})


def by_meta(body):
    content = json.dumps(body).encode()
    proof = hmac.new(b"s3cret", content, hashlib.sha256).hexdigest()
    return post(body, x_hub_signature_256=f"sha256={proof}")


def by_twilio(fields, url=URL, signed_url=None):
    return form(
        fields, url, x_twilio_signature=signature("t0ken", signed_url or url, sorted(set(fields.items())))
    )


def by_password(body, scheme="Bearer", password="p4ss"):
    proof = password if scheme == "Bearer" else base64.b64encode(f"regulars:{password}".encode()).decode()
    return post(body, authorization=f"{scheme} {proof}")


GOOD = {
    "twilio": lambda: by_twilio({"MessageSid": "SM1", "MessageStatus": "sent"}),
    "meta": lambda: by_meta({"entry": []}),
    "brevo": lambda: by_password({"event": "delivered"}),
    "postmark": lambda: by_password({"RecordType": "Delivery"}, "Basic"),
    "mailgun": lambda: by_mailgun({"event": "delivered"}),
    "resend": lambda: by_svix({"type": "email.sent"}),
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_the_vendor_signed_is_taken(kind):
    handler(kind).check(GOOD[kind](), SECRETS, NOW)


@pytest.mark.parametrize("kind", GOOD)
def test_what_somebody_else_sends_is_refused(kind):
    good = GOOD[kind]()
    bare = Request("POST", good.url, {}, b"{}")
    with pytest.raises(RefusedError) as refused:
        handler(kind).check(bare, SECRETS, NOW)
    assert refused.value.status == 401
    wrong = SECRETS | dict.fromkeys(SECRETS, "whsec_" + base64.b64encode(b"another key").decode())
    for secrets in (wrong, {}):
        with pytest.raises(RefusedError) as refused:
            handler(kind).check(good, secrets, NOW)
        assert refused.value.status == 403


@pytest.mark.parametrize("kind", ["twilio", "meta", "resend"])
def test_a_changed_body_is_refused(kind):
    good = GOOD[kind]()
    with pytest.raises(RefusedError):
        handler(kind).check(Request("POST", good.url, good.headers, good.body + b"1"), SECRETS, NOW)


@pytest.mark.parametrize(("made", "minutes"), [(by_svix, 6), (by_mailgun, 60 * 25)])
def test_an_old_signature_is_refused(made, minutes):
    kind = {by_svix: "resend", by_mailgun: "mailgun"}[made]
    with pytest.raises(RefusedError, match="another time"):
        handler(kind).check(made({}, NOW - timedelta(minutes=minutes)), SECRETS, NOW)


def test_twilios_own_example_is_signed_as_twilio_says():
    # https://www.twilio.com/docs/usage/security#validating-requests
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, sorted(fields.items())) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize("signed", ["https://r.example.com:443/cb?a=1", "https://r.example.com/cb?a=1"])
@pytest.mark.parametrize("called", ["https://r.example.com:443/cb?a=1", "https://r.example.com/cb?a=1"])
def test_twilio_may_sign_with_or_without_the_port(signed, called):
    handler("twilio").check(by_twilio({"MessageSid": "SM1"}, called, signed), SECRETS, NOW)


def test_twilio_signs_the_host_as_it_was_given_capitals_included():
    signed = by_twilio({"MessageSid": "SM1"}, "https://R.example.com/cb", "https://R.example.com:443/cb")
    handler("twilio").check(signed, SECRETS, NOW)


@pytest.mark.parametrize("version", ["1", "2"])
def test_amazons_signature_is_checked_with_its_certificate(amazon, version):
    key, certificate = amazon
    told, ses = by_sns(key, {}, version), handler("ses")
    assert ses.certificate_url(post(told)) == told["SigningCertURL"]
    ses.check(post(told), {}, NOW, certificate)
    ses.check(post(told), {"topic_arn": told["TopicArn"]}, NOW, certificate)
    for wrong, secrets, when in [
        (told | {"Message": "{ }"}, {}, NOW),
        (told | {"SignatureVersion": "3"}, {}, NOW),
        (told, {"topic_arn": "arn:aws:sns:eu-west-1:2:mine"}, NOW),
        (told, {}, NOW + timedelta(days=91)),
    ]:
        with pytest.raises(RefusedError):
            ses.check(post(wrong), secrets, when, certificate)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com.example.com/a.pem",
        "https://example.com/sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com@example.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.txt",
        "https://s3.amazonaws.com/sns.pem",
        "https://[::1/a.pem",
        "",
    ],
)
def test_a_certificate_from_elsewhere_is_not_even_fetched(url):
    with pytest.raises(RefusedError):
        handler("ses").certificate_url(post({"SigningCertURL": url}))


def test_amazon_is_confirmed_only_at_amazons_own_address(amazon):
    ask = {
        "Type": "SubscriptionConfirmation",
        "Token": "t",
        "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?A=b",
    }
    assert handler("ses").events(post(ask)) == [Subscription(ask["SubscribeURL"])]
    assert handler("ses").events(post(ask | {"SubscribeURL": "https://example.com/"})) == []


def test_metas_handshake_gives_the_challenge_back():
    meta = handler("meta")
    ask = "?hub.mode=subscribe&hub.challenge=42&hub.verify_token="
    assert meta.greet(Request("GET", f"{URL}{ask}p4ss", {}, b""), SECRETS) == "42"
    with pytest.raises(RefusedError):
        meta.greet(Request("GET", f"{URL}{ask}guess", {}, b""), SECRETS)
    with pytest.raises(RefusedError):
        meta.greet(Request("GET", f"{URL}{ask}", {}, b""), {})
    with pytest.raises(RefusedError) as refused:
        handler("brevo").greet(Request("GET", URL, {}, b""), SECRETS)
    assert refused.value.status == 405


def only(kind, request):
    (event,) = handler(kind).events(request)
    return event


def meta(**value):
    return post({"object": "whatsapp_business_account", "entry": [{"changes": [{"value": value}]}]})


STATUS = {"id": "wamid.1", "recipient_id": "12015550100", "timestamp": "1781524800"}


@pytest.mark.parametrize(
    ("kind", "request_", "report", "more"),
    [
        ("twilio", form({"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+12015550100"}), "delivered", {}),
        ("twilio", form({"MessageSid": "SM1", "MessageStatus": "read", "To": "whatsapp:+12015550100"}), "read",
         {"channel": "whatsapp"}),
        ("twilio", form({"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005"}), "failed",
         {"bad_address": True}),
        ("twilio", form({"MessageSid": "SM1", "MessageStatus": "failed", "ErrorCode": "21610"}), "failed",
         {"opt_out": True, "bad_address": False}),
        ("meta", meta(statuses=[STATUS | {"status": "delivered", "biz_opaque_callback_data": "77"}]), "delivered",
         {"message_id": 77, "address": "+12015550100", "at": NOW}),
        ("meta", meta(statuses=[STATUS | {"status": "failed", "errors": [{"code": 131050, "title": "Stopped"}]}]),
         "failed", {"opt_out": True, "words": "Stopped (131050)"}),
        ("meta", meta(statuses=[STATUS | {"status": "failed", "errors": [{"code": 131026}]}]), "failed",
         {"bad_address": True}),
        ("brevo", post({"event": "hard_bounce", "email": "Ana@Example.com", "message-id": "<1@x>"}), "bounced",
         {"bad_address": True, "address": "ana@example.com", "provider_id": "<1@x>"}),
        ("brevo", post({"event": "soft_bounce", "email": "a@example.com"}), "bounced", {"bad_address": False}),
        ("brevo", post({"event": "spam", "X-Mailin-custom": '{"message": "m:77"}'}), "complained",
         {"complaint": True, "message_id": 77}),
        ("brevo", post({"event": "click", "tags": ["summer", "message:77"]}), "clicked",
         {"tracked": True, "message_id": 77}),
        ("brevo", post({"event": "deferred", "ts_epoch": 1781524800000}), None, {"at": NOW}),
        ("brevo", post({"msg_status": "delivered", "to": "12015550100", "messageId": 9, "tag": "77"}), "delivered",
         {"channel": "sms", "address": "+12015550100", "message_id": 77, "provider_id": "9"}),
        ("brevo", post({"msg_status": "unsubscribe", "to": "12015550100"}), None, {"opt_out": True}),
        ("postmark", post({"RecordType": "Bounce", "Type": "HardBounce", "Email": "a@example.com", "ID": 4,
                           "MessageID": "u", "Metadata": {"message": "77"}}), "bounced",
         {"bad_address": True, "message_id": 77, "provider_id": "u"}),
        ("postmark", post({"RecordType": "Bounce", "Type": "AutoResponder", "Email": "a@example.com"}), None,
         {"bad_address": False}),
        ("postmark", post({"RecordType": "Bounce", "Type": "Transient", "Email": "a@example.com"}), None, {}),
        ("postmark", post({"RecordType": "SpamComplaint", "Email": "a@example.com"}), "complained", {}),
        ("postmark", post({"RecordType": "SubscriptionChange", "SuppressSending": True, "Recipient": "a@example.com",
                           "SuppressionReason": "ManualSuppression"}), None, {"opt_out": True}),
        ("mailgun", by_mailgun({"event": "failed", "severity": "permanent", "reason": "bounce", "id": "e1",
                                "recipient": "a@example.com", "user-variables": {"message": "77"}, "timestamp": 1781524800,
                                "message": {"headers": {"message-id": "1@x"}}}), "bounced",
         {"bad_address": True, "message_id": 77, "provider_id": "<1@x>", "key": "e1:failed:1781524800"}),
        ("mailgun", by_mailgun({"event": "failed", "severity": "temporary"}), None, {"bad_address": False}),
        ("mailgun", by_mailgun({"event": "unsubscribed"}), None, {"opt_out": True}),
        ("resend", by_svix({"type": "email.bounced", "data": {
            "email_id": "u", "to": ["a@example.com"], "bounce": {"type": "Permanent", "message": "No such user"},
            "tags": {"message": "77"}}}), "bounced",
         {"bad_address": True, "message_id": 77, "provider_id": "u", "words": "No such user"}),
        ("resend", by_svix({"type": "email.opened", "data": {"to": ["a@example.com"]}}), "read", {"tracked": True}),
    ],
)  # fmt: skip
def test_a_fact_is_understood(kind, request_, report, more):
    fact = only(kind, request_)
    assert isinstance(fact, Fact)
    assert fact.report == (report and Report(report))
    assert {name: getattr(fact, name) for name in more} == more


def ses(**event):
    return post({"Type": "Notification", "MessageId": "n-1", "Message": json.dumps(event)})


MAIL = {"messageId": "01-0", "destination": ["Ana@example.com"], "tags": {"message": ["77"]}}


@pytest.mark.parametrize(
    ("event", "report", "more"),
    [
        ({"eventType": "Delivery", "delivery": {"recipients": ["ana@example.com"]}}, "delivered",
         {"address": "ana@example.com", "message_id": 77, "provider_id": "01-0"}),
        ({"notificationType": "Bounce", "bounce": {"bounceType": "Permanent", "bouncedRecipients": [
            {"emailAddress": "Ana@example.com", "diagnosticCode": "550 5.1.1 unknown"}]}}, "bounced",
         {"bad_address": True, "words": "550 5.1.1 unknown", "address": "ana@example.com"}),
        ({"eventType": "Bounce", "bounce": {"bounceType": "Transient", "bouncedRecipients": [{}]}}, "bounced",
         {"bad_address": False}),
        ({"eventType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": "ana@example.com"}]}},
         "complained", {"complaint": True}),
        ({"eventType": "Click"}, "clicked", {"tracked": True, "address": "ana@example.com"}),
        ({"eventType": "DeliveryDelay"}, None, {}),
    ],
)  # fmt: skip
def test_amazons_facts_are_understood(event, report, more):
    fact = only("ses", ses(**event, mail=MAIL))
    assert fact.report == (report and Report(report))
    assert {name: getattr(fact, name) for name in more} == more


def test_twilio_gives_our_own_id_back_in_the_address():
    fact = only("twilio", form({"MessageSid": "SM1", "MessageStatus": "sent"}, f"{URL}?message=77&attempt=2"))
    assert (fact.message_id, fact.attempt, fact.report) == (77, 2, Report.ACCEPTED)


@pytest.mark.parametrize(
    ("kind", "request_", "expected"),
    [
        ("twilio", form({"MessageSid": "SM1", "SmsStatus": "received", "From": "+12015550100", "Body": "¡Baja!"}),
         Inbound("SM1", "sms", "+12015550100", "¡Baja!")),
        ("twilio", form({"MessageSid": "SM1", "From": "+12015550100", "Body": "Stop"}),
         Inbound("SM1", "sms", "+12015550100", "Stop", answered=True)),
        ("twilio", form({"MessageSid": "SM1", "From": "+12015550100", "Body": "Baja", "OptOutType": "STOP"}),
         Inbound("SM1", "sms", "+12015550100", "Baja", answered=True)),
        ("twilio", form({"MessageSid": "SM1", "From": "whatsapp:+12015550100", "Body": "", "NumMedia": "2",
                         "To": "whatsapp:+12015550199"}),
         Inbound("SM1", "whatsapp", "+12015550100", "[2 attached]", to="+12015550199")),
        ("meta", meta(messages=[{"id": "w1", "from": "12015550100", "timestamp": "1781524800", "type": "text",
                                 "text": {"body": "Hola"}}]),
         Inbound("w1", "whatsapp", "+12015550100", "Hola", NOW)),
        ("meta", meta(messages=[{"id": "w1", "from": "12015550100", "type": "button", "button": {"text": "Baja"}}],
                      metadata={"phone_number_id": "106"}),
         Inbound("w1", "whatsapp", "+12015550100", "Baja", to="106")),
        ("meta", meta(messages=[{"id": "w1", "user_id": "ES.1", "type": "interactive", "interactive": {
            "type": "button_reply", "button_reply": {"id": "1", "title": "Alta"}}}]),
         Inbound("w1", "whatsapp", "ES.1", "Alta")),
        ("meta", meta(messages=[{"id": "w1", "from_user_id": "US.ENT.1181", "type": "text", "text": {"body": "Hola"}}]),
         Inbound("w1", "whatsapp", "US.ENT.1181", "Hola")),
        ("meta", meta(messages=[{"id": "w1", "from": "12015550100", "from_user_id": "ES.1", "type": "text",
                                 "text": {"body": "Hola"}}]),
         Inbound("w1", "whatsapp", "+12015550100", "Hola", user_id="ES.1")),
        ("meta", meta(messages=[{"id": "w1", "from": "12015550100", "type": "image", "image": {"id": "9"}}]),
         Inbound("w1", "whatsapp", "+12015550100", "[image]")),
        ("meta", meta(user_preferences=[{"wa_id": "12015550100", "category": "marketing_messages", "value": "stop",
                                         "timestamp": 1781524800}]),
         Choice("+12015550100:stop:1781524800", "whatsapp", "+12015550100", stop=True, at=NOW)),
        ("meta", meta(messages=[{"id": "w1", "from": "12015550100", "type": "system", "timestamp": 1781524800,
                                 "system": {"type": "user_preference_changed", "marketing": "resume", "body": "x"}}]),
         Choice("+12015550100:resume:1781524800", "whatsapp", "+12015550100", stop=False, words="x", at=NOW)),
        ("brevo", post({"msg_status": "replied", "to": "12015550100", "reply": "BAJA", "messageId": 3, "ts_event": 7}),
         Inbound("3:reply:7", "sms", "+12015550100", "BAJA", datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC))),
    ],
)  # fmt: skip
def test_what_a_guest_says_is_understood(kind, request_, expected):
    assert only(kind, request_) == expected


@pytest.mark.parametrize("code", sorted(tables.CODES))
def test_a_code_of_meta_means_the_same_by_callback_as_in_an_answer(code):
    error = {"code": code}
    outcome = outcome_of(Answer(400, {}, json.dumps({"error": error}).encode()))
    fact = only("meta", meta(statuses=[STATUS | {"status": "failed", "errors": [error]}]))
    assert (fact.bad_address, fact.opt_out) == (outcome.bad_address, outcome.opt_out)


def test_a_test_numbers_list_says_nothing_of_the_guests_number():
    fact = only("meta", meta(statuses=[STATUS | {"status": "failed", "errors": [{"code": 131030}]}]))
    assert (fact.report, fact.bad_address) == ("failed", False)


def test_one_call_of_meta_may_tell_many_things():
    statuses = [STATUS | {"id": f"wamid.{n}", "status": "sent"} for n in range(50)]
    assert len(handler("meta").events(meta(statuses=statuses, messages=[{"id": "w", "type": "text"}]))) == 51


def test_brevo_may_send_a_list():
    told = [{"event": "delivered", "email": f"{n}@example.com"} for n in range(3)]
    assert [fact.address for fact in handler("brevo").events(post(told))] == [one["email"] for one in told]


def test_the_same_brevo_event_has_the_same_key_and_another_has_another():
    told = {"event": "opened", "email": "a@example.com", "message-id": "<1>", "ts_epoch": 1}
    keys = [only("brevo", post(told | more)).key for more in ({}, {}, {"ts_epoch": 2}, {"event": "click"})]
    assert len(set(keys)) == 3


SURPRISES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "entry changes value statuses messages user_preferences status id errors code event msg_status to reply tags "
                "RecordType MessageID Metadata event-data message headers data type bounce Type Message mail wa_id text "
                "timestamp ts_epoch system Bounce bouncedRecipients destination".split()
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", BUILT_IN)
@given(told=SURPRISES)
def test_no_surprise_is_worse_than_malformed(kind, told):
    try:
        events = handler(kind).events(post(told))
    except MalformedError:
        return
    assert all(isinstance(one, Fact | Inbound | Choice | Subscription) for one in events)


@pytest.mark.parametrize("kind", sorted(set(BUILT_IN) - {"twilio"}))
@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[" * 100_000, b"not json"])
def test_a_body_that_is_no_json_is_malformed(kind, body):
    with pytest.raises(MalformedError):
        handler(kind).events(Request("POST", URL, {}, body))


@pytest.mark.parametrize(
    ("given", "found"),
    [("77", 77), (77, 77), ("message:77", 77), ("m77", 77), ("0", None), ("x77", None), ("", None), (None, None),
     (True, None), (2**63, None), ("-77", 77), ("77.5", None)],
)  # fmt: skip
def test_our_own_id_is_known_in_its_usual_clothes(given, found):
    assert callbacks.our_id(given) == found


def test_a_kind_that_never_calls_has_no_handler():
    assert handler("sandbox") is None
    assert handler("smtp") is None


def checked(kind, request):
    handler(kind).certificate_url(request)
    handler(kind).check(request, SECRETS, NOW, b"no certificate")


@pytest.mark.parametrize("kind", BUILT_IN)
@pytest.mark.parametrize("proof", [{}, dict.fromkeys(["x_twilio_signature", "x_hub_signature_256"], "é")])
@settings(deadline=None)
@given(told=SURPRISES)
def test_no_surprise_passes_for_a_proof(kind, proof, told):
    with pytest.raises((RefusedError, MalformedError)):
        checked(kind, post(told, **proof))
