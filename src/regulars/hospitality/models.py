"""What a restaurant knows of its guests: where they ate, and when they come."""

from django.db import models

from regulars.customers.models import Customer
from regulars.organizations.models import Organization, check_timezone


class Venue(models.Model):
    """A place with a time zone."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="venues")
    external_id = models.CharField(max_length=200, null=True)
    name = models.CharField(max_length=200)
    timezone = models.CharField(max_length=64, validators=[check_timezone])
    currency = models.CharField(max_length=3, default="EUR")
    # Local hour at which a service day begins: what happens before it belongs to the evening before (E8).
    day_starts_at_hour = models.PositiveSmallIntegerField(default=5)
    # Its own quiet hours (`automations.quiet_hours`), as JSON; null: those of the organization.
    quiet_hours = models.JSONField(null=True, blank=True)

    class Meta:
        db_table = "venues"
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="one_venue_per_name")]

    def __str__(self) -> str:
        return self.name


class VisitState(models.TextChoices):
    """What became of a visit. Only a completed one counts: unknown is not a visit (E14)."""

    COMPLETED = "completed"
    OPEN = "open"
    VOIDED = "voided"


class Visit(models.Model):
    """A guest ate here. A no-show is not a visit (E13)."""

    id = models.BigAutoField(primary_key=True)
    # No index of its own: that of `external_id` begins with it.
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, db_index=False)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="visits")
    venue = models.ForeignKey(Venue, on_delete=models.PROTECT, related_name="visits")
    external_id = models.CharField(max_length=200, null=True)
    # When the visit ended, as far as the source knows.
    visited_at = models.DateTimeField()
    # The venue's local service day of `visited_at`: fixed at writing, so that "days since" is a
    # difference of dates that an index can answer (E7, E8).
    service_date = models.DateField()
    amount = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    currency = models.CharField(max_length=3, blank=True)
    party_size = models.PositiveSmallIntegerField(null=True)
    state = models.CharField(max_length=16, choices=VisitState.choices, default=VisitState.COMPLETED)

    class Meta:
        db_table = "visits"
        constraints = [
            models.UniqueConstraint(fields=["organization", "external_id"], name="one_visit_per_external_id")
        ]
        indexes = [
            models.Index(
                fields=["customer", "-service_date"],
                name="visits_by_customer",
                condition=models.Q(state="completed"),
            ),
            models.Index(
                fields=["organization", "visited_at"],
                name="visits_by_time",
                condition=models.Q(state="completed"),
            ),
        ]


class VisitSummary(models.Model):
    """How often a guest came and when last, over completed visits only; nobody without one has a row.

    Triggers on `visits` keep it true, whoever writes there and however (the ORM, an import, COPY, a
    person at a prompt): nothing else may write here. The last visit is the greatest by service day,
    moment and id. Without database foreign keys: a row lives and dies with visits, which have them.
    """

    customer = models.OneToOneField(
        Customer, on_delete=models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="+"
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    completed = models.PositiveIntegerField()
    last_visit = models.ForeignKey(
        Visit, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    last_venue = models.ForeignKey(
        Venue, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    last_visited_at = models.DateTimeField()
    last_service_date = models.DateField()

    class Meta:
        db_table = "visit_summaries"
        indexes = [
            models.Index(fields=["organization", "last_service_date"], name="guests_by_last_visit"),
        ]


class ReservationState(models.TextChoices):
    """The life of a booking; `seated` and `completed` say that the guest came."""

    REQUESTED = "requested"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"
    SEATED = "seated"
    COMPLETED = "completed"


class Reservation(models.Model):
    """A guest will eat here."""

    id = models.BigAutoField(primary_key=True)
    # No index of its own: that of `external_id` begins with it.
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, db_index=False)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="reservations")
    venue = models.ForeignKey(Venue, on_delete=models.PROTECT, related_name="reservations")
    external_id = models.CharField(max_length=200, null=True)
    starts_at = models.DateTimeField()
    party_size = models.PositiveSmallIntegerField(null=True)
    status = models.CharField(
        max_length=16, choices=ReservationState.choices, default=ReservationState.CONFIRMED
    )
    # When it became confirmed: a confirmation is late relative to this moment (E15).
    confirmed_at = models.DateTimeField(null=True)
    # Raised by each change of time, venue or party size (E12).
    revision = models.PositiveIntegerField(default=0)
    # When a confirmed booking was last changed so, and when it was cancelled: notices are late
    # relative to these moments. Null: never, or nobody knows when.
    changed_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "reservations"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "external_id"], name="one_reservation_per_external_id"
            )
        ]
        indexes = [
            models.Index(fields=["customer", "starts_at"], name="reservations_by_customer"),
            models.Index(
                fields=["organization", "confirmed_at"],
                name="reservations_by_confirmation",
                condition=models.Q(status="confirmed"),
            ),
            # Who has promised to come (`upcoming`): the few that are still ahead, not all there ever were.
            models.Index(
                fields=["organization", "starts_at"],
                include=["customer"],
                name="reservations_promised",
                condition=models.Q(status__in=["requested", "confirmed"]),
            ),
        ]
