"""Real purchase histories, through the doors that people use: import, API, preview, run by SMTP.

The sink is a real SMTP server on the loopback; sink and ledger must agree row by row.
"""

import email
import http.cookiejar
import json
import os
import socket
import urllib.request
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from aiosmtpd.controller import Controller
from tests import live

EXPECTED = """
WITH last AS (
  SELECT v.customer_id, max((v.visited_at AT TIME ZONE 'Europe/Madrid' - interval '5 hours')::date) AS day,
         count(*) AS visits
    FROM visits v GROUP BY v.customer_id
), today AS (SELECT (now() AT TIME ZONE 'Europe/Madrid' - interval '5 hours')::date AS day)
SELECT c.id, a.address FROM customers c JOIN last ON last.customer_id = c.id CROSS JOIN today
  LEFT JOIN addresses a ON a.customer_id = c.id AND a.channel = 'email'
 WHERE last.visits >= 2 AND today.day - last.day BETWEEN 120 AND 700
"""


def data():
    folder = Path(os.environ.get("REGULARS_SHARED") or live.ROOT.parent / "shared") / "data" / "cdnow"
    if not folder.exists():
        missing = "The purchase histories are not here: set REGULARS_SHARED"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


class Sink:
    """Accepts every letter and keeps it."""

    def __init__(self):
        self.letters = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the library's name
        self.letters.append((list(envelope.rcpt_tos), email.message_from_bytes(envelope.content)))
        return "250 kept"


@pytest.fixture
def sink():
    kept = Sink()
    controller = Controller(kept, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield kept, controller.port
    finally:
        controller.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Browserless:
    """A signed-in caller with a cookie and nothing else."""

    def __init__(self, base):
        self.base = base
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        )

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        with self.opener.open(request, timeout=200) as answer:
            return json.load(answer)


@pytest.fixture
def site(installation):
    port = free_port()
    live.run(installation, "organization", "create", "cdnow", "--country", "US", "--language", "en")
    # It is run at any hour of the day.
    live.run(installation, "organization", "tact", "cdnow", "--quiet-hours", "none")
    live.run(
        installation,
        *("user", "create", "owner@example.com", "--role", "owner", "--password-stdin"),
        input="a long and good password\n",
    )
    server = live.start(installation, "up", "--port", str(port))
    try:
        live.wait_until(lambda: answers(port), seconds=30, what="the server")
        caller = Browserless(f"http://127.0.0.1:{port}/api")
        credentials = {"email": "owner@example.com", "password": "a long and good password"}
        caller.call("POST", "/session", credentials)
        yield caller
    finally:
        live.stop(server)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_every_eligible_address_gets_exactly_one_mail(installation, site, sink):
    kept, port = sink
    folder = data()
    customers = live.run(installation, "import", "customers", str(folder / "customers.csv"))
    visits = live.run(installation, "import", "visits", str(folder / "visits.csv"))
    assert customers.startswith("2357 new, 0 changed, 0 unchanged, 0 rejected")
    assert visits.startswith("6919 new, 0 changed, 0 unchanged, 0 rejected")
    live.run(
        installation,
        *("provider", "add", "post", "--kind", "smtp", "-o", "host=127.0.0.1", "-o", f"port={port}"),
        *("-o", "security=none", "-o", "from_address=hello@example.com"),
    )
    automation = site.call(
        "POST",
        # A yes to writing to so many at once, as a person gives who has seen the number.
        "/automations?reach=2357",
        {
            "name": "We miss you",
            "trigger": "inactive",
            "parameters": {"days": 120, "min_visits": 2, "max_days": 700},
            "channels": ["email"],
            "templates": [
                {
                    "channel": "email",
                    "language": "en",
                    "subject": "We miss you",
                    "body": "Dear {{ customer.first_name | default: 'friend' }}, come back soon.",
                }
            ],
            "enabled": True,
        },
    )
    path = f"/automations/{automation['id']}"
    with psycopg.connect(installation["DATABASE_URL"]) as connection:
        due = dict(connection.execute(EXPECTED).fetchall())
    preview = site.call("POST", f"{path}/preview")
    answer = site.call("POST", f"{path}/run")
    assert answer["success"] is True
    assert answer["processed"] == preview["due"] == len(due)
    assert answer["sent"] == preview["send"] == len(kept.letters)
    assert (answer["failed"], answer["held"], answer["errors"]) == (0, 0, [])
    assert agree(installation, kept)
    again = site.call("POST", f"{path}/run")
    assert (again["processed"], again["sent"], again["skipped"]) == (len(due), 0, len(due))
    assert len(kept.letters) == answer["sent"] > 0


def agree(installation, kept):
    """Sink and ledger, row by row: the address and our own Message-ID."""
    with psycopg.connect(installation["DATABASE_URL"]) as connection:
        ledger = Counter(
            connection.execute("SELECT address, provider_id FROM messages WHERE state = 'sent'").fetchall()
        )
    received = Counter((to[0], letter["Message-ID"]) for to, letter in kept.letters)
    assert set(received.values()) == {1}
    return received == ledger
