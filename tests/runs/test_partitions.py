"""Messages live in months: what was there before keeps its place and ids, what comes finds its own."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from psycopg.rows import dict_row
from tests import live
from tests.runs.scripted import planned

from regulars.lib import clock, sql
from regulars.runs import partitions
from regulars.runs.models import Message

RUN = UUID(int=7)


def test_the_month_is_that_of_utc():
    there = datetime.fromisoformat("2026-03-01T00:30:00+02:00")
    assert partitions.name_of(partitions.month_of(there)) == "messages_2026_02"
    assert partitions.first_moment(partitions.month_of(there)) == datetime(2026, 2, 1, tzinfo=UTC)


def test_python_and_the_server_agree_on_the_month(db):
    for moment in (datetime(2020, 1, 1, tzinfo=UTC), datetime(2031, 12, 31, 23, 59, tzinfo=UTC)):
        row = sql.fetch_rows("SELECT regulars_month(%s) AS month", [moment])[0]
        assert row["month"] == partitions.month_of(moment)


def partition_of(message_id):
    query = "SELECT tableoid::regclass::text AS name FROM messages WHERE id = %s"
    return sql.fetch_rows(query, [message_id])[0]["name"]


@pytest.mark.django_db
def test_a_planned_message_lies_in_its_month_and_its_chunk_encloses_it(lapsed, make_automation):
    now = clock.now() + timedelta(days=70)
    for _ in range(3):
        lapsed()
    run = planned(make_automation(parameters={"days": 1, "max_days": 3650}), now)
    ids = sorted(Message.objects.values_list("pk", flat=True))
    assert {partition_of(message_id) for message_id in ids} == {partitions.name_of(partitions.month_of(now))}
    first, below = partitions.bounds(partitions.month_of(now))
    assert first <= ids[0] <= ids[-1] < below
    assert (run.chunks.get().first_id, run.chunks.get().last_id) == (ids[0], ids[-1])


@pytest.mark.django_db
def test_what_bears_an_older_month_finds_a_place(lapsed, make_automation, now):
    lapsed()
    planned(make_automation(), now.replace(year=2021))
    planned(make_automation(family="other", parameters={"max_days": 3650}), now)
    assert {partition_of(message_id) for message_id in Message.objects.values_list("pk", flat=True)} <= {
        "messages_before"
    }


@pytest.mark.django_db
def test_months_are_made_once_and_ahead():
    now = clock.now() + timedelta(days=900)
    partitions.ensure(now, ahead=3)
    made = partitions.months()
    assert {partitions.month_of(now) + ahead for ahead in range(4)} <= set(made)
    partitions.ensure(now, ahead=3)
    assert partitions.months() == made


@pytest.mark.django_db
def test_every_month_has_the_indexes_and_the_room_of_the_others():
    partitions.ensure(clock.now() + timedelta(days=900))
    rows = sql.fetch_rows(
        """SELECT child.relname AS name, child.reloptions,
                  (SELECT count(*) FROM pg_index WHERE indrelid = child.oid) AS indexes
             FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
            WHERE inhparent = 'messages'::regclass"""
    )
    assert {(tuple(row["reloptions"]), row["indexes"]) for row in rows} == {(("fillfactor=70",), 4)}


@pytest.fixture
def scratch(db):
    """An empty database of our own, as a URL."""
    name = f"{connection.settings_dict['NAME']}_old_shape"
    made = psycopg.connect(address("postgres"), autocommit=True)
    live.drop_database(made, name)
    made.execute(f'CREATE DATABASE "{name}"')
    yield address(name)
    live.drop_database(made, name)
    made.close()


def address(database):
    settings = connection.settings_dict
    user = quote(settings["USER"]) + (f":{quote(settings['PASSWORD'])}" if settings["PASSWORD"] else "")
    query = {"host": settings["HOST"], **({"port": settings["PORT"]} if settings["PORT"] else {})}
    return f"postgresql://{user}@/{quote(database)}?{urlencode(query)}"


def migrate(url, *target):
    command = [sys.executable, "-m", "django", "migrate", "--verbosity", "0", *target]
    environment = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "regulars.settings"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_ledger_of_the_old_shape_comes_along_whole(scratch):
    """Rows written before there were months keep their ids; chunks learn their ranges; what comes
    next lies in its month."""
    migrate(scratch, "runs", "0003")
    with psycopg.connect(scratch, row_factory=dict_row, autocommit=True) as database:
        database.execute(_OLD_ROWS)
        rows = "SELECT * FROM messages ORDER BY id"
        before = database.execute(rows).fetchall()
        assert [row["id"] for row in before] == list(range(1, 8))
        migrate(scratch)
        # What was added since is empty in what was there.
        assert database.execute(rows).fetchall() == [row | {"cost": None} for row in before]
        chunks = database.execute("SELECT number, first_id, last_id FROM run_chunks ORDER BY number")
        assert [tuple(row.values()) for row in chunks.fetchall()] == [(1, 1, 5), (2, 2, 7), (3, 0, 0)]
        added = database.execute(_COPY).fetchone()
        month = f"messages_{datetime.now(UTC):%Y_%m}"
        assert added == {"place": month, "month": partitions.month_of(datetime.now(UTC))}
        places = database.execute(
            "SELECT tableoid::regclass::text AS place, count(*) FROM messages GROUP BY 1"
        )
        assert {tuple(row.values()) for row in places.fetchall()} == {("messages_before", 7), (month, 1)}
        with pytest.raises(psycopg.errors.UniqueViolation):
            database.execute(_COPY.replace("INSERT INTO messages (", "INSERT INTO messages (id, ").replace(
                "SELECT run_id", "SELECT id, run_id"
            ))  # fmt: skip


_OLD_ROWS = f"""
INSERT INTO organizations (id, slug, name, timezone, country, language, currency, is_demo, run_roles,
                           fingerprint_key, created_at)
OVERRIDING SYSTEM VALUE
VALUES (1, 'casa', 'Casa', 'Europe/Madrid', 'ES', 'es', 'EUR', false, '[]', 'k', now());
INSERT INTO automations (id, organization_id, name, trigger, family, enabled, paused_reason, version_number,
                         created_at, updated_at)
VALUES ('{RUN}', 1, 'Win back', 'inactive', 'win_back', true, '', 1, now(), now());
INSERT INTO automation_logs (id, organization_id, automation_id, state, reason, origin, again, due,
                             skipped_by_reason, totals, created_at)
VALUES ('{RUN}', 1, '{RUN}', 'sending', '', 'manual', false, 7, '{{}}', '{{}}', now());
INSERT INTO run_chunks (run_id, number, account_id, first_id, last_id, urgent, epoch, total, sent, failed,
                        unknown, withheld, closed)
SELECT '{RUN}', number, 1, 0, 0, false, 0, 3, 0, 0, 0, 0, false FROM generate_series(1, 3) number;
INSERT INTO messages (organization_id, run_id, chunk_number, automation_id, version_id, customer_id, occasion,
                      purpose, channel, account_id, address, due_at, send_after, state, reason, error, epoch,
                      attempt, provider_id, created_at, state_at)
SELECT 1, '{RUN}', CASE WHEN number IN (2, 6, 7) THEN 2 ELSE 1 END, '{RUN}', 1, number, 'lapse:2026-01-01',
       'marketing', 'email', 1, 'guest' || number || '@example.com', now(), now(),
       CASE WHEN number < 3 THEN 'sent' ELSE 'queued' END, '', '', 0, 0, '', now() - interval '400 days', now()
  FROM generate_series(1, 7) number;
"""

_COPY = """
INSERT INTO messages (run_id, organization_id, chunk_number, automation_id, version_id, customer_id, occasion,
                      purpose, channel, account_id, address, due_at, send_after, state, reason, error, epoch,
                      attempt, provider_id, created_at, state_at)
SELECT run_id, organization_id, chunk_number, automation_id, version_id, customer_id, occasion,
       purpose, channel, account_id, address, due_at, send_after, state, reason, error, epoch,
       attempt, provider_id, created_at, state_at FROM messages LIMIT 1
RETURNING tableoid::regclass::text AS place, id >> 40 AS month
"""
