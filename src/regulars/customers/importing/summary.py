"""What came of an import: counts, notes, and the rows that did not go in, each with its reason."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings

from regulars.lib.spreadsheets import neutralise

REJECT_COLUMNS = ("rejected_line", "rejected_column", "rejected_reason")
# The summary lists this many rejected cells; the count and the rejects file are complete.
LISTED_REJECTS = 1_000


class ImportRefusedError(Exception):
    """The file as a whole cannot be imported; nothing was written."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a row stayed out: its line in the file (1 is the first), the column, the reason."""

    line: int
    column: str
    reason: str


@dataclass
class ImportSummary:
    """What an import did, or would do. `unchanged` rows were not rewritten.

    `rejected` lists the first 1,000 reasons; `rejected_count` counts rows. `notes` are sentences.
    """

    kind: str
    dry_run: bool = False
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected_count: int = 0
    rejected: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rejects_path: Path | None = None

    @property
    def rows(self) -> int:
        """All rows of the file that were looked at."""
        return self.new + self.changed + self.unchanged + self.rejected_count


class RejectsFile:
    """The rejected rows as they were, with line, column and reason behind: mend and import again.

    Made at the first reject: next to the file, or in `fallback` where that is not allowed.
    """

    def __init__(self, source: Path, fallback: Path, header: Sequence[str]) -> None:
        self.path: Path | None = None
        self._name = f"{source.name}.rejects.csv"
        self._folders = (source.parent, fallback)
        self._header = header
        self._file: TextIO | None = None
        self._writer: Any = None

    def write(self, cells: Sequence[str], reject: Reject) -> None:
        """Append one row."""
        if self._file is None:
            self._open()
        padding = [""] * (len(self._header) - len(cells))
        reasons = (str(reject.line), reject.column, reject.reason)
        self._writer.writerow([neutralise(cell) for cell in (*cells, *padding, *reasons)])

    def close(self) -> None:
        """Finish the file, if one was made."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        beside, fallback = self._folders
        try:
            self._open_in(beside)
        except OSError:
            fallback.mkdir(parents=True, exist_ok=True)
            self._open_in(fallback)
        assert self._file is not None
        self._writer = csv.writer(self._file)
        self._writer.writerow([neutralise(cell) for cell in (*self._header, *REJECT_COLUMNS)])

    def _open_in(self, folder: Path) -> None:
        path = folder / self._name
        # The byte order mark tells spreadsheets that this is UTF-8.
        self._file = path.open("w", encoding="utf-8-sig", newline="")
        self.path = path


def rejects_folder() -> Path:
    """Where rejected rows are kept of files whose own folder cannot be written to, or is gone afterwards."""
    return Path(settings.HOME) / "rejects"


def forget_rejects(before: datetime) -> int:
    """Remove the rejects files in our own folder that were last written before then; how many went.

    They hold guests as they stood in the file, and no erasure reaches them (GDPR 5(1)(e)). Those beside an
    owner's own file are the owner's.
    """
    files = rejects_folder().glob("*.rejects.csv")
    old = [path for path in files if path.stat().st_mtime < before.timestamp()]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
