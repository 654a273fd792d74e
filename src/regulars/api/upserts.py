"""`/api/customers`, `/api/visits`, `/api/reservations`: what another program knows, one row or many.

The resources are the registered kinds of import: a row here means what a row of a file means, by the
same cleaning and the same merge. What changes is told to the engine in the same transaction, so that
whoever becomes due by it is written to at once.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from django.db import OperationalError, transaction
from django.http import HttpRequest, JsonResponse
from ninja import Header, Router, Schema
from psycopg.errors import DeadlockDetected
from pydantic import ConfigDict, Field, StringConstraints, create_model

from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.parsing import Text
from regulars.api.schemas import Count, Strict, answers
from regulars.customers.importing import ImportRefusedError, registry, rows
from regulars.lib import sql
from regulars.organizations import idempotency
from regulars.organizations.access import Permission
from regulars.runs import engine

router = Router(tags=["upserts"])

MOST_ROWS = 1_000
_MOST_TRIES = 3

Cell = Text | bool | int | float | list[Text] | None
Name = Annotated[Text, StringConstraints(max_length=100)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,255}$",
        description="Names this call: repeated within 24 hours it does nothing and gets the same answer",
    ),
]


class Bulk(Strict):
    """Up to 1,000 rows. Each is answered; one that cannot go in keeps no other out."""

    rows: Annotated[list[dict[Name, Cell]], Field(min_length=1, max_length=MOST_ROWS)]
    live: bool = Field(
        default=False,
        description="The rows tell what happens now: a new confirmed booking counts as confirmed now",
    )


class RowAnswer(Schema):
    """What became of one row."""

    index: Count = Field(description="Its place in the call, from 0")
    external_id: str | None
    result: Literal["created", "updated", "unchanged", "rejected"]
    id: int | None = Field(description="Ours; null if it was rejected")
    column: str = Field(description="Which field kept it out; empty if it went in")
    reason: str


class UpsertAnswer(RowAnswer):
    """What became of the row."""


class BulkAnswer(Schema):
    """How many rows went which way, and each of them in the order of the call."""

    created: Count
    updated: Count
    unchanged: Count
    rejected: Count
    rows: list[RowAnswer]


def _row_model(kind: registry.Kind) -> Any:
    fields: dict[str, Any] = {column.name: (Cell, None) for column in kind.columns}
    return create_model(
        f"{kind.name.capitalize()}Row",
        __config__=ConfigDict(extra="forbid"),
        __doc__="A field that is absent, null or empty says nothing: what is known stays.",
        **fields,
    )


def _add(kind: registry.Kind) -> None:
    row_model = _row_model(kind)

    def upsert_one(request: HttpRequest, row: row_model, key: Key = None) -> Any:  # type: ignore[valid-type]
        """Create or change one by its `external_id`, as something that happens now."""
        given = row.model_dump(exclude_unset=True)  # type: ignore[attr-defined]
        return _answer(request, key, lambda caller: _one(caller, kind.name, given))

    def upsert_many(request: HttpRequest, bulk: Bulk, key: Key = None) -> Any:
        """Create or change up to 1,000, each answered."""
        return _answer(request, key, lambda caller: _many(caller, kind.name, bulk))

    one, many = answers(UpsertAnswer, 200, 409) | {201: UpsertAnswer}, answers(BulkAnswer, 200, 409)
    name = kind.name
    router.post(f"/{name}", response=one, operation_id=f"upsert_{name}_row")(upsert_one)
    router.post(f"/{name}/bulk", response=many, operation_id=f"upsert_{name}")(upsert_many)


def _answer(request: HttpRequest, key: str | None, work: Any) -> JsonResponse:
    """Do the work once for its key; whoever may not is told so before."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_CUSTOMERS)
    if key is None:
        status, body = work(caller)
        return JsonResponse(body, status=status)
    whose = f"{'token' if caller.by_token else 'user'}:{caller.user.pk}"
    asked = f"{request.method} {request.get_full_path()}\n".encode() + request.body
    call = idempotency.Call(caller.organization, whose, key, hashlib.sha256(asked).digest())
    try:
        answered = idempotency.once(call, sql.database_now(), lambda: work(caller))
    except idempotency.KeyReusedError as error:
        problem = {"path": "Idempotency-Key", "problem": str(error)}
        raise ApiError(
            422,
            "This Idempotency-Key was used for another call: take a new one.",
            code="key_reused",
            details=[problem],
        ) from error
    except idempotency.StillUnderWayError as error:
        raise ApiError(
            409, "The call with this Idempotency-Key is still under way: try again.", code="under_way"
        ) from error
    response = JsonResponse(answered.body, status=answered.status)
    if answered.repeated:
        response["Idempotent-Replayed"] = "true"
    return response


def _one(caller: Caller, kind: str, row: dict[str, Any]) -> tuple[int, Any]:
    (answer,) = _upsert(caller, kind, [row], live=True)
    if answer["result"] == "rejected":
        problem = {"path": answer["column"] or "body", "problem": answer["reason"]}
        raise ApiError(422, "The row cannot go in: see details.", details=[problem])
    return 201 if answer["result"] == "created" else 200, answer


def _many(caller: Caller, kind: str, bulk: Bulk) -> tuple[int, Any]:
    found = _upsert(caller, kind, bulk.rows, live=bulk.live)
    results = [answer["result"] for answer in found]
    counts = {name: results.count(name) for name in ("created", "updated", "unchanged", "rejected")}
    return 200, counts | {"rows": found}


def _upsert(
    caller: Caller, kind: str, given: Sequence[dict[str, Any]], *, live: bool
) -> list[dict[str, Any]]:
    """Merge the rows and tell the engine; again where two such calls had locked each other out."""
    for tries_left in reversed(range(_MOST_TRIES)):
        try:
            with transaction.atomic():
                found = _merge(caller, kind, given, live=live)
            break
        except OperationalError as problem:
            if not tries_left or not isinstance(problem.__cause__, DeadlockDetected):
                raise
        except ImportRefusedError as problem:
            raise ApiError(422, str(problem)) from problem
    return [
        {
            "index": index,
            "external_id": None if (value := row.get("external_id")) is None else str(value),
            "result": answer.result,
            "id": answer.id,
            "column": answer.column,
            "reason": answer.reason,
        }
        for index, (row, answer) in enumerate(zip(given, found, strict=True))
    ]


def _merge(caller: Caller, kind: str, given: Sequence[dict[str, Any]], *, live: bool) -> list[rows.Answer]:
    # The database's clock: what is confirmed now must not lie ahead of whoever plans next.
    now = sql.database_now()
    found = rows.upsert(kind, given, caller.organization, now=now, live=live)
    changed = {answer.customer_id for answer in found if answer.result in ("created", "updated")}
    concerned = sorted(customer_id for customer_id in changed if customer_id is not None)
    engine.happened(caller.organization, kind, concerned, now)
    return found


for _kind in registry.all_kinds():
    _add(_kind)
