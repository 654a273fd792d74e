"""Kills at every point: the next start takes over, and no committed row is lost."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from regulars.embedded import ensure, status, stop
from regulars.embedded.home import Home, server_process

from .support import SOURCE, ask, kill, nothing_left, within, works


@pytest.fixture(autouse=True)
def _lasting(monkeypatch):
    """A throwaway server would be right to forget rows."""
    monkeypatch.delenv("REGULARS_PG_TEST_FAST")


@pytest.fixture
def written(home, command):
    """A command, and a row that it committed."""
    started = command()
    url = started.url()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    return started


def test_everything_killed_at_once(home, written):
    found = status(home)
    for pid in (found.supervisor, found.server):
        kill(pid)
    written.kill()
    assert ask(ensure(home), "SELECT answer FROM kept") == 42
    assert status(home).supervisor != found.supervisor
    stop(home)
    assert nothing_left(home)


def test_a_killed_supervisor_takes_its_server_along_and_is_replaced(home, written):
    if sys.platform != "linux":
        pytest.skip("this kernel does not tell a child that its parent died")
    found = status(home)
    kill(found.supervisor)
    within(10, lambda: nothing_left(home))
    assert ask(ensure(home), "SELECT answer FROM kept") == 42


def test_a_killed_server_is_started_again_at_the_same_place(home, written):
    before = status(home)
    kill(before.server)
    within(10, lambda: status(home).running and status(home).server != before.server)
    after = status(home)
    assert (after.supervisor, after.url) == (before.supervisor, before.url)
    assert ask(after.url, "SELECT answer FROM kept") == 42


def test_a_leftover_pid_file_that_names_a_stranger(home, written):
    data = status(home).data
    written.kill()
    stop(home)
    stranger = subprocess.Popen(["/bin/sleep", "60"], user=data.stat().st_uid)
    try:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n1\n5432\n\n\n\nready   \n")
        assert ask(ensure(home), "SELECT answer FROM kept") == 42
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_first_start_that_was_killed_is_made_anew(new_home, command):
    first = command()
    within(20, lambda: list(new_home.glob("postgres/new.*/base")))
    os.kill(Home(new_home).read_notice().supervisor, signal.SIGKILL)
    first.kill()
    assert ask(ensure(new_home), "SELECT 1") == 1
    assert not list(new_home.glob("postgres/new.*/PG_VERSION"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes through /proc")
def test_processes_without_a_head_are_ended(home, written):
    """A busy backend does not notice that its postmaster was killed, and would go on writing."""
    found = status(home)
    with contextlib.closing(psycopg.connect(found.url, autocommit=True)) as busy:
        backend = busy.info.backend_pid
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000)")
        within(5, lambda: _cpu_time(backend) > 5)
        for pid in (found.supervisor, found.server):
            kill(pid)
        assert ask(ensure(home), "SELECT answer FROM kept") == 42
        assert not works(backend)


@pytest.mark.slow
def test_a_survivor_is_adopted(home, written):
    """Where the kernel has no death signal, the server outlives its supervisor and is taken over."""
    written.kill()
    stop(home)
    reading, writing = os.pipe()
    program = (
        "import regulars.embedded.server as s; s._libc = lambda: None; "
        "from regulars.embedded.supervisor import main; raise SystemExit(main())"
    )
    with os.fdopen(reading) as reports:
        subprocess.run(
            [sys.executable, "-c", program, str(home), str(writing)],
            pass_fds=[writing],
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
            check=True,
        )
        os.close(writing)
        assert '"ready"' in reports.read()
    before = status(home)
    kill(before.supervisor)
    within(5, lambda: not Home(home).supervised())
    assert server_process(before.data) == (before.server, True)
    assert ask(ensure(home), "SELECT answer FROM kept") == 42
    after = status(home)
    assert after.server == before.server
    assert after.supervisor != before.supervisor
    stop(home)
    assert nothing_left(home)


def test_a_home_that_was_deleted_under_a_running_command_begins_anew(home, written, monkeypatch):
    monkeypatch.setenv("REGULARS_PG_TEST_FAST", "1")
    stop(home)
    shutil.rmtree(home)
    url = ensure(home)
    assert ask(url, "SELECT count(*) FROM pg_class WHERE relname = 'kept'") == 0


def _cpu_time(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
