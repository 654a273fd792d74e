"""A run after its sending: its messages in the states that a test is about, counted in two chunks."""

from django.db.models import Max, Min

from regulars.lib import clock
from regulars.runs import partitions
from regulars.runs.models import Message, Run, RunChunk

COUNTED = {"sent": "sent", "delivered": "sent", "read": "sent", "bounced": "sent", "failed": "failed",
           "unknown": "unknown", "withheld": "withheld"}  # fmt: skip


def ended_run(automation, account, states, now, *, state="finished", **fields):
    """A run with one message in each of `states`, the odd ones in a second chunk."""
    # The ids are of the month that it is, and a test before may have purged that.
    partitions.ensure(clock.now())
    run = Run.objects.create(
        organization=automation.organization,
        automation=automation,
        version=automation.current_version,
        state=state,
        due=len(states),
        created_at=now,
        as_of=now,
        planned_at=now,
        finished_at=now if state in ("finished", "cancelled") else None,
    )
    for number in (1, 2):
        _chunk(run, account, number, states[number - 1 :: 2], now)
    for position, message_state in enumerate(states):
        Message.objects.create(
            organization_id=run.organization_id,
            run=run,
            chunk_number=position % 2 + 1,
            automation=automation,
            version_id=run.version_id,
            customer_id=1_000 + position,
            occasion="lapse:2026-01-01",
            purpose="marketing",
            channel="email",
            account_id=account.pk,
            address=f"guest{position}@example.com",
            due_at=now,
            send_after=now,
            created_at=now,
            state_at=now,
            **({"state": message_state, "attempt": 1} | fields),
        )
    enclose(run)
    if state == "finished":
        run.totals = summed(run)
        run.save(update_fields=["totals"])
    return run


def _chunk(run, account, number, states, now):
    columns = [COUNTED[state] for state in states if state in COUNTED]
    open_ones = len(states) - len(columns)
    RunChunk.objects.create(
        run=run,
        number=number,
        account_id=account.pk,
        total=len(states),
        closed=not open_ones,
        next_due=now if open_ones else None,
        **{name: columns.count(name) for name in ("sent", "failed", "unknown", "withheld")},
    )


def enclose(run):
    """Let each chunk know between which ids its messages are, as planning does."""
    for row in Message.objects.filter(run=run).values("chunk_number").annotate(a=Min("id"), z=Max("id")):
        RunChunk.objects.filter(run=run, number=row["chunk_number"]).update(
            first_id=row["a"], last_id=row["z"]
        )


def summed(run):
    """What the chunks count."""
    rows = run.chunks.values("sent", "failed", "unknown", "withheld")
    return {name: sum(row[name] for row in rows) for name in ("sent", "failed", "unknown", "withheld")}


def recounted(run):
    """What the messages themselves say: the counts by delta must come to the same."""
    states = [COUNTED.get(state) for state in Message.objects.filter(run=run).values_list("state", flat=True)]
    return {name: states.count(name) for name in ("sent", "failed", "unknown", "withheld")}
