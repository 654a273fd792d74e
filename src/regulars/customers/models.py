"""The people we may know how to reach, how, and what they allowed. Knows nothing of why we write."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from regulars.organizations.models import Organization


class Channel(models.TextChoices):
    """A medium. Vendors are providers."""

    WHATSAPP = "whatsapp"
    SMS = "sms"
    EMAIL = "email"


class Purpose(models.TextChoices):
    """Why a message is lawful: marketing needs consent, transactional answers the guest's own act."""

    MARKETING = "marketing"
    TRANSACTIONAL = "transactional"


class Customer(models.Model):
    """A person we may know how to reach (a guest, in the interface)."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="customers")
    external_id = models.CharField(max_length=200, null=True)
    first_name = models.CharField(max_length=200, blank=True)
    last_name = models.CharField(max_length=200, blank=True)
    # Day and month apart from the year: a birthday without a year is a valid birthday (E4).
    birth_month = models.PositiveSmallIntegerField(null=True)
    birth_day = models.PositiveSmallIntegerField(null=True)
    birth_year = models.PositiveSmallIntegerField(null=True)
    language = models.CharField(max_length=8, blank=True)
    timezone = models.CharField(max_length=64, blank=True)
    tier = models.CharField(max_length=64, blank=True)
    tags = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    # Deceased, banned, staff, test, press, erased: above everything (E34).
    do_not_contact = models.BooleanField(default=False)
    do_not_contact_reason = models.CharField(max_length=64, blank=True)
    # The guest who this one turned out to be (`runs.merging`): this row only redirects to that one.
    merged_into = models.ForeignKey(
        "self",
        on_delete=models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="merged",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "customers"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "external_id"], name="one_customer_per_external_id"
            )
        ]
        indexes = [
            # The birthday trigger asks for a handful of (month, day) pairs.
            models.Index(
                fields=["organization", "birth_month", "birth_day"],
                name="customers_by_birthday",
                condition=models.Q(birth_month__isnull=False),
            ),
            models.Index(
                fields=["organization", "tier"], name="customers_by_tier", condition=~models.Q(tier="")
            ),
            GinIndex(fields=["tags"], name="customers_by_tag"),
            # Which zones there are, for quiet hours: most guests have none.
            models.Index(
                fields=["organization", "timezone"],
                name="customers_by_timezone",
                condition=models.Q(timezone__gt=""),
            ),
            models.Index(
                fields=["merged_into"],
                name="customers_merged",
                condition=models.Q(merged_into__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or f"Guest {self.pk}"


class TierChange(models.Model):
    """A customer rose or fell to a tier, append-only: a VIP reward on the rise reads this (E46)."""

    id = models.BigAutoField(primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="tier_changes")
    tier_before = models.CharField(max_length=64, blank=True)
    tier = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField()

    class Meta:
        db_table = "tier_changes"
        indexes = [
            models.Index(fields=["customer", "-at"], name="tier_changes_by_time"),
            # Who has risen lately: a few of all the changes there ever were.
            models.Index(fields=["at"], name="tier_changes_by_moment"),
        ]


class Address(models.Model):
    """One normalised way to reach a customer on one channel (E.164, or the canonical e-mail form).

    On WhatsApp also a business-scoped user id (`ES.1349…`), which only accounts of its `portfolio`
    can write to: a guest with a user name may hide the number.
    """

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="addresses")
    channel = models.CharField(max_length=16, choices=Channel.choices)
    address = models.CharField(max_length=254)
    # HMAC-SHA256 of the address under the organization's key; suppressions match on it.
    fingerprint = models.BinaryField(max_length=32)
    # Lower is tried first.
    position = models.PositiveSmallIntegerField(default=0)
    # Why this address must not be tried: a permanent answer of a provider, a landline for SMS (E26).
    bad_reason = models.CharField(max_length=64, blank=True)
    bad_since = models.DateTimeField(null=True)
    # The business whose accounts know it; empty: anybody may write to it.
    portfolio = models.CharField(max_length=64, blank=True, db_default="")
    # When the guest last wrote from it (`customers.service_window`).
    last_inbound_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "addresses"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "channel", "address"], name="one_row_per_customer_address"
            )
        ]
        indexes = [models.Index(fields=["organization", "address"], name="addresses_by_text")]


class Consent(models.Model):
    """Append-only evidence that a customer granted or withdrew a purpose on a channel.

    The row of (customer, channel, purpose) that decides is marked `is_current`; the mark can be taken
    away, and nothing else of a row ever changes: a trigger in the database refuses it. A partial unique
    index keeps the mark unique. Write through `customers.consent`.
    """

    id = models.BigAutoField(primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="consents")
    channel = models.CharField(max_length=16, choices=Channel.choices)
    purpose = models.CharField(max_length=16, choices=Purpose.choices, default=Purpose.MARKETING)
    granted = models.BooleanField()
    basis = models.CharField(max_length=32, default="consent")
    source = models.CharField(max_length=200, blank=True)
    # What the customer was shown, and which version of it.
    wording = models.TextField(blank=True)
    wording_version = models.CharField(max_length=64, blank=True, db_default="")
    # What proves it: the message whose link was used, the line of a file, the number of a form.
    evidence = models.JSONField(default=dict, blank=True, db_default={})
    actor = models.CharField(max_length=200, blank=True)
    # When the customer said so; `recorded_at` is when we learned of it.
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(auto_now_add=True)
    is_current = models.BooleanField(default=True)

    class Meta:
        db_table = "consents"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "channel", "purpose"],
                name="one_current_consent",
                condition=models.Q(is_current=True),
            )
        ]
        indexes = [models.Index(fields=["customer", "-id"], name="consents_by_customer")]


class Suppression(models.Model):
    """A hard stop for an address, whatever the consent: bounce, complaint, STOP, manual."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    # Empty: all channels.
    channel = models.CharField(max_length=16, choices=Channel.choices, blank=True)
    fingerprint = models.BinaryField(max_length=32)
    reason = models.CharField(max_length=64)
    source = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "suppressions"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "fingerprint", "channel"], name="one_suppression_per_address"
            )
        ]


class HashedSuppression(models.Model):
    """A stop that came as the SHA-256 of an address, which we may not know yet.

    A trigger on `addresses` makes a Suppression of it for each address that fits, whoever writes it.
    """

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, db_index=False)
    # Empty: all channels.
    channel = models.CharField(max_length=16, choices=Channel.choices, blank=True)
    digest = models.BinaryField(max_length=32)
    reason = models.CharField(max_length=64)
    source = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "hashed_suppressions"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "digest", "channel"], name="one_hashed_suppression_per_digest"
            )
        ]
