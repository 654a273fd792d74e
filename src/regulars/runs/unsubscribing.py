"""What a guest does by the link in a message: stop one channel at one click, or choose.

The link proves that whoever opens it reads what goes to that address: enough for every no, and for a
yes on the channel of that very message, but not for a yes on another one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from regulars.customers import opting
from regulars.customers.models import Consent, Customer, Purpose
from regulars.customers.unsubscribe_links import Link, read
from regulars.organizations.models import Organization
from regulars.runs.models import Message

ONE_CLICK, PAGE = "one click in the mail program", "unsubscribe page"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who opened a link: the guest (who they turned out to be, after a merge), and the address to which
    its message went; empty where the message or the guest has been removed since."""

    customer: Customer
    link: Link
    address: str

    @property
    def organization(self) -> Organization:
        return self.customer.organization


def reader_of(token: str) -> Reader | None:
    """Who opened this link; None if it is no link of ours, or its organization is gone."""
    link = read(token)
    if link is None:
        return None
    mine = Customer.objects.select_related("organization")
    customer = mine.filter(pk=link.customer_id).first()
    if customer is not None and customer.merged_into_id:
        customer = mine.filter(pk=customer.merged_into_id).first() or customer
    if customer is None:
        return None
    message = Message.objects.filter(pk=link.message_id, organization_id=customer.organization_id)
    address = message.values_list("address", flat=True).first()
    return Reader(customer, link, address or "")


def allowed_channels(reader: Reader) -> list[str]:
    """The channels on which the guest allows marketing at the moment."""
    held = Consent.objects.filter(
        customer=reader.customer, purpose=Purpose.MARKETING, is_current=True, granted=True
    )
    return sorted(held.values_list("channel", flat=True))


def stop(reader: Reader, at: datetime, channel: str = "", source: str = ONE_CLICK) -> None:
    """No marketing on `channel` (absent: that of the link) any more, at the guest's addresses and that
    of the message."""
    channel = channel or reader.link.channel
    told: dict[str, Any] = {"source": source, "at": at, "evidence": _evidence(reader)}
    opting.opt_out_customer(reader.customer, channel, **told)
    if reader.address and channel == reader.link.channel:
        opting.opt_out(reader.organization, reader.address, channel, **told)


def choose(reader: Reader, wanted: Collection[str], at: datetime, wording: str) -> None:
    """Only `wanted` stays allowed; a yes is taken on the channel of the link alone (see above)."""
    allowed = allowed_channels(reader)
    own = reader.link.channel
    for channel in {*allowed, own} - set(wanted):
        stop(reader, at, channel, PAGE)
    if own in wanted and own not in allowed:
        opting.opt_in(reader.customer, own, source=PAGE, at=at, wording=wording, evidence=_evidence(reader))


def _evidence(reader: Reader) -> dict[str, Any]:
    """The message whose link it was: it says when it was sent, where to, and by which automation."""
    return {"message": reader.link.message_id}
