"""One guest merged, erased, exported: what moves, what goes, what stays, and that the ledger holds."""

import json
from datetime import timedelta

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from tests.runs.scripted import planned, send_all

from regulars.customers import consent, opting
from regulars.customers.addresses import fingerprint
from regulars.customers.importing import rows
from regulars.customers.models import Address, Consent, Customer, Suppression
from regulars.hospitality.models import Visit, VisitSummary
from regulars.organizations.models import AuditEvent
from regulars.runs import engine, rights
from regulars.runs.erasing import scrub
from regulars.runs.invariants import violations
from regulars.runs.models import DeliveryEvent, Message, Occasion

pytestmark = pytest.mark.django_db(transaction=True)


def upsert(kind, row, organization, now):
    with transaction.atomic():
        (answer,) = rows.upsert(kind, [row], organization, now=now, live=True)
    return answer


def allows(guest, channel="email"):
    row = Consent.objects.filter(customer=guest, channel=channel, is_current=True).first()
    return None if row is None else row.granted


class TestMerging:
    def test_a_no_of_either_is_a_no_and_both_ledgers_are_kept(self, make_customer, now):
        keep, other = make_customer(), make_customer()
        opting.withdraw(other, "email", source="STOP", at=now - timedelta(days=900))
        consent.record(other, "sms", "marketing", True, source="form", at=now)
        rights.merge(keep, other, now)
        assert (allows(keep), allows(keep, "sms")) == (False, True)
        history = Consent.objects.filter(customer=keep, channel="email").order_by("pk")
        assert [row.granted for row in history] == [True, True, False]
        assert history.last().evidence["said_as_guest"] == other.pk

    def test_visits_messages_and_addresses_become_one_guest_s(self, lapsed, make_automation, provider, now):
        automation = make_automation()
        keep, other = lapsed(first_name="", tags=["wine"]), lapsed(last_name="Ruiz", tags=["terrace"])
        send_all(planned(automation, now), now)
        merged = rights.merge(keep, other, now)
        keep.refresh_from_db()
        assert (keep.last_name, keep.tags) == ("Ruiz", ["wine", "terrace"])
        assert merged.moved["visits"] == 2
        assert VisitSummary.objects.get(customer=keep).completed == 4
        assert Address.objects.filter(customer=keep).count() == 2
        assert violations() == {}
        seen = engine.preview(automation, now)
        assert (seen.due, seen.skipped_by_reason) == (1, {"already_contacted": 1})

    def test_where_both_had_an_occasion_each_message_keeps_its_guard(
        self, lapsed, make_automation, provider, now
    ):
        keep, other = lapsed(), lapsed()
        send_all(planned(make_automation(), now), now)
        rights.merge(keep, other, now)
        assert sorted(Occasion.objects.values_list("customer_id", flat=True)) == [keep.pk, other.pk]
        assert violations() == {}

    def test_a_block_of_either_is_a_block(self, make_customer, now):
        keep, other = make_customer(), make_customer(do_not_contact=True, do_not_contact_reason="banned")
        rights.merge(keep, other, now)
        keep.refresh_from_db()
        assert (keep.do_not_contact, keep.do_not_contact_reason) == (True, "banned")

    def test_a_file_that_still_names_the_other_means_the_one(self, make_customer, organization, now):
        keep, other = make_customer(external_id="1"), make_customer(external_id="2")
        rights.merge(keep, other, now)
        answer = upsert("customers", {"external_id": "2", "first_name": "Ana"}, organization, now)
        assert answer.id == keep.pk
        visit = {"external_id": "v", "customer_external_id": "2", "visited_at": "2026-06-01T20:00:00Z"}
        upsert("visits", visit | {"venue": "Casa"}, organization, now)
        assert Visit.objects.get().customer_id == keep.pk

    def test_a_guest_without_a_number_takes_the_other_s(self, make_customer, now):
        keep, other = make_customer(), make_customer(external_id="2")
        rights.merge(keep, other, now)
        assert Customer.objects.get(external_id="2") == keep

    def test_an_address_that_both_have_is_as_bad_as_the_worse(self, make_customer, now):
        keep, other = make_customer(address="a@example.com"), make_customer(address="a@example.com")
        Address.objects.filter(customer=other).update(bad_reason="550")
        rights.merge(keep, other, now)
        assert list(Address.objects.values_list("customer_id", "bad_reason")) == [(keep.pk, "550")]

    def test_the_trail_says_what_moved(self, lapsed, now):
        keep, other = lapsed(), lapsed()
        visits = sorted(Visit.objects.filter(customer=other).values_list("pk", flat=True))
        rights.merge(keep, other, now)
        event = AuditEvent.objects.get(action="customer.merged")
        assert sorted(event.details["rows"]["visits"]) == visits

    @pytest.mark.parametrize("case", ["itself", "merged", "erased", "elsewhere"])
    def test_what_cannot_be_one_is_refused(self, make_customer, now, case):
        from regulars.organizations.models import Organization

        keep, other = make_customer(), make_customer()
        if case == "itself":
            other = keep
        if case == "merged":
            rights.merge(make_customer(), other, now)
        if case == "erased":
            rights.erase(other, now)
        if case == "elsewhere":
            other = make_customer(organization=Organization.objects.create(slug="b", name="B"))
        with pytest.raises(rights.MergeRefusedError):
            rights.merge(keep, other, now)


def everything():
    """The whole database as text, but for the ids of processes and the like."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [row[0] for row in cursor.fetchall()]
        texts = []
        for table in tables:
            cursor.execute(f'SELECT to_jsonb(r)::text FROM "{table}" r')
            texts += [row[0] for row in cursor.fetchall()]
    return "\n".join(texts)


class TestErasing:
    @pytest.fixture
    def marta(self, lapsed, organization):
        guest = lapsed(
            first_name="Marta", last_name="Soler", external_id="POS-77", tags=["wine"], birth_year=1980,
            birth_month=3, birth_day=9, channels=("email", "sms"), consents=("email",),
        )  # fmt: skip
        Address.objects.filter(customer=guest, channel="email").update(address="marta.soler@example.com")
        for way in Address.objects.filter(customer=guest):
            way.fingerprint = fingerprint(organization, way.address)
            way.save()
        return guest

    def test_nothing_names_the_guest_any_more(self, marta, make_automation, provider, now):
        send_all(planned(make_automation(), now), now)
        message = Message.objects.get()
        DeliveryEvent.objects.create(
            message_id=message.pk, kind="delivered", raw={"to": "marta.soler@example.com"}, at=now
        )
        done = rights.erase(marta, now)
        assert (done.addresses, done.messages, done.others) == (2, 1, 0)
        left = everything()
        for word in ("Marta", "Soler", "marta.soler", "+1201555", "POS-77"):
            assert word not in left, word
        assert violations() == {}

    def test_the_guards_and_the_proof_stay(self, marta, organization, make_automation, provider, now):
        automation = make_automation()
        send_all(planned(automation, now), now)
        rights.erase(marta, now)
        assert Occasion.objects.filter(customer_id=marta.pk).exists()
        end = Consent.objects.get(customer=marta, is_current=True)
        mark = fingerprint(organization, "marta.soler@example.com").hex()
        assert (end.granted, end.source, end.evidence) == (False, "erasure", {"fingerprints": [mark]})
        assert Consent.objects.filter(customer=marta).count() == 2
        seen = engine.preview(automation, now)
        assert (seen.send, seen.skipped_by_reason) == (0, {"do_not_contact": 1})

    def test_the_same_guest_in_the_next_file_is_not_written_to(
        self, marta, organization, make_automation, make_visit, now
    ):
        rights.erase(marta, now)
        row = {"external_id": "POS-77", "email": "marta.soler@example.com", "email_consent": "yes"}
        answer = upsert("customers", row, organization, now)
        assert (answer.result, answer.id == marta.pk) == ("created", False)
        again = Customer.objects.get(pk=answer.id)
        for days in (120, 90):
            make_visit(again, days_ago=days, now=now)
        seen = engine.preview(make_automation(), now, [again.pk])
        assert seen.skipped_by_reason == {"suppressed": 1}

    def test_what_waits_is_withheld(self, marta, make_automation, provider, now):
        run = planned(make_automation(), now)
        rights.erase(marta, now)
        send_all(run, now)
        assert not provider.calls
        assert Message.objects.get().reason == "do_not_contact"

    def test_what_was_on_its_way_is_forgotten_in_the_night(self, marta, make_automation, now):
        planned(make_automation(), now)
        Message.objects.update(state="sending")
        rights.erase(marta, now)
        assert Message.objects.get().address == "marta.soler@example.com"
        Message.objects.update(state="sent")
        assert scrub() == 1
        assert Message.objects.get().address == ""

    def test_who_shares_the_address_is_told_of(self, marta, make_customer, now):
        partner = make_customer(address="marta.soler@example.com")
        assert rights.erase(marta, now).others == 1
        partner.refresh_from_db()
        assert not partner.do_not_contact

    def test_doing_it_again_changes_nothing(self, marta, now):
        rights.erase(marta, now)
        before = Suppression.objects.count(), Consent.objects.count()
        assert rights.erase(marta, now).messages == 0
        assert (Suppression.objects.count(), Consent.objects.count()) == before

    def test_those_who_turned_out_to_be_the_guest_are_forgotten_too(self, marta, lapsed, now):
        other = lapsed(first_name="Martita", address="old@example.com")
        rights.merge(marta, other, now)
        rights.erase(marta, now)
        assert "old@example.com" not in everything()


def test_an_export_has_everything_and_is_json(lapsed, make_automation, provider, now):
    guest = lapsed(first_name="Marta", external_id="77")
    send_all(planned(make_automation(), now), now)
    found = json.loads(json.dumps(rights.export(guest, now), cls=DjangoJSONEncoder))
    assert found["guest"][0]["first_name"] == "Marta"
    assert [len(found[name]) for name in ("addresses", "consents", "visits", "messages")] == [1, 1, 2, 1]
    assert found["messages"][0]["address"] == guest.addresses.get().address
    assert AuditEvent.objects.get().action == "customer.exported"
