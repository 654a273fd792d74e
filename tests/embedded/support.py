"""Commands to kill, and questions to ask afterwards."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from regulars.embedded import home as homes

SOURCE = Path(__file__).parents[2] / "src"

_COMMAND = """
import sys
from pathlib import Path
from regulars.embedded import EmbeddedError, ensure
try:
    print(ensure(Path(sys.argv[1])), flush=True)
except EmbeddedError as problem:
    print(type(problem).__name__, problem, flush=True)
    sys.exit(1)
sys.stdin.read()
"""


class Command:
    """A command that uses the database until it is told to end."""

    def __init__(self, home, python=sys.executable, **options):
        environment = os.environ | {"PYTHONPATH": str(SOURCE)} | options.pop("env", {})
        self.process = subprocess.Popen(
            [python, "-c", _COMMAND, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd="/",
            **options,
        )

    def url(self):
        """Wait until it has the database."""
        said = self.process.stdout.readline().strip()
        assert said.startswith("postgresql://"), said + self.process.stdout.read()
        return said

    def error(self):
        """Wait until it gives up."""
        said = self.process.communicate(timeout=60)[0]
        assert self.process.returncode == 1, said
        return said

    def end(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.end()


def ask(url, query, *values):
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(query, values or None)
        return cursor.fetchone()[0] if cursor.description else None


def within(seconds, happened):
    """Wait until something is true, and fail if it never is."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def kill(pid):
    """Kill it and wait until it is dead, which takes a moment on a busy machine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    within(10, lambda: not works(pid))


def works(pid):
    """Whether it is alive, and no zombie that waits for init."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc").exists()


def nothing_left(home):
    """Whether neither a supervisor nor any process of a server lives."""
    place = homes.Home(home)
    return not place.supervised() and not homes.held(place.server_lock)
