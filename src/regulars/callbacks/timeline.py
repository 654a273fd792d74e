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


def unread(organization: Organization) -> "QuerySet[InboundMessage]":
    """What a person should read, the newest first; of a shared number once, whoever shares it."""
    waiting = InboundMessage.objects.filter(organization=organization, needs_attention=True)
    first = waiting.order_by("account", "key", "pk").distinct("account", "key").values("pk")
    return inbound(organization).filter(pk__in=first)


def looked_at(organization: Organization, inbound_id: int) -> InboundMessage | None:
    """A person has looked at it: it needs no attention any more, of nobody who shares the number.

    None: there is none here.
    """
    row = inbound(organization).filter(pk=inbound_id).first()
    if row is not None:
        same = InboundMessage.objects.filter(organization=organization, account=row.account_id, key=row.key)
        same.filter(needs_attention=True).update(needs_attention=False)
        row.needs_attention = False
    return row
