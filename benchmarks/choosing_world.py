"""The world of `benchmarks.choosing`: made by COPY in a database of its own, kept out of git.

Its clock stands two years ahead, so that the ledger's months have a partition each (what the
migration finds and what is older shares one).
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

# The middle of a month; from it the world reaches back for two years of messages and five of visits.
NOW = (datetime.now(UTC).replace(day=15, hour=12, minute=0, second=0, microsecond=0)) + timedelta(days=731)
# The hand knows neither silence nor caps.
TACTLESS = {"quiet_hours": None, "caps": []}
TEXT = Path(__file__).with_name("choosing_world.sql")


@dataclass(frozen=True)
class Size:
    customers: int
    visits: int
    messages: int


def build(url: str, size: Size) -> None:
    """Fill a migrated, empty database; prints how long each table took."""
    from regulars.runs import partitions

    partitions.ensure(datetime.now(UTC), ahead=25)
    values = {"now": NOW.isoformat(), **vars(size), **_intent()}
    for kind, head, text in parts(TEXT.read_text(), values):
        begun = time.monotonic()
        rows = copy(url, head, text) if kind == "copy" else execute(url, text)
        if kind == "copy":
            print(
                f"  {head.partition(' ')[0]:<14}{rows:>12,} rows {time.monotonic() - begun:7.1f} s",
                flush=True,
            )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def parts(text: str, values: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(kind, rest of the headline, SQL) of each part of the file."""
    for part in re.split(r"\n-- (?=prepare|copy|finish)", text)[1:]:
        head, _, body = part.partition("\n")
        kind, _, rest = head.partition(" ")
        yield kind, rest, body.format(**values)


def copy(url: str, head: str, select: str) -> int:
    """From one connection into another, so that the rows come in as an import's do: by COPY."""
    with psycopg.connect(url) as source, psycopg.connect(url) as target:
        out, into = source.cursor(), target.cursor()
        with (
            out.copy(f"COPY ({select}) TO STDOUT (FORMAT binary)") as reader,
            into.copy(f"COPY {head} FROM STDIN (FORMAT binary)") as writer,
        ):
            for block in reader:
                writer.write(block)
        return into.rowcount


def execute(url: str, text: str) -> int:
    with psycopg.connect(url) as connection:
        connection.execute(text)
    return 0


def _intent() -> dict[str, Any]:
    """Organizations, venues, an account and the automations, through the ORM; their numbers."""
    from regulars.automations.models import Automation, ProviderAccount
    from regulars.hospitality.models import Venue
    from regulars.organizations.models import Organization

    chain, neighbour = (
        Organization.objects.create(
            slug=slug, name=slug, timezone="Europe/Madrid", country="ES", language="es", tact=TACTLESS
        )
        for slug in ("chain", "neighbour")
    )
    zones = {"Centro": "Europe/Madrid", "Playa": "Europe/Madrid", "Norte": "Europe/Madrid"}
    venues = [
        Venue.objects.create(organization=chain, name=name, timezone=zone)
        for name, zone in (zones | {"Isla": "Atlantic/Canary"}).items()
    ]
    away = Venue.objects.create(organization=neighbour, name="Otro", timezone="Europe/Madrid")
    account = ProviderAccount.objects.create(
        organization=chain, name="all", kind="sandbox", channels=["whatsapp", "sms", "email"]
    )
    kin, stranger = (
        Automation.objects.create(organization=chain, name=name, trigger="inactive", family=family)
        for name, family in (("earlier win-back", "win_back"), ("something else", "other"))
    )
    return {
        "organization": chain.pk,
        "neighbour": neighbour.pk,
        "venues": f"ARRAY[{', '.join(str(venue.pk) for venue in venues)}]::bigint[]",
        "venue": venues[0].pk,
        "away": away.pk,
        "account": account.pk,
        "kin": kin.pk,
        "stranger": stranger.pk,
    }
