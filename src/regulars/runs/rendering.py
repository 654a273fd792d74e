"""From claimed rows to outgoing messages: the variables of a window in at most two more queries."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from regulars.automations.opt_outs import VARIABLE, ending
from regulars.automations.rendering import Compiled, Rendered
from regulars.customers.models import Channel
from regulars.providers.base import Outcome, Outgoing, Verdict
from regulars.runs.preparing import Assignment, Texts
from regulars.runs.way_out import headers, link_of

log = structlog.get_logger("regulars.sending")


class Renderer:
    """Renders the messages of one chunk; keeps its venues, asks for what the templates mention."""

    def __init__(self, work: Assignment) -> None:
        self._work = work
        self._venues: dict[int, dict[str, Any]] = {}
        self._known: dict[int, dict[str, Any]] = {}

    async def learn(
        self, database: AsyncConnection[Any], rows: Sequence[dict[str, Any]], now: datetime
    ) -> None:
        """Ask for what the templates mention about these claimed rows, before they are rendered."""
        self._known |= await self._details(database, rows, now)
        await self._learn_venues(database, rows)

    def render(self, row: dict[str, Any]) -> Outgoing | Outcome:
        """The message of a claimed row that was learned of, or the Outcome (rejected) where none can be
        made; never raises, whatever one guest's data does."""
        try:
            variables = variables_of(self._work, row, self._venues, self._known)
            return _outgoing(self._work, row, variables)
        except Exception as problem:
            log.exception("a message could not be rendered", message=row["id"])
            words = f"The message could not be made: {type(problem).__name__}"
            return Outcome(Verdict.REJECTED, code="template", error=words)

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
    # Signing costs a third of a short text's rendering: not where nobody reads it.
    named = needs_link(texts, row["channel"]) or (texts.advertises and texts.mentions((VARIABLE,)))
    link = {VARIABLE: link_of(row)} if named else {}
    return {
        **link,
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
        text = template.render(variables)
    except Exception as problem:  # noqa: BLE001 - whatever one guest's data does, the others go on
        return Outcome(Verdict.REJECTED, code="template", error=f"The template failed: {problem}")
    if not texts.advertises or not isinstance(template, Compiled):
        # Where the provider keeps the text it sends what it has approved, and nothing after it.
        return text
    return _with_ending(texts, row, template.language, text, variables)


def _with_ending(
    texts: Texts, row: Mapping[str, Any], language: str, text: Rendered, variables: dict[str, Any]
) -> Rendered:
    """The text as its reader gets it: a text message says how to opt out."""
    channel = row["channel"]
    written = variables.get(VARIABLE, "")
    if written and written in text.body:
        return text
    link = "" if texts.takes_replies(channel) else written
    more = ending(channel, text.body, language, row["address"] or "", link)
    return replace(text, body=text.body + more) if more else text


def _outgoing(work: Assignment, row: dict[str, Any], variables: dict[str, Any]) -> Outgoing | Outcome:
    if work.no_links and needs_link(work, row["channel"]):
        return Outcome(Verdict.STOP_TEMPLATE, code="no_public_url", error=work.no_links)
    text = said(work, row, variables)
    if isinstance(text, Outcome):
        return text
    mail = work.advertises and row["channel"] == Channel.EMAIL
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
        headers=headers(variables[VARIABLE]) if mail else {},
    )


def needs_link(texts: Texts, channel: str) -> bool:
    """Whether a message on this channel may not leave without a link that leads somewhere."""
    return texts.advertises and (channel == Channel.EMAIL or not texts.takes_replies(channel))


def _customer(row: Mapping[str, Any]) -> dict[str, str]:
    first, last = row["first_name"] or "", row["last_name"] or ""
    return {
        "first_name": first,
        "last_name": last,
        "name": f"{first} {last}".strip(),
        "tier": row["tier"] or "",
        "language": row["language"] or "",
    }
