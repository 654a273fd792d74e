"""Writing down what the calls said, and what follows for the address, the account and the automation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from regulars.providers.base import Outcome, Verdict
from regulars.runs import fallback, statements
from regulars.runs.preparing import Assignment
from regulars.runs.states import Next

_STOPS = (Verdict.STOP_ACCOUNT, Verdict.STOP_TEMPLATE)
# Has neither error nor id to write down.
_NEVER_LEFT = Outcome(Verdict.UNAVAILABLE)


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
class Ended:
    """An attempt with what its call said (None: it never left) and the state that follows."""

    attempt: Attempt
    outcome: Outcome | None
    following: Next

    @property
    def has_consequences(self) -> bool:
        """Whether the outcome says something beyond its message."""
        outcome = self.outcome
        if outcome is None:
            return False
        told = outcome.bad_address or outcome.opt_out or outcome.verdict in _STOPS
        return told or fallback.allows(outcome)


def columns(ended: Sequence[Ended]) -> dict[str, str]:
    """The outcomes as the statements take them: one array a column, in PostgreSQL's notation.

    By hand, because psycopg takes seven times as long to write a list as a parameter.
    """
    outcomes = [one.outcome or _NEVER_LEFT for one in ended]
    return {
        "ids": _array(str(one.attempt.message_id) for one in ended),
        "attempts": _array(str(one.attempt.number) for one in ended),
        "states": _array(_quoted(one.following.state.value) for one in ended),
        "reasons": _array(_quoted(one.following.reason) for one in ended),
        "errors": _array(_quoted(outcome.error) for outcome in outcomes),
        "provider_ids": _array(_quoted(outcome.provider_id) for outcome in outcomes),
        "retries": _array(_moment(one.following.retry_at) for one in ended),
    }


def _array(elements: Iterable[str]) -> str:
    return f"{{{','.join(elements)}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _moment(moment: datetime | None) -> str:
    return f'"{moment.isoformat()}"' if moment else "NULL"


async def apply_consequences(
    database: AsyncConnection[Any], work: Assignment, ended: Sequence[Ended], now: datetime
) -> int:
    """What outcomes say of guests: marks on addresses, then other ways; how many took one.

    In this order: a bad address is no way any more.
    """
    for one in ended:
        if one.outcome is not None and one.has_consequences:
            await _mark(database, work, one.attempt, one.outcome, now)
    return await _fall_back(database, work, ended, now)


async def stop_what_broke(database: AsyncConnection[Any], work: Assignment, ended: Sequence[Ended]) -> bool:
    """Behind all that changes chunks (see `runs.deltas`); whether an outcome stopped the run."""
    stops = [one.outcome for one in ended if one.outcome and one.outcome.verdict in _STOPS]
    for outcome in stops:
        await stop(database, work, outcome)
    return bool(stops)


async def _fall_back(
    database: AsyncConnection[Any], work: Assignment, ended: Sequence[Ended], now: datetime
) -> int:
    refused = [
        (one.attempt.message_id, one.attempt.number, one.outcome)
        for one in ended
        if one.outcome is not None and fallback.allows(one.outcome)
    ]
    if work.fallback is None or not refused:
        return 0
    return await fallback.fall_back(database, work.fallback, refused, now)


async def _mark(
    database: AsyncConnection[Any], work: Assignment, attempt: Attempt, outcome: Outcome, now: datetime
) -> None:
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
        await database.execute(statements.WITHDRAW, address | {"message": attempt.message_id})


async def stop(database: AsyncConnection[Any], work: Assignment, outcome: Outcome) -> None:
    """The account or the template is broken: what depends on it waits for a person.

    An account stops every run that still needs it, and no other; said once for each.
    """
    reason = {"reason": outcome.error}
    if outcome.verdict == Verdict.STOP_ACCOUNT:
        account = reason | {"account": work.chunk.account_id}
        await database.execute(statements.PAUSE_RUNS_OF_ACCOUNT, account)
        await database.execute(statements.BREAK_ACCOUNT, account)
    else:
        automation = reason | {"automation": work.run.automation_id}
        await database.execute(statements.PAUSE_RUN, reason | {"run": work.run.pk})
        await database.execute(statements.PAUSE_AUTOMATION, automation)
