"""What came in: requests as they were, what guests wrote, and what we confirmed to them."""

from collections.abc import Collection, Sequence

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from regulars.automations.models import ProviderAccount
from regulars.customers.models import Channel, Customer
from regulars.organizations.models import Organization


class Callback(models.Model):
    """One request of a provider as it came, after it was checked. Removed after some days.

    No foreign key in the database: taking one in must lock nothing and look at nothing.
    """

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(
        ProviderAccount, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    # What came after the question mark, the headers that tell something, and the body.
    query = models.TextField(blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    received_at = models.DateTimeField(db_default=Now())
    # When it is to be applied (again); null once that is over.
    due_at = models.DateTimeField(null=True, db_default=Now())
    tries = models.PositiveSmallIntegerField(default=0, db_default=0)
    # Why (a part of) it could not be applied; empty where everything was.
    problem = models.CharField(max_length=300, blank=True, db_default="")

    class Meta:
        db_table = "callbacks"
        indexes = [
            models.Index(fields=["due_at", "id"], name="callbacks_due", condition=Q(due_at__isnull=False)),
        ]


class Intent(models.TextChoices):
    """What a guest meant."""

    STOP = "stop"
    START = "start"
    WRONG_PERSON = "wrong_person"
    TEXT = "text"


class InboundMessage(models.Model):
    """What a guest wrote or chose: one row for each customer who has the address, else one without."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="inbound_messages")
    # SET_NULL: what a guest said stays with the guest, whatever becomes of the account.
    account = models.ForeignKey(ProviderAccount, on_delete=models.SET_NULL, null=True)
    customer = models.ForeignKey(
        Customer, on_delete=models.CASCADE, null=True, related_name="inbound_messages"
    )
    channel = models.CharField(max_length=16, choices=Channel.choices)
    # Normalised; empty for somebody who hides it behind a user name.
    address = models.CharField(max_length=254)
    # What the provider calls it: the same again is the same message.
    key = models.CharField(max_length=255)
    text = models.TextField(blank=True)
    intent = models.CharField(max_length=16, choices=Intent.choices, default=Intent.TEXT)
    # A person should look: it may mean something that no word list knows.
    needs_attention = models.BooleanField(default=False)
    # When the guest said it, and when we heard of it.
    at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        db_table = "inbound_messages"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "key", "customer"], name="one_inbound_message", nulls_distinct=False
            )
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="inbound_by_organization"),
            models.Index(fields=["organization", "key"], name="inbound_by_key"),
            models.Index(fields=["organization"], name="inbound_unread", condition=Q(needs_attention=True)),
            models.Index(fields=["customer", "-at"], name="inbound_by_customer"),
            models.Index(fields=["organization", "address", "-at"], name="inbound_by_address"),
        ]

    @classmethod
    def forget(cls, customers: Sequence[int], organization: Organization, addresses: Collection[str]) -> None:
        """Remove what erased guests wrote, and what came from their addresses before we knew them."""
        cls.objects.filter(customer__in=customers).delete()
        cls.objects.filter(organization=organization, customer=None, address__in=addresses).delete()


class ReplyState(models.TextChoices):
    """A reply is handed over once; `sending` for ever means that nobody knows whether it left."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


class Reply(models.Model):
    """The one confirmation of a stop or start, through the account that the guest wrote to."""

    inbound = models.OneToOneField(
        InboundMessage, on_delete=models.CASCADE, primary_key=True, related_name="reply"
    )
    body = models.TextField()
    state = models.CharField(max_length=8, choices=ReplyState.choices, default=ReplyState.WAITING)
    error = models.CharField(max_length=300, blank=True)
    provider_id = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField()
    state_at = models.DateTimeField()

    class Meta:
        db_table = "replies"
        indexes = [models.Index(fields=["created_at"], name="replies_waiting", condition=Q(state="waiting"))]
