"""The folder of one database: names, locks and the supervisor's notice.

Owns what lies in `$REGULARS_HOME/postgres` and how processes agree through
it. Three files carry the whole protocol, and all rest on `flock`, which the
kernel drops when a process dies in whatever way:

* `users`: every command holds it shared for as long as it lives. Whoever gets
  it exclusively knows that nobody uses the database.
* `supervisor.lock`: the supervisor holds it exclusively. Whoever holds it is
  the only process that may touch the data folder.
* `server.lock`: the server and each of its processes hold it. Free, it proves
  that no process of an earlier server is left, whatever its pid file says.

`state.json` is a notice, never evidence: it is believed only while the
supervisor's lock is held and the server answers.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from regulars.embedded.errors import CouldNotStartError

if TYPE_CHECKING:
    from pathlib import Path

PORT = 5432  # Names the socket file only; nothing listens on the network.
_READY_LINE = 7  # Of postmaster.pid, counted from 0; pg_ctl reads the same one.


@dataclass(frozen=True)
class Notice:
    """What the supervisor tells the commands."""

    supervisor: int
    host: str = field(default_factory=socket.gethostname)
    ready: bool = False
    data: str = ""
    sockets: str = ""
    programs: str = ""
    version: str = ""


class Home:
    """The database's folder inside `$REGULARS_HOME`."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.folder = self.home / "postgres"
        self.users = self.folder / "users"
        self.lock = self.folder / "supervisor.lock"
        self.server_lock = self.folder / "server.lock"
        self.notice = self.folder / "state.json"
        self.location = self.folder / "location"
        self.server_log = self.folder / "server.log"
        self.supervisor_log = self.folder / "supervisor.log"

    def make(self) -> None:
        """Create what is missing, closed to everyone else."""
        self._check_name()
        self.home.parent.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, exist_ok=True)
            _give_to_owner_of(self.home, self.folder)
        for file in (self.users, self.lock, self.server_lock, self.server_log, self.supervisor_log):
            if not file.exists():
                os.close(open_lock(file))
                _give_to_owner_of(self.folder, file)

    def _check_name(self) -> None:
        # PostgreSQL's own programs pass such paths to a shell, between double quotes.
        if any(character in '"$`\\\n' for character in str(self.home)):
            raise CouldNotStartError(
                f"PostgreSQL cannot live in a folder with a quote, a dollar sign, a backtick or a "
                f"backslash in its path ({self.home}). Set REGULARS_HOME to another folder."
            )

    def read_notice(self) -> Notice | None:
        try:
            return Notice(**json.loads(self.notice.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def write_notice(self, notice: Notice) -> None:
        """Replace the notice in one step: a reader sees the old or the new."""
        fresh = self.notice.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(notice)), encoding="utf-8")
        fresh.replace(self.notice)

    def supervised(self) -> bool:
        """Whether a supervisor lives.

        The probe holds the lock for a moment; a candidate therefore tries
        more than once before it believes that somebody else was elected.
        """
        return self.lock.exists() and held(self.lock)


def _give_to_owner_of(folder: Path, made: Path) -> None:
    """Let root's visit leave nothing that the folder's owner cannot use afterwards."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid:
        os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


def open_lock(path: Path) -> int:
    # Not inherited by children (Python's default): a lock must not outlive
    # its process in some forgotten grandchild.
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(descriptor: int, *, exclusive: bool) -> bool:
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def held(path: Path) -> bool:
    """Whether any process holds this file exclusively."""
    probe = open_lock(path)
    try:
        return not try_lock(probe, exclusive=False)
    finally:
        os.close(probe)


def lock_within(descriptor: int, seconds: float, *, exclusive: bool) -> bool:
    deadline = time.monotonic() + seconds
    while not try_lock(descriptor, exclusive=exclusive):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def server_process(data: Path) -> tuple[int, bool] | None:
    """The pid in the server's own file, and whether it says it is ready."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid, len(lines) > _READY_LINE and lines[_READY_LINE].strip() == "ready"


def answers(sockets: Path) -> bool:
    """Whether something accepts connections there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(sockets / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
    return True
