"""Choosing and planning on a large house, against SQL written by hand: `python -m benchmarks.choosing`.

Makes a world of its own (a database beside DATABASE_URL, else a server of its own) and takes turns,
A B A B: the hand's preview and ours, the hand's planning and ours. The hand knows this world (one
account, three channels, suppressions without a channel) and writes the same tables; both must give the
same rows. Prints medians and ratios; `--json FILE` keeps them, `--explain` shows each plan.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from tests import live

from benchmarks import meters

HAND = dict(
    re.findall(
        r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)",
        Path(__file__).with_name("choosing_by_hand.sql").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
CHANNELS = ["whatsapp", "sms", "email"]
AUDIENCE = 100_000
# What the server that comes along is set to, for a database on another server.
SETTINGS = {"random_page_cost": "1.1", "work_mem": "8MB", "jit": "off"}


@dataclass
class Question:
    """One automation and the hand's query of who is due."""

    name: str
    trigger: str
    parameters: dict[str, Any]
    policy: dict[str, Any] = field(default_factory=dict)
    verdict: str = "marketing"
    booked: bool = False
    # Whether a guest can be due twice.
    several: bool = False
    automation: Any = None


QUESTIONS = [
    Question(
        "inactive",
        "inactive",
        {"days": 60, "min_visits": 2},
        {"skip_upcoming_reservation": True},
        booked=True,
    ),
    Question("birthday", "birthday", {"lead_days": 7}),
    Question("vip_reward", "vip_reward", {"tiers": ["gold", "black"], "period": "quarter"}),
    Question("vip_rise", "vip_reward", {"tiers": ["gold", "black"], "period": "rise"}),
    Question("post_visit", "post_visit", {"delay_hours": 24, "max_late_hours": 48}, several=True),
    Question(
        "reservation_confirmation",
        "reservation_confirmation",
        {"max_late_hours": 24},
        verdict="transactional",
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--visits", type=int, default=5_000_000)
    parser.add_argument("--messages", type=int, default=1_000_000, help="earlier messages, over two years")
    parser.add_argument("--audience", type=int, default=AUDIENCE)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="", help="measure only what has this in its name")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--keep", metavar="DATABASE", help="use this database; make it if it is not there")
    asked = parser.parse_args()
    with database(asked.keep) as url:
        results = measure(url, asked)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


@contextlib.contextmanager
def database(keep: str | None) -> Iterator[str]:
    """A database for this benchmark alone; it is dropped afterwards unless it is to be kept."""
    if url := os.environ.get("DATABASE_URL"):
        parts = psycopg.conninfo.conninfo_to_dict(url)
        name = keep or f"regulars_choosing_{os.getpid()}"
        with psycopg.connect(url, autocommit=True) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if not there:
                connection.execute(f'CREATE DATABASE "{name}"')
                for setting, value in SETTINGS.items():
                    connection.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")
            where = f"host={parts.get('host', '')}&port={parts.get('port', 5432)}"
            try:
                yield f"postgresql://{parts.get('user', '')}@/{name}?{where}"
            finally:
                if not keep:
                    live.drop_database(connection, name)
        return
    from benchmarks import server

    with server.running() as own:
        yield own.create("choosing")


def measure(url: str, asked: argparse.Namespace) -> dict[str, Any]:
    prepare(url, asked)
    make_automations(asked.audience)
    line = meters.machine_line(describe(url))
    print(line)
    found = {"machine": line, "world": world_line(), "rows": []}
    print(found["world"])
    print(f"\n{'':<34}{'guests':>9}{'by hand':>11}{'ours':>11}{'ratio':>8}   (medians of {asked.pairs})")
    sides = [(f"preview, {question.name}", question, hand_preview, our_preview) for question in QUESTIONS]
    sides.append(("planning, inactive", QUESTIONS[0], hand_plan, our_plan))
    for name, question, hand, ours in sides:
        if asked.only in name:
            same_verdicts(question)
            found["rows"].append(compare(name, question, asked, hand, ours))
            if asked.explain:
                explain(question)
    found["tick_ms"] = tick(asked.pairs)
    print(f"\na tick with nothing due: {found['tick_ms']:.1f} ms")
    return found


def prepare(url: str, asked: argparse.Namespace) -> None:
    """Django on this database, its tables, and the world in them."""
    os.environ["DATABASE_URL"] = url
    os.environ.setdefault("SECRET_KEY", "benchmarks-only-benchmarks-only-benchmarks-only")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "regulars.settings")
    import django

    django.setup()
    from django.core.management import call_command

    from benchmarks import choosing_world
    from regulars.customers.models import Customer

    call_command("migrate", verbosity=0)
    if not Customer.objects.exists():
        print(f"making {asked.customers:,} guests and {asked.visits:,} visits (and a tenth for a neighbour)")
        choosing_world.build(url, choosing_world.Size(asked.customers, asked.visits, asked.messages))


def make_automations(audience: int) -> None:
    """One of each kind; the win-back reaches as far back as makes an audience of this size."""
    from regulars.automations import triggers
    from regulars.automations.models import Automation, AutomationVersion, Template
    from regulars.lib import sql
    from regulars.organizations.models import Organization

    sql.execute("DELETE FROM procrastinate_jobs")
    organization = Organization.objects.get(slug="chain")
    QUESTIONS[0].parameters["max_days"] = days_for(audience)
    for question in QUESTIONS:
        question.automation = Automation.objects.create(
            organization=organization,
            name=question.name,
            trigger=question.trigger,
            family=triggers.get(question.trigger).family,
            enabled=True,
            version_number=1,
        )
        version = AutomationVersion.objects.create(
            automation=question.automation,
            number=1,
            channels=CHANNELS,
            parameters=question.parameters,
            policy=question.policy,
        )
        Template.objects.create(version=version, channel="email", language="es", subject="x", body="x")


def days_for(audience: int) -> int:
    rows = ask(
        """SELECT days FROM (
             SELECT %(today)s::date - last_service_date AS days,
                    sum(count(*)) OVER (ORDER BY last_service_date DESC) AS sum
               FROM visit_summaries WHERE organization_id = 1 AND completed >= 2
                AND last_service_date <= %(today)s::date - 60 GROUP BY last_service_date) reached
            WHERE sum >= %(audience)s ORDER BY days LIMIT 1""",
        {"today": today(), "audience": audience},
    )
    return int(rows[0]["days"]) if rows else 3650


# ---- the two sides ---------------------------------------------------------------------------------


def today() -> str:
    from benchmarks.choosing_world import NOW

    return f"{NOW:%Y-%m-%d}"


def ask(text: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    from regulars.lib import sql

    return sql.fetch_rows(text, values)


def hand_values(question: Question) -> dict[str, Any]:
    """What the hand would have written as literals."""
    from benchmarks.choosing_world import NOW
    from regulars.automations import triggers
    from regulars.automations.models import Automation, ProviderAccount
    from regulars.hospitality.models import Venue
    from regulars.runs import partitions

    automation = question.automation
    days = triggers.get(question.trigger).policy.cooldown_days
    kin = Automation.objects.filter(organization_id=automation.organization_id, family=automation.family)
    kin = kin if automation.family else kin.filter(pk=automation.pk)
    return {
        "organization": automation.organization_id,
        "automation": automation.pk,
        "version": automation.current_version.pk,
        "account": ProviderAccount.objects.get().pk,
        "venue": Venue.objects.order_by("pk").values_list("pk", flat=True)[0],
        "family": [str(key) for key in kin.values_list("pk", flat=True)],
        "now": NOW,
        "today": today(),
        "since": NOW - timedelta(days=days),
        "floor": partitions.floor_id(NOW - timedelta(days=days + 121)),
        "month": partitions.floor_id(NOW),
        "max_days": question.parameters.get("max_days"),
    }


def hand_verdict(question: Question) -> str:
    return HAND[question.verdict].format(
        due=HAND[question.name],
        booked=HAND["booked"] if question.booked else "FALSE",
        spaced=HAND["one_a_guest"] if question.several else "SELECT * FROM judged",
    )


def hand_preview(question: Question) -> dict[Any, Any]:
    values = hand_values(question)
    begun = time.perf_counter()
    rows = ask(HAND["preview"].format(verdict=hand_verdict(question)), values)
    counts = {(row["reason"], row["channel"]): row["number"] for row in rows if row["number"] is not None}
    return counts | {"seconds": time.perf_counter() - begun}


def our_preview(question: Question) -> dict[Any, int]:
    from benchmarks.choosing_world import NOW
    from regulars.runs import engine

    found = engine.preview(question.automation, NOW)
    sends = {(None, channel): number for channel, number in found.by_channel.items()}
    return sends | {(reason, None): number for reason, number in found.skipped_by_reason.items()}


def same_verdicts(question: Question) -> None:
    """The hand's rows are ours, all columns of all rows."""
    from benchmarks.choosing_world import NOW
    from regulars.runs.choosing import choose

    choice = choose(question.automation.current_version, NOW)
    columns = """customer_id, occasion::text, due_at, expires_at, send_after, venue_id, reference,
                 reason::text, channel::text, account_id, address::text"""
    values = choice.parameters | hand_values(question)
    rows = ask(
        f"""WITH ours AS MATERIALIZED (SELECT {columns} FROM ({choice.text}) a),
                hands AS MATERIALIZED (SELECT {columns} FROM ({hand_verdict(question)}) b)
           SELECT (SELECT count(*) FROM (SELECT * FROM ours EXCEPT ALL SELECT * FROM hands) d) AS only_ours,
                  (SELECT count(*) FROM (SELECT * FROM hands EXCEPT ALL SELECT * FROM ours) d) AS only_hands,
                  (SELECT count(*) FROM ours) AS number""",
        values,
    )
    if rows[0]["only_ours"] or rows[0]["only_hands"] or not rows[0]["number"]:
        raise SystemExit(f"{question.name}: the hand and we differ: {rows[0]}")


def new_run(question: Question) -> Any:
    from benchmarks.choosing_world import NOW
    from regulars.runs.models import Run

    automation = question.automation
    return Run.objects.create(automation=automation, organization=automation.organization, created_at=NOW)


def hand_plan(question: Question) -> dict[str, int]:
    from django.db import transaction

    from regulars.lib import sql

    run = new_run(question)
    values = hand_values(question) | {"run": run.pk}
    begun = time.perf_counter()
    with transaction.atomic():
        sql.execute(HAND["freeze"].format(verdict=hand_verdict(question)), values)
        # As every writer of fresh rows must: they have no statistics yet, and would be joined one by one.
        sql.execute("SET LOCAL enable_nestloop = off")
        sql.execute(HAND["write"], values)
        sql.execute("SET LOCAL enable_nestloop = on")
        sql.execute(HAND["finish"].format(), values)
    return ledger(run, time.perf_counter() - begun)


def our_plan(question: Question) -> dict[str, int]:
    from benchmarks.choosing_world import NOW
    from regulars.runs import planning

    run = new_run(question)
    begun = time.perf_counter()
    planning.plan(str(run.pk), NOW)
    return ledger(run, time.perf_counter() - begun)


def ledger(run: Any, seconds: float) -> dict[str, Any]:
    """What a planning has written, and its removal, so that the next one finds what this one found."""
    run.refresh_from_db()
    counts = {
        table: ask(f"SELECT count(*) FROM {table} WHERE {column} = %(key)s", {"key": key})[0]["count"]
        for table, column, key in (
            ("messages", "run_id", run.pk),
            ("run_verdicts", "run_id", run.pk),
            ("skips", "run_id", run.pk),
            ("occasions", "automation_id", run.automation_id),
        )
    }
    # Chunks and jobs may be one more or less: we write in slices, the hand in one piece.
    counts["due"] = run.due
    values = {"run": run.pk, "automation": run.automation_id}
    from regulars.lib import sql

    sql.execute("DELETE FROM messages WHERE run_id = %(run)s", values)
    sql.execute("DELETE FROM run_verdicts WHERE run_id = %(run)s", values)
    sql.execute("DELETE FROM skips WHERE run_id = %(run)s", values)
    sql.execute("DELETE FROM run_chunks WHERE run_id = %(run)s", values)
    sql.execute("DELETE FROM occasions WHERE automation_id = %(automation)s", values)
    sql.execute("DELETE FROM procrastinate_jobs")
    sql.execute("DELETE FROM automation_logs WHERE id = %(run)s", values)
    for table in ("messages", "occasions", "run_verdicts", "skips", "run_chunks", "procrastinate_jobs"):
        sql.execute(f"VACUUM ANALYZE {table}" if table != "messages" else "VACUUM messages")
    return counts | {"seconds": seconds}


# ---- measuring -------------------------------------------------------------------------------------


def compare(
    name: str,
    question: Question,
    asked: argparse.Namespace,
    hand: Callable[[Question], dict[Any, Any]],
    ours: Callable[[Question], dict[Any, Any]],
) -> dict[str, Any]:
    """Alternate the two, the first round unmeasured; both must give the same."""
    times: dict[str, list[float]] = {"hand": [], "ours": []}
    guests = 0
    for turn in range(asked.pairs + 1):
        answers = []
        for who, act in (("hand", hand), ("ours", ours)):
            begun = time.perf_counter()
            answer = act(question)
            seconds = answer.pop("seconds", time.perf_counter() - begun)
            answers.append(answer)
            if turn:
                times[who].append(seconds)
        if answers[0] != answers[1]:
            raise SystemExit(f"{name}: the hand and we differ: {answers}")
        guests = answers[0].get("due") or sum(answers[0].values())
    by_hand, by_us = (statistics.median(times[who]) for who in ("hand", "ours"))
    print(
        f"{name:<34}{guests:>9,}{by_hand * 1000:>8.0f} ms{by_us * 1000:>8.0f} ms{by_us / by_hand:>8.2f}",
        flush=True,
    )
    return {
        "name": name,
        "guests": guests,
        "hand_s": by_hand,
        "ours_s": by_us,
        "ratio": by_us / by_hand,
    } | times


def tick(pairs: int) -> float:
    """Request and planning of a scheduled win-back for which nobody is due."""
    from benchmarks.choosing_world import NOW
    from regulars.automations.models import AutomationVersion
    from regulars.runs import engine, planning
    from regulars.runs.models import Run

    automation = QUESTIONS[0].automation
    AutomationVersion.objects.filter(automation=automation).update(
        parameters={"days": 3650, "min_visits": 2, "max_days": 3650}
    )
    automation.refresh_from_db()
    times = []
    for _ in range(pairs * 4):
        begun = time.perf_counter()
        run = engine.start(automation, now=NOW, origin="schedule")
        planning.plan(str(run.pk), NOW)
        times.append(time.perf_counter() - begun)
        # A run by schedule that finds nobody leaves nothing behind.
        if found := Run.objects.filter(pk=run.pk).first():
            raise SystemExit(f"The tick found {found.due} guests and is {found.state}")
    return statistics.median(times) * 1000


def explain(question: Question) -> None:
    from benchmarks.choosing_world import NOW
    from regulars.runs.choosing import choose

    choice = choose(question.automation.current_version, NOW)
    for who, text, values in (
        ("by hand", hand_verdict(question), hand_values(question)),
        ("ours", choice.text, choice.parameters),
    ):
        print(f"\n---- {question.name}, {who}")
        for row in ask(f"EXPLAIN (ANALYZE, BUFFERS, SETTINGS) {text}", values):
            print(row["QUERY PLAN"])
    print()


def describe(url: str) -> str:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            """SELECT name, setting || coalesce(unit, '') FROM pg_settings
                WHERE name IN ('server_version', 'fsync', 'shared_buffers', 'work_mem') ORDER BY name DESC"""
        ).fetchall()
    said = "PostgreSQL with " + ", ".join(f"{name} {value}" for name, value in rows)
    return said + (" (not durable: the ratios hold, the seconds flatter)" if ("fsync", "off") in rows else "")


def world_line() -> str:
    tables = ("customers", "visits", "addresses", "consents", "messages", "reservations")
    numbers = {table: ask("SELECT count(*) FROM " + table)[0]["count"] for table in tables}
    return ", ".join(f"{number:,} {table}" for table, number in numbers.items())


if __name__ == "__main__":
    main()
