"""The next channel, where the first certainly cannot reach the guest: the same message, another way.

Only what a provider has refused for good because of the guest's address on its channel (not on
WhatsApp, no such number). Never an unknown, nothing that a person sent again out of doubt, nothing
that came back after it had been taken (it may have been read), and never after a stop: who says no
is not followed to another channel.

The ledger's row stays one row and keeps its occasion: it moves to a chunk of the other account, with
its range of ids, and waits there to be claimed like any other, behind every last look. That happens in
the transaction that records the refusal. So a crash leaves the message in `sending` (and then
unknown, which ends it) or already on its other way, never refused and forgotten, never in both.
What was refused is kept as a delivery event.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from regulars.automations import triggers
from regulars.automations.models import AutomationVersion
from regulars.automations.policy import Policy
from regulars.customers.models import Purpose
from regulars.lib import crash_points
from regulars.lib.masking import mask_text
from regulars.providers.base import Outcome, Verdict
from regulars.runs import budget, statements, ways
from regulars.runs.models import RunChunk
from regulars.runs.staging import BORN, ages_of

# Chunks of other ways are numbered from here on, so that those of a planning under way stay in a row.
FIRST_NUMBER = 1_000_000

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fallback:
    """The other ways of one chunk's messages: a query for them, and its fixed parameters."""

    text: str
    values: dict[str, Any]


def allows(outcome: Outcome | None) -> bool:
    """Whether an outcome is about the guest's address on this channel, and no word of the guest's. Pure."""
    if outcome is None or outcome.verdict is not Verdict.REJECTED or outcome.opt_out:
        return False
    return outcome.permanent or outcome.bad_address


def fallback_of(chunk: RunChunk, version: AutomationVersion, now: datetime) -> Fallback | None:
    """What the automation wants tried when a channel fails; None: nothing."""
    policy = Policy.model_validate(version.policy)
    if not policy.fallback:
        return None
    organization = version.automation.organization
    marketing = triggers.get(version.automation.trigger).purpose == Purpose.MARKETING
    cost, cost_values = budget.costs(version)
    limits = budget.limits(version.automation, now)
    doubtful, doubt_values = ways.doubtful(organization, marketing=marketing, now=now)
    text = _WAYS.format(
        ways=ways.RELATION,
        closed=ways.closed("address", "%(now)s"),
        doubtful=doubtful,
        born=BORN,
        cost=cost,
        left=budget.LEFT if limits else _NO_LIMIT,
    )
    values = {
        "run": chunk.run_id,
        "number": chunk.number,
        "first": chunk.first_id,
        "last": chunk.last_id,
        "organization": organization.pk,
        "marketing": marketing,
        **doubt_values,
        **ages_of(version.automation, policy, marketing, now),
    }
    return Fallback(text, values | ways.values_of(ways.ways_of(version)) | cost_values | limits)


async def fall_back(
    database: AsyncConnection[Any],
    fallback: Fallback,
    refused: Sequence[tuple[int, int, Outcome]],
    now: datetime,
) -> int:
    """Send each refused message (id, attempt, what was said) its other way, if it has one; how many.

    Inside the transaction that records the refusals, after it has.
    """
    values = fallback.values | {"now": now}
    # Whoever is cancelling or resuming the run at this moment is not waited for: it stays as it is.
    if not await _fetch(database, _HOLD, values):
        return 0
    asked = {"ids": [one[0] for one in refused], "attempts": [one[1] for one in refused]}
    found = await _fetch(database, fallback.text, values | asked)
    if not found:
        return 0
    outcomes = {number: outcome for number, _, outcome in refused}
    moved = defaultdict(list)
    for row in found:
        moved[row["account_id"]].append(_moved(row, outcomes[row["id"]]))
    await _move_all(database, moved, values)
    crash_points.reach("fallback.inside")
    return len(found)


async def _move_all(database: AsyncConnection[Any], moved: dict[int, list[Row]], values: Row) -> None:
    """Messages of one chunk into the chunks of other accounts, which are made or opened for them.

    In the order of locks of `runs.deltas`: the chunks that are there by their numbers, further ones
    behind them, the run last.
    """
    source, *found = await _fetch(database, _LOCK_CHUNKS, values | {"accounts": list(moved)})
    targets = {chunk["account_id"]: chunk for chunk in found}
    for account in sorted(moved.keys() - targets.keys()):
        targets[account] = await _made_chunk(database, values | {"account": account})
    for account, rows in moved.items():
        await _move(database, targets[account], rows, values)
    if source["closed"]:
        # A late refusal may meet a run that is over.
        await database.execute(statements.LOCK_RUN, values)
        await database.execute(statements.GO_ON, values)


async def _move(database: AsyncConnection[Any], target: Row, rows: Sequence[Row], values: Row) -> None:
    moved = values | {
        "target": target["id"],
        "target_number": target["number"],
        "moved": json.dumps(rows, default=str),
        "many": len(rows),
    }
    for statement in (_MOVE, _TELL, _COUNT):
        await database.execute(statement, moved)


async def _made_chunk(database: AsyncConnection[Any], values: Row) -> Row:
    await database.execute(_TAKE_TURNS, values)
    (chunk,) = await _fetch(database, _MAKE_CHUNK, values | {"floor": FIRST_NUMBER})
    return chunk


def _moved(row: Row, outcome: Outcome) -> Row:
    refusal = {"code": outcome.code, "words": mask_text(outcome.error), "channel": row["earlier_channel"]}
    names = ("id", "channel", "account_id", "address", "cost")
    return {name: row[name] for name in names} | {"refusal": refusal | {"next": row["channel"]}}


async def _fetch(database: AsyncConnection[Any], text: str, values: Row) -> list[Row]:
    return await (await database.execute(text, values)).fetchall()


# The lock that cancelling and resuming take alone (`runs.deltas.hold_run`).
_HOLD = """
SELECT 1 WHERE pg_try_advisory_xact_lock_shared(hashtextextended('run ' || %(run)s::text, 0))
"""

_NO_LIMIT = "CROSS JOIN (SELECT NULL::numeric AS amount) purse"

# The next way of each message after the one that failed: first a further address on the same channel,
# then the channels behind it in the automation's order. What holds for a way when a run is planned holds
# here as well: agreement, no stop, no bad address, an open window or a template, one message an address,
# money left for the channel.
_WAYS = """
WITH failed AS MATERIALIZED (
  SELECT message.* FROM unnest(%(ids)s::bigint[], %(attempts)s::int[]) AS tried (id, attempt)
    JOIN messages message ON message.id = tried.id AND message.attempt = tried.attempt
   WHERE message.id BETWEEN %(first)s AND %(last)s
     AND message.run_id = %(run)s AND message.chunk_number = %(number)s
     AND message.state = 'failed' AND message.reason = 'permanent'
     AND (message.expires_at IS NULL OR message.expires_at > %(now)s)
     AND EXISTS (SELECT 1 FROM automation_logs run
                  WHERE run.id = message.run_id AND run.state NOT IN ('cancelled', 'failed', 'missed'))
     AND NOT EXISTS (SELECT 1 FROM delivery_events event
                      WHERE event.message_id = message.id AND event.kind = 'settled_send_again')
   ORDER BY message.id FOR UPDATE OF message
),
place AS (
  SELECT failed.id, coalesce(wanted.preference, 0) AS preference,
         coalesce(address.position, 0) AS position, coalesce(address.id, 0) AS address_id
    FROM failed
    LEFT JOIN {ways} ON wanted.channel = failed.channel
    LEFT JOIN addresses address
      ON address.customer_id = failed.customer_id AND address.channel = failed.channel
     AND address.address = failed.address
),
way AS MATERIALIZED (
  SELECT DISTINCT ON (failed.id) failed.id, failed.due_at, failed.customer_id, failed.occasion,
         failed.channel AS earlier_channel, wanted.channel, wanted.account_id, address.address,
         customer.language
    FROM failed JOIN place USING (id)
    JOIN customers customer ON customer.id = failed.customer_id AND NOT customer.do_not_contact
    JOIN addresses address ON address.customer_id = failed.customer_id AND address.bad_reason = ''
    JOIN {ways} ON wanted.channel = address.channel AND address.portfolio IN ('', wanted.portfolio)
   WHERE (wanted.preference > place.preference
          OR (wanted.preference = place.preference
              AND (address.position, address.id) > (place.position, place.address_id)))
     AND NOT (wanted.windowed AND {closed})
     AND (NOT %(marketing)s OR EXISTS (
           SELECT 1 FROM consents consent
            WHERE consent.customer_id = failed.customer_id AND consent.channel = address.channel
              AND consent.purpose = 'marketing' AND consent.is_current AND consent.granted
              -- A guardian's consent counts on its own channel (E33).
              AND NOT {doubtful}
              AND (consent.basis = 'guardian' OR coalesce({born} <= %(minor_after)s, TRUE))))
     AND NOT EXISTS (
           SELECT 1 FROM suppressions stop
            WHERE stop.organization_id = %(organization)s AND stop.fingerprint = address.fingerprint
              AND stop.channel IN ('', address.channel) AND (%(marketing)s OR stop.reason <> 'opt_out'))
     AND NOT (%(marketing)s AND EXISTS (
           SELECT 1 FROM messages other
            WHERE other.organization_id = %(organization)s AND other.address = address.address
              AND other.run_id = failed.run_id AND other.id <> failed.id
              AND other.state NOT IN ('failed', 'withheld')))
   ORDER BY failed.id, wanted.preference, address.position, address.id
),
-- Two who share an address do not both fall back on it (E23).
verdict AS (
  SELECT way.*, row_number() OVER (PARTITION BY address ORDER BY id) AS turn FROM way
),
paid AS (
  SELECT verdict.*, {cost} AS cost FROM verdict WHERE turn = 1 OR NOT %(marketing)s
)
SELECT paid.id, paid.earlier_channel, paid.channel, paid.account_id, paid.address, paid.cost
  FROM paid {left}
 WHERE purse.amount IS NULL OR coalesce(paid.cost, 0) <= purse.amount
 ORDER BY paid.id
"""

# The chunk itself, then those that were made for it: behind its lock nobody else makes one.
_LOCK_CHUNKS = """
SELECT id, number, account_id, closed FROM run_chunks
 WHERE run_id = %(run)s
   AND (number = %(number)s OR (source_number = %(number)s AND account_id = ANY (%(accounts)s)))
 ORDER BY number FOR NO KEY UPDATE
"""

# Numbers are given in turns, in a statement before the one that looks at them: other chunks of the run
# may fall back at the same moment.
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('chunks ' || %(run)s::text, 0))"
_MAKE_CHUNK = """
INSERT INTO run_chunks (run_id, number, source_number, account_id, first_id, last_id, urgent, epoch, total,
                        sent, failed, unknown, withheld, closed)
SELECT source.run_id, (SELECT greatest(max(number), %(floor)s) + 1 FROM run_chunks WHERE run_id = %(run)s),
       source.number, %(account)s, source.first_id, source.last_id, source.urgent, 0, 0,
       0, 0, 0, 0, FALSE
  FROM run_chunks source
 WHERE source.run_id = %(run)s AND source.number = %(number)s
RETURNING id, number
"""

_MOVED = """jsonb_to_recordset(%(moved)s::jsonb)
           AS moved (id bigint, channel text, account_id bigint, address text, cost numeric, refusal jsonb)"""

_MOVE = f"""
UPDATE messages message
   SET state = 'queued', reason = 'fallback', error = '', channel = moved.channel,
       account_id = moved.account_id, address = moved.address, cost = moved.cost,
       chunk_number = %(target_number)s, send_after = %(now)s, state_at = %(now)s
  FROM {_MOVED}
 WHERE message.id = moved.id AND message.id BETWEEN %(first)s AND %(last)s
"""

_TELL = f"""
INSERT INTO delivery_events (message_id, kind, attempt, actor, raw, at)
SELECT moved.id, 'fell_back', message.attempt, 'engine', moved.refusal, %(now)s
  FROM {_MOVED} JOIN messages message ON message.id = moved.id
 WHERE message.id BETWEEN %(first)s AND %(last)s
"""

# A message is counted where it lies.
_COUNT = """
UPDATE run_chunks chunk
   SET failed = chunk.failed - CASE WHEN chunk.id = %(target)s THEN 0 ELSE %(many)s END,
       total = chunk.total + CASE WHEN chunk.id = %(target)s THEN %(many)s ELSE - %(many)s END,
       closed = chunk.closed AND chunk.id <> %(target)s,
       next_due = CASE WHEN chunk.id = %(target)s THEN least(chunk.next_due, %(now)s) ELSE chunk.next_due END
 WHERE chunk.run_id = %(run)s AND (chunk.id = %(target)s OR chunk.number = %(number)s)
"""
