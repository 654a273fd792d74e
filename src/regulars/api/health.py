"""`/api/health`: whether this installation can do its work. Open to all; says nothing of guests."""

from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpRequest
from ninja import Router, Status

import regulars
from regulars.api.schemas import Health, Refusal
from regulars.runs import engine

router = Router(tags=["health"])


@router.get(
    "/health",
    auth=None,
    response={200: Health, 405: Refusal, 500: Refusal, 503: Health},
    operation_id="health",
)
def health(request: HttpRequest) -> Any:  # noqa: ARG001
    """200 when the database answers; `degraded` when no worker lives, so that runs wait.

    Not a 503 without a worker: restarting a web server that works would start none.
    """
    has_database = _database_answers()
    has_worker = has_database and engine.worker_alive()
    status = "ok" if has_worker else "degraded" if has_database else "down"
    body = {
        "status": status,
        "database": has_database,
        "worker": has_worker,
        "version": regulars.__version__,
    }
    return Status(200 if has_database else 503, body)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
