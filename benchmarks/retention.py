"""What a message takes on disk, and what it costs to be rid of a month of them.

python -m benchmarks.retention [--messages 100000] [--month 1000000]
"""

import argparse
import json
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

from benchmarks import contest, meters
from benchmarks.contest import keep

_FILL = """
INSERT INTO messages (id, organization_id, run_id, chunk_number, automation_id, version_id, customer_id,
                      occasion, purpose, channel, account_id, address, due_at, send_after, state, reason,
                      error, epoch, attempt, provider_id, created_at, accepted_at, state_at)
SELECT (regulars_month(%(at)s) << 40) + nextval('messages_number'), n %% 20,
       md5((n / 2000)::text)::uuid, 1, md5((n %% 100)::text)::uuid, 1, n %% 500000, 'lapse:2026-01-01',
       'marketing', 'sms', 1, '+155501' || lpad((n %% 500000)::text, 8, '0'), %(at)s, %(at)s,
       CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'delivered' END,
       CASE WHEN n %% 50 = 0 THEN 'permanent' ELSE '' END,
       '', 1, 1, 'SM' || md5(n::text), %(at)s, %(at)s, %(at)s
  FROM generate_series(1, %(number)s) n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000, help="messages of the run that is weighed")
    parser.add_argument("--month", type=int, default=1_000_000, help="messages of the month that goes")
    parser.add_argument("--results", help="a JSON file to add the figures to")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        json.dump(_both_ways(asked.month), sys.stdout)
        return
    with contest.ground("http") as ground:
        print(meters.machine_line(ground.server.settings()), end="\n\n")
        ground.build(asked.messages, "sms")
        weighed = contest.run_ours(ground, 1)
        print(f"Bytes on disk a message after a run of {asked.messages:,}: {weighed.disk_bytes:,.0f}")
        print(f"by table: {weighed.by_table}", end="\n\n")
        with ground.copy("trial_month") as database:
            command = [sys.executable, "-m", "benchmarks.retention", "--inside", "--month", str(asked.month)]
            told = subprocess.run(
                command, env=ground.environment(database), stdout=subprocess.PIPE, check=True
            )
        found = json.loads(told.stdout)
        for name, value in found.items():
            print(f"{name}: {value:,.1f}")
        keep(asked.results, "retention", {"by_table": weighed.by_table, "month": found})


def _both_ways(number: int) -> dict[str, float]:
    """The same month twice: removed row by row, and by `purge`."""
    from regulars.cli import starting

    starting.start(migrate=False)
    from django.db import connection

    from regulars.lib import clock, sql
    from regulars.runs import partitions, purging

    first = partitions.first_moment(partitions.month_of(clock.now()) + 1)
    by_delete, by_drop = first + timedelta(days=3), first + timedelta(days=40)
    for moment in (by_delete, by_drop):
        partitions.ensure(moment, ahead=0)
        sql.execute(_FILL, {"at": moment, "number": number})
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    found = {"bytes a message of a full month": partitions.storage()[-1].size / number}
    found |= _delete(*partitions.bounds(partitions.month_of(by_delete)))
    # What is left of the month that was deleted, empty, goes along.
    return found | _purge(by_drop, purging)


def _wal() -> int:
    from regulars.lib import sql

    return int(sql.fetch_rows("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal")[0]["wal"])


def _delete(first: int, below: int) -> dict[str, float]:
    from django.db import connection

    from regulars.lib import sql

    before, began = _wal(), time.monotonic()
    sql.execute("DELETE FROM messages WHERE id >= %s AND id < %s", [first, below])
    deleted = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM messages")
    return {
        "DELETE, ms": (deleted - began) * 1000,
        "VACUUM after it, ms": (time.monotonic() - deleted) * 1000,
        "WAL of both, MB": (_wal() - before) / 1e6,
    }


def _purge(moment: Any, purging: Any) -> dict[str, float]:
    """The whole purge of the month, and how much of it others have to stand aside."""
    drops = []
    real = purging.sql.execute

    def timed(text: str, parameters: Any = None) -> int:
        if text.startswith("DROP"):
            drops.append(time.monotonic())
        return real(text, parameters)

    purging.sql.execute = timed
    real_note, ends = purging.followers.remove, []

    def noted(*arguments: Any) -> Any:
        ends.append(time.monotonic())
        return real_note(*arguments)

    purging.followers.remove = noted
    before, began = _wal(), time.monotonic()
    purged = purging.purge(moment + timedelta(days=31 * 26), 24)
    took = time.monotonic() - began
    return {
        "messages purged": sum(month.messages for month in purged.months),
        "purge (count, totals, drop), ms": took * 1000,
        "of that, nobody else may use messages, ms": (ends[0] - drops[-1]) * 1000,
        "WAL of it, MB": (_wal() - before) / 1e6,
    }


if __name__ == "__main__":
    main()
