"""customers: what guests may ask the house for; suppressions: lists of those who want nothing."""

import contextlib
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError, json_option, organization_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regulars.customers.models import Customer


@click.group()
def customers() -> None:
    """One guest's rights: export, erase, merge, block.

    A guest is named by our number (as in the address of the page), or by yours as x:NUMBER.
    """


def _find(slug: str | None, wanted: str) -> "Customer":
    from regulars.customers.models import Customer

    mine = Customer.objects.filter(organization=starting.find_organization(slug))
    if wanted.startswith("x:"):
        found = mine.filter(external_id=wanted.removeprefix("x:"))
    else:
        found = mine.filter(pk=int(wanted)) if wanted.isdecimal() and len(wanted) < 19 else mine.none()
    guest = found.select_related("organization").first()
    if guest is None:
        raise CommandError(f"There is no guest {wanted}. Give our number, or yours as x:NUMBER")
    return guest


@customers.command("export")
@click.argument("guest")
@organization_option
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of stdout.")
def customers_export(guest: str, slug: str | None, output: Path | None) -> None:
    """Everything on record about GUEST, as one JSON document, for that guest (GDPR, articles 15 and 20)."""
    starting.start()
    from django.core.serializers.json import DjangoJSONEncoder

    from regulars.lib import clock
    from regulars.runs import rights

    found = rights.export(_find(slug, guest), clock.now())
    text = json.dumps(found, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2)
    if output is None:
        click.echo(text)
        return
    output.write_text(text + "\n", encoding="utf-8")
    click.echo(f"Wrote {output}")


@customers.command("erase")
@click.argument("guest")
@organization_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def customers_erase(guest: str, slug: str | None, yes: bool) -> None:
    """Forget GUEST, for good (GDPR, article 17).

    Name, addresses and all that quotes them go. What stays names nobody: visits and messages as
    counts, the guards against writing twice, the proof of consent, and a suppression of each address
    by fingerprint. Backups keep what was in them: let them expire.
    """
    starting.start()
    from regulars.lib import clock
    from regulars.runs import rights

    found = _find(slug, guest)
    if not yes and not click.confirm(f"Forget {found} (guest {found.pk}), for good?"):
        raise CommandError("Nothing was erased")
    done = rights.erase(found, clock.now())
    click.echo(
        f"Erased guest {found.pk}: {done.addresses} addresses suppressed, "
        f"{done.messages} messages name nobody"
    )
    if done.others:
        click.echo(f"note: {done.others} other guests share an address and get no marketing there either")


@customers.command("merge")
@click.argument("keep")
@click.argument("other")
@organization_option
def customers_merge(keep: str, other: str, slug: str | None) -> None:
    """Make the guest OTHER part of KEEP: they are one person.

    KEEP's name and numbers win, what KEEP lacks is filled in, and a no to anything is a no.
    """
    starting.start()
    from regulars.lib import clock
    from regulars.runs import rights

    try:
        merged = rights.merge(_find(slug, keep), _find(slug, other), clock.now())
    except rights.MergeRefusedError as problem:
        raise CommandError(str(problem)) from problem
    rows = ", ".join(f"{number} {table}" for table, number in merged.moved.items()) or "nothing"
    click.echo(f"Merged into guest {merged.customer.pk}; moved: {rows}")


@customers.command("block")
@click.argument("guest")
@click.option("--reason", required=True, help="deceased, banned, staff, test, press, ...")
@organization_option
def customers_block(guest: str, reason: str, slug: str | None) -> None:
    """Never write to GUEST again, about anything."""
    _set_block(guest, slug, reason)


@customers.command("unblock")
@click.argument("guest")
@organization_option
def customers_unblock(guest: str, slug: str | None) -> None:
    """Take a block of GUEST back; an erased or merged guest stays blocked."""
    _set_block(guest, slug, None)


def _set_block(wanted: str, slug: str | None, reason: str | None) -> None:
    starting.start()
    from regulars.customers import blocking

    guest = _find(slug, wanted)
    changed = blocking.unblock(guest) if reason is None else blocking.block(guest, reason)
    verb = "unblocked" if reason is None else "blocked"
    if changed:
        starting.note(guest.organization, f"customer.{verb}", guest.pk)
    click.echo(f"Guest {guest.pk} is {verb}" if changed else "Nothing changed")


@click.group()
def suppressions() -> None:
    """Addresses that are not written to, whatever their guests have allowed."""


@suppressions.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@organization_option
@click.option(
    "--channel", type=click.Choice(["email", "sms", "whatsapp"]), help="Only this one (default: all)."
)
@click.option("--source", help="Whose list it is (default: the name of the file).")
@click.option("--everything", is_flag=True, help="Also messages about their own bookings.")
@click.option(
    "--answers",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A CSV file with what became of each line.",
)
@json_option
def suppressions_import(
    file: Path, slug: str | None, source: str | None, channel: str | None, answers: Path | None, **given: bool
) -> None:
    """Take in a list of people who want no advertising (a Robinson list, the stops of a former system).

    One address a line, or its SHA-256 in hexadecimal digits. Importing a list again changes nothing. Only
    fingerprints are kept; a hash counts as soon as somebody has an address that fits.
    """
    starting.start()
    from regulars.customers.suppression_lists import Stop, import_lines

    organization = starting.find_organization(slug)
    reason = "manual" if given["everything"] else "opt_out"
    stop = Stop(source or file.name, channel or "", reason)
    counts = {"added": 0, "known": 0, "rejected": 0}
    with file.open(encoding="utf-8-sig", errors="replace") as lines, _answers(answers) as write:
        for answer in import_lines(organization, lines, stop):
            counts[answer.result] += 1
            write([answer.line, answer.result, answer.reason])
            if answer.result == "rejected" and counts["rejected"] <= SHOWN:
                click.echo(f"line {answer.line}: {answer.reason}", err=True)
    starting.note(organization, "suppressions.imported", source=stop.source, **counts)
    if given["as_json"]:
        click.echo(json.dumps(counts))
    else:
        click.echo("{added} added, {known} known already, {rejected} rejected".format(**counts))


SHOWN = 20


@contextlib.contextmanager
def _answers(path: Path | None) -> "Iterator[Callable[[list[object]], object]]":
    """A function that writes a row into the file, or nowhere."""
    if path is None:
        yield lambda _: None
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "result", "reason"])
        yield writer.writerow
