"""What the room's tests share: a trigger of their own, and accounts."""

from typing import ClassVar

import pytest
from django.db.models import QuerySet
from pydantic import Field

from regulars.automations import triggers
from regulars.automations.models import ProviderAccount
from regulars.automations.policy import Policy
from regulars.customers.models import Customer, Purpose


class HarvestParameters(triggers.Parameters):
    days: int = Field(default=60, ge=1, le=3650)
    note: str = Field(default="", max_length=20)


class HarvestTrigger(triggers.Trigger):
    """A trigger that only these tests know."""

    kind = "test_harvest"
    label = "Harvest"
    purpose = Purpose.MARKETING
    family = "test_family"
    parameters = HarvestParameters
    policy = Policy(cooldown_days=45)
    variables: ClassVar[dict[str, str]] = {"basket": "The basket: basket.weight, basket.picked_at"}
    sample: ClassVar[dict] = {"basket": {"weight": 3, "picked_at": "2026-06-15T21:00", "note": "ripe"}}
    optional: ClassVar[frozenset[str]] = frozenset({"basket.note"})

    def due(self, organization, parameters, now, customers=None) -> QuerySet:
        return Customer.objects.none().values_list("id")


@pytest.fixture(autouse=True)
def harvest():
    triggers.register(HarvestTrigger())
    yield triggers.get("test_harvest")
    triggers._triggers.pop("test_harvest")


@pytest.fixture
def mail_account(organization):
    return ProviderAccount.objects.create(
        organization=organization,
        name="Mail",
        kind="sandbox",
        channels=["email", "sms", "whatsapp"],
    )


@pytest.fixture
def definition():
    """An automation as the API receives it; change what a test is about."""

    def make(**changes):
        return {
            "name": "Come back",
            "trigger": "test_harvest",
            "parameters": {},
            "conditions": {},
            "channels": ["email"],
            "templates": [
                {
                    "channel": "email",
                    "language": "es",
                    "subject": "Hola",
                    "body": "Vuelve pronto a {{ venue.name }}.",
                }
            ],
            "policy": {},
            "schedule": None,
            "enabled": False,
        } | changes

    return make
