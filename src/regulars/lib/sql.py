"""Bridges between the ORM, which composes queries, and SQL, which runs set-based statements."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet


def compile_query(queryset: QuerySet[Any, Any]) -> tuple[str, tuple[Any, ...]]:
    """The SELECT that `queryset` would run, and its parameters, without running it.

    The text uses positional `%s` placeholders; literal percent signs are already doubled by Django.
    """
    compiler = queryset.query.get_compiler(using=queryset.db or DEFAULT_DB_ALIAS)
    text, parameters = compiler.as_sql()
    return text, tuple(parameters)


def fetch_rows(text: str, parameters: Any = None) -> list[dict[str, Any]]:
    """Run one statement on Django's connection and return its rows as dictionaries."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(text, parameters)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def stream_rows(text: str, parameters: Any = None, size: int = 2_000) -> Iterator[dict[str, Any]]:
    """Like `fetch_rows`, `size` rows in memory at a time, however many there are.

    The server keeps the result (on disk if it is large), not a transaction: a slow reader holds
    nothing up. To be read and closed in one thread.
    """
    with connections[DEFAULT_DB_ALIAS].chunked_cursor() as cursor:
        cursor.execute(text, parameters)
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(size):
            for row in rows:
                yield dict(zip(names, row, strict=True))


def execute(text: str, parameters: Any = None) -> int:
    """Run one statement on Django's connection and return the number of rows it touched."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(text, parameters)
        return int(cursor.rowcount)


def database_now() -> datetime:
    """The database's clock: the one that all machines share, however wrong their own are."""
    return cast("datetime", fetch_rows("SELECT clock_timestamp() AS now")[0]["now"])


def compile_named(queryset: QuerySet[Any, Any], prefix: str) -> tuple[str, dict[str, Any]]:
    """Like `compile_query`, with named placeholders `%(prefix_0)s`, so that several queries and
    our own named parameters can share one statement."""
    text, values = compile_query(queryset)
    numbers = iter(range(len(values)))
    named = re.sub(
        r"%(?:%|s)", lambda hit: hit[0] if hit[0] == "%%" else f"%({prefix}_{next(numbers)})s", text
    )
    return named, {f"{prefix}_{number}": value for number, value in enumerate(values)}
