"""Persons who call: owner, colleague, viewer, stranger; an automation with guests who are due."""

import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

import regulars.urls  # noqa: F401 - takes its defaults from the settings before a test changes those

PASSWORD = "correct horse battery"
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@pytest.fixture(autouse=True)
def _quiet_house(settings, tmp_path):
    """Nobody is throttled for another test's sake, and no call waits for a worker by accident."""
    settings.STATIC_ROOT = tmp_path
    settings.RUN_WAIT_SECONDS = 20
    cache.clear()


@pytest.fixture
def other_organization(db):
    from regulars.organizations import people

    return people.create_organization("la-otra", "La Otra")


@pytest.fixture
def person():
    """Make a person with a role in an organization."""
    from regulars.organizations import people

    def make(role, organization, email=None):
        return people.create_user(email or f"{role}@example.com", PASSWORD, role, organization)

    return make


@pytest.fixture
def owner(person, organization):
    return person("owner", organization)


@pytest.fixture
def colleague(person, organization):
    return person("staff", organization)


@pytest.fixture
def viewer(person, organization):
    return person("viewer", organization)


@pytest.fixture
def stranger(person, other_organization):
    return person("owner", other_organization, "stranger@example.com")


@pytest.fixture
def signed_in():
    """A client with the session cookie of a person, and no CSRF token."""

    def sign_in(user):
        client = Client(enforce_csrf_checks=True)
        client.force_login(user, backend=BACKEND)
        return client

    return sign_in


@pytest.fixture
def by_token(organization):
    """A client with a token of a person, and no cookie."""
    from regulars.organizations import tokens

    def make(user, of=None):
        token = tokens.create(user, of or organization, "test")
        return Client(headers={"authorization": f"Bearer {token}"})

    return make


@pytest.fixture
def account(organization):
    from regulars.automations.models import ProviderAccount

    return ProviderAccount.objects.create(
        organization=organization,
        name="Sandbox",
        kind="sandbox",
        channels=["whatsapp", "sms", "email"],
    )


DEFINITION = {
    "name": "We miss you",
    "trigger": "inactive",
    "parameters": {"days": 60},
    "channels": ["email"],
    "templates": [
        {
            "channel": "email",
            "language": "es",
            "subject": "Te echamos de menos",
            "body": "Hola {{ customer.first_name | default: 'amigo' }}",
        }
    ],
}


@pytest.fixture
def make_automation(organization, account):
    from regulars.automations import content

    def make(of=None, **changes):
        definition = content.Definition.model_validate({**DEFINITION, "enabled": True, **changes})
        return content.create(of or organization, definition, None)

    return make


@pytest.fixture
def automation(make_automation):
    return make_automation()


@pytest.fixture
def lapsed(make_customer, venue):
    """Make guests who were last here 90 days ago: due for a win-back."""
    from regulars.hospitality.models import Visit

    def make(**fields):
        customer = make_customer(**fields)
        for days in (120, 90):
            moment = timezone.now() - timedelta(days=days)
            Visit.objects.create(
                organization=customer.organization,
                customer=customer,
                venue=venue,
                visited_at=moment,
                service_date=moment.date(),
            )
        return customer

    return make


@pytest.fixture
def run(automation, owner):
    """A run that nobody has planned yet."""
    from regulars.runs import engine

    return engine.start(automation, now=timezone.now(), user=owner)


@pytest.fixture
def worker(transactional_db, monkeypatch):
    """Inside the block, what a worker does is done: runs are planned and their chunks sent."""
    from regulars.runs import engine

    @contextmanager
    def working():
        monkeypatch.setattr(engine, "worker_alive", lambda: True)
        stop = threading.Event()
        thread = threading.Thread(target=_work_until, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    return working


def _work_until(stop):
    import asyncio

    from django.db import connection

    from regulars.runs import tasks
    from regulars.runs.models import Run, RunChunk

    async def send(chunk_id):
        await tasks.send_chunk.func(chunk_id)
        await tasks.close()

    try:
        last = False
        while not last:
            # One more round after the end was asked for: nothing that was begun stays as it is.
            last = stop.is_set()
            for run_id in Run.objects.filter(state="planning").values_list("pk", flat=True):
                tasks.plan_run.func(str(run_id))
            for chunk_id in list(RunChunk.objects.filter(closed=False).values_list("pk", flat=True)):
                asyncio.run(send(chunk_id))
            time.sleep(0.05)
    finally:
        connection.close()


@pytest.fixture
def message(run, account, make_customer):
    """A message of the run that the provider refused."""
    from regulars.runs.models import Message

    customer = make_customer(address="marta@example.com")
    now = timezone.now()
    return Message.objects.create(
        organization_id=run.organization_id,
        run=run,
        chunk_number=1,
        automation=run.automation,
        version_id=run.automation.current_version.pk,
        customer_id=customer.pk,
        occasion="lapse:2026-03-01",
        purpose="marketing",
        channel="email",
        account_id=account.pk,
        address="marta@example.com",
        due_at=now,
        send_after=now,
        state="failed",
        reason="permanent",
        error="marta@example.com does not exist",
        created_at=now,
        state_at=now,
    )
