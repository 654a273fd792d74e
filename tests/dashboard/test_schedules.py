"""When an automation runs: said on its card, changed in a form, and what was missed."""

from datetime import UTC, datetime

import pytest
from time_machine import travel

from dashboard.pages import Page
from regulars.automations import content
from regulars.dashboard import elsewhere, words
from regulars.organizations.models import AuditEvent
from regulars.runs import ticking
from regulars.runs.models import Run

NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


@pytest.fixture
def post(signed_in, automation):
    def send(**fields):
        return signed_in.post(f"/automations/{automation.pk}/schedule", fields)

    return send


@travel(NOON, tick=False)
def test_the_card_says_when_it_runs_next_on_the_local_clock(signed_in, automation):
    assert "By hand, or when an outside cron calls." in Page(signed_in.get("/")).text
    content.change_schedule(automation, {"times": ["10:00"], "weekdays": ["tue"]})
    text = Page(signed_in.get("/")).text
    assert "Tuesday at 10:00." in text
    assert "16 Jun 2026, 10:00" in text
    content.change_schedule(automation, {"times": ["10:00"], "timezone": "Atlantic/Canary"})
    text = Page(signed_in.get("/")).text
    assert "16 Jun 2026, 10:00 (Atlantic/Canary)" in text
    in_spanish = Page(signed_in.get("/", headers={"accept-language": "es"})).text
    assert "Cada día a las 10:00." in in_spanish


def test_the_form_saves_times_and_days(post, automation, owner):
    form = {"kind": "times", "times": "9:30, 18:00", "weekdays": ["mon", "fri"], "max_late_hours": "2"}
    assert post(**form).status_code == 302
    automation.refresh_from_db()
    wanted = {"times": ["09:30", "18:00"], "weekdays": ["mon", "fri"], "max_late_hours": 2}
    assert automation.schedule == wanted
    assert automation.next_slot is not None
    event = AuditEvent.objects.get(action="automation.changed")
    assert (event.user, event.subject) == (owner, str(automation.pk))


def test_every_day_and_the_usual_lateness_need_not_be_said(post, automation):
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    post(kind="times", times="10:00", weekdays=days, max_late_hours="6", timezone="")
    automation.refresh_from_db()
    assert automation.schedule == {"times": ["10:00"]}


def test_experts_write_cron_and_a_venues_zone_can_be_chosen(post, signed_in, automation, venue):
    venue.timezone = "Atlantic/Canary"
    venue.save()
    shown = Page(signed_in.get(f"/automations/{automation.pk}/schedule")).text
    assert "Atlantic/Canary" in shown
    post(kind="cron", cron="0 10 * * 1-5", timezone="Atlantic/Canary")
    automation.refresh_from_db()
    assert automation.schedule == {"cron": "0 10 * * 1-5", "timezone": "Atlantic/Canary"}
    again = signed_in.get(f"/automations/{automation.pk}/schedule").content.decode()
    assert 'value="0 10 * * 1-5"' in again
    post(kind="none")
    automation.refresh_from_db()
    assert (automation.schedule, automation.next_slot) == (None, None)


@pytest.mark.parametrize(
    ("form", "words_en"),
    [
        ({"kind": "times", "times": "ten"}, "Write times of day such as 10:00"),
        ({"kind": "times", "times": ""}, "Write times of day such as 10:00"),
        ({"kind": "cron", "cron": "0 10"}, "Write five fields"),
        ({"kind": "times", "times": "10:00", "max_late_hours": "soon"}, "Say in whole hours"),
        ({"kind": "times", "times": "10:00", "timezone": "Nowhere"}, "There is no such time zone."),
        ({"kind": "as_it_happens"}, "This trigger follows no event"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_lost(post, automation, form, words_en):
    answer = post(**form)
    assert answer.status_code == 422
    assert words_en in Page(answer).text
    automation.refresh_from_db()
    assert automation.schedule is None


def test_only_those_who_may_change_automations_see_the_form(as_role, automation):
    client = as_role("staff")
    path = f"/automations/{automation.pk}/schedule"
    assert client.get(path).status_code == 403
    assert client.post(path, {"kind": "none"}).status_code == 403
    assert path not in client.get("/").content.decode()


def test_another_organizations_automation_is_not_found(signed_in, make_automation, db):
    from regulars.organizations.models import Organization

    other = make_automation(owner=Organization.objects.create(slug="other", name="Other"))
    assert signed_in.get(f"/automations/{other.pk}/schedule").status_code == 404


def test_a_missed_slot_is_listed_with_its_reason(signed_in, automation, organization):
    run = Run.objects.create(
        organization=organization,
        automation=automation,
        state="missed",
        origin="schedule",
        reason=ticking.NOBODY_WORKED,
        scheduled_for=datetime(2026, 6, 12, 8, 0, tzinfo=UTC),
        scheduled_until=datetime(2026, 6, 14, 8, 0, tzinfo=UTC),
        created_at=NOON,
        finished_at=NOON,
    )
    for path in ("/runs", f"/runs/{run.pk}"):
        text = Page(signed_in.get(path)).text
        assert "Planned from 12 Jun 2026, 10:00 until 14 Jun 2026, 10:00" in text, path
        assert ticking.NOBODY_WORKED in text
        spanish = Page(signed_in.get(path, headers={"accept-language": "es"})).text
        assert "A esa hora no había nada en marcha" in spanish


def test_reasons_of_missed_slots_have_spanish_words():
    assert {ticking.NOBODY_WORKED, ticking.PAUSED} == set(elsewhere.MISSED)
    assert words.run_reason("Twilio says no") == "Twilio says no"


def test_the_card_of_what_was_missed_says_for_when_it_was_meant(signed_in, automation, organization):
    meant = datetime(2026, 6, 14, 8, tzinfo=UTC)
    Run.objects.create(
        organization=organization,
        automation=automation,
        state="missed",
        origin="schedule",
        scheduled_for=meant,
        created_at=NOON,
        finished_at=NOON,
    )
    text = Page(signed_in.get("/")).text
    assert "Planned for 14 Jun 2026, 10:00" in text
    assert "0 of 0 sent" not in text


def test_the_page_of_what_was_missed_counts_nothing(signed_in, automation, organization):
    run = Run.objects.create(
        organization=organization,
        automation=automation,
        state="missed",
        origin="schedule",
        scheduled_for=NOON,
        reason=ticking.NOBODY_WORKED,
        created_at=NOON,
        finished_at=NOON,
    )
    text = Page(signed_in.get(f"/runs/{run.pk}")).text
    assert "Planned for 15 Jun 2026, 14:00" in text
    assert "Nothing was at work" in text
    assert "Processed" not in text
