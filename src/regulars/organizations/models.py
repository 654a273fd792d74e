"""Who works with Regulars: the tenant, the people who sign in, their tokens, and what they did."""

import hashlib
import secrets
from typing import Any, ClassVar
from zoneinfo import available_timezones

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models


def check_timezone(name: str) -> None:
    """Refuse a zone that does not exist: silently falling back to UTC would shift every send (E6)."""
    if name not in available_timezones():
        raise ValidationError(f"“{name}” is not a time zone. Use a name such as Europe/Madrid.")


def new_fingerprint_key() -> bytes:
    """32 random bytes, one key for each organization."""
    return secrets.token_bytes(32)


class Organization(models.Model):
    """The tenant: a restaurant or a group. Every row of the product belongs to one."""

    slug = models.SlugField(unique=True, max_length=63)
    name = models.CharField(max_length=200)
    timezone = models.CharField(max_length=64, default="Europe/Madrid", validators=[check_timezone])
    country = models.CharField(max_length=2, default="ES")
    language = models.CharField(max_length=8, default="es")
    currency = models.CharField(max_length=3, default="EUR")
    # A demo organization can use no provider but the sandbox: checked when an account is saved,
    # and again by the sender before each hand-over.
    is_demo = models.BooleanField(default=False)
    # Roles that may run automations; empty means every member, as the ordered document says.
    run_roles = models.JSONField(default=list, blank=True)
    # Quiet hours, caps and what else all its automations share (`automations.tact`); absent settings
    # take their defaults, so that an organization nobody has looked at is considerate.
    tact = models.JSONField(default=dict, db_default={}, blank=True)
    # Keys the fingerprints of addresses, so that a suppression survives erasure without the address.
    fingerprint_key = models.BinaryField(max_length=32, default=new_fingerprint_key)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "organizations"

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    """Makes users that sign in with their e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractUser):
    """A person who signs in. (A person we write to is a Customer.)"""

    username = None  # type: ignore[assignment]
    email = models.EmailField(unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = UserManager()  # type: ignore[misc,assignment]

    class Meta:
        db_table = "users"


class Role(models.TextChoices):
    """What a member may do; each includes the ones below it."""

    OWNER = "owner"
    MANAGER = "manager"
    STAFF = "staff"
    VIEWER = "viewer"


class Membership(models.Model):
    """A user's role in an organization."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.STAFF)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "memberships"
        constraints = [
            models.UniqueConstraint(fields=["user", "organization"], name="one_membership_per_organization")
        ]


class ApiToken(models.Model):
    """A key for programs. Only its hash is kept; the token itself is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100, blank=True)
    digest = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "api_tokens"

    @staticmethod
    def digest_of(token: str) -> bytes:
        """Tokens are 32 random bytes, so that a plain hash is enough: there is nothing to guess."""
        return hashlib.sha256(token.encode()).digest()


class AuditEvent(models.Model):
    """Who did what, append-only."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=200, blank=True)
    details = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        db_table = "audit_events"
        indexes = [models.Index(fields=["organization", "-at"], name="audit_by_time")]


class KeptAnswer(models.Model):
    """What a call with an `Idempotency-Key` was answered, so that its repetition does nothing anew."""

    id = models.BigAutoField(primary_key=True)
    # No index of its own: the constraint's begins with it.
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, db_index=False)
    # Who called (`user:<id>`, `token:<user id>`): a key is its caller's own.
    caller = models.CharField(max_length=32)
    key = models.CharField(max_length=255)
    # SHA-256 of the method, the path and the body.
    request = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        db_table = "kept_answers"
        constraints = [
            models.UniqueConstraint(fields=["organization", "caller", "key"], name="one_answer_per_key")
        ]
        indexes = [models.Index(fields=["at"], name="answers_by_time")]
