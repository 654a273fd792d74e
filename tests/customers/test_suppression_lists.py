"""Lists of those who want no advertising: plain or hashed, before or after we know the address."""

import hashlib

import pytest

from regulars.customers.addresses import fingerprint, set_addresses
from regulars.customers.models import Address, HashedSuppression, Suppression
from regulars.customers.suppression_lists import Stop, import_lines

pytestmark = pytest.mark.django_db
ROBINSON = Stop("Lista Robinson 2026-11")


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def taken(organization, *lines, stop=ROBINSON):
    return [(answer.line, answer.result) for answer in import_lines(organization, lines, stop)]


def is_stopped(organization, address, channel=""):
    mark = fingerprint(organization, address)
    return Suppression.objects.filter(fingerprint=mark, channel=channel, reason="opt_out").exists()


def test_each_line_is_answered(organization):
    lines = [
        "Ana@Example.com",
        "612 345 678",
        "",
        "nobody",
        "ana@example.com;Ana;Ruiz",
        digest("x@example.com"),
    ]
    found = list(import_lines(organization, lines, ROBINSON))
    assert [(answer.line, answer.result) for answer in found] == [
        (1, "added"),
        (2, "added"),
        (4, "rejected"),
        (5, "known"),
        (6, "added"),
    ]
    assert "is not a phone number" in found[2].reason
    assert is_stopped(organization, "ana@example.com")
    assert is_stopped(organization, "+34612345678")
    assert taken(organization, *lines)[0] == (1, "known")


@pytest.mark.parametrize(
    ("address", "hashed"),
    [
        ("ana@example.com", "ana@example.com"),
        ("+34612345678", "+34612345678"),
        ("+34612345678", "34612345678"),
        ("+34612345678", "0034612345678"),
    ],
)
@pytest.mark.parametrize("known_before", [True, False])
def test_a_hash_stops_whoever_has_the_address_now_or_later(
    organization, make_customer, address, hashed, known_before
):
    guest = make_customer(channels=())
    contact = {"email": address} if "@" in address else {"phone": address}
    if known_before:
        set_addresses(guest, **contact)
    assert taken(organization, digest(hashed).upper()) == [(1, "added")]
    if not known_before:
        set_addresses(guest, **contact)
    assert is_stopped(organization, address)
    assert HashedSuppression.objects.count() == 1


def test_a_file_of_guests_heeds_the_hashes(organization, now):
    from regulars.customers.importing import rows

    taken(organization, digest("ana@example.com"))
    row = {"external_id": "1", "email": "ana@example.com", "email_consent": "yes"}
    rows.upsert("customers", [row], organization, now=now, live=True)
    assert is_stopped(organization, "ana@example.com")


def test_a_hash_is_heeded_in_its_own_organization_only(organization, make_customer):
    from regulars.organizations.models import Organization

    other = Organization.objects.create(slug="other", name="Other")
    taken(other, digest("ana@example.com"))
    make_customer(address="ana@example.com")
    assert not Suppression.objects.exists()


def test_the_stop_outlives_the_address(organization, make_customer):
    guest = make_customer(address="ana@example.com")
    taken(organization, digest("ana@example.com"))
    Address.objects.filter(customer=guest).delete()
    assert is_stopped(organization, "ana@example.com")


@pytest.mark.parametrize(
    ("channel", "line", "result"),
    [
        ("sms", "612345678", "added"),
        ("sms", "ana@example.com", "rejected"),
        ("email", "612345678", "rejected"),
        ("email", digest("ana@example.com"), "added"),
    ],
)
def test_a_list_for_one_channel(organization, make_customer, channel, line, result):
    make_customer(address="ana@example.com", channels=("email",))
    assert taken(organization, line, stop=Stop("list", channel)) == [(1, result)]
    assert set(Suppression.objects.values_list("channel", flat=True)) <= {channel}


def test_a_long_list_goes_in_batches(organization, monkeypatch):
    monkeypatch.setattr("regulars.customers.suppression_lists.BATCH", 3)
    lines = [f"guest{number}@example.com" for number in range(8)]
    assert [result for _, result in taken(organization, *lines)] == ["added"] * 8
    assert Suppression.objects.count() == 8
