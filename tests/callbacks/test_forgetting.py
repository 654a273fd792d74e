"""What a guest wrote goes with the guest: forgotten, or joined to the person it turns out to be."""

from datetime import timedelta

import pytest

from regulars.callbacks import inbound
from regulars.callbacks.models import InboundMessage
from regulars.customers.models import Consent, Suppression
from regulars.customers.suppression import suppress
from regulars.runs import erasing, merging

pytestmark = pytest.mark.django_db
NUMBER = "+12015550100"


@pytest.fixture
def wrote(organization, now):
    def make(customer, key, text="¿Tenéis terraza?", address=NUMBER):
        return InboundMessage.objects.create(
            organization=organization,
            customer=customer,
            channel="sms",
            address=address,
            key=key,
            text=text,
            at=now,
            received_at=now,
        )

    return make


def test_what_an_erased_guest_wrote_is_gone_also_from_before_we_knew_them(make_customer, wrote, now):
    guest = make_customer(channels=("sms",), address=NUMBER)
    other = make_customer(channels=("sms",), address="+12015550101")
    wrote(guest, "a")
    wrote(None, "b")
    kept = wrote(other, "c", address="+12015550101")
    erasing.erase(guest, now)
    assert list(InboundMessage.objects.all()) == [kept]


def test_what_two_wrote_who_are_one_is_one_persons(make_customer, wrote, now):
    keep, other = (make_customer(channels=("sms",), address=NUMBER) for _ in range(2))
    # The address is that of both: the same words stand with each.
    wrote(keep, "a")
    wrote(other, "a")
    wrote(other, "b")
    merging.merge(keep, other, now)
    assert list(InboundMessage.objects.filter(customer=keep).values_list("key", flat=True)) == ["a", "b"]
    assert Consent.objects.filter(customer=keep, is_current=True).count() == 1


def test_what_strangers_wrote_is_gone_after_a_while_and_their_stop_is_not(
    make_customer, organization, wrote, now
):
    guest = make_customer(channels=("sms",), address=NUMBER)
    known, _ = wrote(guest, "a"), wrote(None, "b", text="BAJA", address="+12015550101")
    suppress(organization, "+12015550101", "sms", "opt_out", "sms reply: BAJA")
    assert inbound.forget_strangers(now) == 0
    assert inbound.forget_strangers(now + timedelta(seconds=1)) == 1
    assert list(InboundMessage.objects.all()) == [known]
    assert Suppression.objects.exists()
