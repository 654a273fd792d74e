"""What another program sends: one row or many, answered row by row, once for each key."""

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from regulars.automations.models import ProviderAccount
from regulars.customers.models import Consent, Customer
from regulars.hospitality.models import Reservation, Visit
from regulars.organizations.models import KeptAnswer
from regulars.runs.models import Run

MARTA = {"external_id": "1", "first_name": "Marta", "email": "marta@example.com", "email_consent": True}


@pytest.fixture
def post(owner, signed_in):
    client = signed_in(owner)

    def send(path, body, client=client, **headers):
        return client.post(f"/api/{path}", body, content_type="application/json", headers=headers)

    return send


@pytest.fixture
def guest(make_customer):
    return make_customer(external_id="1")


@pytest.fixture
def confirming(make_automation):
    return make_automation(trigger="reservation_confirmation", parameters={}, name="Confirmed")


def booking(**changes):
    at = (timezone.now() + timedelta(days=3)).replace(microsecond=0)
    return {
        "external_id": "r1",
        "customer_external_id": "1",
        "starts_at": at.isoformat(),
        "party_size": 4,
        "status": "confirmed",
    } | changes


class TestOneRow:
    def test_is_created_then_changed_then_unchanged(self, post):
        first = post("customers", MARTA)
        assert (first.status_code, first.json()["result"]) == (201, "created")
        customer = Customer.objects.get()
        assert first.json()["id"] == customer.pk
        assert Consent.objects.get(customer=customer).source == "API"
        again = post("customers", MARTA)
        assert (again.status_code, again.json()["result"]) == (200, "unchanged")
        changed = post("customers", {"external_id": "1", "last_name": "Ruiz"})
        assert (changed.status_code, changed.json()["result"]) == (200, "updated")
        customer.refresh_from_db()
        assert (customer.first_name, customer.last_name) == ("Marta", "Ruiz")

    def test_that_cannot_go_in_is_refused_with_its_field(self, post, venue):
        answer = post(
            "visits", {"external_id": "v1", "customer_external_id": "9", "visited_at": "2026-03-05"}
        )
        assert answer.status_code == 422
        assert answer.json()["details"][0]["path"] == "customer_external_id"
        assert post("visits", {"external_id": "v1", "tabel": 4}).status_code == 422
        assert not Visit.objects.exists()

    def test_may_be_sent_with_a_token(self, post, by_token, owner):
        assert post("customers", MARTA, client=by_token(owner)).status_code == 201

    def test_may_not_be_sent_by_a_viewer(self, post, signed_in, viewer):
        assert post("customers", MARTA, client=signed_in(viewer)).status_code == 403
        assert not Customer.objects.exists()

    def test_never_gives_back_a_withdrawn_consent(self, post):
        post("customers", MARTA | {"email_consent": False})
        assert post("customers", MARTA).json()["result"] == "unchanged"
        assert not Consent.objects.get(is_current=True).granted

    def test_of_another_organization_stays_as_it_is(self, post, make_customer, other_organization):
        theirs = make_customer(organization=other_organization, external_id="1", first_name="Ana")
        assert post("customers", MARTA).json()["result"] == "created"
        theirs.refresh_from_db()
        assert theirs.first_name == "Ana"


class TestUserIds:
    """Guests who hide their number on WhatsApp."""

    USER_ID = "US.ENT.11815799212886844830"

    def test_are_a_way_to_a_guest_without_a_number(self, post, account):
        ProviderAccount.objects.filter(pk=account.pk).update(portfolio="77")
        row = {"first_name": "Ana", "whatsapp_user_id": self.USER_ID, "whatsapp_consent": True}
        assert post("customers", row).status_code == 201
        assert post("customers", row).json()["result"] == "unchanged"
        (way,) = Customer.objects.get().addresses.all()
        assert (way.channel, way.address, way.portfolio) == ("whatsapp", self.USER_ID, "77")

    def test_that_cannot_be_one_are_refused_with_their_field(self, post, account):
        answer = post("customers", {"external_id": "1", "whatsapp_user_id": self.USER_ID})
        assert answer.status_code == 422
        (problem,) = answer.json()["details"]
        assert problem["path"] == "whatsapp_user_id"
        assert "add it first" in problem["problem"]
        ProviderAccount.objects.filter(pk=account.pk).update(portfolio="77")
        rows = [{"external_id": n, "whatsapp_user_id": one} for n, one in enumerate((self.USER_ID, "Ana"))]
        found = post("customers/bulk", {"rows": rows}).json()["rows"]
        assert [(one["result"], one["column"]) for one in found] == [
            ("created", ""),
            ("rejected", "whatsapp_user_id"),
        ]


class TestManyRows:
    def test_each_is_answered_in_its_place(self, post, guest, venue):
        rows = [
            {
                "external_id": "v1",
                "customer_external_id": "1",
                "visited_at": "2026-03-05 21:00",
                "amount": 12.345,
            },
            {"external_id": "v2", "customer_external_id": "stranger", "visited_at": "2026-03-05 21:00"},
            {"external_id": "v3", "customer_external_id": "1", "visited_at": "sometime"},
            {"external_id": "v1", "customer_external_id": "1", "visited_at": "2026-03-06 21:00"},
            {"external_id": "v4", "customer_external_id": "1", "visited_at": "2026-03-07", "guests": 2},
        ]
        answer = post("visits/bulk", {"rows": rows}).json()
        assert [row["result"] for row in answer["rows"]] == ["created", *["rejected"] * 4]
        columns = [row["column"] for row in answer["rows"]]
        assert columns == ["", "customer_external_id", "visited_at", "external_id", "guests"]
        assert (answer["created"], answer["rejected"]) == (1, 4)
        assert str(Visit.objects.get().amount) == "12.35"

    def test_a_thousand_go_in_and_one_more_does_not(self, post, guest, venue):
        rows = [booking(external_id=f"r{number}") for number in range(1001)]
        assert post("reservations/bulk", {"rows": rows}).status_code == 422
        assert post("reservations/bulk", {"rows": rows[:1000]}).json()["created"] == 1000
        assert post("reservations/bulk", {"rows": rows[:1000]}).json()["unchanged"] == 1000


class TestAKey:
    def test_makes_a_repetition_do_nothing(self, post, guest, venue):
        key, same = {"Idempotency-Key": "abc"}, booking()
        first = post("reservations", same, **key)
        Reservation.objects.all().delete()
        again = post("reservations", same, **key)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again["Idempotent-Replayed"] == "true"
        assert not Reservation.objects.exists()

    def test_belongs_to_one_body_and_one_caller(self, post, by_token, owner):
        key = {"Idempotency-Key": "abc"}
        assert post("customers", MARTA, **key).status_code == 201
        other = post("customers", MARTA | {"last_name": "Ruiz"}, **key)
        assert (other.status_code, other.json()["code"]) == (422, "key_reused")
        assert post("customers", MARTA, client=by_token(owner), **key).json()["result"] == "unchanged"

    def test_of_a_refused_call_may_be_used_again(self, post):
        key = {"Idempotency-Key": "abc"}
        assert post("customers", {"first_name": "Nobody"}, **key).status_code == 422
        assert post("customers", MARTA, **key).status_code == 201

    def test_is_forgotten_after_a_day(self, post):
        from regulars.organizations import idempotency

        post("customers", MARTA, **{"Idempotency-Key": "abc"})
        KeptAnswer.objects.update(at=timezone.now() - timedelta(hours=25))
        changed = post("customers", MARTA | {"last_name": "Ruiz"}, **{"Idempotency-Key": "abc"})
        assert changed.json()["result"] == "updated"
        assert idempotency.forget(timezone.now()) == 0
        assert idempotency.forget(timezone.now() + timedelta(hours=25)) == 1

    @pytest.mark.django_db(transaction=True)
    def test_used_by_two_at_once_does_it_once(self, post, signed_in, owner):
        from django.db import connection

        answers = []

        def call():
            try:
                answers.append(post("customers", MARTA, client=signed_in(owner), **{"Idempotency-Key": "x"}))
            finally:
                connection.close()

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [201] * 4
        assert sum(answer.has_header("Idempotent-Replayed") for answer in answers) == 3
        assert Customer.objects.count() == 1


class TestAConfirmedBooking:
    def test_asks_for_its_run_at_once_for_its_guest_only(self, post, guest, venue, confirming):
        assert post("reservations", booking()).status_code == 201
        run = Run.objects.get()
        assert (run.automation_id, run.origin, run.subjects) == (confirming.pk, "event", [guest.pk])

    def test_that_is_not_confirmed_asks_for_none_until_it_is(self, post, guest, venue, confirming):
        post("reservations", booking(status="requested"))
        assert not Run.objects.exists()
        post("reservations", booking(status="confirmed"))
        assert Run.objects.exists()

    def test_sent_again_unchanged_asks_for_none(self, post, guest, venue, confirming):
        same = booking()
        post("reservations", same)
        Run.objects.all().delete()
        post("reservations", same)
        assert not Run.objects.exists()

    def test_asks_for_none_while_the_automation_is_off(self, post, guest, venue, make_automation):
        make_automation(trigger="reservation_confirmation", parameters={}, enabled=False)
        post("reservations", booking())
        assert not Run.objects.exists()

    def test_of_an_old_stock_writes_to_nobody(self, post, guest, venue, confirming):
        """Nobody knows when they were confirmed; or it is known, and too long ago."""
        long_ago = (timezone.now() - timedelta(days=40)).isoformat()
        rows = [booking(), booking(external_id="r2", confirmed_at=long_ago)]
        assert post("reservations/bulk", {"rows": rows}).json()["created"] == 2
        assert not Run.objects.exists()

    def test_in_bulk_is_confirmed_where_the_caller_says_that_it_is_news(self, post, guest, venue, confirming):
        post("reservations/bulk", {"rows": [booking()], "live": True})
        assert Run.objects.get().subjects == [guest.pk]

    @pytest.mark.django_db(transaction=True)
    def test_reaches_its_guest(self, post, guest, venue, confirming, worker):
        from regulars.runs.models import SandboxMessage

        with worker():
            post("reservations", booking())
            for _ in range(200):
                if SandboxMessage.objects.exists():
                    break
                threading.Event().wait(0.05)
        assert SandboxMessage.objects.get().address == guest.addresses.get().address
