"""What a tick costs while nothing is due: `python -m benchmarks.ticks`.

Makes houses of many automations with schedules in a database of its own, ticks while none of them is
due, and beside it asks the same connection for nothing (`SELECT 1`), in turns. Prints the medians. Then
it lets some be due at once, and says what taking one slot costs.
"""

import argparse
import json
import os
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks import meters, server
from benchmarks.contest import keep

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
SCHEDULES: list[dict[str, Any]] = [
    {"times": ["10:00"]},
    {"times": ["10:00", "18:30"], "weekdays": ["mon", "fri"]},
    {"cron": "0 10 1 * *"},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--automations", type=int, default=10_000)
    parser.add_argument("--ticks", type=int, default=500)
    parser.add_argument("--results", help="a JSON file to add the figures to")
    asked = parser.parse_args()
    with server.running() as own:
        _prepare(own.create("ticks"))
        print(meters.machine_line(own.settings()))
        found = measure(asked.automations, asked.ticks)
    print(
        f"\n{asked.automations:,} automations, none due, medians of {asked.ticks} (99 of 100 in brackets)\n"
    )
    for name, figures in found.items():
        print(f"{name:<32}{figures['median_ms']:>9.3f} ms  ({figures['p99_ms']:.3f} ms)")
    keep(asked.results, "ticks", found | {"automations": asked.automations})


def _prepare(url: str) -> None:
    os.environ["DATABASE_URL"] = url
    os.environ.setdefault("SECRET_KEY", "benchmarks-only-benchmarks-only-benchmarks-only")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "regulars.settings")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def measure(automations: int, ticks: int) -> dict[str, Any]:
    """Ticks and bare questions in turns; what each took."""
    from django.db import connection

    from regulars.lib import sql
    from regulars.runs import engine
    from regulars.runs.models import Run

    _make(automations)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE automations")
    sides: dict[str, Callable[[], Any]] = {
        "SELECT 1": lambda: sql.fetch_rows("SELECT 1"),
        "a tick": lambda: engine.tick(NOW),
    }
    took: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ticks + 20):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            took[name].append((time.perf_counter() - began) * 1000)
    if Run.objects.exists():
        raise SystemExit("Something was due: this measures nothing")
    print(f"plan: {_plan()}")
    found = {name: _figures(times[20:]) for name, times in took.items()}
    return found | {"a slot taken": _figures(_take(min(automations // 5, 500)))}


def _take(number: int) -> list[float]:
    """Milliseconds a slot, batch by batch: its row, the run, the job, the next slot, one commit each."""
    from regulars.automations.models import Automation, AutomationVersion, ProviderAccount
    from regulars.organizations.models import Organization
    from regulars.runs import engine

    for house in Organization.objects.all():
        ProviderAccount.objects.create(organization=house, name="s", kind="sandbox", channels=["email"])
    due = list(Automation.objects.filter(enabled=True)[:number].values_list("pk", flat=True))
    AutomationVersion.objects.bulk_create(
        AutomationVersion(automation_id=pk, number=1, channels=["email"]) for pk in due
    )
    Automation.objects.filter(pk__in=due).update(schedule={"times": ["14:00"]}, next_slot=NOW)
    took, taken = [], 0
    while taken < number:
        began = time.perf_counter()
        ticked = engine.tick(NOW)
        took.append((time.perf_counter() - began) * 1000 / max(1, len(ticked.runs)))
        taken += len(ticked.runs)
        if ticked.failed or ticked.missed:
            raise SystemExit(f"Slots were not taken: {ticked}")
    return took


def _make(number: int) -> None:
    """Automations of ten houses, each with the slot that its schedule really has next."""
    from regulars.automations import slots
    from regulars.automations.models import Automation
    from regulars.organizations.models import Organization

    houses = [Organization.objects.create(slug=f"house-{n}", name=f"House {n}") for n in range(10)]
    # Half of them were changed at another time, so that next slots lie apart.
    made = [
        Automation(
            organization=houses[n % 10],
            name=f"Automation {n}",
            trigger="inactive",
            enabled=n % 5 > 0,
            schedule=SCHEDULES[n % 3],
            version_number=1,
        )
        for n in range(number)
    ]
    for place, automation in enumerate(made):
        automation.next_slot = slots.next_after(automation, NOW + timedelta(days=place % 30))
    Automation.objects.bulk_create(made, batch_size=1_000)


def _plan() -> str:
    from regulars.runs import ticking

    plan: str = ticking._due(NOW).explain()  # noqa: SLF001 - what is measured
    return json.dumps([line.strip() for line in plan.splitlines()])


def _figures(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"median_ms": statistics.median(ordered), "p99_ms": ordered[int(len(ordered) * 0.99)]}


if __name__ == "__main__":
    main()
