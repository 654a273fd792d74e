"""Bringing the data to a new major version of PostgreSQL.

The old server, with its own programs, dumps; the new one restores into a new
folder; the old folder stays beside it. Slower than `pg_upgrade` and far
harder to get wrong. The steps and what a crash leaves:

1. Dump into `dump.<random>`. A crash leaves the old data untouched; the next
   start dumps again.
2. Restore into `new.<random>`. The same.
3. Rename that to `data.upgraded`: from here on it is complete.
4. Rename `data` to `data-<old major>`, then `data.upgraded` to `data`. A crash
   between any two of these is finished by `finish_swap` at the next start.
   Nobody can have written in between, for only the holder of the
   supervisor's lock starts a server.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from regulars.embedded import cluster, programs
from regulars.embedded.errors import UpgradeError
from regulars.embedded.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regulars.embedded.programs import Programs

_DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"


class Upgrade:
    """One upgrade of the data below `root`."""

    def __init__(self, root: Path, server: Server) -> None:
        self.root = root
        self.server = server
        self.new = server.programs
        self.account = server.account

    def run(self, old_major: int, announce: Callable[[str], None]) -> None:
        old = programs.for_major(old_major, self.root / "programs")
        if old is None:
            raise _no_old_programs(self.root / "data", old_major, self.new)
        announce(
            f"Bringing the database from PostgreSQL {old_major} to {self.new.major}; "
            "this takes about a minute for each gigabyte."
        )
        dumps = cluster.fresh_folder(self.root, "dump", self.account)
        names = self._dump(old, dumps)
        self._restore(names, dumps).rename(self.root / "data.upgraded")
        finish_swap(self.root)
        shutil.rmtree(dumps, ignore_errors=True)
        announce(
            f"The database runs on PostgreSQL {self.new.major} now. The old one is kept in "
            f"{self.root / f'data-{old_major}'}; delete it when all is well."
        )

    def _dump(self, old: Programs, dumps: Path) -> list[str]:
        with self._serving(old, self.root / "data") as server:
            names = server.query(_DATABASES).splitlines()
            self._run(server.client("pg_dumpall", "--roles-only", "-f", str(dumps / "roles")))
            for number, name in enumerate(names):
                target = str(dumps / str(number))
                self._run(server.client("pg_dump", "-Fc", "-Z1", "-f", target, "-d", name))
        return names

    def _restore(self, names: list[str], dumps: Path) -> Path:
        fresh = cluster.create(self.new, self.account, self.root)
        with self._serving(self.new, fresh) as server:
            # Creating `postgres` fails, because it exists; what else may fail here shows
            # itself in the strict restore below.
            self.account.run(server.client("psql", "-Xq", "-f", str(dumps / "roles")))
            for number, name in enumerate(names):
                source = str(dumps / str(number))
                server.query(f"CREATE DATABASE {_quoted(name)}")
                self._run(server.client("pg_restore", "--exit-on-error", "-d", name, source))
                server.query(self._owner_of(name))
                server.query("ANALYZE", database=name)
        return fresh

    def _owner_of(self, name: str) -> str:
        # A dump of one database does not say who owns it; ours belongs to our role.
        return f"ALTER DATABASE {_quoted(name)} OWNER TO regulars"

    @contextlib.contextmanager
    def _serving(self, which: Programs, data: Path) -> Iterator[Server]:
        cluster.configure(data, self.account, set())
        # On a socket of its own, where no application finds and changes it.
        sockets = Path(tempfile.mkdtemp(prefix="regulars-", dir=self.server.sockets.parent))
        self.account.own(sockets)
        server = Server(which, self.account, data, sockets, self.server.home)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(sockets, ignore_errors=True)

    def _run(self, command: list[str]) -> None:
        answer = self.account.run(command)
        if answer.returncode:
            raise UpgradeError(
                f"The database could not be brought to PostgreSQL {self.new.major}: "
                f"{Path(command[0]).name} said: {answer.stderr.strip()}. The old data in "
                f"{self.root / 'data'} is untouched. Set REGULARS_PG_BIN to the old programs "
                "to go on with them."
            )


def finish_swap(root: Path) -> None:
    """Put a completed upgrade in place; does nothing when there is none."""
    upgraded, data = root / "data.upgraded", root / "data"
    if not upgraded.is_dir():
        return
    if data.is_dir():
        kept = root / f"data-{cluster.major_of(data)}"
        # An even older keepsake of the same number would stand in the way.
        if kept.exists():
            kept.rename(kept.with_name(f"{kept.name}.{int(kept.stat().st_mtime)}"))
        data.rename(kept)
    upgraded.rename(data)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _no_old_programs(data: Path, major: int, new: Programs) -> UpgradeError:
    return UpgradeError(
        f"The database in {data} was written by PostgreSQL {major}, and the programs at hand are "
        f"{new.version} ({new.folder}). To bring the data over, PostgreSQL {major} is needed once: "
        f"install it (on Debian: apt-get install -y postgresql-{major}) and start again; or set "
        f"REGULARS_PG_BIN to the programs of version {major} and go on with them."
    )
