"""Beside what a team would glue together instead, in one sitting, into one mail sink.

python -m benchmarks.peers                   django-post-office, Celery + Redis, and our run
python -m benchmarks.peers --kills 3         and what kill -9 at half does to each, three times

Each keeps a record per recipient in the same PostgreSQL. The tools are installed from the package
index into a temporary virtual environment; what cannot be had is left out in plain words.
"""

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import contest, meters, ours
from benchmarks.contest import Ground, keep, say
from benchmarks.sink import free_port, wait_for_port

GLUE = Path(__file__).with_name("glue")
PACKAGES = ("django>=5.2,<6", "django-post-office", "celery[redis]", "gevent", "psycopg[binary]")
# Nothing came for so long: what has not come by then counts as lost or stuck.
PATIENCE = 60.0


@dataclass
class Job:
    """One tool at work on N letters."""

    ground: Ground
    database: str
    environment: dict[str, str]
    processes: list[subprocess.Popen[Any]] = field(default_factory=list)

    def start(self, *command: str) -> subprocess.Popen[Any]:
        """In a session of its own, so that a kill reaches all of its processes."""
        process = subprocess.Popen(
            command,
            env=self.environment,
            cwd=GLUE,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def run(self, *command: str) -> None:
        process = self.start(*command)
        if process.wait():
            raise SystemExit(f"failed: {' '.join(command)} (BENCH_VERBOSE=1 shows why)")

    def kill(self) -> None:
        """kill -9 of every process of the tool at once."""
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class Tool:
    """How one contender is set up, started, and started again."""

    name = ""
    record = ""

    def prepare(self, job: Job) -> None:
        """What an installation has before the first letter."""

    def queue(self, job: Job, number: int) -> None:
        """Say who gets a letter."""

    def work(self, job: Job) -> None:
        """Start what sends; also after a kill."""

    def stuck(self, job: Job) -> str:
        """What its own record says of the letters that never came."""
        return ""


class PostOffice(Tool):
    record = "the whole letter"

    def __init__(self, python: Path, words: str, batch: str, processes: int) -> None:
        self.name = f"django-post-office, {words}"
        self.python, self.batch, self.number = str(python), batch, processes

    def prepare(self, job: Job) -> None:
        job.environment["BATCH_SIZE"] = self.batch
        job.run(self.python, "post_office_project.py", "migrate", "-v", "0")

    def queue(self, job: Job, number: int) -> None:
        job.run(self.python, "post_office_project.py", "queue", str(number))

    def work(self, job: Job) -> None:
        lock = str(job.ground.folder / f"lock-{job.database}")
        more = ["--processes", str(self.number), "--lockfile", lock]
        job.start(self.python, "post_office_project.py", "send_queued_mail", *more)

    def stuck(self, job: Job) -> str:
        rows = job.ground.server.ask(
            job.database, "SELECT status, count(*) AS number FROM post_office_email GROUP BY 1 ORDER BY 1"
        )
        words = {None: "waiting", 0: "sent", 1: "failed", 2: "queued", 3: "requeued"}
        return ", ".join(f"{row['number']} {words.get(row['status'], row['status'])}" for row in rows)


class Celery(Tool):
    record = "a row"

    def __init__(self, python: Path, words: str, broker: str, *pool: str, late: bool = False) -> None:
        self.name = f"Celery + Redis, {words}"
        self.python, self.broker, self.pool, self.late = str(python), broker, pool, late

    def prepare(self, job: Job) -> None:
        job.environment |= {"BROKER": self.broker, "ACKS_LATE": "1" if self.late else ""}
        with job.ground.server.connect(job.database) as connection:
            connection.execute(
                """CREATE TABLE letters (id bigint PRIMARY KEY, address text NOT NULL, name text NOT NULL,
                                         sent_at timestamptz)"""
            )
        purge = ["-A", "celery_project", "purge", "-f"]
        job.run(self.python, "-m", "celery", *purge)
        self.work(job)
        meters.nap(5)

    def queue(self, job: Job, number: int) -> None:
        job.run(self.python, "celery_project.py", "queue", str(number))

    def work(self, job: Job) -> None:
        if not any(process.poll() is None for process in job.processes):
            job.start(self.python, "-m", "celery", "-A", "celery_project", "worker", *self.pool)

    def stuck(self, job: Job) -> str:
        row = job.ground.server.ask(
            job.database, "SELECT count(*) AS number FROM letters WHERE sent_at IS NULL"
        )[0]
        return f"{row['number']} without a mark"


class Ours(Tool):
    record = "a row, guarded"

    def __init__(self, workers: int) -> None:
        self.name = f"our run, {workers} worker{'s' if workers > 1 else ''}"
        self.number = workers
        self.starter: ours.Starter | None = None

    def prepare(self, job: Job) -> None:
        self.work(job)
        ours.wait_until_they_look_for_work(job.environment["DATABASE_URL"], job.processes)
        self.starter = ours.Starter(job.environment, job.ground.automation)

    def queue(self, job: Job, number: int) -> None:
        assert self.starter is not None
        self.starter.go()

    def work(self, job: Job) -> None:
        if not any(process.poll() is None for process in job.processes):
            job.processes = []
            for _ in range(self.number):
                job.start(sys.executable, "-m", "regulars", "worker")

    def stuck(self, job: Job) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            state = job.ground.server.ask(job.database, "SELECT state FROM automation_logs")[0]["state"]
            if state == "finished":
                break
            meters.nap(0.5)
        rows = job.ground.server.ask(
            job.database, "SELECT state, count(*) AS number FROM messages GROUP BY 1 ORDER BY 1"
        )
        return f"run {state}: " + ", ".join(f"{row['number']} {row['state']}" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=1, help="how often each is killed at half")
    parser.add_argument("--only", help="contenders whose name contains this")
    parser.add_argument("--environment", help="a folder in which the installed tools are kept for next time")
    parser.add_argument("--results", help="a JSON file to add the figures to")
    asked = parser.parse_args()
    with contest.ground("smtp") as ground, contextlib.ExitStack() as stack:
        print(f"{meters.machine_line(ground.server.settings())}")
        place = Path(asked.environment).absolute() if asked.environment else ground.folder / "glue"
        tools = [*_peers(ground, place, stack), Ours(1), Ours(2)]
        if asked.only:
            tools = [tool for tool in tools if asked.only.lower() in tool.name.lower()]
        ground.build(asked.messages, "email")
        ground.server.create("empty")
        rates = [one for _ in range(asked.rounds) for tool in tools if (one := race(ground, tool, asked))]
        print(rate_table(rates), flush=True)
        kills = [killed(ground, tool, asked) for tool in tools for _ in range(asked.kills)]
        print(kill_table(kills))
        keep(asked.results, "peers", {"machine": meters.machine(), "rates": rates, "kills": kills})


def _peers(ground: Ground, place: Path, stack: contextlib.ExitStack) -> list[Tool]:
    """Those that can be had on this machine."""
    python = _environment(place)
    if python is None:
        return []
    versions = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = ("celery", "django-post-office", "gevent", "redis", "django")
    print("; ".join(line for line in versions if line.lower().split("==")[0].replace("_", "-") in wanted))
    found: list[Tool] = [
        PostOffice(python, "defaults", "", 1),
        PostOffice(python, "batch 5,000, 2 processes", "5000", 2),
    ]
    broker = stack.enter_context(_redis(ground.folder))
    if broker is None:
        say("redis-server is not installed (apt-get install redis-server): Celery is left out")
        return found
    return [
        *found,
        Celery(python, "prefork, 4 processes", broker, "-P", "prefork", "-c", "4"),
        Celery(python, "gevent, 64 greenlets", broker, "-P", "gevent", "-c", "64"),
        Celery(python, "prefork, late acknowledgement", broker, "-P", "prefork", "-c", "4", late=True),
    ]


def _environment(place: Path) -> Path | None:
    python = place / "bin" / "python"
    if python.exists():
        return python
    say(f"installing {', '.join(PACKAGES)} into an environment of their own")
    made = subprocess.run([sys.executable, "-m", "venv", place], check=False, capture_output=True, text=True)
    if made.returncode == 0:
        command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
        made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(place, ignore_errors=True)
        say(f"The peers could not be installed, so only our run is measured:\n{made.stderr[-500:]}")
        return None
    return python


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str | None]:
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    port = free_port()
    (folder / "redis").mkdir()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder / "redis")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _redis.pid = process.pid  # type: ignore[attr-defined]
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _job(ground: Ground, tool: Tool) -> Iterator[Job]:
    template = ground.template if isinstance(tool, Ours) else "empty"
    database = "trial_peer"
    ground.server.clone(database, template)
    environment = ground.environment(database) | {"SINK_PORT": str(ground.port), "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = environment["PYTHONPATH"] if isinstance(tool, Ours) else str(GLUE)
    # Celery reads this too; nothing here is a Django project of that name.
    if not isinstance(tool, Ours):
        environment.pop("DJANGO_SETTINGS_MODULE")
    job = Job(ground, database, environment)
    try:
        tool.prepare(job)
        ground.sink.reset()
        yield job
    finally:
        job.kill()
        ground.server.drop(database)


def _cpu(ground: Ground, job: Job) -> dict[str, float]:
    redis = getattr(_redis, "pid", None)
    return {
        "tool": sum(meters.cpu_seconds(p.pid) for p in job.processes if p.poll() is None),
        "server": ground.server.cpu_seconds(),
        "broker": meters.cpu_seconds(redis) if redis else 0.0,
    }


def race(ground: Ground, tool: Tool, asked: argparse.Namespace) -> dict[str, Any]:
    """From saying who gets a letter to the last letter's arrival."""
    with _job(ground, tool) as job:
        before, children = _cpu(ground, job), os.times()
        begun = time.monotonic()
        tool.queue(job, asked.messages)
        queued = time.monotonic()
        tool.work(job)
        _wait_for_letters(ground, asked.messages)
        after = _cpu(ground, job)
        ended = os.times()
        counts = ground.sink.counts()
        wall = counts["last_ns"] / 1e9 - begun
        # What has ended by then (the queueing, a sending command that is done) was awaited here.
        own = ended.children_user + ended.children_system - children.children_user - children.children_system
        found = {
            "name": tool.name,
            "record": tool.record,
            "messages": counts["messages"],
            "queueing": queued - begun,
            "wall": wall,
            "rate": counts["messages"] / wall,
            "cpu_ms": 1000 * (after["tool"] - before["tool"] + own) / asked.messages,
            "server_cpu_ms": 1000 * (after["server"] - before["server"]) / asked.messages,
            "broker_cpu_ms": 1000 * (after["broker"] - before["broker"]) / asked.messages,
        }
        say(f"{tool.name}: {found['rate']:,.0f}/s ({counts['messages']} letters in {wall:.1f} s)")
        return found


def killed(ground: Ground, tool: Tool, asked: argparse.Namespace) -> dict[str, Any]:
    """kill -9 of all of it when half has come, then started again as its operator would."""
    with _job(ground, tool) as job:
        tool.queue(job, asked.messages)
        tool.work(job)
        _wait_for_letters(ground, asked.messages // 2, every=0.005)
        job.kill()
        at_kill = ground.sink.counts()["messages"]
        tool.work(job)
        _wait_for_letters(ground, asked.messages, distinct=True)
        words = tool.stuck(job)
        counts = ground.sink.counts()
        found = {
            "name": tool.name,
            "at_kill": at_kill,
            "twice": counts["messages"] - counts["addresses"],
            "none": asked.messages - counts["addresses"],
            "says": words,
        }
        say(f"{tool.name}, killed at {at_kill}: {found['twice']} twice, {found['none']} none; {words}")
        return found


def _wait_for_letters(ground: Ground, number: int, *, every: float = 0.05, distinct: bool = False) -> None:
    """Until so many have come, or none for a minute."""
    name: str = "addresses" if distinct else "messages"
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < PATIENCE:
        counts = ground.sink.counts()
        if counts[name] >= number:
            return
        if counts["messages"] != seen:
            seen, since = counts["messages"], time.monotonic()
        time.sleep(every)


def _names(found: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(each["name"] for each in found))


def _middle(found: list[dict[str, Any]], name: str, key: str) -> float:
    return statistics.median(each[key] for each in found if each["name"] == name)


def rate_table(found: list[dict[str, Any]]) -> str:
    lines = [
        "\n| medians | letters a second | tool CPU, ms each | PostgreSQL CPU | broker CPU | record kept |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    cell: Callable[[str, str], float] = lambda name, key: _middle(found, name, key)  # noqa: E731
    for name in _names(found):
        record = next(each["record"] for each in found if each["name"] == name)
        lines.append(
            f"| {name} | {cell(name, 'rate'):,.0f} | {cell(name, 'cpu_ms'):.2f} | "
            f"{cell(name, 'server_cpu_ms'):.2f} | {cell(name, 'broker_cpu_ms'):.2f} | {record} |"
        )
    others = [cell(name, "rate") for name in _names(found) if not name.startswith("our")]
    best = [cell(name, "rate") for name in _names(found) if name.startswith("our")]
    if others and best:
        lines.append(f"\nOur best is {max(best) / max(others):.1f} times the fastest of the others.")
    return "\n".join(lines)


def kill_table(found: list[dict[str, Any]]) -> str:
    lines = [
        "\n| kill -9 at half | twice | none within a minute | what its own record says in the end |",
        "| --- | ---: | ---: | --- |",
    ]
    lines += [f"| {each['name']} | {each['twice']} | {each['none']} | {each['says']} |" for each in found]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
