"""How a batch that a vendor answers as a whole becomes one outcome for each of its messages.

A doubt about a call is a doubt about all that were in it. A refusal is not: what was refused as a
whole was not taken at all, so each message goes again alone, side by side with the others, and the
one that was to blame fails alone. What every message is refused for alike is about none of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from regulars.providers.base import Outcome, Outgoing, Verdict

# Half of what a sender claims: one batch is called while the one before it is being recorded.
# Vendors would take hundreds, but whatever is in one call is in doubt together.
MESSAGES_A_CALL = 32
# What may be spent on a call and on what follows from it: less than `Provider.request_timeout`.
SECONDS = 6.5
# With less than this left nobody is called any more: the messages come back.
LEAST_SECONDS = 1.0
# So few are refused alike by chance.
FEW = 3

Send = Callable[[Sequence[Outgoing]], Awaitable[list[Outcome] | Outcome]]


async def send_batch(batch: Sequence[Outgoing], send: Send) -> list[Outcome]:
    """One outcome each, in order. `send` is one call: its outcomes, or one that holds for all."""
    ends = asyncio.get_running_loop().time() + SECONDS
    answered = await send(batch)
    if isinstance(answered, list):
        return answered
    if len(batch) == 1 or answered.verdict is not Verdict.REJECTED:
        return [answered] * len(batch)
    return await _one_by_one(batch, answered, send, ends)


async def _one_by_one(batch: Sequence[Outgoing], refusal: Outcome, send: Send, ends: float) -> list[Outcome]:
    seconds = ends - asyncio.get_running_loop().time()
    if seconds < LEAST_SECONDS:
        return [_later(refusal)] * len(batch)
    outcomes = list(await asyncio.gather(*(_alone(message, send, seconds) for message in batch)))
    return [_about_none(outcome) for outcome in outcomes] if _alike(outcomes) else outcomes


async def _alone(message: Outgoing, send: Send, seconds: float) -> Outcome:
    try:
        async with asyncio.timeout(seconds):
            answered = await send([message])
    except TimeoutError:
        words = "No answer in time, so the message may have been sent"
        return Outcome(Verdict.UNKNOWN, code="no_answer", error=words)
    return answered[0] if isinstance(answered, list) else answered


def _later(refusal: Outcome) -> Outcome:
    return Outcome(
        Verdict.THROTTLED,
        code=refusal.code,
        error=f"Refused together with others, tried again: {refusal.error}",
        retry_after=timedelta(seconds=5),
        this_address_only=True,
    )


def _alike(outcomes: Sequence[Outcome]) -> bool:
    first = outcomes[0]
    blamed = first.bad_address or first.opt_out or first.verdict is not Verdict.REJECTED
    return len(outcomes) > FEW and not blamed and all(one == first for one in outcomes)


def _about_none(refusal: Outcome) -> Outcome:
    words = f"All messages are refused with the same answer: {refusal.error}"
    return replace(refusal, verdict=Verdict.STOP_TEMPLATE, error=words)


async def in_groups(
    batch: Sequence[Outgoing],
    group_of: Callable[[Outgoing], Any],
    send: Callable[[Any, list[Outgoing]], Awaitable[list[Outcome]]],
) -> list[Outcome]:
    """Send what belongs to one group together, the groups side by side; the outcomes in order."""
    places: dict[Any, list[int]] = {}
    for place, message in enumerate(batch):
        places.setdefault(group_of(message), []).append(place)
    calls = (send(name, [batch[place] for place in group]) for name, group in places.items())
    outcomes: dict[int, Outcome] = {}
    for group, answered in zip(places.values(), await asyncio.gather(*calls), strict=True):
        outcomes.update(zip(group, answered, strict=True))
    return [outcomes[place] for place in range(len(batch))]


async def without_refused(
    batch: Sequence[Outgoing],
    refusal_of: Callable[[Outgoing], Outcome | None],
    send: Callable[[list[Outgoing]], Awaitable[list[Outcome]]],
) -> list[Outcome]:
    """Send what `refusal_of` says nothing against; the outcomes of all, in order."""
    refused = [refusal_of(message) for message in batch]
    rest = [message for message, refusal in zip(batch, refused, strict=True) if refusal is None]
    answered = iter(await send(rest) if rest else ())
    return [refusal or next(answered) for refusal in refused]
