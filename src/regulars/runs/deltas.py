"""What a later change of messages means for their chunks and their run: counts move by delta.

Nothing here counts messages.

The order of locks, whoever takes them, so that nobody waits for another in a circle:

1. the turn of a portfolio (`runs.portfolios`), taken by its senders, who then take messages and chunks;
   and the run's own lock (`hold_run`), shared by whoever settles, retries or reports; a fallback only
   tries it;
2. messages, by id: all of them before the first chunk;
3. chunks, by run and number; then the turn in which further chunks are numbered (`runs.fallback`);
4. runs, by id; then accounts and automations.

Resuming takes the run before its chunks: nobody else asks for the row of a run that is paused, and it has
`hold_run` alone, as cancelling has. Whoever takes a chunk over passes by messages that somebody else holds.
`tests/runs/test_lock_order.py` holds the pairs that could meet to it.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from regulars.lib import sql
from regulars.runs import statements
from regulars.runs.deferring import chunk_job, defer
from regulars.runs.models import MessageState

# Where a message of a state is counted; what is still to come is counted nowhere. Accepted is sent,
# whatever became of it afterwards, unless the provider says that it never got there.
COLUMNS = {
    MessageState.SENT: "sent",
    MessageState.DELIVERED: "sent",
    MessageState.READ: "sent",
    MessageState.BOUNCED: "sent",
    MessageState.FAILED: "failed",
    MessageState.UNKNOWN: "unknown",
    MessageState.WITHHELD: "withheld",
}
_NAMES = ("sent", "failed", "unknown", "withheld")


@dataclass(frozen=True, slots=True)
class Move:
    """So many messages of one chunk went from one state to another."""

    chunk_number: int
    before: str
    after: str
    number: int = 1


def hold_run(run_id: object, *, alone: bool = False) -> None:
    """Keep cancelling and resuming (`alone`) apart from what settles or reports, to the transaction's end."""
    shared = "" if alone else "_shared"
    sql.fetch_rows(
        f"SELECT pg_advisory_xact_lock{shared}(hashtextextended('run ' || %(run)s, 0))",
        {"run": str(run_id)},
    )


def apply(run_id: UUID, moves: Iterable[Move], now: datetime) -> None:
    """Count `moves` in the chunks and, if the run has ended, in its totals; tell who listens.

    A chunk to which a message goes back is opened again, and a finished run goes on.
    """
    apply_all({run_id: moves}, now)


def apply_all(moves: Mapping[UUID, Iterable[Move]], now: datetime) -> None:
    """The same for several runs: the chunks of all of them before the first run."""
    deltas = {run_id: found for run_id in sorted(moves) if (found := _by_chunk(moves[run_id]))}
    chunks = {run_id: _move_chunks(run_id, found, now) for run_id, found in deltas.items()}
    for run_id, found in deltas.items():
        _move_run(run_id, found, chunks[run_id])


Delta = dict[str, int]


def _move_chunks(run_id: UUID, deltas: dict[int, Delta], now: datetime) -> list[dict[str, Any]]:
    values = {"run": run_id, "now": now, "deltas": json.dumps(list(deltas.values()))}
    return sql.fetch_rows(_MOVE, values)


def _move_run(run_id: UUID, deltas: dict[int, Delta], chunks: list[dict[str, Any]]) -> None:
    reopened = [row for row in chunks if row["reopened"]]
    # The run's end waits for what changes its closed chunks, or is seen here: `statements.FINISH`.
    if reopened or any(row["closed"] for row in chunks):
        sql.fetch_rows(statements.LOCK_RUN, {"run": run_id})
    if reopened:
        sql.execute(statements.GO_ON, {"run": run_id})
        defer([chunk_job(row["id"], urgent=row["urgent"]) for row in reopened])
    totals = {name: sum(delta[name] for delta in deltas.values()) for name in _NAMES}
    sql.execute(statements.MOVE_TOTALS, {"run": run_id} | totals)
    sql.fetch_rows("SELECT pg_notify('regulars_runs', %(run)s)", {"run": str(run_id)})


def _by_chunk(moves: Iterable[Move]) -> dict[int, Delta]:
    deltas: dict[int, Delta] = defaultdict(lambda: dict.fromkeys((*_NAMES, "reopened"), 0))
    for move in moves:
        delta = deltas[move.chunk_number]
        delta["number"] = move.chunk_number
        if column := COLUMNS.get(MessageState(move.before)):
            delta[column] -= move.number
        if column := COLUMNS.get(MessageState(move.after)):
            delta[column] += move.number
        delta["reopened"] |= move.after == MessageState.QUEUED
    return {number: delta for number, delta in deltas.items() if any(delta[n] for n in (*_NAMES, "reopened"))}


_MOVE = """
WITH delta AS MATERIALIZED (
  SELECT chunk.id, delta.*
    FROM jsonb_to_recordset(%(deltas)s::jsonb)
         AS delta (number int, sent int, failed int, unknown int, withheld int, reopened int)
    JOIN run_chunks chunk ON chunk.run_id = %(run)s AND chunk.number = delta.number
   ORDER BY chunk.number FOR NO KEY UPDATE OF chunk
)
UPDATE run_chunks chunk
   SET sent = chunk.sent + delta.sent, failed = chunk.failed + delta.failed,
       unknown = chunk.unknown + delta.unknown, withheld = chunk.withheld + delta.withheld,
       closed = chunk.closed AND delta.reopened = 0,
       next_due = CASE WHEN delta.reopened = 0 THEN chunk.next_due
                       ELSE least(chunk.next_due, %(now)s) END
  FROM delta
 WHERE chunk.id = delta.id
RETURNING chunk.id, chunk.urgent, chunk.closed, delta.reopened = 1 AS reopened
"""
