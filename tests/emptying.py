"""An empty database again after a test that committed.

Django's own way is TRUNCATE of every table, then content types and permissions made anew: a tenth of a
second of processor time, some four hundred times. Few tests write more than a few rows into a few
tables, and rows are deleted in a few milliseconds. The types and permissions are never changed: they stay.
"""

import functools

from django.apps import apps
from django.db import connection, transaction

# From this many rows of one table on, TRUNCATE is the cheaper way.
MANY = 500
KEPT = {"django_content_type", "auth_permission", "django_migrations"}


def empty():
    """Remove every row of every table, but for `KEPT`."""
    # What a delete leaves elsewhere (a trigger keeps a summary) is found when looking again.
    for _ in range(3):
        filled = _filled()
        if not filled:
            return
        if MANY in filled.values():
            break
        _delete(filled)
    _truncate()


@functools.cache
def _tables():
    """Who refers to others comes before them; what no model knows comes first."""
    found = set(connection.introspection.table_names()) - KEPT
    known = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
    behind = [name for name in reversed(known) if name in found]
    return [*sorted(found - set(behind)), *behind]


@functools.cache
def _question():
    one = "(SELECT '{0}', count(*) FROM (SELECT FROM \"{0}\" LIMIT {1}) AS found HAVING count(*) > 0)"
    return " UNION ALL ".join(one.format(name, MANY) for name in _tables())


def _filled():
    """{table: number of rows, at most `MANY`} of those that hold any."""
    with connection.cursor() as cursor:
        cursor.execute(_question())
        return dict(cursor.fetchall())


def _delete(filled):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL regulars.append_only = 'lifted'")
        for name in _tables():
            if name in filled:
                cursor.execute(f'DELETE FROM "{name}"')


def _truncate():
    names = ", ".join(f'"{name}"' for name in _tables())
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {names}")
