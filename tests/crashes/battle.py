"""A world under fire: a database, a counting sink, restaurants, and workers that are killed in it.

`World.verdict()` holds the ledger against the sink. The sink is outside of everything that dies, so
it says who got what; the ledger has to agree or to say that it does not know.
"""

import atexit
import contextlib
import functools
import json
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.rows import dict_row
from tests import live

# The most that one sender lane may leave in doubt.
WINDOW = 64
# A run must be over this long after the last kill. A limit for liveness: what is measured is printed.
ALIVE_SECONDS = 120
# Of all worlds: their processes have one mother.
SECRET_KEY = "only of worlds that end"


class Child:
    """A process that the nursery bore."""

    def __init__(self, pid, ended):
        self.pid, self._ended, self.code = pid, ended, None

    def signal(self, number):
        if self.code is None and self._ended.empty():
            import os

            os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(10)

    def wait(self, seconds):
        """The exit code; below zero the signal that ended it."""
        if self.code is None:
            self.code = self._ended.get(timeout=seconds)
        return self.code

    @property
    def alive(self):
        with contextlib.suppress(queue.Empty):
            self.wait(0.001)
        return self.code is None


class Nursery:
    """One world's children. See `nursery.py`; this is its other end."""

    def __init__(self, environment, folder):
        self._environment, self._folder, self._number = environment, Path(folder), 0
        self._mother, self._children = _mother(), []

    def bear(self, environment=None, **order):
        """A child that carries out this order, in the environment of its world and this one."""
        order["log"] = str(self._folder / "processes.log")
        order["environment"] = self._environment | (environment or {})
        self._children.append(self._mother.bear(order))
        return self._children[-1]

    def result_of(self, call, arguments, seconds=120, environment=None):
        """What a function says that runs in a process of its own."""
        self._number += 1
        result = self._folder / f"result{self._number}.json"
        child = self.bear(call=call, arguments=arguments, result=str(result), environment=environment)
        code = child.wait(seconds)
        assert code == 0, f"{call} ended with {code}: {self.log()[-3000:]}"
        return json.loads(result.read_text())

    def log(self):
        path = self._folder / "processes.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        for child in self._children:
            if child.alive:
                child.kill()


@functools.cache
def _only_mother():
    made = Mother()
    atexit.register(made.close)
    return made


_LOADING = threading.Lock()


def _mother():
    """That of all worlds of this process, made when it is first needed."""
    with _LOADING:
        return _only_mother()


class Mother:
    """The process that the children of all worlds are forked from."""

    def __init__(self):
        environment = live.environment("postgresql:///nowhere", "/nowhere") | {"SECRET_KEY": SECRET_KEY}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crashes.nursery"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=live.ROOT,
        )
        self._born, self._ended = queue.Queue(), {}
        self._bearing = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._born.get(timeout=60) is None, "the nursery did not start"

    def _read(self):
        for line in self._process.stdout:
            said = json.loads(line)
            if "ended" in said:
                self._ended.pop(said["ended"]).put(said["code"])
            elif "pid" in said:
                end = self._ended[said["pid"]] = queue.Queue()
                self._born.put(Child(said["pid"], end))
            else:
                self._born.put(None)

    def bear(self, order):
        """One order after another: each answer is that to the last one."""
        with self._bearing:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return self._born.get(timeout=30)

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._process.stdout.close()


@dataclass(frozen=True)
class Struck:
    """One line of the crash log."""

    at: float
    pid: int
    point: str
    action: str


@dataclass
class Verdict:
    """The ledger held against the sink. What must be empty is listed by address."""

    due: int
    planned: int
    arrived: int
    sent: int
    unknown: int
    # Arrived more than once.
    duplicates: list[str] = field(default_factory=list)
    # Neither sent nor unknown nor failed nor withheld: without an end.
    lost: list[str] = field(default_factory=list)
    # Arrived, and the ledger neither says so nor doubts it.
    denied: list[str] = field(default_factory=list)
    # The ledger says that it arrived, the sink does not.
    invented: list[str] = field(default_factory=list)
    # Unknown, and it did arrive: what a person would find to be so.
    in_doubt: int = 0
    states: dict[str, int] = field(default_factory=dict)
    unfinished: int = 0


STATES = """
SELECT state, count(*)::int AS number FROM messages GROUP BY state
"""
# A worker process listens to each queue by itself.
QUEUES = 6
NEW_WORKERS = "SELECT count(*)::int AS number FROM procrastinate_workers WHERE id > %(known)s"
OPEN_RUNS = """
SELECT count(*)::int AS number FROM automation_logs WHERE state <> 'finished' AND id = ANY (%(runs)s::uuid[])
"""


class World:
    """One installation under fire; `sizes` are the guests of each of its restaurants."""

    def __init__(self, url, folder, sizes, *, delay_ms=10, slice_size=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url, self.sizes, self.slice_size = url, sizes, slice_size
        self.crash_log = self.folder / "crashes.log"
        # The runs that were started, and how many guests are due in them.
        self.runs, self.due = [], 0
        self.environment = live.environment(url, self.folder / "home") | {"SECRET_KEY": SECRET_KEY}
        self._sink, self.base_url = self._start_sink(delay_ms)
        self.nursery = Nursery(self.environment, self.folder)
        self._connection, self._known_workers = None, 0
        self.children = []

    def _start_sink(self, delay_ms):
        script = Path(__file__).parent / "sink.py"
        command = [sys.executable, script, "--delay-ms", str(delay_ms)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        return process, f"http://127.0.0.1:{int(process.stdout.readline())}"

    def prepare(self):
        self.automations = self.do("build", sizes=self.sizes, base_url=self.base_url)
        return self

    def do(self, name, *, crash=None, **arguments):
        """Call a function of `world.py` inside the product."""
        environment = self._armed(crash, None)
        return self.nursery.result_of(f"tests.crashes.world:{name}", arguments, environment=environment)

    def _armed(self, crash, clock):
        return {
            "REGULARS_CRASH": crash or "",
            "REGULARS_CRASH_LOG": str(self.crash_log),
            "REGULARS_CLOCK": clock or "",
            "REGULARS_SLICE": str(self.slice_size or ""),
        }

    def start_runs(self, automations=None):
        chosen = automations or self.automations
        started = self.do("start", automations=chosen)
        self.runs += started
        self.due += sum(self.sizes[self.automations.index(one)] for one in chosen)
        return started

    def attempt(self, name, *, crash, **arguments):
        """Like `do`, in a process that is going to die of it; the child."""
        return self.nursery.bear(
            call=f"tests.crashes.world:{name}",
            arguments=arguments,
            result=str(self.folder / "dead.json"),
            environment=self._armed(crash, None),
        )

    def worker(self, crash=None, clock=None):
        child = self.nursery.bear(command=["worker"], environment=self._armed(crash, clock))
        self.children.append(child)
        return child

    def wait_until_at_work(self, child=None):
        """Until a worker process that was not there before waits for jobs in every queue.

        Or was struck: what a frozen one left undone may meet it before it has greeted everywhere.
        """
        live.wait_until(
            lambda: (
                self.number(NEW_WORKERS, known=self._known_workers) >= QUEUES
                or (child is not None and self.struck(child))
            ),
            seconds=ALIVE_SECONDS,
            what="a worker at work",
        )
        self._known_workers = self.number("SELECT max(id)::bigint FROM procrastinate_workers")

    def ask(self, query, **values):
        """Rows of the ledger."""
        if self._connection is None:
            self._connection = psycopg.connect(self.url, autocommit=True, row_factory=dict_row)
        return self._connection.execute(query, values).fetchall()

    def number(self, query, **values):
        return next(iter(self.ask(query, **values)[0].values()))

    def arrivals(self):
        with urllib.request.urlopen(f"{self.base_url}/arrivals", timeout=10) as answer:
            return json.load(answer)

    def arrived(self):
        """How many messages the sink has counted."""
        with urllib.request.urlopen(f"{self.base_url}/number", timeout=10) as answer:
            return json.load(answer)["number"]

    def arrived_at_least(self, number):
        return lambda: self.arrived() >= number

    def strikes(self):
        """What the crash log says, in order."""
        if not self.crash_log.exists():
            return []
        lines = [line.split() for line in self.crash_log.read_text().splitlines()]
        return [Struck(float(at), int(pid), point, action) for at, pid, point, action in lines]

    def struck(self, child):
        """Where this child was struck, if it was."""
        return next((strike for strike in self.strikes() if strike.pid == child.pid), None)

    def over(self):
        broken = self.ask(
            "SELECT DISTINCT state, reason FROM automation_logs WHERE state IN ('failed', 'paused')"
        )
        assert broken == [], broken
        return self.runs and self.are_over(self.runs)

    def are_over(self, runs):
        return self.number(OPEN_RUNS, runs=runs) == 0

    def unknown_addresses(self):
        return [row["address"] for row in self.ask("SELECT address FROM messages WHERE state = 'unknown'")]

    def taken_over(self):
        """Whether some chunk has had two owners."""
        return self.number("SELECT count(*)::int AS number FROM run_chunks WHERE unknown > 0") > 0

    def wait_until_over(self, seconds=ALIVE_SECONDS):
        live.wait_until(self.over, seconds=seconds, what="the end of all runs")

    def recovery_seconds(self, last_kill):
        """From the last kill to the end of the last run."""
        latest = self.number("SELECT extract(epoch FROM max(finished_at))::float FROM automation_logs")
        return latest - last_kill

    def ended_at(self, runs):
        """When the last of these runs was over, in seconds of the epoch."""
        latest = "SELECT extract(epoch FROM max(finished_at))::float FROM automation_logs WHERE id = ANY (%(runs)s::uuid[])"
        return self.number(latest, runs=runs)

    def verdict(self):
        arrivals = self.arrivals()
        rows = self.ask("SELECT address, state FROM messages")
        ledger = {row["address"]: row["state"] for row in rows}
        known = {"sent", "delivered", "read"}
        unknown = {address for address, state in ledger.items() if state == "unknown"}
        return Verdict(
            due=self.due,
            planned=len(rows),
            arrived=len(arrivals),
            sent=sum(state in known for state in ledger.values()),
            unknown=len(unknown),
            duplicates=sorted(address for address, times in arrivals.items() if len(times) > 1),
            lost=sorted(address for address, state in ledger.items() if state in ("queued", "sending")),
            denied=sorted(address for address in arrivals if ledger.get(address) not in known | {"unknown"}),
            invented=sorted(
                address for address, state in ledger.items() if state in known and address not in arrivals
            ),
            in_doubt=len(unknown & arrivals.keys()),
            states={row["state"]: row["number"] for row in self.ask(STATES)},
            unfinished=self.number(OPEN_RUNS, runs=self.runs),
        )

    def stop_workers(self):
        """Ask every worker that lives to end; their exit codes."""
        living = [child for child in self.children if child.alive]
        for child in living:
            child.signal(signal.SIGTERM)
        return [child.wait(15) for child in living]

    def close(self):
        self.nursery.close()
        self._sink.kill()
        self._sink.wait()
        self._sink.stdout.close()
        if self._connection is not None:
            self._connection.close()


@contextlib.contextmanager
def world(name, folder, sizes, **options):
    """A world for as long as this lasts."""
    with live.temporary_database(name) as url:
        made = World(url, folder, sizes, **options)
        try:
            yield made.prepare()
        finally:
            made.close()


def wait(seconds):
    """Let the world go on."""
    time.sleep(seconds)
