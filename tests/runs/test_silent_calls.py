"""A statement of planning may take minutes, but not one that the server knows nothing of."""

import asyncio
import selectors
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from tests import live

from regulars.lib import async_database, watched_database
from regulars.lib.watched_database import MOST_LOOKS, WatchedConnection
from regulars.runs.pulse import Pulse
from regulars.runs.watchdog import Watchdog

pytestmark = pytest.mark.django_db(transaction=True)

LOCK, FREE = "SELECT pg_advisory_lock(4711)", "SELECT pg_advisory_unlock(4711)"


class Proxy:
    """Stands before the server; once `deaf`, it takes every byte and passes none on."""

    def __init__(self, folder, info):
        self.deaf, self._ended = False, threading.Event()
        self._info = info
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _server(self):
        if self._info.host.startswith("/"):
            line = socket.socket(socket.AF_UNIX)
            line.connect(f"{self._info.host}/.s.PGSQL.{self._info.port}")
            return line
        return socket.create_connection((self._info.host, self._info.port))

    def _serve(self):
        client, _ = self._listener.accept()
        with self._listener, client, self._server() as server, selectors.DefaultSelector() as chosen:
            chosen.register(client, selectors.EVENT_READ, server)
            chosen.register(server, selectors.EVENT_READ, client)
            while not self._ended.is_set():
                for key, _ in chosen.select(0.05):
                    if not (taken := key.fileobj.recv(65536)):
                        return
                    if not self.deaf:
                        key.data.sendall(taken)

    def close(self):
        self._ended.set()
        self._thread.join(10)


@pytest.fixture
def proxy():
    # A short path: that of a socket may not have more than a hundred characters.
    connection.ensure_connection()
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(Path(folder), connection.connection.info)
        proxy.folder = folder
        yield proxy
        proxy.close()


def watched(**changes):
    parameters = async_database.parameters() | {"autocommit": True} | changes
    return WatchedConnection.connect(**parameters)


def look(times):
    """As a worker does, without the seconds between; whom it gave up."""
    return asyncio.run(_look(times))


async def _look(times):
    pulse, given_up = Pulse(Watchdog()), []
    real = watched_database.looked
    database = await async_database.connect()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watched_database, "looked", lambda *seen: given_up.extend(real(*seen)) or [])
            for _ in range(times):
                await pulse._see_waits(database)
    finally:
        await database.close()
    return given_up


def until_it_waits(pid):
    live.wait_until(lambda: pid in watched_database.waited_for(), seconds=10, every=0.01)


def test_a_question_that_the_server_never_got_is_given_up(proxy):
    database = watched(host=proxy.folder, port=5432)
    proxy.deaf = True
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(database.execute, "SELECT 1")
        until_it_waits(database.server_pid)
        assert look(MOST_LOOKS - 1) == []
        assert not waiting.done()
        assert look(1) == [database.server_pid]
        with pytest.raises(psycopg.OperationalError):
            waiting.result(10)
    assert database.closed
    database.close()


def test_what_the_server_works_on_may_take_as_long_as_it_wants():
    with watched() as holder, watched() as database, ThreadPoolExecutor(1) as pool:
        holder.execute(LOCK)
        waiting = pool.submit(database.execute, LOCK)
        until_it_waits(database.server_pid)
        assert look(3 * MOST_LOOKS) == []
        assert not waiting.done()
        holder.execute(FREE)
        assert waiting.result(10)
        database.execute(FREE)


def test_djangos_connections_are_watched():
    connection.close()
    connection.ensure_connection()
    assert isinstance(connection.connection, WatchedConnection)
    assert connection.connection.server_pid == connection.connection.info.backend_pid
