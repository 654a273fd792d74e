"""Where the worlds' processes come from: one process with the product loaded, which forks.

Starting the interpreter and loading the product costs two seconds of processor time, a fork costs
milliseconds; so a test can afford hundreds of killed workers. The nursery itself never touches a
database: each child gets to know that of its world. Orders are lines of JSON on standard input:

    {"command": ["worker"], "environment": {...}}   -> {"pid": 7}, and later {"ended": 7, "code": -9}
    {"call": "module:function", "arguments": {...}}  -> the same; the result is written to "result"
"""

import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from pathlib import Path

_DIE_WITH_PARENT = 1


def main():
    _load()
    ends, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    chosen = selectors.DefaultSelector()
    chosen.register(sys.stdin, selectors.EVENT_READ)
    chosen.register(ends, selectors.EVENT_READ)
    say({"ready": True})
    while True:
        for key, _ in chosen.select():
            if key.fileobj is ends:
                os.read(ends, 1024)
                bury()
            elif line := sys.stdin.readline():
                say({"pid": bear(json.loads(line))})
            else:
                return


def _load():
    """All that a worker imports; no connection, no thread."""
    import django

    django.setup()
    for name in ("sending", "preparing", "planning", "worker", "outbox", "engine"):
        importlib.import_module(f"regulars.runs.{name}")
    for name in ("regulars.cli.serving", "regulars.asgi", "tests.crashes.world"):
        importlib.import_module(name)
    # The children share it, unless their collectors look through it.
    gc.freeze()


def say(document):
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def bury():
    """Report every child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def bear(order):
    """Fork a child that carries out the order; its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        _alone(order.get("log"))
        _move_into(order["environment"])
        code = _carry_out(order)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code or 0)


def _alone(log):
    """Nothing of the nursery's: its pipes, its signal handlers; the child dies with it, though."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if log else nothing
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _move_into(environment):
    """What is loaded knows no world yet: the one of this environment."""
    from django.conf import settings
    from django.db import connections

    from regulars.settings import database

    os.environ.update(environment)
    settings.DATABASE_URL = environment["DATABASE_URL"]
    known = connections.configure_settings({"default": database(settings.DATABASE_URL)})
    connections.settings["default"].clear()
    connections.settings["default"].update(known["default"])


def _carry_out(order):
    from tests.crashes import armed

    armed.arm(os.environ)
    if "command" in order:
        from regulars.cli import main as command_line

        sys.argv = ["regulars", *order["command"]]
        command_line()
        return 0
    module, name = order["call"].split(":")
    result = getattr(importlib.import_module(module), name)(**order["arguments"])
    written = Path(order["result"] + ".part")
    written.write_text(json.dumps(result))
    written.rename(order["result"])
    return 0


if __name__ == "__main__":
    main()
