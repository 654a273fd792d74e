"""Our run as its users have it: `regulars worker` processes, and a run that is started by hand."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from benchmarks.world import SECRET_KEY

ROOT = Path(__file__).parents[1]


def environment(url: str, home: Path) -> dict[str, str]:
    """What a process of this installation needs."""
    return {
        **os.environ,
        "DATABASE_URL": url,
        "REGULARS_HOME": str(home),
        "SECRET_KEY": SECRET_KEY,
        "REGULARS_PUBLIC_URL": "http://127.0.0.1",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "regulars.settings",
        "REGULARS_LOG_LEVEL": "WARNING",
    }


def start_worker(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "regulars", "worker"], env=environment)


def stop_worker(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


@contextlib.contextmanager
def workers(environment: dict[str, str], number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many worker processes, started and looking for work."""
    started = [start_worker(environment) for _ in range(number)]
    try:
        wait_until_they_look_for_work(environment["DATABASE_URL"], started)
        yield started
    finally:
        for worker in started:
            stop_worker(worker)


def wait_until_they_look_for_work(url: str, started: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT count(*) FROM procrastinate_workers").fetchone()
            if any(worker.poll() is not None for worker in started):
                break
            # Each process has several: one for each kind of work.
            if row and row[0] >= 4 * len(started):
                time.sleep(1)
                return
            time.sleep(0.1)
    sys.exit("The workers did not start")


class Starter:
    """A process that is ready to start the run the moment it is told to."""

    def __init__(self, environment: dict[str, str], automation: str) -> None:
        command = [sys.executable, "-m", "benchmarks.ours", automation]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            sys.exit("The run could not be made ready")

    def go(self) -> dict[str, float | str]:
        """Start the run: its id, and the moment (`monotonic`, `time`) before it was asked for."""
        told, _ = self.process.communicate("go\n", timeout=60)
        return json.loads(told)


def main() -> None:
    from regulars.cli import starting

    starting.start(migrate=False)
    from regulars.automations.models import Automation
    from regulars.lib import clock
    from regulars.runs import engine

    automation = Automation.objects.select_related("organization").get(pk=sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    moment = {"monotonic": time.monotonic(), "time": time.time()}
    run = engine.start(automation, now=clock.now())
    print(json.dumps(moment | {"run": str(run.pk)}), flush=True)


if __name__ == "__main__":
    main()
