import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from regulars.customers.importing import ImportRefusedError, import_file
from regulars.hospitality import importing as hospitality_importing
from regulars.hospitality.models import Reservation, Venue, Visit
from regulars.lib.clock import local_date

VISITS = "external_id,customer_external_id,visited_at,amount,venue,party_size\n"
BOOKINGS = "external_id,customer_external_id,starts_at,party_size,status,venue\n"


@pytest.fixture(autouse=True)
def registered():
    hospitality_importing.register()


@pytest.fixture
def importing(organization, tmp_path, now):
    def run(kind, text, **options):
        path = tmp_path / "file.csv"
        path.write_text(text)
        return import_file(kind, path, organization, **({"now": now} | options))

    return run


@pytest.fixture
def ana(make_customer):
    return make_customer(external_id="1")


def counts(summary):
    return summary.new, summary.changed, summary.unchanged, summary.rejected_count


def test_a_visit_is_dated_by_its_venue(importing, ana, venue):
    text = VISITS + 'v1,1,2026-03-05 00:40,"29,33 €",casa pepe centro,2\nv2,1,2026-03-05,,,\n'
    assert counts(importing("visits", text)) == (2, 0, 0, 0)
    late, plain = Visit.objects.order_by("id")
    assert late.visited_at == datetime(2026, 3, 4, 23, 40, tzinfo=UTC)
    assert str(late.service_date) == "2026-03-04"
    assert (str(late.amount), late.currency, late.party_size) == ("29.33", "EUR", 2)
    assert str(plain.service_date) == "2026-03-05"
    for visit in (late, plain):
        assert visit.service_date == local_date(visit.visited_at, venue.timezone, venue.day_starts_at_hour)
    assert counts(importing("visits", text)) == (0, 0, 2, 0)


def test_a_corrected_amount_changes_the_visit(importing, ana, venue):
    importing("visits", VISITS + "v1,1,2026-03-05 20:00,10,,\n")
    assert counts(importing("visits", VISITS + "v1,1,2026-03-05 20:00,12,,\n")) == (0, 1, 0, 0)
    assert str(Visit.objects.get().amount) == "12.00"


@pytest.mark.parametrize(
    ("row", "column", "word"),
    [
        ("v1,99,2026-03-05,1,,", "customer_external_id", "no known guest"),
        ("v1,1,2026-03-05,1,Elsewhere,", "venue", "Casa Pepe Centro"),
        ("v1,1,31/02/2026,1,,", "visited_at", "does not exist"),
        ("v1,1,2031-01-01,1,,", "visited_at", "ahead"),
        ("v1,1,,1,,", "visited_at", "empty"),
        ("v1,1,2026-03-05,lots,,", "amount", "amount"),
        ("v1,1,2026-03-05,1,,0", "party_size", "guests"),
        (",1,2026-03-05,1,,", "external_id", "empty"),
        ("ok,1,2026-03-05,1,,", "external_id", "line 2"),
    ],
)
def test_a_row_that_does_not_fit_is_told(importing, ana, venue, row, column, word):
    summary = importing("visits", VISITS + f"ok,1,2026-03-05,1,,\n{row}\n")
    assert counts(summary) == (1, 0, 0, 1)
    (reject,) = summary.rejected
    assert (reject.line, reject.column) == (3, column)
    assert word in reject.reason


def test_without_any_venue_those_of_the_file_are_made(importing, ana, organization):
    importing("visits", VISITS + "v1,1,2026-03-05,1,Norte,\nv2,1,2026-03-06,1,Sur,\n")
    assert set(Venue.objects.values_list("name", "timezone")) == {
        ("Norte", "Europe/Madrid"),
        ("Sur", "Europe/Madrid"),
    }


def test_without_any_venue_and_none_in_the_file_the_organization_is_the_venue(importing, ana):
    importing("visits", VISITS + "v1,1,2026-03-05,1,,\n")
    assert Venue.objects.get().name == "Casa Pepe"
    assert Visit.objects.get().venue.name == "Casa Pepe"


def test_a_dry_run_makes_no_venue(importing, ana):
    assert importing("visits", VISITS + "v1,1,2026-03-05,1,,\n", dry_run=True).new == 1
    assert not Venue.objects.exists()


def test_a_file_of_customers_is_no_file_of_visits(importing):
    with pytest.raises(ImportRefusedError, match="needs the column"):
        importing("visits", "external_id,first_name,email\n1,Ana,a@example.com\n")


def test_a_booking_becomes_confirmed_once(importing, ana, venue, now):
    row = "r1,1,2026-07-01 21:00,4,{},\n"
    importing("reservations", BOOKINGS + row.format("pendiente"))
    booking = Reservation.objects.get()
    assert (booking.status, booking.confirmed_at, booking.revision) == ("requested", None, 0)
    assert booking.starts_at == datetime(2026, 7, 1, 19, 0, tzinfo=UTC)
    assert importing("reservations", BOOKINGS + row.format("Confirmada")).changed == 1
    booking.refresh_from_db()
    assert (booking.status, booking.confirmed_at, booking.revision) == ("confirmed", now, 0)
    assert counts(importing("reservations", BOOKINGS + row.format(""))) == (0, 0, 1, 0)


def test_a_moved_booking_raises_its_revision(importing, ana, venue):
    importing("reservations", BOOKINGS + "r1,1,2026-07-01 21:00,4,,\n")
    importing("reservations", BOOKINGS + "r1,1,2026-07-01 22:00,4,,\n")
    importing("reservations", BOOKINGS + "r1,1,2026-07-01 22:00,6,,\n")
    assert Reservation.objects.get().revision == 2


def test_a_cancelled_booking_is_cancelled(importing, ana, venue):
    importing("reservations", BOOKINGS + "r1,1,2026-07-01 21:00,4,,\n")
    importing("reservations", BOOKINGS + "r1,1,2026-07-01 21:00,4,cancelada,\n")
    assert Reservation.objects.get().status == "cancelled"


def test_a_booking_without_a_time_or_with_an_odd_status_is_refused(importing, ana, venue):
    text = BOOKINGS + "r1,1,2026-07-01,4,,\nr2,1,2026-07-01 21:00,4,perhaps,\n"
    assert [reject.column for reject in importing("reservations", text).rejected] == [
        "starts_at",
        "status",
    ]


@pytest.fixture
def purchases():
    """The folder of the real purchase histories, which are not part of the repository."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("REGULARS_SHARED") or root.parent / "shared") / "data/cdnow"
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{folder} is missing: set REGULARS_SHARED")
        pytest.skip(f"{folder} is not here: set REGULARS_SHARED to test with real histories")
    return folder


@pytest.mark.slow
def test_real_purchase_histories_go_in_and_go_in_again(purchases, organization):
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    expected = {"customers": 2357, "visits": 6919}
    for kind, rows in expected.items():
        summary = import_file(kind, purchases / f"{kind}.csv", organization, now=now)
        assert counts(summary) == (rows, 0, 0, 0)
    for kind, rows in expected.items():
        summary = import_file(kind, purchases / f"{kind}.csv", organization, now=now)
        assert counts(summary) == (0, 0, rows, 0)
