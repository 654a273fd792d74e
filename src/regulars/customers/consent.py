"""The consent ledger: who allowed or withdrew what, when, how, on what wording. Append-only.

The newest row of a (customer, channel, purpose) is current. Nothing here forgets: a change of mind
is a further row. Whoever wants to know whether we may write reads `Consent.is_current and granted`.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from regulars.customers.models import Consent, Customer

if TYPE_CHECKING:
    from django.db.models import QuerySet


def counts_as_news(current: Consent | None, *, granted: bool, at: datetime, may_raise: bool = True) -> bool:
    """Whether a statement made at `at` changes or renews what `current` says. Pure.

    A withdrawal always counts unless consent is withdrawn already: in doubt we do not write. A
    grant counts against a withdrawal only if it was given after it and its source may raise
    consent at all (an import may not, E31).
    """
    if current is None:
        return True
    if not granted:
        return current.granted
    return may_raise and at > current.at


def record(  # noqa: PLR0913 - a piece of evidence has this many parts
    customer: Customer,
    channel: str,
    purpose: str,
    granted: bool,
    *,
    source: str,
    at: datetime,
    actor: str = "",
    wording: str = "",
    basis: str = "consent",
    may_raise: bool = True,
) -> Consent | None:
    """Append one statement of `customer`, made at `at`, and make it the current one.

    `source` is where the statement was made (a form, a STOP message), `actor` who recorded it,
    `wording` what the customer was shown. `may_raise=False` is for bulk sources, which never
    turn a withdrawal into a grant. Returns the row, or None if the statement is no news: it repeats
    what is current, or it is a grant that does not outweigh a recorded withdrawal.
    """
    with transaction.atomic():
        # Statements about one customer take turns; the one that comes second sees the first.
        Customer.objects.select_for_update(no_key=True).only("id").get(pk=customer.pk)
        rows = Consent.objects.filter(customer=customer, channel=channel, purpose=purpose)
        if not _is_news(rows, granted=granted, at=at, source=source, may_raise=may_raise):
            return None
        rows.filter(is_current=True).update(is_current=False)
        return Consent.objects.create(
            customer=customer,
            channel=channel,
            purpose=purpose,
            granted=granted,
            source=source,
            at=at,
            actor=actor,
            wording=wording,
            basis=basis,
        )


def _is_news(rows: "QuerySet[Consent]", *, granted: bool, at: datetime, source: str, may_raise: bool) -> bool:
    """Told again (a callback that comes twice) is no news: it must not outweigh what was said since."""
    if rows.filter(granted=granted, at=at, source=source).exists():
        return False
    current = rows.filter(is_current=True).first()
    return counts_as_news(current, granted=granted, at=at, may_raise=may_raise)
