"""What messages cost, and who is left when a month's money for a channel is gone."""

from datetime import timedelta
from decimal import Decimal

import pytest
from tests.runs.scripted import planned
from tests.runs.test_tact import give, reasons, told

from regulars.automations.models import Template
from regulars.runs import engine
from regulars.runs.models import Message

pytestmark = pytest.mark.django_db
PRICES = [
    {"account": "sandbox", "channel": "sms", "country": "FR", "amount": "0.5"},
    {"account": "sandbox", "channel": "sms", "amount": "0.1"},
    {"account": "another", "channel": "email", "amount": "9"},
]


@pytest.fixture
def priced(organization):
    give(organization, prices=PRICES)
    return organization


@pytest.fixture
def by_sms(make_automation, account):
    return lambda **fields: make_automation(channels=("sms",), **fields)


def test_the_preview_and_the_messages_say_what_they_cost(priced, lapsed, by_sms, now):
    lapsed(channels=("sms",))
    lapsed(channels=("sms",), address="+33000000101")
    automation = by_sms()
    found = engine.preview(automation, now)
    assert found.cost_by_channel == {"sms": Decimal("0.6")}
    planned(automation, now)
    assert sorted(Message.objects.values_list("cost", flat=True)) == [Decimal("0.1"), Decimal("0.5")]


def test_an_sms_costs_by_its_parts_in_the_guests_language(priced, lapsed, by_sms, now):
    lapsed(channels=("sms",))
    german = lapsed(channels=("sms",), language="de-AT")
    automation = by_sms(body="x" * 161)
    Template.objects.create(version=automation.current_version, channel="sms", language="de", body="Hallo")
    rows = {row.customer_id: row.cost for row in engine.preview(automation, now).rows}
    assert rows.pop(german.pk) == Decimal("0.1")
    assert list(rows.values()) == [Decimal("0.2")]


def test_a_channel_without_a_price_counts_as_free(priced, lapsed, make_automation, now):
    give(priced, monthly_limits={"email": "0"})
    lapsed()
    found = engine.preview(make_automation(), now)
    assert (found.send, found.cost_by_channel) == (1, {})


def test_the_rows_are_paid_in_their_order_and_the_rest_is_named(priced, lapsed, by_sms, now):
    give(priced, monthly_limits={"sms": "0.25"})
    customers = [lapsed(channels=("sms",)) for _ in range(4)]
    run = planned(by_sms(), now)
    assert [reasons(run)[each.pk] for each in customers] == [None, None, "budget", "budget"]
    assert engine.counts(run).skipped == 2


def test_what_this_month_has_cost_counts_and_what_was_withheld_does_not(priced, lapsed, by_sms, now):
    give(priced, monthly_limits={"sms": "0.25"})
    other = by_sms(name="other", family="", enabled=False)
    first, second, third = (lapsed(channels=("sms",)) for _ in range(3))
    told(first, other, now, cost=Decimal("0.1"))
    told(second, other, now, cost=Decimal(5), state="withheld", accepted_at=None)
    told(third, other, now, days_ago=20, cost=Decimal(5))
    run = planned(by_sms(), now)
    assert sorted(reasons(run).values(), key=str) == [None, "budget", "budget"]


def test_near_the_limit_the_lowest_in_the_list_stops_first(priced, lapsed, by_sms, now):
    give(priced, monthly_limits={"sms": "1"})
    high = by_sms(name="high", family="", position=1)
    low = by_sms(name="low", family="", position=2, parameters={"days": 80})
    other = by_sms(name="other", family="x", enabled=False)
    told(lapsed(channels=("sms",)), other, now, cost=Decimal("0.75"))
    assert engine.preview(low, now).skipped_by_reason == {"budget": 1}
    assert engine.preview(high, now + timedelta(minutes=1)).send == 1
