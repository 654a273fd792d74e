from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regulars.customers.consent import counts_as_news, record, stricter
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


@pytest.mark.parametrize(
    "change",
    [
        {"granted": True},
        {"source": "elsewhere"},
        {"at": "2020-01-01T00:00Z"},
        {"evidence": {"form": 7}},
        {"recorded_at": "2020-01-01T00:00Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_database_refuses_to_change_what_was_said(say, change):
    said = say(False)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Consent.objects.filter(pk=said.pk).update(**change)


def test_the_database_refuses_to_forget_and_to_make_an_old_statement_current_again(say):
    first = say(True)
    say(False, days=1)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Consent.objects.filter(pk=first.pk).delete()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Consent.objects.filter(pk=first.pk).update(is_current=True)


def test_what_proves_a_statement_is_kept_with_it(say):
    said = say(True, wording="Send me news", wording_version="2026-03", evidence={"form": 7}, actor="ana")
    assert (said.wording, said.wording_version, said.evidence, said.actor) == (
        "Send me news",
        "2026-03",
        {"form": 7},
        "ana",
    )


WORDS = st.lists(
    st.tuples(st.booleans(), st.integers(-3, 3), st.booleans(), st.sampled_from(["form", "STOP"])),
    max_size=6,
)


@pytest.mark.django_db
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORDS)
def test_the_ledger_says_what_the_rule_says(make_customer, now, statements):
    """The set-based door and the pure rule agree, whatever is told in whatever order."""
    customer, current, told = make_customer(channels=()), None, set()
    for granted, days, may_raise, source in statements:
        at = now + timedelta(days=days)
        expected = (granted, at, source) not in told and counts_as_news(
            current, granted=granted, at=at, may_raise=may_raise
        )
        said = record(customer, "email", "marketing", granted, source=source, at=at, may_raise=may_raise)
        assert (said is not None) == expected
        if said is not None:
            current, told = said, told | {(granted, at, source)}
    held = Consent.objects.filter(customer=customer, is_current=True).first()
    assert held == current


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        (True, False, False),
        (False, True, False),
        (True, None, True),
        (None, False, False),
        (None, None, None),
    ],
)
def test_of_two_who_are_one_the_stricter_statement_holds(one, other, kept):
    rows = [said if said is None else Consent(granted=said) for said in (one, other)]
    found = stricter(*rows)
    assert (None if found is None else found.granted) == kept
