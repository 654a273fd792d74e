"""The businesses whose accounts know guests by WhatsApp user ids. Who keeps the accounts registers it here.

A user id (`ES.1349…`) means nothing by itself: it is one business's name for a guest. So whoever brings
one in says which business it is of, or the organization has accounts of one only.
"""

from collections.abc import Callable

from regulars.customers.addresses import AddressError
from regulars.organizations.models import Organization

LONGEST = 64

Known = Callable[[Organization], list[str]]
_known: list[Known] = []


def register(known: Known) -> None:
    """Let `known` say which businesses an organization's accounts belong to."""
    _known.append(known)


def portfolios_of(organization: Organization) -> list[str]:
    """The businesses that the organization's accounts belong to, as their provider calls them."""
    return sorted({portfolio for known in _known for portfolio in known(organization)})


def portfolio_of(wanted: str | None, known: list[str]) -> str:
    """Of which business a user id is that came with `wanted`, which may be left out where one is known.

    Raises:
        AddressError: nobody can say, or the organization has no account there.
    """
    if wanted and wanted in known:
        return wanted
    if wanted:
        raise AddressError(f"is of no WhatsApp account here; known: {', '.join(known) or 'none'}")
    if not known:
        raise AddressError(
            "belongs to a WhatsApp account with a portfolio, and there is none yet: add it first"
        )
    if len(known) > 1:
        raise AddressError(f"may be of several businesses: give whatsapp_portfolio ({', '.join(known)})")
    return known[0]
