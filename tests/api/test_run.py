"""`POST /api/automations/{id}/run`, the ordered call, by persons: owner, colleague, stranger."""

import json
import re
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import AsyncClient, Client

TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")


def path_of(automation):
    return f"/api/automations/{automation.pk}/run"


def assert_now(timestamp):
    assert TIMESTAMP.fullmatch(timestamp)
    age = datetime.now(UTC) - datetime.fromisoformat(timestamp)
    assert timedelta(seconds=-1) < age < timedelta(seconds=30)


def test_the_owner_gets_the_counts_of_the_run(worker, lapsed, automation, owner, signed_in):
    lapsed()
    lapsed()
    lapsed(consents=())
    with worker():
        answer = signed_in(owner).post(path_of(automation))
    assert answer.status_code == 200
    body = json.loads(answer.content)
    assert list(body) == [
        "success",
        "processed",
        "sent",
        "skipped",
        "failed",
        "held",
        "errors",
        "run_id",
        "timestamp",
    ]
    counts = {name: body[name] for name in ("processed", "sent", "skipped", "failed", "held")}
    assert counts == {"processed": 3, "sent": 2, "skipped": 1, "failed": 0, "held": 0}
    assert body["success"] is True
    assert body["errors"] == []
    assert_now(body["timestamp"])


def test_a_second_run_contacts_nobody_again(worker, lapsed, automation, owner, signed_in):
    lapsed()
    with worker():
        client = signed_in(owner)
        assert client.post(path_of(automation)).json()["sent"] == 1
        again = client.post(path_of(automation)).json()
    assert (again["processed"], again["sent"], again["skipped"]) == (1, 0, 1)


def test_a_colleague_reads_addresses_in_errors_and_others_read_them_masked(
    worker, lapsed, account, automation, colleague, signed_in
):
    account.options = {"reject_share": 1.0}
    account.save()
    lapsed(address="marta@example.com")
    with worker():
        full = signed_in(colleague).post(path_of(automation)).json()
    assert full["failed"] == 1
    assert full["errors"][0].startswith("Failed to send to marta@example.com: ")
    from regulars.api.running import report

    masked = report(uuid.UUID(full["run_id"]), False, "")
    assert masked["errors"][0].startswith("Failed to send to m•••@example.com: ")


def test_who_sees_addresses_is_decided_by_role_and_a_token_never_does(organization, person):
    from regulars.api.callers import Caller

    seen = {
        role: Caller(None, organization, role).sees_addresses
        for role in ("owner", "manager", "staff", "viewer")
    }
    assert seen == {"owner": True, "manager": True, "staff": True, "viewer": False}
    assert not Caller(None, organization, "owner", by_token=True).sees_addresses


def test_an_inactive_automation_says_so_exactly(make_automation, colleague, signed_in):
    answer = signed_in(colleague).post(path_of(make_automation(enabled=False)))
    assert answer.status_code == 200
    body = answer.json()
    timestamp = body["timestamp"]
    assert_now(timestamp)
    assert answer.content.decode() == (
        '{"success": true, "message": "Automation is not active", "processed": 0, "sent": 0, '
        f'"skipped": 0, "failed": 0, "timestamp": "{timestamp}"}}'
    )


def test_an_unknown_automation_is_the_documented_500(owner, signed_in):
    answer = signed_in(owner).post(f"/api/automations/{uuid.uuid4()}/run")
    assert_not_found(answer)


def test_a_strangers_automation_is_unknown(automation, stranger, signed_in):
    assert_not_found(signed_in(stranger).post(path_of(automation)))


def test_a_deleted_automation_is_unknown(automation, owner, signed_in):
    client = signed_in(owner)
    assert client.delete(f"/api/automations/{automation.pk}").status_code == 204
    assert_not_found(client.post(path_of(automation)))


def assert_not_found(answer):
    assert answer.status_code == 500
    timestamp = answer.json()["timestamp"]
    assert_now(timestamp)
    assert answer.content.decode() == (
        f'{{"success": false, "error": "Automation not found", "timestamp": "{timestamp}"}}'
    )


@pytest.mark.parametrize("path", ["/api/automations//run", "/api/automations/%20/run"])
def test_a_missing_id_is_the_documented_400(owner, signed_in, path):
    answer = signed_in(owner).post(path)
    assert answer.status_code == 400
    timestamp = answer.json()["timestamp"]
    assert_now(timestamp)
    assert answer.content.decode() == (
        f'{{"error": "Automation ID is required", "timestamp": "{timestamp}"}}'
    )


@pytest.mark.parametrize("malformed", ["1", "not-a-uuid", "%00", "123e4567", "💌", "a" * 5000])
def test_a_malformed_id_is_a_400_that_says_what_an_id_is(owner, signed_in, malformed):
    answer = signed_in(owner).post(f"/api/automations/{malformed}/run")
    assert answer.status_code == 400
    assert list(answer.json()) == ["error", "timestamp"]
    assert "must be a UUID" in answer.json()["error"]


def test_nobody_runs_without_signing_in(automation):
    answer = Client().post(path_of(automation))
    assert answer.status_code == 401
    assert list(answer.json()) == ["error", "code", "details"]
    assert answer.json()["code"] == "not_signed_in"


def test_every_member_may_run_unless_the_organization_restricts_it(
    automation, organization, viewer, signed_in
):
    client = signed_in(viewer)
    assert client.post(path_of(automation)).status_code == 200
    organization.run_roles = ["owner", "manager"]
    organization.save()
    refused = client.post(path_of(automation))
    assert refused.status_code == 403
    assert refused.json()["code"] == "role_may_not_run"


def test_without_a_worker_it_answers_at_once_and_says_so(automation, owner, signed_in):
    started = time.monotonic()
    body = signed_in(owner).post(path_of(automation)).json()
    assert time.monotonic() - started < 5
    assert body["success"] is True
    assert "No worker is running" in body["message"]
    assert list(body)[-3:] == ["message", "run_id", "timestamp"]


@pytest.mark.parametrize(
    ("query", "prefer"),
    [
        ("?wait=0", ""),
        ("", "respond-async"),
        ("", "wait=0"),
        ("?wait=600", "wait=0, respond-async"),
    ],
)
def test_a_caller_may_ask_not_to_wait(automation, owner, signed_in, monkeypatch, query, prefer):
    from regulars.runs import engine

    monkeypatch.setattr(engine, "worker_alive", lambda: True)
    started = time.monotonic()
    answer = signed_in(owner).post(path_of(automation) + query, headers={"prefer": prefer})
    assert time.monotonic() - started < 5
    assert answer.json()["message"].startswith("The run continues in the background")
    assert answer.json()["run_id"] in answer.json()["message"]


def test_the_wait_ends_when_its_seconds_are_over(automation, owner, signed_in, monkeypatch):
    from regulars.runs import engine

    monkeypatch.setattr(engine, "worker_alive", lambda: True)
    started = time.monotonic()
    answer = signed_in(owner).post(path_of(automation) + "?wait=1")
    assert 1 <= time.monotonic() - started < 6
    assert answer.json()["processed"] == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", float("inf")),
        ("respond-async", 0),
        ("respond-async, wait=10", 10),
        ('wait="5"', 5),
        ("wait = 7 ; x=y", 7),
        ("return=minimal", float("inf")),
        ("wait=-1", float("inf")),
        ("wait=ten", float("inf")),
    ],
)
def test_prefer_is_read_as_the_rfc_says_and_what_is_unknown_is_ignored(header, seconds):
    from regulars.api.running import preferred

    assert preferred(header) == seconds


def test_two_callers_at_once_share_one_run(automation, owner, colleague, signed_in):
    one = signed_in(owner).post(path_of(automation)).json()
    two = signed_in(colleague).post(path_of(automation)).json()
    assert one["run_id"] == two["run_id"]


def test_running_leaves_a_trace_of_who_did_it(automation, owner, signed_in):
    from regulars.organizations.models import AuditEvent

    body = signed_in(owner).post(path_of(automation)).json()
    event = AuditEvent.objects.get(action="automation.run")
    assert (event.user, event.subject) == (owner, str(automation.pk))
    assert event.details == {"run": body["run_id"]}


def test_an_error_nobody_foresaw_is_a_500_without_a_traceback(automation, owner, signed_in, monkeypatch):
    from regulars.runs import engine

    def fail(*args, **kwargs):
        raise RuntimeError("internal detail")

    monkeypatch.setattr(engine, "start", fail)
    answer = signed_in(owner).post(path_of(automation))
    assert answer.status_code == 500
    assert list(answer.json()) == ["success", "error", "timestamp"]
    assert "internal detail" not in answer.content.decode()


def test_a_run_that_failed_as_a_whole_is_a_500_with_its_reason(automation, owner, signed_in, monkeypatch):
    from regulars.runs import engine
    from regulars.runs.models import Run

    real = engine.start

    def start_and_fail(*args, **kwargs):
        run = real(*args, **kwargs)
        Run.objects.filter(pk=run.pk).update(state="failed", reason="The database was full")
        return run

    monkeypatch.setattr(engine, "start", start_and_fail)
    answer = signed_in(owner).post(path_of(automation))
    assert answer.status_code == 500
    assert answer.json()["error"] == "The database was full"


@pytest.mark.django_db(transaction=True)
def test_it_works_under_asgi_and_wakes_by_notification(automation, owner, monkeypatch):
    """The run ends while the caller waits; the notification comes well before the next look."""
    import asyncio

    from asgiref.sync import async_to_sync

    from regulars.api import waiting
    from regulars.runs import engine
    from regulars.runs.models import Run

    monkeypatch.setattr(engine, "worker_alive", lambda: True)
    monkeypatch.setattr(waiting, "POLL_SECONDS", 15)

    def finish():
        run = Run.objects.get(automation=automation)
        Run.objects.filter(pk=run.pk).update(state="finished")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify('regulars_runs', %s)", [str(run.pk)])
        connection.close()

    async def finish_later():
        await asyncio.sleep(1.5)
        await asyncio.to_thread(finish)

    async def both():
        client = AsyncClient()
        await client.aforce_login(owner, "allauth.account.auth_backends.AuthenticationBackend")
        answer, _ = await asyncio.gather(client.post(path_of(automation)), finish_later())
        return answer

    started = time.monotonic()
    answer = async_to_sync(both)()
    assert answer.status_code == 200
    assert "message" not in answer.json()
    assert time.monotonic() - started < 10


@pytest.mark.django_db(transaction=True)
def test_waiting_holds_no_database_connection(automation, owner, monkeypatch):
    from regulars.api import waiting
    from regulars.runs import engine

    monkeypatch.setattr(engine, "worker_alive", lambda: True)
    seen = []
    real = engine.is_over

    def look(run):
        seen.append(connection.connection is not None)
        return real(run)

    monkeypatch.setattr(engine, "is_over", look)

    async def wait():
        from regulars.runs.models import Run

        def begin():
            return engine.start(automation, now=datetime.now(UTC)).pk

        run_id = await waiting.in_thread(begin)
        await waiting.until_settled([run_id], 1.2)
        from asgiref.sync import sync_to_async

        return await sync_to_async(lambda: connection.connection)(), Run

    from asgiref.sync import async_to_sync

    held, _ = async_to_sync(wait)()
    assert seen
    assert held is None


@pytest.mark.django_db(transaction=True)
def test_a_caller_that_goes_away_ends_only_its_wait(automation, owner):
    import asyncio

    from asgiref.sync import async_to_sync

    from regulars.api import waiting
    from regulars.runs import engine
    from regulars.runs.models import Run

    run = engine.start(automation, now=datetime.now(UTC))

    async def leave():
        wait = asyncio.create_task(waiting.until_settled([run.pk], 60))
        await asyncio.sleep(0.3)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        return wait.cancelled()

    assert async_to_sync(leave)()
    assert Run.objects.get(pk=run.pk).state == "planning"
    assert waiting._seats.taken == 0


@pytest.mark.django_db(transaction=True)
def test_the_fifty_first_caller_is_answered_at_once(automation, owner, signed_in, monkeypatch):
    from regulars.api import waiting
    from regulars.runs import engine

    monkeypatch.setattr(engine, "worker_alive", lambda: True)
    monkeypatch.setattr(waiting._seats, "taken", waiting.MOST_WAITERS)
    started = time.monotonic()
    answer = signed_in(owner).post(path_of(automation))
    assert time.monotonic() - started < 5
    assert answer.json()["message"].startswith("Too many callers are waiting already")
