"""Tables whose rows are never changed or removed: evidence. The database itself refuses it.

A migration puts the guard on a table (`guard`); only the verbs that the law or the owner asks for
(removing an organization) lift it, for one transaction.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import transaction

from regulars.lib import sql

_FUNCTION = """
CREATE FUNCTION keep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('regulars.append_only', true) = 'lifted' THEN
    RETURN coalesce(NEW, OLD);
  END IF;
  IF TG_OP = 'UPDATE' THEN
    {changeable}
    IF OLD IS NOT DISTINCT FROM NEW THEN
      RETURN {result};
    END IF;
  END IF;
  RAISE EXCEPTION '{table} is append-only: % refused', lower(TG_OP) USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER keep_{table} BEFORE UPDATE OR DELETE ON {table}
   FOR EACH ROW EXECUTE FUNCTION keep_{table}();
"""
_REMOVE = "DROP TRIGGER keep_{table} ON {table}; DROP FUNCTION keep_{table}();"
# The one change that a column allows, by its name in the migration.
_CHANGES = {
    "unmark": "IF OLD.{column} AND NOT NEW.{column} THEN OLD.{column} := FALSE; END IF;",
    "forget": "IF NEW.{column} IS NULL THEN OLD.{column} := NULL; END IF;",
}


def guard(table: str, changes: Sequence[tuple[str, str]] = ()) -> tuple[str, str]:
    """The SQL that makes `table` append-only, and the SQL that takes that back.

    `changes` are the exceptions, (kind, column): `unmark` lets a true become false, `forget` lets a
    value become null (a reference whose row is gone).
    """
    allowed = " ".join(_CHANGES[kind].format(column=column) for kind, column in changes)
    text = _FUNCTION.format(table=table, changeable=allowed or "NULL;", result="NEW")
    return text, _REMOVE.format(table=table)


@contextmanager
def lifted() -> Iterator[None]:
    """Within this transaction rows of append-only tables can be removed: for verbs that must."""
    with transaction.atomic():
        sql.execute("SET LOCAL regulars.append_only = 'lifted'")
        yield
        sql.execute("SET LOCAL regulars.append_only = 'kept'")
