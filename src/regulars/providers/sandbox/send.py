"""The sandbox: accepts, refuses, throttles, falls silent or kills its process, as it was told.

It behaves as a provider that takes one message a call (`max_batch` 1, many calls at once), because
that is the hardest case for the sender: each message has its own moment of doubt. The outbox is the
outside world; rows of calls in flight together are written by one statement, so that trying out
100,000 messages does not measure 100,000 inserts.
"""

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from regulars.providers.base import (
    Checked,
    Connection,
    Found,
    OutboxReader,
    OutboxWriter,
    Outcome,
    Outgoing,
    Provider,
    Question,
    Report,
    Verdict,
)
from regulars.providers.sandbox.options import Fate, SandboxOptions, draw, fate_of
from regulars.providers.sandbox.outbox import OutboxGroup

# Killing a process is for crash tests: an account's options alone must not be able to.
MAY_DIE = "REGULARS_SANDBOX_MAY_DIE"
REMEMBERED = 10_000


class Sandbox(Provider):
    """Sends to the outbox only. Also remembers whom it throttled once, over its connections."""

    kind = "sandbox"
    label = "Sandbox (sends nothing)"
    channels = ("whatsapp", "sms", "email")
    options = SandboxOptions
    max_batch = 1
    concurrency = 64
    can_look_up = True

    def __init__(self) -> None:
        self._throttled: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        return SandboxConnection(options, outbox, self)

    def throttles(self, message: Outgoing) -> bool:
        """Whether this is the first attempt: by its number, else by memory of this process."""
        if message.attempt:
            return message.attempt == 1
        key = (message.idempotency_key, message.address)
        if key in self._throttled:
            return False
        self._throttled[key] = None
        if len(self._throttled) > REMEMBERED:
            self._throttled.popitem(last=False)
        return True


class SandboxConnection(Connection):
    def __init__(self, options: SandboxOptions, outbox: OutboxWriter, provider: Sandbox) -> None:
        self._options = options
        self._world = outbox
        self._outbox = OutboxGroup(outbox)
        self._provider = provider

    async def send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        return list(await asyncio.gather(*(self._send(message) for message in batch)))

    async def look_up(self, questions: Sequence[Question]) -> list[Found | None]:
        """What is in the outbox was taken. What is not there may still be on its way: no word."""
        if not isinstance(self._world, OutboxReader):
            return await super().look_up(questions)
        asked = [question.message for question in questions]
        taken = await self._world.taken([message.message_id for message in asked])
        return [
            Found(Report.ACCEPTED, provider_id(message)) if message.message_id in taken else None
            for message in asked
        ]

    async def check(self) -> Checked:
        return Checked(works=True, words="The sandbox works, and sends nothing to anybody.")

    async def close(self) -> None:
        await self._outbox.close()

    async def _send(self, message: Outgoing) -> Outcome:
        fate = fate_of(message, self._options)
        pause = self._options.delay_ms / 2_000
        if pause:
            await asyncio.sleep(pause)
        try:
            outcome = await self._meet(fate, message)
        except Exception as error:  # noqa: BLE001 - whatever the writer's fault: it may have written
            return _unknown(f"The sandbox's outbox failed: {type(error).__name__}")
        if pause:
            await asyncio.sleep(pause)
        return outcome

    async def _meet(self, fate: Fate, message: Outgoing) -> Outcome:
        if fate is Fate.REJECT:
            return _rejected(message)
        if fate is Fate.THROTTLE and self._provider.throttles(message):
            return Outcome(
                Verdict.THROTTLED,
                code="too_many",
                error="The sandbox asks to come back later",
                retry_after=timedelta(seconds=1),
                this_address_only=True,
            )
        if fate is Fate.TIMEOUT and draw(message, "taken") < 0.5:
            return _unknown("The sandbox did not answer in time")
        await self._outbox.put(message)
        if fate is Fate.DIE and os.environ.get(MAY_DIE) == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        if fate in (Fate.TIMEOUT, Fate.DIE):
            return _unknown("The sandbox did not answer in time")
        return Outcome(Verdict.ACCEPTED, provider_id=provider_id(message))


def provider_id(message: Outgoing) -> str:
    """What the sandbox calls a message."""
    return f"sandbox-{message.message_id}"


def _rejected(message: Outgoing) -> Outcome:
    words = "Invalid address" if message.channel == "email" else "Invalid phone number"
    return Outcome(Verdict.REJECTED, code="invalid_address", error=words, bad_address=True)


def _unknown(words: str) -> Outcome:
    return Outcome(Verdict.UNKNOWN, code="no_answer", error=words)
