"""A guest replies BAJA while five thousand messages wait: none of hers leaves, and everybody else's does."""

import asyncio
import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from urllib.parse import parse_qs, urlencode

import psycopg
import pytest
from tests import live
from tests.contract.servers import answering, free_port, http_answer, serve

from regulars.providers.twilio.callbacks import signature

GUESTS = 5_000
# The last but a few in the order in which they are written to.
HERS = "+12505550190"


class Twilio:
    """Takes every message; its own thread, so that it answers whatever the test does."""

    def __init__(self):
        self.sent = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])

    async def _serve(self):
        self._over = asyncio.Event()
        async with serve(answering(self._take)) as served:
            self.url = served.url
            self._ready.set()
            await self._over.wait()

    def _take(self, request):
        fields = parse_qs(request.partition(b"\r\n\r\n")[2].decode())
        self.sent.append({name: values[0] for name, values in fields.items()})
        answer = json.dumps({"sid": f"SM{len(self.sent):032x}", "status": "queued"})
        return http_answer(201, answer.encode())

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self._loop.close()

    def calls(self, url, **fields):
        """Call back, signed; the status of the answer."""
        headers = {"X-Twilio-Signature": signature("not-a-secret", url, sorted(fields.items()))}
        request = urllib.request.Request(url, urlencode(fields).encode(), headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            return answer.status


def inside(environment, text):
    """What a few lines of Python in the product print, as JSON."""
    begin = "import json, django; django.setup(); from tests.crashes import world; "
    command = [sys.executable, "-c", begin + text]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def ask(installation):
    with psycopg.connect(installation["DATABASE_URL"], autocommit=True) as connection:
        yield lambda text, *values: connection.execute(text, values).fetchall()


def wait_until_over(ask, run):
    """Wait for the run's end; where it does not come, say how far it came and what it waits for."""
    over = "SELECT 1 FROM automation_logs WHERE id = %s AND state = 'finished'"
    try:
        live.wait_until(lambda: ask(over, run), seconds=240, what="the end of the run")
    except AssertionError as missed:
        found = [
            ask("SELECT state, reason FROM automation_logs"),
            ask("SELECT state, reason, count(*) FROM messages GROUP BY 1, 2"),
            ask("SELECT number, total, sent, next_due, lease_until, now(), closed FROM run_chunks"),
            ask("SELECT * FROM account_buckets"),
            ask("SELECT task_name, status, attempts, scheduled_at FROM procrastinate_jobs"),
            ask("SELECT state, wait_event, now() - query_start, left(query, 200) FROM pg_stat_activity"),
        ]
        raise AssertionError("\n".join(map(repr, found))) from missed


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_guest_replies_baja_while_five_thousand_messages_wait(installation, ask):
    port = free_port()
    environment = installation | {"REGULARS_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    with Twilio() as twilio:
        automations = inside(environment, f"print(json.dumps(world.build([{GUESTS}], '{twilio.url}')))")
        ask("UPDATE provider_accounts SET per_second = 20 RETURNING 1")
        processes = [live.start(environment, "web", "--port", str(port)), live.start(environment, "worker")]
        try:
            (run,) = inside(environment, f"print(json.dumps(world.start({automations!r})))")
            live.wait_until(lambda: len(twilio.sent) >= 20, seconds=90, what="the first messages")
            first = twilio.sent[0]
            address = first["StatusCallback"].partition("?")[0]
            assert (
                twilio.calls(address, MessageSid="SM-hers", From=HERS, Body="¡Baja!", SmsStatus="received")
                == 200
            )
            status = {"MessageSid": f"SM{1:032x}", "MessageStatus": "delivered", "To": first["To"]}
            assert twilio.calls(first["StatusCallback"], **status) == 200
            live.wait_until(
                lambda: ask("SELECT 1 FROM inbound_messages WHERE intent = 'stop'"), seconds=60, what="her no"
            )
            waiting = ask("SELECT count(*) FROM messages WHERE state = 'queued'")[0][0]
            assert waiting > GUESTS / 2
            ask("UPDATE provider_accounts SET per_second = NULL RETURNING 1")
            wait_until_over(ask, run)
        finally:
            for process in processes:
                live.stop(process)
    to_her = [message["Body"] for message in twilio.sent if message["To"] == HERS]
    assert to_her == ["Casa 0: baja hecha, ya no te llegan promociones por SMS. Para volver: ALTA"]
    others = Counter(message["To"] for message in twilio.sent if message["To"] != HERS)
    assert (len(others), set(others.values())) == (GUESTS - 1, {1})
    assert ask("SELECT state, reason FROM messages WHERE address = %s", HERS) == [("withheld", "no_consent")]
    assert ask("SELECT state FROM messages WHERE address = %s", first["To"]) == [("delivered",)]
    consents = ask(
        """SELECT granted, is_current, consents.source FROM consents JOIN addresses USING (customer_id)
            WHERE addresses.address = %s ORDER BY consents.id""",
        HERS,
    )
    assert consents == [(True, False, ""), (False, True, "sms reply: ¡Baja!")]
    assert ask("SELECT state FROM replies") == [("sent",)]
