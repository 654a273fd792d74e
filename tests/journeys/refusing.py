"""Commands that must fail, and what they say."""

import subprocess
import sys


def refused(environment, *command, **options):
    """What a command that must fail says."""
    done = subprocess.run(
        [sys.executable, "-m", "regulars", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr
