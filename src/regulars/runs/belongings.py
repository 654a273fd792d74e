"""What refers to a guest: found through the models, so that packs need not be named; and the ledger,
which has no foreign keys, by name."""

from typing import Any

from django.apps import apps
from django.db import models

from regulars.customers.models import Address, Consent, Customer

# These have rules of their own.
_APART = {Address, Consent, Customer}


def belongings() -> list[tuple[type[models.Model], str]]:
    """Every model with rows about one guest, with the name of its field; not addresses and consents, nor
    what the database keeps true by itself (which has no constraint)."""
    return [
        (model, field.name)
        for model in apps.get_models()
        if model not in _APART
        for field in _fields(model)
        if field.related_model is Customer and field.db_constraint
    ]


def keepers_of_words() -> list[Any]:
    """The models that keep what guests wrote: each has a `forget(customers, organization, addresses)`."""
    return [model for model in apps.get_models() if hasattr(model, "forget")]


def _fields(model: type[models.Model]) -> list[Any]:
    meta: Any = model._meta  # noqa: SLF001 - Django's description of a model is public
    return [field for field in meta.concrete_fields if field.is_relation]


def with_merged(customer: Customer) -> list[int]:
    """The ids under which the ledger knows this guest: their own, and those of whom they turned out to be."""
    merged = Customer.objects.filter(merged_into=customer).order_by("pk")
    return [customer.pk, *merged.values_list("pk", flat=True)]


def lock(*customers: Customer) -> None:
    """Hold these guests to the end of the transaction, always in the same order."""
    ids = [customer.pk for customer in customers]
    list(Customer.objects.select_for_update().filter(pk__in=ids).order_by("pk").values_list("pk"))
