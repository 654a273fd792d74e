"""PostgreSQL servers to break: each with its own data, its own process, and fsync on.

`Server` is started from the programs that come along, as an ordinary account when we are root. Its
data may lie in a `Room` (a small file system that can be filled) and its network may hang on a
`Cable` (a namespace whose packets can be made to vanish); both need root.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from tests import live

from regulars.embedded import account, programs

SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "min_wal_size": "2MB",
    "max_wal_size": "24MB",
    "dynamic_shared_memory_type": "mmap",
    "autovacuum_naptime": "10s",
    # A segment of the log is a new file, for which a full disk has no room.
    "wal_recycle": "off",
    "restart_after_crash": "on",
    "logging_collector": "off",
    "log_min_messages": "log",
}


def can_do_everything():
    """Root on Linux, with the programs that make namespaces and mounts."""
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "nsenter", "mount")))


class Programs:
    """The programs, and data with the schema in it, made once and copied for each server."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="regulars-servers-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.account = account.choose(None, os.geteuid(), lambda _: None)
        (self.folder / "programs").mkdir()
        self.programs = programs.keep(programs.find(), self.folder / "programs")
        self.template = None

    def make_template(self):
        home = self.folder / "template"
        self.account.own(home)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=1"]
        made = self.account.run([self.programs.path("initdb"), "-D", f"{home}/data", "--no-sync", *options])
        assert made.returncode == 0, made.stderr
        with (home / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all trust\n")
        server = Server(self, home)
        server.start()
        known = live.environment(server.url, self.folder / "home")
        live.run(known, "manage", "migrate", "--verbosity", "0")
        server.end()
        self.template = home / "data"

    def server(self, folder, **options):
        """A new server over a copy of the data."""
        folder = Path(folder)
        self.account.own(folder)
        subprocess.run(["cp", "-a", self.template, folder / "data"], check=True)
        return Server(self, folder, **options)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Server:
    """One server; `url` reaches it through its socket, whatever happens to the network."""

    def __init__(self, made, folder, cable=None):
        self._made, self.folder, self._cable = made, Path(folder), cable
        self._process = self._keeper = None
        self._ending = threading.Event()
        self.starts = 0

    @property
    def url(self):
        return f"postgresql://postgres@/postgres?host={self.folder}"

    @property
    def network_url(self):
        return f"postgresql://postgres@{self._cable.there}:5432/postgres"

    @property
    def log(self):
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self, seconds=60):
        """Start it, however it ended, and wait until it takes queries."""
        self._begin()
        live.wait_until(self._answers, seconds=seconds, what=f"the server's start: {self.log[-2000:]}")

    def _begin(self):
        self.starts += 1
        user = self._made.account
        options = SETTINGS | {
            "unix_socket_directories": str(self.folder),
            "listen_addresses": self._cable.there if self._cable else "",
        }
        command = [self._made.programs.path("postgres"), "-D", str(self.folder / "data")]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        become = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.foreign else {}
        if self._cable:
            inside = [
                "nsenter",
                f"--net=/run/netns/{self._cable.name}",
                "-S",
                str(user.uid),
                "-G",
                str(user.gid),
            ]
            command, become = [*inside, *command], {}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=account.plain_environment(), cwd="/", **become
            )

    def _answers(self):
        if self._process.poll() is not None:
            # The processes of a killed one may still be there for a moment.
            self._begin()
        return self.answers()

    def answers(self):
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=3) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
        return False

    def keep(self):
        """From now on it is started again whenever it ends, as a service manager does."""

        def keep():
            while not self._ending.wait(0.5):
                if self._process.poll() is not None:
                    self._begin()

        self._keeper = threading.Thread(target=keep, daemon=True)
        self._keeper.start()

    def stop_at_once(self):
        """An immediate stop: as a crash, but for the postmaster's own last words."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def kill(self):
        """kill -9 of the postmaster; its processes notice by themselves."""
        self._process.kill()
        self._process.wait(30)

    def end(self):
        """A clean end."""
        self._ending.set()
        if self._keeper:
            self._keeper.join()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(20)


def _run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Room:
    """A small file system in memory; `fill` leaves no byte free, `free` gives it all back."""

    def __init__(self, folder, megabytes):
        self.folder = Path(folder)
        self.folder.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(self.folder))
        self._filler = self.folder / "filler"

    def fill(self):
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        continue

    def free(self):
        self._filler.unlink(missing_ok=True)

    def close(self):
        subprocess.run(["umount", "--lazy", self.folder], check=False)


class Cable:
    """A namespace with one pair of addresses; cut, its packets go to a card that nobody has.

    Nothing is refused and no link goes down: who waits for an answer waits.
    """

    NOBODY = "02:00:00:00:00:99"

    def __init__(self, number):
        self.name = f"regulars-db-{os.getpid()}-{number}"
        self._near, self._far = f"rdb{os.getpid() % 10000}n{number}", f"rdb{os.getpid() % 10000}f{number}"
        # Of this process alone: two suites on one machine must not meet.
        net = f"10.213.{os.getpid() % 250}"
        self.here, self.there = f"{net}.{4 * number + 1}", f"{net}.{4 * number + 2}"
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
        for inside, card, address in (
            ([], self._near, self.here),
            (["-n", self.name], self._far, self.there),
        ):
            _run("ip", *inside, "addr", "add", f"{address}/30", "dev", card)
            _run("ip", *inside, "link", "set", card, "up")
        _run("ip", "-n", self.name, "link", "set", "lo", "up")
        self._near_card = self._card(_run("ip", "link", "show", self._near))
        self._far_card = self._card(_run("ip", "-n", self.name, "link", "show", self._far))
        self.mend()

    @staticmethod
    def _card(shown):
        return re.search(r"link/ether (\S+)", shown).group(1)

    def cut(self):
        self._neighbours(self.NOBODY, self.NOBODY)

    def mend(self):
        self._neighbours(self._far_card, self._near_card)

    def _neighbours(self, of_here, of_there):
        for inside, card, address, hardware in (
            ([], self._near, self.there, of_here),
            (["-n", self.name], self._far, self.here, of_there),
        ):
            _run(
                "ip",
                *inside,
                "neigh",
                "replace",
                address,
                "lladdr",
                hardware,
                "nud",
                "permanent",
                "dev",
                card,
            )

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def backends(url, condition):
    """The server processes that serve others and fit."""
    with psycopg.connect(url, autocommit=True) as connection:
        query = f"""SELECT pid FROM pg_stat_activity
                     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {condition}"""
        return [row[0] for row in connection.execute(query)]


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def pause(seconds):
    time.sleep(seconds)
