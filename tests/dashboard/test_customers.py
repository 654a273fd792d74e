"""One page answers why a guest did or did not get something."""

import pytest

from dashboard.pages import Page
from regulars.customers.models import Consent


def test_a_guest_sees_the_reason_for_and_against_each_automation(signed_in, automation, guests):
    ana = Page(signed_in.get(f"/guests/{guests[0].pk}")).text
    assert "is due, by E-mail" in ana
    eva = Page(signed_in.get(f"/guests/{guests[2].pk}")).text
    assert "has not agreed to marketing on a channel we could use" in eva


def test_a_guest_who_is_not_due_is_said_to_be_so(signed_in, automation, make_customer):
    guest = make_customer(first_name="Nora")
    assert "the occasion has not come" in Page(signed_in.get(f"/guests/{guest.pk}")).text


def test_the_evidence_and_the_next_date_are_shown(signed_in, automation, guests):
    text = Page(signed_in.get(f"/guests/{guests[2].pk}")).text
    assert "Why did or didn’t Eva Sol get this?" in text
    assert "There is no consent on record for E-mail." in text
    assert "not by itself" in text
    ana = Page(signed_in.get(f"/guests/{guests[0].pk}")).text
    assert "The last visit was on" in ana
    assert "It goes to guest100@example.com, by E-mail." in ana


def test_the_evidence_speaks_spanish(signed_in, automation, guests, make_customer):
    answer = signed_in.get(f"/guests/{guests[2].pk}", headers={"Accept-Language": "es"})
    text = Page(answer).text
    assert "¿Por qué Eva Sol recibió esto, o no?" in text
    assert "No consta ningún consentimiento para Correo" in text
    nobody = make_customer(first_name="Nora")
    text = Page(signed_in.get(f"/guests/{nobody.pk}", headers={"Accept-Language": "es"})).text
    assert "no le toca: el motivo aún no se ha dado" in text
    assert "No consta ninguna visita." in text


def test_a_viewer_sees_no_address_among_the_evidence(as_role, automation, absent):
    guest = absent(address="ana@example.com")
    text = Page(as_role("viewer").get(f"/guests/{guest.pk}")).text
    assert "It goes to a•••@example.com" in text
    assert "ana@example.com" not in text


def test_consents_are_shown_with_their_history(signed_in, make_customer, now):
    guest = make_customer()
    Consent.objects.filter(customer=guest).update(is_current=False)
    Consent.objects.create(customer=guest, channel="email", granted=False, at=now, source="STOP")
    text = Page(signed_in.get(f"/guests/{guest.pk}")).text
    assert "withdrawn" in text
    assert "superseded" in text
    assert "STOP" in text


def said_by(guest, **fields):
    """Something that a guest wrote."""
    from django.utils import timezone

    from regulars.callbacks.models import InboundMessage

    moment = timezone.now()
    fields = {"text": "Quiero la baja, +1 201 555 0142", "needs_attention": True} | fields
    return InboundMessage.objects.create(
        organization=guest.organization,
        customer=guest,
        channel="sms",
        key=f"SM{InboundMessage.objects.count()}",
        at=moment,
        received_at=moment,
        **fields,
    )


def test_what_a_guest_wrote_is_on_the_page_until_somebody_has_read_it(signed_in, make_customer):
    guest = make_customer()
    row = said_by(guest)
    said_by(guest, text="BAJA", intent="stop", needs_attention=False)
    text = Page(signed_in.get(f"/guests/{guest.pk}")).text
    assert "Quiero la baja, +1 201 555 0142" in text
    assert "wants no more marketing" in text
    assert text.count("please read") == 1
    assert signed_in.post(f"/inbound/{row.pk}/looked-at").status_code == 302
    assert "please read" not in Page(signed_in.get(f"/guests/{guest.pk}")).text
    assert signed_in.post(f"/inbound/{row.pk + 2}/looked-at").status_code == 404


def test_what_is_to_be_read_is_listed_before_the_guests(signed_in, make_customer, guests):
    from regulars.callbacks.models import InboundMessage

    row = said_by(make_customer(first_name="Nora"), text="Cancelar")
    shared = said_by(make_customer(first_name="Iván"), text="Cancelar")
    InboundMessage.objects.filter(pk=shared.pk).update(key=row.key)
    said_by(make_customer(), text="Hola", needs_attention=False)
    stranger = said_by(guests[0], text="¿Quién es?")
    InboundMessage.objects.filter(pk=stranger.pk).update(customer=None, address="+12015550142")
    text = Page(signed_in.get("/guests")).text
    assert text.count("Cancelar") == 1
    assert "¿Quién es? +12015550142" in text
    assert "Hola" not in text
    signed_in.post(f"/inbound/{row.pk}/looked-at")
    assert signed_in.post(f"/inbound/{stranger.pk}/looked-at").url == "/guests"
    assert "Please read" not in Page(signed_in.get("/guests")).text


def test_a_viewer_reads_no_number_and_decides_nothing(as_role, make_customer):
    guest = make_customer()
    row, client = said_by(guest), as_role("viewer")
    text = Page(client.get(f"/guests/{guest.pk}")).text
    assert "Quiero la baja" in text
    assert "555 0142" not in text
    assert "I have read it" not in text
    assert client.post(f"/inbound/{row.pk}/looked-at").status_code == 403


def test_the_messages_of_a_guest_are_listed(signed_in, guests, make_run):
    make_run(guests[:1], ["failed"])
    assert "Mailbox of guest@example.com is full" in Page(signed_in.get(f"/guests/{guests[0].pk}")).text


@pytest.mark.parametrize("sought", ["ana", "Ana Ruiz", "555-0142", "+1 201 555 0142", "ANA@example", "A-7"])
def test_a_guest_is_found_by_name_address_or_number(signed_in, make_customer, sought):
    make_customer(
        first_name="Ana",
        last_name="Ruiz",
        channels=("email",),
        address="ana@example.com",
        external_id="A-7",
    )
    from regulars.customers.models import Address, Customer

    guest = Customer.objects.get(first_name="Ana")
    Address.objects.create(
        organization=guest.organization,
        customer=guest,
        channel="sms",
        address="+12015550142",
        fingerprint=b"x",
    )
    make_customer(first_name="Luis", address="luis@example.com")
    found = signed_in.get("/guests", {"q": sought}).context["guests"]
    assert [each.first_name for each in found] == ["Ana"]


def test_names_are_shown_as_text_never_as_markup(signed_in, absent, automation):
    guest = absent(first_name="<script>alert(1)</script>")
    for page in (f"/guests/{guest.pk}", "/guests", f"/automations/{automation.pk}/preview"):
        assert "<script>alert" not in signed_in.get(page).content.decode(), page
