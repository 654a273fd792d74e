"""The trail of who did what. Append-only; nobody edits or removes what is written here."""

from datetime import datetime
from typing import Any

from regulars.organizations.models import AuditEvent, Organization, User


def record(
    organization: Organization,
    user: User | None,
    action: str,
    *,
    now: datetime,
    subject: object = "",
    **details: Any,
) -> AuditEvent:
    """Write down that `user` (None: the scheduler) did `action` to `subject`.

    `action` is `<noun>.<verb in the past>` (`automation.enabled`); `details` is JSON and carries no
    contact data and no secret.
    """
    return AuditEvent.objects.create(
        organization=organization,
        user=user,
        action=action,
        subject=str(subject)[:200],
        details=details,
        at=now,
    )
