"""A guest stops marketing on a channel, or starts it again: the consent ledger and the suppressions follow.

The stop belongs to the address, so it binds everybody who shares it (E23), and who is not in the guest book
yet. What still waits for them never leaves: the last look at each claim reads what is written here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from regulars.customers import consent, suppression
from regulars.customers.addresses import fingerprint
from regulars.customers.models import Address, Consent, Customer, Purpose, Suppression
from regulars.lib import sql
from regulars.organizations.models import Organization

OPT_OUT = "opt_out"
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
        known = Suppression.objects.filter(
            organization=self.organization, fingerprint=fingerprint(self.organization, self.address)
        )
        return list(known.filter(channel__in=["", self.channel]))


def stop(place: Place, customers: Sequence[Customer], at: datetime, source: str) -> bool:
    """Withdraw marketing on the channel for all of them and the address; whether that changed anything."""
    withdrawn = [
        consent.record(
            customer, place.channel, Purpose.MARKETING, granted=False, source=source, at=at, actor=ACTOR
        )
        for customer in customers
    ]
    known = any(row.channel == place.channel for row in place.suppressions())
    suppression.suppress(place.organization, place.address, place.channel, OPT_OUT, source)
    return not known or any(row is not None for row in withdrawn)


def start(place: Place, customers: Sequence[Customer], at: datetime, source: str) -> bool:
    """Grant again what they had withdrawn, and lift the stop on this channel; whether that changed anything.

    Nobody gains by it what they never had: without a withdrawal on record only the stop is lifted. Any
    other suppression (a bounce, a complaint, an opt-out of everything) stays, and then nothing changes.
    """
    against = place.suppressions()
    if any(row.reason != OPT_OUT or row.channel != place.channel for row in against):
        return False
    granted = [
        consent.record(
            customer, place.channel, Purpose.MARKETING, granted=True, source=source, at=at, actor=ACTOR
        )
        for customer in customers
        if _has_withdrawn(customer, place.channel)
    ]
    if None in granted:
        # Their no is as new as this yes: then the no counts.
        return False
    for row in against:
        row.delete()
    return bool(against or granted)


def _has_withdrawn(customer: Customer, channel: str) -> bool:
    rows = Consent.objects.filter(customer=customer, channel=channel, purpose=Purpose.MARKETING)
    return rows.filter(is_current=True, granted=False).exists()
