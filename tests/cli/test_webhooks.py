"""Webhooks by command: added with their secret, listed, tried, removed."""

import json

import pytest
from click.testing import CliRunner

from regulars.cli import program, starting
from regulars.webhooks.models import Delivery, Endpoint

pytestmark = pytest.mark.django_db


@pytest.fixture
def command(organization, monkeypatch, settings):
    settings.WEBHOOKS_TO_PRIVATE = True
    monkeypatch.setattr(starting, "start", lambda **_: None)

    def invoke(*words):
        return CliRunner().invoke(program, ["webhook", *words], standalone_mode=False)

    return invoke


def test_one_is_added_tried_and_removed(command):
    added = command("add", "http://127.0.0.1:9/hear", "--event", "run.finished")
    assert added.stdout.startswith("whsec_")
    made = Endpoint.objects.get()
    (listed,) = json.loads(command("list", "--json").stdout)
    assert listed == {"id": made.pk, "url": made.url, "events": ["run.finished"], "state": "works"}
    command("test", str(made.pk))
    assert Delivery.objects.get().event == "webhook.test"
    command("remove", str(made.pk))
    assert not Endpoint.objects.exists()


def test_what_cannot_be_says_why(command):
    refused = command("add", "http://127.0.0.1:9/hear", "--event", "lunch")
    assert "There is no event “lunch”" in str(refused.exception)
    assert "regulars webhook list" in str(command("remove", "5").exception)
