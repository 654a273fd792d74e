"""Until when a request may still be written to the outside world.

A process that was frozen (or a machine that slept) wakes up in the middle of what it was doing. What
it has looked at is old by then: somebody else may have taken over, and a person may have decided.
So whoever writes to a provider asks here at the very last, on a clock that counts sleep, with
nothing between the answer and the socket.
"""

import math
from contextvars import ContextVar

from regulars.lib import clock

# On `clock.boot_seconds`; set by whoever holds the right to send, for the calls that it makes.
deadline: ContextVar[float] = ContextVar("write_by", default=math.inf)


class TooLateError(OSError):
    """The time in which this might be written is over: nothing was written."""

    def __init__(self) -> None:
        super().__init__("the process slept past the time in which it might send")


def check(ends: float | None = None) -> None:
    """Raise TooLateError after the deadline (`ends`, or that of the present call)."""
    if clock.boot_seconds() >= (deadline.get() if ends is None else ends):
        raise TooLateError
