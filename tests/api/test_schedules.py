"""Schedules over HTTP: written, read with their next times on the local clock, and kept by both crons."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from time_machine import travel

from regulars.automations import slots
from regulars.automations.models import Automation
from regulars.lib import clock
from regulars.runs import engine
from regulars.runs.models import Run, Slot

from .conftest import DEFINITION

JSON = "application/json"
SECRET = "the secret of the scheduler"
NOON = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def owners(owner, signed_in):
    return signed_in(owner)


@pytest.fixture
def cron(settings):
    settings.CRON_SECRET = SECRET
    return lambda: Client(headers={"authorization": f"Bearer {SECRET}"}).get("/api/cron/automations").json()


@pytest.fixture
def due(make_automation):
    """An automation whose time of day was five minutes ago."""

    def make(**fields):
        ago = clock.now().replace(second=0, microsecond=0) - timedelta(minutes=5)
        schedule = {"times": [f"{ago:%H:%M}"], "timezone": "UTC"}
        automation = make_automation(schedule=schedule, **fields)
        Automation.objects.filter(pk=automation.pk).update(next_slot=ago)
        return automation

    return make


@travel(NOON, tick=False)
def test_next_times_are_shown_on_the_local_clock(owners, account):
    definition = {**DEFINITION, "enabled": True, "schedule": {"times": ["10:00"], "weekdays": ["sat", "sun"]}}
    made = owners.post("/api/automations", definition, content_type=JSON).json()
    assert made["schedule"] == definition["schedule"]
    assert made["timezone"] == "Europe/Madrid"
    # The clock goes back in between.
    times = ["2026-10-25T10:00:00+01:00", "2026-10-31T10:00:00+01:00", "2026-11-01T10:00:00+01:00"]
    assert made["next_times"] == times
    path = f"/api/automations/{made['id']}"
    assert owners.get(path).json()["next_times"] == times
    assert owners.get("/api/automations").json()["items"][0]["next_times"] == times
    assert owners.post(path + "/disable").json()["next_times"] == []


@travel(NOON, tick=False)
def test_a_schedule_is_changed_by_itself_and_taken_away(owners, make_automation):
    automation = make_automation()
    path = f"/api/automations/{automation.pk}"
    schedule = {"cron": "30 9 * * 1", "timezone": "Atlantic/Canary", "max_late_hours": 2}
    changed = owners.patch(path, {"schedule": schedule}, content_type=JSON).json()
    assert changed["schedule"] == schedule
    assert changed["version"] == 1
    assert changed["next_times"][0] == "2026-10-26T09:30:00Z"
    assert changed["timezone"] == "Atlantic/Canary"
    renamed = owners.patch(path, {"name": "Monday"}, content_type=JSON).json()
    assert renamed["schedule"] == schedule
    assert owners.patch(path, {"schedule": None}, content_type=JSON).json()["schedule"] is None
    automation.refresh_from_db()
    assert automation.next_slot is None


@pytest.mark.parametrize(
    ("schedule", "path"),
    [
        ({"times": ["25:00"]}, "schedule.times[0]"),
        ({"cron": "0 10 * *"}, "schedule.cron"),
        ({"times": ["10:00"], "cron": "0 10 * * *"}, "schedule"),
        ({"times": ["10:00"], "timezone": "Nowhere"}, "schedule.timezone"),
        ({"as_it_happens": True}, "schedule.as_it_happens"),
        ("daily", "schedule"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_place(owners, make_automation, schedule, path):
    automation = make_automation()
    for method, body in ((owners.patch, {}), (owners.put, DEFINITION)):
        url = f"/api/automations/{automation.pk}"
        answer = method(url, {**body, "schedule": schedule}, content_type=JSON)
        assert answer.status_code == 422
        assert [fault["path"] for fault in answer.json()["details"]] == [path]


@pytest.mark.django_db(transaction=True)
def test_cron_runs_what_is_due_and_leaves_the_rest_to_its_time(cron, due, make_automation):
    automation = due()
    make_automation(name="Later", schedule={"cron": "0 0 1 1 *"})
    unscheduled = make_automation(name="No time of its own")
    assert cron() == {"success": True, "executed": 2, "totalSent": 0}
    origins = dict(Run.objects.values_list("automation", "origin"))
    assert origins == {automation.pk: "schedule", unscheduled.pk: "cron"}
    Run.objects.update(state="finished")
    # The slot is taken; what has no schedule runs at each call.
    assert cron()["executed"] == 1


@pytest.mark.django_db(transaction=True)
def test_cron_and_tick_together_run_a_slot_once(cron, due):
    """Real connections: two callers of the endpoint and two workers at the same moment."""
    made = [due(name=f"Number {number}") for number in range(5)]
    started, problems = [], []
    together = threading.Barrier(4)

    def call(work):
        try:
            together.wait(20)
            started.append(work())
        except Exception as problem:
            problems.append(problem)
        finally:
            connection.close()

    works = [lambda: cron()["executed"], lambda: len(engine.tick(clock.now()).runs)] * 2
    threads = [threading.Thread(target=call, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    # What one was just taking, another left to it.
    engine.tick(clock.now())
    assert sorted(Run.objects.values_list("automation", flat=True)) == sorted(each.pk for each in made)
    assert Slot.objects.count() == 5


@travel(NOON, tick=False)
def test_the_organization_moves_and_its_slots_with_it(owners, make_automation, organization):
    automation = make_automation(schedule={"times": ["10:00"]})
    slots.change_timezone(organization, "America/New_York", clock.now())
    found = owners.get(f"/api/automations/{automation.pk}").json()
    assert found["next_times"][0] == "2026-10-24T10:00:00-04:00"


def test_a_missed_slot_is_listed_with_its_reason(owners, make_automation):
    automation = make_automation(schedule={"times": ["10:00"]})
    Automation.objects.update(next_slot=datetime(2026, 10, 22, 8, 0, tzinfo=UTC))
    # The last one was eight hours ago, two more than it may be late.
    engine.tick(datetime(2026, 10, 24, 16, 0, tzinfo=UTC))
    (run,) = owners.get(f"/api/runs?automation={automation.pk}").json()["items"]
    assert (run["state"], run["origin"], run["processed"]) == ("missed", "schedule", 0)
    assert (run["scheduled_for"], run["scheduled_until"]) == ("2026-10-22T08:00:00Z", "2026-10-24T08:00:00Z")
    assert run["reason"].startswith("Nothing was at work at that time")
    assert owners.get(f"/api/runs/{run['id']}").json()["state"] == "missed"
