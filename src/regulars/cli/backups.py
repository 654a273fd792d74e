"""backup, restore: the whole database in a file, by PostgreSQL's own client programs."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError

_NEEDED = ("pg_dump", "pg_restore", "psql")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Write the whole database to FILE (pg_dump's custom format).

    Keep $REGULARS_HOME/secret_key with it: provider passwords cannot be read without.
    """
    starting.start(migrate=False)
    told = subprocess.run(
        [_programs() / "pg_dump", "--format=custom", f"--file={file}", f"--dbname={_address()}"],
        env=_environment(),
        check=False,
    )
    if told.returncode:
        raise CommandError(f"pg_dump failed; {file} is no backup")
    click.echo(f"Wrote {file}. Keep {starting.home() / 'secret_key'} with it.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.confirmation_option(prompt="This replaces everything in the database. Go on?")
def restore(file: Path) -> None:
    """Replace the database by a backup FILE. Stop the web process and the workers first."""
    starting.start(migrate=False)
    # A pipe that psql has closed: it says itself why, and how it ended is looked at.
    with _session(_programs() / "psql") as session, contextlib.suppress(BrokenPipeError):
        _replace(file, session)
    click.echo(f"Restored {file}")


def _replace(file: Path, session: IO[bytes]) -> None:
    """Say all in one transaction, whose last word depends on the file having been read to its end."""
    session.write(f"BEGIN;\n{_EMPTY}".encode())
    session.flush()
    read = subprocess.run(
        [_programs() / "pg_restore", "--clean", "--if-exists", "--no-owner", "--file=-", file],
        stdout=session,
        check=False,
    )
    session.write(b"\nROLLBACK;\n" if read.returncode else b"\nCOMMIT;\n")
    session.flush()
    if read.returncode:
        raise CommandError("pg_restore failed; nothing was changed")


@contextlib.contextmanager
def _session(psql: Path) -> Iterator[IO[bytes]]:
    """What is written goes to our database; the first thing that it refuses ends it all."""
    command = [str(psql), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={_address()}"]
    with subprocess.Popen(
        command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as client:
        assert client.stdin is not None
        yield client.stdin
        with contextlib.suppress(BrokenPipeError):
            client.stdin.close()
        if client.wait():
            raise CommandError("psql failed; nothing was changed")


# `pg_restore --clean` drops thing by thing, which a partition's constraints and indexes do not allow.
# So what is in the schema goes first; extensions and the schema with its rights stay. The list is
# made before the first is dropped; tables come before the sequences that are theirs.
_EMPTY = """
SET client_min_messages = warning;
DO $$
DECLARE
  command text;
BEGIN
  FOREACH command IN ARRAY ARRAY(
    SELECT format('DROP %s IF EXISTS %s CASCADE', kind, name) FROM (
      SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                          WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind,
             format('%I.%I', current_schema(), relname) AS name, oid, 'pg_class'::regclass AS catalog,
             CASE relkind WHEN 'S' THEN 2 ELSE 1 END AS step
        FROM pg_class
       WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
      UNION ALL
      SELECT 'ROUTINE', format('%I.%I(%s)', current_schema(), proname,
                               pg_get_function_identity_arguments(oid)), oid, 'pg_proc'::regclass, 3
        FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
      UNION ALL
      SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END,
             format('%I.%I', current_schema(), typname), oid, 'pg_type'::regclass, 4
        FROM pg_type
       WHERE typnamespace = current_schema()::regnamespace
         AND (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND EXISTS (
               SELECT 1 FROM pg_class WHERE pg_class.oid = typrelid AND relkind = 'c'))
    ) thing
    WHERE NOT EXISTS (SELECT 1 FROM pg_depend
                       WHERE classid = catalog AND objid = thing.oid AND deptype = 'e')
    ORDER BY step, name)
  LOOP
    EXECUTE command;
  END LOOP;
END $$;
"""


def _address() -> str:
    from django.conf import settings
    from django.db import connection

    return address(settings.DATABASE_URL, connection.settings_dict["NAME"])


def address(url: str, name: str) -> str:
    """The database as its clients want it, with all that the URL says of the way there.

    Without the password: others on this machine can read what a process was started with.
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    # Any: the values are of several types, all of which go back to where they came from.
    parts: dict[str, Any] = conninfo_to_dict(url, dbname=name)
    parts.pop("password", None)
    return make_conninfo("", **parts)


def _environment() -> dict[str, str]:
    """Where the clients find the password."""
    from django.db import connection

    password = connection.settings_dict["PASSWORD"]
    return os.environ | ({"PGPASSWORD": password} if password else {})


def _programs() -> Path:
    """The folder of clients as new as the server, for older ones refuse: the machine's, else the wheel's."""
    from regulars.embedded import EmbeddedError, programs

    folders = [Path(found).parent] if (found := shutil.which("pg_dump")) else []
    with contextlib.suppress(EmbeddedError):
        folders.append(programs.find().folder)
    for folder in folders:
        complete = all((folder / program).exists() for program in _NEEDED)
        if complete and _major(folder / "pg_dump") >= _server_major():
            return folder
    raise CommandError(
        f"No {', '.join(_NEEDED)} of version {_server_major()} or newer were found: "
        "install the PostgreSQL client programs of the server's version"
    )


def _server_major() -> int:
    from django.db import DEFAULT_DB_ALIAS, connections

    # Any: the version is an attribute of the PostgreSQL backend only.
    connection: Any = connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    return int(connection.pg_version) // 10_000


def _major(program: Path) -> int:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    number = told.split()[2] if len(told.split()) > 2 else "0"
    return int(number.split(".")[0])
