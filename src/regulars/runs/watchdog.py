"""The watchdog: a thread that replaces a worker process in which something hangs.

What must go on is a `Sign`: it shows itself, and counts how often it was missed in a row. The
watchdog looks once a second. At the limit it writes every stack to standard error and replaces the
process image by a fresh one: same command, same pid, so that whoever keeps the process (systemd, a
container, `regulars up`) need not know. Connections, locks and provider sockets close with the old
image; what it had claimed is taken over as after a kill.

It counts looks, not seconds: a process that was frozen for an hour has missed one look when it
wakes, and may still record what its last calls said.

Behind it stands a second one, in C, for what keeps even this thread from running (a library that
never gives the interpreter lock back): every look puts it off by `BACKSTOP_SECONDS`. It can only
end the process, by the clock; a process frozen longer than that may so end when it wakes.
"""

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

import structlog

LOOK_SECONDS = 1.0
BACKSTOP_SECONDS = 180.0
# The loop is busy for a tenth of a second at most; this is for machines that are overloaded.
LOOP_LOOKS = 20
# Writing the stacks must not hang where the rest does (a pipe that nobody reads).
_TELLING_SECONDS = 3.0

log = structlog.get_logger("regulars.watchdog")


def never() -> bool:
    """No excuse."""
    return False


class Sign:
    """Something that must show itself before it has been missed `limit` times in a row.

    While `excused`, it is not missed. `otherwise` is what happens at the limit.
    """

    def __init__(
        self, name: str, limit: int, excused: Callable[[], bool], otherwise: Callable[[str], None]
    ) -> None:
        self.name = name
        self.limit = limit
        self.excused = excused
        self.otherwise = otherwise
        self.missed = 0

    def show(self) -> None:
        """It goes on."""
        self.missed = 0

    def is_missed(self) -> bool:
        """One look: whether it has now been missed too often."""
        self.missed = 0 if self.excused() else self.missed + 1
        return self.missed > self.limit


class Watchdog:
    """Looks at the signs of one process, once a second, from a thread of its own."""

    def __init__(self, replace: Callable[[str], None] | None = None) -> None:
        self._replace = replace or self._replace_process
        self._signs: list[Sign] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        _remember_death_signal()
        self._thread.start()

    def end(self) -> None:
        """Look no more: the work is over."""
        self._ended.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def guard(self, loop: asyncio.AbstractEventLoop) -> None:
        """The event loop must turn."""
        self._loop = loop
        self._turns = self.expect("the event loop", LOOP_LOOKS)

    def expect(
        self,
        name: str,
        looks: int,
        *,
        excused: Callable[[], bool] = never,
        otherwise: Callable[[str], None] | None = None,
    ) -> Sign:
        """From now on `name` must show itself at least every so many looks."""
        sign = Sign(name, looks, excused, otherwise or self._replace)
        self._signs.append(sign)
        return sign

    def dismiss(self, sign: Sign) -> None:
        """It is over, and no longer missed."""
        with contextlib.suppress(ValueError):
            self._signs.remove(sign)

    def finish_within(self, looks: int, otherwise: Callable[[str], None]) -> None:
        """Nothing must go on any longer, but the process must have ended within so many looks."""
        self._signs = [Sign("the end of the process", looks, never, otherwise)]
        self._loop = None

    def look(self) -> None:
        """One look at every sign."""
        if self._loop is not None:
            # Refused by a loop that is closed: then it is missed, as it should be.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._turns.show)
        for sign in tuple(self._signs):
            if sign.is_missed():
                sign.otherwise(sign.name)

    def _replace_process(self, what: str) -> None:
        telling = threading.Thread(target=_tell, args=(what, self._loop), daemon=True)
        telling.start()
        telling.join(_TELLING_SECONDS)
        replace_process()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            faulthandler.dump_traceback_later(BACKSTOP_SECONDS, exit=True)
            self.look()


def replace_process() -> NoReturn:
    """Become a fresh process of the same command, under the same pid."""
    if not _pass_on_death_signal():
        # Whoever should have ended us is gone already.
        os._exit(0)
    # Whoever asks us to end in this moment is heard by the next image, as soon as it can listen.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "regulars", *sys.argv[1:]]
    try:
        os.execv(sys.executable, command)  # noqa: S606
    finally:
        # The programs are gone, as in the middle of an upgrade: whoever keeps us starts the new ones.
        os._exit(1)


def _tell(what: str, loop: asyncio.AbstractEventLoop | None) -> None:
    log.error("a hanging worker is replaced", hangs=what)
    faulthandler.dump_traceback(all_threads=True)
    for task in asyncio.all_tasks(loop) if loop else ():
        task.print_stack(limit=6, file=sys.stderr)


# The kernel tells a child of its parent's death thread by thread, and of the threads of a process
# only the one that replaces its image lives on: it must have the wish that the first one had.
_SET_DEATH_SIGNAL, _GET_DEATH_SIGNAL = 1, 2
_death: dict[str, int] = {"signal": 0, "parent": 0}


def _remember_death_signal() -> None:
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    found = ctypes.c_int()
    ctypes.CDLL(None).prctl(_GET_DEATH_SIGNAL, ctypes.byref(found))
    _death.update(signal=found.value, parent=os.getppid())


def _pass_on_death_signal() -> bool:
    """Take over the wish of the first thread; False when the parent has died before that."""
    if not _death["signal"]:
        return True
    import ctypes

    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, _death["signal"])
    return os.getppid() == _death["parent"]
