"""A row of a file and the same row posted mean the same, whatever came before."""

import csv
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import NOW

from regulars.customers.importing import import_file, rows
from regulars.customers.models import Address, Consent, Customer
from regulars.hospitality.models import Reservation, Venue, Visit
from regulars.organizations.models import Organization

EMAILS = ["", "a@example.com", "B@Example.com", "no address"]
PHONES = ["", "600 555 0101", "+34600555102", "12"]
YES_NO = ["", "yes", "no", "perhaps"]
COLUMNS = {
    "customers": {
        "external_id": ["", "1", "2", "3"],
        "first_name": ["", "Marta", " Ana  María "],
        "email": EMAILS,
        "phone": PHONES,
        "birthday": ["", "29/02/1992", "03/04/1980", "1900-01-01", "soon"],
        "tier": ["", "VIP", "Oro"],
        "tags": ["", "terrace, wine", "wine"],
        "email_consent": YES_NO,
        "sms_consent": YES_NO,
        "consent_source": ["door"],
        "consent_at": ["", "2026-01-02 10:00"],
    },
    "visits": {
        "external_id": ["v1", "v2", "v3"],
        "customer_external_id": ["1", "2", "9"],
        "visited_at": ["2026-03-05 21:00", "06/03/2026", "never", ""],
        "amount": ["", "12,50", "1.234", "a lot"],
        "party_size": ["", "2", "0"],
        "venue": ["", "centro", "Elsewhere"],
    },
    "reservations": {
        "external_id": ["r1", "r2", "r3"],
        "customer_external_id": ["1", "2", "9"],
        "starts_at": ["2026-07-05 21:00", "2026-07-06 21:00", "2026-07-06"],
        "party_size": ["", "2", "4"],
        "status": ["", "requested", "confirmada", "cancelled", "no_show", "odd"],
        "confirmed_at": ["", "2026-06-15 09:00"],
    },
}


def a_batch(kind):
    row = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in COLUMNS[kind].items()})
    return st.tuples(st.just(kind), st.lists(row, min_size=1, max_size=4))


numbers = itertools.count()
batches = st.tuples(
    a_batch("customers"),
    *[st.one_of(a_batch("customers"), a_batch("visits"), a_batch("reservations"))] * 3,
)


@pytest.mark.django_db
@given(batches=batches)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_file_and_the_api_leave_the_same_rows(batches, tmp_path_factory):
    by_file, by_api = a_restaurant("by-file"), a_restaurant("by-api")
    for kind, batch in batches:
        path = tmp_path_factory.mktemp("file") / "rows.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS[kind])
            writer.writeheader()
            writer.writerows(batch)
        summary = import_file(kind, path, by_file, now=NOW)
        results = [answer.result for answer in rows.upsert(kind, batch, by_api, now=NOW)]
        counts = [results.count(name) for name in ("created", "updated", "unchanged", "rejected")]
        assert counts == [summary.new, summary.changed, summary.unchanged, summary.rejected_count]
    assert stored(by_file) == stored(by_api)


def a_restaurant(name):
    slug = f"{name}-{next(numbers)}"
    organization = Organization.objects.create(slug=slug, name=name, timezone="Europe/Madrid", country="ES")
    Venue.objects.create(organization=organization, name="Centro", timezone="Europe/Madrid")
    return organization


def stored(organization):
    """Every row of the organization, without its own numbers."""

    def of(model, lookup, *names):
        return sorted(map(str, model.objects.filter(**{lookup: organization}).values_list(*names)))

    whose = ("customer__external_id", "customer__first_name", "customer__last_name")
    return {
        "customers": of(
            Customer,
            "organization",
            *("external_id", "first_name", "birth_month", "birth_day", "birth_year", "tier", "tags"),
        ),
        "addresses": of(Address, "organization", *whose, "channel", "address", "bad_reason"),
        "consents": of(
            Consent, "customer__organization", *whose, "channel", "granted", "source", "at", "is_current"
        ),
        "visits": of(
            Visit, "organization", *whose, "external_id", "service_date", "amount", "currency", "party_size"
        ),
        "reservations": of(
            Reservation,
            "organization",
            *("external_id", "starts_at", "party_size", "status", "confirmed_at", "revision"),
            *("changed_at", "cancelled_at", *whose),
        ),
    }
