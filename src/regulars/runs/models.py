"""The ledger: what was decided about whom, what was handed over, and what came of it.

Message, Skip and Occasion carry no database foreign keys: they cost 3.5x at insert and lock
customers. `runs.invariants` and the erase verb keep them true instead.
"""

import uuid
from typing import Any

from django.db import models
from django.db.models import Q

from regulars.automations.models import Automation, AutomationVersion, ProviderAccount
from regulars.organizations.models import Organization, User


class RunState(models.TextChoices):
    """planning -> sending -> (waiting ->) finished; aside paused, cancelled, failed, missed."""

    PLANNING = "planning"
    SENDING = "sending"
    WAITING = "waiting"
    FINISHED = "finished"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FAILED = "failed"
    MISSED = "missed"


class MessageState(models.TextChoices):
    """The states of a message; the legal transitions are in `runs.states`."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    WITHHELD = "withheld"
    UNKNOWN = "unknown"
    BOUNCED = "bounced"


class Run(models.Model):
    """One execution of one version: the execution log of the ordered document."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="runs")
    automation = models.ForeignKey(Automation, on_delete=models.CASCADE, related_name="runs")
    version = models.ForeignKey(AutomationVersion, on_delete=models.PROTECT, null=True)
    state = models.CharField(max_length=16, choices=RunState.choices, default=RunState.PLANNING)
    # Why it is paused, cancelled, failed or missed, in words.
    reason = models.TextField(blank=True)
    origin = models.CharField(max_length=16, default="manual")
    requested_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    # By a schedule: the slot that it runs for; where it was missed, the first and (if there were
    # more) the last of those that were.
    scheduled_for = models.DateTimeField(null=True)
    scheduled_until = models.DateTimeField(null=True)
    # Customers an event is about; null: everybody who is due.
    subjects = models.JSONField(null=True)
    # The `now` of the decision; null until the run has taken its snapshot.
    as_of = models.DateTimeField(null=True)
    # Somebody asked while this run had already taken its snapshot: another follows at once.
    again = models.BooleanField(default=False)
    due = models.PositiveIntegerField(default=0)
    skipped_by_reason = models.JSONField(default=dict)
    # Totals, copied when the run ends; until then readers sum the chunks.
    totals = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    planned_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # When listeners were last told of its progress.
    told_at = models.DateTimeField(null=True)
    # When its messages were removed for their age: since then its totals are all there is.
    purged_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "automation_logs"
        constraints = [
            models.UniqueConstraint(
                fields=["automation"], name="one_planning_run", condition=Q(state="planning")
            )
        ]
        indexes = [
            models.Index(fields=["automation", "-created_at"], name="runs_by_automation"),
            models.Index(
                fields=["state"],
                name="runs_open",
                condition=Q(state__in=["planning", "sending", "waiting", "paused"]),
            ),
        ]


class RunChunk(models.Model):
    """Up to 2,000 messages of one run, one account and one priority: what a task moves."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    account_id = models.BigIntegerField()
    # Its messages are those of this run and number between these ids.
    first_id = models.BigIntegerField(default=0)
    last_id = models.BigIntegerField(default=0)
    urgent = models.BooleanField(default=False)
    # The chunk whose messages come here after their first channel failed (`runs.fallback`); null: planned.
    source_number = models.PositiveIntegerField(null=True)
    # Raised by each start: a claim, renewal or record with an older epoch matches nothing.
    epoch = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    # The earliest time at which something in it is due; the sweep looks at this.
    next_due = models.DateTimeField(null=True)
    total = models.PositiveIntegerField(default=0)
    sent = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    unknown = models.PositiveIntegerField(default=0)
    withheld = models.PositiveIntegerField(default=0)
    closed = models.BooleanField(default=False)

    class Meta:
        db_table = "run_chunks"
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="one_chunk_per_number")]
        indexes = [
            models.Index(fields=["next_due"], name="chunks_open", condition=Q(closed=False)),
            models.Index(fields=["run"], name="chunks_in_doubt", condition=Q(unknown__gt=0)),
        ]


class Slot(models.Model):
    """A slot of a schedule that has been taken: whoever writes the row runs it, and nobody else does.

    Pruned after some weeks: by then its automation's `next_slot` has long moved on.
    """

    id = models.BigAutoField(primary_key=True)
    automation = models.ForeignKey(Automation, on_delete=models.CASCADE, db_index=False, related_name="slots")
    at = models.DateTimeField()
    taken_at = models.DateTimeField()

    class Meta:
        db_table = "slots"
        constraints = [models.UniqueConstraint(fields=["automation", "at"], name="one_taking_per_slot")]


class AccountBucket(models.Model):
    """What all workers share about one provider account: its rate, its day, and its breaker.

    Made when first needed; an account without limits and without trouble has none.
    """

    account = models.OneToOneField(
        ProviderAccount, on_delete=models.CASCADE, primary_key=True, related_name="bucket"
    )
    # The next moment at which a message may be handed over; what is before it is taken.
    next_slot = models.DateTimeField(null=True)
    # The organization's local day, and how many messages it has used.
    day = models.DateField(null=True)
    day_used = models.PositiveIntegerField(default=0, db_default=0)
    # The breaker: nothing is claimed before this moment, then one message tries.
    paused_until = models.DateTimeField(null=True)
    pause_reason = models.TextField(blank=True, db_default="")
    # How often in a row it had to open; each doubles the pause.
    strikes = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "account_buckets"


class PortfolioContact(models.Model):
    """A guest to whom a business has written by itself in the last 24 hours, by hash of the address.

    WhatsApp counts these for all accounts of one portfolio. Pruned after two days.
    """

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, db_index=False)
    portfolio = models.CharField(max_length=64)
    # SHA-256 of the address.
    address_hash = models.BinaryField(max_length=32)
    # The last time.
    at = models.DateTimeField()

    class Meta:
        db_table = "portfolio_contacts"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "portfolio", "address_hash"], name="one_contact_per_address"
            )
        ]
        indexes = [models.Index(fields=["organization", "portfolio", "at"], name="contacts_by_portfolio")]


class Occasion(models.Model):
    """The guard: at most one message per (automation, customer, occasion). The only guard.

    `message_id` is 0 for a held-out customer.
    """

    pk = models.CompositePrimaryKey("automation_id", "customer_id", "occasion")
    automation_id = models.UUIDField()
    customer_id = models.BigIntegerField()
    occasion = models.CharField(max_length=120)
    kind = models.CharField(max_length=8, default="message")
    message_id = models.BigIntegerField()

    class Meta:
        db_table = "occasions"


class Message(models.Model):
    """What we say to one customer on one occasion; one row whatever becomes of it.

    Stored by month (`runs.partitions`). No index contains what sending changes, the state least of
    all: what is still to come is found through the chunk, whose `first_id` and `last_id` enclose it.
    """

    # The database makes it: the month in the upper bits, a running number below.
    id = models.BigAutoField(primary_key=True)
    organization_id = models.BigIntegerField()
    run = models.ForeignKey(Run, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    chunk_number = models.PositiveIntegerField()
    automation = models.ForeignKey(
        Automation, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    version_id = models.BigIntegerField()
    customer_id = models.BigIntegerField()
    occasion = models.CharField(max_length=120)
    purpose = models.CharField(max_length=16)
    channel = models.CharField(max_length=16)
    account_id = models.BigIntegerField()
    address = models.CharField(max_length=254)
    # What it was planned to cost, in the organization's currency; null: no price was known.
    cost = models.DecimalField(max_digits=14, decimal_places=5, null=True)
    venue_id = models.BigIntegerField(null=True)
    reference = models.BigIntegerField(null=True)
    due_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    send_after = models.DateTimeField()
    state = models.CharField(max_length=16, choices=MessageState.choices, default=MessageState.QUEUED)
    # Reason code of withheld; error class of failed (permanent, temporary, ...).
    reason = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    # The chunk's epoch and the attempt that claimed it: a result of another attempt changes nothing.
    epoch = models.PositiveIntegerField(default=0)
    attempt = models.PositiveSmallIntegerField(default=0)
    provider_id = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField()
    # When the provider accepted it; cooldown and caps count from here.
    accepted_at = models.DateTimeField(null=True)
    state_at = models.DateTimeField()

    class Meta:
        db_table = "messages"
        indexes = [
            models.Index(fields=["run", "id"], name="messages_by_run"),
            models.Index(fields=["customer_id", "-id"], name="messages_by_customer"),
            models.Index(fields=["organization_id", "address"], name="messages_by_address"),
        ]


class MessageTotal(models.Model):
    """What is left of purged messages: how many there were, by month of planning (UTC)."""

    pk = models.CompositePrimaryKey("organization_id", "automation_id", "month", "channel", "state", "reason")
    organization_id = models.BigIntegerField()
    automation_id = models.UUIDField()
    # Its first day.
    month = models.DateField()
    channel = models.CharField(max_length=16)
    state = models.CharField(max_length=16)
    reason = models.CharField(max_length=64)
    number = models.BigIntegerField()

    class Meta:
        db_table = "message_totals"


class PurgedRange(models.Model):
    """Ids of which every message has been purged: an occasion may still name one of them."""

    first_id = models.BigIntegerField(primary_key=True)
    # The first id that is not in it.
    below = models.BigIntegerField()
    messages = models.BigIntegerField()
    at = models.DateTimeField()

    class Meta:
        db_table = "purged_ranges"


class Skip(models.Model):
    """A verdict not to write, unique per (automation, customer, occasion); rewritten only when its
    reason changes, so that a daily run adds no row for a guest it leaves out daily."""

    id = models.BigAutoField(primary_key=True)
    organization_id = models.BigIntegerField()
    automation_id = models.UUIDField()
    customer_id = models.BigIntegerField()
    occasion = models.CharField(max_length=120)
    reason = models.CharField(max_length=32)
    # The automation that wrote instead, or that goes first.
    winner_id = models.UUIDField(null=True)
    run_id = models.UUIDField()
    at = models.DateTimeField()

    class Meta:
        db_table = "skips"
        constraints = [
            models.UniqueConstraint(
                fields=["automation_id", "customer_id", "occasion"], name="one_skip_per_occasion"
            )
        ]
        indexes = [
            models.Index(fields=["run_id", "id"], name="skips_by_run"),
            models.Index(fields=["customer_id", "-id"], name="skips_by_customer"),
        ]


class RunVerdict(models.Model):
    """The verdicts of one run, frozen before anything is written from them.

    UNLOGGED (a crash of the server empties it; planning then restarts from the guard). Removed at
    the end of planning, but for runs by hand, which keep their list for 30 days.
    """

    pk = models.CompositePrimaryKey("run_id", "ordinal")
    run_id = models.UUIDField()
    ordinal = models.IntegerField()
    customer_id = models.BigIntegerField()
    occasion = models.CharField(max_length=120)
    due_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    send_after = models.DateTimeField()
    venue_id = models.BigIntegerField(null=True)
    reference = models.BigIntegerField(null=True)
    # Null: send.
    reason = models.CharField(max_length=32, null=True)
    # The automation that wrote instead, or that goes first.
    winner_id = models.UUIDField(null=True)
    channel = models.CharField(max_length=16, null=True)
    account_id = models.BigIntegerField(null=True)
    address = models.CharField(max_length=254, null=True)
    cost = models.DecimalField(max_digits=14, decimal_places=5, null=True)

    class Meta:
        db_table = "run_verdicts"


class DeliveryEvent(models.Model):
    """A later fact: from the provider, a look-up, or a person who settled an unknown. Append-only."""

    id = models.BigAutoField(primary_key=True)
    message_id = models.BigIntegerField()
    kind = models.CharField(max_length=32)
    attempt = models.PositiveSmallIntegerField(default=0)
    actor = models.CharField(max_length=200, blank=True)
    raw: Any = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        db_table = "delivery_events"
        indexes = [models.Index(fields=["message_id", "id"], name="events_by_message")]


class SandboxMessage(models.Model):
    """The outbox of the sandbox provider: what would have reached a guest, written outside the
    ledger's transactions as the outside world would be."""

    id = models.BigAutoField(primary_key=True)
    organization_id = models.BigIntegerField()
    account_id = models.BigIntegerField()
    message_id = models.BigIntegerField()
    channel = models.CharField(max_length=16)
    address = models.CharField(max_length=254)
    subject = models.TextField(blank=True)
    body = models.TextField()
    # E-mail only: what a mail program would show.
    html = models.TextField(blank=True, db_default="")
    at = models.DateTimeField()

    class Meta:
        db_table = "sandbox_outbox"
        indexes = [
            models.Index(fields=["organization_id", "-id"], name="outbox_by_organization"),
            models.Index(fields=["message_id"], name="outbox_by_message"),
        ]
