"""From claimed rows to outgoing messages: the variables of a window in at most two more queries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from regulars.providers.base import Outcome, Outgoing, Verdict
from regulars.runs.preparing import Assignment
from regulars.runs.recording import Attempt


async def render(
    database: AsyncConnection[Any],
    work: Assignment,
    rows: Sequence[dict[str, Any]],
    now: datetime,
) -> list[tuple[Attempt, Outgoing | Outcome]]:
    """Each claimed row with its rendered message, or the Outcome (rejected) where it cannot be made."""
    details = await _details(database, work, rows, now)
    venues = await _venues(database, work, rows)
    rendered = []
    for row in rows:
        variables = {
            "customer": _customer(row),
            "venue": venues.get(row["venue_id"], {"name": work.organization["name"]}),
            "organization": work.organization,
            **details.get(row["reference"], {}),
        }
        rendered.append((Attempt.of(row), _outgoing(work, row, variables)))
    return rendered


def _outgoing(work: Assignment, row: dict[str, Any], variables: dict[str, Any]) -> Outgoing | Outcome:
    template = work.template(row["channel"], row["language"] or "")
    if template is None:
        return Outcome(Verdict.REJECTED, code="template", error=f"No template for {row['channel']}")
    try:
        text = template.render(variables)
    except Exception as problem:  # noqa: BLE001 - whatever one guest's data does, the others go on
        return Outcome(Verdict.REJECTED, code="template", error=f"The template failed: {problem}")
    return Outgoing(
        message_id=row["id"],
        idempotency_key=f"{row['automation_id']}:{row['customer_id']}:{row['occasion']}",
        attempt=row["attempt"],
        channel=row["channel"],
        address=row["address"],
        subject=text.subject,
        body=text.body,
        html=text.html,
    )


def _customer(row: dict[str, Any]) -> dict[str, str]:
    first, last = row["first_name"] or "", row["last_name"] or ""
    return {
        "first_name": first,
        "last_name": last,
        "name": f"{first} {last}".strip(),
        "tier": row["tier"] or "",
        "language": row["language"] or "",
    }


async def _details(
    database: AsyncConnection[Any],
    work: Assignment,
    rows: Sequence[dict[str, Any]],
    now: datetime,
) -> dict[int, dict[str, Any]]:
    query = work.details([row["reference"] for row in rows if row["reference"] is not None])
    if query is None:
        return {}
    found = await (await database.execute(*query)).fetchall()
    return {row["reference"]: work.trigger.present(row | {"now": now}) for row in found}


async def _venues(
    database: AsyncConnection[Any], work: Assignment, rows: Sequence[dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    ids = sorted({row["venue_id"] for row in rows if row["venue_id"] is not None})
    venues: dict[int, dict[str, Any]] = {}
    for query in work.venues(ids):
        venues |= {row["id"]: row for row in await (await database.execute(*query)).fetchall()}
    return venues
