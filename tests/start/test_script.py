"""`./regulars`: when it prepares .venv, and when it leaves it alone.

The script runs for real in a copy of the checkout; `uv` is a stand-in that
writes down how it was called and makes a .venv whose Python only tells what
it was asked to run.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_UV = """#!/bin/sh
# Stand-in for uv.
echo "$*" >>"$CALLS"
case $1 in
--version) echo uv 0 ;;
venv)
    for venv in "$@"; do :; done
    mkdir -p "$venv/bin"
    printf '#!/bin/sh\\necho "$@"\\n' >"$venv/bin/python"
    chmod +x "$venv/bin/python"
    ;;
pip) if [ -e "$HANG" ]; then sleep 60 & echo $! >"$HANG"; wait; fi ;;
esac
"""


class Checkout:
    """A copy of what the script needs, and a machine where only that is installed."""

    def __init__(self, folder):
        self.folder = folder
        self.calls = folder.parent / "calls"
        self.hang = folder.parent / "hang"
        tools = folder.parent / "tools"
        tools.mkdir()
        (folder / "requirements").mkdir(parents=True)
        for name in ("regulars", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("base", "dev"):
            (folder / "requirements" / f"{name}.lock").write_text(f"{name}==1\n")
        self.tool(tools / "uv", _UV)
        # What version managers leave on the PATH: it exists and fails.
        self.tool(tools / "python3.13", "#!/bin/sh\nexit 127\n")
        for name in ("python3.12", "python3.11", "python3"):
            self.tool(tools / name, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        self.environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "CALLS": str(self.calls),
            "HANG": str(self.hang),
        }

    @staticmethod
    def tool(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def start(self, *arguments, script=None, **options):
        return subprocess.Popen(
            [str(script or self.folder / "regulars"), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, *arguments, **options):
        """Run it; return what it printed and how often it prepared .venv."""
        self.calls.write_text("")
        with self.start(*arguments, **options) as process:
            said, complaints = process.communicate(timeout=30)
        assert process.returncode == 0, complaints
        return said.strip(), self.calls.read_text().count("pip sync")


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "a check out"
    folder.mkdir()
    return Checkout(folder)


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_every_shell_can_read_it(shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", str(ROOT / "regulars")], check=True)


def test_the_first_start_prepares_and_the_second_does_nothing(checkout):
    assert checkout.run("demo", "--port", "1 2") == ("-P -m regulars demo --port 1 2", 1)
    assert checkout.run("demo") == ("-P -m regulars demo", 0)
    assert checkout.calls.read_text() == ""


def test_without_a_command_it_shows_help(checkout):
    assert checkout.run()[0] == "-P -m regulars --help"


def test_a_later_start_costs_next_to_nothing(checkout):
    checkout.run("doctor")
    began = time.monotonic()
    for _ in range(5):
        checkout.run("doctor")
    assert (time.monotonic() - began) / 5 < 0.3


def test_an_edited_lock_is_followed(checkout):
    checkout.run("doctor")
    (checkout.folder / "requirements" / "base.lock").write_text("base==2\n")
    assert checkout.run("doctor")[1] == 1
    assert "venv" not in [call.split()[0] for call in checkout.calls.read_text().splitlines()]
    assert checkout.run("doctor")[1] == 0


@pytest.mark.parametrize(
    ("addition", "prepares"), [("\n[tool.ruff.format]\n", 0), ("\n[project.urls]\na = 'b'\n", 1)]
)
def test_only_what_is_installed_of_pyproject_matters(checkout, addition, prepares):
    checkout.run("doctor")
    with (checkout.folder / "pyproject.toml").open("a") as file:
        file.write(addition)
    assert checkout.run("doctor")[1] == prepares


def test_what_tests_need_is_also_enough_for_the_rest(checkout):
    checkout.run("doctor")
    assert checkout.run("test", "-k", "x") == ("-P -m regulars test -k x", 1)
    assert "dev.lock" in checkout.calls.read_text()
    assert checkout.run("doctor")[1] == 0
    assert checkout.run("test")[1] == 0
    (checkout.folder / "requirements" / "dev.lock").write_text("dev==2\n")
    assert checkout.run("doctor")[1] == 1
    assert "dev.lock" in checkout.calls.read_text()


def test_a_checkout_that_moved_is_prepared_again(checkout):
    checkout.run("doctor")
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("else where"))
    assert checkout.run("doctor")[1] == 1


def test_a_python_that_went_away_is_replaced(checkout):
    checkout.run("doctor")
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.11")
    assert checkout.run("doctor")[1] == 1


def test_it_runs_from_anywhere_and_through_a_link(checkout, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(checkout.folder / "regulars")
    assert checkout.run("doctor", script=link, cwd="/")[0] == "-P -m regulars doctor"
    assert not (tmp_path / ".venv").exists()


def test_a_venv_of_somebody_else_is_kept(checkout):
    (checkout.folder / ".venv" / "bin").mkdir(parents=True)
    (checkout.folder / ".venv" / "mine").touch()
    checkout.run("doctor")
    assert (checkout.folder / ".venv.before" / "mine").exists()


def test_a_start_that_was_killed_half_way_is_begun_again(checkout):
    checkout.hang.touch()
    killed = checkout.start("doctor", start_new_session=True)
    _until(checkout.hang.read_text)
    (checkout.folder / ".venv" / "half").touch()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    checkout.hang.unlink()
    assert checkout.run("doctor")[1] == 1
    assert not (checkout.folder / ".venv" / "half").exists()
    assert not (checkout.folder / ".venv.before").exists()


def test_of_two_starts_at_once_one_prepares_and_the_other_waits(checkout):
    checkout.hang.touch()
    first = checkout.start("doctor")
    _until(checkout.hang.read_text)
    sleeper = int(checkout.hang.read_text())
    checkout.hang.unlink()
    second = checkout.start("demo")
    assert "waiting" in second.stderr.readline()
    os.kill(sleeper, signal.SIGTERM)
    assert first.communicate(timeout=30)[0].strip() == "-P -m regulars doctor"
    assert second.communicate(timeout=30)[0].strip() == "-P -m regulars demo"
    assert checkout.calls.read_text().count("pip sync") == 1


def test_without_a_new_enough_python_it_says_what_to_install(checkout, tmp_path):
    tools = tmp_path / "bare"
    tools.mkdir()
    for name in ("cksum", "sed", "cat", "readlink", "sh"):
        (tools / name).symlink_to(shutil.which(name))
    Checkout.tool(tools / "python3", "#!/bin/sh\nexit 1\n")
    checkout.environment["PATH"] = str(tools)
    with checkout.start("doctor") as process:
        said, complaints = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said == ""
    assert "apt-get install -y python3" in complaints


def _until(happened):
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
