"""Accounts and their limits from the command line."""

import json

import pytest
from click.testing import CliRunner
from tests.shelf import META, Shelf, listed

from regulars.automations.accounts import create_account
from regulars.automations.models import ProviderAccount
from regulars.cli import people, starting
from regulars.providers import registry

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(monkeypatch, organization):
    """Call `regulars provider ...` in this process, on the test's database."""
    monkeypatch.setattr(starting, "start", lambda **_: None)

    def call(*arguments):
        return CliRunner().invoke(people.provider, arguments)

    return call


def test_limits_are_given_changed_and_lifted(provider):
    made = provider("add", "Slow", "--kind", "sandbox", "--per-second", "50", "--per-day", "5000")
    assert made.exit_code == 0, made.output
    account = ProviderAccount.objects.get()
    assert (account.per_second, account.per_minute, account.per_day) == (50, None, 5000)
    changed = provider("change", "Slow", "--per-second", "none", "--per-minute", "600", "--name", "Slower")
    assert "Slower" in changed.output
    assert "600 a minute, 5000 a day" in changed.output
    account.refresh_from_db()
    assert (account.per_second, account.per_minute, account.per_day) == (None, 600, 5000)


def test_what_is_not_named_stays(provider):
    provider("add", "Slow", "--kind", "sandbox", "-o", "delay_ms=5", "--per-day", "10")
    provider("change", "Slow", "-o", "reject_share=0.5")
    account = ProviderAccount.objects.get()
    assert (account.options["delay_ms"], account.options["reject_share"], account.per_day) == (5, 0.5, 10)


@pytest.mark.parametrize("value", ["0", "-3", "1.5", "many"])
def test_a_limit_that_is_none_is_refused(provider, value):
    refused = provider("add", "Slow", "--kind", "sandbox", "--per-second", value)
    assert refused.exit_code == 2
    assert "whole number above 0" in refused.output
    assert not ProviderAccount.objects.exists()


def test_the_list_says_limits_and_what_is_broken(provider):
    provider("add", "Fast", "--kind", "sandbox")
    provider("add", "Slow", "--kind", "sandbox", "--per-second", "2")
    ProviderAccount.objects.filter(name="Fast").update(broken_reason="The password was refused")
    ProviderAccount.objects.filter(name="Slow").update(told_recipients_per_day=250)
    fast, slow = provider("list").output.splitlines()
    assert "BROKEN: The password was refused" in fast
    assert "2 a second" in slow
    rows = json.loads(provider("list", "--json").output)
    assert [(row["name"], row["per_second"]) for row in rows] == [("Fast", None), ("Slow", 2)]
    assert [row["told_recipients_per_day"] for row in rows] == [None, 250]


def test_an_account_that_is_not_there_is_said(provider):
    problem = provider("change", "Nobody", "--per-day", "1").exception
    assert "regulars provider list" in str(problem)


def test_the_templates_of_an_account_are_copied(provider, organization, monkeypatch):
    real, shelf = registry.get, Shelf()
    monkeypatch.setattr(registry, "get", lambda kind: shelf if kind == "meta" else real(kind))
    create_account(organization, "WhatsApp", "meta", META)
    shelf.listed = [listed()]
    done = provider("sync", "WhatsApp")
    assert done.exit_code == 0, done.output
    assert done.output == "come_back  es  marketing  approved  1, venue\n"
    (row,) = json.loads(provider("sync", "WhatsApp", "--json").output)["templates"]
    assert (row["name"], row["placeholders"]) == ("come_back", ["1", "venue"])
    shelf.fault = "Meta cannot be reached"
    assert "cannot be reached" in str(provider("sync", "WhatsApp").exception)
    assert "provider list" in str(provider("sync", "Nobody").exception)


def test_an_account_may_take_a_further_channel(provider):
    provider("add", "Box", "--kind", "sandbox")
    provider("change", "Box", "--channel", "sms", "--channel", "whatsapp", "--recipients-per-day", "250")
    account = ProviderAccount.objects.get()
    assert (account.channels, account.recipients_per_day) == (["sms", "whatsapp"], 250)
    assert "250 guests in 24 hours" in provider("list").output
