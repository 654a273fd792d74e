"""Named places at which a crash test may kill, freeze or stop the process.

In the product `reach` does nothing, and no setting can change that: only the tests' own entry point
puts something into `hook`. Each name stands where a kill leaves a different state behind.
"""

from collections.abc import Callable

POINTS = (
    # Planning: before the snapshot, verdicts frozen, a slice written, its jobs deferred (all inside
    # their transactions), a slice committed, the run handed to the senders.
    "planning.start",
    "planning.frozen",
    "planning.sliced",
    "planning.deferred",
    "planning.committed",
    "planning.finished",
    # Sending: a chunk taken, rows claimed (before and after the commit), each call before the last
    # look at the lease and after its answer, the record before, inside and after its transaction.
    "chunk.taken",
    "claim.inside",
    "claim.committed",
    "call.before",
    "call.after",
    "record.before",
    "record.inside",
    "record.committed",
    # A refused message moved to its next way, before and after the commit of what recorded the refusal.
    "fallback.inside",
    "fallback.committed",
    "release.before",
    "finish.inside",
    "finish.committed",
    # Afterwards: a provider's report, a person's decision.
    "report.inside",
    "report.committed",
    "settle.inside",
    "settle.committed",
)

hook: Callable[[str], None] | None = None


def reach(point: str) -> None:
    """Say that this point has been reached."""
    if hook is not None:
        hook(point)
