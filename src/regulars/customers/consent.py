"""The consent ledger: who allowed or withdrew what, when, how, on what wording. Append-only.

One row of a (customer, channel, purpose) is current. Nothing here forgets: a change of mind is a
further row. Whoever wants to know whether we may write reads `Consent.is_current and granted`.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from regulars.customers import consent_sql
from regulars.customers.models import Consent, Customer
from regulars.lib import clock

# The guardian of a minor said yes: the one consent that lets us write to somebody so young (E33).
GUARDIAN = "guardian"
BASES = ("consent", "soft_opt_in", "contract", GUARDIAN)


def counts_as_news(current: Consent | None, *, granted: bool, at: datetime, may_raise: bool = True) -> bool:
    """Whether a statement made at `at` changes or renews what `current` says. Pure.

    A withdrawal always counts unless consent is withdrawn already: in doubt we do not write. A
    grant counts against a withdrawal only if the customer gave it, and after the withdrawal:
    neither a file nor a member of staff can take back a guest's no (E31).
    """
    if current is None:
        return True
    if not granted:
        return current.granted
    return may_raise and at > current.at


def stricter(one: Consent | None, other: Consent | None) -> Consent | None:
    """Which of two persons' current statements holds when they turn out to be one. Pure.

    A no wins over a yes, whichever is newer; a statement wins over none (E24).
    """
    known = [row for row in (one, other) if row is not None]
    return min(known, key=lambda row: row.granted, default=None)


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
    wording_version: str = "",
    basis: str = "consent",
    evidence: Mapping[str, Any] | None = None,
    may_raise: bool = True,
) -> Consent | None:
    """Append one statement of `customer`, made at `at`, and make it the current one.

    `source` is where the statement was made (a form, a STOP message), `actor` who recorded it,
    `wording` what the customer was shown, `evidence` what proves it. `may_raise`: the customer
    said it, so that it may turn a withdrawal into a grant; False for files and for staff. Returns
    the row, or None if the statement is no news: it repeats what is current, or it is a grant that
    does not outweigh a recorded withdrawal.
    """
    said = {"channel": channel, "purpose": purpose, "granted": granted, "basis": basis, "at": at}
    shown = {"wording": wording, "wording_version": wording_version}
    proof = {"evidence": json.dumps(dict(evidence or {})), "source": source[:200], "actor": actor[:200]}
    who = {"customer_id": customer.pk, "may_raise": may_raise, "recorded_at": clock.now()}
    values = said | shown | proof | who
    with transaction.atomic():
        # Statements about one customer take turns; the one that comes second sees the first.
        Customer.objects.select_for_update(no_key=True).only("id").get(pk=customer.pk)
        rows = consent_sql.append(_ONE, values)
    return Consent.objects.get(pk=rows[0]["id"]) if rows else None


_ONE = """SELECT %(customer_id)s::bigint, %(channel)s::text, %(purpose)s::text, %(granted)s::boolean,
    %(basis)s::text, %(source)s::text, %(wording)s::text, %(wording_version)s::text, %(actor)s::text,
    %(at)s::timestamptz, %(evidence)s::jsonb, %(may_raise)s::boolean"""
