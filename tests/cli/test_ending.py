"""SIGTERM ends what serves with 0, whatever it is doing."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest
from tests import live

from regulars.lib import clock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def known(tmp_path):
    with live.temporary_database("ending") as url:
        yield live.environment(url, tmp_path)


def started(known, *command):
    return live.start(known, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process):
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    return process.returncode, said


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def answers(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def asked_until_gone(process):
    """Ask every hundredth of a second."""
    deadline = clock.boot_seconds() + 60
    while process.poll() is None and clock.boot_seconds() < deadline:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    said, _ = process.communicate()
    return process.returncode, said


@pytest.mark.parametrize("command", ["web", "up"])
def test_what_serves_ends_with_zero(known, port, command):
    process = started(known, command, "--port", str(port))
    live.wait_until(lambda: answers(port), seconds=60, what=f"{command} to serve")
    code, said = ended(process)
    assert code == 0, said
    assert "Traceback" not in said


def test_a_worker_that_has_not_found_its_database_yet_ends_with_zero(tmp_path):
    known = live.environment("postgresql://nobody@127.0.0.1:1/none", tmp_path)
    process = started(known, "worker")
    assert "waiting for it" in process.stdout.readline()
    assert ended(process) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_starting_worker_that_is_asked_again_and_again_ends_with_zero(known):
    process = started(known, "worker")
    live.wait_until(lambda: listens(process.pid), seconds=60, every=0.005, what="a worker that listens")
    assert asked_until_gone(process) == (0, "")


def test_a_working_worker_that_is_asked_again_and_again_ends_with_zero(known):
    process = started(known, "worker")
    with psycopg.connect(known["DATABASE_URL"], autocommit=True) as database:
        workers = "SELECT count(*) FROM procrastinate_workers"
        live.wait_until(lambda: database.execute(workers).fetchone()[0], seconds=60, what="a worker at work")
    code, said = asked_until_gone(process)
    assert code == 0, said
    assert "Traceback" not in said


def listens(pid):
    """Whether the process handles SIGTERM itself."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1
