"""A guest is forgotten (GDPR, article 17): what names them goes, what guards and proves stays.

Goes: name, numbers, birthday, tags, addresses, tier history, the address on every message, what
providers quoted of it, the sandbox's copies, and what the guest wrote. Stays, with an id that leads to
nobody: visits, bookings and messages as counts; the guards of occasions, which still keep a run from
writing twice; the ledger of
consent with the fingerprints of the addresses it was about, as proof (article 17(3)(e)); and the
suppression of each address by fingerprint, so that the same guest in the next file is not written to
(E34). What waits to be sent is withheld at its turn.

One transaction. A message that is being handed over at this moment keeps its address until the night's
`scrub`, for its sender may still have to ask the provider about it.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from regulars.customers import opting
from regulars.customers.addresses import fingerprint
from regulars.customers.blocking import ERASED
from regulars.customers.models import Address, Consent, Customer, TierChange
from regulars.customers.suppression import suppress
from regulars.lib import sql
from regulars.organizations import audit
from regulars.organizations.models import User
from regulars.runs.belongings import keepers_of_words, lock, with_merged

SOURCE = "erasure"


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done: addresses whose fingerprint is suppressed, messages that name nobody any more, and
    how many other guests share an address and get no marketing there either."""

    addresses: int
    messages: int
    others: int


def erase(customer: Customer, now: datetime, user: User | None = None) -> Erased:
    """Forget this guest, for good. Doing it again finds nothing more to do."""
    with transaction.atomic():
        lock(customer)
        ids = with_merged(customer)
        known = _addresses(ids)
        others = _others(customer, ids, known)
        _prove(customer, known, now)
        for _, address in known:
            suppress(customer.organization, address, "", opting.OPT_OUT, SOURCE)
        for model in keepers_of_words():
            model.forget(ids, customer.organization, {address for _, address in known})
        messages = _scrub(ids)
        Address.objects.filter(customer__in=ids).delete()
        TierChange.objects.filter(customer__in=ids).delete()
        _empty(ids)
        done = Erased(len({address for _, address in known}), messages, others)
        audit.record(customer.organization, user, "customer.erased", now=now, subject=customer.pk)
    customer.refresh_from_db()
    return done


def scrub() -> int:
    """What has come in about erased guests since: messages that were on their way, late reports."""
    gone = Customer.objects.filter(do_not_contact_reason=ERASED).values_list("pk", flat=True)
    return _scrub(list(gone.iterator()))


def _addresses(ids: list[int]) -> set[tuple[str, str]]:
    """(channel, address): those on record, and those that messages went to before they changed."""
    held = Address.objects.filter(customer__in=ids).values_list("channel", "address")
    used = sql.fetch_rows(_USED, {"ids": ids})
    return set(held) | {(row["channel"], row["address"]) for row in used}


def _others(customer: Customer, ids: list[int], known: set[tuple[str, str]]) -> int:
    texts = [address for _, address in known]
    shared = Address.objects.filter(organization_id=customer.organization_id, address__in=texts)
    return shared.exclude(customer__in=ids).values("customer_id").distinct().count()


def _prove(customer: Customer, known: set[tuple[str, str]], now: datetime) -> None:
    """The end of each consent, with the fingerprints by which the rows before it can be matched to a
    person who comes and disputes them."""
    marks: dict[str, list[str]] = defaultdict(list)
    for channel, address in sorted(known):
        marks[channel].append(fingerprint(customer.organization, address).hex())
    for row in Consent.objects.filter(customer=customer, is_current=True, purpose="marketing"):
        proof = {"fingerprints": marks[row.channel]}
        opting.withdraw(customer, row.channel, source=SOURCE, at=now, evidence=proof)


def _scrub(ids: list[int]) -> int:
    messages = sql.execute(_FORGET_ADDRESSES, {"ids": ids})
    for text in (_FORGET_REPORTS, _FORGET_COPIES, _FORGET_LISTS):
        sql.execute(text, {"ids": ids})
    return messages


def _empty(ids: list[int]) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("external_id", "birth_month", "birth_day", "birth_year"))
    blank = dict.fromkeys(("first_name", "last_name", "language", "timezone", "tier"), "")
    Customer.objects.filter(pk__in=ids).update(
        **nothing, **blank, tags=[], do_not_contact=True, do_not_contact_reason=ERASED
    )


_MINE = "customer_id = ANY (%(ids)s::bigint[])"
_USED = f"SELECT DISTINCT channel, address FROM messages WHERE {_MINE} AND address <> ''"
_FORGET_ADDRESSES = f"""
UPDATE messages SET address = '', error = ''
 WHERE {_MINE} AND state <> 'sending' AND (address <> '' OR error <> '')
"""
_FORGET_REPORTS = f"""
UPDATE delivery_events SET raw = '{{}}'
 WHERE message_id IN (SELECT id FROM messages WHERE {_MINE}) AND raw <> '{{}}'
"""
_FORGET_COPIES = f"DELETE FROM sandbox_outbox WHERE message_id IN (SELECT id FROM messages WHERE {_MINE})"
_FORGET_LISTS = f"UPDATE run_verdicts SET address = NULL WHERE {_MINE} AND address IS NOT NULL"
