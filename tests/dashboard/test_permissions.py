"""Who may see and do what: members only, roles, and nothing of other organizations."""

import uuid

import pytest
from django.utils import timezone

from dashboard.conftest import PASSWORD
from dashboard.pages import Page
from regulars.organizations.models import Organization


@pytest.fixture
def stranger(client, make_member):
    """A client of somebody who belongs to another restaurant."""
    other = Organization.objects.create(slug="other", name="Other", timezone="Europe/Madrid")
    user = make_member(other, email="stranger@example.com")
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_a_stranger_finds_nothing_of_another_organization(stranger, every_page):
    lists = {"/", "/runs", "/guests", "/guests?q=ana", "/outbox", "/webhooks", "/tact", "/audit"}
    lists |= {"/providers", "/providers/new", "/providers/new/sandbox"}
    for address in set(every_page) - lists:
        assert stranger.get(address).status_code == 404, address
    for address in lists:
        text = Page(stranger.get(address)).text
        assert "We miss you" not in text, address
        assert "Ana" not in text, address


def test_a_stranger_can_start_cancel_and_settle_nothing(stranger, automation, guests, make_run):
    run = make_run(guests, ["unknown"], state="sending")
    message = run.message_set.get()
    for address in (
        f"/automations/{automation.pk}/run",
        f"/automations/{automation.pk}/switch",
        f"/runs/{run.pk}/cancel",
        f"/runs/{run.pk}/resume",
        f"/runs/{run.pk}/pause",
        f"/runs/{run.pk}/look-up",
        f"/runs/{run.pk}/retry",
        f"/runs/{run.pk}/settle",
        f"/messages/{message.pk}/settle",
    ):
        assert stranger.post(address, {"decision": "arrived"}).status_code == 404, address
    run.refresh_from_db()
    assert run.state == "sending"
    assert automation.runs.count() == 1


def test_what_does_not_exist_is_not_found(signed_in):
    assert signed_in.get(f"/runs/{uuid.uuid4()}").status_code == 404
    assert signed_in.get("/guests/99999999").status_code == 404


def test_any_member_may_run(as_role, automation, guests):
    client = as_role("viewer")
    answer = client.post(f"/automations/{automation.pk}/run")
    run = automation.runs.get()
    assert answer.url == f"/runs/{run.pk}"
    assert run.requested_by.email == "viewer@example.com"


def test_an_organization_may_restrict_running_to_roles(as_role, organization, automation, guests):
    organization.run_roles = ["owner", "manager"]
    organization.save()
    client = as_role("staff")
    assert client.get(f"/automations/{automation.pk}/run").status_code == 403
    assert client.post(f"/automations/{automation.pk}/run").status_code == 403
    assert not automation.runs.exists()
    assert f"/automations/{automation.pk}/run" not in client.get("/").content.decode()


def test_running_needs_the_token_of_the_form(owner, automation):
    from django.test import Client

    careful = Client(enforce_csrf_checks=True)
    careful.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert careful.post(f"/automations/{automation.pk}/run").status_code == 403
    assert not automation.runs.exists()


def test_looking_starts_nothing(signed_in, automation, guests):
    signed_in.get(f"/automations/{automation.pk}/run")
    signed_in.get(f"/automations/{automation.pk}/preview")
    assert not automation.runs.exists()


def test_a_viewer_sees_addresses_masked(as_role, guests, make_run, outbox_entry):
    run = make_run(guests, ["failed", "sent", "sent"])
    address = guests[0].addresses.get().address
    client = as_role("viewer")
    for page in (
        f"/guests/{guests[0].pk}",
        "/guests",
        f"/runs/{run.pk}",
        f"/runs/{run.pk}?show=failed",
        "/outbox",
        f"/automations/{run.automation_id}/preview",
    ):
        text = client.get(page).content.decode()
        assert "@example.com" in text, page
        assert address not in text, page
        assert "guest@example.com" not in text, page
        assert "ana@example.com" not in text, page
    assert client.get("/guests", {"q": address}).context["guests"] == []


def test_a_viewer_may_not_cancel(as_role, guests, make_run):
    run = make_run(guests, ["queued"], state="sending")
    client = as_role("viewer")
    assert client.post(f"/runs/{run.pk}/cancel").status_code == 403
    run.refresh_from_db()
    assert run.state == "sending"


def test_a_person_of_two_restaurants_switches_between_them(signed_in, owner, make_member, automation):
    other = Organization.objects.create(slug="other", name="Bar Luna", timezone="Europe/Madrid")
    make_member(other)
    assert "We miss you" in Page(signed_in.get("/")).text
    signed_in.post("/organization", {"organization": other.pk})
    assert "We miss you" not in Page(signed_in.get("/")).text
    third = Organization.objects.create(slug="third", name="Third", timezone="Europe/Madrid")
    assert signed_in.post("/organization", {"organization": third.pk}).status_code == 404


def test_a_person_of_no_restaurant_is_told_so(client, owner):
    owner.memberships.all().delete()
    client.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    answer = client.get("/")
    assert answer.status_code == 403
    assert "you belong to no restaurant" in Page(answer).text


def test_signing_in_leads_to_the_page_asked_for(client, owner):
    answer = client.post(
        "/sign-in?next=/runs", {"login": "marta@example.com", "password": PASSWORD, "next": "/runs"}
    )
    assert (answer.status_code, answer.url) == (302, "/runs")
    assert client.get("/runs").status_code == 200


def test_signing_in_does_not_lead_to_another_site(client, owner):
    answer = client.post(
        "/sign-in",
        {"login": "marta@example.com", "password": PASSWORD, "next": "https://evil.example.com/"},
    )
    assert (answer.status_code, answer.url) == (302, "/")


def test_a_wrong_password_is_refused_with_words(client, owner):
    answer = client.post("/sign-in", {"login": "marta@example.com", "password": "wrong"})
    assert answer.status_code == 200
    alerts = [tag for tag in Page(answer).tags if tag[1].get("role") == "alert"]
    assert alerts
    assert client.get("/").status_code == 302


def test_signing_out_ends_the_session(signed_in):
    assert signed_in.get("/sign-out").status_code == 200
    assert signed_in.get("/").status_code == 200
    signed_in.post("/sign-out")
    assert signed_in.get("/").status_code == 302


def test_nobody_signs_up(client, rf):
    from regulars.dashboard.accounts import ClosedSignup

    assert not ClosedSignup().is_open_for_signup(rf.get("/"))
    for address in ("/signup", "/signup/", "/accounts/signup/", "/sign-up"):
        assert client.get(address).status_code == 404, address


def test_a_poll_after_the_session_ended_asks_for_the_whole_page(client, guests, make_run):
    run = make_run(guests, ["queued"], state="sending")
    answer = client.get(f"/runs/{run.pk}/progress", headers={"HX-Request": "true"})
    assert answer.headers["HX-Refresh"] == "true"
    assert answer.content == b""


def test_times_are_those_of_the_restaurant(signed_in, organization, guests, make_run):
    from datetime import UTC, datetime

    organization.timezone = "Pacific/Auckland"
    organization.save()
    run = make_run(guests, ["sent"])
    type(run).objects.update(created_at=datetime(2026, 6, 15, 14, 30, tzinfo=UTC))
    assert "16 Jun 2026, 02:30" in Page(signed_in.get("/runs")).text
    assert timezone.get_current_timezone_name() == "UTC"
