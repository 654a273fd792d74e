"""Where a provider calls, and what guests wrote, over the API."""

import pytest
from django.utils import timezone

from regulars.automations.models import CallbackAccess, ProviderAccount
from regulars.callbacks.models import InboundMessage
from regulars.organizations.models import AuditEvent

JSON = {"content_type": "application/json"}


@pytest.fixture
def brevo(organization, settings):
    settings.PUBLIC_URL = "https://regulars.example.com"
    return ProviderAccount.objects.create(
        organization=organization, name="Brevo", kind="mailgun", channels=["email"]
    )


def test_an_owner_is_told_where_to_let_the_provider_call(signed_in, owner, brevo):
    address = f"/api/providers/{brevo.pk}/callbacks"
    shown = signed_in(owner).get(address).json()
    assert shown["address"] == f"https://regulars.example.com{shown['path']}"
    assert set(shown["missing"]) == {"webhook_signing_key"}
    change = {"secrets": {"webhook_signing_key": "k3y"}, "tracking": True, "stop_words": ["fora"]}
    changed = signed_in(owner).patch(address, change, **JSON).json()
    assert (changed["missing"], changed["tracking"], changed["stop_words"]) == ({}, True, ["fora"])
    assert "k3y" not in str(changed)
    assert changed["address"] == shown["address"]
    renewed = signed_in(owner).patch(address, {"renew": True}, **JSON).json()
    assert renewed["address"] != shown["address"]
    assert CallbackAccess.objects.get().tracking
    assert AuditEvent.objects.filter(action="provider.callbacks_changed").count() == 2


def test_what_cannot_be_set_is_said(signed_in, owner, brevo):
    address = f"/api/providers/{brevo.pk}/callbacks"
    answer = signed_in(owner).patch(address, {"secrets": {"app_secret": "x"}}, **JSON)
    assert answer.status_code == 422
    assert "webhook_signing_key" in answer.json()["error"]
    assert signed_in(owner).patch(address, {"tracking": None, "unknown": 1}, **JSON).status_code == 422


def test_the_address_is_for_those_who_may_change_providers(
    signed_in, colleague, stranger, account, owner, brevo
):
    address = f"/api/providers/{brevo.pk}/callbacks"
    assert signed_in(colleague).get(address).status_code == 403
    assert signed_in(stranger).get(address).status_code == 404
    answer = signed_in(owner).get(f"/api/providers/{account.pk}/callbacks")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_callbacks")


@pytest.fixture
def said(make_customer, organization):
    """Three messages: two of one guest, one of nobody we know."""
    guest, now = make_customer(), timezone.now()
    rows = [(guest, "Hola", False), (guest, "Quiero la baja", True), (None, "Call +1 201 555 0142", True)]
    return [
        InboundMessage.objects.create(
            organization=organization,
            customer=customer,
            channel="sms",
            address="+12015550100",
            key=f"SM{number}",
            text=text,
            needs_attention=attention,
            at=now,
            received_at=now,
        )
        for number, (customer, text, attention) in enumerate(rows)
    ]


def test_what_guests_wrote_is_read_newest_first(signed_in, owner, stranger, said):
    client = signed_in(owner)

    def texts(query=""):
        return [row["text"] for row in client.get(f"/api/inbound{query}").json()["items"]]

    assert texts() == ["Call +1 201 555 0142", "Quiero la baja", "Hola"]
    assert texts(f"?customer={said[0].customer_id}") == ["Quiero la baja", "Hola"]
    assert texts("?needs_attention=true&limit=1") == ["Call +1 201 555 0142"]
    assert texts(f"?after={said[1].pk}") == ["Hola"]
    assert client.get("/api/inbound?customer=999999999").status_code == 404
    assert signed_in(stranger).get("/api/inbound").json()["items"] == []


def test_a_program_reads_no_whole_number(by_token, owner, said):
    (row, *_) = by_token(owner).get("/api/inbound").json()["items"]
    assert row["address"] == "+12 ••• 100"
    assert "555 0142" not in row["text"]


def test_somebody_has_looked_at_it(signed_in, colleague, viewer, stranger, said):
    address = f"/api/inbound/{said[1].pk}/looked-at"
    assert signed_in(viewer).post(address).status_code == 403
    assert signed_in(stranger).post(address).status_code == 404
    assert signed_in(colleague).post(address).json()["needs_attention"] is False
    assert InboundMessage.objects.filter(needs_attention=True).count() == 1
