"""The 24 hours after a guest has written, in which WhatsApp lets a business answer in its own words.

Outside of them it takes only templates that it has approved. What is known is kept on the address:
when the guest last wrote from it.
"""

from datetime import datetime, timedelta

from django.db.models import F, Max
from django.db.models.functions import Greatest

from regulars.customers.models import Address, Channel, Customer
from regulars.organizations.models import Organization

WINDOW = timedelta(hours=24)


def note_inbound(organization: Organization, channel: str, address: str, at: datetime) -> int:
    """A guest wrote from the normalised `address` at `at`; how many customers have it.

    Safe in any order and any number of times: an older message never moves the moment back.
    """
    rows = Address.objects.filter(organization=organization, channel=channel, address=address)
    # GREATEST of PostgreSQL passes over NULL: the first message of a guest counts.
    return rows.update(last_inbound_at=Greatest(F("last_inbound_at"), at))


def last_inbound_at(customer: Customer, channel: str = Channel.WHATSAPP) -> datetime | None:
    """When this customer last wrote on `channel`, from whichever address; None: never, as far as known."""
    rows = Address.objects.filter(customer=customer, channel=channel)
    last: datetime | None = rows.aggregate(last=Max("last_inbound_at"))["last"]
    return last


def is_open(last_inbound: datetime | None, now: datetime) -> bool:
    """Whether one who last wrote at `last_inbound` may be answered freely at `now`. Pure."""
    return last_inbound is not None and now < last_inbound + WINDOW
