"""`/api/customers/{id}/consents`: the ledger of one guest over the API."""

from datetime import UTC, datetime, timedelta

import pytest

from regulars.customers.models import Consent, Suppression
from regulars.customers.suppression import suppress
from regulars.organizations.models import AuditEvent

pytestmark = pytest.mark.django_db
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def guest(make_customer):
    return make_customer(at=LONG_AGO)


@pytest.fixture
def ledger(signed_in, colleague, guest):
    client = signed_in(colleague)
    path = f"/api/customers/{guest.pk}/consents"

    def tell(**said):
        said = {"channel": "email", "source": "telephone"} | said
        return client.post(path, said, content_type="application/json")

    tell.read = lambda: client.get(path).json()["items"]
    return tell


def test_a_no_told_to_staff_binds_the_address_and_says_who_wrote_it_down(ledger, guest, colleague):
    answer = ledger(granted=False)
    assert (answer.status_code, answer.json()["actor"]) == (201, colleague.email)
    newest, first = ledger.read()
    assert (newest["granted"], newest["is_current"], first["is_current"]) == (False, True, False)
    assert Suppression.objects.get().reason == "opt_out"
    event = AuditEvent.objects.get(action="consent.withdrawn")
    assert (event.user, event.subject, event.details["channel"]) == (colleague, str(guest.pk), "email")


def test_staff_cannot_take_back_a_no(ledger, guest):
    ledger(granted=False)
    answer = ledger(granted=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "withdrawn")
    assert not Consent.objects.get(customer=guest, is_current=True).granted


def test_the_guest_personally_can_if_something_proves_it(ledger, guest):
    ledger(granted=False, at=(LONG_AGO + timedelta(days=1)).isoformat())
    unproven = ledger(granted=True, by_customer=True)
    assert (unproven.status_code, unproven.json()["details"][0]["path"]) == (422, "evidence")
    signed = ledger(granted=True, by_customer=True, evidence={"form": 7}, wording_version="2026-03")
    assert signed.status_code == 201, signed.content
    assert Consent.objects.get(customer=guest, is_current=True).evidence == {"form": 7}
    assert not Suppression.objects.exists()


def test_a_yes_takes_back_a_stop_for_all_channels_on_its_own_channel_only(ledger, guest, organization):
    address = guest.addresses.get().address
    suppress(organization, address, "", "opt_out", "the list of 2026")
    suppress(organization, address, "email", "complaint")
    ledger(granted=True, by_customer=True, evidence={"form": 7})
    left = Suppression.objects.values_list("channel", "reason")
    assert set(left) == {("email", "complaint"), ("sms", "opt_out"), ("whatsapp", "opt_out")}


def test_telling_it_again_changes_nothing(ledger):
    ledger(granted=False)
    again = ledger(granted=False)
    assert (again.status_code, len(ledger.read())) == (200, 2)


def test_what_lies_in_the_future_is_refused(ledger):
    answer = ledger(granted=False, at="2999-01-01T00:00:00Z")
    assert (answer.status_code, answer.json()["details"][0]["path"]) == (422, "at")


def test_another_organization_s_guest_is_not_found(ledger, signed_in, stranger, guest):
    client = signed_in(stranger)
    assert client.get(f"/api/customers/{guest.pk}/consents").status_code == 404


def test_a_viewer_reads_and_does_not_write(signed_in, viewer, guest):
    client, path = signed_in(viewer), f"/api/customers/{guest.pk}/consents"
    assert client.get(path).status_code == 200
    said = {"channel": "email", "granted": False, "source": "x"}
    assert client.post(path, said, content_type="application/json").status_code == 403


def test_a_no_binds_whoever_shares_the_address(ledger, make_customer, guest):
    partner = make_customer(address=guest.addresses.get().address)
    ledger(granted=False)
    assert not Consent.objects.get(customer=partner, is_current=True).granted
