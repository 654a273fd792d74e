"""Several hosts, as network namespaces: a database, three workers, a web host, a provider.

    sudo python -m tests.crashes.hosts

Two worker hosts are cut off from everything in mid-run, one right after a claim, one while it holds
answers that it has not recorded. Their packets vanish; nothing is refused and no link goes down.
The third takes over. Then the two come back with what they know. Needs root and iproute2; nothing
outside of these namespaces is touched or reachable from inside.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests import live
from tests.crashes import battle, servers

RESTAURANTS, GUESTS, DELAY_MS = 6, 200, 20
# How long a struck worker stands still, so that its cable can be cut in the meantime.
STILL_SECONDS = 4
BACK_SECONDS = 30


def why_not():
    """Why this machine cannot have several hosts; empty when it can."""
    if os.geteuid() != 0:
        return "several hosts need root (network namespaces)"
    if missing := [name for name in ("ip", "nsenter") if shutil.which(name) is None]:
        return f"several hosts need {' and '.join(missing)} (Debian: iproute2, util-linux)"
    name = f"regulars-probe-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"several hosts need network namespaces: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


def _ip(*command):
    subprocess.run(["ip", *command], check=True, capture_output=True, text=True)


class Network:
    """A switch (a bridge in a namespace of its own) and the hosts on it."""

    def __init__(self):
        self.switch = f"regulars-{os.getpid()}-switch"
        self.hosts = []
        _ip("netns", "add", self.switch)
        _ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self.switch, "link", "set", "switch", "up")

    def host(self, name):
        """A new host on the switch."""
        made = Host(self, name, len(self.hosts) + 2)
        self.hosts.append(made)
        return made

    def close(self):
        for name in (*(host.name for host in self.hosts), self.switch):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class Host:
    """One host: a namespace with one card; `there` is its address (see `servers.Cable`)."""

    def __init__(self, network, name, number):
        self.name = f"regulars-{os.getpid()}-{name}"
        self._switch, self._port = network.switch, f"port{number}"
        self.there = f"10.214.0.{number}"
        _ip("netns", "add", self.name)
        near = ("-n", self._switch, "link", "add", self._port, "type", "veth")
        _ip(*near, "peer", "name", "card", "netns", self.name)
        _ip("-n", self.name, "addr", "add", f"{self.there}/24", "dev", "card")
        for card in ("lo", "card"):
            _ip("-n", self.name, "link", "set", card, "up")
        _ip("-n", self._switch, "link", "set", self._port, "up")
        self.mend()

    def cut(self):
        """From now on nothing that this host sends arrives anywhere."""
        _ip("-n", self._switch, "link", "set", self._port, "nomaster")

    def mend(self):
        _ip("-n", self._switch, "link", "set", self._port, "master", "switch")

    def start(self, *command, **options):
        """A process on this host."""
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{self.name}", *command], **options)


@dataclass
class CutOff:
    """What became of it."""

    struck: list[str] = field(default_factory=list)
    # With the two hosts still away: how it stood when the third had finished.
    away: battle.Verdict | None = None
    seconds: float = 0.0
    # With everybody back.
    back: battle.Verdict | None = None
    # Unknowns that a late result settled, and messages that arrived after the hosts were back.
    settled_late: int = 0
    sent_after: int = 0
    codes: list[int] = field(default_factory=list)
    violations: dict[str, int] = field(default_factory=dict)


class Hosts(battle.World):
    """A world whose processes run on hosts of their own."""

    def __init__(self, network, server, folder, sizes):
        self.network, self.arrived = network, Path(folder) / "arrivals.log"
        self.arrived.touch()
        self.database_url = server.network_url
        self.provider, self.web = network.host("provider"), network.host("web")
        self.workers = [network.host(f"worker{number}") for number in (1, 2, 3)]
        self.processes = []
        super().__init__(server.url, folder, sizes, delay_ms=DELAY_MS)

    def _start_sink(self, delay_ms):
        script = Path(__file__).parent / "sink.py"
        command = [sys.executable, script, "--host", self.provider.there, "--port", "8080"]
        command += ["--delay-ms", str(delay_ms), "--log", self.arrived]
        process = self.provider.start(*command, stdout=subprocess.PIPE)
        process.stdout.readline()
        return process, f"http://{self.provider.there}:8080"

    def arrivals(self):
        found = {}
        for line in self.arrived.read_text().splitlines():
            at, address = line.split()
            found.setdefault(address, []).append(float(at))
        return found

    def start_on(self, host, *command, crash=None):
        """`regulars COMMAND` on this host, which knows the database by its network address only."""
        environment = self.environment | self._armed(crash, None)
        environment["DATABASE_URL"] = self.database_url
        with (self.folder / f"{host.name}.log").open("ab") as log:
            started = host.start(
                *(sys.executable, "-m", "tests.crashes.armed", *command),
                env=environment,
                stdout=log,
                stderr=log,
                cwd=live.ROOT,
            )
        self.processes.append(started)
        return started

    def start_by_web(self):
        """Start every automation's run over the web host, from that host."""
        tokens = self.do("tokens", automations=self.automations)
        for automation, token in zip(self.automations, tokens, strict=True):
            request = [sys.executable, "-c", _POST, f"http://{self.web.there}:8000", automation, token]
            answer = self.web.start(*request, stdout=subprocess.PIPE, text=True)
            said, _ = answer.communicate(timeout=60)
            assert answer.returncode == 0, said
            self.runs.append(json.loads(said)["run_id"])
            self.due += GUESTS

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        super().close()


_POST = """
import sys, time, urllib.error, urllib.request
base, automation, token = sys.argv[1:]
headers = {"Authorization": "Bearer " + token, "Prefer": "respond-async"}
request = urllib.request.Request(base + "/api/automations/" + automation + "/run", b"", headers)
for attempt in range(300):
    try:
        print(urllib.request.urlopen(request, timeout=20).read().decode())
        break
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode())
    except OSError:
        time.sleep(0.1)
else:
    sys.exit("the web host does not answer")
"""


def cut_off(folder):
    """The whole story, from an empty machine; what became of it."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(contextlib.closing(Network()))
        programs = stack.enter_context(contextlib.closing(servers.Programs()))
        programs.make_template()
        server = programs.server(programs.folder / "server", cable=network.host("database"))
        server.start()
        stack.callback(server.end)
        world = Hosts(network, server, folder, [GUESTS] * RESTAURANTS)
        stack.enter_context(contextlib.closing(world))
        return _tell(world.prepare())


def _tell(world):
    found = CutOff()
    world.start_on(world.web, "web", "--host", world.web.there)
    points = (f"claim.committed:2:hang{STILL_SECONDS}", f"call.after:90:hang{STILL_SECONDS}")
    for host, crash in zip(world.workers, points, strict=False):
        world.start_on(host, "worker", crash=crash)
        world.wait_until_at_work()
    world.start_by_web()
    _cut_when_struck(world)
    cut_at = time.time()
    world.start_on(world.workers[2], "worker")
    world.wait_until_over()
    found.struck = [strike.point for strike in world.strikes()]
    found.seconds, found.away = world.recovery_seconds(cut_at), world.verdict()
    mended_at = time.time()
    for host in world.workers[:2]:
        host.mend()
    with contextlib.suppress(AssertionError):
        live.wait_until(
            lambda: len(world.unknown_addresses()) < found.away.unknown, seconds=BACK_SECONDS, what="a result"
        )
    battle.wait(5)
    _end(world, found)
    found.settled_late = found.away.unknown - found.back.unknown
    found.sent_after = sum(at > mended_at for times in world.arrivals().values() for at in times)
    return found


def _cut_when_struck(world):
    """Cut each of the two hosts off while its worker stands still."""
    waiting = {"claim.committed": world.workers[0], "call.after": world.workers[1]}

    def cut():
        for strike in world.strikes():
            if host := waiting.pop(strike.point, None):
                host.cut()
        return not waiting

    live.wait_until(cut, seconds=60, every=0.02, what="two workers in the middle of it")


def _end(world, found):
    for process in world.processes:
        process.send_signal(signal.SIGTERM)
    found.codes = [process.wait(20) for process in world.processes]
    found.back, found.violations = world.verdict(), world.do("violations")


def main():
    if problem := why_not():
        raise SystemExit(problem)
    with tempfile.TemporaryDirectory() as folder:
        found = cut_off(folder)
    lines = (
        ("cut off at", ", ".join(found.struck)),
        ("the third host finished after", f"{found.seconds:.0f} s"),
        ("messages", found.back.planned),
        ("arrived twice", len(found.back.duplicates)),
        ("without an end", len(found.back.lost)),
        ("unknown while the two were away", found.away.unknown),
        ("settled by their late results", found.settled_late),
        ("unknown in the end (of these, arrived)", f"{found.back.unknown} ({found.back.in_doubt})"),
        ("sent after they came back", found.sent_after),
    )
    for name, value in lines:
        sys.stdout.write(f"{name:<40} {value}\n")


if __name__ == "__main__":
    main()
