"""Hard stops for addresses, whatever the consent: bounce, complaint, STOP, a person's decision.

Keyed by fingerprint, so that a stop outlives the erasure of the address and binds everybody who
shares it (E23, E34).
"""

from regulars.customers.addresses import fingerprint
from regulars.customers.models import Suppression
from regulars.organizations.models import Organization


def suppress(
    organization: Organization, address: str, channel: str, reason: str, source: str = ""
) -> Suppression:
    """Never again write to the normalised `address` on `channel` (empty: on no channel).

    The first reason stays: repeating a stop changes nothing.
    """
    row, _ = Suppression.objects.get_or_create(
        organization=organization,
        fingerprint=fingerprint(organization, address),
        channel=channel,
        defaults={"reason": reason, "source": source},
    )
    return row


def standing(organization: Organization, address: str, channel: str) -> list[Suppression]:
    """What stands against writing to the normalised `address`: on this channel, or on all."""
    known = Suppression.objects.filter(
        organization=organization, fingerprint=fingerprint(organization, address)
    )
    return list(known.filter(channel__in=["", channel]))
