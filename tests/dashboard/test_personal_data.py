"""A guest's rights as pages, and the trail of who did what."""

import json

import pytest

from dashboard.pages import Page
from regulars.customers.models import Consent, Customer
from regulars.organizations.models import AuditEvent


def test_nothing_is_erased_or_merged_before_the_question_is_answered(as_role, guests):
    client, (one, two, _) = as_role("manager"), guests
    assert "Forget Ana Ruiz?" in Page(client.get(f"/guests/{one.pk}/erase")).text
    assert "Luis Vega" in Page(client.get(f"/guests/{one.pk}/merge?other={two.pk}")).text
    assert not Customer.objects.filter(do_not_contact=True).exists()
    assert not AuditEvent.objects.exists()


def test_a_guest_is_erased_and_no_list_shows_the_row_that_is_left(as_role, guests):
    client, guest = as_role("manager"), guests[0]
    client.post(f"/guests/{guest.pk}/erase")
    found = Page(client.get("/guests")).text
    assert "Ana" not in found
    assert f"Guest {guest.pk}" not in found
    assert AuditEvent.objects.get().user.email == "manager@example.com"


def test_a_merged_guest_s_page_is_that_of_the_one(as_role, guests):
    client, (one, two, _) = as_role("owner"), guests
    client.post(f"/guests/{one.pk}/merge", {"other": two.pk})
    assert client.get(f"/guests/{two.pk}").url == f"/guests/{one.pk}"
    again = client.post(f"/guests/{one.pk}/merge", {"other": two.pk}, follow=True)
    assert "cannot become one" in Page(again).text


def test_the_export_is_a_file(as_role, guests):
    answer = as_role("owner").get(f"/guests/{guests[0].pk}/export")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert json.loads(answer.content)["guest"][0]["first_name"] == "Ana"


@pytest.mark.parametrize("verb", ["erase", "export", "merge"])
def test_staff_neither_erase_nor_export_nor_merge(as_role, guests, verb):
    client, guest = as_role("staff"), guests[0]
    assert client.get(f"/guests/{guest.pk}/{verb}").status_code == 403
    assert f"/guests/{guest.pk}/{verb}" not in client.get(f"/guests/{guest.pk}").content.decode()


def test_staff_block_and_take_it_back(as_role, guests):
    client, guest = as_role("staff"), guests[0]
    client.post(f"/guests/{guest.pk}/block", {"reason": "press"})
    guest.refresh_from_db()
    assert (guest.do_not_contact, guest.do_not_contact_reason) == (True, "press")
    client.post(f"/guests/{guest.pk}/block")
    guest.refresh_from_db()
    assert not guest.do_not_contact


def test_the_trail_is_for_managers_and_shows_who_and_what(as_role, guests):
    client = as_role("manager")
    client.post(f"/guests/{guests[0].pk}/erase")
    text = Page(client.get("/audit")).text
    assert "manager@example.com" in text
    assert "customer.erased" in text
    assert as_role("staff").get("/audit").status_code == 403


def test_a_decision_about_an_unknown_message_is_in_the_trail(as_role, guests, make_run):
    run = make_run(guests, ["unknown"], state="finished")
    message = run.message_set.get()
    as_role("staff").post(f"/messages/{message.pk}/settle", {"decision": "arrived"})
    event = AuditEvent.objects.get(action="message.settled")
    assert (event.details["decision"], event.details["message"]) == ("arrived", message.pk)


def test_a_no_that_was_told_to_the_staff_holds_and_says_who_wrote_it_down(as_role, guests):
    client, guest = as_role("staff"), guests[0]
    assert "the guest said no" in Page(client.get(f"/guests/{guest.pk}")).text
    client.post(f"/guests/{guest.pk}/withdraw", {"channel": "email"})
    said = Consent.objects.get(customer=guest, is_current=True)
    assert (said.granted, said.source, said.actor) == (False, "told the staff", "staff@example.com")
    assert AuditEvent.objects.get().action == "consent.withdrawn"
    assert "the guest said no" not in Page(client.get(f"/guests/{guest.pk}")).text


def test_somebody_else_answers_at_the_address(as_role, guests):
    client, guest = as_role("staff"), guests[0]
    client.post(f"/guests/{guest.pk}/wrong-person", {"channel": "email"})
    assert guest.addresses.get().bad_reason == "wrong_person"
    assert client.post(f"/guests/{guest.pk}/wrong-person", {"channel": "fax"}).status_code == 404


@pytest.mark.parametrize("verb", ["withdraw", "wrong-person", "block"])
def test_a_viewer_changes_nothing(as_role, guests, verb):
    client, guest = as_role("viewer"), guests[0]
    assert client.post(f"/guests/{guest.pk}/{verb}", {"channel": "email"}).status_code == 403
