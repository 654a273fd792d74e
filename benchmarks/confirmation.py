"""From the API's answer to a confirmed booking until its confirmation is handed over, on a quiet machine.

python -m benchmarks.confirmation                      100 bookings, one after the other
python -m benchmarks.confirmation --guests 100000      among so many guests with bookings of their own

One `regulars web` and one `regulars worker` process, the sandbox as provider, a durable PostgreSQL.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import meters, ours, server
from benchmarks.contest import keep

TEXT = "Mesa confirmada: {{ reservation.date }} {{ reservation.time }}"
LONGEST_WAIT = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bookings", type=int, default=100)
    parser.add_argument("--guests", type=int, default=10_000)
    parser.add_argument("--results", help="a JSON file to add the figures to")
    asked = parser.parse_args()
    with server.running() as database, tempfile.TemporaryDirectory() as folder:
        environment = ours.environment(database.create("confirmation"), Path(folder))
        os.environ.update(environment)
        print(f"{meters.machine_line(database.settings())}\n")
        token = build(asked.guests)
        with web(environment) as port, ours.workers(environment, 1):
            waits = measure(environment["DATABASE_URL"], port, token, asked.bookings)
    report(waits, asked)


def build(guests: int) -> str:
    """A restaurant whose guests all have a booking confirmed today; a token for its API."""
    import django

    django.setup()
    from django.core.management import call_command

    from regulars.automations import accounts, content
    from regulars.organizations import people, tokens
    from regulars.runs import partitions

    call_command("migrate", verbosity=0)
    now = datetime.now(UTC)
    partitions.ensure(now)
    organization = people.create_organization("casa-pepe", "Casa Pepe")
    accounts.create_account(organization, "Sandbox", "sandbox", {})
    owner = people.create_user("owner@example.com", "correct horse battery", "owner", organization)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(_WORLD, {"organization": organization.pk, "guests": guests, "now": now})
        connection.execute("ANALYZE")
    template = {"channel": "email", "language": "es", "subject": "Mesa confirmada", "body": TEXT}
    definition = {
        "name": "Confirmed",
        "trigger": "reservation_confirmation",
        "channels": ["email"],
        "templates": [template],
        "enabled": True,
    }
    content.create(organization, content.Definition.model_validate(definition), owner)
    return tokens.create(owner, organization)


@contextlib.contextmanager
def web(environment: dict[str, str]) -> Iterator[int]:
    """The server, answering on a free port of the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "regulars.asgi:application", "--port", str(port)]
    process = subprocess.Popen([*command, "--log-level", "warning"], env=environment)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            meters.nap(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def measure(url: str, port: int, token: str, bookings: int) -> list[tuple[float, float]]:
    """For each booking: seconds that the API took, and from its answer to the hand-over."""
    api = http.client.HTTPConnection("127.0.0.1", port)
    waits = []
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(bookings + 3):
            began = time.monotonic()
            post(api, token, number)
            answered = time.monotonic()
            wait_for(connection, number + 1)
            waits.append((answered - began, time.monotonic() - answered))
            meters.nap(0.1)
    # The first ones find cold processes.
    return waits[3:]


def post(api: http.client.HTTPConnection, token: str, number: int) -> None:
    booking = {
        "external_id": f"new-{number}",
        "customer_external_id": str(number + 1),
        "starts_at": (datetime.now(UTC) + timedelta(days=3)).isoformat(),
        "party_size": 2,
        "status": "confirmed",
    }
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    api.request("POST", "/api/reservations", json.dumps(booking), headers)
    answer = api.getresponse()
    body = answer.read()
    if answer.status != 201:
        raise SystemExit(f"The API answered {answer.status}: {body.decode()}")


def wait_for(connection: psycopg.Connection[Any], messages: int) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while True:
        row = connection.execute("SELECT count(*) FROM sandbox_outbox").fetchone()
        if row and row[0] >= messages:
            return
        if time.monotonic() > deadline:
            raise SystemExit("No confirmation came")
        time.sleep(0.002)


def report(waits: list[tuple[float, float]], asked: argparse.Namespace) -> None:
    """The figures in milliseconds, as a table."""
    answers, handed = ([round(each[part] * 1000) for each in waits] for part in (0, 1))
    print("| | median, ms | 95 of 100 below, ms | longest, ms |")
    print("| --- | ---: | ---: | ---: |")
    for name, values in (("the API's answer", answers), ("from the answer to the hand-over", handed)):
        ordered = sorted(values)
        below = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        print(f"| {name} | {statistics.median(values):.0f} | {below} | {ordered[-1]} |")
    found = {"bookings": asked.bookings, "guests": asked.guests, "handed_over_ms": handed}
    keep(asked.results, "confirmation", found)


_WORLD = """
WITH place AS (
  INSERT INTO venues (organization_id, name, timezone, currency, day_starts_at_hour)
  VALUES (%(organization)s, 'Casa Pepe', 'Europe/Madrid', 'EUR', 5) RETURNING id
),
guests AS (
  INSERT INTO customers (organization_id, external_id, first_name, last_name, language, timezone, tier,
                         tags, do_not_contact, do_not_contact_reason, created_at, updated_at)
  SELECT %(organization)s, number, 'Guest', number, 'es', '', '', '{}', FALSE, '', %(now)s, %(now)s
    FROM generate_series(1, %(guests)s) AS number
  RETURNING id
),
written AS (
  INSERT INTO addresses (organization_id, customer_id, channel, address, fingerprint, position, bad_reason)
  SELECT %(organization)s, id, 'email', 'guest' || id || '@example.com', sha256(id::text::bytea), 0, ''
    FROM guests
)
INSERT INTO reservations (organization_id, customer_id, venue_id, external_id, starts_at, party_size, status,
                          confirmed_at, revision, updated_at)
SELECT %(organization)s, guests.id, place.id, 'old-' || guests.id, %(now)s + interval '2 days', 2,
       'confirmed', %(now)s - interval '40 hours', 0, %(now)s
  FROM guests CROSS JOIN place
"""

if __name__ == "__main__":
    main()
