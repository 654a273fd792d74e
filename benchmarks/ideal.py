"""The ideal loop: the same work by hand, as a good engineer would write it in a day.

Choose, insert (occasions, messages, chunks), claim, render, send, record: on the same PostgreSQL
with the same tables, indexes and commit settings, the same HTTP client and template engine, and no
framework. It does the same safety work: the guard's primary key decides, a claim is committed before
its first call and looks once more at consent, suppression and the visit; a record follows the call;
a chunk has an owner, a lease and an epoch, and what a dead owner left in `sending` becomes `unknown`.

Each message carries its way out, as advertising must: a letter its signed link and two headers, a text its
last line.

What makes it fast: one process keeps 64 calls in flight; every 32 results are recorded, and the next
32 messages claimed, in one transaction and one round trip; statements are prepared; planning goes on
beside sending, in slices; the template is parsed once; for mail, whole letters are rendered from one
template, and each is written in one piece together with the next one's envelope; where a provider takes
several letters a call, 32 go together.

`python -m benchmarks.ideal AUTOMATION PORT [--join]`, with DATABASE_URL; `--join` only sends.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import resource
import struct
import sys
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import liquid
import psycopg
from psycopg.rows import dict_row
from pyreqwest.client import ClientBuilder

WINDOW, RECORD_EVERY, RECORD_SECONDS = 64, 32, 0.1
CALLS, MAIL_CONNECTIONS = 64, 8
SECRET = b"benchmarks-only-benchmarks-only-benchmarks-only"
TEXT_WAY_OUT = "\nPara no recibir publicidad responde STOP"
MAIL_WAY_OUT = "\n\nDarse de baja: {{ link }}"
# Letters a call where the provider takes several, as in our run.
LETTERS = 32
SLICE, CHUNK = 20_000, 2_000

FACTS = """
SELECT regulars_month(now() - interval '60 days') << 40 AS floor, automation.id AS automation,
       automation.organization_id AS organization, version.id AS version,
       template.channel, template.subject, template.body, account.id AS account, account.kind,
       venue.id AS venue, venue.name AS venue_name, venue.timezone, organization.name AS organization_name
  FROM automations automation
  JOIN organizations organization ON organization.id = automation.organization_id
  JOIN automation_versions version
    ON version.automation_id = automation.id AND version.number = automation.version_number
  JOIN templates template ON template.version_id = version.id
  JOIN provider_accounts account ON account.organization_id = automation.organization_id
  JOIN venues venue ON venue.organization_id = automation.organization_id
 WHERE automation.id = %(automation)s
"""

OPEN_RUN = """
INSERT INTO automation_logs (id, organization_id, automation_id, version_id, state, reason, origin, again,
                             due, skipped_by_reason, totals, as_of, created_at)
VALUES (gen_random_uuid(), %(organization)s, %(automation)s, %(version)s, 'planning', '', 'manual', FALSE,
        0, '{}', '{}', now(), now())
RETURNING id
"""

# The floor keeps the months before the cooldown closed.
_RECENTLY = """recent.id >= %(floor)s AND recent.automation_id = %(automation)s
                          AND (recent.accepted_at > now() - interval '60 days'
                               OR recent.state IN ('queued', 'sending', 'unknown'))"""

CHOOSE = f"""
CREATE TEMP TABLE audience ON COMMIT PRESERVE ROWS AS
SELECT row_number() OVER (ORDER BY due_at, customer_id) - 1 AS ordinal, chosen.*
  FROM (
    SELECT DISTINCT ON (address.address)
           last.customer_id, last.id AS reference, last.venue_id, address.address,
           'lapse:' || last.service_date AS occasion,
           ((last.service_date + 60)::timestamp + interval '5 hours') AT TIME ZONE %(timezone)s AS due_at,
           ((last.service_date + 366)::timestamp + interval '5 hours') AT TIME ZONE %(timezone)s AS expires_at
      FROM (
        SELECT visits.*, count(*) OVER (PARTITION BY customer_id) AS number,
               row_number() OVER (PARTITION BY customer_id
                                      ORDER BY service_date DESC, visited_at DESC, id DESC) AS place
          FROM visits WHERE organization_id = %(organization)s AND state = 'completed'
      ) last
      JOIN customers customer ON customer.id = last.customer_id AND NOT customer.do_not_contact
      JOIN addresses address ON address.customer_id = last.customer_id
       AND address.channel = %(channel)s AND address.bad_reason = ''
      JOIN consents consent ON consent.customer_id = last.customer_id AND consent.channel = %(channel)s
       AND consent.purpose = 'marketing' AND consent.is_current AND consent.granted
     WHERE last.place = 1 AND last.number >= 2 AND last.venue_id = %(venue)s
       AND last.service_date BETWEEN current_date - 365 AND current_date - 60
       AND NOT EXISTS (SELECT 1 FROM suppressions
                        WHERE suppressions.organization_id = %(organization)s
                          AND suppressions.fingerprint = address.fingerprint
                          AND suppressions.channel IN ('', %(channel)s))
       AND NOT EXISTS (SELECT 1 FROM occasions
                        WHERE occasions.automation_id = %(automation)s
                          AND occasions.customer_id = last.customer_id
                          AND occasions.occasion = 'lapse:' || last.service_date)
       AND NOT EXISTS (SELECT 1 FROM messages recent
                        WHERE recent.customer_id = last.customer_id AND {_RECENTLY})
       AND NOT EXISTS (SELECT 1 FROM messages recent
                        WHERE recent.organization_id = %(organization)s
                          AND recent.address = address.address AND {_RECENTLY})
       AND NOT EXISTS (SELECT 1 FROM reservations
                        WHERE reservations.customer_id = last.customer_id
                          AND reservations.starts_at > now()
                          AND reservations.status IN ('requested', 'confirmed'))
     ORDER BY address.address, due_at, last.customer_id
  ) chosen
"""

WRITE_SLICE = """
WITH picked AS MATERIALIZED (
  SELECT audience.*, (regulars_month(now()) << 40) + nextval('messages_number') AS message_id
    FROM audience WHERE ordinal >= %(start)s AND ordinal < %(start)s + %(slice)s ORDER BY ordinal
),
guarded AS (
  INSERT INTO occasions (automation_id, customer_id, occasion, kind, message_id)
  SELECT %(automation)s, customer_id, occasion, 'message', message_id
    FROM picked ORDER BY customer_id, occasion
  ON CONFLICT DO NOTHING RETURNING message_id
),
placed AS MATERIALIZED (
  SELECT picked.*, ordinal / %(chunk)s + 1 AS chunk_number FROM picked JOIN guarded USING (message_id)
),
written AS (
  INSERT INTO messages (id, organization_id, run_id, chunk_number, automation_id, version_id,
                        customer_id, occasion, purpose, channel, account_id, address, venue_id,
                        reference, due_at, expires_at, send_after, state, reason, error, epoch,
                        attempt, provider_id, created_at, state_at)
  SELECT message_id, %(organization)s, %(run)s, chunk_number, %(automation)s, %(version)s,
         customer_id, occasion, 'marketing', %(channel)s, %(account)s, address, venue_id,
         reference, due_at, expires_at, now(), 'queued', '', '', 0, 0, '', now(), now()
    FROM placed
)
INSERT INTO run_chunks (run_id, number, account_id, urgent, epoch, next_due, total, first_id, last_id,
                        sent, failed, unknown, withheld, closed)
SELECT %(run)s, chunk_number, %(account)s, FALSE, 0, now(), count(*), min(message_id), max(message_id),
       0, 0, 0, 0, FALSE
  FROM placed GROUP BY chunk_number
"""

PLANNED = """
UPDATE automation_logs SET state = 'sending', planned_at = now(), due = %(due)s WHERE id = %(run)s
"""

TAKE = """
UPDATE run_chunks SET epoch = epoch + 1, lease_until = now() + interval '10 seconds'
 WHERE id = (SELECT id FROM run_chunks
              WHERE run_id = %(run)s AND NOT closed
                AND (lease_until IS NULL OR lease_until < now() - interval '8 seconds')
              ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, epoch, first_id, last_id
"""

ORPHANS = """
UPDATE messages SET state = 'unknown', reason = 'interrupted', state_at = now()
 WHERE id BETWEEN %(first)s AND %(last)s AND run_id = %(run)s AND state = 'sending' AND epoch < %(epoch)s
"""

CLAIM = """
WITH due AS MATERIALIZED (
  SELECT id, customer_id, channel, address, reference, purpose, automation_id, expires_at
    FROM messages
   WHERE id BETWEEN %(first)s AND %(last)s AND run_id = %(run)s
     AND state = 'queued' AND send_after <= now()
   ORDER BY id LIMIT %(window)s FOR UPDATE SKIP LOCKED
),
judged AS (
  SELECT due.id, customer.first_name,
         CASE WHEN NOT automation.enabled OR automation.deleted_at IS NOT NULL THEN 'automation_inactive'
              WHEN customer.id IS NULL OR customer.do_not_contact THEN 'do_not_contact'
              WHEN NOT EXISTS (
                SELECT 1 FROM consents
                 WHERE consents.customer_id = due.customer_id AND consents.channel = due.channel
                   AND consents.purpose = 'marketing' AND consents.is_current AND consents.granted)
                THEN 'no_consent'
              WHEN EXISTS (
                SELECT 1 FROM addresses
                 WHERE addresses.customer_id = due.customer_id AND addresses.channel = due.channel
                   AND addresses.address = due.address
                   AND (addresses.bad_reason <> '' OR EXISTS (
                        SELECT 1 FROM suppressions
                         WHERE suppressions.organization_id = addresses.organization_id
                           AND suppressions.fingerprint = addresses.fingerprint
                           AND suppressions.channel IN ('', addresses.channel))))
                THEN 'suppressed'
              WHEN due.expires_at <= now() THEN 'expired'
              WHEN NOT EXISTS (
                SELECT 1 FROM visits about
                 WHERE about.id = due.reference AND about.state = 'completed'
                   AND NOT EXISTS (
                     SELECT 1 FROM visits later
                      WHERE later.customer_id = about.customer_id AND later.state = 'completed'
                        AND later.service_date >= about.service_date
                        AND (later.visited_at, later.id) > (about.visited_at, about.id)))
                THEN 'cancelled_before_send' END AS objection
    FROM due
    JOIN automations automation ON automation.id = due.automation_id
    LEFT JOIN customers customer ON customer.id = due.customer_id
),
changed AS (
  UPDATE messages message
     SET state = CASE WHEN objection IS NULL THEN 'sending' ELSE 'withheld' END,
         reason = coalesce(objection, ''), epoch = %(epoch)s,
         attempt = attempt + CASE WHEN objection IS NULL THEN 1 ELSE 0 END, state_at = now()
    FROM judged WHERE message.id = judged.id AND message.id BETWEEN %(first)s AND %(last)s
  RETURNING message.id, message.automation_id, message.customer_id, message.occasion, message.address,
            first_name, objection
),
freed AS (
  DELETE FROM occasions guard USING changed
   WHERE changed.objection <> 'expired' AND guard.automation_id = changed.automation_id
     AND guard.customer_id = changed.customer_id AND guard.occasion = changed.occasion
),
counted AS (
  UPDATE run_chunks SET withheld = withheld + (SELECT count(*) FROM changed WHERE objection IS NOT NULL)
   WHERE id = %(id)s AND EXISTS (SELECT 1 FROM changed WHERE objection IS NOT NULL)
)
SELECT id, customer_id, address, first_name, objection FROM changed ORDER BY id
"""

# One chunk at a time, so that everything is found by its primary key.
RECORD = """
WITH changed AS (
  UPDATE messages message
     SET state = outcome.state, error = outcome.error, provider_id = outcome.provider_id,
         state_at = now(), accepted_at = CASE WHEN outcome.state = 'sent' THEN now() END
    FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(errors)s::text[], %(provider_ids)s::text[])
           AS outcome (id, state, error, provider_id)
   WHERE message.id = outcome.id AND message.id BETWEEN %(first)s AND %(last)s
     AND message.epoch = %(epoch)s AND message.state IN ('sending', 'unknown')
  RETURNING message.state
)
UPDATE run_chunks
   SET sent = run_chunks.sent + delta.sent, failed = run_chunks.failed + delta.failed,
       unknown = run_chunks.unknown + delta.unknown,
       closed = run_chunks.sent + run_chunks.failed + run_chunks.unknown + withheld + delta.number >= total,
       lease_until = now() + interval '10 seconds'
  FROM (SELECT count(*) AS number, count(*) FILTER (WHERE state = 'sent') AS sent,
               count(*) FILTER (WHERE state = 'failed') AS failed,
               count(*) FILTER (WHERE state = 'unknown') AS unknown FROM changed) delta
 WHERE id = %(id)s AND run_chunks.epoch = %(epoch)s
RETURNING id
"""

FINISH = """
UPDATE automation_logs
   SET state = 'finished', finished_at = now(),
       totals = (SELECT jsonb_build_object('sent', sum(sent), 'failed', sum(failed), 'unknown', sum(unknown),
                                           'withheld', sum(withheld))
                   FROM run_chunks WHERE run_id = %(run)s)
 WHERE id = %(run)s AND state = 'sending'
   AND NOT EXISTS (SELECT 1 FROM run_chunks WHERE run_id = %(run)s AND NOT closed)
RETURNING id
"""


@dataclass
class Chunk:
    """A chunk that this process owns."""

    id: int
    epoch: int
    first_id: int
    last_id: int
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    """What one call said."""

    chunk: Chunk
    id: int
    state: str
    provider_id: str = ""
    error: str = ""


class Sender:
    """Turns claimed rows into results: `todo` in, `done` out."""

    def __init__(self, facts: dict[str, Any], port: int) -> None:
        self.facts, self.port = facts, port
        self.todo: asyncio.Queue[tuple[Chunk, dict[str, Any]]] = asyncio.Queue()
        self.done: list[Result] = []
        self.enough = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def finish(self, result: Result) -> None:
        self.done.append(result)
        if len(self.done) >= RECORD_EVERY:
            self.enough.set()

    def variables(self, row: dict[str, Any]) -> dict[str, Any]:
        return {
            "customer": {"first_name": row["first_name"]},
            "venue": {"name": self.facts["venue_name"]},
            "organization": {"name": self.facts["organization_name"]},
        }

    def link(self, row: dict[str, Any]) -> str:
        """By which this guest unsubscribes; nobody can make another's."""
        ids = struct.pack(">qq", row["customer_id"], row["id"])
        signature = hmac.digest(SECRET, ids, hashlib.sha256)
        return f"http://127.0.0.1/u/{base64.urlsafe_b64encode(signature[:16] + ids).decode()}"


class TextSender(Sender):
    """64 callers over one pyreqwest client."""

    async def open(self) -> None:
        self.client = ClientBuilder().no_proxy().max_connections(CALLS).pool_max_idle_per_host(CALLS).build()
        account = "AC" + "0" * 32
        self.url = f"http://127.0.0.1:{self.port}/2010-04-01/Accounts/{account}/Messages.json"
        self.login = (account, "none")
        self.template = liquid.Environment(undefined=liquid.StrictUndefined).from_string(
            self.facts["body"] + TEXT_WAY_OUT
        )
        self.tasks = [asyncio.create_task(self.caller()) for _ in range(CALLS)]

    async def caller(self) -> None:
        while True:
            chunk, row = await self.todo.get()
            try:
                body = self.template.render(**self.variables(row))
                fields = {
                    "To": row["address"],
                    "From": "+12015550100",
                    "Body": body,
                    "ValidityPeriod": "14400",
                }
                request = self.client.post(self.url).basic_auth(*self.login).form(fields).build()
                response = await request.send()
                answer = await response.json()
                if response.status == 201:
                    self.finish(Result(chunk, row["id"], "sent", answer["sid"]))
                else:
                    self.finish(Result(chunk, row["id"], "failed", error=str(answer)))
            except Exception as problem:  # noqa: BLE001 - nobody knows whether it left
                self.finish(Result(chunk, row["id"], "unknown", error=str(problem)))


class MailSender(Sender):
    """Eight connections; each write is a whole letter and the next one's envelope."""

    async def open(self) -> None:
        # The parts of the letter are templates themselves: nothing is encoded per guest (8BITMIME).
        environment = liquid.Environment(undefined=liquid.StrictUndefined)
        body = self.facts["body"] + MAIL_WAY_OUT
        self.letter = environment.from_string(LETTER.format(**self.facts | {"body": body}, html=_html(body)))
        self.tasks = [asyncio.create_task(self.connection()) for _ in range(MAIL_CONNECTIONS)]

    async def connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await reader.readline()
        writer.write(b"EHLO bench.example.com\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
        chunk, row = await self.todo.get()
        writer.write(_envelope(row))
        while True:
            # 250 for the sender, 250 for the recipient, 354 for the text.
            for _ in range(3):
                line = await reader.readline()
            about = {
                "address": row["address"],
                "id": row["id"],
                "date": formatdate(),
                "link": self.link(row),
            }
            text = self.letter.render(**about, **self.variables(row))
            data = text.replace("\n", "\r\n").replace("\r\n.", "\r\n..").encode() + b"\r\n.\r\n"
            following = None if self.todo.empty() else self.todo.get_nowait()
            writer.write(data + _envelope(following[1]) if following else data)
            line = await reader.readline()
            state = "sent" if line.startswith(b"250") else "failed"
            self.finish(Result(chunk, row["id"], state, f"<m{row['id']}@example.com>"))
            if following is None:
                following = await self.todo.get()
                writer.write(_envelope(following[1]))
            chunk, row = following


class BatchSender(Sender):
    """Brevo's contract: 32 letters a call, one call written while the one before it is recorded."""

    async def open(self) -> None:
        calls = WINDOW // LETTERS
        self.client = ClientBuilder().no_proxy().max_connections(calls).pool_max_idle_per_host(calls).build()
        self.url = f"http://127.0.0.1:{self.port}/v3/smtp/email"
        environment = liquid.Environment(undefined=liquid.StrictUndefined)
        body = self.facts["body"] + MAIL_WAY_OUT
        texts = self.facts["subject"], body, _html(body)
        self.templates = [environment.from_string(text) for text in texts]
        self.tasks = [asyncio.create_task(self.caller()) for _ in range(calls)]

    async def caller(self) -> None:
        while True:
            batch = [await self.todo.get()]
            while len(batch) < LETTERS and not self.todo.empty():
                batch.append(self.todo.get_nowait())
            for (chunk, row), (state, known) in zip(batch, await self.call(batch), strict=True):
                self.finish(Result(chunk, row["id"], state, known))

    async def call(self, batch: list[tuple[Chunk, dict[str, Any]]]) -> list[tuple[str, str]]:
        versions = [self.version(row) for _, row in batch]
        first = {name: versions[0][name] for name in ("subject", "htmlContent", "textContent")}
        document = {"sender": {"email": "hola@example.com"}, **first, "messageVersions": versions}
        content = json.dumps(document, ensure_ascii=False).encode()
        request = (
            self.client.post(self.url).header("content-type", "application/json").header("api-key", "none")
        )
        try:
            response = await request.body_bytes(content).build().send()
            answer = await response.json()
        except Exception as problem:  # noqa: BLE001 - nobody knows whether it left
            return [("unknown", str(problem))] * len(batch)
        if response.status != 201:
            return [("failed", str(answer))] * len(batch)
        return [("sent", known) for known in answer["messageIds"]]

    def version(self, row: dict[str, Any]) -> dict[str, Any]:
        link = self.link(row)
        variables = self.variables(row) | {"link": link}
        subject, text, html = (template.render(**variables) for template in self.templates)
        return {
            "to": [{"email": row["address"]}],
            "subject": subject,
            "htmlContent": html,
            "textContent": text,
            "headers": {
                "List-Unsubscribe": f"<{link}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                "X-Mailin-custom": f"m{row['id']}",
            },
        }


LETTER = """\
From: hola@example.com
To: {{{{ address }}}}
Date: {{{{ date }}}}
Subject: {subject}
Message-ID: <m{{{{ id }}}}@example.com>
List-Unsubscribe: <{{{{ link }}}}>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="=_part"

--=_part
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

{body}
--=_part
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: 8bit

{html}
--=_part--"""


def _html(body: str) -> str:
    paragraphs = body.replace("}}", "| escape }}").split("\n\n")
    return "<!doctype html><html><body>" + "".join(f"<p>{p}</p>\n" for p in paragraphs) + "</body></html>"


def _envelope(row: dict[str, Any]) -> bytes:
    return (
        b"MAIL FROM:<hola@example.com> BODY=8BITMIME\r\nRCPT TO:<"
        + row["address"].encode()
        + b">\r\nDATA\r\n"
    )


class Lane:
    """Claims, hands to the sender, records: one transaction for a record and the next claim."""

    def __init__(self, database: psycopg.AsyncConnection[Any], sender: Sender, run: str) -> None:
        self.database, self.sender, self.run_id = database, sender, run
        self.planning: asyncio.Task[None] | None = None
        self.in_doubt = 0
        self.chunk: Chunk | None = None

    async def send_all(self) -> None:
        """Until no chunk is left and planning is over."""
        while True:
            if self.chunk is None:
                await self.take()
            if self.chunk is None and not self.in_doubt:
                if await self.is_over():
                    return
                await asyncio.sleep(0.005)
                continue
            full = self.chunk is None or self.in_doubt - len(self.sender.done) > WINDOW - RECORD_EVERY
            if full:
                await self.company()
            await self.record_and_claim()

    async def company(self) -> None:
        """Until 32 results are there, or all, but not for long."""
        if len(self.sender.done) >= min(RECORD_EVERY, self.in_doubt):
            return
        self.sender.enough.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.sender.enough.wait(), RECORD_SECONDS)

    async def take(self) -> None:
        cursor = await self.database.execute(TAKE, {"run": self.run_id})
        row = await cursor.fetchone()
        if row is None:
            return
        self.chunk = Chunk(**row)
        self.chunk.values = {
            "id": row["id"],
            "epoch": row["epoch"],
            "first": row["first_id"],
            "last": row["last_id"],
            "run": self.run_id,
        }
        if row["epoch"] > 1:
            await self.database.execute(ORPHANS, self.chunk.values)

    async def record_and_claim(self) -> None:
        ended, self.sender.done = self.sender.done, []
        wanted = WINDOW - self.in_doubt + len(ended)
        claimed = None
        async with self.database.pipeline():
            for chunk in {id(result.chunk): result.chunk for result in ended}.values():
                await self.record(chunk, [result for result in ended if result.chunk is chunk])
            if self.chunk is not None and wanted > 0:
                claimed = await self.database.execute(
                    CLAIM, self.chunk.values | {"window": wanted}, prepare=True
                )
        self.in_doubt -= len(ended)
        if claimed is None:
            return
        rows = await claimed.fetchall()
        chunk = self.chunk
        if rows:
            chunk.values["first"] = rows[-1]["id"] + 1
        if len(rows) < wanted:
            self.chunk = None
        for row in rows:
            if row["objection"] is None:
                self.in_doubt += 1
                self.sender.todo.put_nowait((chunk, row))

    async def record(self, chunk: Chunk, results: list[Result]) -> None:
        values = {
            "id": chunk.id,
            "epoch": chunk.epoch,
            "first": chunk.first_id,
            "last": chunk.last_id,
            "ids": [result.id for result in results],
            "states": [result.state for result in results],
            "errors": [result.error for result in results],
            "provider_ids": [result.provider_id for result in results],
        }
        await self.database.execute(RECORD, values, prepare=True)

    async def is_over(self) -> bool:
        query = "SELECT state <> 'planning' AS over FROM automation_logs WHERE id = %s"
        row = await (await self.database.execute(query, (self.run_id,))).fetchone()
        if self.planning is not None and self.planning.done():
            self.planning.result()
        if not row["over"]:
            return False
        await self.take()
        if self.chunk is None:
            await self.database.execute(FINISH, {"run": self.run_id})
        return self.chunk is None


async def connect() -> psycopg.AsyncConnection[Any]:
    database = await psycopg.AsyncConnection.connect(
        os.environ["DATABASE_URL"], autocommit=True, row_factory=dict_row
    )
    await database.execute("SET TimeZone = 'UTC'")
    return database


async def plan(facts: dict[str, Any], run: str) -> None:
    """Choose once, then write in slices that are committed one by one: sending starts after the first."""
    async with await connect() as database:
        await database.execute("SELECT pg_advisory_lock(%(organization)s)", facts)
        cursor = await psycopg.AsyncClientCursor(database).execute(CHOOSE, facts)
        number = cursor.rowcount
        for start in range(0, number, SLICE):
            values = facts | {"start": start, "slice": SLICE, "chunk": CHUNK, "run": run}
            await psycopg.AsyncClientCursor(database).execute(WRITE_SLICE, values)
        await database.execute(PLANNED, {"run": run, "due": number})


async def find_run(database: psycopg.AsyncConnection[Any]) -> str:
    """The run that another process has opened."""
    while True:
        cursor = await database.execute("SELECT id FROM automation_logs ORDER BY created_at DESC LIMIT 1")
        row = await cursor.fetchone()
        if row:
            return str(row["id"])
        await asyncio.sleep(0.005)


async def work(automation: str, port: int, *, join: bool) -> None:
    database = await connect()
    facts = await (await database.execute(FACTS, {"automation": automation})).fetchone()
    assert facts is not None
    sender = {"smtp": MailSender, "brevo": BatchSender, "twilio": TextSender}[facts["kind"]](facts, port)
    await sender.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    moment = {"monotonic": time.monotonic(), "time": time.time()}
    print(json.dumps(moment), flush=True)
    if join:
        run, planning = await find_run(database), None
    else:
        row = await (await database.execute(OPEN_RUN, facts)).fetchone()
        run = str(row["id"])
        planning = asyncio.create_task(plan(facts, run))
    lane = Lane(database, sender, run)
    lane.planning = planning
    await lane.send_all()
    if planning is not None:
        await planning
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}), flush=True)
    # Stay until told, so that whoever measures can read what this process took.
    await asyncio.to_thread(sys.stdin.readline)
    for task in sender.tasks:
        task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("automation")
    parser.add_argument("port", type=int)
    parser.add_argument("--join", action="store_true")
    asked = parser.parse_args()
    asyncio.run(work(asked.automation, asked.port, join=asked.join))


if __name__ == "__main__":
    main()
