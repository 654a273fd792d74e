"""A number that nobody has confirmed for long may be somebody else's: no marketing to it, where asked (E26)."""

from datetime import timedelta

import pytest
from tests.runs.scripted import planned, send_all

from regulars.customers import service_window
from regulars.customers.models import Address
from regulars.hospitality.models import Reservation
from regulars.organizations.models import Organization
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine
from regulars.runs.models import Message, RunVerdict

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = timedelta(days=400)


@pytest.fixture
def strict(organization):
    Organization.objects.update(tact=organization.tact | {"numbers_confirmed_within_days": 365})
    organization.refresh_from_db()


@pytest.fixture
def guest(lapsed, now):
    """Agreed over a year ago, to everything; each channel has its own address."""

    def make(*channels):
        customer = lapsed(channels=channels, at=now - LONG_AGO)
        for number, one in enumerate(Address.objects.filter(customer=customer).exclude(channel="email")):
            Address.objects.filter(pk=one.pk).update(address=f"+1201555010{number}")
        return customer

    return make


def reason(automation, now):
    run = planned(automation, now)
    return RunVerdict.objects.get(run_id=run.pk).reason


def test_an_old_yes_is_enough_where_nobody_asks_for_more(guest, make_automation, now):
    guest("sms")
    assert not reason(make_automation(channels=("sms",)), now)


def test_a_number_not_confirmed_for_long_gets_no_marketing(strict, guest, make_automation, now):
    customer = guest("sms")
    automation = make_automation(channels=("sms",))
    assert reason(automation, now) == "suppressed"
    facts = engine.explain(customer, now, automation)[0].evidence
    assert [fact.kind for fact in facts][-1] == "unconfirmed"


def test_whoever_has_written_from_it_has_confirmed_it(strict, guest, organization, make_automation, now):
    customer = guest("sms")
    number = customer.addresses.get().address
    service_window.note_inbound(organization, "sms", number, now - timedelta(days=30))
    assert not reason(make_automation(channels=("sms",)), now)


def test_a_new_yes_confirms_it(strict, lapsed, make_automation, now):
    lapsed(channels=("sms",), at=now - timedelta(days=364))
    assert not reason(make_automation(channels=("sms",)), now)


def test_e_mail_is_no_number(strict, guest, make_automation, now):
    guest("sms", "email")
    run = planned(make_automation(channels=("sms", "email")), now)
    assert Message.objects.get(run=run).channel == "email"


def test_a_fallback_does_not_use_it_either(strict, guest, make_automation, provider, now):
    customer = guest("email", "sms")
    run = planned(make_automation(channels=("email", "sms"), policy={"fallback": True}), now)
    gone = Outcome(Verdict.REJECTED, code="5.1.1", error="No such mailbox", bad_address=True, permanent=True)
    provider.answers[customer.addresses.get(channel="email").address] = gone
    send_all(run, now)
    message = Message.objects.get(run=run)
    assert (message.state, message.channel) == ("failed", "email")


def test_a_confirmation_of_a_booking_reaches_it(strict, guest, venue, make_automation, now):
    customer = guest("sms")
    Reservation.objects.create(
        organization=customer.organization,
        customer=customer,
        venue=venue,
        starts_at=now + timedelta(days=1),
        confirmed_at=now,
    )
    assert not reason(make_automation("reservation_confirmation", channels=("sms",)), now)
