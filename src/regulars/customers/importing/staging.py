"""The table in which a batch waits for its merge: made for one import, filled by COPY."""

from typing import Any

from django.db import connection

from regulars.customers.importing.claims import SEEN
from regulars.customers.importing.registry import Importer
from regulars.lib import sql

STAGING = "import_staging"


def make_tables(importer: Importer) -> None:
    """Make the batch's table, and the one of who is in the import already."""
    columns = ", ".join(f"{name} {kind}" for name, kind in importer.staging)
    drop_tables()
    sql.execute(f"CREATE TEMP TABLE {STAGING} (line integer PRIMARY KEY, {columns})")
    # Who is in this file already: in the database, because a file may have millions of rows.
    sql.execute(f"CREATE TEMP TABLE {SEEN} (key text PRIMARY KEY, line integer NOT NULL)")


def drop_tables() -> None:
    """Remove both."""
    sql.execute(f"DROP TABLE IF EXISTS {STAGING}, {SEEN}")


def stage(importer: Importer, rows: list[tuple[Any, ...]]) -> None:
    """Put one batch of clean rows in, each beginning with its line, in place of the last batch."""
    names = ", ".join(name for name, _ in importer.staging[: len(rows[0]) - 1]) if rows else ""
    sql.execute(f"TRUNCATE {STAGING}")
    if not rows:
        return
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {STAGING} (line, {names}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
    sql.execute(f"ANALYZE {STAGING}")
