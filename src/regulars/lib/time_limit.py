"""One timer for many waits of equal length.

`asyncio.timeout` gives each wait a timer of its own, and one that was not needed stays in the
loop's heap until its time has come: thousands of them where each of thousands of calls a second may
take seconds. Waits of equal length end in the order in which they began, so a queue and a single
timer for its head do the same.
"""

import asyncio
from collections import deque
from types import TracebackType


class TimeLimit:
    """`with limit.begin():` cancels what is awaited inside after `seconds`, as `asyncio.timeout` does.

    Belongs to one event loop.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waits: deque[_Wait] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> "_Wait":
        """A wait of the present task, to be entered at once.

        Raises, on leaving:
            TimeoutError: its time was over before it ended.
        """
        loop = asyncio.get_running_loop()
        self._forget_ended()
        wait = _Wait(loop.time() + self._seconds)
        self._waits.append(wait)
        if self._timer is None:
            self._timer = loop.call_at(wait.ends, self._look)
        return wait

    def _forget_ended(self) -> None:
        while self._waits and self._waits[0].over:
            self._waits.popleft()

    def _look(self) -> None:
        """At the moment for which the head of the queue once asked; it may have ended since."""
        loop = asyncio.get_running_loop()
        self._timer = None
        self._forget_ended()
        while self._waits and self._waits[0].ends <= loop.time():
            self._waits.popleft().expire()
            self._forget_ended()
        if self._waits:
            self._timer = loop.call_at(self._waits[0].ends, self._look)


class _Wait:
    """One wait of one task."""

    __slots__ = ("_cancelling", "_expired", "_task", "ends", "over")

    def __init__(self, ends: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Only a task can wait")
        self.ends = ends
        self.over = False
        self._expired = False
        self._task = task
        self._cancelling = task.cancelling()

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.over = True
        # Somebody else's cancellation goes on; ours becomes a TimeoutError.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
