"""Writes to the outbox in groups."""

import asyncio

from regulars.providers.base import OutboxWriter, Outgoing


class OutboxGroup:
    """Writes messages that wait at the same time by one call of the writer."""

    def __init__(self, write: OutboxWriter) -> None:
        self._write = write
        self._waiting: list[tuple[Outgoing, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def put(self, message: Outgoing) -> None:
        """Return when `message` is in the outbox; raises what the writer raised."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, written))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await written

    async def close(self) -> None:
        """Wait for what is being written: a row that was begun is outside, whoever gave up."""
        if self._flushing is not None:
            await self._flushing

    async def _flush(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            failure: Exception | None = None
            try:
                await self._write([message for message, _ in group])
            except Exception as error:  # noqa: BLE001 - each waiting call gets it
                failure = error
            for _, written in group:
                if written.done():
                    continue
                if failure:
                    written.set_exception(failure)
                else:
                    written.set_result(None)
        self._flushing = None
