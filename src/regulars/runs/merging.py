"""Two guests turn out to be one: what is known of both becomes one guest's (E24).

In one transaction. Visits, bookings and messages move, so that cooldowns and counts are those of one
person; of two statements of consent the stricter holds, and the whole ledger of both is kept. Nothing
falls due by it: the occasions of both are held. Where both have had the same occasion, the second
message and its guard stay with the row that is left behind, for at most one may hold it.

That row stays, blocked and empty, and redirects: a file, a link or a callback that still names it means
the other one. What was moved is written into the audit trail, so that a person can take it back.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from regulars.customers.blocking import ERASED, MERGED
from regulars.customers.consent import stricter
from regulars.customers.models import Address, Consent, Customer
from regulars.lib import sql
from regulars.organizations import audit
from regulars.organizations.models import User
from regulars.runs.belongings import belongings, lock


class MergeRefusedError(ValueError):
    """These two cannot become one; the text says why."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The guest who is left, and how many rows of each table moved there."""

    customer: Customer
    moved: dict[str, int] = field(default_factory=dict)


def merge(keep: Customer, other: Customer, now: datetime, user: User | None = None) -> Merged:
    """Make `other` part of `keep`, whose own name and numbers win; what `keep` lacks is filled in.

    Raises:
        MergeRefusedError: the same guest, another organization's, or one who has been erased or merged.
    """
    with transaction.atomic():
        lock(keep, other)
        keep.refresh_from_db()
        other.refresh_from_db()
        _check(keep, other)
        moved = _move_rows(keep, other)
        _unite_consents(keep, other)
        _unite_addresses(keep, other)
        _fill_in(keep, other)
        _leave_behind(keep, other)
        details: dict[str, Any] = {"other": other.pk, "rows": moved}
        audit.record(keep.organization, user, "customer.merged", now=now, subject=keep.pk, **details)
    return Merged(keep, {table: len(ids) for table, ids in moved.items()})


def _check(keep: Customer, other: Customer) -> None:
    if keep.pk == other.pk:
        raise MergeRefusedError("This is the same guest twice: name two.")
    if keep.organization_id != other.organization_id:
        raise MergeRefusedError("These are guests of two organizations.")
    for guest in (keep, other):
        if guest.merged_into_id is not None:
            raise MergeRefusedError(f"Guest {guest.pk} was merged into guest {guest.merged_into_id} before.")
        if guest.do_not_contact_reason == ERASED:
            raise MergeRefusedError(f"Guest {guest.pk} has been erased.")


def _move_rows(keep: Customer, other: Customer) -> dict[str, list[int]]:
    """Rows of the models, then those of the ledger; the ids that moved, by table."""
    moved: dict[str, list[int]] = {}
    for model, name in belongings():
        mine: Any = model._default_manager.filter(**{name: other.pk})  # noqa: SLF001 - a public name of Django's
        if ids := _moved(mine, name, keep):
            moved[model._meta.db_table] = ids  # noqa: SLF001 - as above
    values = {"keep": keep.pk, "other": other.pk, "organization": keep.organization_id}
    sql.execute(_MOVE_OCCASIONS, values)
    sql.execute(_DROP_SKIPS, values)
    for table, text in _MOVE_LEDGER.items():
        if rows := sql.fetch_rows(text, values):
            moved[table] = [row["id"] for row in rows]
    return moved


def _moved(mine: Any, name: str, keep: Customer) -> list[int]:
    """Give these rows to `keep`; what both have had (a message to an address they share) is there already."""
    ids = list(mine.values_list("pk", flat=True))
    try:
        with transaction.atomic():
            mine.update(**{name: keep.pk})
    except IntegrityError:
        return [pk for pk in ids if _moves(mine.filter(pk=pk), name, keep)]
    return ids


def _moves(row: Any, name: str, keep: Customer) -> bool:
    try:
        with transaction.atomic():
            return bool(row.update(**{name: keep.pk}))
    except IntegrityError:
        return False


def _unite_consents(keep: Customer, other: Customer) -> None:
    """The other's statements are appended to the ledger as they were said; the stricter are current."""
    current = {
        (row.customer_id, row.channel, row.purpose): row
        for row in Consent.objects.filter(customer__in=(keep, other), is_current=True)
    }
    for row in Consent.objects.filter(customer=other).order_by("pk"):
        own = current.get((keep.pk, row.channel, row.purpose))
        decides = row.is_current and stricter(own, row) is row
        if decides and own is not None:
            Consent.objects.filter(pk=own.pk).update(is_current=False)
        _copy(row, keep, is_current=decides)


def _copy(row: Consent, keep: Customer, *, is_current: bool) -> None:
    names = "channel purpose granted basis source wording wording_version actor at"
    said: dict[str, Any] = {name: getattr(row, name) for name in names.split()}
    proof = {**row.evidence, "said_as_guest": row.customer_id, "consent": row.pk}
    Consent.objects.create(customer=keep, evidence=proof, is_current=is_current, **said)


def _unite_addresses(keep: Customer, other: Customer) -> None:
    """The other's come after the guest's own; one that both have is as bad as the worse of the two."""
    sql.execute(_WORSE_ADDRESSES, {"keep": keep.pk, "other": other.pk})
    held = Address.objects.filter(customer=keep).values_list("channel", "address")
    known = set(held)
    for address in Address.objects.filter(customer=other).order_by("position", "pk"):
        if (address.channel, address.address) in known:
            address.delete()
        else:
            address.customer, address.position = keep, address.position + len(known)
            address.save(update_fields=["customer", "position"])


_FILLED = ("first_name", "last_name", "language", "timezone", "tier")


def _fill_in(keep: Customer, other: Customer) -> None:
    """What the guest lacks; a block on either is a block."""
    for name in _FILLED:
        setattr(keep, name, getattr(keep, name) or getattr(other, name))
    if keep.birth_month is None:
        keep.birth_month, keep.birth_day, keep.birth_year = (
            other.birth_month,
            other.birth_day,
            other.birth_year,
        )
    if keep.external_id is None:
        # One row may have it: the one that is left behind gives it away first.
        keep.external_id = other.external_id
        Customer.objects.filter(pk=other.pk).update(external_id=None)
    keep.tags = [*keep.tags, *(tag for tag in other.tags if tag not in keep.tags)]
    if other.do_not_contact and not keep.do_not_contact:
        keep.do_not_contact, keep.do_not_contact_reason = True, other.do_not_contact_reason
    keep.save()


def _leave_behind(keep: Customer, other: Customer) -> None:
    """The row redirects, as do those that redirected to it."""
    Customer.objects.filter(merged_into=other).update(merged_into=keep)
    Customer.objects.filter(pk=other.pk).update(
        **dict.fromkeys(_FILLED, ""),
        **dict.fromkeys(("birth_month", "birth_day", "birth_year")),
        tags=[],
        do_not_contact=True,
        do_not_contact_reason=MERGED,
        merged_into=keep,
    )
    other.refresh_from_db()


_OWN = "automation_id IN (SELECT id FROM automations WHERE organization_id = %(organization)s)"
_MOVE_OCCASIONS = f"""
UPDATE occasions guard SET customer_id = %(keep)s
 WHERE {_OWN} AND customer_id = %(other)s
   AND NOT EXISTS (SELECT 1 FROM occasions own WHERE own.automation_id = guard.automation_id
                      AND own.customer_id = %(keep)s AND own.occasion = guard.occasion)
"""
_DROP_SKIPS = """
DELETE FROM skips skip USING skips own
 WHERE skip.customer_id = %(other)s AND own.customer_id = %(keep)s
   AND own.automation_id = skip.automation_id AND own.occasion = skip.occasion
"""
_MOVE_LEDGER = {
    # After the occasions: whoever still holds one here stays with it.
    "messages": f"""
UPDATE messages message SET customer_id = %(keep)s
 WHERE customer_id = %(other)s
   AND NOT EXISTS (SELECT 1 FROM occasions guard WHERE guard.{_OWN} AND guard.customer_id = %(other)s
                      AND guard.automation_id = message.automation_id AND guard.occasion = message.occasion
                      AND guard.message_id = message.id)
RETURNING message.id AS id""",
    "skips": "UPDATE skips SET customer_id = %(keep)s WHERE customer_id = %(other)s RETURNING id",
}
_WORSE_ADDRESSES = """
UPDATE addresses own SET bad_reason = worse.bad_reason, bad_since = worse.bad_since
  FROM addresses worse
 WHERE own.customer_id = %(keep)s AND worse.customer_id = %(other)s AND worse.bad_reason <> ''
   AND own.channel = worse.channel AND own.address = worse.address AND own.bad_reason = ''
"""
