"""A (the ideal loop) against B (our run), interleaved, each on a fresh copy of one world."""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import meters, ours, server, sink, trial, world
from benchmarks.trial import Figures


@dataclass
class Ground:
    """What every trial stands on: a server, a sink, a template database with its automation."""

    server: server.Server
    sink: sink.Sink
    port: int
    folder: Path
    template: str = ""
    automation: str = ""

    def environment(self, database: str) -> dict[str, str]:
        return ours.environment(self.server.url(database), self.folder / "home")

    def build(self, number: int, channel: str, *more: str, kind: str = "") -> None:
        """Make the world that the next trials are copied from; `kind` names another provider."""
        self.template = f"world_{uuid.uuid4().hex[:8]}"
        self.server.create(self.template)
        say(f"building a world of {number:,} guests ({channel}) {' '.join(more)}".rstrip())
        environment = self.environment(self.template)
        self.automation = world.build(environment, number, channel, self.port, *more, kind=kind)

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[str]:
        """A fresh copy of the world, for one trial."""
        self.server.clone(name, self.template)
        try:
            yield name
        finally:
            self.server.drop(name)


@contextlib.contextmanager
def ground(protocol: str, folder: str | None = None, delay_ms: int = 0) -> Iterator[Ground]:
    """Server and sink, until the end of the block."""
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="regulars-bench-")))
        (place / "home").mkdir()
        made = stack.enter_context(server.running(Path(folder) if folder else None))
        counting = stack.enter_context(sink.running(place, protocol, delay_ms))
        say(meters.machine_line(made.settings()))
        yield Ground(made, counting, counting.port, place)


def say(words: str) -> None:
    """For the person who waits; the results go to standard output."""
    print(words, file=sys.stderr, flush=True)


def run_ideal(ground: Ground, processes: int) -> Figures:
    """One trial of the ideal loop."""
    with ground.copy("trial_ideal") as database, contextlib.ExitStack() as stack:
        command = [sys.executable, "-m", "benchmarks.ideal", ground.automation, str(ground.port)]
        started = []
        for number in range(processes):
            more = ["--join"] if number else []
            process = subprocess.Popen(
                [*command, *more],
                env=ground.environment(database),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end, process)
            started.append(process)
        for process in started:
            _line(process)
        meters.nap(1)

        def start() -> dict[str, Any]:
            for process in started:
                process.stdin.write("go\n")
                process.stdin.flush()
            return json.loads(_line(started[0]))

        def stop() -> None:
            for process in started:
                _end(process)

        pids = [process.pid for process in started]
        return trial.measure("ideal", ground.server, ground.sink, database, pids, start, stop)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("The ideal loop ended early")
    return line


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ValueError, OSError):
            process.communicate("", timeout=10)
    if process.poll() is None:
        process.kill()
        process.wait()


def run_ours(ground: Ground, processes: int) -> Figures:
    """One trial of our run, by real worker processes."""
    with ground.copy("trial_ours") as database:
        environment = ground.environment(database)
        with ours.workers(environment, processes) as workers:
            starter = ours.Starter(environment, ground.automation)

            def stop() -> None:
                for worker in workers:
                    ours.stop_worker(worker)

            pids = [worker.pid for worker in workers]
            return trial.measure("ours", ground.server, ground.sink, database, pids, starter.go, stop)


def interleaved(ground: Ground, processes: int, pairs: int) -> list[Figures]:
    """A B A B ...: what the machine does meanwhile happens to both."""
    found = []
    for _ in range(pairs):
        for one in (run_ideal, run_ours):
            found.append(one(ground, processes))
            say(short(found[-1]))
    return found


def short(figures: Figures) -> str:
    return (
        f"{figures.who:5} {figures.processes} process(es): {figures.wall:7.2f} s "
        f"({figures.rate:,.0f}/s; planned after {figures.planning:.2f} s, first message after "
        f"{figures.first_message:.2f} s) {figures.outcome}"
    )


ROWS: Sequence[tuple[str, str, str]] = (
    ("wall", "wall time, s", ".2f"),
    ("rate", "messages a second", ",.0f"),
    ("planning", "planned after, s", ".2f"),
    ("first_message", "first message after, s", ".2f"),
    ("cpu_ms", "processor time a message: sender, ms", ".3f"),
    ("server_cpu_ms", "processor time a message: PostgreSQL, ms", ".3f"),
    ("rows", "rows written a message", ".2f"),
    ("statements", "round trips (statements) a message", ".3f"),
    ("commits", "commits a message", ".3f"),
    ("wal_bytes", "WAL a message, bytes", ",.0f"),
    ("disk_bytes", "on disk a message, bytes", ",.0f"),
    ("peak_mb", "peak memory of a sender, MB", ".0f"),
)


def median(figures: Sequence[Figures], name: str) -> float:
    return statistics.median(getattr(each, name) for each in figures)


def table(found: Sequence[Figures]) -> str:
    """Medians and ratio, as a Markdown table."""
    ideal = [each for each in found if each.who == "ideal"]
    mine = [each for each in found if each.who == "ours"]
    lines = ["| median | ideal loop | our run | ratio |", "| --- | ---: | ---: | ---: |"]
    for name, words, form in ROWS:
        a, b = median(ideal, name), median(mine, name)
        ratio = f"{b / a:.2f}" if a else ""
        lines.append(f"| {words} | {a:{form}} | {b:{form}} | {ratio} |")
    return "\n".join(lines)


def keep(path: str | None, name: str, document: Any) -> None:
    """Put one result under its name into a JSON file that several benchmarks share."""
    if path is None:
        return
    file = Path(path)
    known = json.loads(file.read_text()) if file.exists() else {}
    known[name] = document
    file.write_text(json.dumps(known, indent=1) + "\n")
