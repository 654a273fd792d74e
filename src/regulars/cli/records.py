"""import: guests, visits and reservations from a file."""

import sys
from pathlib import Path
from typing import Any

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError, organization_option


@click.command(name="import")
@click.argument("kind", type=click.Choice(["customers", "visits", "reservations"]))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@organization_option
@click.option("--dry-run", is_flag=True, help="Read and judge everything, write nothing.")
@click.option(
    "--everybody", is_flag=True, help="Yes: what became due may be written about at once, however many."
)
@click.option(
    "--map", "mapping", multiple=True, metavar="COLUMN=HEADER", help="Name a column that is not recognised."
)
def import_command(
    kind: str, file: Path, slug: str | None, dry_run: bool, everybody: bool, mapping: tuple[str, ...]
) -> None:
    """Import customers, visits or reservations from CSV or XLSX.

    \b
    customers     external_id first_name last_name email phone whatsapp_user_id
                  whatsapp_portfolio birthday language tier tags email_consent sms_consent
                  whatsapp_consent consent_source consent_at
    visits        external_id customer_external_id visited_at amount currency venue party_size
    reservations  external_id customer_external_id starts_at party_size status venue

    Importing a file again changes nothing. A bad row is reported and kept in a rejects file; the
    others go in. An import never gives back a consent that a guest has withdrawn.
    """
    starting.start()
    from regulars.customers.importing import ImportRefusedError, import_file
    from regulars.lib import clock

    organization = starting.find_organization(slug)
    try:
        summary = import_file(
            kind,
            file,
            organization,
            dry_run=dry_run,
            mapping=_mapping(mapping),
            progress=_bar(),
            now=clock.now(),
        )
    except ImportRefusedError as problem:
        raise CommandError(str(problem)) from problem
    _report(summary, dry_run=dry_run)
    if not dry_run and not everybody and summary.new + summary.changed:
        _guard(organization)


def _guard(organization: Any) -> None:
    """Say of which automations too many guests became due at once by this import."""
    from regulars.lib import clock
    from regulars.runs import engine

    for found in engine.guard_import(organization, clock.now()):
        click.echo(
            f"note: “{found.automation.name}” would now write to {found.guests} guests at once. It goes on "
            "with what becomes due from now on; to write to them all: "
            f"regulars automation enable {found.automation.pk} --reach {found.guests}"
        )


def _mapping(pairs: tuple[str, ...]) -> dict[str, str] | None:
    if bad := [pair for pair in pairs if "=" not in pair]:
        raise CommandError(f"--map takes COLUMN=HEADER, not {bad[0]}")
    return dict(pair.split("=", 1) for pair in pairs) or None


def _bar() -> Any:
    """A progress function for a terminal, None elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int | None) -> None:
        filled = 30 * done // total if total else 0
        share = f"[{'#' * filled:-<30}] {done} of {total}" if total else f"{done} rows"
        click.echo(f"\r{share}", err=True, nl=False)

    return show


def _report(summary: Any, *, dry_run: bool) -> None:
    if sys.stderr.isatty():
        click.echo(err=True)
    prefix = "Would be: " if dry_run else ""
    click.echo(
        f"{prefix}{summary.new} new, {summary.changed} changed, "
        f"{summary.unchanged} unchanged, {summary.rejected_count} rejected"
    )
    for note in summary.notes:
        click.echo(f"note: {note}")
    for reject in summary.rejected[:20]:
        click.echo(f"line {reject.line}, {reject.column}: {reject.reason}", err=True)
    if summary.rejects_path:
        click.echo(f"Rejected rows are kept in {summary.rejects_path}", err=True)
