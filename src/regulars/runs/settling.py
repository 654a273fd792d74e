"""A person decides what became of unknown messages: one, or all of a run.

Callbacks and look-ups settle them too (`runs.reporting`). A late result of the sender itself still
wins while the message is unknown; after a decision it changes nothing, because a decision to send
again raises the attempt with the next claim.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db import transaction

from regulars.lib import sql
from regulars.lib.crash_points import reach
from regulars.runs import deltas
from regulars.runs.models import DeliveryEvent, Message, MessageState, Run, RunState


class Decision(StrEnum):
    """What a person may decide about a message in doubt."""

    ARRIVED = "arrived"
    SEND_AGAIN = "send_again"
    LEAVE = "leave"


class NotUnknownError(Exception):
    """Only a message whose outcome is unknown can be settled; this one is decided."""


class RunStoppedError(Exception):
    """The run was cancelled or could not go on: nothing of it is sent any more."""

    def __init__(self) -> None:
        super().__init__(RunStoppedError.__doc__)


def settle(message_id: int, decision: Decision, actor: str, now: datetime) -> Message:
    """Decide one unknown and write down who did; counts follow by delta.

    Raises:
        NotUnknownError: the message is not unknown (any more).
        RunStoppedError: it was to be sent again, and its run never sends again.
    """
    run_id = Message.objects.values_list("run_id", flat=True).get(pk=message_id)
    with transaction.atomic():
        deltas.hold_run(run_id)
        message = Message.objects.select_for_update().get(pk=message_id)
        if message.state != MessageState.UNKNOWN:
            raise NotUnknownError(NotUnknownError.__doc__)
        refuse_stopped(run_id, decision)
        fields = {"accepted_at": now} if decision == Decision.ARRIVED else {}
        if decision == Decision.SEND_AGAIN:
            fields["send_after"] = now
        state = _STATES[decision]
        Message.objects.filter(pk=message_id).update(state=state, reason="settled", state_at=now, **fields)
        DeliveryEvent.objects.create(
            message_id=message_id,
            kind=f"settled_{decision}",
            attempt=message.attempt,
            actor=actor,
            at=now,
        )
        deltas.apply(run_id, [deltas.Move(message.chunk_number, MessageState.UNKNOWN, state)], now)
        reach("settle.inside")
    reach("settle.committed")
    message.refresh_from_db()
    return message


def settle_all(run: Run, decision: Decision, actor: str, now: datetime) -> int:
    """Decide every message of the run that is unknown now; how many they were.

    Raises:
        RunStoppedError: they were to be sent again, and the run never sends again.
    """
    state = _STATES[decision]
    with transaction.atomic():
        deltas.hold_run(run.pk)
        refuse_stopped(run.pk, decision)
        values = {
            "run": run.pk,
            "state": state,
            "arrived": decision == Decision.ARRIVED,
            "again": decision == Decision.SEND_AGAIN,
            "kind": f"settled_{decision}",
            "actor": actor,
            "now": now,
        }
        chunks = sql.fetch_rows(_SETTLE_ALL, values)
        moves = [deltas.Move(row["chunk_number"], "unknown", state, row["number"]) for row in chunks]
        deltas.apply(run.pk, moves, now)
        reach("settle.inside")
    reach("settle.committed")
    return sum(move.number for move in moves)


def refuse_stopped(run_id: UUID, decision: Decision = Decision.SEND_AGAIN) -> None:
    """Nothing goes back into a run that has been stopped for good.

    Raises:
        RunStoppedError: it has.
    """
    if decision != Decision.SEND_AGAIN:
        return
    if Run.objects.filter(pk=run_id, state__in=STOPPED).exists():
        raise RunStoppedError


STOPPED = (RunState.CANCELLED, RunState.FAILED, RunState.MISSED)
_STATES = {
    Decision.ARRIVED: MessageState.SENT,
    Decision.LEAVE: MessageState.FAILED,
    Decision.SEND_AGAIN: MessageState.QUEUED,
}

# The unknowns of a run lie in the chunks that have any. In the order of their ids, as senders lock.
_SETTLE_ALL = """
WITH doubted AS MATERIALIZED (
  SELECT message.id FROM messages message
    JOIN run_chunks chunk ON chunk.run_id = message.run_id AND chunk.number = message.chunk_number
   WHERE message.run_id = %(run)s AND chunk.unknown > 0 AND message.state = 'unknown'
     AND message.id BETWEEN chunk.first_id AND chunk.last_id
   ORDER BY message.id FOR UPDATE OF message
),
settled AS (
  UPDATE messages message
     SET state = %(state)s, reason = 'settled', state_at = %(now)s,
         accepted_at = CASE WHEN %(arrived)s THEN %(now)s ELSE message.accepted_at END,
         send_after = CASE WHEN %(again)s THEN %(now)s ELSE message.send_after END
    FROM doubted
   WHERE message.id = doubted.id AND message.state = 'unknown'
  RETURNING message.id, message.chunk_number, message.attempt
),
told AS (
  INSERT INTO delivery_events (message_id, kind, attempt, actor, raw, at)
  SELECT id, %(kind)s, attempt, %(actor)s, '{}', %(now)s FROM settled
)
SELECT chunk_number, count(*) AS number FROM settled GROUP BY 1 ORDER BY 1
"""

_WITHHOLD = """
WITH stopped AS (
  UPDATE messages SET state = 'withheld', reason = '{reason}', state_at = %(now)s
   WHERE {which} AND state = 'queued'
  RETURNING id, run_id, automation_id, customer_id, occasion, chunk_number
),
freed AS (
  DELETE FROM occasions guard USING stopped
   WHERE guard.automation_id = stopped.automation_id AND guard.customer_id = stopped.customer_id
     AND guard.occasion = stopped.occasion AND guard.message_id = stopped.id
),
counted AS MATERIALIZED (
  SELECT chunk.id, sums.number
    FROM (SELECT run_id, chunk_number, count(*) AS number FROM stopped GROUP BY 1, 2) sums
    JOIN run_chunks chunk ON chunk.run_id = sums.run_id AND chunk.number = sums.chunk_number
   ORDER BY chunk.run_id, chunk.number FOR NO KEY UPDATE OF chunk
)
UPDATE run_chunks chunk SET withheld = chunk.withheld + counted.number
  FROM counted WHERE chunk.id = counted.id
"""

# A cancelled run: what is still queued never leaves, and its occasions are free again.
WITHHOLD_QUEUED = _WITHHOLD.format(reason="run_cancelled", which="run_id = %(run)s")

# What an event has made untrue, as the last look at the claim would find it.
WITHHOLD_CHANGED = _WITHHOLD.format(reason="cancelled_before_send", which="id = ANY (%(ids)s)")
