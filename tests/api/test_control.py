"""Retry, settle, limits and holds over HTTP: who may, what it says, what it refuses."""

from datetime import timedelta

import pytest
from django.utils import timezone

from regulars.automations.accounts import create_account
from regulars.lib.clock import local_date
from regulars.organizations.models import AuditEvent
from regulars.runs.models import AccountBucket, Message, Run, RunChunk

JSON = "application/json"


@pytest.fixture
def ended(run, message):
    """The run has ended with one message that failed; change its state as a test wants it."""

    def make(state="failed", reason="temporary", run_state="finished"):
        Run.objects.filter(pk=run.pk).update(state=run_state, due=1)
        Message.objects.filter(pk=message.pk).update(state=state, reason=reason, attempt=5)
        RunChunk.objects.create(
            run=run, number=1, account_id=message.account_id, first_id=message.pk, last_id=message.pk,
            total=1, closed=True, **{state: 1},
        )  # fmt: skip
        return run

    return make


@pytest.fixture
def colleagues(colleague, signed_in):
    return signed_in(colleague)


def test_a_temporary_failure_is_retried_and_says_by_whom(colleagues, colleague, ended, message):
    run = ended()
    body = colleagues.post(f"/api/runs/{run.pk}/retry", {"class": "temporary"}, content_type=JSON).json()
    assert (body["queued"], body["too_late"]) == (1, 0)
    assert (body["run"]["state"], body["run"]["held"]) == ("sending", 1)
    event = colleagues.get(f"/api/messages/{message.pk}").json()["events"][0]
    assert (event["kind"], event["actor"]) == ("retried", colleague.email)
    assert AuditEvent.objects.get(action="run.retried").details["queued"] == 1


@pytest.mark.parametrize("asked", [{"class": "permanent"}, {"class": "all"}, {}])
def test_only_temporary_failures_can_be_asked_for(colleagues, ended, asked):
    run = ended(reason="permanent")
    answer = colleagues.post(f"/api/runs/{run.pk}/retry", asked, content_type=JSON)
    assert answer.status_code == 422
    assert answer.json()["details"][0]["path"] == "class"
    assert Message.objects.get().state == "failed"


@pytest.mark.parametrize("path", ["retry", "settle"])
def test_a_cancelled_run_stays_cancelled(colleagues, ended, path):
    run = ended("unknown" if path == "settle" else "failed", run_state="cancelled")
    body = {"decision": "send_again"} if path == "settle" else {"class": "temporary"}
    answer = colleagues.post(f"/api/runs/{run.pk}/{path}", body, content_type=JSON)
    assert (answer.status_code, answer.json()["code"]) == (409, "run_stopped")
    assert "cancelled" in answer.json()["error"]


@pytest.mark.parametrize(
    ("decision", "state", "sent"),
    [("arrived", "sent", 1), ("leave", "failed", 0), ("send_again", "queued", 0)],
)
def test_all_unknowns_of_a_run_are_settled(colleagues, ended, decision, state, sent):
    run = ended("unknown")
    body = colleagues.post(f"/api/runs/{run.pk}/settle", {"decision": decision}, content_type=JSON).json()
    assert body["settled"] == 1
    assert (body["run"]["unknown"], body["run"]["sent"]) == (0, sent)
    assert Message.objects.get().state == state


def test_one_message_is_settled_once(colleagues, ended, message):
    ended("unknown")
    path = f"/api/messages/{message.pk}/settle"
    body = colleagues.post(path, {"decision": "arrived"}, content_type=JSON).json()
    assert (body["state"], body["events"][0]["kind"]) == ("sent", "settled_arrived")
    again = colleagues.post(path, {"decision": "leave"}, content_type=JSON)
    assert (again.status_code, again.json()["code"]) == (409, "not_unknown")
    assert colleagues.post(path, {"decision": "perhaps"}, content_type=JSON).status_code == 422


def test_the_sandbox_is_asked_what_became_of_messages_in_doubt(colleagues, ended, organization, message):
    run = ended("unknown")
    body = colleagues.post(f"/api/runs/{run.pk}/look-up").json()
    assert (body["settled"], body["cannot"], body["run"]["unknown"]) == (0, [], 1)


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("runs", "look-up", None),
        ("runs", "retry", {"class": "temporary"}),
        ("runs", "settle", {"decision": "arrived"}),
        ("messages", "settle", {"decision": "arrived"}),
    ],
)
def test_a_viewer_may_not_and_a_stranger_finds_nothing(viewer, stranger, signed_in, ended, kind, path, body):
    run = ended("unknown")
    address = f"/api/{kind}/{run.pk if kind == 'runs' else Message.objects.get().pk}/{path}"
    assert signed_in(viewer).post(address, body, content_type=JSON).status_code == 403
    assert signed_in(stranger).post(address, body, content_type=JSON).status_code == 404
    assert Message.objects.get().state == "unknown"


@pytest.fixture
def owners(owner, signed_in):
    return signed_in(owner)


def test_an_access_is_given_limits_and_they_are_changed_and_lifted(owners, organization):
    made = owners.post(
        "/api/providers",
        {"name": "Slow", "kind": "sandbox", "per_second": 50, "per_day": 5000},
        content_type=JSON,
    ).json()
    assert (made["per_second"], made["per_minute"], made["per_day"]) == (50, None, 5000)
    path = f"/api/providers/{made['id']}"
    changed = owners.patch(path, {"per_second": None, "per_minute": 600}, content_type=JSON).json()
    assert (changed["per_second"], changed["per_minute"], changed["per_day"]) == (None, 600, 5000)
    (listed,) = owners.get("/api/providers").json()["items"]
    assert (listed["per_minute"], listed["name"]) == (600, "Slow")
    assert owners.patch(path, {"name": "Slower"}, content_type=JSON).json()["per_minute"] == 600


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", 2**31])
def test_a_limit_is_a_positive_whole_number(owners, value):
    answer = owners.post(
        "/api/providers", {"name": "Slow", "kind": "sandbox", "per_second": value}, content_type=JSON
    )
    assert answer.status_code == 422
    assert answer.json()["details"][0]["path"] == "per_second"


def test_only_who_may_changes_an_access(viewer, stranger, signed_in, account):
    path = f"/api/providers/{account.pk}"
    assert signed_in(viewer).patch(path, {"per_day": 1}, content_type=JSON).status_code == 403
    assert signed_in(stranger).patch(path, {"per_day": 1}, content_type=JSON).status_code == 404


def test_an_access_is_tested_without_sending(owners, account):
    answer = owners.post(f"/api/providers/{account.pk}/test")
    assert answer.json() == {"works": True, "words": "The sandbox works, and sends nothing to anybody."}


def test_an_access_that_does_not_work_says_why_and_shows_no_secret(owners, organization):
    options = {
        "host": "127.0.0.1",
        # Nobody listens there.
        "port": 9,
        "security": "none",
        "username": "casa",
        "password": "sesame-open",
        "from_address": "casa@example.com",
    }
    made = create_account(organization, "Post", "smtp", options)
    answer = owners.post(f"/api/providers/{made.pk}/test")
    assert answer.json()["works"] is False
    assert "cannot be used" in answer.json()["words"]
    assert "sesame-open" not in answer.content.decode()


def test_only_who_may_tests_an_access(viewer, stranger, signed_in, account):
    path = f"/api/providers/{account.pk}/test"
    assert signed_in(viewer).post(path).status_code == 403
    assert signed_in(stranger).post(path).status_code == 404


class TestHolds:
    """What a run waits for, as its own page and callers are told."""

    @pytest.fixture
    def under_way(self, run, account):
        Run.objects.filter(pk=run.pk).update(state="sending", due=1)
        RunChunk.objects.create(run=run, number=1, account_id=account.pk, total=1)
        return run

    def holds(self, client, run):
        return client.get(f"/api/runs/{run.pk}").json()["holds"]

    def test_nothing_holds_an_account_without_limits(self, owners, under_way):
        assert self.holds(owners, under_way) == []

    def test_the_rate(self, owners, under_way, account):
        type(account).objects.update(per_second=50, per_minute=600)
        (hold,) = self.holds(owners, under_way)
        assert (hold["why"], hold["limit"], hold["unit"]) == ("rate", 600, "minute")

    def test_the_quota_of_the_day_until_the_local_midnight(self, owners, under_way, account):
        type(account).objects.update(per_second=50, per_day=100)
        today = local_date(timezone.now(), "Europe/Madrid")
        AccountBucket.objects.create(account=account, day=today, day_used=100)
        (hold,) = self.holds(owners, under_way)
        assert (hold["why"], hold["limit"]) == ("daily_limit", 100)
        assert "tomorrow" in hold["words"]
        until = timezone.datetime.fromisoformat(hold["until"])
        assert timezone.now() < until <= timezone.now() + timedelta(hours=25)
        AccountBucket.objects.update(day=today - timedelta(days=1))
        assert self.holds(owners, under_way)[0]["why"] == "rate"

    def test_the_breaker_with_its_reason(self, owners, under_way, account):
        until = timezone.now() + timedelta(seconds=80)
        AccountBucket.objects.create(account=account, paused_until=until, pause_reason="No answer 16 times")
        (hold,) = self.holds(owners, under_way)
        assert (hold["why"], hold["reason"]) == ("breaker", "No answer 16 times")
        AccountBucket.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
        assert self.holds(owners, under_way) == []

    def test_a_run_that_is_over_waits_for_nothing(self, owners, under_way, account):
        type(account).objects.update(per_second=50)
        Run.objects.update(state="finished")
        assert self.holds(owners, under_way) == []
