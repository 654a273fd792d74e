"""A few messages of a preview, word for word as a run would send them, chosen to differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from regulars.automations.models import AutomationVersion
from regulars.lib import sql
from regulars.providers.base import Outcome
from regulars.runs.preparing import Texts, texts_of
from regulars.runs.rendering import said, variables_of

# A name that may break a line or a limit.
LONG_NAME = 24


@dataclass(frozen=True, slots=True)
class Sample:
    """One rendered message. `problem` says why it could not be rendered; a run would fail it so.

    `shows` says what those before it do not: a channel, `language es`, `no_language`, `no_first_name`,
    `long_name`.
    """

    customer_id: int
    occasion: str
    channel: str
    address: str
    language: str
    send_after: datetime
    subject: str
    body: str
    html: str
    problem: str
    shows: tuple[str, ...]


def samples(
    version: AutomationVersion, faces: Sequence[dict[str, Any]], number: int, now: datetime
) -> list[Sample]:
    """Up to `number` of these sends (see `runs.surveying`), rendered as of `now`."""
    chosen = differing(faces, number)
    if not chosen:
        return []
    texts = texts_of(version)
    rows = [row for row, _ in chosen]
    details, venues = _details(texts, rows, now), _venues(texts, rows)
    rendered = [said(texts, row, variables_of(texts, row, venues, details)) for row in rows]
    return [_sample(row, text, shows) for (row, shows), text in zip(chosen, rendered, strict=True)]


def differing(faces: Sequence[dict[str, Any]], number: int) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """Up to `number` rows, each with what it shows that none before it did. Pure.

    The next is always the one that shows most that is new; among equals, the first.
    """
    left, seen = list(faces), set[str]()
    chosen: list[tuple[dict[str, Any], tuple[str, ...]]] = []

    def new(row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(feature for feature in _features(row) if feature not in seen)

    while left and len(chosen) < number:
        row = max(left, key=lambda face: len(new(face)))
        chosen.append((row, new(row)))
        seen.update(_features(row))
        left.remove(row)
    return chosen


def _features(row: dict[str, Any]) -> list[str]:
    found = [row["channel"], f"language {row['language']}" if row["language"] else "no_language"]
    if not row["first_name"]:
        found.append("no_first_name")
    if len(row["first_name"]) + len(row["last_name"]) >= LONG_NAME:
        found.append("long_name")
    return found


def _details(texts: Texts, rows: Sequence[dict[str, Any]], now: datetime) -> dict[int, dict[str, Any]]:
    """As the sender's `Renderer` does, on Django's connection."""
    references = [row["reference"] for row in rows if row["reference"] is not None]
    query = texts.details(references) if texts.mentions(texts.trigger.variables) else None
    if query is None:
        return {}
    found = sql.fetch_rows(*query)
    return {row["reference"]: texts.trigger.present(row | {"now": now}) for row in found}


def _venues(texts: Texts, rows: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    ids = sorted({row["venue_id"] for row in rows if row["venue_id"] is not None})
    return {row["id"]: row for query in texts.venues(ids) for row in sql.fetch_rows(*query)}


def _sample(row: dict[str, Any], text: Any, shows: tuple[str, ...]) -> Sample:
    failed = isinstance(text, Outcome)
    return Sample(
        customer_id=row["customer_id"],
        occasion=row["occasion"],
        channel=row["channel"],
        address=row["address"],
        language=row["language"],
        send_after=row["send_after"],
        subject="" if failed else text.subject,
        body="" if failed else text.body,
        html="" if failed else text.html,
        problem=text.error if failed else "",
        shows=shows,
    )
