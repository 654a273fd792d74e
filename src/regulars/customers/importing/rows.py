"""Rows that a program sends, by the same cleaning and the same merge as those of a file.

Each row gets its own answer. All of them go in together, in the caller's transaction, and beside an
import of a file that is under way: what both bring in exists once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from regulars.customers.importing import registry, staging
from regulars.customers.importing.cleaning import CellError
from regulars.customers.importing.dates import OrderEvidence
from regulars.customers.importing.engine import MOST_OBSERVED
from regulars.customers.importing.reading import number_text
from regulars.customers.importing.registry import Context, Importer, Kind
from regulars.lib import sql
from regulars.organizations.models import Organization

SOURCE = "API"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one row: `created`, `updated`, `unchanged`, or `rejected` with column and reason.

    `id` and `customer_id` are ours; None where the row was rejected. The same guest or booking twice
    in one call goes in once: the later row is rejected.
    """

    result: str
    id: int | None = None
    customer_id: int | None = None
    column: str = ""
    reason: str = ""


def upsert(
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    organization: Organization,
    *,
    now: datetime,
    live: bool = False,
) -> list[Answer]:
    """Merge `rows` (JSON values by column name) and answer each, in their order.

    `live`: they tell what happens at this moment, so that what they say to be so became so now.

    Raises:
        ImportRefusedError: they cannot be merged at all (too many unknown venues).
    """
    found = registry.get(kind)
    texts = [{name: text_of(value) for name, value in row.items()} for row in rows]
    context = Context(organization, SOURCE, now, live=live)
    context = replace(context, order=_evidence(found, texts).order(organization.country))
    importer = found.importer(context)
    importer.prepare(
        {name: {row.get(name, "")[:500] for row in texts[:MOST_OBSERVED]} for name in found.observed}
    )
    answers, clean = _clean(found, importer, texts)
    if clean:
        answers |= _merge(importer, clean)
    return [answers[line] for line in range(1, len(rows) + 1)]


def text_of(value: Any) -> str:
    """A JSON value in the writing that cleaning reads: nothing for null, tags separated by commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list | tuple):
        return ", ".join(text_of(part) for part in value)
    return str(value)


def _evidence(kind: Kind, texts: Sequence[Mapping[str, str]]) -> OrderEvidence:
    evidence = OrderEvidence()
    dated = [column.name for column in kind.columns if column.holds_dates]
    for row in texts:
        for name in dated:
            evidence.observe(row.get(name, ""))
    return evidence


def _clean(
    kind: Kind, importer: Importer, texts: Sequence[Mapping[str, str]]
) -> tuple[dict[int, Answer], list[tuple[Any, ...]]]:
    """The answers of rows that cannot go in, by line, and the staging rows of the others."""
    known = {column.name for column in kind.columns}
    refused, clean = {}, []
    for line, row in enumerate(texts, 1):
        try:
            _refuse_unknown(row, known)
            clean.append((line, *importer.clean(row)))
        except CellError as error:
            refused[line] = Answer("rejected", column=error.column, reason=error.reason)
    return refused, clean


def _refuse_unknown(row: Mapping[str, str], known: set[str]) -> None:
    if unknown := sorted(row.keys() - known):
        raise CellError(unknown[0], f"is not known; known fields: {', '.join(sorted(known))}")


def _merge(importer: Importer, clean: list[tuple[Any, ...]]) -> dict[int, Answer]:
    staging.make_tables(importer)
    staging.stage(importer, clean)
    merged = importer.merge(staging.STAGING)
    answers = {
        row["line"]: Answer(_result(row), row["id"], row["customer_id"])
        for row in sql.fetch_rows(importer.answers)
    }
    staging.drop_tables()
    return answers | {
        reject.line: Answer("rejected", column=reject.column, reason=reject.reason)
        for reject in merged.rejected
    }


def _result(row: Mapping[str, Any]) -> str:
    return "created" if row["is_new"] else "updated" if row["changed"] else "unchanged"
