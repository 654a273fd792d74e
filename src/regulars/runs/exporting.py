"""Everything that is on record about one guest, for that guest (GDPR, articles 15 and 20)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q

from regulars.customers.models import Address, Consent, Customer, Suppression
from regulars.lib import sql
from regulars.organizations import audit
from regulars.organizations.models import User
from regulars.runs.belongings import belongings, with_merged


def export(customer: Customer, now: datetime, user: User | None = None) -> dict[str, Any]:
    """One document, by table; values are those of JSON but for moments, dates and amounts.

    That it was made is written into the audit trail.
    """
    ids = with_merged(customer)
    found: dict[str, Any] = {
        "exported_at": now,
        "organization": customer.organization.name,
        "guest": _rows(Customer.objects.filter(pk__in=ids)),
        "addresses": _rows(Address.objects.filter(customer__in=ids)),
        "consents": _rows(Consent.objects.filter(customer__in=ids)),
        "suppressions": _rows(_suppressions(customer, ids)),
    }
    for model, name in belongings():
        rows = model._default_manager.filter(**{f"{name}__in": ids})  # noqa: SLF001 - a public name of Django's
        found[model._meta.db_table] = _rows(rows)  # noqa: SLF001 - as above
    found |= {table: sql.fetch_rows(text, {"ids": ids}) for table, text in _LEDGER.items()}
    audit.record(customer.organization, user, "customer.exported", now=now, subject=customer.pk)
    return found


def _suppressions(customer: Customer, ids: list[int]) -> Any:
    marks = Address.objects.filter(customer__in=ids).values("fingerprint")
    return Suppression.objects.filter(Q(organization=customer.organization), fingerprint__in=marks)


def _rows(rows: Any) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in _values(rows)]


def _values(rows: Any) -> list[Mapping[str, Any]]:
    return list(rows.order_by("pk").values())


def _plain(value: Any) -> Any:
    """Bytes as hexadecimal digits, all else as it is."""
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


_MINE = "WHERE customer_id = ANY (%(ids)s::bigint[])"
_LEDGER = {
    "messages": f"""
SELECT id, automation_id, occasion, purpose, channel, address, due_at, send_after, state, reason,
       provider_id, created_at, accepted_at, state_at FROM messages {_MINE} ORDER BY id""",
    "left_out": f"SELECT automation_id, occasion, reason, at FROM skips {_MINE} ORDER BY id",
}
