"""Every benchmark runs, in a short form: the tables in docs/performance.md can be made again.

No figure is looked at: a busy machine would decide. What is checked is that both sides did all of the
work, which a benchmark must know before its figures mean anything.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = [
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
