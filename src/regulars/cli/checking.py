"""test: every check of the project in one command."""

import os
import subprocess
import sys
import tempfile
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


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run every check, then the tests. Arguments go to pytest and leave the other checks out.

    Uses a throwaway database in a temporary folder; never the one of this installation.
    """
    os.chdir(_ROOT)
    with tempfile.TemporaryDirectory(prefix="regulars-test-") as home:
        os.environ["REGULARS_HOME"] = home
        os.environ["DJANGO_SETTINGS_MODULE"] = "regulars.settings"
        os.environ["REGULARS_PG_TEST_FAST"] = "1"
        for name in ("CRON_SECRET", "SECRET_KEY", "REGULARS_EMBEDDED_URL"):
            os.environ.pop(name, None)
        starting.start_database()
        try:
            failed = [] if arguments else [name for name, command in _CHECKS if not _passes(name, command)]
            results = [_pytest(*suite) for suite in ([arguments] if arguments else _SUITES)]
        finally:
            _stop(Path(home))
    if failed:
        raise CommandError(f"These checks failed: {', '.join(failed)}")
    sys.exit(max(results))


# The browser's driver leaves an event loop running in its process, so its tests have one of their own.
# Three processes for the others on the two cores of the machine class this is built for: the crash tests
# spend most of their time waiting for what they have killed to be missed.
_SUITES = (
    ("-q", "tests/browser"),
    ("-q", "-n", "3", "--dist", "loadfile", "--ignore", "tests/browser"),
)


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def _passes(name: str, command: list[str]) -> bool:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    click.echo(f"{'ok' if done.returncode == 0 else 'FAILED'}  {name}")
    if done.returncode:
        click.echo(done.stdout + done.stderr)
    return done.returncode == 0


def _stop(home: Path) -> None:
    if not os.environ.get("DATABASE_URL"):
        from regulars import embedded

        embedded.stop(home)
