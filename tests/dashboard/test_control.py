"""The buttons of a run: pause, try again, decide for all; and what it says it waits for."""

from datetime import timedelta

import pytest
from django.utils import timezone

from dashboard.pages import Page
from regulars.runs import engine
from regulars.runs.looking_up import LookedUp
from regulars.runs.models import AccountBucket, Message, RunChunk


def buttons(page):
    return {attributes.get("value") for tag, attributes in page.tags if tag == "button"}


def test_a_run_is_held_and_goes_on(signed_in, owner, guests, make_run):
    run = make_run(guests, ["sent", "queued"], state="sending")
    assert f"/runs/{run.pk}/pause" in dict(Page(signed_in.get(f"/runs/{run.pk}")).links()).values()
    signed_in.post(f"/runs/{run.pk}/pause")
    run.refresh_from_db()
    assert (run.state, run.reason) == ("paused", f"Paused by {owner.email}")
    text = Page(signed_in.get(f"/runs/{run.pk}")).text
    assert "This run is paused" in text
    signed_in.post(f"/runs/{run.pk}/resume")
    run.refresh_from_db()
    assert run.state == "sending"


def test_trying_again_asks_first_with_the_number(signed_in, guests, make_run):
    run = make_run(guests, ["failed", "failed", "failed"])
    first, second, _ = Message.objects.filter(run=run).order_by("pk")
    Message.objects.filter(pk__in=[first.pk, second.pk]).update(reason="temporary", attempt=5)
    assert (
        "2 messages failed for a reason that may have passed"
        in Page(signed_in.get(f"/runs/{run.pk}?show=failed")).text
    )
    Message.objects.filter(pk=second.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    question = Page(signed_in.get(f"/runs/{run.pk}/retry")).text
    assert "1 message is tried once more" in question
    assert "For 1 more it is too late" in question
    assert not Message.objects.filter(state="queued").exists()
    answer = signed_in.post(f"/runs/{run.pk}/retry", follow=True)
    assert "1 message is tried again." in Page(answer).text
    assert list(Message.objects.filter(state="queued").values_list("pk", flat=True)) == [first.pk]
    run.refresh_from_db()
    assert run.state == "sending"


def test_what_failed_for_good_is_offered_no_second_try(signed_in, guests, make_run):
    run = make_run(guests, ["failed"])
    Message.objects.update(reason="permanent")
    assert f"/runs/{run.pk}/retry" not in str(Page(signed_in.get(f"/runs/{run.pk}?show=failed")).links())


@pytest.mark.parametrize(
    ("decision", "words", "state"),
    [
        ("arrived", "2 messages in doubt are recorded as sent", "sent"),
        ("send_again", "2 messages in doubt are sent again", "queued"),
        ("leave", "2 messages in doubt are recorded as failed", "failed"),
    ],
)
def test_all_in_doubt_are_decided_after_a_question(signed_in, guests, make_run, decision, words, state):
    run = make_run(guests, ["unknown", "unknown", "sent"])
    page = Page(signed_in.get(f"/runs/{run.pk}?show=unknown"))
    assert decision in buttons(page)
    assert "Decide for all 2 messages" in page.text
    assert words in Page(signed_in.get(f"/runs/{run.pk}/settle?decision={decision}")).text
    assert Message.objects.filter(state="unknown").count() == 2
    answer = signed_in.post(f"/runs/{run.pk}/settle", {"decision": decision}, follow=True)
    assert "2 messages are decided." in Page(answer).text
    assert Message.objects.filter(state=state).count() == (3 if state == "sent" else 2)


def test_for_a_single_one_there_is_no_decision_for_all(signed_in, guests, make_run):
    run = make_run(guests, ["unknown"])
    page = Page(signed_in.get(f"/runs/{run.pk}?show=unknown"))
    assert f"/runs/{run.pk}/settle" not in str(page.links())


def test_the_provider_is_asked_and_its_answer_counted(signed_in, guests, make_run, monkeypatch):
    run = make_run(guests, ["unknown", "unknown"])
    answer = LookedUp(asked=2, settled=1, cannot={"Mail"})
    monkeypatch.setattr(engine, "look_up", lambda asked, now: answer if asked == run else None)
    assert f"/runs/{run.pk}/look-up" in str(Page(signed_in.get(f"/runs/{run.pk}?show=unknown")).links())
    text = Page(signed_in.post(f"/runs/{run.pk}/look-up", follow=True)).text
    assert "The provider knew of 1 of 2 messages." in text
    assert "Mail cannot be asked" in text


def test_a_decision_for_all_that_does_not_exist_is_not_found(signed_in, guests, make_run):
    run = make_run(guests, ["unknown"])
    assert signed_in.get(f"/runs/{run.pk}/settle").status_code == 404
    assert signed_in.post(f"/runs/{run.pk}/settle", {"decision": "perhaps"}).status_code == 404


def test_nothing_of_a_cancelled_run_is_sent_again(signed_in, guests, make_run):
    run = make_run(guests, ["unknown", "failed"], state="cancelled")
    Message.objects.filter(state="failed").update(reason="temporary")
    assert "send_again" not in buttons(Page(signed_in.get(f"/runs/{run.pk}?show=unknown")))
    assert f"/runs/{run.pk}/retry" not in str(Page(signed_in.get(f"/runs/{run.pk}?show=failed")).links())
    for path, body in (("settle", {"decision": "send_again"}), ("retry", {})):
        answer = signed_in.post(f"/runs/{run.pk}/{path}", body, follow=True)
        assert "stopped for good" in Page(answer).text
    one = Message.objects.get(state="unknown")
    answer = signed_in.post(f"/messages/{one.pk}/settle", {"decision": "send_again"}, follow=True)
    assert "stopped for good" in Page(answer).text
    assert set(Message.objects.values_list("state", flat=True)) == {"unknown", "failed"}


def test_a_viewer_sees_none_of_the_buttons_and_may_press_none(as_role, guests, make_run):
    client = as_role("viewer")
    run = make_run(guests, ["unknown", "failed", "queued"], state="sending")
    Message.objects.filter(state="failed").update(reason="temporary")
    for tab in ("unknown", "failed"):
        page = Page(client.get(f"/runs/{run.pk}?show={tab}"))
        assert not buttons(page) & {"arrived", "send_again", "leave"}
        assert f"/runs/{run.pk}/" not in str([link for kind, link in page.links() if kind in ("form", "a")])
    for path in ("pause", "retry", "settle", "look-up"):
        assert client.post(f"/runs/{run.pk}/{path}", {"decision": "leave"}).status_code == 403


class TestWhatARunWaitsFor:
    @pytest.fixture
    def text(self, signed_in, guests, make_run, account):
        """The page of a run under way, after its account was changed."""

        def read(bucket=None, **limits):
            run = make_run(guests, ["sent", "queued"], state="sending")
            type(account).objects.update(**limits) if limits else None
            if bucket:
                AccountBucket.objects.create(account=account, **bucket)
            return Page(signed_in.get(f"/runs/{run.pk}")).text

        return read

    def test_a_limit_of_the_account(self, text):
        assert "Sandbox sends at most 50 a second." in text(per_second=50)

    def test_the_quota_of_the_day(self, text, organization):
        from regulars.lib.clock import local_date

        today = local_date(timezone.now(), organization.timezone)
        shown = text({"day": today, "day_used": 9}, per_day=9)
        assert "Sandbox has sent the 9 of today. The rest leaves from" in shown

    def test_an_account_in_trouble(self, text):
        until = timezone.now() + timedelta(minutes=2)
        shown = text({"paused_until": until, "pause_reason": "The service does not answer"})
        assert "Sandbox has trouble and is tried again at" in shown
        assert "The service does not answer" in shown


def test_the_page_listens_to_the_runs_events_and_stops_asking_when_it_does(signed_in, guests, make_run):
    run = make_run(guests, ["sent", "queued"], state="sending")

    def part(address):
        page = Page(signed_in.get(address))
        return next(attributes for _, attributes in page.tags if attributes.get("id") == "progress")

    asking = part(f"/runs/{run.pk}")
    assert asking["data-events"] == f"/api/runs/{run.pk}/events"
    assert asking["hx-trigger"] == "every 1s"
    listening = part(f"{asking['data-part']}&by=events")
    assert "hx-trigger" not in listening
    assert listening["data-events"] == asking["data-events"]
    RunChunk.objects.update(closed=True)
    type(run).objects.update(state="finished")
    assert "data-events" not in part(f"/runs/{run.pk}")


@pytest.mark.parametrize(
    ("policy", "words"),
    [({}, "A person decides"), ({"delivery": "at_least_once"}, "It is sent again by itself")],
)
def test_what_happens_in_doubt_is_said_beside_the_automation(signed_in, automation, guests, policy, words):
    automation.versions.update(policy={"cooldown_days": 30} | policy)
    assert words in Page(signed_in.get("/")).text
    assert words in Page(signed_in.get(f"/automations/{automation.pk}/preview")).text


@pytest.mark.parametrize(
    ("channels", "policy", "words"),
    [
        (["whatsapp", "sms"], {}, "Nothing else is tried"),
        (["whatsapp", "sms"], {"fallback": True}, "The next channel that the guest has agreed to"),
        (["sms"], {"fallback": True}, ""),
    ],
)
def test_what_happens_when_a_channel_fails_is_said_where_there_are_several(
    signed_in, automation, guests, channels, policy, words
):
    automation.versions.update(channels=channels, policy={"cooldown_days": 30} | policy)
    for path in ("/", f"/automations/{automation.pk}/preview"):
        text = Page(signed_in.get(path)).text
        assert words in text
        assert ("If a channel fails" in text) is bool(words)
