"""Django's connections, made so that a wait for an answer that will never come can be ended.

A statement of a planning may take minutes, so no time limit tells a long answer from a lost one. The
server does: what it works on it shows as active. A proxy that lost its other side, or a server's
process that never read the question, keeps the connection and shows nothing. So a worker asks, once
a second and over a connection of its own, which of its waits the server works on (`runs.pulse`); one
that it has not worked on at `MOST_LOOKS` looks in a row is ended from our side, as an
OperationalError, and its task is tried again.

Looks are counted, not seconds: neither a suspended machine nor a server that answers nobody (then
there is no look) ends anything.
"""

import os
import socket
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, cast

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

MOST_LOOKS = 20

ACTIVE = "SELECT pid FROM pg_stat_activity WHERE pid = ANY (%(pids)s) AND state = 'active'"


@dataclass(eq=False)
class _Wait:
    """One wait for the server, and how often in a row the server was found not to work on it."""

    connection: "WatchedConnection"
    missed: int = 0


# Threads of this process that wait for an answer just now.
_waits: list[_Wait] = []


class WatchedConnection(psycopg.Connection[Any]):
    """A connection of which this process knows when it waits, and for which process of the server."""

    # Asked of the server: what the protocol says may be a pooler's own number.
    server_pid: int | None = None

    @classmethod
    def connect(cls, *arguments: Any, **options: Any) -> Self:
        """As psycopg's; one that is not in autocommit is not watched."""
        connection = super().connect(*arguments, **options)
        if connection.autocommit:
            with psycopg.Cursor(connection) as cursor:
                row = cursor.execute("SELECT pg_backend_pid()").fetchone()
            connection.server_pid = row[0] if row else None
        return connection

    def wait(self, *arguments: Any, **options: Any) -> Any:
        """Every wait for the server passes here.

        Where this connection is found dead, none of those that the pool keeps is believed either: after
        a restart of the server all of them are, and the pool would find that out one by one, with a
        pause of 1, 2, 4 s after each, and give up.
        """
        wait = _Wait(self)
        _waits.append(wait)
        try:
            return super().wait(*arguments, **options)
        except psycopg.OperationalError:
            if self.broken:
                cast("Any", connections[DEFAULT_DB_ALIAS]).pool.drain()
            raise
        finally:
            _waits.remove(wait)

    def hang_up(self) -> None:
        """End whatever waits for an answer on it; from any thread."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)


def waited_for() -> list[int]:
    """The processes of the server for whose answer this process waits just now."""
    return [pid for wait in tuple(_waits) if (pid := wait.connection.server_pid)]


def looked(asked: Collection[int], active: Collection[int]) -> list[int]:
    """One look: the server was asked for `asked`, and works on `active`. Returns whom we gave up."""
    given_up = []
    for wait in tuple(_waits):
        pid = wait.connection.server_pid
        if pid is None or pid not in asked:
            continue
        wait.missed = 0 if pid in active else wait.missed + 1
        if wait.missed >= MOST_LOOKS:
            wait.connection.hang_up()
            given_up.append(pid)
    return given_up
