"""When a guest last wrote, and the ids that stand in place of a number."""

from datetime import timedelta

import pytest

from regulars.customers.addresses import (
    AddressError,
    normalise_user_id,
    set_addresses,
    set_whatsapp_user_id,
)
from regulars.customers.models import Address
from regulars.customers.service_window import WINDOW, is_open, last_inbound_at, note_inbound
from regulars.lib.masking import mask_text

USER_ID = "ES.13491208655302741918"


def test_the_window_is_open_for_a_day(now):
    assert is_open(now, now)
    assert is_open(now - WINDOW + timedelta(seconds=1), now)
    assert not is_open(now - WINDOW, now)
    assert not is_open(None, now)


def test_the_last_message_counts_in_whatever_order_they_are_told(make_customer, organization, now):
    guest = make_customer(channels=("whatsapp",), address="+12015550001")
    assert last_inbound_at(guest) is None
    for hours in (2, 5, 2):
        at = now - timedelta(hours=hours)
        assert note_inbound(organization, "whatsapp", "+12015550001", at) == 1
    assert last_inbound_at(guest) == now - timedelta(hours=2)


def test_it_is_about_one_channel_one_address_and_one_organization(make_customer, organization, now):
    guest = make_customer(channels=("whatsapp", "sms"), address="+12015550001")
    note_inbound(organization, "sms", "+12015550001", now)
    assert note_inbound(organization, "whatsapp", "+12015550002", now) == 0
    assert last_inbound_at(guest) is None
    assert last_inbound_at(guest, "sms") == now


@pytest.mark.parametrize("text", [USER_ID, f" {USER_ID} ", "US.ENT.11815799212886844830", "ES.aB9"])
def test_user_ids_are_taken_as_they_are(text):
    assert normalise_user_id(text) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "ES", "ES.", "es.123", "+34600123456", "ESP.1", "ES.1 2", "ES." + "1" * 129]
)
def test_what_is_no_user_id_is_refused(text):
    with pytest.raises(AddressError, match="user id"):
        normalise_user_id(text)


def test_a_user_id_stands_beside_the_number_and_for_one_business(make_customer):
    guest = make_customer(channels=("whatsapp",), address="+12015550001")
    assert set_whatsapp_user_id(guest, "77", USER_ID)
    assert not set_whatsapp_user_id(guest, "77", USER_ID)
    set_whatsapp_user_id(guest, "88", "ES.other9")
    rows = guest.addresses.filter(channel="whatsapp").order_by("position", "portfolio")
    assert [(row.address, row.portfolio) for row in rows] == [
        ("+12015550001", ""),
        (USER_ID, "77"),
        ("ES.other9", "88"),
    ]


def test_a_changed_user_id_takes_the_place_of_the_old_one(make_customer):
    guest = make_customer(channels=())
    set_whatsapp_user_id(guest, "77", USER_ID)
    set_whatsapp_user_id(guest, "77", "ES.new1")
    assert list(guest.addresses.values_list("address", flat=True)) == ["ES.new1"]
    assert set_whatsapp_user_id(guest, "77", "")
    assert not guest.addresses.exists()


def test_another_number_leaves_the_user_id(make_customer):
    guest = make_customer(channels=())
    set_whatsapp_user_id(guest, "77", USER_ID)
    set_addresses(guest, phone="+12015550123")
    set_addresses(guest, phone="")
    assert list(Address.objects.values_list("address", flat=True)) == [USER_ID]


def test_a_user_id_needs_its_business(make_customer):
    with pytest.raises(AddressError, match="portfolio"):
        set_whatsapp_user_id(make_customer(channels=()), "", USER_ID)


def test_a_user_id_is_masked_like_a_number():
    shown = mask_text(f"Failed to send to {USER_ID}: no (US.ENT.aB3dE5fG7h)")
    assert USER_ID not in shown
    assert "aB3dE5fG7h" not in shown
    assert mask_text("IT.Departments in ES. 13 guests") == "IT.Departments in ES. 13 guests"
