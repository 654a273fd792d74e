"""What is to be said, to whom, on what occasion: intent, frozen in versions. Runs nothing."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from regulars.customers.models import Channel
from regulars.organizations.models import Organization, User


class ProviderAccount(models.Model):
    """The owner's configured access to a provider, for one or more channels."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="accounts")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=32)
    channels = ArrayField(models.CharField(max_length=16, choices=Channel.choices))
    options = models.JSONField(default=dict)
    # Credentials, sealed with a key that lives outside the database; never shown again.
    sealed_secrets = models.TextField(blank=True)
    # Lower is taken first for a channel.
    position = models.PositiveSmallIntegerField(default=0)
    # The most messages that may leave through it, all workers together; null: no limit of ours.
    per_second = models.PositiveIntegerField(null=True, blank=True)
    per_minute = models.PositiveIntegerField(null=True, blank=True)
    per_day = models.PositiveIntegerField(null=True, blank=True)
    # The most different guests in any 24 hours who have not just written, all accounts of the portfolio
    # together: what WhatsApp allows a business. Null: no limit.
    recipients_per_day = models.PositiveIntegerField(null=True, blank=True)
    # The vendor's name for the business behind the account; empty where it has none.
    portfolio = models.CharField(max_length=64, blank=True, db_default="")
    # The same as the provider told it (`automations.provider_news`); the stricter of both counts.
    told_recipients_per_day = models.PositiveIntegerField(null=True, blank=True)
    # What the provider told of it: by name of what it is about, the moment and the word.
    told = models.JSONField(default=dict, db_default={})
    # Why nothing is sent through this account at the moment; empty when it works.
    broken_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "provider_accounts"
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="one_account_per_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def most_recipients_per_day(self) -> int | None:
        """The stricter of what the owner and what the provider says; None: no limit."""
        known = (self.recipients_per_day, self.told_recipients_per_day)
        return min((each for each in known if each is not None), default=None)


class ProviderTemplate(models.Model):
    """A template that the provider of an account keeps, as it was when last synchronised.

    WhatsApp looks at each before anybody may use it, and may take it away again.
    """

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(ProviderAccount, on_delete=models.CASCADE, related_name="templates")
    # The provider's own id; several languages share one name.
    reference = models.CharField(max_length=128)
    name = models.CharField(max_length=512)
    language = models.CharField(max_length=16)
    approval = models.CharField(max_length=16)
    category = models.CharField(max_length=32, blank=True)
    # As a guest reads it, each placeholder between double braces.
    text = models.TextField(blank=True)
    placeholders = ArrayField(models.CharField(max_length=128), default=list)
    # Why it is not approved; what it has that we cannot fill in.
    reason = models.TextField(blank=True)
    unsupported = models.CharField(max_length=100, blank=True)
    # What guests make of it, in the provider's word (green, yellow, red); empty where it told nothing.
    quality = models.CharField(max_length=16, blank=True, db_default="")
    # What the provider told of it by itself: by column the moment and the word (`automations.provider_news`).
    told = models.JSONField(default=dict, db_default={})
    synced_at = models.DateTimeField()

    class Meta:
        db_table = "provider_templates"
        constraints = [
            models.UniqueConstraint(fields=["account", "reference"], name="one_row_per_provider_template")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.language})"


class CallbackAccess(models.Model):
    """What is set about an account's callbacks; an account without a row has the defaults.

    Written through `automations.callback_access`.
    """

    account = models.OneToOneField(
        ProviderAccount, on_delete=models.CASCADE, primary_key=True, related_name="callback_access"
    )
    # Goes into the account's secret address: another one makes another address.
    salt = models.CharField(max_length=32, blank=True)
    # Secrets that only callbacks need, sealed like those of sending; never shown again.
    sealed_secrets = models.TextField(blank=True)
    # Whether opens and clicks are written down. Off: that needs the guests' consent.
    tracking = models.BooleanField(default=False)
    # Whether we confirm a stop or start to the guest who wrote it.
    confirms = models.BooleanField(default=True)
    # Further words by which guests of this account stop marketing, besides those of every language.
    stop_words = ArrayField(models.CharField(max_length=64), default=list, blank=True)

    class Meta:
        db_table = "callback_access"


class Automation(models.Model):
    """On this occasion, tell these customers that, on these channels, under this policy."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="automations")
    name = models.CharField(max_length=200)
    trigger = models.CharField(max_length=64)
    # Automations of one family share one cooldown (all win-backs, E45). Empty: a family of its own.
    family = models.CharField(max_length=64, blank=True)
    # Its place in the organization's list, from the top: who may write where only one may.
    position = models.PositiveIntegerField(default=0, db_default=0)
    enabled = models.BooleanField(default=False)
    # What fell due before is left alone: switched on today, it does not write to five years of guests.
    due_from = models.DateTimeField(null=True)
    # To how many guests at once somebody who saw the number has said yes; null: nobody was asked, or the
    # yes has served.
    reach_agreed = models.PositiveIntegerField(null=True)
    # Why it does not send although it is enabled (a broken template); empty when it may.
    paused_reason = models.TextField(blank=True)
    # When it runs by itself, in the form of `automations.schedule`; null: by hand, or by an outside cron.
    schedule = models.JSONField(null=True, blank=True)
    # When that is next: what a tick looks at. Null while it is off.
    next_slot = models.DateTimeField(null=True)
    # The version that the next run will freeze.
    version_number = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "automations"
        indexes = [
            models.Index(fields=["organization", "family"], name="automations_by_family"),
            models.Index(
                fields=["next_slot"],
                name="automations_by_slot",
                condition=Q(enabled=True, deleted_at=None, next_slot__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def current_version(self) -> "AutomationVersion":
        """The newest version: what a run started now would use."""
        return self.versions.select_related("automation__organization").get(number=self.version_number)


class AutomationVersion(models.Model):
    """The content of an automation at one time. A row is never changed: an edit makes a new one."""

    id = models.BigAutoField(primary_key=True)
    automation = models.ForeignKey(Automation, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    parameters = models.JSONField(default=dict)
    conditions = models.JSONField(default=dict)
    # In the order of preference: the first usable one is taken.
    channels = ArrayField(models.CharField(max_length=16, choices=Channel.choices))
    policy = models.JSONField(default=dict)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "automation_versions"
        constraints = [
            models.UniqueConstraint(fields=["automation", "number"], name="one_version_per_number")
        ]


class Template(models.Model):
    """What is said on one channel in one language, in Liquid; part of a version, so frozen with it.

    Either `body`, or the name of a template that the provider keeps (`provider_template`) with an
    expression for each of its placeholders (`variables`).
    """

    id = models.BigAutoField(primary_key=True)
    version = models.ForeignKey(AutomationVersion, on_delete=models.CASCADE, related_name="templates")
    channel = models.CharField(max_length=16, choices=Channel.choices)
    language = models.CharField(max_length=8)
    subject = models.CharField(max_length=500, blank=True)
    body = models.TextField()
    provider_template = models.CharField(max_length=512, blank=True, db_default="")
    variables = models.JSONField(default=dict, db_default={})

    class Meta:
        db_table = "templates"
        constraints = [
            models.UniqueConstraint(
                fields=["version", "channel", "language"], name="one_template_per_language"
            )
        ]
