"""preview: what a run would do, without doing it."""

import json
from typing import Any, TextIO

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError, json_option


@click.command()
@click.argument("wanted", metavar="AUTOMATION")
@json_option
@click.option("--list", "limit", type=int, default=10, show_default=True, help="How many guests to list.")
@click.option("--samples", type=int, default=5, show_default=True, help="How many messages to show.")
@click.option(
    "--csv",
    "file",
    type=click.File("w", encoding="utf-8"),
    help="Write the whole list to this file (- for standard output), and nothing else.",
)
@click.option(
    "--only", "verdict", default="", metavar="VERDICT", help="With --csv: only `send`, or one reason's code."
)
def preview(wanted: str, as_json: bool, limit: int, samples: int, file: TextIO | None, verdict: str) -> None:
    """Who would get AUTOMATION now, who would not, and why. Sends nothing."""
    starting.start()
    from dataclasses import asdict

    from regulars.lib import clock
    from regulars.runs import engine

    automation, now = starting.find_automation(wanted), clock.now()
    _check(verdict, file)
    try:
        if file is not None:
            _write(file, engine.forecast_all(automation, now, verdict), automation.organization.timezone)
            return
        if not as_json:
            # At once; judging a large audience takes seconds.
            click.echo(f"{engine.count_due(automation, now)} due", nl=False)
        found = engine.preview(automation, now, limit=limit, sample=samples)
    except engine.AutomationNotReadyError as problem:
        raise CommandError(str(problem)) from problem
    if as_json:
        click.echo(json.dumps(asdict(found), default=str, ensure_ascii=False, indent=2))
        return
    _show(found)


def _check(verdict: str, file: TextIO | None) -> None:
    from regulars.runs.eligibility import REASONS

    if verdict and file is None:
        raise CommandError("--only needs --csv FILE")
    if verdict not in ("", "send", *REASONS):
        raise CommandError(f"--only takes one of: send, {', '.join(REASONS)}")


def _write(file: TextIO, guests: Any, zone: str) -> None:
    from regulars.lib.spreadsheets import csv_blocks
    from regulars.runs.engine import Guest

    rows = (guest.cells(zone, show_addresses=True) for guest in guests)
    file.writelines(csv_blocks(Guest.HEADER, rows))


def _show(found: Any) -> None:
    from regulars.runs.eligibility import words

    click.echo(f": {found.send} would be contacted, {found.due - found.send} not")
    if found.first_leaves and found.last_leaves:
        when = f"{found.first_leaves:%Y-%m-%d %H:%M} and {found.last_leaves:%Y-%m-%d %H:%M} UTC"
        click.echo(f"  {found.held:6} of them would leave later, between {when}")
    if found.days > 1:
        click.echo(f"  it takes {found.days} days: WhatsApp limits the guests written to in 24 hours")
    if found.delivery == "at_least_once":
        click.echo("  a message in doubt is sent again by itself: a guest may get it twice")
    for channel, cost in found.cost_by_channel.items():
        click.echo(f"  {cost:.2f} for {channel}")
    for channel, number in found.by_channel.items():
        click.echo(f"  {number:6} by {channel}")
    for reason, number in found.skipped_by_reason.items():
        click.echo(f"  {number:6} {reason}: {words(reason)}")
    for row in found.rows:
        click.echo(f"  guest {row.customer_id}: {row.reason or f'{row.channel} {row.address}'}")
    for sample in found.samples:
        _show_sample(sample)


def _show_sample(sample: Any) -> None:
    shows = f" ({', '.join(sample.shows).replace('_', ' ')})" if sample.shows else ""
    click.echo(f"\nGuest {sample.customer_id} would read{shows}:")
    for line in (sample.subject, *(sample.problem or sample.body).splitlines()):
        if line:
            click.echo(f"  | {line}")
