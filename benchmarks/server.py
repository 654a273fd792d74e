"""A PostgreSQL for one benchmark: the programs and settings that the product itself would use.

Durable (fsync, full_page_writes, synchronous_commit on), on a unix socket, in a temporary folder,
gone afterwards. `pg_stat_statements` is loaded to count round trips, for everybody alike.
"""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from benchmarks import meters
from regulars.embedded import account, cluster, programs

_PR_SET_PDEATHSIG = 1


class Server:
    """A running server; `url(name)` is a database on it."""

    def __init__(self, process: subprocess.Popen[bytes], sockets: Path, version: str) -> None:
        self.process = process
        self.sockets = sockets
        self.version = version

    def url(self, database: str) -> str:
        return f"postgresql://regulars@/{database}?host={self.sockets}"

    def connect(
        self, database: str = "postgres", user: str = "regulars"
    ) -> psycopg.Connection[dict[str, Any]]:
        url = self.url(database).replace("regulars@", f"{user}@")
        return psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def ask(self, database: str, query: str, values: Any = None) -> list[dict[str, Any]]:
        """The rows of one query on a connection of its own."""
        with self.connect(database) as connection:
            return connection.execute(query, values).fetchall()

    def clone(self, name: str, template: str) -> str:
        """A fresh copy of a database, with everything on disk before and after; its URL."""
        self.drop(name)
        with self.connect(user="postgres") as connection:
            copied = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY OWNER regulars")
            connection.execute(copied.format(sql.Identifier(name), sql.Identifier(template)))
            connection.execute("CHECKPOINT")
            connection.execute("SELECT pg_stat_statements_reset()")
        return self.url(name)

    def create(self, name: str) -> str:
        """An empty database; its URL."""
        self.drop(name)
        with self.connect(user="postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER regulars").format(sql.Identifier(name)))
        return self.url(name)

    def drop(self, name: str) -> None:
        with self.connect(user="postgres") as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def cpu_seconds(self) -> float:
        return meters.cpu_seconds(self.process.pid)

    def statements(self, database: str) -> int:
        """Statements that programs have sent to this database since it was cloned (BEGIN included)."""
        with self.connect(user="postgres") as connection:
            row = connection.execute(
                """SELECT coalesce(sum(calls), 0)::bigint AS number FROM pg_stat_statements
                    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = %s)""",
                (database,),
            ).fetchone()
        assert row is not None
        return int(row["number"])

    def settings(self) -> str:
        """Version and what matters of the settings, in one line."""
        names = ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "wal_compression"]
        rows = self.ask(
            "postgres",
            "SELECT name, current_setting(name) AS value FROM unnest(%s::text[]) AS name",
            (names,),
        )
        return f"PostgreSQL {self.version} (" + ", ".join(f"{r['name']} {r['value']}" for r in rows) + ")"


@contextlib.contextmanager
def running(folder: Path | None = None, settings: Sequence[str] = ()) -> Iterator[Server]:
    """A new server until the end of the block. `folder`: where its data goes (default: temporary files)."""
    os.environ.pop("REGULARS_PG_TEST_FAST", None)
    # Told to end, a benchmark clears up like one that has ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    found = programs.find()
    user = account.choose(None, os.geteuid(), print)
    root = Path(tempfile.mkdtemp(prefix="regulars-bench-", dir=folder))
    user.let_through(root)
    found = programs.keep(found, root / "programs")
    (root / "programs").exists() and user.let_through(root / "programs")
    sockets = root / "s"
    user.own(sockets)
    data = cluster.create(found, user, root)
    cluster.configure(data, user, {pwd.getpwuid(os.geteuid()).pw_name})
    _let_the_caller_be_master(data)
    process = _start(found, user, data, sockets, settings)
    try:
        server = Server(process, sockets, found.version)
        _wait_until_ready(server)
        _first_steps(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(root, ignore_errors=True)


def _start(
    found: programs.Programs, user: account.Account, data: Path, sockets: Path, settings: Sequence[str]
) -> subprocess.Popen[bytes]:
    command = [
        *(found.path("postgres"), "-D", str(data), "-k", str(sockets), "-c", "listen_addresses="),
        *("-c", "shared_preload_libraries=pg_stat_statements", "-c", "max_connections=200"),
    ]
    for setting in settings:
        command += ["-c", setting]
    log = (data.parent / "server.log").open("wb")
    libc = ctypes.CDLL(None)

    def end_with_the_benchmark() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)

    return subprocess.Popen(
        command,
        # After the change of user, which would clear it.
        preexec_fn=end_with_the_benchmark,  # noqa: PLW1509 - there are no threads here
        stdout=log,
        stderr=log,
        cwd="/",
        env=account.plain_environment(),
        user=user.uid if user.foreign else None,
        group=user.gid if user.foreign else None,
        extra_groups=[] if user.foreign else None,
    )


def _let_the_caller_be_master(data: Path) -> None:
    name = pwd.getpwuid(os.geteuid()).pw_name
    with (data / "pg_ident.conf").open("a") as file:
        file.write(f'regulars "{name}" postgres\n')


def _wait_until_ready(server: Server) -> None:
    for _ in range(600):
        with contextlib.suppress(psycopg.OperationalError):
            server.connect(user="postgres").close()
            return
        if server.process.poll() is not None:
            break
        meters.nap(0.05)
    log = (server.sockets.parent / "server.log").read_text(errors="replace")
    raise SystemExit(f"PostgreSQL did not start:\n{log[-2000:]}")


def _first_steps(server: Server) -> None:
    with server.connect(user="postgres") as connection:
        connection.execute("CREATE ROLE regulars LOGIN CREATEDB")
        connection.execute("GRANT pg_read_all_stats TO regulars")
        connection.execute("CREATE EXTENSION pg_stat_statements")
