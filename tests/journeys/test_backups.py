"""Backups and restores by command: everything comes back, or nothing is changed."""

import re
from urllib.parse import urlsplit

import psycopg
import pytest
from tests import live
from tests.journeys.refusing import refused

PARTS = {
    "tables": """SELECT oid::regclass::text, coalesce(pg_get_expr(relpartbound, oid), '')
                   FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'c'""",
    "columns": """SELECT table_name, column_name, data_type, is_nullable, column_default, identity_generation
                    FROM information_schema.columns WHERE table_schema = 'public'""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
                       WHERE connamespace = 'public'::regnamespace""",
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "functions": """SELECT pg_get_functiondef(oid) FROM pg_proc
                     WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'""",
    "types": "SELECT enumtypid::regtype::text, enumlabel FROM pg_enum",
    "sequences": "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'",
    "rights": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname = 'public'",
}


def plain(rows):
    """Without brackets and casts, of which the server puts different ones around what it has reread."""
    return [re.sub(r"[()\[\]]|::character varying|::text", "", str(row)) for row in rows]


def picture(url):
    """Everything in the database: its schema, and the rows of each table."""
    with psycopg.connect(url) as connection:
        seen = {name: sorted(plain(connection.execute(query))) for name, query in PARTS.items()}
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = connection.execute(f'SELECT to_jsonb(r)::text FROM "{table}" r').fetchall()
            seen[table] = sorted(rows)
    return seen


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The demo restaurant: (its environment, its backup). Made once, for that takes seconds."""
    folder = tmp_path_factory.mktemp("saved")
    with live.temporary_database("saved") as url:
        environment = live.environment(url, folder / "home")
        live.run(environment, "demo", "--no-serve")
        live.run(environment, "backup", str(folder / "backup"))
        yield environment, folder / "backup"


@pytest.fixture
def backup(saved):
    return saved[1]


@pytest.fixture
def installation(saved):
    """One that is as it was when the backup was made."""
    environment, _ = saved
    source = urlsplit(environment["DATABASE_URL"]).path.lstrip("/")
    with live.temporary_database("restored", source) as url:
        yield environment | {"DATABASE_URL": url}


@pytest.mark.slow
def test_a_backup_brings_everything_back_as_often_as_needed(installation, backup):
    before = picture(installation["DATABASE_URL"])
    assert before["triggers"]
    assert len(before["messages"]) > 40
    for _ in range(2):
        live.run(installation, "organization", "create", "after")
        assert picture(installation["DATABASE_URL"]) != before
        live.run(installation, "restore", "--yes", str(backup))
        assert picture(installation["DATABASE_URL"]) == before


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_damaged_backup_changes_nothing(installation, backup, tmp_path, kept):
    whole = backup.read_bytes()
    (tmp_path / "half").write_bytes(whole[: int(len(whole) * kept)])
    live.run(installation, "organization", "create", "after")
    before = picture(installation["DATABASE_URL"])
    assert "nothing was changed" in refused(installation, "restore", "--yes", str(tmp_path / "half"))
    assert picture(installation["DATABASE_URL"]) == before


@pytest.mark.slow
def test_a_restore_that_the_server_refuses_changes_nothing(installation, backup):
    live.run(installation, "organization", "create", "after")
    before = picture(installation["DATABASE_URL"])
    strict = installation | {"PGOPTIONS": "-c default_transaction_read_only=on"}
    told = refused(strict, "restore", "--yes", str(backup))
    assert "read-only transaction" in told
    assert "nothing was changed" in told
    assert picture(installation["DATABASE_URL"]) == before
