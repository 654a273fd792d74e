"""Real processes on a database of their own: what the crash, journey and browser tests stand on."""

import atexit
import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def temporary_database(name, source=None):
    """The URL of a new database with the schema in it, beside the one of the other tests.

    It is a copy of `source` (a name), to which nobody may be connected meanwhile.
    """
    name = f"regulars_{name}_{os.getpid()}"
    source = source or template()
    with _maintenance() as connection:
        drop_database(connection, name)
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
    try:
        yield url_of(name)
    finally:
        with _maintenance() as connection:
            drop_database(connection, name)


@functools.cache
def template():
    """The name of a database with the schema in it: copying it is much faster than making the schema.

    The first who asks makes it. `./regulars test` names one for all processes of its tests, and removes
    it; without that name it is this process's own.
    """
    shared = os.environ.get("REGULARS_TEST_TEMPLATE")
    name = shared or f"regulars_template_{os.getpid()}"
    with _maintenance() as connection:
        # Until the end of the connection: of several who ask at once one makes it, the others wait.
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount == 0:
            _make_template(connection, name)
    if not shared:
        atexit.register(_remove, name)
    return name


def _make_template(connection, name):
    # It gets its name when it is whole.
    unfinished = f"{name}_unfinished"
    drop_database(connection, unfinished)
    connection.execute(f"CREATE DATABASE {unfinished}")
    with tempfile.TemporaryDirectory() as home:
        run(environment(url_of(unfinished), home), "manage", "migrate", "--verbosity", "0")
    connection.execute(f"ALTER DATABASE {unfinished} RENAME TO {name}")


def _remove(name):
    with _maintenance() as connection:
        drop_database(connection, name)


def _maintenance():
    return psycopg.connect(url_of("postgres"), autocommit=True)


def drop_database(connection, name):
    """Drop it with whoever is still connected.

    Not `WITH (FORCE)`: our role may not end the server's own cleaner, which plain DROP sends away.
    """
    connection.execute(OUR_CONNECTIONS, [name])
    connection.execute(f'DROP DATABASE IF EXISTS "{name}"')


OUR_CONNECTIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = %s AND usename = current_user AND pid <> pg_backend_pid()
"""


def url_of(name):
    """The URL of this database on the tests' server."""
    from django.conf import settings

    parts = urlsplit(settings.DATABASE_URL)
    # Not `urlunsplit` alone: it drops an empty host, and with it the two slashes.
    query = f"?{parts.query}" if parts.query else ""
    return (
        f"{parts.scheme}://{parts.netloc}/{name}{query}"
        if not parts.netloc
        else urlunsplit(parts._replace(path=f"/{name}"))
    )


def environment(database_url, home):
    """What a process of this installation needs."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "REGULARS_HOME": str(home),
        # Advertising by e-mail needs an address at which guests can unsubscribe.
        "REGULARS_PUBLIC_URL": "http://127.0.0.1",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "regulars.settings",
    }


def start(environment, *command, **options):
    """Start `regulars COMMAND` in the background."""
    return subprocess.Popen([sys.executable, "-m", "regulars", *command], env=environment, **options)


def run(environment, *command, check=True, **options):
    """Run `regulars COMMAND` to its end; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "regulars", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=options.pop("timeout", 120),
        check=False,
        **options,
    )
    assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def stop(process):
    """End a process as the system would; after fifteen seconds for good."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(condition, *, seconds, every=0.1, what="it"):
    """Poll `condition` until it gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(every)
    raise AssertionError(f"{what} did not happen within {seconds} s")
