"""purge: what is too old to be kept."""

from typing import TYPE_CHECKING

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError

if TYPE_CHECKING:
    from regulars.runs.purging import Purged


@click.command()
@click.option(
    "--keep-months",
    type=click.IntRange(min=1),
    metavar="N",
    help="Whole months to keep besides the current one (default: REGULARS_KEEP_MONTHS, else 24).",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option(
    "--with-unknown", is_flag=True, help="Also messages of which nobody knows whether they arrived."
)
def purge(keep_months: int | None, dry_run: bool, with_unknown: bool) -> None:
    """Remove messages that are too old to be kept, by whole months; their totals stay.

    Nobody is contacted again because of it: occasions, consents and suppressions are never removed.
    A worker does the same daily.
    """
    starting.start()
    from django.conf import settings

    from regulars.lib import clock
    from regulars.runs import partitions, purging

    now = clock.now()
    partitions.ensure(now)
    months = keep_months or settings.KEEP_MONTHS
    if months <= 0:
        raise CommandError("REGULARS_KEEP_MONTHS=0 keeps everything: say how much with --keep-months")
    try:
        found = purging.purge(now, months, dry_run=dry_run, with_unknown=with_unknown)
    except purging.KeepLongerError as problem:
        raise CommandError(str(problem)) from problem
    _report(found, dry_run=dry_run)


def _report(found: "Purged", *, dry_run: bool) -> None:
    for month in found.months:
        words = f"{month.name}: {month.messages} messages, {_megabytes(month.size)}"
        for reason in month.blocked:
            words += f"\n  stays: {reason}"
        click.echo(words)
    if not found.months:
        click.echo("No message is that old")
    for table, number in found.rows.items():
        if number:
            click.echo(f"{table}: {number}")
    if dry_run:
        click.echo("Nothing was removed")


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
