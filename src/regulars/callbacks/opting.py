"""A guest stops marketing on a channel, starts it again, or is nobody of ours: what follows in the books.

The stop belongs to the address, so it binds everybody who shares it (E23), and who is not in the guest book
yet. What still waits for them never leaves: the last look at each claim reads what is written here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from regulars.customers import opting
from regulars.customers.models import Address, Channel, Customer, Suppression
from regulars.customers.suppression import standing, suppress
from regulars.lib import sql
from regulars.organizations.models import Organization

OPT_OUT = opting.OPT_OUT
ACTOR = "guest"


@dataclass(frozen=True, slots=True)
class Place:
    """An address on a channel, in one organization."""

    organization: Organization
    channel: str
    address: str

    def customers(self) -> list[Customer]:
        """Everybody who has it, in one order."""
        rows = Address.objects.filter(
            organization=self.organization, channel=self.channel, address=self.address
        )
        return [row.customer for row in rows.select_related("customer").order_by("customer_id")]

    def is_bad(self) -> bool:
        """Whether a provider has said that nothing can be sent there."""
        rows = Address.objects.filter(
            organization=self.organization, channel=self.channel, address=self.address
        )
        return rows.exclude(bad_reason="").exists()

    def hold(self) -> None:
        """Let nobody else decide about this address until the transaction ends."""
        name = f"inbound {self.organization.pk} {self.address}"
        sql.fetch_rows("SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", {"name": name})

    def suppressions(self) -> list[Suppression]:
        """What stands against writing here: on this channel or on all."""
        return standing(self.organization, self.address, self.channel)


def stop(place: Place, customers: Sequence[Customer], at: datetime, source: str) -> bool:
    """Withdraw marketing on the channel for all of them and the address; whether that changed anything."""
    news = not all(opting.has_withdrawn(customer, place.channel) for customer in customers)
    known = any(row.channel == place.channel for row in place.suppressions())
    opting.opt_out(place.organization, place.address, place.channel, source=source, at=at, actor=ACTOR)
    return not known or news


def start(place: Place, at: datetime, source: str) -> bool:
    """Grant again what was withdrawn, and lift the stop on this channel; whether that changed anything."""
    return opting.opt_in_again(
        place.organization, place.address, place.channel, source=source, at=at, actor=ACTOR
    )


def wrong_person(place: Place, at: datetime, source: str) -> None:
    """Whoever has this number now is no guest of ours: write there no more, on neither channel (E26).

    The guest keeps consent and all else, for the day on which somebody knows the right number. The new
    holder can start again like anybody, and then hears of us only as a guest of their own.
    """
    for channel in (Channel.SMS, Channel.WHATSAPP):
        suppress(place.organization, place.address, channel, OPT_OUT, source)
        opting.wrong_person(place.organization, place.address, channel, at)
