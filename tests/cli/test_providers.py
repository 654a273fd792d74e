"""`regulars provider test`: whether an account works, from the command line."""

import pytest
from click.testing import CliRunner

from regulars.automations.account_checks import check_account
from regulars.automations.accounts import AccountError, create_account
from regulars.automations.models import ProviderAccount
from regulars.cli import people, starting
from regulars.providers import registry
from regulars.providers.base import Connection, Options, Provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(monkeypatch, organization):
    """Call `regulars provider ...` in this process, on the test's database."""
    monkeypatch.setattr(starting, "start", lambda **_: None)

    def call(*arguments):
        return CliRunner().invoke(people.provider, arguments)

    return call


def test_an_account_that_works_says_so(provider):
    provider("add", "Try", "--kind", "sandbox")
    told = provider("test", "Try")
    assert told.exit_code == 0
    assert "works" in told.output


def test_an_account_that_does_not_work_is_a_failure_that_says_what_to_do(provider, organization):
    # Nobody listens there.
    options = {"api_key": "k", "from_address": "a@example.com", "base_url": "http://127.0.0.1:9"}
    create_account(organization, "Letters", "brevo", options)
    told = provider("test", "Letters")
    assert told.exit_code == 1
    assert "Brevo cannot be reached" in str(told.exception)


def test_an_account_that_is_not_there_is_said(provider):
    assert "regulars provider list" in str(provider("test", "Nobody").exception)


def test_a_demo_never_asks_a_real_provider(organization):
    account = create_account(organization, "Letters", "brevo", {"api_key": "k", "sms_sender": "Pepe"})
    organization.is_demo = True
    account.organization = organization
    with pytest.raises(AccountError, match="sandbox"):
        check_account(account)


class Mute(Connection):
    async def send(self, batch):
        raise AssertionError


class Pigeon(Provider):
    kind, label, channels, options = "pigeon", "Pigeons", ("sms",), Options

    async def connect(self, options, outbox):
        return Mute()


def test_a_provider_that_cannot_be_asked_says_so(provider, organization, monkeypatch):
    ProviderAccount.objects.create(organization=organization, name="Loft", kind="pigeon", channels=["sms"])
    monkeypatch.setattr(registry, "kinds", lambda: ["pigeon"])
    monkeypatch.setattr(registry, "get", lambda kind: Pigeon())
    assert "cannot be asked" in provider("test", "Loft").output
