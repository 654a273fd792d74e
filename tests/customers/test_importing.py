import csv
import io
import os
from datetime import timedelta

import openpyxl
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regulars.customers import consent
from regulars.customers.importing import ImportRefusedError, engine, summary
from regulars.customers.models import Address, Consent, Customer, TierChange
from regulars.lib import append_only

HEADER = "external_id,first_name,last_name,email,phone,birthday,language,tier,tags,email_consent,consent_at\n"
ANA = "1,Ana,Ruiz,Ana@Example.com,612 345 678,1985-05-12,es,gold,vegan;terrace,yes,2026-01-01\n"


# Text as a table may hold it; control characters have tests of their own.
CELLS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12)


def counts(summary):
    return summary.new, summary.changed, summary.unchanged, summary.rejected_count


def versions():
    """The transaction that wrote each row: a rewritten row has another one."""
    found = {}
    with connection.cursor() as cursor:
        for table in ("customers", "addresses", "consents"):
            cursor.execute(f"SELECT id, xmin::text, ctid::text FROM {table} ORDER BY id")
            found[table] = cursor.fetchall()
    return found


def test_a_row_becomes_a_guest_with_addresses_and_consent(importing, organization):
    assert counts(importing("customers", HEADER + ANA)) == (1, 0, 0, 0)
    ana = Customer.objects.get(organization=organization, external_id="1")
    assert (ana.first_name, ana.last_name, ana.tier, ana.language) == ("Ana", "Ruiz", "gold", "es")
    assert (ana.birth_day, ana.birth_month, ana.birth_year) == (12, 5, 1985)
    assert ana.tags == ["vegan", "terrace"]
    assert set(ana.addresses.values_list("channel", "address")) == {
        ("email", "ana@example.com"),
        ("sms", "+34612345678"),
        ("whatsapp", "+34612345678"),
    }
    said = ana.consents.get()
    assert (said.channel, said.granted, said.source) == ("email", True, "import of file.csv")


def test_importing_again_rewrites_no_row(importing):
    importing("customers", HEADER + ANA)
    before = versions()
    assert counts(importing("customers", HEADER + ANA)) == (0, 0, 1, 0)
    assert versions() == before


def test_a_dry_run_counts_and_writes_nothing(importing, tmp_path):
    summary = importing("customers", HEADER + ANA + "2,Bad,,no-address,,,,,,,\n", dry_run=True)
    assert counts(summary) == (1, 0, 0, 1)
    assert not Customer.objects.exists()
    assert not list(tmp_path.glob("*.rejects.csv"))


def test_a_change_changes_only_what_the_file_says(importing):
    importing("customers", HEADER + ANA)
    summary = importing("customers", "external_id,tier,last_name\n1,vip,\n")
    assert counts(summary) == (0, 1, 0, 0)
    ana = Customer.objects.get(external_id="1")
    assert (ana.tier, ana.last_name, ana.first_name) == ("vip", "Ruiz", "Ana")
    assert list(TierChange.objects.values_list("tier_before", "tier")) == [("gold", "vip")]


def test_bringing_in_a_base_is_no_rise_of_its_tiers(importing):
    importing("customers", HEADER + ANA)
    assert not TierChange.objects.exists()


def test_a_new_phone_replaces_the_old_one(importing):
    importing("customers", HEADER + ANA)
    assert counts(importing("customers", "external_id,phone\n1,612345679\n")) == (0, 1, 0, 0)
    numbers = set(Address.objects.exclude(channel="email").values_list("address", flat=True))
    assert numbers == {"+34612345679"}


def test_an_import_withdraws_but_never_gives_back(importing):
    importing("customers", HEADER + ANA)
    importing("customers", "external_id,email_consent\n1,no\n")
    summary = importing("customers", "external_id,email_consent\n1,yes\n")
    assert counts(summary) == (0, 0, 1, 0)
    assert any("stay withdrawn" in note for note in summary.notes)
    assert not Consent.objects.get(is_current=True).granted


@pytest.mark.parametrize("cell", ["", "?", "unknown"])
def test_an_empty_or_unclear_consent_is_no_statement(importing, cell):
    importing("customers", HEADER + ANA)
    assert counts(importing("customers", f"external_id,email_consent\n1,{cell}\n")) == (0, 0, 1, 0)
    assert Consent.objects.get().granted


def test_an_old_file_does_not_undo_what_the_guest_said_since(importing, now):
    text = "external_id,email,email_consent,consent_source,consent_at\n1,a@example.com,no,form,2025-01-01\n"
    importing("customers", text)
    consent.record(Customer.objects.get(), "email", "marketing", True, source="web", at=now)
    assert counts(importing("customers", text)) == (0, 0, 1, 0)
    assert Consent.objects.get(is_current=True).granted


def test_a_guest_without_external_id_is_known_by_email_else_by_phone(importing):
    importing("customers", "email,phone,first_name\na@example.com,612345678,Ana\n,612345679,Eva\n")
    text = "email,phone,first_name\nA@example.com,,Anna\n,+34 612345679,Eva\n"
    assert counts(importing("customers", text)) == (0, 1, 1, 0)
    assert set(Customer.objects.values_list("first_name", flat=True)) == {"Anna", "Eva"}


def test_a_later_file_gives_a_known_guest_the_external_id(importing):
    importing("customers", "email\na@example.com\n")
    assert counts(importing("customers", "external_id,email\n7,a@example.com\n")) == (0, 1, 0, 0)
    assert Customer.objects.get().external_id == "7"


def test_the_same_person_twice_goes_in_once(importing):
    text = "external_id,first_name,email\n1,Ana,a@example.com\n1,Eva,e@example.com\n,Ana,a@example.com\n"
    summary = importing("customers", text)
    assert counts(summary) == (1, 0, 0, 2)
    assert [(reject.line, "line 2" in reject.reason) for reject in summary.rejected] == [(3, True), (4, True)]
    assert counts(importing("customers", text)) == (0, 0, 1, 2)


def test_two_guests_may_share_an_address(importing):
    text = "external_id,email\n1,a@example.com\n2,a@example.com\n"
    assert counts(importing("customers", text)) == (2, 0, 0, 0)
    assert counts(importing("customers", text)) == (0, 0, 2, 0)
    summary = importing("customers", "email,tier\na@example.com,vip\n")
    assert "several guests" in summary.rejected[0].reason


@pytest.mark.parametrize(
    ("column", "cell", "word"),
    [
        ("email", "ana", "e-mail"),
        ("phone", "12", "number"),
        ("birthday", "31/02/1990", "does not exist"),
        ("first_name", "x" * 100_000, "longer"),
        ("language", "?!", "language"),
        ("consent_at", "2027-01-01", "future"),
        ("tags", "x" * 65, "tag"),
    ],
)
def test_a_bad_cell_keeps_its_row_out_and_says_why(importing, column, cell, word, tmp_path):
    summary = importing("customers", f"external_id,{column}\n1,{cell}\n2,\n")
    assert counts(summary) == (1, 0, 0, 1)
    (reject,) = summary.rejected
    assert (reject.line, reject.column) == (2, column)
    assert word in reject.reason
    rows = list(csv.DictReader(io.StringIO(summary.rejects_path.read_text("utf-8-sig"))))
    assert (rows[0]["external_id"], rows[0][column]) == ("1", cell)
    assert summary.rejects_path == tmp_path / "file.csv.rejects.csv"


def test_a_mended_rejects_file_goes_in(importing):
    summary = importing("customers", "external_id,phone,email\n=1,+34612345678,wrong\n")
    rejects = summary.rejects_path.read_text("utf-8-sig")
    assert "'=1,'+34612345678" in rejects
    again = importing("customers", rejects.replace("wrong", "a@example.com"), name="mended.csv")
    assert counts(again) == (1, 0, 0, 0)
    assert Customer.objects.get().external_id == "=1"
    assert Address.objects.filter(address="+34612345678").count() == 2


def test_a_name_that_looks_like_a_formula_is_a_name(importing):
    importing("customers", "external_id,first_name\n1,=cmd|calc\n2,@ana\n")
    assert list(Customer.objects.order_by("id").values_list("first_name", flat=True)) == ["=cmd|calc", "@ana"]


def test_nul_bytes_and_line_breaks_in_a_cell_become_spaces(importing):
    importing("customers", 'external_id,first_name\n1,"An\x00a\nMaría"\n')
    assert Customer.objects.get().first_name == "An a María"


def test_ragged_rows(importing):
    summary = importing("customers", "external_id,first_name\n1\n2,Ana,\n3,Ana,x,y\n\n4,Eva\n")
    assert counts(summary) == (3, 0, 0, 1)
    assert summary.rejected[0].line == 4


def test_an_open_quotation_mark_swallows_only_its_own_line(importing):
    rows = "".join(f"{number},Name\n" for number in range(2, 100))
    summary = importing("customers", 'external_id,first_name\n1,"Ana\n' + rows)
    assert counts(summary) == (98, 0, 0, 1)
    assert summary.rejected[0].line == 2
    assert "quotation" in summary.rejected[0].reason


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf\r\n", "empty"),
        (bytes(range(256)) * 40, "not a table"),
        (b"%PDF-1.7 x", "not a table"),
        (b"PK\x03\x04 broken", "workbook"),
        (b"name,colour\nAna,red\n", "at least one"),
        (b"email,e-mail\na@example.com,b@example.com\n", "Two columns"),
        (b"external_id,customer_external_id,visited_at,amount\nv1,1,2026-01-01,3\n", "visits"),
    ],
)
def test_a_wrong_file_is_refused_in_words(importing, content, word):
    with pytest.raises(ImportRefusedError, match=word):
        importing("customers", content)


def test_a_missing_file_is_refused_in_words(organization, now, tmp_path):
    with pytest.raises(ImportRefusedError, match="cannot be read"):
        engine.import_file("customers", tmp_path / "none.csv", organization, now=now)


def test_a_header_without_rows_is_said(importing):
    summary = importing("customers", HEADER)
    assert counts(summary) == (0, 0, 0, 0)
    assert any("no rows" in note for note in summary.notes)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_offices_write_is_read(importing, encoding, separator):
    text = "Código,Nombre,Correo Electrónico,Móvil\r\n1,Begoña,b@example.com,612345678\r\n"
    importing("customers", text.replace(",", separator).encode(encoding))
    begona = Customer.objects.get()
    assert (begona.external_id, begona.first_name) == ("1", "Begoña")
    assert begona.addresses.count() == 3


def test_a_mapping_names_the_header(importing):
    text = "external_id,Nick\n1,Pepa\n"
    assert "Nick" in importing("customers", text).notes[0]
    importing("customers", text, mapping={"first_name": "nick"})
    assert Customer.objects.get().first_name == "Pepa"
    with pytest.raises(ImportRefusedError, match="no column"):
        importing("customers", text, mapping={"first_name": "nothing"})


def test_a_workbook_is_read_with_its_types(importing, now):
    book = openpyxl.Workbook()
    book.active.append(["external_id", "phone", "birthday", "sms_consent"])
    book.active.append([1.0, 612345678, now.replace(tzinfo=None, year=1985), True])
    file = io.BytesIO()
    book.save(file)
    assert counts(importing("customers", file.getvalue(), name="guests.xlsx")) == (1, 0, 0, 0)
    guest = Customer.objects.get()
    assert (guest.external_id, guest.birth_year, guest.birth_month) == ("1", 1985, 6)
    assert guest.addresses.filter(address="+34612345678").count() == 2
    assert guest.consents.get().granted


def test_birthdays_that_stand_for_unknown_are_left_out_and_said(importing):
    rows = "".join(f"{number},{1950 + number}-01-01\n" for number in range(19))
    summary = importing("customers", "external_id,birthday\na,1900-01-01\nb,0\nc,2030-01-01\n" + rows)
    assert counts(summary) == (22, 0, 0, 0)
    assert Customer.objects.filter(birth_month=1).count() == 19
    assert any(note.startswith("3 birthdays") for note in summary.notes)
    assert any(note.startswith("19 guests") and "1 January" in note for note in summary.notes)


def test_the_way_dates_were_read_is_said(importing):
    summary = importing("customers", "external_id,birthday\n1,03/04/1990\n2,04/25/1990\n")
    assert any("month first" in note for note in summary.notes)
    assert Customer.objects.get(external_id="1").birth_month == 3


def test_a_landline_is_kept_and_said(importing):
    summary = importing("customers", "external_id,phone\n1,912345678\n")
    assert set(Address.objects.values_list("bad_reason", flat=True)) == {"landline"}
    assert any("landlines" in note for note in summary.notes)


def test_small_batches_give_the_same_as_one(importing, monkeypatch):
    rows = "".join(f"{number % 9},g{number}@example.com\n" for number in range(20))
    monkeypatch.setattr(engine, "BATCH_ROWS", 3)
    seen = []
    summary = importing(
        "customers", "external_id,email\n" + rows, progress=lambda done, total: seen.append((done, total))
    )
    assert counts(summary) == (9, 0, 0, 11)
    assert seen[-1] == (20, 20)
    assert Address.objects.get(customer__external_id="3").address == "g3@example.com"


def test_an_import_cut_off_leaves_whole_batches_and_goes_on(importing, monkeypatch):
    monkeypatch.setattr(engine, "BATCH_ROWS", 2)
    text = "external_id,email\n" + "".join(f"{number},g{number}@example.com\n" for number in range(6))

    def stop(done, _total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importing("customers", text, progress=stop)
    assert Customer.objects.count() == 4
    assert counts(importing("customers", text)) == (2, 0, 4, 0)


def test_organizations_do_not_see_each_other(importing, organization, now, tmp_path):
    importing("customers", "external_id,email\n1,a@example.com\n")
    other = type(organization).objects.create(slug="other", name="Other")
    summary = engine.import_file("customers", tmp_path / "file.csv", other, now=now)
    assert counts(summary) == (1, 0, 0, 0)


def test_the_rejects_file_goes_home_where_the_folder_is_read_only(importing, tmp_path, settings):
    settings.HOME = tmp_path / "home"
    (tmp_path / "file.csv.rejects.csv").mkdir()
    summary = importing("customers", "external_id,email\n1,wrong\n")
    assert summary.rejects_path == tmp_path / "home/rejects/file.csv.rejects.csv"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=8))
def test_any_cells_are_counted_and_the_second_time_nothing_changes(importing, rows):
    with append_only.lifted():
        Customer.objects.all().delete()
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["external_id", "first_name", "birthday", "email_consent"])
    writer.writerows(rows)
    content = file.getvalue().encode(errors="replace")
    first = importing("customers", content)
    again = importing("customers", content)
    assert again.rows == first.rows
    assert (again.new, again.changed) == (0, 0)
    assert again.unchanged == first.new == Customer.objects.count()


def test_rejects_of_guests_are_not_kept_for_ever(settings, tmp_path, now):
    settings.HOME = tmp_path
    folder = tmp_path / "rejects"
    folder.mkdir()
    ages = {"old.csv.rejects.csv": 31, "new.csv.rejects.csv": 29, "else.txt": 31}
    for name, days in ages.items():
        (folder / name).write_text("Ana")
        moment = (now - timedelta(days=days)).timestamp()
        os.utime(folder / name, (moment, moment))
    assert summary.forget_rejects(now - timedelta(days=30)) == 1
    assert {path.name for path in folder.iterdir()} == {"new.csv.rejects.csv", "else.txt"}
