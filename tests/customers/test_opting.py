"""No and yes at an address: whom it binds, and what it leaves alone."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import connection

from regulars.customers import blocking, opting
from regulars.customers.addresses import fingerprint
from regulars.customers.models import Address, Consent, Suppression

pytestmark = pytest.mark.django_db
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NUMBER = "+34612345678"


def test_a_no_at_an_address_that_nobody_has_holds_for_whoever_comes(organization, now):
    assert opting.opt_out(organization, NUMBER, "sms", source="STOP", at=now) == []
    stop = Suppression.objects.get()
    assert (bytes(stop.fingerprint), stop.channel) == (fingerprint(organization, NUMBER), "sms")


def test_a_no_binds_one_channel_and_everybody_at_the_address(organization, make_customer, now):
    couple = [make_customer(channels=("sms", "whatsapp"), address=NUMBER) for _ in range(2)]
    assert opting.opt_out(organization, NUMBER, "sms", source="STOP", at=now) == couple
    held = Consent.objects.filter(is_current=True, granted=True).values_list("channel", flat=True)
    assert list(held) == ["whatsapp", "whatsapp"]


def test_a_yes_takes_back_the_stop_but_not_the_other_s_no(organization, make_customer, now):
    one, other = (make_customer(channels=("sms",), address=NUMBER, at=BEFORE) for _ in range(2))
    opting.opt_out(organization, NUMBER, "sms", source="STOP", at=BEFORE)
    assert opting.opt_in(one, "sms", source="START", at=now)
    assert not Suppression.objects.exists()
    assert not Consent.objects.get(customer=other, is_current=True).granted


@pytest.mark.parametrize("reason", ["bounce", "complaint", "manual"])
def test_a_yes_does_not_take_back_what_was_no_opting_out(organization, make_customer, now, reason):
    guest = make_customer(consents=())
    mark = fingerprint(organization, guest.addresses.get().address)
    Suppression.objects.create(organization=organization, fingerprint=mark, reason=reason)
    opting.opt_in(guest, "email", source="form", at=now)
    assert Suppression.objects.get().reason == reason


def test_a_yes_that_is_no_news_takes_nothing_back(organization, make_customer, now):
    guest = make_customer(channels=("sms",), address=NUMBER)
    opting.opt_out(organization, NUMBER, "sms", source="STOP", at=now)
    assert opting.opt_in(guest, "sms", source="START", at=BEFORE) is None
    assert Suppression.objects.exists()


def test_a_number_that_changed_hands_is_no_way_to_the_guest(organization, make_customer, now):
    make_customer(channels=("sms", "whatsapp"), address=NUMBER)
    assert opting.wrong_person(organization, NUMBER, "sms", now) == 1
    bad = Address.objects.values_list("channel", "bad_reason").order_by("channel")
    assert list(bad) == [("sms", "wrong_person"), ("whatsapp", "")]


def test_who_is_gone_stays_blocked(make_customer):
    guest = make_customer(do_not_contact=True, do_not_contact_reason=blocking.ERASED)
    assert not blocking.unblock(guest)
    assert not blocking.block(guest, "press")
    assert guest not in blocking.living()


@pytest.mark.django_db(transaction=True)
def test_a_couple_that_clicks_at_the_same_moment_does_not_wait_in_a_circle(organization, make_customer, now):
    couple = [make_customer(channels=("sms",), address=NUMBER, at=BEFORE) for _ in range(2)]
    start = threading.Barrier(2)

    def click(guest):
        start.wait()
        try:
            opting.opt_out_customer(guest, "sms", source="link", at=now)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(click, guest) for guest in couple]:
            done.result()
    assert Consent.objects.filter(is_current=True, granted=False).count() == 2
