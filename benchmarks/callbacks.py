"""How many callbacks a second are taken in, and applied: `python -m benchmarks.callbacks`.

Beside an endpoint that only inserts (`bare_callbacks`), in turns (A B A B), each under the same uvicorn in
one process, on a PostgreSQL of its own. Ours checks the secret and Twilio's signature of each request, and
answers when it is committed. What ours took is then applied to as many messages. Both sides must have
written every request, and every message must be delivered, or there are no figures.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from benchmarks import meters, server
from benchmarks.contest import keep

HOST = "http://callbacks.example.com"
BARE, OURS = "benchmarks.bare_callbacks:application", "regulars.asgi:application"


@dataclass
class Taken:
    """One side of one pair."""

    per_second: float
    median_ms: float
    p99_ms: float
    memory_mb: float
    cpu_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=30_000, help="a side and pair; one event each")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--results", help="a JSON file to add the figures to")
    asked = parser.parse_args()
    with server.running() as own:
        url = own.create("callbacks")
        _prepare(url)
        print(meters.machine_line(own.settings()))
        found = measure(asked.requests, asked.connections, asked.pairs)
    print(f"\n{asked.requests:,} requests over {asked.connections} connections, medians of {asked.pairs}\n")
    print(f"{'':<8}{'requests/s':>12}{'median ms':>12}{'p99 ms':>10}{'CPU ms each':>13}{'peak MB':>10}")
    for side in ("bare", "ours"):
        figures = found[side]
        print(
            f"{side:<8}{figures['per_second']:>12,.0f}{figures['median_ms']:>12.1f}{figures['p99_ms']:>10.1f}"
            f"{figures['cpu_ms']:>13.2f}{figures['memory_mb']:>10.0f}"
        )
    print(f"\nratio (ours / bare): {found['ratio']:.2f}")
    print(f"applied: {found['applied_per_second']:,.0f} events/s by one worker's lane")
    print(f"sustained: {found['sustained_per_second']:,.0f} events/s, taken in and applied at once")
    keep(asked.results, "callbacks", found)


def _prepare(url: str) -> None:
    os.environ["DATABASE_URL"] = url
    os.environ["REGULARS_PUBLIC_URL"] = HOST
    os.environ.setdefault("SECRET_KEY", "benchmarks-only-benchmarks-only-benchmarks-only")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "regulars.settings")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def measure(requests: int, connections: int, pairs: int) -> dict[str, Any]:
    """Pairs of bare and ours, then the application of what ours took."""
    path, first = _world(requests)
    calls = _calls(path, first, requests)
    sides: dict[str, list[Taken]] = {"bare": [], "ours": []}
    applied = []
    for _ in range(pairs):
        for side, program in (("bare", BARE), ("ours", OURS)):
            sides[side].append(_side(program, calls, connections))
            _require("callbacks", "TRUE", requests)
            if side == "ours":
                applied.append(_apply(requests))
            _empty()
    found: dict[str, Any] = {
        side: {name: statistics.median(vars(one)[name] for one in many) for name in vars(many[0])}
        for side, many in sides.items()
    }
    found["ratio"] = found["ours"]["per_second"] / found["bare"]["per_second"]
    found |= {"applied_per_second": statistics.median(applied), "requests": requests}
    return found | {"sustained_per_second": _sustained(calls, connections)}


def _sustained(calls: Sequence[bytes], connections: int) -> float:
    """Events a second while one web process takes in and one worker applies, to the last of them."""
    from regulars.lib import sql

    worker = subprocess.Popen([sys.executable, "-m", "regulars", "worker"])
    try:
        while not sql.fetch_rows("SELECT 1 FROM procrastinate_workers LIMIT 1"):
            time.sleep(0.1)
        with _serving(OURS) as (_, port):
            began = time.perf_counter()
            asyncio.run(_call(port, calls, connections))
            while sql.fetch_rows("SELECT 1 FROM callbacks WHERE due_at IS NOT NULL LIMIT 1"):
                time.sleep(0.02)
            took = time.perf_counter() - began
    finally:
        worker.terminate()
        worker.wait(30)
    _require("messages", "state = 'delivered'", len(calls))
    return len(calls) / took


def _world(messages: int) -> tuple[str, int]:
    """An account with as many sent messages; the path it is called at, and the first message's id."""
    from django.utils import timezone

    from regulars.automations import accounts, callback_access
    from regulars.automations.models import Automation, AutomationVersion
    from regulars.lib import sql
    from regulars.organizations.models import Organization
    from regulars.runs import partitions
    from regulars.runs.models import Run, RunChunk

    now = timezone.now()
    partitions.ensure(now)
    house = Organization.objects.create(slug="house", name="House")
    options = {"account_sid": "AC" + "a" * 32, "auth_token": "t0ken", "from": "+12015550199"}
    account = accounts.create_account(house, "texts", "twilio", options)
    automation = Automation.objects.create(organization=house, name="A", trigger="inactive")
    version = AutomationVersion.objects.create(automation=automation, number=1, channels=["sms"])
    run = Run.objects.create(
        organization=house, automation=automation, version=version, state="finished", created_at=now
    )
    RunChunk.objects.create(run=run, number=1, account_id=account.pk, total=messages, closed=True)
    values = {"house": house.pk, "run": run.pk, "automation": automation.pk, "version": version.pk}
    values |= {"account": account.pk, "now": now, "number": messages}
    sql.execute(_FILL, values)
    sql.execute("ANALYZE messages")
    first = sql.fetch_rows("SELECT min(id) AS id FROM messages")[0]["id"]
    return callback_access.path_of(account), int(first)


def _calls(path: str, first: int, number: int) -> list[bytes]:
    """Whole HTTP requests, signed as Twilio signs."""
    from regulars.providers.twilio.callbacks import signature

    made = []
    for n in range(number):
        target = f"{path}?message={first + n}&attempt=1"
        fields = {"MessageSid": f"SM{n:032x}", "MessageStatus": "delivered", "To": f"+1201555{n % 10_000:04}"}
        fields |= {"From": "+12015550199", "AccountSid": "AC" + "a" * 32, "ApiVersion": "2010-04-01"}
        body = urlencode(fields).encode()
        proof = signature("t0ken", HOST + target, sorted(fields.items()))
        head = (
            f"POST {target} HTTP/1.1\r\nHost: callbacks.example.com\r\nX-Twilio-Signature: {proof}\r\n"
            "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
            "User-Agent: TwilioProxy/1.1\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


def _side(program: str, calls: Sequence[bytes], connections: int) -> Taken:
    with _serving(program) as (process, port):
        asyncio.run(_call(port, calls[:50], 5))
        _empty()
        before, began = meters.cpu_seconds(process.pid), time.perf_counter()
        times = asyncio.run(_call(port, calls, connections))
        took = time.perf_counter() - began
        spent = meters.cpu_seconds(process.pid) - before
        memory = meters.peak_memory_mb(process.pid)
    ordered = sorted(times)
    p99 = ordered[int(len(ordered) * 0.99)] * 1000
    per_call = spent / len(calls) * 1000
    return Taken(len(calls) / took, statistics.median(ordered) * 1000, p99, memory, per_call)


@contextlib.contextmanager
def _serving(program: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--port",
        str(port),
        "--log-level",
        "warning",
        "--lifespan",
        "off",
        "--limit-concurrency",
        "2000",
    ]
    process = subprocess.Popen([sys.executable, "-m", "uvicorn", program, *options])
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield process, port
    finally:
        process.terminate()
        process.wait(20)


async def _call(port: int, calls: Sequence[bytes], connections: int) -> list[float]:
    """Seconds of each request; every one must be taken."""
    times: list[float] = []
    left = iter(calls)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for call in left:
            began = time.perf_counter()
            writer.write(call)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"Not taken: {head!r} {body!r}")
            times.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return times


def _apply(number: int) -> float:
    """Events a second, from the first claim to the last."""
    from regulars.callbacks import applying
    from regulars.lib import sql

    began = time.perf_counter()
    while applying.apply_due(sql.database_now()).number:
        pass
    took = time.perf_counter() - began
    _require("callbacks", "due_at IS NULL AND problem = ''", number)
    _require("messages", "state = 'delivered'", number)
    return number / took


def _require(table: str, condition: str, number: int) -> None:
    from regulars.lib import sql

    found = sql.fetch_rows(f"SELECT count(*) AS number FROM {table} WHERE {condition}")[0]["number"]
    if found != number:
        raise SystemExit(f"{found} of {number} rows of {table} are as they should be: this measures nothing")


def _empty() -> None:
    """As before the first request."""
    from regulars.lib import sql

    sql.execute("TRUNCATE callbacks, delivery_events")
    sql.execute("UPDATE messages SET state = 'sent' WHERE state <> 'sent'")
    sql.execute("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
    sql.execute("VACUUM messages")


_FILL = """
INSERT INTO messages (organization_id, run_id, chunk_number, automation_id, version_id, customer_id, occasion,
                      purpose, channel, account_id, address, due_at, send_after, state, reason, error, epoch,
                      attempt, provider_id, created_at, accepted_at, state_at)
SELECT %(house)s, %(run)s, 1, %(automation)s, %(version)s, n, 'lapse:2026-01-01', 'marketing', 'sms',
       %(account)s, '+1201555' || lpad((n %% 10000)::text, 4, '0'), %(now)s, %(now)s, 'sent', '', '', 1, 1,
       'SM' || lpad(to_hex(n), 32, '0'), %(now)s, %(now)s, %(now)s
  FROM generate_series(0, %(number)s - 1) n
"""


if __name__ == "__main__":
    main()
