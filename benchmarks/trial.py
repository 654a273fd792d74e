"""One measured run: what it took, by the clocks and counters of the machine, the sink and the server."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import meters
from benchmarks.server import Server
from benchmarks.sink import Sink

ROWS = """
SELECT sum(n_tup_ins)::bigint AS inserted, sum(n_tup_upd)::bigint AS updated,
       sum(n_tup_hot_upd)::bigint AS hot, sum(n_tup_del)::bigint AS deleted
  FROM pg_stat_user_tables
"""
# A partition counts as its table.
SIZES = """
SELECT coalesce(parent.relname, class.relname) AS name, sum(pg_total_relation_size(class.oid))::bigint AS size
  FROM pg_class class
  LEFT JOIN pg_inherits ON pg_inherits.inhrelid = class.oid
  LEFT JOIN pg_class parent ON parent.oid = pg_inherits.inhparent
 WHERE class.relkind = 'r' AND class.relnamespace = 'public'::regnamespace GROUP BY 1
"""
STATE = """
SELECT state, reason, extract(epoch FROM finished_at)::float8 AS finished_at
  FROM automation_logs ORDER BY created_at DESC LIMIT 1
"""
LEDGER = (
    "SELECT state, count(*) AS number FROM messages WHERE created_at > now() - interval '1 day' GROUP BY 1"
)


@dataclass
class Figures:
    """What one run took. Seconds, unless the name says otherwise."""

    who: str
    messages: int
    processes: int
    wall: float
    planning: float
    first_message: float
    rate: float
    cpu_ms: float  # a message, of the sending processes
    server_cpu_ms: float  # a message, of PostgreSQL
    sink_cpu_ms: float
    rows: float  # written, a message
    hot_share: float
    statements: float  # a message
    commits: float
    wal_bytes: float
    disk_bytes: float
    peak_mb: float
    by_table: dict[str, float] = field(default_factory=dict)
    outcome: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class _Counters:
    """All counters at one moment."""

    def __init__(self, server: Server, sink: Sink, database: str, pids: Sequence[int]) -> None:
        self.cpu = sum(meters.cpu_seconds(pid) for pid in pids)
        self.server_cpu = server.cpu_seconds()
        self.sink_cpu = sink.cpu_seconds()
        row = server.ask(
            database,
            """SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal, xact_commit AS commits
                 FROM pg_stat_database WHERE datname = current_database()""",
        )[0]
        self.wal, self.commits = int(row["wal"]), int(row["commits"])
        self.statements = server.statements(database)


def measure(  # noqa: PLR0913 - each of them is another thing that is looked at
    who: str,
    server: Server,
    sink: Sink,
    database: str,
    pids: Sequence[int],
    start: Callable[[], dict[str, Any]],
    stop: Callable[[], None],
    *,
    limit: float = 3600,
) -> Figures:
    """Start a run, wait for its end, stop the senders, and say what it took."""
    sizes = _sizes(server, database)
    rows = server.ask(database, ROWS)[0]
    sink.reset()
    before = _Counters(server, sink, database, pids)
    begun = start()
    state = _wait_for_the_end(server, database, pids, limit)
    after = _Counters(server, sink, database, pids)
    peak = max(meters.peak_memory_mb(pid) for pid in pids)
    counts = sink.counts()
    stop()
    # The server's counters of rows are told by each backend as it ends.
    meters.nap(1.5)
    rows_after = server.ask(database, ROWS)[0]
    grown = {name: size - sizes.get(name, 0) for name, size in _sizes(server, database).items()}
    outcome = {row["state"]: row["number"] for row in server.ask(database, LEDGER)}
    number = counts["messages"] or sum(outcome.values()) or 1
    written = {name: rows_after[name] - rows[name] for name in rows}
    wall = state["finished_at"] - begun["time"]
    return Figures(
        who=who,
        messages=number,
        processes=len(pids),
        wall=wall,
        planning=state["planned_at"] - begun["time"],
        first_message=counts["first_ns"] / 1e9 - begun["monotonic"] if counts["messages"] else 0.0,
        rate=number / wall,
        cpu_ms=(after.cpu - before.cpu) * 1000 / number,
        server_cpu_ms=(after.server_cpu - before.server_cpu) * 1000 / number,
        sink_cpu_ms=(after.sink_cpu - before.sink_cpu) * 1000 / number,
        rows=(written["inserted"] + written["updated"] + written["deleted"]) / number,
        hot_share=written["hot"] / written["updated"] if written["updated"] else 0.0,
        statements=(after.statements - before.statements) / number,
        commits=(after.commits - before.commits) / number,
        wal_bytes=(after.wal - before.wal) / number,
        disk_bytes=sum(grown.values()) / number,
        peak_mb=peak,
        by_table={name: round(size / number, 1) for name, size in grown.items() if size},
        outcome=outcome,
    )


def _sizes(server: Server, database: str) -> dict[str, int]:
    return {row["name"]: row["size"] for row in server.ask(database, SIZES)}


def _wait_for_the_end(server: Server, database: str, pids: Sequence[int], limit: float) -> dict[str, Any]:
    # `planned_at` is the moment that planning looked at, so its end is seen from here.
    deadline, planned_at = time.monotonic() + limit, 0.0
    with server.connect(database) as connection:
        while time.monotonic() < deadline:
            row = connection.execute(STATE).fetchone()
            if row and row["state"] != "planning" and not planned_at:
                planned_at = time.time()
            if row and row["state"] == "finished":
                return row | {"planned_at": planned_at}
            if row and row["state"] in ("paused", "failed", "cancelled"):
                raise SystemExit(f"The run is {row['state']}: {row['reason']}")
            if not all(meters.lives(pid) for pid in pids):
                raise SystemExit("A sender has died")
            time.sleep(0.03)
    raise SystemExit("The run did not end in time")
