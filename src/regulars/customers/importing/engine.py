"""The way of a file: read twice, clean, stage by COPY, merge in sets, commit batch by batch.

The first reading learns how the file writes its dates; the second imports. One import at a time
for an organization. A kill leaves whole batches; running it again continues harmlessly, for a row
that is already there is unchanged.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from django.db import connection, transaction

from regulars.customers.importing import customers as _customers  # noqa: F401 - registers itself
from regulars.customers.importing import headers, registry, staging
from regulars.customers.importing.cleaning import CellError
from regulars.customers.importing.dates import OrderEvidence
from regulars.customers.importing.reading import Record, open_table
from regulars.customers.importing.registry import Context, Importer, Kind
from regulars.customers.importing.summary import (
    LISTED_REJECTS,
    ImportRefusedError,
    ImportSummary,
    Reject,
    RejectsFile,
    rejects_folder,
)
from regulars.lib import sql
from regulars.organizations.models import Organization

Progress = Callable[[int, int | None], None]

BATCH_ROWS = 5_000
# Long cells close a batch early, so that its memory has a bound.
BATCH_CHARACTERS = 8_000_000
# Values of an observed column (venues): more distinct ones mean the wrong column.
MOST_OBSERVED = 200
# First half of the advisory lock's key; the second is the organization.
IMPORT_LOCK = 0x494D50
WORTH_ANALYZING = 1_000


def import_file(
    kind: str,
    path: Path | str,
    organization: Organization,
    *,
    dry_run: bool = False,
    mapping: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    now: datetime,
) -> ImportSummary:
    """Import `path` (CSV or XLSX) as `kind` into `organization`.

    `mapping` gives the file's header for a column where they do not match by themselves. `progress`
    is told the rows done and the rows in all. A dry run does the same in one transaction and undoes
    it; it writes no rejects file.

    Raises:
        ImportRefusedError: the file as a whole cannot be imported; nothing was written.
    """
    return _Import(registry.get(kind), Path(path), organization, mapping, now).run(
        dry_run=dry_run, progress=progress or (lambda _done, _total: None)
    )


class _Import:
    """One import under way."""

    def __init__(
        self,
        kind: Kind,
        path: Path,
        organization: Organization,
        mapping: Mapping[str, str] | None,
        now: datetime,
    ) -> None:
        self.kind, self.path = kind, path
        self.context = Context(organization, f"import of {path.name}", now)
        self.summary = ImportSummary(kind.name)
        self.evidence = OrderEvidence()
        self.observed: dict[str, set[str]] = {name: set() for name in kind.observed}
        self.total = 0
        self._learn(mapping)

    def _learn(self, mapping: Mapping[str, str] | None) -> None:
        """The first reading: header, order of dates, number of rows."""
        with open_table(self.path) as records:
            header = next(records, None)
            if header is None or header.problem:
                raise ImportRefusedError(f"{self.path.name} has no header row that can be read.")
            self.header = header.cells
            headers.refuse_other_kind(self.header, self.kind, registry.all_kinds())
            self.positions, unknown = headers.match(self.header, self.kind, mapping)
            dated = [
                self.positions[column.name]
                for column in self.kind.columns
                if column.holds_dates and column.name in self.positions
            ]
            for record in records:
                self.total += 1
                self._observe(record.cells, dated)
        if unknown:
            self.summary.notes.append(f"Columns that were not used: {', '.join(unknown)}.")
        self._settle_order()

    def _observe(self, cells: list[str], dated: list[int]) -> None:
        for position in dated:
            if position < len(cells):
                self.evidence.observe(cells[position])
        for name, values in self.observed.items():
            position = self.positions.get(name, len(cells))
            if position < len(cells) and len(values) < MOST_OBSERVED:
                values.add(cells[position][:500])

    def _settle_order(self) -> None:
        order = self.evidence.order(self.context.organization.country)
        self.context = replace(self.context, order=order)
        if self.evidence.numeric:
            self.summary.notes.append(f"Dates such as 03/04/2026 were read: {order.value}.")

    def run(self, *, dry_run: bool, progress: Progress) -> ImportSummary:
        """The second reading, under the organization's import lock."""
        self.summary.dry_run = dry_run
        fallback = rejects_folder()
        rejects = RejectsFile(self.path, fallback, self.header)
        importer = self.kind.importer(self.context)
        with (
            _one_at_a_time(self.context.organization),
            closing(rejects),
            transaction.atomic() if dry_run else nullcontext(),
        ):
            self._import(importer, None if dry_run else rejects, progress)
            if dry_run:
                transaction.set_rollback(True)
            elif self.summary.new + self.summary.changed >= WORTH_ANALYZING:
                # Autovacuum would look in a minute; a preview before that could take minutes.
                sql.execute(f"ANALYZE {', '.join(importer.tables)}")
        self.summary.rejects_path = rejects.path
        self.summary.notes += importer.notes()
        if not self.total:
            self.summary.notes.append("The file has a header but no rows.")
        return self.summary

    def _import(self, importer: Importer, rejects: RejectsFile | None, progress: Progress) -> None:
        with transaction.atomic():
            importer.prepare(self.observed)
        staging.make_tables(importer)
        try:
            done = 0
            for batch in self._batches():
                self._import_batch(importer, batch, rejects)
                done += len(batch)
                progress(done, self.total)
        finally:
            if not connection.needs_rollback:
                staging.drop_tables()

    def _batches(self) -> Iterator[list[Record]]:
        batch: list[Record] = []
        characters = 0
        with open_table(self.path) as records:
            next(records, None)
            for record in records:
                batch.append(record)
                characters += sum(map(len, record.cells))
                if len(batch) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
                    yield batch
                    batch, characters = [], 0
        if batch:
            yield batch

    def _import_batch(self, importer: Importer, batch: list[Record], rejects: RejectsFile | None) -> None:
        refused: list[Reject] = []
        staged = []
        for record in batch:
            try:
                staged.append((record.line, *importer.clean(self._values(record))))
            except CellError as error:
                refused.append(Reject(record.line, error.column, error.reason))
        with transaction.atomic():
            staging.stage(importer, staged)
            merged = importer.merge(staging.STAGING)
        self.summary.new += merged.new
        self.summary.changed += merged.changed
        self.summary.unchanged += merged.unchanged
        self._report(batch, refused + merged.rejected, rejects)

    def _values(self, record: Record) -> dict[str, str]:
        cells = record.cells
        if record.problem:
            raise CellError("", record.problem)
        if len(cells) > len(self.header) and any(cell.strip() for cell in cells[len(self.header) :]):
            raise CellError(
                "", f"has {len(cells)} cells, the header {len(self.header)}; quote texts with separators"
            )
        return {name: cells[position] for name, position in self.positions.items() if position < len(cells)}

    def _report(self, batch: list[Record], refused: list[Reject], rejects: RejectsFile | None) -> None:
        rows = {record.line: record.cells for record in batch}
        for reject in sorted(refused, key=lambda reject: reject.line):
            self.summary.rejected_count += 1
            if len(self.summary.rejected) < LISTED_REJECTS:
                self.summary.rejected.append(reject)
            if rejects is not None:
                rejects.write(rows[reject.line], reject)


@contextmanager
def _one_at_a_time(organization: Organization) -> Iterator[None]:
    """Hold the organization's import lock over all batches; a lost connection frees it."""
    key = (IMPORT_LOCK, organization.pk)
    sql.execute("SELECT pg_advisory_lock(%s, %s)", key)
    try:
        yield
    finally:
        if not connection.needs_rollback:
            sql.execute("SELECT pg_advisory_unlock(%s, %s)", key)
