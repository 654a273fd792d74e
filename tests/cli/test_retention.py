"""purge, organization remove, and what the doctor says of the messages' tables."""

import pytest
from click.testing import CliRunner

from regulars.cli import operations, people, retention, starting
from regulars.lib import sql
from regulars.organizations.models import Organization
from regulars.runs import partitions, purging

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(monkeypatch):
    """Call a command in this process, on the test's database."""
    monkeypatch.setattr(starting, "start", lambda **_: None)

    def call(command, *arguments, **options):
        return CliRunner().invoke(command, arguments, **options)

    return call


def test_purge_says_what_goes_and_what_stays(call, monkeypatch):
    asked = []
    months = [
        purging.Month("messages_2024_01", 12, 3_400_000),
        purging.Month("messages_2024_02", 7, 100_000, ("nobody knows whether 1 message arrived",)),
    ]

    def purge(now, keep_months, **options):
        asked.append((keep_months, options))
        return purging.Purged(months, {"delivery_events": 5, "skips": 0})

    monkeypatch.setattr(purging, "purge", purge)
    done = call(retention.purge, "--keep-months", "30", "--dry-run")
    assert asked == [(30, {"dry_run": True, "with_unknown": False})]
    assert "messages_2024_01: 12 messages, 3.4 MB\n" in done.output
    assert "stays: nobody knows" in done.output
    assert "delivery_events: 5" in done.output
    assert "skips" not in done.output
    assert "Nothing was removed" in done.output


def test_purge_takes_the_setting_and_removes_nothing_young(call, settings):
    settings.KEEP_MONTHS = 36
    assert "No message is that old" in call(retention.purge).output


def test_purge_refuses_in_words_what_would_blind_the_engine(call):
    done = call(retention.purge, "--keep-months", "1")
    assert isinstance(done.exception, starting.CommandError)
    assert "keep at least" in str(done.exception)


def test_purge_without_a_limit_asks_for_one(call, settings):
    settings.KEEP_MONTHS = 0
    assert "--keep-months" in str(call(retention.purge).exception)


def test_an_organization_is_removed_only_after_its_name_was_typed(call, organization):
    done = call(people.organization, "remove", organization.slug, input="yes\n")
    assert "Nothing was removed" in str(done.exception)
    assert Organization.objects.exists()
    done = call(people.organization, "remove", organization.slug, input=f"{organization.slug}\n")
    assert f"Removed {organization.slug}: 0 guests, 0 messages" in done.output
    assert not Organization.objects.exists()


def test_an_organization_is_removed_unasked_by_a_script(call, organization, make_customer):
    make_customer()
    done = call(people.organization, "remove", organization.slug, "--yes")
    assert f"Removed {organization.slug}: 1 guests" in done.output
    assert not Organization.objects.exists()


def test_the_doctor_tells_what_a_message_takes(monkeypatch):
    tables = [partitions.Partition("messages_before", 0, 8192), partitions.Partition("m", 1000, 411_808)]
    monkeypatch.setattr(partitions, "storage", lambda: tables)
    assert operations._messages() == (
        "about 1000 in 2 tables, one a month, 0.4 MB, 420 bytes each with indexes"
    )


def test_the_doctor_misses_the_table_of_next_month(monkeypatch):
    from regulars.lib import clock

    months = partitions.months()
    coming = partitions.month_of(clock.now()) + 1
    monkeypatch.setattr(partitions, "months", lambda: [month for month in months if month != coming])
    with pytest.raises(starting.CommandError, match=partitions.name_of(coming)):
        operations._messages()


def test_the_servers_own_counts_are_read():
    names = {table.name: table for table in partitions.storage()}
    assert next(iter(names)) == "messages_before"
    assert names[partitions.name_of(partitions.months()[-1])].size > 0
    assert sql.fetch_rows("SELECT pg_total_relation_size('messages_before') AS size")[0]["size"] == (
        names["messages_before"].size
    )
