"""WhatsApp in the automation's own words: only to guests who have just written; others by template."""

from datetime import timedelta

import pytest
from tests.runs.scripted import planned, send_all

from regulars.automations.models import ProviderAccount, ProviderTemplate, Template
from regulars.customers.addresses import set_whatsapp_user_id
from regulars.customers.models import Address
from regulars.customers.service_window import note_inbound
from regulars.runs import engine, tasks
from regulars.runs.models import Message, Occasion, RunState, Skip

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(hours=24)


@pytest.fixture
def whatsapp(provider):
    """A provider that takes only approved templates, and remembers what it was given."""
    provider.template_channels = ("whatsapp",)
    return provider


@pytest.fixture
def wrote(organization, now):
    """Note that a guest wrote by WhatsApp some time ago."""

    def note(customer, ago=timedelta(hours=1)):
        address = Address.objects.get(customer=customer, channel="whatsapp").address
        note_inbound(organization, "whatsapp", address, now - ago)

    return note


def reasons():
    return dict(Skip.objects.values_list("customer_id", "reason"))


def test_only_guests_who_have_just_written_get_a_text_of_our_own(
    lapsed, make_automation, whatsapp, wrote, now
):
    silent, long_ago, lately = (lapsed(channels=("whatsapp",)) for _ in range(3))
    wrote(long_ago, DAY)
    wrote(lately, DAY - timedelta(seconds=1))
    run = planned(make_automation(channels=("whatsapp",)), now)
    send_all(run, now)
    assert reasons() == {silent.pk: "no_template", long_ago.pk: "no_template"}
    (message,) = whatsapp.calls
    assert message.template is None
    assert message.body.startswith(f"Hola {lately.first_name}")


def test_where_whatsapp_is_closed_the_next_channel_is_taken(lapsed, make_automation, whatsapp, now):
    guest = lapsed(channels=("whatsapp", "sms"))
    send_all(planned(make_automation(channels=("whatsapp", "sms")), now), now)
    assert [(call.channel, call.message_id) for call in whatsapp.calls] == [("sms", Message.objects.get().pk)]
    assert Message.objects.get().customer_id == guest.pk


def test_an_opt_out_is_told_as_such_and_not_as_a_missing_template(
    lapsed, make_automation, whatsapp, organization, now
):
    guest = lapsed(channels=("whatsapp",))
    Address.objects.filter(customer=guest).update(bad_reason="131026")
    planned(make_automation(channels=("whatsapp",)), now)
    assert reasons() == {guest.pk: "suppressed"}


def test_a_window_that_closes_while_the_message_waits_withholds_it(
    lapsed, make_automation, whatsapp, wrote, now
):
    guest = lapsed(channels=("whatsapp",))
    wrote(guest, timedelta(hours=23))
    run = planned(make_automation(channels=("whatsapp",)), now)
    send_all(run, now + timedelta(hours=1))
    message = Message.objects.get()
    assert (message.state, message.reason, whatsapp.calls) == ("withheld", "no_template", [])
    # A later run may write to the guest, by then perhaps with a template.
    assert not Occasion.objects.exists()


def test_providers_that_take_any_text_ask_for_no_window(lapsed, make_automation, provider, now):
    lapsed(channels=("whatsapp",))
    send_all(planned(make_automation(channels=("whatsapp",)), now), now)
    assert len(provider.calls) == 1


def test_the_guests_page_says_when_they_last_wrote(lapsed, make_automation, whatsapp, wrote, now):
    silent, long_ago = lapsed(channels=("whatsapp",)), lapsed(channels=("whatsapp",))
    wrote(long_ago, 2 * DAY)
    make_automation(channels=("whatsapp",))
    for guest, words in ((silent, "Has not written"), (long_ago, "Last wrote on")):
        (found,) = engine.explain(guest, now)
        assert found.reason == "no_template"
        assert any(fact.words.startswith(words) for fact in found.evidence)
        assert found.changes_at is None


@pytest.fixture
def with_template(account, make_automation, provider):
    """An automation that names the provider's template `come_back`."""
    provider.lists_templates = True

    def make(**changes):
        values = {"text": "Hola {{1}}, vuelve.", "placeholders": ["1"], "approval": "approved"}
        ProviderTemplate.objects.create(
            account=account,
            name="come_back",
            reference="id-1",
            language="es_ES",
            category="marketing",
            synced_at=account.created_at,
            **values | changes,
        )
        automation = make_automation(channels=("whatsapp",))
        Template.objects.filter(version__automation=automation).update(
            body="", provider_template="come_back", variables={"1": "{{ customer.first_name }}"}
        )
        return automation

    return make


def test_a_template_needs_no_window_and_carries_the_guests_values(lapsed, with_template, whatsapp, now):
    lapsed(channels=("whatsapp",), first_name="Marta")
    send_all(planned(with_template(), now), now)
    (message,) = whatsapp.calls
    assert (message.body, message.purpose) == ("Hola Marta, vuelve.", "marketing")
    use = message.template
    assert (use.reference, use.name, use.language, use.values) == (
        "id-1",
        "come_back",
        "es_ES",
        (("1", "Marta"),),
    )


def test_the_preview_shows_the_providers_text_filled_in(lapsed, with_template, whatsapp, now):
    lapsed(channels=("whatsapp",), first_name="Marta")
    (sample,) = engine.preview(with_template(), now, sample=1).samples
    assert (sample.body, sample.problem) == ("Hola Marta, vuelve.", "")


def test_a_template_that_has_gone_stops_the_run_before_anybody_fails(lapsed, with_template, whatsapp, now):
    lapsed(channels=("whatsapp",), first_name="Marta")
    automation = with_template()
    run = planned(automation, now)
    ProviderTemplate.objects.all().delete()
    for look in (engine.preview, engine.count_due):
        with pytest.raises(engine.AutomationNotReadyError, match="synchronise"):
            look(automation, now)
    (chunk,) = run.chunks.all()
    assert tasks._prepare(chunk.pk) is None
    run.refresh_from_db()
    assert (run.state, "come_back" in run.reason) == (RunState.PAUSED, True)
    assert (Message.objects.get().state, whatsapp.calls) == ("queued", [])


def test_a_guest_without_a_number_is_reached_by_accounts_of_the_business_that_knows_them(
    lapsed, with_template, whatsapp, account, now
):
    guest = lapsed(channels=(), consents=())
    set_whatsapp_user_id(guest, "77", "ES.13491208655302741918")
    guest.consents.create(channel="whatsapp", granted=True, at=now)
    automation = with_template()
    planned(automation, now)
    assert reasons() == {guest.pk: "no_address"}
    ProviderAccount.objects.update(portfolio="77")
    send_all(planned(automation, now), now)
    assert [call.address for call in whatsapp.calls] == ["ES.13491208655302741918"]
