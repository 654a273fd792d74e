"""Other programs are told what becomes of messages and runs: signed, at least once, and never inwards."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.utils import timezone

from regulars.lib import standard_webhooks
from regulars.runs import engine, planning
from regulars.runs.models import DeliveryEvent, Message, Run, RunChunk
from regulars.webhooks import delivering, endpoints, gathering, targets
from regulars.webhooks.models import Attempt, Delivery, Endpoint


class Receiver:
    """Another program: answers with the statuses it is given, then with 200."""

    def __init__(self):
        self.heard, self.statuses = [], []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.heard.append((self.headers, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hear"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def private(settings):
    settings.WEBHOOKS_TO_PRIVATE = True


@pytest.fixture
def endpoint(organization, private):
    before = timezone.now() - timedelta(minutes=5)
    return endpoints.create(organization, "http://127.0.0.1:9/hear", gathering.EVENTS, before)[0]


@pytest.fixture
def sent(automation, lapsed):
    """A run whose one message has been accepted."""
    lapsed(external_id="82")
    now = timezone.now()
    run = engine.start(automation, now=now)
    planning.plan(str(run.pk), now)
    Message.objects.update(state="sent", attempt=1, accepted_at=now, state_at=now)
    RunChunk.objects.update(sent=1, epoch=1, closed=True)
    Run.objects.update(state="finished", finished_at=now)
    return Message.objects.get()


def events():
    return sorted(Delivery.objects.values_list("event", flat=True))


def test_signatures_are_those_of_the_specification():
    """Its published example."""
    found = standard_webhooks.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://0.0.0.0/",
        "https://user:password@93.184.215.14/",
        "ftp://93.184.215.14/",
        "https://[broken/",
        "https:///nowhere",
    ],
)
def test_nothing_inside_the_house_is_called(url):
    with pytest.raises(targets.TargetRefusedError):
        targets.resolve(url)


def test_a_public_address_is_called():
    assert targets.resolve("https://93.184.215.14/hear") == {"93.184.215.14": "93.184.215.14"}


class TestGathering:
    def test_a_run_and_its_messages_are_told_once(self, endpoint, sent):
        now = timezone.now()
        gathering.gather(endpoint.pk, now)
        assert events() == ["message.sent", "run.finished", "run.started"]
        told = Delivery.objects.get(event="message.sent").payload
        assert (told["type"], told["data"]["message_id"]) == ("message.sent", sent.pk)
        assert told["data"]["customer_external_id"] == "82"
        assert sent.address not in json.dumps(told)
        gathering.gather(endpoint.pk, now)
        assert Delivery.objects.count() == 3

    def test_what_a_later_report_says_is_told_when_it_is_certain(self, endpoint, sent):
        now = timezone.now()
        DeliveryEvent.objects.create(message_id=sent.pk, kind="delivered", at=now)
        gathering.gather(endpoint.pk, now)
        assert "message.delivered" not in events()
        gathering.gather(endpoint.pk, now + timedelta(minutes=2))
        gathering.gather(endpoint.pk, now + timedelta(minutes=3))
        assert events().count("message.delivered") == 1

    def test_only_what_was_chosen_and_what_happened_since(self, endpoint, sent):
        endpoints.change(endpoint, events=["message.failed"])
        gathering.gather(endpoint.pk, timezone.now())
        assert events() == []
        endpoints.change(endpoint, events=list(gathering.EVENTS))
        Endpoint.objects.update(created_at=timezone.now() + timedelta(minutes=1))
        gathering.gather(endpoint.pk, timezone.now())
        assert events() == []

    def test_not_of_another_organization(self, endpoint, sent, other_organization):
        Endpoint.objects.update(organization=other_organization)
        gathering.gather(endpoint.pk, timezone.now())
        assert events() == []


@pytest.mark.django_db(transaction=True)
class TestDelivering:
    @pytest.fixture
    def told(self, organization, private, receiver):
        """One test event that waits for the receiver, and the secret it is signed with."""
        endpoint, secret = endpoints.create(organization, receiver.url, ["run.finished"], timezone.now())
        return endpoints.test(endpoint, timezone.now()), secret

    def turn(self, delivery):
        asyncio.run(delivering.deliver(delivery.endpoint_id))
        delivery.refresh_from_db()

    def test_is_signed_and_done_with_the_first_good_answer(self, told, receiver):
        delivery, secret = told
        self.turn(delivery)
        ((headers, body),) = receiver.heard
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert delivery.state == "delivered"
        self.turn(delivery)
        assert len(receiver.heard) == 1

    def test_is_repeated_under_its_id_after_growing_pauses(self, told, receiver):
        delivery, _ = told
        receiver.statuses = [500, 503]
        for pause in delivering.PAUSES[:2]:
            self.turn(delivery)
            wait = delivery.next_at - timezone.now()
            assert pause - timedelta(seconds=3) < wait <= pause
            Delivery.objects.update(next_at=timezone.now())
        self.turn(delivery)
        assert delivery.state == "delivered"
        assert list(Attempt.objects.order_by("pk").values_list("status", flat=True)) == [500, 503, 200]
        assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1
        assert Endpoint.objects.get().failing_since is None

    def test_ends_after_the_last_pause_and_may_be_sent_again_by_hand(self, told, receiver):
        delivery, _ = told
        receiver.statuses = [500]
        Delivery.objects.update(attempts=len(delivering.PAUSES))
        self.turn(delivery)
        assert delivery.state == "failed"
        endpoints.send_again(delivery, timezone.now())
        self.turn(delivery)
        assert delivery.state == "delivered"

    def test_an_endpoint_that_has_failed_for_a_day_is_given_up_with_the_reason(self, told, receiver):
        delivery, _ = told
        receiver.statuses = [500]
        Endpoint.objects.update(failing_since=timezone.now() - timedelta(hours=25))
        self.turn(delivery)
        assert "for a day" in Endpoint.objects.get().disabled_reason
        assert delivering.active_endpoints() == []

    def test_one_that_is_gone_is_given_up_at_once(self, told, receiver):
        delivery, _ = told
        receiver.statuses = [410]
        self.turn(delivery)
        assert "410" in Endpoint.objects.get().disabled_reason

    def test_a_name_that_turns_private_is_not_called(self, told, receiver, settings):
        settings.WEBHOOKS_TO_PRIVATE = False
        delivery, _ = told
        self.turn(delivery)
        assert receiver.heard == []
        assert Attempt.objects.get().problem


class TestTheApi:
    def test_makes_tries_and_removes_an_endpoint(self, signed_in, owner, private):
        client = signed_in(owner)
        given = {"url": "http://127.0.0.1:9/", "events": ["message.sent"]}
        made = client.post("/api/webhooks", given, content_type="application/json")
        assert made.status_code == 201
        assert made.json()["secret"].startswith("whsec_")
        path = f"/api/webhooks/{made.json()['id']}"
        assert "secret" not in client.get("/api/webhooks").json()["items"][0]
        tried = client.post(f"{path}/test")
        assert tried.status_code == 202
        (delivery,) = client.get(f"{path}/deliveries").json()["items"]
        assert (delivery["event"], delivery["attempts"]) == ("webhook.test", [])
        assert client.post(f"{path}/deliveries/{delivery['id']}/retry").status_code == 202
        assert client.delete(path).status_code == 204
        assert client.get(f"{path}/deliveries").status_code == 404

    def test_refuses_what_lies_inside(self, signed_in, owner):
        given = {"url": "https://10.0.0.1/", "events": ["message.sent"]}
        answer = signed_in(owner).post("/api/webhooks", given, content_type="application/json")
        assert (answer.status_code, answer.json()["details"][0]["path"]) == (422, "url")

    def test_is_for_those_who_may_change_accounts(self, signed_in, colleague):
        assert signed_in(colleague).get("/api/webhooks").status_code == 403
