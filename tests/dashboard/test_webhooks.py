"""The page of webhooks: who is told, how it went, and the buttons that send again."""

from datetime import UTC, datetime

import pytest

from dashboard.pages import Page
from regulars.webhooks import delivering, endpoints
from regulars.webhooks.models import Delivery

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
