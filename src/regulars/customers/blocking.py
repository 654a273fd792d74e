"""“Do not contact”: above every consent and every purpose (E34)."""

from typing import TYPE_CHECKING

from regulars.customers.models import Customer

if TYPE_CHECKING:
    from django.db.models import QuerySet

ERASED, MERGED = "erased", "merged"
# There is no guest behind such a row any more: nobody takes the block back.
GONE = (ERASED, MERGED)


def block(customer: Customer, reason: str) -> bool:
    """Never write to this guest again, about anything: deceased, banned, staff, test, press.

    Returns whether that is new. What waits to be sent is withheld at its turn.
    """
    words = {"do_not_contact": True, "do_not_contact_reason": reason[:64]}
    return _living(customer).exclude(**words).update(**words) > 0


def unblock(customer: Customer) -> bool:
    """Take a block back; an erased or merged guest stays blocked. Returns whether there was one."""
    blocked = _living(customer).filter(do_not_contact=True)
    return blocked.update(do_not_contact=False, do_not_contact_reason="") > 0


def living() -> "QuerySet[Customer]":
    """The rows that stand for a guest: neither erased nor merged into another."""
    return Customer.objects.filter(merged_into=None).exclude(do_not_contact_reason=ERASED)


def _living(customer: Customer) -> "QuerySet[Customer]":
    return living().filter(pk=customer.pk)
