"""Accounts that are called back at, and the vendors that call."""

import pytest

from regulars.automations import callback_access
from regulars.automations.models import ProviderAccount
from regulars.lib import secret_box

HOST = "https://regulars.example.com"


@pytest.fixture(autouse=True)
def _public(settings):
    settings.PUBLIC_URL = HOST


@pytest.fixture
def make_account(organization, settings):
    """An account of some kind, with the secrets its callbacks need."""
    needed = {
        "twilio": {"auth_token": "t0ken"},
        "meta": {"app_secret": "s3cret"},
        "mailgun": {"webhook_signing_key": "k3y"},
    }

    def make(kind, channels=("sms", "whatsapp", "email"), **fields):
        return ProviderAccount.objects.create(
            **(
                {
                    "organization": organization,
                    "name": kind,
                    "kind": kind,
                    "channels": list(channels),
                    "sealed_secrets": secret_box.seal(needed.get(kind, {}), settings.SECRET_KEY),
                }
                | fields
            )
        )

    return make


@pytest.fixture
def path_of():
    return callback_access.path_of


@pytest.fixture
def automation(organization):
    """An enabled automation with one version."""
    from regulars.automations.models import Automation, AutomationVersion

    made = Automation.objects.create(
        organization=organization, trigger="inactive", name="We miss you", enabled=True, version_number=1
    )
    AutomationVersion.objects.create(automation=made, number=1, channels=["sms"])
    return made


@pytest.fixture
def arrive():
    """Let a vendor's (checked) request lie in the table, as if it had just come in."""
    import json
    from urllib.parse import urlencode

    from regulars.callbacks.models import Callback

    def come(account, told, query="", **fields):
        body = urlencode(told) if account.kind == "twilio" else json.dumps(told)
        fields = {"headers": {}, "body": body.encode(), "query": query} | fields
        return Callback.objects.create(account=account, **fields)

    return come


@pytest.fixture
def apply_all():
    """Apply what is due, as the worker does."""
    from datetime import timedelta

    from regulars.callbacks import applying
    from regulars.lib import sql

    def apply(after=timedelta(0)):
        now = sql.database_now() + after
        done = applying.apply_due(now)
        while applying.apply_due(now).number:
            pass
        return done

    return apply
