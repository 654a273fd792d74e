"""The page of webhooks: who is told, how it went, and the buttons that send again."""

from datetime import UTC, datetime

import pytest

from dashboard.pages import Page
from regulars.organizations.models import AuditEvent
from regulars.webhooks import delivering, endpoints
from regulars.webhooks.models import Delivery, Endpoint

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


@pytest.fixture
def failed(organization, settings):
    """A delivery that was answered with an error."""
    settings.WEBHOOKS_TO_PRIVATE = True
    endpoint, _ = endpoints.create(organization, "http://127.0.0.1:9/hear", ["run.finished"], NOW)
    delivery = endpoints.test(endpoint, NOW)
    Delivery.objects.update(attempts=1)
    delivery.refresh_from_db()
    delivering.record(delivery, delivering.Outcome(503, "", 12), NOW)
    return delivery


def test_it_says_how_each_attempt_went(signed_in, failed):
    text = Page(signed_in.get("/webhooks")).text
    for words in ("127.0.0.1:9/hear", "webhook.test", "503", "failing"):
        assert words in text


def test_its_buttons_send(signed_in, failed):
    assert signed_in.post(f"/webhook-deliveries/{failed.pk}/send-again").status_code == 302
    failed.refresh_from_db()
    assert (failed.state, failed.attempts) == ("waiting", 0)
    assert signed_in.post(f"/webhooks/{failed.endpoint_id}/test").status_code == 302
    assert Delivery.objects.count() == 2


def test_it_is_for_those_who_may_change_accounts(as_role, failed):
    viewer = as_role("viewer")
    assert viewer.get("/webhooks").status_code == 403
    assert viewer.post(f"/webhook-deliveries/{failed.pk}/send-again").status_code == 403


def test_one_is_added_and_its_secret_is_shown_once(signed_in, settings, owner):
    settings.WEBHOOKS_TO_PRIVATE = True
    form = {"url": "http://127.0.0.1:9/hear", "events": ["run.finished", "message.failed"]}
    answer = signed_in.post("/webhooks", form)
    made = Endpoint.objects.get()
    assert (made.url, made.events) == (form["url"], ["message.failed", "run.finished"])
    assert "whsec_" in Page(answer).text
    assert "whsec_" not in Page(signed_in.get("/webhooks")).text
    event = AuditEvent.objects.get(action="webhook.created")
    assert (event.user, event.subject) == (owner, str(made.pk))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"url": "http://10.0.0.1/x", "events": ["run.finished"]}, "https"),
        ({"url": "https://10.0.0.1/x"}, "not a public address"),
    ],
)
def test_what_cannot_be_is_said_and_kept_in_the_form(signed_in, form, words):
    answer = signed_in.post("/webhooks", form)
    assert answer.status_code == 422
    assert words in Page(answer).text
    assert form["url"] in answer.content.decode()
    assert not Endpoint.objects.exists()


def test_one_is_removed(signed_in, failed):
    assert signed_in.post(f"/webhooks/{failed.endpoint_id}/remove").status_code == 302
    assert not Endpoint.objects.exists()
