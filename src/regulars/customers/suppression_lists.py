"""Lists of people who want no advertising: Robinson lists, the stops of a former system (LOPDGDD 23).

A line is an address or the SHA-256 of one, in hexadecimal digits. An address is kept as fingerprint only,
so the stop survives whoever is erased and the list itself need not be kept. A hash cannot be turned
into a fingerprint without the address, so it waits: a trigger makes the stop when somebody writes an
address that fits, and `heed_known` for those that are there already.

Lists hash addresses in their own ways: e-mail in lower case, a number in E.164, or that without its
plus, or with 00 for it. All of these fit.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction

from regulars.customers.addresses import AddressError, fingerprint, normalise_email, normalise_phone
from regulars.customers.models import Channel
from regulars.lib import sql
from regulars.organizations.models import Organization

BATCH = 5_000
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_CELL = re.compile(r"[,;\t]")


@dataclass(frozen=True, slots=True)
class Stop:
    """What all lines of a list share. `channel` empty: every channel that the address serves;
    `reason`: `opt_out` stops advertising, `manual` everything."""

    source: str
    channel: str = ""
    reason: str = "opt_out"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a line (from 1): `added`, `known`, or `rejected` with the reason."""

    line: int
    result: str
    reason: str = ""


def import_lines(organization: Organization, lines: Iterable[str], stop: Stop) -> Iterator[Answer]:
    """Add the stops, in committed batches; each line is answered, in order. Again changes nothing.

    Of a line with several cells (comma, semicolon, tab) the first is taken; empty lines are left out.
    """
    numbered = ((number, _entry(line)) for number, line in enumerate(lines, 1))
    for batch in _batches((number, entry) for number, entry in numbered if entry):
        yield from _import_batch(organization, batch, stop)
    heed_known(organization)


def _entry(line: str) -> str:
    return _CELL.split(line, maxsplit=1)[0].strip().strip("\"'").strip()


def _batches(entries: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    batch: list[tuple[int, str]] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _import_batch(organization: Organization, batch: Sequence[tuple[int, str]], stop: Stop) -> list[Answer]:
    answers: dict[int, Answer] = {}
    marks: dict[tuple[str, bytes], int] = {}
    for number, entry in batch:
        try:
            mark = _mark(organization, entry, stop.channel)
        except AddressError as problem:
            answers[number] = Answer(number, "rejected", str(problem))
            continue
        known = marks.setdefault(mark, number) != number
        answers[number] = Answer(number, "known" if known else "added")
    with transaction.atomic():
        added = _write(organization, marks, stop)
    for mark in marks.keys() - added:
        answers[marks[mark]] = Answer(marks[mark], "known")
    return [answers[number] for number, _ in batch]


def _mark(organization: Organization, entry: str, channel: str) -> tuple[str, bytes]:
    """(table, 32 bytes) that stand for the entry."""
    if _HASH.fullmatch(entry):
        return "hashed_suppressions", bytes.fromhex(entry)
    if "@" in entry:
        if channel not in ("", Channel.EMAIL):
            raise AddressError(f"is an e-mail address, and the list is for {channel}")
        return "suppressions", fingerprint(organization, normalise_email(entry))
    if channel == Channel.EMAIL:
        raise AddressError("is not an e-mail address")
    return "suppressions", fingerprint(organization, normalise_phone(entry, organization.country))


_COLUMN = {"suppressions": "fingerprint", "hashed_suppressions": "digest"}


def _write(
    organization: Organization, marks: Iterable[tuple[str, bytes]], stop: Stop
) -> set[tuple[str, bytes]]:
    """Those that are new."""
    added: set[tuple[str, bytes]] = set()
    for table, column in _COLUMN.items():
        mine = [mark for kind, mark in marks if kind == table]
        values = {"organization": organization.pk, "marks": mine, "channel": stop.channel}
        values |= {"reason": stop.reason, "source": stop.source[:200]}
        rows = sql.fetch_rows(_ADD.format(table=table, column=column), values) if mine else []
        added |= {(table, bytes(row["mark"])) for row in rows}
    return added


def heed_known(organization: Organization) -> int:
    """Make stops of the hashes that fit an address on record; how many are new."""
    return sql.execute(_HEED, {"organization": organization.pk})


_ADD = """
INSERT INTO {table} (organization_id, channel, {column}, reason, source, created_at)
SELECT %(organization)s, %(channel)s, mark, %(reason)s, %(source)s, now()
  FROM unnest(%(marks)s::bytea[]) mark
ON CONFLICT DO NOTHING RETURNING {column} AS mark
"""
_HEED = """
INSERT INTO suppressions (organization_id, channel, fingerprint, reason, source, created_at)
SELECT DISTINCT ON (known.fingerprint, hashed.channel)
       known.organization_id, hashed.channel, known.fingerprint, hashed.reason, hashed.source, now()
  FROM addresses known
 CROSS JOIN LATERAL address_digests(known.address) AS forms (digest)
  JOIN hashed_suppressions hashed
    ON hashed.organization_id = known.organization_id AND hashed.digest = forms.digest
   AND hashed.channel IN ('', known.channel)
 WHERE known.organization_id = %(organization)s
ON CONFLICT DO NOTHING
"""
