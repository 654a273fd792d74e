"""Under which system account the server runs.

PostgreSQL refuses to run as root. An ordinary user's server runs as that
user. Root's server runs as whoever owns the data; for new data as `postgres`
if that account exists, else as `nobody`, else as an account that is made for
it and announced. No folder of anybody else is ever opened for that account:
what it cannot reach, the caller places elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regulars.embedded.errors import NoServerAccountError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

OWN_ACCOUNT = "regulars-db"


@dataclass(frozen=True)
class Account:
    """The account of the server's processes."""

    name: str
    uid: int
    gid: int

    @property
    def foreign(self) -> bool:
        """Whether it is not the account of this process."""
        return self.uid != os.geteuid()

    def drop(self) -> None:
        """Become this account for good; only in a fresh child process."""
        if self.foreign:
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)

    def run(
        self, command: Sequence[str], *, text: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one program as this account and wait for it."""
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=env or plain_environment(),
            user=self.uid if self.foreign else None,
            group=self.gid if self.foreign else None,
            extra_groups=[] if self.foreign else None,
        )

    def reaches(self, folder: Path) -> bool:
        """Whether it may enter this folder; asked of the kernel, as itself."""
        if not self.foreign:
            return True
        child = os.fork()
        if not child:
            reached = False
            try:
                self.drop()
                reached = os.access(folder, os.X_OK)
            finally:
                os._exit(0 if reached else 1)
        return os.waitpid(child, 0)[1] == 0

    def own(self, folder: Path) -> None:
        """Make a folder that only this account uses, inside one of ours."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.foreign:
            os.chown(folder, self.uid, self.gid)

    def let_through(self, folder: Path) -> None:
        """Let this account pass through a folder of ours, without listing it."""
        if self.foreign and folder.stat().st_uid == 0:
            os.chown(folder, 0, self.gid)
            folder.chmod(0o710)


def plain_environment() -> dict[str, str]:
    """Return what the programs need; the caller's PG* settings must not leak in."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def choose(data_owner: int | None, home_owner: int, announce: Callable[[str], None]) -> Account:
    """Decide who runs the server, given who owns the data (None: no data yet)."""
    own_uid = os.geteuid()
    if own_uid != 0:
        return _own_account(own_uid)
    if data_owner:
        return _by_uid(data_owner)
    # A home that belongs to an ordinary user stays that user's.
    with contextlib.suppress(NoServerAccountError):
        if home_owner:
            return _by_uid(home_owner)
    for name in ("postgres", "nobody", OWN_ACCOUNT):
        found = _by_name(name)
        if found:
            return found
    return _make(announce)


def _own_account(uid: int) -> Account:
    try:
        return _by_uid(uid)
    except NoServerAccountError as problem:
        raise NoServerAccountError(
            f"This process runs as user number {uid}, which has no name on this machine, and "
            "PostgreSQL refuses to run so. Run as a named user (in a container: add the user to "
            "/etc/passwd, or run as root), or set DATABASE_URL to a server of your own."
        ) from problem


def _by_uid(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise NoServerAccountError(
            f"The database's files belong to user number {uid}, which has no name on this "
            "machine. Add an account with that number, or give the files to an existing one."
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _by_name(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    # An account with root's number cannot run PostgreSQL.
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid) if entry.pw_uid else None


def _make(announce: Callable[[str], None]) -> Account:
    useradd, adduser = shutil.which("useradd"), shutil.which("adduser")
    if useradd:
        command = [useradd, "--system", "--user-group", "--no-create-home"]
        command += ["--shell", "/bin/false", OWN_ACCOUNT]
    elif adduser:  # BusyBox
        command = [adduser, "-S", "-D", "-H", OWN_ACCOUNT]
    else:
        raise _cannot_make("neither useradd nor adduser is installed")
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    made = _by_name(OWN_ACCOUNT)
    if answer.returncode or made is None:
        raise _cannot_make(answer.stderr.strip())
    announce(f"PostgreSQL refuses to run as root: made the system account {OWN_ACCOUNT} for it.")
    return made


def _cannot_make(reason: str) -> NoServerAccountError:
    return NoServerAccountError(
        "PostgreSQL refuses to run as root, no account `postgres` or `nobody` exists, and "
        f"{OWN_ACCOUNT} could not be made ({reason}). Add a system account named {OWN_ACCOUNT}, "
        "run Regulars as an ordinary user, or set DATABASE_URL to a server of your own."
    )
