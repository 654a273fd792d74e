"""From claimed rows to outgoing messages: the variables of a window in at most two more queries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from regulars.automations.rendering import Rendered
from regulars.providers.base import Outcome, Outgoing, Verdict
from regulars.runs.preparing import Assignment, Texts
from regulars.runs.recording import Attempt


class Renderer:
    """Renders the messages of one chunk; keeps its venues, asks for what the templates mention."""

    def __init__(self, work: Assignment) -> None:
        self._work = work
        self._venues: dict[int, dict[str, Any]] = {}

    async def render(
        self, database: AsyncConnection[Any], rows: Sequence[dict[str, Any]], now: datetime
    ) -> list[tuple[Attempt, Outgoing | Outcome]]:
        """Each claimed row with its message, or the Outcome (rejected) where none can be made."""
        details = await self._details(database, rows, now)
        await self._learn_venues(database, rows)
        rendered = []
        for row in rows:
            variables = variables_of(self._work, row, self._venues, details)
            rendered.append((Attempt.of(row), _outgoing(self._work, row, variables)))
        return rendered

    async def _details(
        self, database: AsyncConnection[Any], rows: Sequence[dict[str, Any]], now: datetime
    ) -> dict[int, dict[str, Any]]:
        work = self._work
        if not work.mentions(work.trigger.variables):
            return {}
        query = work.details([row["reference"] for row in rows if row["reference"] is not None])
        if query is None:
            return {}
        found = await (await database.execute(*query)).fetchall()
        return {row["reference"]: work.trigger.present(row | {"now": now}) for row in found}

    async def _learn_venues(self, database: AsyncConnection[Any], rows: Sequence[dict[str, Any]]) -> None:
        if not self._work.mentions(("venue",)):
            return
        new = {row["venue_id"] for row in rows if row["venue_id"] is not None} - self._venues.keys()
        for query in self._work.venues(sorted(new)):
            found = await (await database.execute(*query)).fetchall()
            self._venues |= {row["id"]: row for row in found}


def variables_of(
    texts: Texts,
    row: Mapping[str, Any],
    venues: Mapping[int, dict[str, Any]],
    details: Mapping[int, dict[str, Any]],
) -> dict[str, Any]:
    """What a template may name, for one row; a preview's or a claimed one."""
    nowhere = {"name": texts.organization["name"]}
    return {
        "customer": _customer(row),
        "venue": venues.get(row["venue_id"], nowhere),
        "organization": texts.organization,
        **details.get(row["reference"], {}),
    }


def said(texts: Texts, row: Mapping[str, Any], variables: dict[str, Any]) -> Rendered | Outcome:
    """The message for one guest, or the Outcome (rejected) where none can be made."""
    template = texts.template(row["channel"], row["language"] or "")
    if template is None:
        return Outcome(Verdict.REJECTED, code="template", error=f"No template for {row['channel']}")
    try:
        return template.render(variables)
    except Exception as problem:  # noqa: BLE001 - whatever one guest's data does, the others go on
        return Outcome(Verdict.REJECTED, code="template", error=f"The template failed: {problem}")


def _outgoing(work: Assignment, row: dict[str, Any], variables: dict[str, Any]) -> Outgoing | Outcome:
    text = said(work, row, variables)
    if isinstance(text, Outcome):
        return text
    return Outgoing(
        message_id=row["id"],
        idempotency_key=f"{row['automation_id']}:{row['customer_id']}:{row['occasion']}",
        attempt=row["attempt"],
        channel=row["channel"],
        address=row["address"],
        subject=text.subject,
        body=text.body,
        html=text.html,
        template=text.template,
        purpose=work.trigger.purpose,
        callback=f"{work.callback}?message={row['id']}&attempt={row['attempt']}" if work.callback else "",
    )


def _customer(row: Mapping[str, Any]) -> dict[str, str]:
    first, last = row["first_name"] or "", row["last_name"] or ""
    return {
        "first_name": first,
        "last_name": last,
        "name": f"{first} {last}".strip(),
        "tier": row["tier"] or "",
        "language": row["language"] or "",
    }
