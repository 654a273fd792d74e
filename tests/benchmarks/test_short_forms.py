"""Every benchmark runs, in a short form: the tables in docs/performance.md can be made again.

No figure is looked at: a busy machine would decide. What is checked is that both sides did all of the
work, which a benchmark must know before its figures mean anything.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("cc"), reason="the benchmarks' sink needs a C compiler"),
]


def benchmark(name, *arguments, seconds=240):
    """Run a benchmark to its end; what it printed."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REGULARS_HOME")
    }
    environment["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_run_beside_the_ideal_loop(tmp_path):
    results = tmp_path / "results.json"
    told = benchmark(
        "sending", "--messages", "300", "--pairs", "1", "--workers", "1", "--results", str(results)
    )
    assert told.count("{'sent': 300}") == 2, told
    assert json.loads(results.read_text())


def test_mail_beside_the_ideal_loop():
    told = benchmark("smtp", "--messages", "200", "--pairs", "1", "--workers", "1", "--sinks", "ours")
    assert told.count("{'sent': 200}") == 2, told


def test_mail_in_batches_beside_the_ideal_loop():
    told = benchmark("batches", "--messages", "300", "--pairs", "1", "--workers", "1")
    assert told.count("{'sent': 300}") == 2, told


def test_the_rate_of_an_account():
    told = benchmark("rate", "--rate", "20", "--seconds", "2", "--workers", "2", "--only", "steady")
    assert "| steady" in told, told


def test_a_tick_beside_a_bare_question():
    told = benchmark("ticks", "--automations", "200", "--ticks", "20")
    assert "a tick" in told, told


def test_choosing_beside_sql_by_hand():
    told = benchmark(
        "choosing",
        *("--customers", "3000", "--visits", "12000", "--messages", "2000", "--audience", "400"),
        *("--pairs", "1"),
    )
    assert "ratio" in told, told


def test_a_booking_is_confirmed():
    told = benchmark("confirmation", "--bookings", "2", "--guests", "500")
    assert "from the answer to the hand-over" in told, told


def test_callbacks_beside_a_bare_endpoint():
    told = benchmark("callbacks", "--requests", "300", "--connections", "8", "--pairs", "1")
    assert "ratio (ours / bare)" in told, told
