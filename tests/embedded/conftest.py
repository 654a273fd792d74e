"""Homes to break, and commands to kill: real processes, real signals."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from regulars.embedded import ensure, stop

from .support import Command


@pytest.fixture(autouse=True)
def _throwaway(monkeypatch):
    monkeypatch.setenv("REGULARS_PG_TEST_FAST", "1")
    monkeypatch.delenv("REGULARS_PG_BIN", raising=False)


@pytest.fixture
def folder():
    """A folder that every account may pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="regulars-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for location in folder.rglob("postgres/location"):
        shutil.rmtree(location.read_text().strip(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def made_once():
    """A home whose database is made, so that most tests need not wait for that."""
    folder = Path(tempfile.mkdtemp(prefix="regulars-test-", dir="/tmp"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGULARS_PG_TEST_FAST", "1")
        patch.delenv("REGULARS_PG_BIN", raising=False)
        ensure(folder / "var")
    stop(folder / "var")
    yield folder / "var"
    shutil.rmtree(folder)


@pytest.fixture
def new_home(folder):
    """A home where nothing is yet."""
    home = folder / "var"
    yield home
    stop(home)


@pytest.fixture
def home(new_home, made_once):
    """A home whose server only has to start."""
    # The programs are only read: links will do.
    for name, how in (("data", "-a"), ("programs", "-al")):
        source = made_once / "postgres" / name
        (new_home / "postgres").mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", how, str(source), str(new_home / "postgres")], check=True)
    return new_home


@pytest.fixture
def command(new_home):
    """Start commands; none of them outlives the test."""
    started = []

    def start(**options):
        started.append(Command(new_home, **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()
