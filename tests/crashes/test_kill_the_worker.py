"""kill -9 of a worker in mid-run: the run finishes by itself, nobody gets two, nobody is missing."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from tests import live

# The most that one sender lane may leave in doubt.
WINDOW = 64

COUNT = """
SELECT count(*) AS messages,
       count(*) FILTER (WHERE state = 'sent') AS sent,
       count(*) FILTER (WHERE state = 'unknown') AS unknown,
       count(*) FILTER (WHERE state IN ('queued', 'sending')) AS to_come
  FROM messages
"""
OUTBOX = """
SELECT count(*) AS written, count(DISTINCT o.address) AS addresses,
       count(*) FILTER (WHERE m.state = 'sent') AS known,
       count(*) FILTER (WHERE m.state = 'unknown') AS in_doubt
  FROM sandbox_outbox o JOIN messages m ON m.id = o.message_id
"""


@pytest.fixture
def installation(tmp_path):
    with live.temporary_database("crash") as url:
        yield live.environment(url, tmp_path / "home")


def build(environment, number, delay):
    script = Path(__file__).parent / "world.py"
    done = subprocess.run(
        [sys.executable, script, str(number), str(delay)],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)["automation"]


def ask(environment, query):
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.execute(query)
        return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))


def finished(environment):
    return ask(environment, "SELECT bool_and(state = 'finished') AS over FROM automation_logs")["over"]


def sent_at_least(environment, number):
    return lambda: ask(environment, COUNT)["sent"] >= number


@pytest.mark.slow
def test_a_killed_worker_leaves_at_most_a_window_in_doubt(installation):
    number = 10_000
    automation = build(installation, number, 20)
    live.run(installation, "run", automation, "--no-wait", "--json")
    worker = live.start(installation, "worker")
    try:
        live.wait_until(sent_at_least(installation, 2_500), seconds=60, what="a quarter of the run")
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert not finished(installation)
    second = live.start(installation, "worker")
    try:
        live.wait_until(lambda: finished(installation), seconds=90, what="the end of the run")
    finally:
        live.stop(second)
    ledger, outbox = ask(installation, COUNT), ask(installation, OUTBOX)
    assert ledger["messages"] == number
    assert ledger["to_come"] == 0
    assert ledger["sent"] + ledger["unknown"] == number
    assert ledger["unknown"] <= WINDOW
    # Nobody got two; everybody whom the ledger calls sent got one; the doubt is the ledger's own.
    assert outbox["written"] == outbox["addresses"]
    assert outbox["known"] == ledger["sent"]
    assert outbox["in_doubt"] <= ledger["unknown"]
    assert "every invariant holds" in live.run(installation, "doctor", check=False)


@pytest.mark.slow
def test_sigterm_hands_back_what_did_not_leave(installation):
    automation = build(installation, 2_000, 20)
    live.run(installation, "run", automation, "--no-wait", "--json")
    worker = live.start(installation, "worker")
    try:
        live.wait_until(sent_at_least(installation, 300), seconds=60, what="the first messages")
    finally:
        live.stop(worker)
    ledger = ask(installation, COUNT)
    assert (worker.returncode, ledger["unknown"]) == (0, 0)
    assert ledger["to_come"] == ledger["messages"] - ledger["sent"] > 0
    second = live.start(installation, "worker")
    try:
        live.wait_until(lambda: finished(installation), seconds=60, what="the end of the run")
    finally:
        live.stop(second)
    outbox = ask(installation, OUTBOX)
    assert outbox["written"] == outbox["addresses"] == outbox["known"] == 2_000
