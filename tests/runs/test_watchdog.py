"""What hangs is replaced, and nothing else is."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests import live

from regulars.runs.watchdog import Watchdog

# A process whose watchdog looks twenty times a second and gives the loop a second.
PROGRAM = """
import asyncio, ctypes, os, sys, threading, time
import regulars.runs.watchdog as watchdog

watchdog.LOOK_SECONDS, watchdog.LOOP_LOOKS = 0.05, 20
watchdog.BACKSTOP_SECONDS = float(os.environ.get("BACKSTOP", 60))

async def main(hang):
    dog = watchdog.Watchdog()
    dog.start()
    dog.guard(asyncio.get_running_loop())
    while True:
        print("turning", flush=True)
        await asyncio.sleep(0.2)
        hang()

def never(): pass
def loop(): time.sleep(60)
def interpreter(): ctypes.PyDLL(None).sleep(60)

hang = globals()[os.environ["HANG"]]
asyncio.run(main(hang))
"""


@pytest.fixture
def missed():
    return []


@pytest.fixture
def watchdog(missed):
    return Watchdog(replace=missed.append)


def look(watchdog, times):
    for _ in range(times):
        watchdog.look()


def test_what_shows_itself_is_left_alone(watchdog, missed):
    sign = watchdog.expect("polling", 3)
    for _ in range(10):
        look(watchdog, 3)
        sign.show()
    assert missed == []


def test_what_is_missed_too_often_is_named(watchdog, missed):
    watchdog.expect("polling", 3)
    look(watchdog, 3)
    assert missed == []
    look(watchdog, 1)
    assert missed == ["polling"]


def test_what_has_an_excuse_is_not_missed_and_begins_anew(watchdog, missed):
    excuses = [True]
    watchdog.expect("polling", 3, excused=lambda: excuses[0])
    look(watchdog, 20)
    excuses[0] = False
    look(watchdog, 3)
    assert missed == []
    look(watchdog, 1)
    assert missed == ["polling"]


def test_what_is_over_is_not_missed(watchdog, missed):
    watchdog.dismiss(watchdog.expect("a task", 3))
    look(watchdog, 10)
    assert missed == []


def test_a_stop_that_does_not_end_is_cut_and_nothing_else_counts(watchdog, missed):
    cut = []
    watchdog.expect("polling", 3)
    watchdog.finish_within(5, cut.append)
    look(watchdog, 5)
    assert (missed, cut) == ([], [])
    look(watchdog, 1)
    assert (missed, cut) == ([], ["the end of the process"])


def test_a_loop_that_turns_is_not_missed_and_a_blocked_one_is(watchdog, missed):
    loop = asyncio.new_event_loop()
    blocked = threading.Event()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        watchdog.guard(loop)
        for _ in range(50):
            watchdog.look()
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
        assert missed == []
        loop.call_soon_threadsafe(blocked.wait)
        look(watchdog, 25)
        assert missed[0] == "the event loop"
    finally:
        blocked.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def start(hang, *arguments, program=PROGRAM, **environment):
    known = live.environment("postgresql://nobody@127.0.0.1:1/none", "/nonexistent") | environment
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=known | {"HANG": hang},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


@pytest.mark.slow
def test_a_process_whose_loop_hangs_becomes_a_fresh_one_of_the_same_command():
    process = start("loop", "--help")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.count("turning") == 1
    assert "Usage: regulars" in out
    assert "hangs='the event loop'" in out
    assert "in loop" in error, "no word of where it hangs"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and only Linux tells of a parent's death")
def test_the_fresh_process_has_the_same_pid_and_still_dies_with_its_parent():
    inner = PROGRAM.replace(
        "async def main", "ctypes.CDLL(None).prctl(1, 15)\n\nasync def main", 1
    )  # PR_SET_PDEATHSIG, SIGTERM
    outer = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1], 'worker']); print(child.pid, flush=True); child.wait()"
    parent = subprocess.Popen(
        [sys.executable, "-c", outer, inner],
        env=live.environment("postgresql://nobody@127.0.0.1:1/none", "/nonexistent") | {"HANG": "loop"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    pid = int(parent.stdout.readline())
    try:
        live.wait_until(
            lambda: command_of(pid)[1:4] == ["-m", "regulars", "worker"], seconds=30, what="the replacement"
        )
        parent.kill()
        parent.wait()
        live.wait_until(lambda: not Path(f"/proc/{pid}").exists(), seconds=20, what="the worker's end")
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.slow
def test_a_process_that_was_frozen_for_long_is_not_replaced_when_it_wakes():
    process = start("never", "--help")
    try:
        for _ in range(2):
            assert process.stdout.readline() == "turning\n"
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            process.send_signal(signal.SIGCONT)
            for _ in range(3):
                assert process.stdout.readline() == "turning\n"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_library_that_keeps_the_interpreter_for_itself_is_ended():
    process = start("interpreter", "--help", BACKSTOP="1")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Timeout" in error
    assert "in interpreter" in error
