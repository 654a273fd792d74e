"""Reading what guests wrote, and saying that a person has looked at it."""

from typing import TYPE_CHECKING

from regulars.callbacks.models import InboundMessage
from regulars.customers.models import Customer
from regulars.organizations.models import Organization

if TYPE_CHECKING:
    from django.db.models import QuerySet


def inbound(organization: Organization, customer: Customer | None = None) -> "QuerySet[InboundMessage]":
    """What came in, of one guest or of all (those nobody knows among them), the newest first."""
    rows = InboundMessage.objects.filter(organization=organization).select_related("customer", "reply")
    if customer is None:
        return rows.order_by("-pk")
    return rows.filter(customer=customer).order_by("-at", "-pk")


def looked_at(organization: Organization, inbound_id: int) -> InboundMessage | None:
    """A person has looked at it: it needs no attention any more. None: there is none here."""
    row = inbound(organization).filter(pk=inbound_id).first()
    if row is not None and row.needs_attention:
        row.needs_attention = False
        row.save(update_fields=["needs_attention"])
    return row
