"""What a command does to have the database: hold its share, wait, connect.

A command never starts PostgreSQL itself. It holds the users' file shared,
which is what keeps the server up, and starts a supervisor if none lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from regulars.embedded.errors import CouldNotStartError, HeldElsewhereError, from_os, named
from regulars.embedded.home import (
    PORT,
    Home,
    Notice,
    answers,
    lock_within,
    open_lock,
    server_process,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 900.0  # An upgrade or a recovery of much data; ends early on any error.
_UNREACHABLE = 20.0  # A live supervisor that says ready, and no answer from its server.
_ELECTIONS = 5

_shares: dict[Path, int] = {}
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Status:
    """How the server of one home is doing."""

    running: bool
    url: str | None = None
    data: Path | None = None
    programs: Path | None = None
    version: str | None = None
    supervisor: int | None = None
    server: int | None = None


def print_to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def ensure(home: Path, *, announce: Callable[[str], None] = print_to_stderr) -> str:
    """Make sure the server is up and stays up while this process lives; return its URL.

    May be called again at any time, also to bring back a server whose
    supervisor was killed; the URL stays the same.
    """
    place = Home(home)
    with _one_at_a_time:
        try:
            place.make()
            _hold_share(place)
            return _url(_wait_until_ready(place, announce))
        except OSError as problem:
            raise from_os(problem, place.home) from problem


def _hold_share(place: Home) -> None:
    held = _shares.get(place.users)
    if held is not None and _same_file(held, place.users):
        return
    share = open_lock(place.users)
    # Waits only for a supervisor that is just closing down.
    if not lock_within(share, 60, exclusive=False):
        os.close(share)
        raise CouldNotStartError(
            f"The database in {place.home} has been shutting down for a minute. Wait a little "
            f"and try again; {place.supervisor_log} may say why."
        )
    _shares[place.users] = share


def _same_file(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _wait_until_ready(place: Home, announce: Callable[[str], None]) -> Notice:
    deadline = time.monotonic() + _PATIENCE
    elections = 0
    unreachable_since: float | None = None
    while time.monotonic() < deadline:
        notice = _serving(place)
        if notice:
            return notice
        if not place.supervised():
            elections += 1
            if elections > _ELECTIONS:
                break
            _start_supervisor(place, announce)
            continue
        unreachable_since = _check_reachable(place, unreachable_since)
        time.sleep(0.02)
    raise CouldNotStartError(
        f"The database in {place.home} did not come up. {place.supervisor_log} and "
        f"{place.server_log} may say why."
    )


def _serving(place: Home) -> Notice | None:
    """Return the notice if its server really takes queries right now."""
    notice = place.read_notice()
    if notice is None or not notice.ready or not place.supervised():
        return None
    process = server_process(Path(notice.data))
    if process is None or not process[1] or not answers(Path(notice.sockets)):
        return None
    return notice


def _check_reachable(place: Home, since: float | None) -> float | None:
    """Tell a server that restarts from one that lives where we cannot see it."""
    notice = place.read_notice()
    if notice is None or not notice.ready:
        return None
    elsewhere = notice.host != socket.gethostname()
    since = since if since is not None else time.monotonic()
    if time.monotonic() - since < (2.0 if elsewhere else _UNREACHABLE):
        return since
    raise HeldElsewhereError(
        f"Another container or machine ({notice.host}) already serves the database in "
        f"{place.home}, and it cannot be reached from here. Stop that one first, or give this one "
        "a REGULARS_HOME of its own, or let both use one DATABASE_URL."
    )


def _start_supervisor(place: Home, announce: Callable[[str], None]) -> None:
    """Start a supervisor and follow its report to the end."""
    reading, writing = os.pipe()
    try:
        with open(place.supervisor_log, "ab", opener=_private) as log:
            _bound(place.supervisor_log)
            starter = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "regulars.embedded.supervisor",
                    str(place.home),
                    str(writing),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                start_new_session=True,
                env=_environment(),
                cwd="/",
            )
        os.close(writing)
        writing = -1
        starter.wait()
        _follow(reading, announce)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _bound(log: Path) -> None:
    if log.stat().st_size > 1024 * 1024:
        os.truncate(log, 0)


def _environment() -> dict[str, str]:
    # The supervisor must find this very package, also when it is not installed.
    package_root = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{package_root}{os.pathsep}{known}" if known else package_root}


def _follow(reading: int, announce: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _PATIENCE
    pending = b""
    while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(reading, 65536)
        *lines, pending = (pending + part).split(b"\n")
        for line in lines:
            report = json.loads(line)
            if report["kind"] == "announcement":
                announce(report["text"])
            elif report["kind"] == "error":
                raise named(report["name"], report["text"])
        if not part:
            return


def _url(notice: Notice) -> str:
    # The port is said because a PGPORT in the environment would win otherwise.
    return f"postgresql://regulars@/regulars?host={quote(notice.sockets, safe='')}&port={PORT}"


def status(home: Path) -> Status:
    """Say how the server is doing, without starting anything."""
    notice = _serving(Home(home))
    if notice is None:
        return Status(running=False)
    process = server_process(Path(notice.data))
    return Status(
        running=True,
        url=_url(notice),
        data=Path(notice.data),
        programs=Path(notice.programs),
        version=notice.version,
        supervisor=notice.supervisor,
        server=process[0] if process else None,
    )


def stop(home: Path) -> None:
    """Stop the server at once, whoever uses it, and give up this process's share."""
    place = Home(home)
    share = _shares.pop(place.users, None)
    if share is not None:
        os.close(share)
    deadline = time.monotonic() + 60
    while place.supervised() and time.monotonic() < deadline:
        notice = place.read_notice()
        if notice:
            with contextlib.suppress(ProcessLookupError):
                os.kill(notice.supervisor, signal.SIGTERM)
        time.sleep(0.02)
