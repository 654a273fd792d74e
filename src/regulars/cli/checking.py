"""test: every check of the project in one command."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError

_ROOT = Path(__file__).resolve().parents[3]

_CHECKS = (
    ("ruff", [sys.executable, "-m", "ruff", "check", "."]),
    ("ruff format", [sys.executable, "-m", "ruff", "format", "--check", "."]),
    ("import-linter", [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]),
    ("djlint", [sys.executable, "-m", "djlint", "--lint", "--quiet", "src/regulars"]),
    ("mypy", [sys.executable, "-m", "mypy"]),
    ("migrations", [sys.executable, "-m", "django", "makemigrations", "--check", "--dry-run"]),
)


# The browser's driver leaves an event loop running in its process, so its tests have one of their own.
_IN_A_BROWSER = ("-q", "tests/browser")
# Three processes on the two cores of the machine class this is built for: many tests spend most of their
# time waiting.
_OTHERS = ("-q", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder", "--ignore", "tests/browser")


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run every check and the tests. Arguments go to pytest and leave the other checks out.

    Uses a throwaway database in a temporary folder; never the one of this installation.
    """
    os.chdir(_ROOT)
    with tempfile.TemporaryDirectory(prefix="regulars-test-") as home, _database(Path(home)):
        if arguments:
            sys.exit(_pytest(*arguments).wait())
        failed = _everything()
    if failed:
        raise CommandError(f"These failed: {', '.join(failed)}")


@contextlib.contextmanager
def _database(home: Path) -> Iterator[None]:
    """The environment of the tests, with a server, and the schema that they copy (`tests/live.py`)."""
    template = f"regulars_template_{os.getpid()}"
    os.environ |= {
        "REGULARS_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "regulars.settings",
        "REGULARS_PG_TEST_FAST": "1",
        "REGULARS_TEST_TEMPLATE": template,
    }
    for name in ("CRON_SECRET", "SECRET_KEY", "REGULARS_EMBEDDED_URL"):
        os.environ.pop(name, None)
    starting.start_database()
    try:
        yield
    finally:
        _clear_up(home, template)


def _clear_up(home: Path, template: str) -> None:
    if url := os.environ.get("DATABASE_URL"):
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {template}")
    else:
        from regulars import embedded

        embedded.stop(home)


def _everything() -> list[str]:
    """The checks beside the tests in a browser, then all others; which of them failed.

    Checks and browser keep a core each busy; whatever else ran beside them would make both wait.
    """
    with ThreadPoolExecutor() as pool:
        checked = pool.submit(lambda: [name for name, command in _CHECKS if not _passes(name, command)])
        codes = {"tests in a browser": _pytest(*_IN_A_BROWSER).wait()}
        failed = checked.result()
    codes["tests"] = _pytest(*_OTHERS).wait()
    return [*failed, *(name for name, code in codes.items() if code)]


def _pytest(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "pytest", *arguments])


def _passes(name: str, command: list[str]) -> bool:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    click.echo(f"\n{'ok' if done.returncode == 0 else 'FAILED'}  {name}")
    if done.returncode:
        click.echo(done.stdout + done.stderr)
    return done.returncode == 0
