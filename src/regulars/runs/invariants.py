"""What must always be true of the ledger; read-only, for tests, the doctor, and production.

The ledger's tables carry no foreign keys (they cost 3.5x at insert), so these queries watch instead.
"""

from dataclasses import dataclass

from regulars.lib import sql


@dataclass(frozen=True, slots=True)
class Invariant:
    """A sentence that must hold, and a query that counts where it does not."""

    sentence: str
    query: str


INVARIANTS = (
    Invariant(
        "at most one message per automation, guest and occasion has left or may leave",
        """SELECT count(*) FROM (
             SELECT 1 FROM messages WHERE state <> 'withheld'
              GROUP BY automation_id, customer_id, occasion HAVING count(*) > 1) twice""",
    ),
    Invariant(
        "every message that has left or may leave holds its occasion",
        """SELECT count(*) FROM messages m
            WHERE m.state <> 'withheld' AND NOT EXISTS (
              SELECT 1 FROM occasions o
               WHERE o.automation_id = m.automation_id AND o.customer_id = m.customer_id
                 AND o.occasion = m.occasion AND o.message_id = m.id)""",
    ),
    Invariant(
        "every occasion that is held names its message, or one that was purged",
        """SELECT count(*) FROM occasions o
            WHERE o.kind = 'message' AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = o.message_id)
              AND NOT EXISTS (SELECT 1 FROM purged_ranges p
                               WHERE o.message_id >= p.first_id AND o.message_id < p.below)""",
    ),
    Invariant(
        "a finished run has no message still to come",
        """SELECT count(*) FROM messages m JOIN automation_logs r ON r.id = m.run_id
            WHERE r.state = 'finished' AND m.state IN ('queued', 'sending')""",
    ),
    Invariant(
        "a run that was stopped a minute ago has nothing that waits to be sent",
        """SELECT count(*) FROM messages m JOIN automation_logs r ON r.id = m.run_id
            WHERE r.state IN ('cancelled', 'failed') AND r.finished_at < now() - interval '1 minute'
              AND m.state = 'queued'""",
    ),
    Invariant(
        "the counts of a closed chunk are those of its messages",
        """SELECT count(*) FROM run_chunks c
            WHERE c.closed AND c.total <> c.sent + c.failed + c.unknown + c.withheld""",
    ),
    Invariant(
        "the totals of a finished run are those of its chunks",
        """SELECT count(*) FROM automation_logs r
             JOIN LATERAL (SELECT jsonb_build_object('sent', sum(sent), 'failed', sum(failed),
                                                     'unknown', sum(unknown), 'withheld', sum(withheld)) AS it
                             FROM run_chunks c WHERE c.run_id = r.id HAVING count(*) > 0) sums ON TRUE
            WHERE r.state = 'finished'
              AND sums.it <> '{"sent": 0, "failed": 0, "unknown": 0, "withheld": 0}' || r.totals""",
    ),
    Invariant(
        "nothing is being sent in a chunk that nobody has owned for a minute",
        """SELECT count(*) FROM messages m
             JOIN run_chunks c ON c.run_id = m.run_id AND c.number = m.chunk_number
             JOIN automation_logs r ON r.id = m.run_id AND r.state IN ('planning', 'sending', 'waiting')
            WHERE m.state = 'sending' AND c.lease_until < now() - interval '1 minute'""",
    ),
    Invariant(
        "every message is to a guest of its own organization",
        """SELECT count(*) FROM messages m JOIN customers c ON c.id = m.customer_id
            WHERE c.organization_id <> m.organization_id""",
    ),
)

_of_packs: list[Invariant] = []


def register(invariant: Invariant) -> None:
    """A pack tells what must be true of its tables."""
    _of_packs.append(invariant)


def violations() -> dict[str, int]:
    """The sentences that do not hold, each with the number of places; empty when all is well."""
    found = {}
    for invariant in (*INVARIANTS, *_of_packs):
        number = sql.fetch_rows(invariant.query)[0]["count"]
        if number:
            found[invariant.sentence] = number
    return found
