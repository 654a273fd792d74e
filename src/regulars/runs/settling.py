"""Deciding an unknown: by a person here; by callbacks and look-ups where providers have them.

A late result of the sender itself still wins while the message is unknown; after a decision it
changes nothing, because a decision to send again raises the attempt with the next claim.
"""

from datetime import datetime
from enum import StrEnum

from django.db import transaction
from django.db.models import F

from regulars.runs.deferring import chunk_job, defer
from regulars.runs.finishing import count
from regulars.runs.models import DeliveryEvent, Message, MessageState, Run, RunChunk, RunState


class Decision(StrEnum):
    """What a person may decide about a message in doubt."""

    ARRIVED = "arrived"
    SEND_AGAIN = "send_again"
    LEAVE = "leave"


class NotUnknownError(Exception):
    """Only a message whose outcome is unknown can be settled; this one is decided."""


def settle(message_id: int, decision: Decision, actor: str, now: datetime) -> Message:
    """Decide one unknown and write down who did; counts follow by delta.

    Raises:
        NotUnknownError: the message is not unknown (any more).
    """
    with transaction.atomic():
        message = Message.objects.select_for_update().get(pk=message_id)
        if message.state != MessageState.UNKNOWN:
            raise NotUnknownError(NotUnknownError.__doc__)
        state, column = _TO[decision]
        fields = {"accepted_at": now} if decision == Decision.ARRIVED else {}
        if decision == Decision.SEND_AGAIN:
            fields["send_after"] = now
        Message.objects.filter(pk=message_id).update(state=state, reason="settled", state_at=now, **fields)
        DeliveryEvent.objects.create(
            message_id=message_id,
            kind=f"settled_{decision}",
            attempt=message.attempt,
            actor=actor,
            at=now,
        )
        _count(message, column, now)
    message.refresh_from_db()
    return message


def _count(message: Message, column: str, now: datetime) -> None:
    chunks = RunChunk.objects.filter(run_id=message.run_id, number=message.chunk_number)
    if column:
        chunks.update(unknown=F("unknown") - 1, **{column: F(column) + 1})
    else:
        chunks.update(unknown=F("unknown") - 1, closed=False, next_due=now)
        Run.objects.filter(pk=message.run_id, state=RunState.FINISHED).update(
            state=RunState.SENDING, finished_at=None
        )
        defer([chunk_job(chunk.pk, urgent=chunk.urgent) for chunk in chunks])
    run = Run.objects.get(pk=message.run_id)
    number = count(run)
    Run.objects.filter(pk=run.pk).exclude(totals={}).update(
        totals={
            "sent": number.sent,
            "failed": number.failed - number.unknown,
            "unknown": number.unknown,
            "withheld": number.withheld,
        }
    )


_TO = {
    Decision.ARRIVED: (MessageState.SENT, "sent"),
    Decision.LEAVE: (MessageState.FAILED, "failed"),
    Decision.SEND_AGAIN: (MessageState.QUEUED, ""),
}

# A cancelled run: what is still queued never leaves, and its occasions are free again.
WITHHOLD_QUEUED = """
WITH stopped AS (
  UPDATE messages SET state = 'withheld', reason = 'run_cancelled', state_at = %(now)s
   WHERE run_id = %(run)s AND state = 'queued'
  RETURNING id, automation_id, customer_id, occasion, chunk_number
),
freed AS (
  DELETE FROM occasions guard USING stopped
   WHERE guard.automation_id = stopped.automation_id AND guard.customer_id = stopped.customer_id
     AND guard.occasion = stopped.occasion AND guard.message_id = stopped.id
)
UPDATE run_chunks chunk SET withheld = chunk.withheld + sums.number
  FROM (SELECT chunk_number, count(*) AS number FROM stopped GROUP BY 1) sums
 WHERE chunk.run_id = %(run)s AND chunk.number = sums.chunk_number
"""
