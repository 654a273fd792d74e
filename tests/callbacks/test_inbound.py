"""What guests write: kept, carried out, confirmed at most once, and never turned around by what comes late."""

from datetime import timedelta
from itertools import permutations

import pytest

from regulars.automations import callback_access
from regulars.automations.models import ProviderAccount
from regulars.callbacks import inbound
from regulars.callbacks.models import InboundMessage, Reply
from regulars.customers.addresses import fingerprint
from regulars.customers.models import Address, Consent, Suppression
from regulars.customers.service_window import last_inbound_at
from regulars.customers.suppression import suppress
from regulars.providers.callbacks import Choice, Inbound
from regulars.runs.models import Message
from runs.ended import ended_run

pytestmark = pytest.mark.django_db
NUMBER = "+12015550100"
USER_ID = "ES.13491208655302741918"


@pytest.fixture
def account(make_account):
    return make_account("twilio")


@pytest.fixture
def guest(make_customer):
    return make_customer(channels=("sms",), address=NUMBER, language="es")


@pytest.fixture
def say(account, now):
    """A guest writes, so many minutes after noon; the confirmation that waits afterwards, if there is one."""
    keys = iter(range(1_000))

    def write(text, minutes=0, *, address=NUMBER, channel="sms", key=None, said=None, **fields):
        at = now + timedelta(minutes=minutes)
        said = said or Inbound(key or f"SM{next(keys)}", channel, address, text, at, **fields)
        waits = inbound.take(said, account, callback_access.access_of(account), now + timedelta(hours=1))
        reply = Reply.objects.order_by("-pk").first()
        return reply.body if waits else None

    return write


def granted(customer, channel="sms"):
    return Consent.objects.get(customer=customer, channel=channel, is_current=True).granted


def stops():
    return list(Suppression.objects.values_list("channel", "reason"))


def test_stop_withdraws_consent_and_is_confirmed_once(say, guest):
    assert say("¡Baja!") == "Casa Pepe: baja hecha, ya no te llegan promociones por SMS. Para volver: ALTA"
    assert not granted(guest)
    assert stops() == [("sms", "opt_out")]
    assert Consent.objects.get(customer=guest, is_current=True).source == "sms reply: ¡Baja!"
    assert say("Baja", 1) is None
    assert say("STOP", 2) is None
    assert Consent.objects.filter(customer=guest, granted=False).count() == 1
    assert InboundMessage.objects.filter(customer=guest, intent="stop").count() == 3


def test_start_gives_back_what_stop_took(say, guest):
    say("Baja")
    assert say("Alta", 1).startswith("Casa Pepe: alta hecha")
    assert granted(guest)
    assert stops() == []
    assert say("Alta", 2) is None
    assert say("Baja", 3) is not None
    assert not granted(guest)


def test_start_gives_nobody_what_they_never_had(say, make_customer):
    guest = make_customer(channels=("sms",), address=NUMBER, consents=())
    assert say("Alta") is None
    assert not Consent.objects.filter(customer=guest).exists()


@pytest.mark.parametrize("reason", ["complaint", "bounce", "manual"])
@pytest.mark.parametrize("text", ["Alta", "Baja"])
def test_nobody_who_is_suppressed_for_another_reason_hears_anything(say, guest, account, reason, text):
    suppress(account.organization, NUMBER, "sms", reason)
    assert say(text) is None
    assert stops() == [("sms", reason)]


def test_an_opt_out_of_everything_is_not_lifted_by_one_channel(say, guest, account):
    say("Baja")
    suppress(account.organization, NUMBER, "", "opt_out")
    assert say("Alta", 1) is None
    assert not granted(guest)


def test_a_banned_guest_is_obeyed_and_not_answered(say, guest):
    type(guest).objects.update(do_not_contact=True)
    assert say("Baja") is None
    assert not granted(guest)


def test_stop_binds_everybody_who_shares_the_number_and_only_this_channel(say, guest, make_customer):
    other = make_customer(channels=("sms", "whatsapp"), address=NUMBER)
    say("Baja")
    assert not granted(guest)
    assert not granted(other)
    assert granted(other, "whatsapp")
    assert InboundMessage.objects.count() == 2
    assert Reply.objects.count() == 1


def test_stop_of_a_stranger_binds_whoever_has_the_number_later(say, account):
    assert say("Baja") is not None
    assert bytes(Suppression.objects.get().fingerprint) == fingerprint(account.organization, NUMBER)
    assert InboundMessage.objects.get().customer is None


@pytest.mark.parametrize("order", permutations([("Alta", 0), ("Baja", 10), ("Alta", 20)]))
def test_the_last_word_counts_in_whatever_order_they_come(say, guest, order):
    for text, minutes in order:
        say(text, minutes)
    assert granted(guest)
    assert stops() == []


@pytest.mark.parametrize("order", permutations([("Baja", 0), ("Alta", 10), ("Baja", 20)]))
def test_the_last_no_counts_in_whatever_order_they_come(say, guest, order):
    for text, minutes in order:
        say(text, minutes)
    assert not granted(guest)
    assert stops() == [("sms", "opt_out")]


def test_the_same_message_twice_is_one(say, guest):
    assert say("Baja", key="SM1") is not None
    say("Alta", 1)
    assert say("Baja", key="SM1") is None
    assert granted(guest)
    assert InboundMessage.objects.count() == 2


def test_free_text_is_kept_and_changes_nothing(say, guest):
    assert say("Mesa para dos, por favor") is None
    row = InboundMessage.objects.get()
    assert (row.customer, row.text, row.intent, row.needs_attention) == (
        guest,
        "Mesa para dos, por favor",
        "text",
        False,
    )
    assert granted(guest)


def test_a_novel_is_cut(say, guest):
    say("x" * 100_000)
    assert len(InboundMessage.objects.get().text) == inbound.MOST_TEXT


@pytest.mark.parametrize(
    ("purpose", "days_ago", "stopped"),
    [("transactional", 1, False), ("marketing", 1, True), ("transactional", 8, True), (None, 0, True)],
)
def test_cancel_is_about_what_it_answers(say, guest, answered, purpose, days_ago, stopped):
    if purpose:
        answered(purpose, days_ago)
    say("Cancelar")
    assert granted(guest) is not stopped
    assert InboundMessage.objects.get().needs_attention


@pytest.fixture
def answered(account, automation, now):
    """A message was handed over to the guest's number so many days ago."""

    def send(purpose, days_ago):
        ended_run(automation, account, ["sent"], now, accepted_at=now - timedelta(days=days_ago))
        Message.objects.update(address=NUMBER, channel="sms", purpose=purpose)

    return send


@pytest.mark.parametrize("fields", [{"answered": True}, {}])
def test_what_the_provider_has_confirmed_is_not_confirmed_again(say, guest, account, fields):
    if not fields:
        callback_access.configure(account, confirms=False)
    assert say("Stop", **fields) is None
    assert not granted(guest)


def test_a_choice_in_the_app_counts_and_is_not_answered(say, make_customer, now):
    guest = make_customer(channels=("whatsapp", "sms"), address=NUMBER)
    for stop, minutes in ((True, 0), (False, 1)):
        choice = Choice(
            f"k{minutes}", "whatsapp", NUMBER, stop, "User requested it", now + timedelta(minutes=minutes)
        )
        assert say("", said=choice) is None
        assert granted(guest, "whatsapp") is not stop
    assert granted(guest, "sms")
    assert InboundMessage.objects.filter(text="User requested it").count() == 2


def test_somebody_who_hides_the_number_is_shown_to_a_person(say):
    assert say("Baja", address="", channel="whatsapp") is None
    row = InboundMessage.objects.get()
    assert (row.needs_attention, row.customer, stops()) == (True, None, [])


def test_what_was_written_to_another_number_of_ours_is_answered_from_there(say, guest, make_account):
    second = make_account("twilio", name="second", options={"from": "+12015550188"})
    assert say("Baja", to="+12015550188") is not None
    assert InboundMessage.objects.get().account == second
    say("Hola", 1, to="+12015550177")
    assert InboundMessage.objects.get(text="Hola").account != second


def test_an_accounts_own_words_count(say, guest, account):
    callback_access.configure(account, stop_words=["Fora"])
    assert say("fora!") is not None
    assert not granted(guest)


def test_a_clock_that_is_ahead_does_not_reach_into_the_future(say, guest, now):
    say("Baja", 60 * 24 * 365)
    assert InboundMessage.objects.get().at == now + timedelta(hours=1)
    assert say("Alta", 60 * 24 * 365) is None


def test_whoever_writes_may_be_answered_freely_for_a_day(say, make_customer, now):
    marta = make_customer(channels=("whatsapp",), address=NUMBER)
    jon = make_customer(channels=("whatsapp",), address="ES.13491208655302741918")
    say("", said=Choice("k", "whatsapp", NUMBER, stop=True, words="", at=now))
    assert last_inbound_at(marta) is None
    say("Hola", 5, channel="whatsapp")
    say("Hola", 3, channel="whatsapp")
    say("Hola", 4, channel="whatsapp", address="ES.13491208655302741918")
    assert last_inbound_at(marta) == now + timedelta(minutes=5)
    assert last_inbound_at(jon) == now + timedelta(minutes=4)


@pytest.fixture
def family(make_customer):
    """Two guests who gave the same number, for texts and for WhatsApp."""
    return [make_customer(channels=("sms", "whatsapp"), address=NUMBER, language="es") for _ in range(2)]


def test_whoever_says_wrong_number_hears_no_more_on_either_channel(say, family):
    assert say("Se ha equivocado de número.") is None
    bad = Address.objects.filter(address=NUMBER).values_list("bad_reason", flat=True)
    assert set(bad) == {"wrong_person"}
    assert sorted(stops()) == [("sms", "opt_out"), ("whatsapp", "opt_out")]
    rows = InboundMessage.objects.filter(customer__in=family)
    assert {(row.intent, row.needs_attention) for row in rows} == {("wrong_person", True)}


def test_a_wrong_number_takes_no_guest_s_consent(say, family):
    say("wrong number")
    assert all(granted(guest) for guest in family)


def test_whoever_has_the_number_now_may_start_again_and_is_nobody_s_guest(say, family):
    say("wrong number")
    assert say("Alta", minutes=5) is None
    assert stops() == [("whatsapp", "opt_out")]
    assert set(Address.objects.values_list("bad_reason", flat=True)) == {"wrong_person"}


def test_a_longer_text_about_a_wrong_number_is_for_a_person(say, guest):
    say("Hola, creo que se ha equivocado de número porque no conozco ese sitio")
    row = InboundMessage.objects.get()
    assert (row.intent, row.needs_attention) == ("text", True)
    assert not stops()


@pytest.fixture
def at_meta(make_account):
    account = make_account("meta")
    ProviderAccount.objects.filter(pk=account.pk).update(portfolio="77")
    account.refresh_from_db()
    return account


@pytest.mark.parametrize(
    ("text", "kept"), [("¿Mesa para dos?", [(USER_ID, "77")]), ("Número equivocado", [])]
)
def test_a_user_id_told_beside_the_number_is_kept_beside_it(at_meta, make_customer, now, text, kept):
    guest = make_customer(channels=("whatsapp",), address=NUMBER)
    said = Inbound("wamid.1", "whatsapp", NUMBER, text, now, user_id=USER_ID)
    inbound.take(said, at_meta, callback_access.access_of(at_meta), now)
    rows = Address.objects.filter(customer=guest).exclude(address=NUMBER)
    assert list(rows.values_list("address", "portfolio")) == kept
