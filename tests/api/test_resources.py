"""Automations, runs, messages, providers, the outbox, sessions, cron and health, over HTTP."""

import json
import re
import time
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from tests.shelf import META, Shelf, listed

from regulars.organizations.models import AuditEvent, Membership

from .conftest import DEFINITION, PASSWORD

JSON = "application/json"


@pytest.fixture
def owners(owner, signed_in):
    return signed_in(owner)


def test_an_automation_is_made_changed_switched_and_removed(owners, owner, account, organization):
    made = owners.post("/api/automations", DEFINITION, content_type=JSON)
    assert made.status_code == 201
    body = made.json()
    assert (body["enabled"], body["version"]) == (False, 1)
    assert body["parameters"]["days"] == 60
    path = f"/api/automations/{body['id']}"

    changed = owners.patch(path, {"parameters": {"days": 90}}, content_type=JSON).json()
    assert (changed["parameters"]["days"], changed["version"]) == (90, 2)
    replaced = owners.put(path, {**DEFINITION, "name": "Back soon?"}, content_type=JSON).json()
    assert (replaced["name"], replaced["parameters"]["days"]) == ("Back soon?", 60)
    assert owners.post(path + "/enable").json()["enabled"] is True
    assert owners.post(path + "/disable").json()["enabled"] is False
    assert owners.delete(path).status_code == 204
    assert owners.get(path).status_code == 404
    assert owners.get("/api/automations").json()["items"] == []

    trail = AuditEvent.objects.filter(subject=body["id"]).order_by("id")
    assert [event.action.removeprefix("automation.") for event in trail] == [
        "created",
        "changed",
        "changed",
        "enabled",
        "disabled",
        "deleted",
    ]
    assert {event.user for event in trail} == {owner}


def test_a_faulty_automation_is_refused_with_the_place_of_the_fault(owners, account):
    faulty = {**DEFINITION, "parameters": {"days": "soon"}}
    answer = owners.post("/api/automations", faulty, content_type=JSON)
    assert answer.status_code == 422
    assert answer.json()["details"][0]["path"] == "parameters.days"


def test_a_viewer_and_a_token_see_addresses_masked(
    automation, message, lapsed, owner, viewer, signed_in, by_token
):
    lapsed(address="anna@example.com")
    for client in (signed_in(viewer), by_token(owner)):
        preview = client.get(f"/api/automations/{automation.pk}/preview").json()
        assert preview["rows"][0]["address"] == "a•••@example.com"
        for path in (f"/api/messages/{message.pk}", f"/api/runs/{message.run_id}/messages"):
            text = json.dumps(client.get(path).json(), ensure_ascii=False)
            assert "m•••@example.com" in text
            assert "marta@example.com" not in text
    assert "marta@example.com" in signed_in(owner).get(f"/api/messages/{message.pk}").content.decode()


def test_the_outbox_is_masked_too(owner, viewer, organization, account, signed_in, by_token):
    from regulars.runs.models import SandboxMessage

    SandboxMessage.objects.create(
        organization_id=organization.pk,
        account_id=account.pk,
        message_id=1,
        channel="sms",
        address="+12015550123",
        body="Call +1 201 555 0199",
        at=timezone.now(),
    )
    shown = signed_in(owner).get("/api/outbox").json()["items"][0]
    assert (shown["address"], shown["body"]) == ("+12015550123", "Call +1 201 555 0199")
    for client in (signed_in(viewer), by_token(owner)):
        masked = client.get("/api/outbox").json()["items"][0]
        assert "5550123" not in masked["address"]
        assert "555 0199" not in masked["body"]


def test_messages_come_in_pages_that_neither_repeat_nor_lose_any(owners, message):
    from regulars.runs.models import Message

    path = f"/api/runs/{message.run_id}/messages"
    fields = {
        field.attname: getattr(message, field.attname)
        for field in Message._meta.concrete_fields
        if not field.primary_key
    }
    Message.objects.bulk_create(Message(**fields | {"state": "sent"}) for _ in range(4))
    seen, after = [], 0
    while after is not None:
        body = owners.get(f"{path}?limit=2&after={after}").json()
        seen += [row["id"] for row in body["items"]]
        after = body["next"]
    assert seen == list(Message.objects.order_by("pk").values_list("pk", flat=True))
    failed = owners.get(f"{path}?state=failed").json()["items"]
    assert [row["id"] for row in failed] == [message.pk]


def test_runs_come_newest_first_in_pages(owners, automation, run):
    from regulars.runs.models import Run

    for number in range(4):
        Run.objects.create(
            organization=run.organization,
            automation=automation,
            state="finished",
            created_at=timezone.now() - timedelta(hours=number % 2),
        )
    first = owners.get("/api/runs?limit=3").json()
    rest = owners.get(f"/api/runs?limit=3&after={first['next']}").json()
    found = [row["id"] for row in first["items"] + rest["items"]]
    expected = Run.objects.order_by("-created_at", "-pk").values_list("pk", flat=True)
    assert found == [str(pk) for pk in expected]
    assert rest["next"] is None
    assert len(owners.get(f"/api/runs?automation={automation.pk}").json()["items"]) == 5


def test_a_run_shows_its_counts_and_whom_it_left_out(worker, owners, automation, lapsed):
    lapsed()
    lapsed(consents=())
    with worker():
        answer = owners.post(f"/api/automations/{automation.pk}/run").json()
    run = owners.get(f"/api/runs/{answer['run_id']}").json()
    assert run["state"] == "finished"
    assert (run["processed"], run["sent"], run["skipped"]) == (2, 1, 1)
    assert run["skipped_by_reason"] == {"no_consent": 1}
    (skip,) = owners.get(f"/api/runs/{answer['run_id']}/skips").json()["items"]
    assert skip["reason"] == "no_consent"
    assert skip["words"]
    (message,) = owners.get(f"/api/runs/{answer['run_id']}/messages").json()["items"]
    assert message["state"] == "sent"
    (sent,) = owners.get("/api/outbox").json()["items"]
    assert sent["message_id"] == message["id"]


def test_a_run_is_paused_resumed_and_cancelled_and_what_cannot_be_is_a_409(owners, run):
    from regulars.runs.models import Run

    path = f"/api/runs/{run.pk}"
    assert owners.post(path + "/pause", {}, content_type=JSON).status_code == 409
    Run.objects.filter(pk=run.pk).update(state="sending")
    paused = owners.post(path + "/pause", {"reason": "Wrong text"}, content_type=JSON).json()
    assert (paused["state"], paused["reason"]) == ("paused", "Wrong text")
    assert owners.post(path + "/resume").json()["state"] == "sending"
    assert owners.post(path + "/resume").status_code == 409
    assert owners.post(path + "/cancel").json()["state"] == "cancelled"
    assert owners.post(path + "/cancel").status_code == 409
    actions = AuditEvent.objects.filter(subject=str(run.pk)).order_by("id")
    assert [event.action for event in actions] == ["run.paused", "run.resumed", "run.cancelled"]


def test_a_provider_is_added_once_and_its_secrets_never_come_back(owners, organization):
    provider = {
        "name": "Post",
        "kind": "smtp",
        "options": {
            "host": "mail.example.com",
            "port": 587,
            "security": "starttls",
            "username": "casa",
            "password": "sesame-open",
            "from_address": "casa@example.com",
        },
    }
    made = owners.post("/api/providers", provider, content_type=JSON)
    assert made.status_code == 201, made.content
    listed = owners.get("/api/providers")
    assert listed.json()["items"] == [made.json()]
    assert "sesame-open" not in made.content.decode() + listed.content.decode()
    assert owners.post("/api/providers", provider, content_type=JSON).status_code == 409
    faulty = {"name": "Bird", "kind": "pigeon", "options": {}}
    refused = owners.post("/api/providers", faulty, content_type=JSON)
    assert (refused.status_code, refused.json()["details"][0]["path"]) == (422, "kind")


def test_the_templates_of_an_access_are_copied_and_listed(
    owners, colleague, signed_in, organization, monkeypatch
):
    from regulars.automations.accounts import create_account
    from regulars.providers import registry

    real, shelf = registry.get, Shelf()
    monkeypatch.setattr(registry, "get", lambda kind: shelf if kind == "meta" else real(kind))
    account = create_account(organization, "WhatsApp", "meta", META)
    shelf.listed = [listed()]
    path = f"/api/providers/{account.pk}"
    assert signed_in(colleague).post(f"{path}/sync").status_code == 403
    done = owners.post(f"{path}/sync")
    assert done.status_code == 200, done.content
    assert done.json()["paused"] == []
    (item,) = owners.get(f"{path}/templates").json()["items"]
    assert (item["name"], item["approval"], item["placeholders"]) == ("come_back", "approved", ["1", "venue"])
    shelf.fault = "Meta cannot be reached"
    refused = owners.post(f"{path}/sync")
    assert (refused.status_code, refused.json()["code"]) == (409, "templates_unavailable")
    assert len(owners.get(f"{path}/templates").json()["items"]) == 1


def test_the_templates_of_a_strangers_access_are_not_there(stranger, signed_in, organization):
    from regulars.automations.accounts import create_account

    account = create_account(organization, "Box", "sandbox", {})
    for call in (signed_in(stranger).get, signed_in(stranger).post):
        assert call(f"/api/providers/{account.pk}/templates").status_code in (404, 405)
    assert signed_in(stranger).post(f"/api/providers/{account.pk}/sync").status_code == 404


def sign_in(client, email, password=PASSWORD, **more):
    body = {"email": email, "password": password, **more}
    return client.post("/api/session", body, content_type=JSON)


def test_signing_in_gives_a_cookie_with_which_one_call_runs(owner, automation):
    client = Client()
    answer = sign_in(client, owner.email)
    assert answer.status_code == 200
    assert answer.json()["organization"]["slug"] == "casa-pepe"
    cookie = answer.cookies["sessionid"].value
    run = Client().post(f"/api/automations/{automation.pk}/run", headers={"cookie": f"sessionid={cookie}"})
    assert run.status_code == 200
    assert client.get("/api/session").json()["role"] == "owner"
    assert client.delete("/api/session").status_code == 204
    assert client.get("/api/session").status_code == 401


def test_a_member_of_two_organizations_chooses(owner, automation, other_organization):
    Membership.objects.create(user=owner, organization=other_organization, role="viewer")
    client = Client()
    assert sign_in(client, owner.email, organization="la-otra").json()["role"] == "viewer"
    assert client.get("/api/automations").json()["items"] == []
    assert sign_in(Client(), owner.email, organization="nowhere").status_code == 403


@pytest.mark.parametrize("email", ["owner@example.com", "nobody@example.com"])
def test_a_wrong_password_is_a_401_and_guessing_is_stopped(owner, email):
    client = Client()
    answers = [sign_in(client, email, "wrong").status_code for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert sign_in(client, email).status_code == 429
    assert sign_in(client, "somebody-else@example.com", "wrong").status_code == 401


def test_a_dismissed_person_cannot_sign_in(owner):
    owner.is_active = False
    owner.save()
    assert sign_in(Client(), owner.email).status_code == 401


SECRET = "the secret of the scheduler"


def test_cron_runs_every_enabled_automation(worker, settings, make_automation, lapsed, account):
    settings.CRON_SECRET = SECRET
    make_automation()
    make_automation(name="Off", enabled=False)
    lapsed()
    client = Client(headers={"authorization": f"Bearer {SECRET}"})
    with worker():
        answer = client.get("/api/cron/automations")
    assert answer.content.decode() == '{"success": true, "executed": 1, "totalSent": 1}'
    assert AuditEvent.objects.get(action="automation.run").user is None


def test_the_master_reports_each_endpoint(settings, automation):
    settings.CRON_SECRET = SECRET
    body = Client(headers={"authorization": f"Bearer {SECRET}"}).get("/api/cron/master").json()
    assert list(body) == ["success", "master", "timestamp", "results"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
    assert body["results"] == [
        {
            "endpoint": "/api/cron/automations",
            "status": 200,
            "data": {"success": True, "executed": 1, "totalSent": 0},
        }
    ]


def test_one_broken_automation_does_not_keep_the_others_from_running(settings, make_automation, monkeypatch):
    from regulars.runs import engine

    settings.CRON_SECRET = SECRET
    broken, _ = make_automation(), make_automation(name="Sound")
    real = engine.start

    def start(automation, **more):
        if automation.pk == broken.pk:
            raise RuntimeError("internal detail")
        return real(automation, **more)

    monkeypatch.setattr(engine, "start", start)
    answer = Client(headers={"authorization": f"Bearer {SECRET}"}).get("/api/cron/automations")
    body = answer.json()
    assert (body["success"], body["executed"]) == (False, 1)
    assert str(broken.pk) in body["errors"][0]
    assert "internal detail" not in answer.content.decode()


@pytest.mark.parametrize("path", ["/api/cron/automations", "/api/cron/master"])
def test_cron_lets_in_the_secret_and_nothing_else(settings, automation, owner, signed_in, by_token, path):
    settings.CRON_SECRET = SECRET
    assert Client(headers={"authorization": f"Bearer {SECRET}"}).get(path).status_code == 200
    for client in (
        Client(),
        Client(headers={"authorization": "Bearer wrong"}),
        Client(headers={"authorization": "Bearer "}),
        Client(headers={"authorization": SECRET}),
        signed_in(owner),
        by_token(owner),
    ):
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("given", ["Bearer ", "Bearer None", "Bearer x"])
def test_without_a_secret_in_the_settings_cron_refuses_everybody(db, settings, given):
    settings.CRON_SECRET = ""
    answer = Client(headers={"authorization": given}).get("/api/cron/automations")
    assert answer.status_code == 503
    assert answer.json()["code"] == "cron_not_configured"


def test_health_says_whether_work_gets_done(db, monkeypatch):
    from regulars.runs import engine

    body = Client().get("/api/health").json()
    assert body == {"status": "degraded", "database": True, "worker": False, "version": "0.1.0"}
    monkeypatch.setattr(engine, "worker_alive", lambda: True)
    assert Client().get("/api/health").json()["status"] == "ok"


def test_health_is_a_503_when_the_database_is_gone(db, monkeypatch):
    from regulars.api import health

    monkeypatch.setattr(health, "_database_answers", lambda: False)
    answer = Client().get("/api/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")


def test_a_wait_is_bounded_by_the_setting(settings, automation, owners, monkeypatch):
    from regulars.runs import engine

    monkeypatch.setattr(engine, "worker_alive", lambda: True)
    settings.RUN_WAIT_SECONDS = 0.2
    started = time.monotonic()
    assert owners.post(f"/api/automations/{automation.pk}/run?wait=100").status_code == 200
    assert time.monotonic() - started < 5
