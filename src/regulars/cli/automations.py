"""automation, run: what is to be said, and saying it."""

import json
import sys
from typing import Any

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError, json_option, organization_option

reach_option = click.option(
    "--reach",
    type=click.IntRange(min=0),
    metavar="N",
    help="Yes, it may write to this many guests at once; without it a large share waits for a new occasion.",
)


@click.group()
def automation() -> None:
    """List, show, create, enable and disable automations."""


@automation.command("list")
@organization_option
@json_option
def automation_list(slug: str | None, as_json: bool) -> None:
    """Every automation with its state, and when it runs next."""
    starting.start()
    from regulars.automations.models import Automation

    found = Automation.objects.filter(
        organization=starting.find_organization(slug), deleted_at=None
    ).select_related("organization")
    rows = [_row(each) for each in found.order_by("name")]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        state = "on " if row["enabled"] else "off"
        following = f"  next {row['next_times'][0]}" if row["next_times"] else ""
        click.echo(f"{row['id']}  {state}  {row['trigger']:<25} {row['name']}{following}")


def _row(automation: Any) -> dict[str, Any]:
    from regulars.automations import slots
    from regulars.lib import clock

    times = slots.next_times(automation, clock.now())
    return {
        "id": str(automation.pk),
        "name": automation.name,
        "trigger": automation.trigger,
        "enabled": automation.enabled,
        "schedule": automation.schedule,
        "next_times": [each.isoformat(timespec="minutes") for each in times],
        "timezone": slots.zone_of(automation),
    }


@automation.command("show")
@click.argument("wanted", metavar="AUTOMATION")
def automation_show(wanted: str) -> None:
    """The definition of AUTOMATION (its id or name) as JSON; on standard error when it runs next."""
    starting.start()
    from regulars.automations.content import definition_of

    found = starting.find_automation(wanted)
    click.echo(json.dumps(definition_of(found), ensure_ascii=False, indent=2, default=str))
    row = _row(found)
    for each in row["next_times"]:
        click.echo(f"next: {each} ({row['timezone']})", err=True)


@automation.command("create")
@click.argument("file", type=click.File(encoding="utf-8"))
@organization_option
@reach_option
def automation_create(file: Any, slug: str | None, reach: int | None) -> None:
    """Create an automation from a JSON FILE (- for standard input), in the form of the API."""
    starting.start()
    from django.db import transaction
    from pydantic import ValidationError

    from regulars.automations.content import Definition, DefinitionError, create
    from regulars.lib import clock

    try:
        definition = Definition.model_validate(json.load(file))
        with transaction.atomic():
            made = create(starting.find_organization(slug), definition, None, clock.now())
            if made.enabled:
                _guard(made, reach)
    except json.JSONDecodeError as problem:
        raise CommandError(f"{file.name} is not JSON: {problem}") from problem
    except (DefinitionError, ValidationError) as problem:
        raise CommandError(_details(problem)) from problem
    click.echo(str(made.pk))


def _guard(automation: Any, reach: int | None) -> None:
    """Say on stderr that an automation starts from now on; stdout belongs to the answer."""
    from regulars.lib import clock
    from regulars.runs import engine

    try:
        found = engine.guard(automation, clock.now(), reach)
    except engine.ReachGrewError as problem:
        raise CommandError(str(problem)) from problem
    if found.withheld:
        click.echo(
            f"It would write to {found.guests} guests at once. It starts with what becomes due from now on; "
            f"to write to them all: regulars automation enable {automation.pk} --reach {found.guests}",
            err=True,
        )


def _details(problem: Any) -> str:
    details = getattr(problem, "details", None)
    if details is None:
        details = [
            {"path": ".".join(map(str, error["loc"])), "problem": error["msg"]} for error in problem.errors()
        ]
    return "\n  ".join(
        ["The automation cannot be saved:", *(f"{line['path']}: {line['problem']}" for line in details)]
    )


@automation.command("schedule")
@click.argument("wanted", metavar="AUTOMATION")
@click.option("--at", "times", multiple=True, metavar="HH:MM", help="A time of day; may be repeated.")
@click.option("--on", "weekdays", multiple=True, metavar="DAY", help="Only on this day (mon ... sun).")
@click.option("--cron", help='For experts: five fields, such as "0 10 * * 1-5".')
@click.option("--as-it-happens", is_flag=True, help="Every minute, for visits and bookings.")
@click.option("--timezone", help="The zone in which it is meant (default: the organization's).")
@click.option("--max-late-hours", type=click.IntRange(1, 72), help="How late it may still run (default: 6).")
@click.option("--none", "by_hand", is_flag=True, help="Not by itself any more.")
def automation_schedule(wanted: str, by_hand: bool, **given: Any) -> None:
    """Let AUTOMATION run by itself: at times of day, by a cron expression, or as it happens."""
    starting.start()
    from regulars.automations.content import DefinitionError, change_schedule
    from regulars.lib import clock

    found = starting.find_automation(wanted)
    stated = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    stated = {name: value for name, value in stated.items() if value not in (None, False, [])}
    try:
        change_schedule(found, None if by_hand else stated, clock.now())
    except DefinitionError as problem:
        raise CommandError(_details(problem)) from problem
    times = _row(found)["next_times"]
    click.echo(f"next: {times[0]}" if times else f"{found.name}: no next time")


@automation.command("enable")
@click.argument("wanted", metavar="AUTOMATION")
@reach_option
def automation_enable(wanted: str, reach: int | None) -> None:
    """Switch AUTOMATION on."""
    _switch(wanted, on=True, reach=reach)


@automation.command("disable")
@click.argument("wanted", metavar="AUTOMATION")
def automation_disable(wanted: str) -> None:
    """Switch AUTOMATION off; what has not left yet is withheld."""
    _switch(wanted, on=False)


@automation.command("order")
@click.argument("wanted", metavar="AUTOMATION...", nargs=-1)
@organization_option
def automation_order(wanted: tuple[str, ...], slug: str | None) -> None:
    """Who goes first where the caps allow one message: the AUTOMATIONs named, then the others."""
    starting.start()
    from regulars.automations import order

    found = starting.find_organization(slug)
    try:
        listed = order.reorder(found, [starting.find_automation(each).pk for each in wanted])
    except order.OrderError as problem:
        raise CommandError(str(problem)) from problem
    for place, each in enumerate(listed, start=1):
        click.echo(f"{place:3}  {each.name}")


def _switch(wanted: str, *, on: bool, reach: int | None = None) -> None:
    starting.start()
    from django.db import transaction

    from regulars.automations.content import DefinitionError, disable, enable
    from regulars.lib import clock

    found = starting.find_automation(wanted)
    was_on = found.enabled
    try:
        with transaction.atomic():
            enable(found, clock.now()) if on else disable(found)
            if on and (reach is not None or not was_on):
                _guard(found, reach)
    except DefinitionError as problem:
        raise CommandError(_details(problem)) from problem
    click.echo(f"{found.name} is {'on' if on else 'off'}")


@click.command()
@click.argument("wanted", metavar="AUTOMATION")
@json_option
@click.option("--no-wait", is_flag=True, help="Start it and return at once.")
def run(wanted: str, as_json: bool, no_wait: bool) -> None:
    """Run AUTOMATION now. This sends real messages through the organization's accounts.

    Starts a worker for the time of the run if none lives.
    """
    starting.start()
    from regulars.cli.serving import wait_for, worker_running
    from regulars.lib import clock
    from regulars.runs import engine

    found = starting.find_automation(wanted)
    try:
        started = engine.start(found, now=clock.now(), origin="manual")
    except (engine.AutomationNotActiveError, engine.AutomationNotReadyError) as problem:
        raise CommandError(str(problem)) from problem
    if no_wait:
        _print(engine.answer(started, show_addresses=True, now=clock.now()), as_json=as_json)
        return
    with worker_running():
        _print(wait_for(started, bar=not as_json), as_json=as_json)


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    numbers = ("processed", "sent", "skipped", "failed", "held")
    click.echo(", ".join(f"{answer[name]} {name}" for name in numbers))
    for sentence in answer["errors"]:
        click.echo(f"  {sentence}")
    if answer.get("message"):
        click.echo(answer["message"])
