"""The ordered document's log line, and the sentence that points to further errors."""

import pytest
from structlog.testing import capture_logs

from regulars.runs import engine, planning
from regulars.runs.finishing import report_finished
from regulars.runs.models import Message, Run

pytestmark = pytest.mark.django_db


def test_the_documented_line_is_logged_without_personal_data(lapsed, make_automation, now):
    lapsed(consents=(), address="marta@example.com")
    automation = make_automation()
    run = engine.start(automation, now=now)
    planning.plan(str(run.pk), now)
    with capture_logs() as lines:
        report_finished(str(run.pk))
    (line,) = lines
    assert line["event"] == "Automation executed successfully"
    assert line["component"] == "AutomationsAPI"
    assert line["automationId"] == str(automation.pk)
    assert (line["processed"], line["sent"], line["skipped"], line["failed"]) == (1, 0, 1, 0)
    assert "marta" not in str(line)


def test_a_hundred_errors_then_one_line_that_says_where_the_others_are(lapsed, make_automation, now):
    for _ in range(103):
        lapsed()
    run = engine.start(make_automation(), now=now)
    planning.plan(str(run.pk), now)
    Message.objects.update(state="failed", error="Refused")
    run.chunks.update(failed=103)
    answer = engine.answer(Run.objects.get(), show_addresses=True, now=now)
    assert len(answer["errors"]) == 101
    assert answer["errors"][0].endswith(": Refused")
    assert "3 more" in answer["errors"][-1]
    assert str(run.pk) in answer["errors"][-1]


def test_an_address_is_masked_for_those_who_may_not_see_it(lapsed, make_automation, now):
    lapsed(address="marta@example.com")
    run = engine.start(make_automation(), now=now)
    planning.plan(str(run.pk), now)
    Message.objects.update(state="failed", error="550 <marta@example.com> unknown, call +34 612 345 678")
    answer = engine.answer(Run.objects.get(), show_addresses=False, now=now)
    assert "marta" not in str(answer)
    assert "612" not in str(answer)
