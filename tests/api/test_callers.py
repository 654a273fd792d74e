"""Who is let in: cookie without a token, but no other site; tokens; roles; one shape of refusal."""

import json

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from regulars.organizations import tokens
from regulars.organizations.models import ApiToken, Membership


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://testserver"}, 200),
        ({"origin": "https://trusted.example.com", "sec-fetch-site": "cross-site"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://elsewhere.example.com"}, 403),
        ({"origin": "https://testserver"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://testserver", "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_a_cookie_suffices_but_not_from_another_site(automation, owner, signed_in, settings, headers, status):
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example.com"]
    answer = signed_in(owner).post(f"/api/automations/{automation.pk}/run", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "cross_site"


def test_another_site_cannot_sign_somebody_in(owner):
    answer = Client().post(
        "/api/session",
        json.dumps({"email": owner.email, "password": "correct horse battery"}),
        content_type="application/json",
        headers={"sec-fetch-site": "cross-site"},
    )
    assert answer.status_code == 403
    assert "sessionid" not in answer.cookies


def test_reading_from_another_site_is_left_to_the_browser(owner, signed_in):
    answer = signed_in(owner).get("/api/automations", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer regulars_wrong"},
        {"authorization": "Bearer ñandú"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"cookie": "sessionid=nonsense"},
        {"cookie": 'sessionid="\\000\\000\\000\\000\\000\\000\\000\\000\\000"'},
    ],
)
def test_whoever_is_not_known_gets_a_401(db, headers):
    answer = Client().get("/api/automations", headers=headers)
    assert answer.status_code == 401
    assert list(answer.json()) == ["error", "code", "details"]


def test_a_token_acts_in_its_organization(automation, owner, by_token, other_organization, person):
    Membership.objects.create(user=owner, organization=other_organization, role="staff")
    here = by_token(owner).get("/api/automations").json()
    there = by_token(owner, other_organization).get("/api/automations").json()
    assert [row["id"] for row in here["items"]] == [str(automation.pk)]
    assert there["items"] == []


def test_a_token_dies_with_the_membership_and_with_the_account(owner, organization, by_token):
    client = by_token(owner)
    assert client.get("/api/session").status_code == 200
    owner.is_active = False
    owner.save()
    assert client.get("/api/session").status_code == 401
    owner.is_active = True
    owner.save()
    Membership.objects.filter(user=owner).delete()
    assert client.get("/api/session").status_code == 401


def test_the_use_of_a_token_is_noted(owner, organization, by_token):
    by_token(owner).get("/api/session")
    assert ApiToken.objects.get().last_used_at is not None


def test_a_person_without_an_organization_is_told_so(owner, signed_in):
    client = signed_in(owner)
    Membership.objects.all().delete()
    answer = client.get("/api/automations")
    assert answer.status_code == 403
    assert answer.json()["code"] == "no_organization"


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 200), ("manager", 200), ("staff", 403), ("viewer", 403)]
)
def test_who_may_switch_an_automation(automation, organization, person, signed_in, role, status):
    client = signed_in(person(role, organization))
    assert client.post(f"/api/automations/{automation.pk}/disable").status_code == status


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 200), ("manager", 200), ("staff", 200), ("viewer", 403)]
)
def test_who_may_stop_a_run(run, organization, person, signed_in, role, status):
    client = signed_in(person(role, organization, f"a-{role}@example.com"))
    assert client.post(f"/api/runs/{run.pk}/cancel").status_code == status


STRANGE = [
    ("get", "/api/automations/{automation}"),
    ("put", "/api/automations/{automation}"),
    ("patch", "/api/automations/{automation}"),
    ("delete", "/api/automations/{automation}"),
    ("post", "/api/automations/{automation}/enable"),
    ("post", "/api/automations/{automation}/disable"),
    ("get", "/api/automations/{automation}/preview"),
    ("post", "/api/automations/{automation}/preview"),
    ("get", "/api/automations/{automation}/preview/due"),
    ("get", "/api/automations/{automation}/preview/verdicts"),
    ("get", "/api/automations/{automation}/preview/verdicts.csv"),
    ("get", "/api/runs/{run}"),
    ("get", "/api/runs/{run}/messages"),
    ("get", "/api/runs/{run}/skips"),
    ("post", "/api/runs/{run}/cancel"),
    ("post", "/api/runs/{run}/pause"),
    ("post", "/api/runs/{run}/resume"),
    ("get", "/api/messages/{message}"),
    ("get", "/api/customers/{customer}/explain"),
    ("get", "/api/runs?after={run}"),
]


@pytest.mark.parametrize(("method", "path"), STRANGE)
def test_what_is_another_organizations_does_not_exist(
    automation, run, message, stranger, signed_in, method, path
):
    address = path.format(
        automation=automation.pk, run=run.pk, message=message.pk, customer=message.customer_id
    )
    body = {"patch": {}, "put": {"name": "x", "trigger": "inactive", "channels": ["email"]}}
    answer = (
        getattr(signed_in(stranger), method)(
            address, json.dumps(body.get(method, {})), content_type="application/json"
        )
        if method != "get"
        else signed_in(stranger).get(address)
    )
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["/api/runs", "/api/automations", "/api/outbox", "/api/providers"])
def test_lists_show_only_ones_own(automation, run, message, account, stranger, signed_in, path):
    assert signed_in(stranger).get(path).json()["items"] == []


def test_an_address_that_does_not_exist_is_a_404_in_our_shape(db):
    for path in ("/api/nothing", "/api/automations/", "/api/", "/api/runs/x/y/z"):
        answer = Client().get(path)
        assert answer.status_code == 404, path
        assert list(answer.json()) == ["error", "code", "details"]


def test_a_wrong_method_is_a_405_that_says_what_is_possible(db):
    answer = Client().put("/api/runs")
    assert (answer.status_code, answer["Allow"]) == (405, "GET")
    assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{", "application/json", 400),
        ('{"name": NaN}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        ("[" * 100_000, "application/json", 400),
        ("[" * 60 + "]" * 60, "application/json", 422),
        ('{"name": 1e999}', "application/json", 422),
        ('{"name": "a\\u0000b"}', "application/json", 422),
        ('{"name": "\\ud800"}', "application/json", 422),
        ("[]", "application/json", 422),
        ("", "application/json", 422),
        ('{"nmae": "x"}', "application/json", 422),
        ("name=x", "application/x-www-form-urlencoded", 415),
        ('{"name": "x"}', "text/plain", 415),
    ],
)
def test_a_body_that_cannot_be_kept_is_refused(automation, owner, signed_in, body, kind, status):
    answer = signed_in(owner).patch(f"/api/automations/{automation.pk}", body, content_type=kind)
    assert answer.status_code == status
    assert list(answer.json()) == ["error", "code", "details"]


def test_a_refused_value_is_named_by_its_path_and_never_repeated(owner, signed_in):
    body = {"name": "x", "trigger": "inactive", "channels": ["pigeon-post"]}
    answer = signed_in(owner).post("/api/automations", body, content_type="application/json")
    assert answer.status_code == 422
    assert answer.json()["details"][0]["path"] == "channels[0]"
    assert "pigeon-post" not in answer.content.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/api/messages/9223372036854775808",
        "/api/messages/0",
        "/api/messages/-1",
        "/api/outbox?after=9223372036854775808",
        "/api/outbox?limit=0",
        "/api/outbox?limit=%00",
        "/api/runs?after=nonsense",
        "/api/runs?automation=%00",
        "/api/customers/" + "9" * 5000 + "/explain",
    ],
)
def test_a_number_too_large_or_an_id_malformed_is_a_422(owner, signed_in, path):
    assert signed_in(owner).get(path).status_code == 422


def test_an_error_nobody_foresaw_is_logged_and_says_nothing(owner, signed_in, monkeypatch, caplog):
    from regulars.api import runs

    def fail(*args):
        raise RuntimeError("internal detail")

    monkeypatch.setattr(runs, "_visible", fail)
    answer = signed_in(owner).get("/api/runs")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "internal detail" not in answer.content.decode()
    assert "internal detail" in caplog.text


def test_a_database_that_is_gone_is_a_503(owner, signed_in, monkeypatch):
    from django.db import OperationalError

    from regulars.api import runs

    def fail(*args):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(runs, "_visible", fail)
    answer = signed_in(owner).get("/api/runs")
    assert answer.status_code == 503
    assert "server closed" not in answer.content.decode()


def test_the_documentation_loads_nothing_from_elsewhere(db):
    import re

    page = Client().get("/api/docs").content.decode()
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links
    for link in links:
        assert link.startswith("/static/"), link
        assert finders.find(link.removeprefix("/static/")), link


def test_a_token_is_shown_once_and_kept_only_as_a_hash(owner, organization, person, other_organization):
    token = tokens.create(owner, organization, "till")
    assert token.startswith("regulars_")
    assert token.encode() not in bytes(ApiToken.objects.get().digest)
    with pytest.raises(tokens.NotAMemberError):
        tokens.create(owner, other_organization)
