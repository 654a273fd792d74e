"""A call that says which one it is (`Idempotency-Key`) is done once, however often it is repeated.

The key's row, what the call does and its answer are one transaction: after a crash either all of it
is there, or nothing, and the repetition does it. A repetition while the first is still under way
waits for it. A call that was refused did nothing and keeps nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, transaction
from psycopg.errors import LockNotAvailable

from regulars.lib import sql
from regulars.organizations.models import KeptAnswer, Organization

KEPT_FOR = timedelta(hours=24)
_PATIENCE = "10s"


class KeyReusedError(Exception):
    """The key has been used for another call."""


class StillUnderWayError(Exception):
    """The call with this key is being done at this moment."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: whose, under which key, and what it asks (a SHA-256)."""

    organization: Organization
    caller: str
    key: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """The status and JSON body; `repeated` if they are those of an earlier call."""

    status: int
    body: Any
    repeated: bool = False


def once(call: Call, now: datetime, work: Callable[[], tuple[int, Any]]) -> Answered:
    """Do `work` (which returns status and JSON body) unless the call has been done; the answer.

    Raises:
        KeyReusedError: within 24 hours the key was used for something else.
        StillUnderWayError: the same call has been under way for ten seconds.
    """
    with transaction.atomic():
        kept = _reserve(call, now)
        if kept is not None:
            if bytes(kept.request) != call.request:
                raise KeyReusedError(KeyReusedError.__doc__)
            return Answered(kept.status, kept.body, repeated=True)
        status, body = work()
        _of(call).update(status=status, body=body)
        return Answered(status, body)


def forget(now: datetime) -> int:
    """Remove the answers that need not be kept any more; how many they were."""
    return KeptAnswer.objects.filter(at__lte=now - KEPT_FOR).delete()[0]


def _of(call: Call) -> Any:
    return KeptAnswer.objects.filter(organization=call.organization, caller=call.caller, key=call.key)


def _reserve(call: Call, now: datetime) -> KeptAnswer | None:
    """Take the key, or return the answer that was given under it."""
    values = {
        "organization": call.organization.pk,
        "caller": call.caller,
        "key": call.key,
        "request": call.request,
        "now": now,
        "too_old": now - KEPT_FOR,
    }
    sql.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
    try:
        taken = sql.fetch_rows(_RESERVE, values)
    except OperationalError as problem:
        if isinstance(problem.__cause__, LockNotAvailable):
            raise StillUnderWayError(StillUnderWayError.__doc__) from problem
        raise
    sql.execute("SET LOCAL lock_timeout = DEFAULT")
    return None if taken else _of(call).get()


_RESERVE = """
INSERT INTO kept_answers AS kept (organization_id, caller, key, request, status, body, at)
VALUES (%(organization)s, %(caller)s, %(key)s, %(request)s, 0, 'null', %(now)s)
ON CONFLICT (organization_id, caller, key) DO UPDATE
   SET request = EXCLUDED.request, status = 0, body = 'null', at = EXCLUDED.at
 WHERE kept.at <= %(too_old)s
RETURNING id
"""
