"""Whom we tell, what is to be told, and how each attempt went."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from regulars.organizations.models import Organization


class Endpoint(models.Model):
    """An address of another program that wants to hear of some events."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="endpoints")
    url = models.CharField(max_length=2000)
    events = ArrayField(models.CharField(max_length=32))
    # The key of the signature, sealed with a key that lives outside the database.
    sealed_secret = models.TextField()
    # Since when every attempt has failed; null while it works.
    failing_since = models.DateTimeField(null=True)
    # Why it is told nothing any more; empty while it is.
    disabled_reason = models.TextField(blank=True)
    # Delivery events of messages up to this id have been looked at.
    cursor = models.BigIntegerField(default=0)
    # What ended before is not told.
    created_at = models.DateTimeField()

    class Meta:
        db_table = "webhook_endpoints"


class Told(models.Model):
    """How far an endpoint has been told of a run (its state) or a chunk (its epoch and counts)."""

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, db_index=False)
    # `run:<id>` or `chunk:<id>`.
    subject = models.CharField(max_length=64)
    mark = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        db_table = "webhook_told"
        constraints = [models.UniqueConstraint(fields=["endpoint", "subject"], name="one_mark_per_subject")]


class DeliveryState(models.TextChoices):
    """A delivery is tried until it is taken, or for a day."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(models.Model):
    """One event for one endpoint. Its id goes with every attempt, so that a receiver knows it again."""

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="deliveries")
    event_id = models.UUIDField()
    event = models.CharField(max_length=32)
    payload = models.JSONField()
    state = models.CharField(max_length=16, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "webhook_deliveries"
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event_id"], name="one_delivery_per_event")
        ]
        indexes = [
            models.Index(fields=["next_at"], name="deliveries_waiting", condition=models.Q(state="waiting"))
        ]


class Attempt(models.Model):
    """One try to deliver: the status of the answer, or why there was none."""

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tries")
    status = models.PositiveSmallIntegerField(null=True)
    problem = models.CharField(max_length=300, blank=True)
    milliseconds = models.PositiveIntegerField()
    at = models.DateTimeField()

    class Meta:
        db_table = "webhook_attempts"
        indexes = [models.Index(fields=["at"], name="webhook_attempts_by_time")]
