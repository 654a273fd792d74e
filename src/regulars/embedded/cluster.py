"""The data folder: made once, configured at each start.

Owns `initdb` and the files that say who may connect and how the server is
tuned. A new data folder is built beside its final place and appears there by
one rename: a first start that is killed leaves nothing that a second one
would take for a database.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from regulars.embedded.errors import CouldNotStartError, disk_full

if TYPE_CHECKING:
    from regulars.embedded.account import Account
    from regulars.embedded.programs import Programs

_ROOM_NEEDED = 100 * 1024 * 1024  # A fresh cluster and its first log segments.
_BUILTIN_LOCALE_SINCE = 17

_HBA = """\
# Written by Regulars at each start. Nobody comes in over the network.
local all all peer map=regulars
"""

_SETTINGS = """\
# Written by Regulars at each start; put your own settings into
# postgresql.conf, below the line that includes this file.
max_connections = 100
shared_buffers = {shared_buffers}MB
work_mem = 8MB
maintenance_work_mem = 128MB
dynamic_shared_memory_type = mmap  # /dev/shm is 64 MB in many containers
random_page_cost = 1.1
jit = off  # short statements: compiling costs more than it saves
wal_compression = on
max_wal_size = 1GB
checkpoint_timeout = 15min
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] '
log_checkpoints = off
# The words of a failed statement may hold a guest's name or address. Its
# program gets them anyway; the log keeps what concerns the server alone.
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
"""

_THROWAWAY = """\
# REGULARS_PG_TEST_FAST: for servers whose data nobody will miss.
fsync = off
full_page_writes = off
synchronous_commit = off
max_connections = 1200  # the crash tests keep dozens of frozen workers
"""

_LASTING = """\
fsync = on
full_page_writes = on
synchronous_commit = on
"""


def throwaway() -> bool:
    """Whether this is a test's server, which may forget everything in a crash."""
    return os.environ.get("REGULARS_PG_TEST_FAST") == "1"


def major_of(data: Path) -> int | None:
    """Return the major version that wrote this folder; None if it holds no database."""
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def fresh_folder(root: Path, name: str, account: Account) -> Path:
    """Make an empty folder to build something in, and clear away unfinished ones.

    Each gets a name of its own: a program of a killed start may still be
    writing into the last one.
    """
    for unfinished in root.glob(f"{name}.*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=root))
    account.own(fresh)
    return fresh


def create(programs: Programs, account: Account, root: Path) -> Path:
    """Build a new, configured cluster in a folder below `root` and return it."""
    _check_room(root)
    fresh = fresh_folder(root, "new", account)
    answer = account.run([programs.path("initdb"), "-D", str(fresh), *_initdb_options(programs)])
    if answer.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        raise _creation_failed(fresh, answer.stderr.strip())
    text = "\ninclude 'regulars.conf'\n# Your own settings go below this line.\n"
    path = fresh / "postgresql.conf"
    with open(path, "a", encoding="utf-8", opener=_not_through_links) as settings:
        settings.write(text)
    return fresh


def _not_through_links(path: str, flags: int) -> int:
    # Root writes here, in a folder that another account owns.
    return os.open(path, flags | os.O_NOFOLLOW)


def _initdb_options(programs: Programs) -> list[str]:
    options = ["--username=postgres", "--auth=peer", "--encoding=UTF8", "--locale=C"]
    options += ["--data-checksums", "--no-instructions"]
    if programs.major >= _BUILTIN_LOCALE_SINCE:
        # The server's own rules: no index breaks when the C library is upgraded.
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [*options, "--no-sync"] if throwaway() else options


def _check_room(folder: Path) -> None:
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize < _ROOM_NEEDED:
        raise disk_full(folder)


def _creation_failed(fresh: Path, said: str) -> Exception:
    if "No space left on device" in said:
        return disk_full(fresh.parent)
    return CouldNotStartError(f"A new database could not be made in {fresh.parent}. initdb said:\n{said}")


def configure(data: Path, account: Account, callers: set[str]) -> None:
    """Write who may connect and how the server is tuned."""
    lasting = _THROWAWAY if throwaway() else _LASTING
    _write(data / "regulars.conf", _SETTINGS.format(shared_buffers=_buffers()) + lasting, account)
    _write(data / "pg_hba.conf", _HBA, account)
    names = sorted(callers | {account.name, "root"})
    lines = [f'regulars "{name}" regulars' for name in names]
    lines.append(f'regulars "{account.name}" postgres')
    _write(data / "pg_ident.conf", "\n".join(lines) + "\n", account)


def _buffers() -> int:
    """A quarter gigabyte, half of that on a machine with less than four."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 256 if memory >= 4 * 1024**3 else 128


def _write(path: Path, text: str, account: Account) -> None:
    # By rename, so that a full disk cannot leave half a file; and never
    # through a link that the server's account may have put there.
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if account.foreign:
            os.fchown(file.fileno(), account.uid, account.gid)
    fresh.replace(path)


ROLE_AND_DATABASE = """\
SELECT 'CREATE ROLE regulars LOGIN CREATEDB'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'regulars') \\gexec
SELECT 'CREATE DATABASE regulars OWNER regulars'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'regulars') \\gexec
"""
