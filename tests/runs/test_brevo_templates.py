"""A WhatsApp template kept at Brevo, from its list to the guest's telephone."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.runs.scripted import planned, send_all

from regulars.automations import content
from regulars.automations.accounts import create_account
from regulars.automations.content import DefinitionError, parse_definition
from regulars.automations.template_sync import synchronise
from regulars.runs import engine
from regulars.runs.models import Message

pytestmark = pytest.mark.django_db(transaction=True)


class Brevo:
    """Lists `templates`, answers each message with `answer`, and remembers what it was sent."""

    def __init__(self):
        self.templates = [template()]
        self.answer = (201, {"messageId": "23befbae-1505-47a8-bd27-e30ef739f32c"})
        self.sent = []
        brevo = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.reply(200, {"count": len(brevo.templates), "templates": brevo.templates})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                brevo.sent.append((self.path, json.loads(body)))
                self.reply(*brevo.answer)

            def reply(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v3"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def template(**changes):
    return {
        "id": 465118589032810,
        "name": "come_back",
        "status": "approved",
        "language": "es",
        "category": "MARKETING",
    } | changes


@pytest.fixture
def brevo():
    found = Brevo()
    yield found
    found.close()


@pytest.fixture
def access(organization, brevo):
    options = {"api_key": "k", "whatsapp_sender": "12015550100", "base_url": brevo.url}
    return create_account(organization, "Brevo", "brevo", options)


@pytest.fixture
def win_back(organization, access):
    """Make an automation that names the template; its places are called as at Brevo."""

    def make(**variables):
        named = variables or {"FNAME": '{{ customer.first_name | default: "amigo" }}'}
        text = {"channel": "whatsapp", "language": "es", "provider_template": "come_back"}
        data = {
            "name": "Come back",
            "trigger": "inactive",
            "channels": ["whatsapp"],
            "templates": [text | {"variables": named}],
        }
        return content.create(organization, parse_definition(data), None)

    return make


def test_an_approved_template_is_chosen_checked_and_sent_by_its_number(brevo, access, win_back, lapsed, now):
    synchronise(access, now)
    guest = lapsed(channels=("whatsapp",), first_name="Marta")
    send_all(planned(content.enable(win_back()), now), now)
    ((path, sent),) = brevo.sent
    assert path == "/v3/whatsapp/sendMessage"
    assert sent == {
        "senderNumber": "12015550100",
        "contactNumbers": [guest.addresses.get().address.removeprefix("+")],
        "templateId": 465118589032810,
        "params": {"FNAME": "Marta"},
    }
    message = Message.objects.get()
    assert (message.state, message.provider_id) == ("sent", brevo.answer[1]["messageId"])


def test_the_preview_shows_the_values_and_makes_no_text_up(access, win_back, lapsed, now):
    synchronise(access, now)
    lapsed(channels=("whatsapp",), first_name="Marta")
    (sample,) = engine.preview(content.enable(win_back()), now, sample=1).samples
    assert (sample.body, sample.problem) == ("[come_back]\nFNAME: Marta", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "pending"}, "approval"),
        ({"status": "draft"}, "submitted"),
        ({"status": "rejected", "errorReason": "PROMOTIONAL"}, "PROMOTIONAL"),
        ({"category": "UTILITY"}, "“marketing”"),
        ({"name": "another"}, "has no template “come_back”"),
    ],
)
def test_what_brevo_tells_against_a_template_is_said_before_it_is_used(
    brevo, access, win_back, now, changes, words
):
    brevo.templates = [template(**changes)]
    synchronise(access, now)
    with pytest.raises(DefinitionError) as fault:
        content.enable(win_back())
    assert any(words in item["problem"] for item in fault.value.details)


def test_a_place_that_brevo_misses_pauses_the_automation_and_fails_nobody(
    brevo, access, win_back, lapsed, now
):
    synchronise(access, now)
    for _ in range(3):
        lapsed(channels=("whatsapp",))
    brevo.answer = (400, {"code": "missing_parameter", "message": "FNAME is missing"})
    automation = content.enable(win_back(NAME="{{ venue.name }}"))
    send_all(planned(automation, now), now)
    automation.refresh_from_db()
    assert "FNAME is missing" in automation.paused_reason
    assert not Message.objects.filter(state="failed").exists()


def test_a_template_that_is_gone_from_brevo_pauses_the_automation(brevo, access, win_back, now):
    synchronise(access, now)
    automation = content.enable(win_back())
    brevo.templates = []
    assert [each.pk for each in synchronise(access, now).paused] == [automation.pk]
