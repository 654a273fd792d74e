"""One running PostgreSQL process, as its supervisor sees it.

Owns starting, stopping and finding the process. It promises that a server
never outlives its supervisor unnoticed: where the kernel can, the server is
told to stop when the supervisor dies in whatever way; elsewhere the next
supervisor finds the survivor and takes it over.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from regulars.embedded.account import plain_environment
from regulars.embedded.errors import CouldNotStartError, disk_full
from regulars.embedded.home import PORT, answers, held, open_lock, server_process, try_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from regulars.embedded.account import Account
    from regulars.embedded.home import Home
    from regulars.embedded.programs import Programs

_PR_SET_PDEATHSIG = 1
_SLOW_START = 5.0  # Seconds after which a person should hear why it takes long.
_RECOVERY_LIMIT = 900.0
_PATIENCE_WITH_THE_KILLED = 10.0
_TAIL = 12  # Lines of the server's log that an error quotes.


class Server:
    """The server over one data folder, reached through one socket folder."""

    def __init__(self, programs: Programs, account: Account, data: Path, sockets: Path, home: Home) -> None:
        self.programs = programs
        self.account = account
        self.data = data
        self.sockets = sockets
        self.home = home
        self.log = home.server_log
        self.pid = 0
        self._is_child = False

    def start(self, announce: Callable[[str], None] = lambda _: None) -> None:
        """Start and return once it takes queries.

        Must be called from the main thread: the kernel ties the server's life
        to the thread that forked it.
        """
        libc = _libc()
        since = self._log_size()
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        supervisor = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            self._become_server(libc, log, supervisor)
        os.close(log)
        self._is_child = True
        self._wait_until_ready(since, announce)

    def _become_server(self, libc: ctypes.CDLL | None, log: int, supervisor: int) -> NoReturn:
        """Turn this forked child into the server.

        The order matters. Changing the user clears the death signal, so it is
        set afterwards; and a supervisor that died before it was set will never
        send it, so its absence is checked last. SIGINT asks for a fast, clean
        shutdown.
        """
        try:
            os.setsid()
            lock = self._lock_for_life()
            self.account.drop()
            if libc is not None:
                libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
                if os.getppid() != supervisor:
                    os._exit(1)
            os.set_inheritable(lock, True)
            os.umask(0o077)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            command = self._command()
            os.execve(command[0], command, plain_environment())  # noqa: S606
        except OSError as problem:
            os.write(log, f"could not run the server: {problem}\n".encode())
        finally:
            os._exit(127)

    def _lock_for_life(self) -> int:
        """Lock what the server and its processes inherit and hold until the last is gone."""
        lock = open_lock(self.home.server_lock)
        if not try_lock(lock, exclusive=True):
            os._exit(1)
        return lock

    def _command(self) -> list[str]:
        # What keeps strangers out is said here, where no file overrides it.
        socket_folder = str(self.sockets)
        return [
            # The whole path: the server looks for its share folder from here, and
            # a bare name would lead it to another PostgreSQL on the PATH.
            self.programs.path("postgres"),
            *("-D", str(self.data)),
            *("-c", "listen_addresses="),
            *("-c", f"unix_socket_directories={socket_folder}"),
            *("-c", "unix_socket_permissions=0700"),
            *("-c", f"port={PORT}"),
            *("-c", "logging_collector=off"),
            *("-c", "log_destination=stderr"),
        ]

    def _wait_until_ready(self, since: int, announce: Callable[[str], None]) -> None:
        began = time.monotonic()
        told = False
        while server_process(self.data) != (self.pid, True):
            waited = time.monotonic() - began
            if self.ended() or waited > _RECOVERY_LIMIT:
                self.stop()
                raise self._failure(since)
            if waited > _SLOW_START and not told:
                told = True
                announce("The database puts itself in order after an interruption; please wait.")
            time.sleep(0.005)

    def _failure(self, since: int) -> Exception:
        said = self.log_since(since)
        if "No space left on device" in said:
            return disk_full(self.data)
        tail = "\n".join(f"  {line}" for line in said.splitlines()[-_TAIL:])
        return CouldNotStartError(
            f"The database in {self.data} did not start. It said:\n{tail or '  (nothing)'}\n"
            f"The whole log is {self.log}."
        )

    def _log_size(self) -> int:
        try:
            return self.log.stat().st_size
        except FileNotFoundError:
            return 0

    def log_since(self, position: int) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")
        return ""

    def adopt(self, pid: int) -> None:
        """Take over a server that an earlier supervisor left."""
        self.pid = pid
        self._is_child = False

    def ended(self) -> bool:
        """Whether the process is gone; forgets it then."""
        if self.pid and self._is_child:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                    return False
        elif self.pid and alive(self.pid):
            return False
        self.pid = 0
        return True

    def forget(self) -> None:
        """Remove the socket's folder, which a killed server could not empty."""
        if self.pid == 0:
            _remove_pid_files(self)
            with contextlib.suppress(OSError):
                self.sockets.rmdir()

    def stop(self) -> None:
        """Stop cleanly; after half a minute less cleanly, which loses nothing either."""
        for order, patience in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5)):
            if self.ended():
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, order)
            deadline = time.monotonic() + patience
            while not self.ended() and time.monotonic() < deadline:
                time.sleep(0.005)

    def query(self, text: str, database: str = "postgres") -> str:
        """Run SQL as the server's own superuser; raise with its words on failure."""
        options = ("-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database)
        answer = self.account.run(self.client("psql", *options), text=text)
        if answer.returncode:
            raise CouldNotStartError(
                f"The database in {self.data} refused its first steps: {answer.stderr.strip()}"
            )
        return answer.stdout

    def client(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of a client program that talks to this server."""
        where = ("-h", str(self.sockets), "-p", str(PORT), "-U", "postgres")
        return [self.programs.path(name), *where, *arguments]


def _libc() -> ctypes.CDLL | None:
    """Load what the forked child needs beforehand; None where the kernel has no such signal."""
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def settle_survivors(server: Server, patience: float) -> None:
    """Leave no earlier server behind: it ends, or it is adopted, or it is ended.

    1. Where the kernel told it to stop, it gets the time to do so.
    2. If all its processes are gone, its leftover pid files are removed: the
       number may belong to a stranger by now (in containers at once) or to a
       zombie that nobody reaps, and PostgreSQL would refuse to start.
    3. A server that still serves, on our socket, is taken over.
    4. Anything else, a server that answers nobody or processes whose head was
       killed, is ended: two servers must never meet on one data folder.
    """
    deadline = time.monotonic() + patience
    while held(server.home.server_lock) and time.monotonic() < deadline:
        time.sleep(0.02)
    noted = server_process(server.data)
    if not held(server.home.server_lock):
        _remove_pid_files(server)
    elif noted and noted[1] and alive(noted[0]) and answers(server.sockets):
        server.adopt(noted[0])
    else:
        _end_processes(server)


def _end_processes(server: Server) -> None:
    deadline = time.monotonic() + _PATIENCE_WITH_THE_KILLED
    while held(server.home.server_lock):
        left = _processes_in(server.data.resolve())
        if time.monotonic() > deadline or not left:
            raise CouldNotStartError(
                f"An earlier server over {server.data} is still there and does not answer "
                f"(processes: {left or 'in another container'}). End it, then start again."
            )
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
    _remove_pid_files(server)


def _remove_pid_files(server: Server) -> None:
    socket = f".s.PGSQL.{PORT}"
    for leftover in (server.data / "postmaster.pid", *server.sockets.glob(f"{socket}*")):
        leftover.unlink(missing_ok=True)


def _processes_in(data: Path) -> list[int]:
    """Return the processes that work inside the data folder, as PostgreSQL's do.

    Only these are ever ended: the number in a file may belong to a stranger.
    Where there is no /proc, none is found and a person is asked instead.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == data:
                found.append(int(entry.name))
    return found
