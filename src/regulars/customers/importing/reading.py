"""Files as rows of text: CSV in the encodings and with the separators that offices write, and XLSX.

CSV is streamed, whatever its size. A spreadsheet's sheet is loaded whole by its library.
"""

import codecs
import csv
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import Any, TextIO

from regulars.customers.importing.summary import ImportRefusedError

SAMPLE = 65_536
LONGEST_LINE = 2_000_000
# A record over more lines than this has a quotation mark that is not closed.
LONGEST_RECORD = 20
SEPARATORS = (",", ";", "\t")
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_QUOTES = "has quotation marks that do not match, or a cell of more than 131,072 characters"


@dataclass(frozen=True, slots=True)
class Record:
    """One row: the line it begins on, its cells as text, and why it cannot be split, if so."""

    line: int
    cells: list[str]
    problem: str = ""


@contextmanager
def open_table(path: Path) -> "Iterator[Iterator[Record]]":
    """The rows of `path` from the header on, blank ones left out.

    Raises:
        ImportRefusedError: no file, no rows, or nothing that could be read as a table.
    """
    try:
        with path.open("rb") as file:
            sample = file.read(SAMPLE)
    except OSError as error:
        raise ImportRefusedError(f"{path} cannot be read: {error.strerror}.") from None
    if not sample.strip(b"\xef\xbb\xbf\xff\xfe\r\n\t ;,\x00"):
        raise ImportRefusedError(f"{path.name} is empty.")
    if sample.startswith((_ZIP, _OLE)):
        yield _spreadsheet(path)
        return
    encoding = _encoding(path, sample)
    with path.open(encoding=encoding, errors="replace", newline="") as text:
        yield _records(text)


def _encoding(path: Path, sample: bytes) -> str:
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    half = max(len(sample) // 2, 1)
    if sample[1::2].count(0) > half * 0.4 and sample[::2].count(0) < half * 0.05:
        return "utf-16-le"
    if sample[::2].count(0) > half * 0.4 and sample[1::2].count(0) < half * 0.05:
        return "utf-16-be"
    _refuse_binary(path, sample)
    return "utf-8-sig" if _is_utf8(path) else "cp1252"


def _refuse_binary(path: Path, sample: bytes) -> None:
    control = sum(sample.count(byte) for byte in range(32) if byte not in b"\t\r\n\x0c")
    if sample.startswith(b"%PDF") or control > len(sample) // 50 + 8:
        raise ImportRefusedError(
            f"{path.name} is not a table. Save it as CSV or as an Excel workbook (.xlsx)."
        )


def _is_utf8(path: Path) -> bool:
    """Whether the whole file decodes: an accent may first come at its end."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


class _Lines:
    """Lines of a text that remember what the current record took, and take lines back."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._returned: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self.taken) >= LONGEST_RECORD:
            raise csv.Error(_QUOTES)
        line = self._returned.popleft() if self._returned else self._file.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        return line

    def take_back(self) -> str:
        """Give all lines of the record but its first back; return the first."""
        first, *others = self.taken
        self._returned.extendleft(reversed(others))
        self.number -= len(others)
        return first


def _records(file: TextIO) -> Iterator[Record]:
    lines = _Lines(file)
    first = file.readline(LONGEST_LINE)
    separator = _separator(first)
    if first.strip().lower().startswith("sep=") and len(first.strip()) <= 5:
        separator = first.strip()[4:] or "\t"
        lines.number += 1
    else:
        lines._returned.append(first)  # noqa: SLF001 - same module, one thing in two parts
    while True:
        lines.taken = []
        # A reader of its own for each record: after a broken one the next begins afresh.
        reader = csv.reader(lines, delimiter=separator, strict=True)
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Record(line, [lines.take_back().rstrip("\r\n")], _QUOTES)
            continue
        if any(cell.strip() for cell in cells):
            yield Record(line, cells)


def _separator(header: str) -> str:
    """The separator that occurs most in the header, outside quotation marks."""
    bare = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=bare.count)


def _spreadsheet(path: Path) -> Iterator[Record]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        workbook = CalamineWorkbook.from_path(str(path))
        for name in workbook.sheet_names:
            sheet = workbook.get_sheet_by_name(name)
            if sheet.height:
                return _sheet_rows(sheet)
    except (CalamineError, OSError, ValueError):
        raise ImportRefusedError(
            f"{path.name} is no workbook that can be read. Save it as .xlsx or CSV, without a password."
        ) from None
    raise ImportRefusedError(f"{path.name} is empty.")


def _sheet_rows(sheet: Any) -> Iterator[Record]:
    first = sheet.start[0] + 1
    for offset, row in enumerate(sheet.iter_rows()):
        cells = [_cell_text(cell) for cell in row]
        if any(cell.strip() for cell in cells):
            yield Record(first + offset, cells)


def _cell_text(cell: Any) -> str:
    """A spreadsheet's typed cell in the writing that cleaning reads without doubt."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return number_text(cell)
    if isinstance(cell, datetime | date | time_of_day):
        return cell.isoformat()
    return str(cell)


def number_text(number: float) -> str:
    """Plain digits: a phone number without `.0`, and no three decimals that look like thousands."""
    if number.is_integer():
        return str(int(number))
    text = format(number, ".10f").rstrip("0")
    return text + "0" if len(text.partition(".")[2]) == 3 else text
