"""Fixtures that every room's tests may use: a restaurant, its venue, and customers in plain words."""

import gc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests import emptying, live

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)

# The files that take longest, the longest first: each process takes the next file when it has done one,
# and none should be left alone with a long one at the end.
LONGEST = (
    "crashes/test_under_fire.py",
    "journeys/test_guest_says_no.py",
    "journeys/test_command_line.py",
    "api/test_schema.py",
    "hospitality/test_demo.py",
    "crashes/test_database.py",
    "benchmarks/test_short_forms_of_questions.py",
    "benchmarks/test_short_forms_of_sending.py",
    "benchmarks/test_short_forms_of_mail.py",
    "crashes/test_hosts.py",
    "faults/test_runs.py",
    "hospitality/test_visit_summaries.py",
    "runs/test_fallback.py",
    "api/test_world_changes.py",
    "runs/test_histories.py",
    "hospitality/test_triggers_by_reference.py",
    "journeys/test_backups.py",
    "journeys/test_cdnow_by_mail.py",
    "journeys/test_one_click.py",
    "crashes/test_together.py",
    "api/test_upserts.py",
    "properties/test_three_ways.py",
    "embedded/test_serving.py",
    "embedded/test_troubles.py",
    "embedded/test_crashes.py",
)


def pytest_configure():
    # What is loaded until the tests begin stays: the collector need not look through it each time.
    gc.disable()
    from django.conf import settings
    from django.test import TransactionTestCase

    TransactionTestCase._fixture_teardown = lambda _: emptying.empty()
    # Of this process alone: the product's own takes a third of a second for each person that a test makes.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    turns = {str(Path(__file__).parent / name): turn for turn, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turns.get(str(item.path), len(LONGEST)))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings):
    """The tests' database is a copy of one that has the schema: much faster than making it each time."""
    from django.db import connection

    connection.settings_dict["TEST"]["TEMPLATE"] = live.template()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Processes keep some connections for life (the listener, the sandbox's outside world): end them,
    so that the database can be dropped."""
    yield
    from django.db import connection

    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND usename = current_user
                  AND pid <> pg_backend_pid()"""
        )


@pytest.fixture(autouse=True)
def _language():
    """The language of a page that was asked for ends with its test.

    `LocaleMiddleware` sets it for each request and never takes it back; a request always sets its
    own, but what a test calls directly would speak the language of the test before.
    """
    from django.utils import translation

    with translation.override(translation.get_language()):
        yield


# Silence by night and caps would make most tests depend on the hour and on each other: worlds have
# neither unless a test asks for them (`tact`), and those about the defaults ask for `considerate`.
TACTLESS = {"quiet_hours": None, "caps": []}


@pytest.fixture(autouse=True)
def _tactless(request, monkeypatch):
    from regulars.organizations.models import Organization

    if "considerate" not in request.fixturenames:
        # Django keeps the default of a field once it was asked for.
        monkeypatch.setitem(
            Organization._meta.get_field("tact").__dict__, "_get_default", lambda: dict(TACTLESS)
        )


@pytest.fixture(autouse=True)
def _reachable(request):
    """Guests reach this installation, as they must where advertising leaves by e-mail."""
    from django.conf import settings

    before, settings.PUBLIC_URL = settings.PUBLIC_URL, "https://regulars.example.com"
    yield
    settings.PUBLIC_URL = before


@pytest.fixture
def considerate():
    """Organizations of this test have the product's own defaults: quiet hours and caps."""


@pytest.fixture
def now() -> datetime:
    """Monday 15 June 2026, noon UTC (14:00 in Madrid)."""
    return NOW


@pytest.fixture
def organization(db):
    from regulars.organizations.models import Organization

    return Organization.objects.create(
        slug="casa-pepe", name="Casa Pepe", timezone="Europe/Madrid", country="ES", language="es"
    )


@pytest.fixture
def venue(organization):
    from regulars.hospitality.models import Venue

    return Venue.objects.create(organization=organization, name="Casa Pepe Centro", timezone="Europe/Madrid")


@pytest.fixture
def make_customer(organization) -> Callable[..., Any]:
    """Make a customer; `channels` they can be reached on, `consents` the channels they allowed."""
    from regulars.customers.addresses import fingerprint
    from regulars.customers.models import Address, Consent, Customer

    made = iter(range(100, 10_000))

    def make(*, channels=("email",), consents=None, at=NOW, address=None, **fields):
        number = next(made)
        owner = fields.pop("organization", organization)
        customer = Customer.objects.create(
            organization=owner, **({"first_name": f"Guest{number}", "language": "es"} | fields)
        )
        for position, channel in enumerate(channels):
            default = f"guest{number}@example.com" if channel == "email" else f"+1201555{number:04d}"
            text = address or default
            Address.objects.create(
                organization=owner,
                customer=customer,
                channel=channel,
                address=text,
                fingerprint=fingerprint(owner, text),
                position=position,
            )
        for channel in channels if consents is None else consents:
            Consent.objects.create(customer=customer, channel=channel, granted=True, at=at)
        return customer

    return make
