"""An organization removed: stopped first, then taken out of every table, itself last.

Stopping is quick and final: its automations are deleted and its runs cancelled, so that no sender
claims anything any more. Then this waits for those who still hold a lease (a call in flight is
recorded, or its sender is dead by then), so that nothing is written afterwards. Rows go in bounded
transactions, those that point before those that are pointed at. After a crash the organization is
still there, stopped, and removing it again goes on.

Packs need not be named: whatever refers to the organization, or to something that does, is found
through the models. The ledger's own tables have no foreign keys and are named below.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Any

import structlog
from django.apps import apps
from django.db import IntegrityError, models, transaction
from django.db.models import QuerySet

from regulars.automations.models import Automation
from regulars.lib import append_only, sql
from regulars.organizations.models import Organization
from regulars.runs import deltas, statements
from regulars.runs.models import Message, Run, RunState

log = structlog.get_logger("regulars.organizations")

BATCH = 5_000
_PAUSE_SECONDS = 0.2
# Somebody may write a last row between our looking and our deleting; more often is a fault.
_MOST_PASSES = 10
_UNDER_WAY = (RunState.PLANNING, RunState.SENDING, RunState.WAITING, RunState.PAUSED)


def remove_organization(organization: Organization, now: datetime) -> dict[str, int]:
    """Stop all that is under way and remove every row of the tenant; returns rows by table.

    Users stay, without their membership. Cannot be undone.
    """
    removed: dict[str, int] = {}
    for _ in range(_MOST_PASSES):
        _stop(organization, now)
        _wait_for_senders(organization)
        for table, number in _remove_rows(organization):
            removed[table] = removed.get(table, 0) + number
        if _remove_itself(organization):
            log.info("organization removed", slug=organization.slug, rows=removed)
            return removed
    raise RuntimeError(
        f"Rows of {organization.slug} keep coming: stop what writes them, then remove it again"
    )


def _stop(organization: Organization, now: datetime) -> None:
    Automation.objects.filter(organization=organization, deleted_at=None).update(
        enabled=False, deleted_at=now
    )
    under_way = Run.objects.filter(organization=organization, state__in=_UNDER_WAY)
    for run_id in list(under_way.values_list("pk", flat=True)):
        with transaction.atomic():
            # Whoever plans it ends first: then nothing of it is written any more.
            key = {"key": f"plan {run_id}"}
            sql.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))", key)
            deltas.hold_run(run_id, alone=True)
            Run.objects.filter(pk=run_id).update(state=RunState.CANCELLED, finished_at=now)


def _wait_for_senders(organization: Organization) -> None:
    """Until nobody may still be calling for it. A lease is not renewed for a cancelled run, so this ends."""
    values = {"organization": organization.pk, "grace": statements.GRACE_SECONDS}
    while sql.fetch_rows(_LEASES, values):
        time.sleep(_PAUSE_SECONDS)


def _remove_rows(organization: Organization) -> Iterator[tuple[str, int]]:
    yield from _remove_messages(organization).items()
    for table, text in _LEDGER.items():
        yield table, _by_batches(text, {"organization": organization.pk})
    for model, path in _owned_models():
        yield _meta(model).db_table, _remove_of(model, path, organization)


def _remove_messages(organization: Organization) -> dict[str, int]:
    """Locked before what refers to them is looked for: a report that is being written ends first."""
    removed = dict.fromkeys(_OF_MESSAGES, 0)
    mine = Message.objects.filter(organization_id=organization.pk)
    while True:
        with transaction.atomic():
            ids = list(mine.select_for_update().values_list("pk", flat=True)[:BATCH])
            if not ids:
                return removed
            for table, text in _OF_MESSAGES.items():
                removed[table] += sql.execute(text, {"ids": ids})


def _by_batches(text: str, values: dict[str, Any]) -> int:
    total = 0
    while number := sql.execute(text, values | {"batch": BATCH}):
        total += number
    return total


def _remove_of(model: type[models.Model], path: str, organization: Organization) -> int:
    key = _meta(model).pk
    assert key is not None
    text = f"DELETE FROM {_meta(model).db_table} WHERE {key.column} = ANY (%(keys)s)"
    mine: Any = QuerySet(model).filter(**{path: organization.pk}).values_list("pk", flat=True)
    total = 0
    while keys := list(mine[:BATCH]):
        with append_only.lifted():
            total += sql.execute(text, {"keys": keys})
    return total


def _remove_itself(organization: Organization) -> bool:
    """The last row; False where something refers to it again."""
    try:
        with transaction.atomic():
            sql.execute("DELETE FROM organizations WHERE id = %(id)s", {"id": organization.pk})
    except IntegrityError:
        return False
    return True


def _owned_models() -> list[tuple[type[models.Model], str]]:
    """Every model that leads to an organization, with the way there; those that point come first."""
    paths: dict[type[models.Model], str] = {Organization: "pk"}
    grown = True
    while grown:
        found = {
            model: _way(field, paths)
            for model in apps.get_models()
            if model not in paths and (field := _pointer(model, paths)) is not None
        }
        paths |= found
        grown = bool(found)
    order: TopologicalSorter[type[models.Model]] = TopologicalSorter({model: set() for model in paths})
    for model in paths:
        for field in _pointers(model):
            if field.related_model in paths and field.related_model is not model:
                order.add(field.related_model, model)
    return [(model, paths[model]) for model in order.static_order() if model is not Organization]


def _pointers(model: type[models.Model]) -> list[Any]:
    return [field for field in _meta(model).concrete_fields if field.is_relation and field.related_model]


def _meta(model: type[models.Model]) -> Any:
    """Django's description of a model: public, whatever its name looks like."""
    return model._meta  # noqa: SLF001


def _pointer(model: type[models.Model], paths: dict[type[models.Model], str]) -> Any:
    return next((field for field in _pointers(model) if field.related_model in paths), None)


def _way(field: Any, paths: dict[type[models.Model], str]) -> str:
    rest = paths[field.related_model]
    return field.name if rest == "pk" else f"{field.name}__{rest}"


_LEASES = """
SELECT 1 FROM run_chunks chunk JOIN automation_logs run ON run.id = chunk.run_id
 WHERE run.organization_id = %(organization)s
   AND chunk.lease_until > now() - make_interval(secs => %(grace)s) LIMIT 1
"""


def _batch(table: str, key: str, mine: str) -> str:
    return f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {mine} LIMIT %(batch)s)"


_OF_MESSAGES = {
    "delivery_events": "DELETE FROM delivery_events WHERE message_id = ANY (%(ids)s)",
    "sandbox_outbox": "DELETE FROM sandbox_outbox WHERE message_id = ANY (%(ids)s)",
    "messages": "DELETE FROM messages WHERE id = ANY (%(ids)s)",
}
_OWN = "organization_id = %(organization)s"
_LEDGER = {
    "occasions": _batch(
        "occasions",
        "automation_id, customer_id, occasion",
        f"automation_id IN (SELECT id FROM automations WHERE {_OWN})",
    ),
    "skips": _batch("skips", "id", _OWN),
    "run_verdicts": _batch(
        "run_verdicts", "run_id, ordinal", f"run_id IN (SELECT id FROM automation_logs WHERE {_OWN})"
    ),
    "sandbox_outbox": _batch("sandbox_outbox", "id", _OWN),
    "message_totals": _batch(
        "message_totals", "organization_id, automation_id, month, channel, state, reason", _OWN
    ),
}
