from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.customers import addresses
from regulars.customers.addresses import AddressError, normalise_email, normalise_phone
from regulars.customers.models import Address


@pytest.mark.parametrize(
    "text", ["612 345 678", "0034 612-34-56-78", "+34612345678", "34612345678", " (612) 345 678 "]
)
def test_one_number_in_any_spelling_is_one_address(text):
    assert normalise_phone(text, "ES") == "+34612345678"


@pytest.mark.parametrize("text", ["", "12", "+1 999 555 0123", "6,12E+08", "call me", "1" * 100_000, "\x00"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(AddressError):
        normalise_phone(text, "ES")


def test_an_email_address_is_kept_in_lower_case():
    assert normalise_email("  Ana.Ruiz@Example.COM ") == "ana.ruiz@example.com"


@pytest.mark.parametrize(
    "text", ["", "ana", "ana@", "a..b@example.com", "x" * 300 + "@example.com", "=cmd@x"]
)
def test_what_is_no_email_address_is_refused(text):
    with pytest.raises(AddressError):
        normalise_email(text)


@given(st.text(max_size=80))
def test_any_text_is_normalised_or_refused_and_normalising_again_changes_nothing(text):
    for normalise in (normalise_email, lambda value: normalise_phone(value, "ES")):
        try:
            normal = normalise(text)
        except AddressError:
            continue
        assert normalise(normal) == normal


def test_a_phone_reaches_whatsapp_and_sms_and_an_email_reaches_email(organization, make_customer):
    customer = make_customer(channels=())
    assert addresses.set_addresses(customer, phone="612345678", email="Ana@Example.com")
    rows = dict(Address.objects.filter(customer=customer).values_list("channel", "address"))
    assert rows == {"whatsapp": "+34612345678", "sms": "+34612345678", "email": "ana@example.com"}
    stored = bytes(Address.objects.get(customer=customer, channel="sms").fingerprint)
    assert stored == addresses.fingerprint(organization, "+34612345678")


def test_a_landline_is_kept_but_marked(make_customer):
    customer = make_customer(channels=())
    addresses.set_addresses(customer, phone="912345678")
    reasons = set(customer.addresses.values_list("channel", "bad_reason"))
    assert reasons == {("whatsapp", "landline"), ("sms", "landline")}


def test_setting_the_same_addresses_again_keeps_what_a_provider_said(make_customer, now):
    customer = make_customer(channels=())
    addresses.set_addresses(customer, phone="612345678")
    customer.addresses.update(bad_reason="permanent", bad_since=now - timedelta(days=1))
    assert not addresses.set_addresses(customer, phone="+34 612 345 678")
    assert set(customer.addresses.values_list("bad_reason", flat=True)) == {"permanent"}


def test_a_new_number_replaces_the_old_one_and_leaves_the_email(make_customer):
    customer = make_customer(channels=())
    addresses.set_addresses(customer, phone="612345678", email="ana@example.com")
    addresses.set_addresses(customer, phone="612345679")
    assert sorted(customer.addresses.values_list("address", flat=True)) == [
        "+34612345679",
        "+34612345679",
        "ana@example.com",
    ]
    addresses.set_addresses(customer, phone="")
    assert list(customer.addresses.values_list("address", flat=True)) == ["ana@example.com"]


def test_organizations_have_different_fingerprints_of_one_address(organization):
    other = type(organization)(slug="other", name="Other")
    address = "ana@example.com"
    assert addresses.fingerprint(organization, address) != addresses.fingerprint(other, address)
