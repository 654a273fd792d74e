"""`/api/audit`: who did what, newest first."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from regulars.api.callers import caller_of
from regulars.api.paging import After, Limit, page
from regulars.api.schemas import answers
from regulars.organizations.access import Permission
from regulars.organizations.models import AuditEvent

router = Router(tags=["audit"])


class AuditOut(Schema):
    """One thing that somebody did."""

    id: int
    action: str
    subject: str = Field(description="The id of what it was done to; empty: the organization")
    user: str = Field(description="Who; empty: the scheduler, the command line, or a user who is gone")
    details: dict[str, Any]
    at: datetime


class AuditPage(Schema):
    """Newest first."""

    items: list[AuditOut]
    next: int | None = Field(description="Give it as `after` to read on; null at the end")


@router.get("/audit", response=answers(AuditPage), operation_id="list_audit")
def list_audit(request: HttpRequest, after: After | None = None, limit: Limit = 100) -> Any:
    """The audit trail of the organization. Nobody can change or remove an entry."""
    caller = caller_of(request)
    caller.require(Permission.READ_AUDIT)
    rows = AuditEvent.objects.filter(organization=caller.organization).select_related("user")
    return page((rows if after is None else rows.filter(pk__lt=after)).order_by("-pk"), limit, _present)


def _present(event: AuditEvent) -> dict[str, Any]:
    return {
        "id": event.pk,
        "action": event.action,
        "subject": event.subject,
        "user": event.user.email if event.user else "",
        "details": event.details,
        "at": event.at,
    }
