"""Schedules from the command line."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from time_machine import travel

from regulars.automations import content
from regulars.automations.models import Automation
from regulars.cli import automations, people, starting

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


@pytest.fixture
def regulars(monkeypatch, organization):
    monkeypatch.setattr(starting, "start", lambda **_: None)
    groups = {"automation": automations.automation, "organization": people.organization}

    def call(command, *arguments):
        return CliRunner().invoke(groups[command], arguments)

    return call


@pytest.fixture
def automation(organization):
    texts = [{"channel": "email", "language": "es", "subject": "Hola", "body": "Vuelve"}]
    stated = {"name": "Back", "trigger": "inactive", "channels": ["email"], "templates": texts}
    made = content.create(organization, content.parse_definition(stated), None)
    Automation.objects.filter(pk=made.pk).update(enabled=True)
    return made


@travel(NOON, tick=False)
def test_a_schedule_is_given_shown_and_taken_away(regulars, automation):
    given = regulars("automation", "schedule", "Back", "--at", "18:30", "--at", "10:00", "--on", "tue")
    assert given.output == "next: 2026-06-16T10:00+02:00\n", given.output
    (row,) = json.loads(regulars("automation", "list", "--json").output)
    assert row["schedule"] == {"times": ["10:00", "18:30"], "weekdays": ["tue"]}
    assert row["next_times"][:2] == ["2026-06-16T10:00+02:00", "2026-06-16T18:30+02:00"]
    assert "next 2026-06-16T10:00+02:00" in regulars("automation", "list").output
    shown = regulars("automation", "show", "Back")
    assert json.loads(shown.stdout)["schedule"] == row["schedule"]
    assert "next: 2026-06-16T10:00+02:00 (Europe/Madrid)" in shown.stderr
    assert regulars("organization", "change", "casa-pepe", "--timezone", "America/New_York").exit_code == 0
    assert "next 2026-06-16T10:00-04:00" in regulars("automation", "list").output
    regulars("automation", "schedule", "Back", "--none")
    assert json.loads(regulars("automation", "list", "--json").output)[0]["schedule"] is None


def test_what_is_no_schedule_is_refused_in_words(regulars, automation):
    for arguments in ((), ("--cron", "tomorrow"), ("--at", "25:00"), ("--as-it-happens",)):
        answer = regulars("automation", "schedule", "Back", *arguments)
        assert isinstance(answer.exception, starting.CommandError), arguments
        assert "schedule" in str(answer.exception)
    answer = regulars("organization", "change", "casa-pepe", "--timezone", "Nowhere")
    assert "is not a time zone" in str(answer.exception)
