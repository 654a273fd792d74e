"""A restaurant with an account, automations made in one line, and visits in days ago."""

from datetime import timedelta

import pytest
from tests.runs.scripted import Scripted

from regulars.automations.models import Automation, AutomationVersion, ProviderAccount, Template
from regulars.lib.clock import local_date
from regulars.providers import registry
from regulars.providers.base import Options
from regulars.runs import preparing


@pytest.fixture
def account(organization):
    return ProviderAccount.objects.create(
        organization=organization,
        name="sandbox",
        kind="sandbox",
        channels=["whatsapp", "sms", "email"],
    )


@pytest.fixture
def make_automation(organization, account):
    """An enabled automation; by default win-back by e-mail."""
    families = {"inactive": "win_back"}

    def make(trigger="inactive", *, channels=("email",), parameters=None, policy=None, **fields):
        owner = fields.pop("organization", organization)
        conditions = fields.pop("conditions", {})
        body = fields.pop("body", "Hola {{ customer.first_name }}")
        automation = Automation.objects.create(
            organization=owner,
            trigger=trigger,
            **(
                {
                    "name": trigger,
                    "enabled": True,
                    "version_number": 1,
                    "family": families.get(trigger, ""),
                }
                | fields
            ),
        )
        version = AutomationVersion.objects.create(
            automation=automation,
            number=1,
            parameters=parameters or {},
            conditions=conditions,
            channels=list(channels),
            policy=policy or {},
        )
        for channel in channels:
            Template.objects.create(
                version=version,
                channel=channel,
                language="es",
                subject="Hola" if channel == "email" else "",
                body=body,
            )
        return automation

    return make


@pytest.fixture
def make_visit(organization, venue):
    """A completed visit some days before `now`."""
    from regulars.hospitality.models import Visit

    def make(customer, *, days_ago, now, **fields):
        moment = now - timedelta(days=days_ago)
        place = fields.pop("venue", venue)
        return Visit.objects.create(
            organization=customer.organization,
            customer=customer,
            venue=place,
            visited_at=moment,
            service_date=local_date(moment, place.timezone, place.day_starts_at_hour),
            **fields,
        )

    return make


@pytest.fixture
def lapsed(make_customer, make_visit, now):
    """A customer whose last of two visits was 90 days ago: due for a win-back."""

    def make(**fields):
        customer = make_customer(**fields)
        make_visit(customer, days_ago=120, now=now)
        make_visit(customer, days_ago=90, now=now)
        return customer

    return make


@pytest.fixture
def provider(monkeypatch):
    scripted = Scripted()
    monkeypatch.setattr(registry, "get", lambda kind: scripted)
    monkeypatch.setattr(preparing, "options_of", lambda account: Options())
    return scripted
