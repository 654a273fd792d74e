"""Which column of a file holds what: headers matched loosely, or as a given mapping says. Pure."""

from collections.abc import Mapping, Sequence

from regulars.customers.importing.cleaning import fold
from regulars.customers.importing.registry import Kind
from regulars.customers.importing.summary import REJECT_COLUMNS, ImportRefusedError


def match(
    header: Sequence[str], kind: Kind, mapping: Mapping[str, str] | None = None
) -> tuple[dict[str, int], list[str]]:
    """Positions by column name, and the headers that nobody knows.

    Raises:
        ImportRefusedError: a header twice, a mapping to nothing, a needed column missing.
    """
    positions = _mapped(header, kind, mapping or {})
    known = _names(kind)
    unknown = []
    for position, text in enumerate(header):
        column = known.get(fold(text))
        if position in positions.values() or fold(text) in REJECT_COLUMNS or not text.strip():
            continue
        if column is None:
            unknown.append(text.strip()[:60])
        elif column in positions and column not in (mapping or {}):
            raise ImportRefusedError(f"Two columns of the file mean {column}: rename or remove one of them.")
        else:
            positions.setdefault(column, position)
    _check_needed(kind, positions)
    return positions, unknown


def refuse_other_kind(header: Sequence[str], kind: Kind, others: Sequence[Kind]) -> None:
    """Stop a file of another kind: its numbers would become guests.

    Raises:
        ImportRefusedError: with the kind it looks like.
    """
    words = {fold(text) for text in header}
    own = _names(kind)
    for other in others:
        names = _names(other)
        found = {names[word] for word in words if word in names}
        needed = {column.name for column in other.columns if column.required}
        strange = any(word in names and word not in own for word in words)
        missing = {column.name for column in kind.columns if column.required} - {
            own[word] for word in words if word in own
        }
        fits_better = missing or not any(column.required for column in kind.columns)
        if other.name != kind.name and needed and needed <= found and strange and fits_better:
            raise ImportRefusedError(
                f"This looks like a file of {other.name}, not of {kind.name}."
                f" Try: regulars import {other.name} FILE"
            )


def _names(kind: Kind) -> dict[str, str]:
    return {fold(text): column.name for column in kind.columns for text in (column.name, *column.synonyms)}


def _mapped(header: Sequence[str], kind: Kind, mapping: Mapping[str, str]) -> dict[str, int]:
    columns = {column.name for column in kind.columns}
    folded = [fold(text) for text in header]
    positions = {}
    for column, text in mapping.items():
        if column not in columns:
            raise ImportRefusedError(
                f"{kind.name} have no column {column}. Known: {', '.join(sorted(columns))}."
            )
        if fold(text) not in folded:
            raise ImportRefusedError(f"The file has no column “{text}”.")
        positions[column] = folded.index(fold(text))
    return positions


def _check_needed(kind: Kind, positions: Mapping[str, int]) -> None:
    missing = [column.name for column in kind.columns if column.required and column.name not in positions]
    if missing:
        raise ImportRefusedError(
            f"A file of {kind.name} needs the column {' and '.join(missing)}."
            " Add it, or say which header it has: --map COLUMN=HEADER."
        )
    if kind.any_of and not any(name in positions for name in kind.any_of):
        raise ImportRefusedError(
            f"A file of {kind.name} needs at least one of the columns {', '.join(kind.any_of)}."
            " Is its first row the header?"
        )
