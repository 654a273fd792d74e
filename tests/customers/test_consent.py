from datetime import timedelta

import pytest

from regulars.customers.consent import record
from regulars.customers.models import Consent
from regulars.customers.suppression import suppress


@pytest.fixture
def say(make_customer, now):
    customer = make_customer(channels=())

    def statement(granted, days=0, **extra):
        extra = {"source": "form"} | extra
        return record(customer, "email", "marketing", granted, at=now + timedelta(days=days), **extra)

    statement.customer = customer
    return statement


def granted_now(customer):
    return Consent.objects.get(customer=customer, channel="email", is_current=True).granted


def test_the_newest_statement_is_current_and_the_older_ones_stay(say):
    say(True)
    say(False, days=1)
    say(True, days=2)
    assert granted_now(say.customer)
    history = Consent.objects.filter(customer=say.customer).order_by("id")
    assert list(history.values_list("granted", "is_current")) == [
        (True, False),
        (False, False),
        (True, True),
    ]


def test_a_grant_older_than_the_withdrawal_does_not_raise_it(say):
    say(False)
    assert say(True, days=-1) is None
    assert say(True) is None
    assert not granted_now(say.customer)


def test_a_bulk_source_never_raises_a_withdrawn_consent(say):
    say(False)
    assert say(True, days=10, may_raise=False) is None
    assert not granted_now(say.customer)


def test_a_withdrawal_counts_even_if_it_is_learned_of_late(say):
    say(True)
    say(False, days=-3)
    assert not granted_now(say.customer)


def test_a_withdrawal_told_twice_does_not_outweigh_a_later_grant(say):
    say(False, source="STOP")
    say(True, days=1)
    assert say(False, source="STOP") is None
    assert granted_now(say.customer)


def test_repeating_a_statement_adds_no_row(say):
    say(True)
    assert say(True) is None
    say(False, days=1)
    assert say(False, days=2) is None
    assert Consent.objects.filter(customer=say.customer).count() == 2


def test_channels_and_purposes_are_apart(say, now):
    say(True)
    record(say.customer, "sms", "marketing", False, source="STOP", at=now)
    record(say.customer, "email", "transactional", False, source="mail", at=now)
    current = Consent.objects.filter(customer=say.customer, is_current=True)
    assert set(current.values_list("channel", "purpose", "granted")) == {
        ("email", "marketing", True),
        ("sms", "marketing", False),
        ("email", "transactional", False),
    }


def test_a_suppression_is_one_row_however_often_it_is_asked_for(organization):
    first = suppress(organization, "+34612345678", "sms", "stop", "callback")
    again = suppress(organization, "+34612345678", "sms", "bounce", "callback")
    assert again == first
    assert again.reason == "stop"
