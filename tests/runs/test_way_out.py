"""The way out on messages as they leave, and why none leaves without."""

import pytest
from tests.runs.scripted import planned, send_all

from regulars.customers.models import Consent
from regulars.customers.unsubscribe_links import Link, read
from regulars.providers.base import Outcome, Verdict
from regulars.runs.models import Message, Run

pytestmark = pytest.mark.django_db(transaction=True)


def token_of(call):
    return call.headers["List-Unsubscribe"].removeprefix("<https://regulars.example.com/u/")[:-1]


def test_an_advertising_mail_carries_a_link_that_is_its_own(lapsed, make_automation, provider, now):
    guests = {lapsed().pk, lapsed().pk}
    send_all(planned(make_automation(body="Vuelve"), now), now)
    assert len(provider.calls) == 2
    for call in provider.calls:
        message = Message.objects.get(pk=call.message_id)
        assert read(token_of(call)) == Link(message.customer_id, message.pk, "email")
        assert call.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert f"/u/{token_of(call)}" in call.html
        assert f"/u/{token_of(call)}" in call.body
        guests.discard(message.customer_id)
    assert not guests


def test_a_text_message_names_the_word_and_carries_no_header(lapsed, make_automation, provider, now):
    lapsed(channels=("sms",))
    send_all(planned(make_automation(channels=("sms",), body="Vuelve"), now), now)
    (call,) = provider.calls
    assert (call.body, call.headers) == ("Vuelve\nPara no recibir publicidad responde STOP", {})


def test_without_a_public_address_no_advertising_mail_leaves_and_its_run_says_why(
    lapsed, make_automation, provider, account, now, settings
):
    settings.PUBLIC_URL = ""
    type(account).objects.update(kind="smtp")
    lapsed()
    send_all(planned(make_automation(), now), now)
    assert not provider.calls
    assert "REGULARS_PUBLIC_URL" in Run.objects.get().reason


def test_the_sandbox_needs_no_public_address(lapsed, make_automation, provider, now, settings):
    settings.PUBLIC_URL = ""
    lapsed()
    send_all(planned(make_automation(), now), now)
    (call,) = provider.calls
    assert call.headers["List-Unsubscribe"].startswith("<http://127.0.0.1:8000/u/")


def test_a_guest_who_has_told_the_provider_to_stop_has_withdrawn_and_so_has_whoever_shares_the_number(
    lapsed, make_automation, make_customer, provider, now
):
    guest = lapsed(channels=("sms",))
    address = guest.addresses.get().address
    partner = make_customer(channels=("sms",), address=address)
    provider.answers[address] = Outcome(Verdict.REJECTED, code="21610", opt_out=True)
    send_all(planned(make_automation(channels=("sms",)), now), now)
    held = Consent.objects.filter(is_current=True, channel="sms").order_by("customer_id")
    assert list(held.values_list("customer_id", "granted", "source")) == [
        (guest.pk, False, "provider answer"),
        (partner.pk, False, "provider answer"),
    ]
    assert held[0].evidence == {"message": Message.objects.get().pk}
