"""Writing down what the calls said, and what follows for the address, the account and the automation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from regulars.providers.base import Outcome, Verdict
from regulars.runs import statements
from regulars.runs.preparing import Assignment
from regulars.runs.states import after


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which try of which message a result belongs to."""

    message_id: int
    number: int
    channel: str
    address: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Attempt":
        """The attempt that a claimed row stands for."""
        return cls(row["id"], row["attempt"], row["channel"], row["address"])


@dataclass(frozen=True, slots=True)
class Recorded:
    """Whether the chunk is still this sender's, and whether an outcome stopped the run."""

    still_ours: bool
    run_stopped: bool


async def record(
    database: AsyncConnection[Any],
    work: Assignment,
    epoch: int,
    ended: Sequence[tuple[Attempt, Outcome | None]],
    now: datetime,
) -> Recorded:
    """Record outcomes and their consequences in one transaction: all of it is known, or none."""
    async with database.transaction():
        cursor = await database.execute(statements.RECORD, _values(work, epoch, ended, now))
        row = await cursor.fetchone()
        stopped = False
        for attempt, outcome in ended:
            if outcome is not None:
                stopped = await _consequences(database, work, attempt, outcome, now) or stopped
    return Recorded(bool(row and row["still_ours"]), stopped)


def _values(
    work: Assignment, epoch: int, ended: Sequence[tuple[Attempt, Outcome | None]], now: datetime
) -> dict[str, Any]:
    following = [after(outcome, attempt.number, now) for attempt, outcome in ended]
    return {
        "chunk": work.chunk.pk,
        "epoch": epoch,
        "now": now,
        "lease": statements.LEASE_SECONDS,
        "ids": [attempt.message_id for attempt, _ in ended],
        "attempts": [attempt.number for attempt, _ in ended],
        "states": [str(step.state) for step in following],
        "reasons": [step.reason for step in following],
        "errors": [outcome.error if outcome else "" for _, outcome in ended],
        "provider_ids": [outcome.provider_id if outcome else "" for _, outcome in ended],
        "retries": [step.retry_at for step in following],
    }


async def _consequences(
    database: AsyncConnection[Any],
    work: Assignment,
    attempt: Attempt,
    outcome: Outcome,
    now: datetime,
) -> bool:
    """What an outcome says beyond its message; True when it stops the run."""
    address = {
        "organization": work.run.organization_id,
        "channel": attempt.channel,
        "address": attempt.address,
        "now": now,
    }
    if outcome.bad_address:
        await database.execute(statements.BAD_ADDRESSES, address | {"reason": outcome.code or "refused"})
    if outcome.opt_out:
        await database.execute(statements.OPT_OUT, address)
    if outcome.verdict not in (Verdict.STOP_ACCOUNT, Verdict.STOP_TEMPLATE):
        return False
    await _stop(database, work, outcome)
    return True


async def _stop(database: AsyncConnection[Any], work: Assignment, outcome: Outcome) -> None:
    """The account or the template is broken: the rest of the run waits for a person."""
    if outcome.verdict == Verdict.STOP_ACCOUNT:
        await database.execute(
            statements.BREAK_ACCOUNT, {"reason": outcome.error, "account": work.chunk.account_id}
        )
    else:
        await database.execute(
            statements.PAUSE_AUTOMATION,
            {"reason": outcome.error, "automation": work.run.automation_id},
        )
    await database.execute(statements.PAUSE_RUN, {"reason": outcome.error, "run": work.run.pk})
