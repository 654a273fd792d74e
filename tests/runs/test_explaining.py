"""Why one customer gets a message or not: the evidence for each reason, and when it could change."""

import re
from datetime import timedelta

import pytest
from tests.runs.scripted import planned, send_all

from regulars.automations.models import ProviderAccount
from regulars.customers import suppression
from regulars.customers.models import Address, Consent
from regulars.hospitality.models import Reservation
from regulars.lib import append_only
from regulars.runs import engine
from regulars.runs.evidence import _TELL, Case, evidence_of
from regulars.runs.models import Message, Occasion, Run
from regulars.runs.sampling import differing

ZONE = "Europe/Madrid"


@pytest.fixture
def why(now):
    """The only explanation about a customer, and its facts in words."""

    def ask(customer, at=now, **options):
        (line,) = engine.explain(customer, at, **options)
        return line, [fact.text(ZONE, show_addresses=True) for fact in line.evidence]

    return ask


@pytest.fixture
def write(organization, now):
    """A message that an automation has sent, or planned."""

    def make(automation, customer, *, days_ago=0, state="sent", occasion="lapse:earlier", **fields):
        at = now - timedelta(days=days_ago)
        run = Run.objects.create(
            organization=organization, automation=automation, state="finished", created_at=at
        )
        return Message.objects.create(
            organization_id=organization.pk,
            run=run,
            chunk_number=1,
            automation=automation,
            version_id=0,
            customer_id=customer.pk,
            occasion=occasion,
            purpose="marketing",
            channel="email",
            account_id=0,
            address=customer.addresses.get().address,
            due_at=at,
            send_after=at,
            state=state,
            created_at=at,
            state_at=at,
            **({"accepted_at": at} if state == "sent" else {}) | fields,
        )

    return make


def test_who_would_be_written_to_is_shown_the_consent_for_it(lapsed, make_automation, why):
    make_automation()
    line, facts = why(lapsed(address="ana@example.com"))
    assert (line.verdict, line.channel) == ("send", "email")
    assert facts[-2:] == [
        "It goes to ana@example.com, by E-mail.",
        "Agreed to marketing by E-mail on 15 June 2026, 14:00 (source unknown).",
    ]
    assert line.changes_at == line.expires_at


def test_a_cooldown_names_the_message_and_the_day_it_ends(lapsed, make_automation, why, write, now):
    automation = make_automation()
    kin = make_automation(name="Older win-back")
    guest = lapsed()
    write(kin, guest, days_ago=20)
    line, facts = why(guest, automation=automation)
    assert line.reason == "cooldown"
    assert facts[-2:] == [
        "“Older win-back” wrote on 26 May 2026, 14:00, by E-mail (sent).",
        "The cooldown of 60 days ends on 25 July 2026, 14:00.",
    ]
    assert line.changes_at == now + timedelta(days=40)
    just_before, _ = why(guest, line.changes_at - timedelta(seconds=1), automation=automation)
    then, _ = why(guest, line.changes_at, automation=automation)
    assert (just_before.reason, then.verdict) == ("cooldown", "send")


def test_a_cooldown_that_has_not_begun_has_no_end_yet(lapsed, make_automation, why, write):
    automation = make_automation()
    guest = lapsed()
    write(automation, guest, state="queued")
    line, facts = why(guest)
    assert line.reason == "cooldown"
    assert facts[-1] == "“inactive” has a message planned for 15 June 2026, 14:00, by E-mail (queued)."
    assert line.changes_at == line.expires_at


def test_who_was_contacted_is_shown_the_message(lapsed, make_automation, why, now):
    automation = make_automation()
    guest = lapsed()
    run = planned(automation, now)
    line, facts = why(guest)
    message = Message.objects.get(run=run)
    assert line.reason == "already_contacted"
    assert facts[-1].startswith("“inactive” has a message planned for 15 June 2026, 14:00")
    assert [fact.reference for fact in line.evidence if fact.kind == "message"] == [message.pk]
    Message.objects.all().delete()
    assert why(guest)[1][-1] == "The message itself has been removed for its age."


def test_who_was_held_out_is_told_so(lapsed, make_automation, why):
    automation = make_automation()
    guest = lapsed()
    occasion = why(guest)[0].occasion
    Occasion.objects.create(
        automation_id=automation.pk, customer_id=guest.pk, occasion=occasion, kind="holdout", message_id=0
    )
    assert why(guest)[1][-1] == "Was held out at random for this occasion."


def test_a_suppression_shows_its_reason_and_a_bad_address_its_day(
    lapsed, make_automation, organization, why, now
):
    make_automation()
    guest = lapsed(address="ana@example.com")
    Address.objects.filter(customer=guest).update(bad_reason="permanent", bad_since=now)
    stop = suppression.suppress(organization, "ana@example.com", "email", "opt_out")
    type(stop).objects.update(created_at=now)
    line, facts = why(guest)
    assert (line.reason, line.changes_at) == ("suppressed", None)
    assert facts[-2:] == [
        "ana@example.com is suppressed since 15 June 2026, 14:00: opt out.",
        "ana@example.com is marked bad since 15 June 2026, 14:00: permanent.",
    ]


def test_a_landline_and_a_channel_that_is_not_used_are_no_address(lapsed, make_automation, why):
    make_automation(channels=("sms",))
    guest = lapsed(channels=("email", "sms"))
    Address.objects.filter(customer=guest, channel="sms").update(bad_reason="landline")
    line, facts = why(guest)
    assert line.reason == "no_address"
    assert [text.partition(" is ")[2] for text in facts[-2:]] == [
        "for E-mail, which this automation does not use.",
        "a landline.",
    ]


def test_a_booking_ahead_is_shown_until_it_begins(lapsed, make_automation, organization, venue, why, now):
    make_automation()
    guest = lapsed()
    starts = now + timedelta(days=3)
    Reservation.objects.create(organization=organization, customer=guest, venue=venue, starts_at=starts)
    line, facts = why(guest)
    assert (line.reason, line.changes_at) == ("upcoming_reservation", starts)
    assert facts[-1] == "There is a booking for 18 June 2026, 14:00, at Casa Pepe Centro (confirmed)."


def test_who_shares_an_address_is_told_who_gets_the_message(lapsed, make_automation, why):
    automation = make_automation()
    lapsed(first_name="Ana", last_name="Ruiz", address="home@example.com")
    guest = lapsed(address="home@example.com")
    line, facts = why(guest, automation=automation)
    assert line.reason == "duplicate_address"
    assert facts[-1] == "home@example.com is also the address of Ana Ruiz, who gets the message."


def test_conditions_that_do_not_match_are_named(lapsed, make_automation, why):
    make_automation(
        conditions={
            "all": [
                {"field": "visit_count", "operator": ">=", "value": 1},
                {"field": "tier", "operator": "in", "value": ["Gold", "Black"]},
                {"not": {"field": "language", "operator": "is", "value": "es"}},
            ]
        }
    )
    line, facts = why(lapsed())
    assert (line.verdict, line.due, line.reason, line.changes_at) == ("not_due", False, None, None)
    assert line.words == "is due, but does not match the conditions of this automation"
    assert facts[-2:] == [
        "Asked for, and not so: Tier is one of Gold, Black.",
        "Excluded are those with: Language is es.",
    ]


def test_the_note_of_who_is_not_to_be_contacted_is_shown(lapsed, make_automation, why):
    make_automation()
    line, facts = why(lapsed(do_not_contact=True, do_not_contact_reason="press"))
    assert (line.reason, line.changes_at) == ("do_not_contact", None)
    assert facts[-1] == "The note says: press."


def test_an_automation_that_cannot_run_says_what_is_missing(lapsed, make_automation, why):
    make_automation()
    guest = lapsed()
    ProviderAccount.objects.all().delete()
    line, _ = why(guest)
    assert (line.verdict, line.due) == ("not_ready", False)
    assert "regulars provider add" in line.words


def test_a_cap_shows_what_was_received_and_who_goes_first(lapsed, make_automation, write, now):
    automation, other = make_automation(), make_automation(name="Birthday")
    guest = lapsed()
    write(other, guest, days_ago=3)
    write(other, guest, days_ago=40)
    asked = {"cap_since": now - timedelta(days=30)}

    def told(winner):
        verdict = {"reason": "frequency_cap", "winner_id": winner.pk, "address": "ana@example.com"}
        outlook = evidence_of(Case(guest, automation, verdict, [], asked, now))
        assert outlook.next_at == now + timedelta(days=27)
        return [fact.text(ZONE, show_addresses=True) for fact in outlook.evidence]

    wrote = "“Birthday” wrote on 12 June 2026, 14:00, by E-mail (sent)."
    assert told(other) == [wrote]
    assert told(make_automation(name="VIP")) == [wrote, "“VIP” goes first."]


def test_the_months_money_and_a_start_say_from_when_on(organization, lapsed, make_automation, why, now):
    organization.tact |= {
        "monthly_limits": {"email": "0.01"},
        "prices": [{"account": "sandbox", "channel": "email", "amount": "0.02"}],
    }
    organization.save()
    automation, guest = make_automation(), lapsed()
    line, facts = why(guest)
    assert (line.reason, facts[-1]) == (
        "budget",
        "The money for E-mail is used up until 1 July 2026, 00:00.",
    )
    assert f"{line.changes_at:%Y-%m-%d %H:%M %z}" == "2026-07-01 00:00 +0200"
    automation.due_from = now
    automation.save()
    line, facts = why(guest)
    assert line.reason == "before_start"
    assert facts[-1].endswith("what counts is what becomes due from 15 June 2026, 14:00 on.")


def test_a_reason_that_has_no_evidence_yet_is_told_without(lapsed, make_automation, why, monkeypatch):
    make_automation()
    monkeypatch.delitem(_TELL, "no_consent")
    line, _ = why(lapsed(consents=()))
    assert line.reason == "no_consent"


def test_a_viewer_of_evidence_sees_addresses_masked(lapsed, make_automation, why):
    make_automation()
    line, _ = why(lapsed(address="ana@example.com"))
    texts = [fact.text(ZONE, show_addresses=False) for fact in line.evidence]
    assert "It goes to a•••@example.com, by E-mail." in texts


def face(number, **fields):
    known = {"channel": "email", "language": "es", "first_name": "Ana", "last_name": "Ruiz"}
    return {"customer_id": number} | known | fields


def test_samples_differ_as_much_as_the_guests_do():
    faces = [
        face(1),
        face(2),
        face(3, language="en"),
        face(4, channel="sms"),
        face(5, first_name=""),
        face(6, first_name="María de los Ángeles", last_name="Fernández"),
        face(7, language="en", first_name=""),
    ]
    chosen = differing(faces, 5)
    assert [row["customer_id"] for row, _ in chosen][:2] == [5, 3]
    shown = [feature for _, features in chosen for feature in features]
    assert len(shown) == len(set(shown))
    assert {"email", "sms", "language es", "language en", "no_first_name", "long_name"} == set(shown)
    assert [row["customer_id"] for row, _ in differing(faces[:2], 5)] == [1, 2]
    assert differing([], 5) == []


@pytest.mark.django_db(transaction=True)
def test_a_sample_is_what_the_run_sends_word_for_word(lapsed, make_automation, provider, now):
    automation = make_automation(
        body="Hola {{ customer.first_name | default: 'amigo' }}: {{ venue.name }}, {{ last_visit.days }}"
    )
    for name in ("Ana", "", "Luis"):
        lapsed(first_name=name)
    with append_only.lifted():
        Consent.objects.filter(customer__first_name="Luis").delete()
    seen = engine.preview(automation, now, sample=5)
    send_all(planned(automation, now), now)
    sent = {(call.address, call.subject, call.body, call.html) for call in provider.calls}
    # But for the link by which each unsubscribes: whoever looks at a preview must not.
    nobodys = {tuple(re.sub(r"/u/[\w-]{44}", f"/u/{'x' * 44}", part) for part in said) for said in sent}
    assert nobodys.isdisjoint(sent)
    assert {(each.address, each.subject, each.body, each.html) for each in seen.samples} == nobodys
    assert len(sent) == 2
