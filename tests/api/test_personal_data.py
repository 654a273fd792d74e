"""Export, erasure, merge and block over the API: who may, and what the answer says."""

import pytest

from regulars.customers.models import Customer
from regulars.organizations.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def guest(make_customer):
    return make_customer(first_name="Marta")


@pytest.fixture
def call(signed_in, person, organization):
    def of(role):
        client = signed_in(person(role, organization))
        return lambda method, path, body=None: getattr(client, method)(
            path, body, content_type="application/json"
        )

    return of


def test_a_manager_exports_and_erases_and_the_trail_says_so(call, guest):
    manager = call("manager")
    found = manager("get", f"/api/customers/{guest.pk}/export")
    assert (found.status_code, found.json()["guest"][0]["first_name"]) == (200, "Marta")
    answer = manager("post", f"/api/customers/{guest.pk}/erase")
    assert answer.json() == {"addresses": 1, "messages": 0, "others": 0}
    assert str(Customer.objects.get(pk=guest.pk)) == f"Guest {guest.pk}"
    trail = AuditEvent.objects.order_by("pk").values_list("action", "user__email", "subject")
    assert list(trail) == [
        ("customer.exported", "manager@example.com", str(guest.pk)),
        ("customer.erased", "manager@example.com", str(guest.pk)),
    ]


@pytest.mark.parametrize(("method", "verb"), [("get", "export"), ("post", "erase"), ("post", "merge")])
def test_staff_may_not(call, guest, method, verb):
    answer = call("staff")(
        method, f"/api/customers/{guest.pk}/{verb}", {"other": 1} if verb == "merge" else None
    )
    assert answer.status_code == 403
    assert "owner, manager" in answer.json()["error"]


def test_two_become_one_once(call, guest, make_customer):
    other, owner = make_customer(), call("owner")
    path = f"/api/customers/{guest.pk}/merge"
    assert owner("post", path, {"other": other.pk}).json()["id"] == guest.pk
    assert owner("post", path, {"other": other.pk}).status_code == 409
    assert owner("post", path, {"other": 2**40}).status_code == 404


def test_a_block_is_set_and_taken_back_but_not_that_of_an_erased_guest(call, guest):
    staff, path = call("staff"), f"/api/customers/{guest.pk}/block"
    assert staff("put", path, {"reason": "press"}).json()["do_not_contact"] is True
    assert staff("delete", path).json() == {"id": guest.pk, "do_not_contact": False, "reason": ""}
    call("owner")("post", f"/api/customers/{guest.pk}/erase")
    assert staff("delete", path).json()["reason"] == "erased"


def test_a_list_is_taken_in_and_each_entry_is_answered(call, guest):
    address = guest.addresses.get().address
    body = {"source": "Lista Robinson", "entries": [address.upper(), "nobody"]}
    answer = call("staff")("post", "/api/suppressions", body).json()
    assert [(row["index"], row["result"]) for row in answer["rows"]] == [(0, "added"), (1, "rejected")]
    assert AuditEvent.objects.get().details == {
        "source": "Lista Robinson",
        "added": 1,
        "known": 0,
        "rejected": 1,
    }
