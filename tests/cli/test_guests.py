"""Guests' rights and lists of stops from the command line."""

import csv
import json

import pytest
from click.testing import CliRunner

from regulars.cli import guests, starting
from regulars.cli.starting import CommandError
from regulars.customers.models import Customer, Suppression
from regulars.organizations.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(monkeypatch, organization):
    """Call `regulars customers|suppressions ...` in this process, on the test's database."""
    monkeypatch.setattr(starting, "start", lambda **_: None)

    def run(group, *arguments, **options):
        done = CliRunner().invoke(getattr(guests, group), [str(part) for part in arguments], **options)
        if isinstance(done.exception, CommandError):
            return str(done.exception)
        assert done.exit_code == 0, done.output
        return done.output

    return run


@pytest.fixture
def guest(make_customer):
    return make_customer(first_name="Marta", external_id="77", address="marta@example.com")


def test_a_guest_is_exported_by_either_number(call, guest, tmp_path):
    assert json.loads(call("customers", "export", guest.pk))["guest"][0]["first_name"] == "Marta"
    file = tmp_path / "marta.json"
    assert call("customers", "export", "x:77", "--output", file) == f"Wrote {file}\n"
    assert json.loads(file.read_text())["addresses"][0]["address"] == "marta@example.com"


@pytest.mark.parametrize("number", ["x:nobody", "0", "77x", "9" * 30])
def test_nobody_is_found_by_a_wrong_number(call, guest, number):
    assert call("customers", "export", number).startswith(f"There is no guest {number}.")


def test_nothing_is_erased_without_a_yes(call, guest):
    assert call("customers", "erase", guest.pk, input="n\n") == "Nothing was erased"
    assert call("customers", "erase", guest.pk, input="y\n").endswith(
        f"Erased guest {guest.pk}: 1 addresses suppressed, 0 messages name nobody\n"
    )
    assert not Customer.objects.filter(first_name="Marta").exists()


def test_two_become_one(call, guest, make_customer):
    other = make_customer()
    assert call("customers", "merge", "x:77", other.pk) == f"Merged into guest {guest.pk}; moved: nothing\n"
    assert "merged" in call("customers", "merge", guest.pk, other.pk)


def test_a_block_and_its_end(call, guest):
    assert call("customers", "block", guest.pk, "--reason", "press") == f"Guest {guest.pk} is blocked\n"
    assert call("customers", "block", guest.pk, "--reason", "press") == "Nothing changed\n"
    assert call("customers", "unblock", guest.pk) == f"Guest {guest.pk} is unblocked\n"
    assert AuditEvent.objects.filter(details__via="command line").count() == 2


def test_a_list_is_taken_in_and_each_line_answered(call, guest, tmp_path):
    file, answers = tmp_path / "robinson.csv", tmp_path / "answers.csv"
    file.write_bytes("\ufeffmarta@example.com\r\nnobody\r\n".encode())
    said = call("suppressions", "import", file, "--answers", answers)
    assert "1 added, 0 known already, 1 rejected" in said
    assert "line 2: is not a phone number" in said
    rows = list(csv.reader(answers.read_text().splitlines()))
    assert [row[:2] for row in rows] == [["line", "result"], ["1", "added"], ["2", "rejected"]]
    assert Suppression.objects.get().source == "robinson.csv"
    again = call("suppressions", "import", file, "--json")
    assert json.loads(again.splitlines()[-1]) == {"added": 0, "known": 1, "rejected": 1}
