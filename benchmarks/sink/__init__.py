"""The counting sink: a small C program, compiled when a benchmark starts, outside of what is measured."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import meters

SOURCE = Path(__file__).with_name("sink.c")


class Sink:
    """A running sink; `port` takes messages."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.port, self._control = map(int, process.stdout.readline().split())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> dict[str, int]:
        """`messages`, `addresses`, `most` (to one address), `first_ns`, `last_ns` (monotonic clock)."""
        return json.loads(self._ask("counts"))

    def times(self) -> list[int]:
        """When each message came, in nanoseconds of the monotonic clock."""
        return [int(line) for line in self._ask("times").splitlines()]

    def addresses(self) -> dict[str, int]:
        """How many messages each address got."""
        lines = (line.split(" ", 1) for line in self._ask("addresses").splitlines())
        return {address: int(number) for number, address in lines}

    def reset(self) -> None:
        self._ask("reset")

    def cpu_seconds(self) -> float:
        return meters.cpu_seconds(self.process.pid)

    def _ask(self, word: str) -> str:
        with socket.create_connection(("127.0.0.1", self._control), timeout=30) as connection:
            connection.sendall(f"{word}\n".encode())
            with connection.makefile() as answer:
                return answer.read()


def compile_sink(folder: Path) -> Path:
    """The program, made in `folder`; ends the benchmark in plain words without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("The benchmarks need a C compiler for their sink (on Debian: apt-get install gcc libc6-dev)")
    if not sys.platform.startswith("linux"):
        sys.exit("The benchmarks' sink uses epoll, and their meters read /proc: they run on Linux only")
    program = folder / "sink"
    if not program.exists():
        subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
    return program


@contextlib.contextmanager
def running(folder: Path, protocol: str, delay_ms: int = 0) -> Iterator[Sink]:
    """A sink for `http` or `smtp` that holds each answer back for `delay_ms`."""
    command = [compile_sink(folder), protocol, str(delay_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield Sink(process)
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def postfix_smtp_sink() -> Iterator[int | None]:
    """The port of postfix's own smtp-sink, or None where it is not installed."""
    program = shutil.which("smtp-sink") or shutil.which("smtp-sink", path="/usr/sbin")
    if program is None:
        yield None
        return
    port = free_port()
    # 4096: the length of its queue of connections. It refuses to run as root without a user.
    command = [program, *(["-u", "nobody"] if meters.is_root() else []), f"127.0.0.1:{port}", "4096"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        meters.nap(0.02)
    sys.exit(f"Nothing listens on port {port}")
