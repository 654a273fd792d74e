"""Accounts: options checked by the provider, secrets sealed, a demo kept in the sandbox."""

import json

import pytest
from pydantic import SecretStr

from regulars.automations.accounts import (
    MASK,
    AccountError,
    Limits,
    accounts_by_channel,
    change_account,
    create_account,
    limits_of,
    options_of,
    public_options,
)
from regulars.automations.models import ProviderAccount
from regulars.lib.secret_box import SecretUnreadableError

SID = "AC" + "0" * 32
TWILIO = {"account_sid": SID, "auth_token": "hush-hush", "from": "+12015550100"}


@pytest.fixture
def twilio(organization):
    return create_account(organization, "Texts", "twilio", TWILIO)


def test_an_account_opens_with_the_options_it_was_made_with(twilio):
    options = options_of(ProviderAccount.objects.get(pk=twilio.pk))
    assert options.auth_token == SecretStr("hush-hush")
    assert options.sender == "+12015550100"
    assert twilio.channels == ["sms"]


def test_a_secret_is_neither_stored_open_nor_shown(twilio):
    row = ProviderAccount.objects.filter(pk=twilio.pk).values().get()
    assert "hush-hush" not in json.dumps(row, default=str)
    shown = public_options(twilio)
    assert shown["auth_token"] == MASK
    assert shown["from"] == "+12015550100"
    assert "hush-hush" not in json.dumps(shown)


def test_options_shown_and_saved_again_keep_the_secret(twilio):
    change_account(twilio, options=public_options(twilio) | {"validity_seconds": 60})
    options = options_of(ProviderAccount.objects.get(pk=twilio.pk))
    assert (options.auth_token.get_secret_value(), options.validity_seconds) == ("hush-hush", 60)
    change_account(twilio, options=TWILIO | {"auth_token": "new"})
    assert options_of(twilio).auth_token.get_secret_value() == "new"


def test_another_secret_key_is_said_and_a_new_secret_mends_it(twilio, settings):
    settings.SECRET_KEY = "another"
    with pytest.raises(SecretUnreadableError):
        options_of(twilio)
    change_account(twilio, options=TWILIO)
    assert options_of(twilio).auth_token.get_secret_value() == "hush-hush"


@pytest.mark.parametrize(
    ("kind", "options", "path", "words"),
    [
        ("twillio", {}, "kind", "“twilio”"),
        ("twilio", {"account_sid": SID, "from": "+12015550100"}, "options.auth_token", "missing"),
        ("twilio", TWILIO | {"token": "x"}, "options.token", "auth_token"),
        ("sandbox", {"reject_share": 2}, "options.reject_share", "at most 1"),
        ("sandbox", {"delay": 2}, "options.delay", "delay_ms"),
    ],
)
def test_wrong_options_are_refused_with_their_place(organization, kind, options, path, words):
    with pytest.raises(AccountError) as fault:
        create_account(organization, "Mine", kind, options)
    found = {item["path"]: item["problem"] for item in fault.value.details}
    assert words in found[path]
    assert words in str(fault.value)
    assert "hush-hush" not in str(fault.value)


def test_channels_must_be_the_providers(organization):
    with pytest.raises(AccountError, match="cannot send by “email”"):
        create_account(organization, "Texts", "twilio", TWILIO, ["email"])
    with pytest.raises(AccountError, match="at least one channel"):
        create_account(organization, "Texts", "twilio", TWILIO, [])
    account = create_account(organization, "Box", "sandbox", {}, ["sms", "sms"])
    assert account.channels == ["sms"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_an_account_needs_a_name(organization, name):
    with pytest.raises(AccountError, match="name"):
        create_account(organization, name, "sandbox", {})


def test_two_accounts_cannot_share_a_name(organization, twilio):
    with pytest.raises(AccountError, match="already"):
        create_account(organization, "Texts", "sandbox", {})
    other = create_account(organization, "Other", "sandbox", {})
    with pytest.raises(AccountError, match="already"):
        change_account(other, name="Texts")


def test_a_demo_organization_has_nothing_but_the_sandbox(organization, twilio):
    organization.is_demo = True
    organization.save(update_fields=["is_demo"])
    with pytest.raises(AccountError, match="sandbox"):
        create_account(organization, "Real", "smtp", {})
    smuggled = ProviderAccount.objects.select_related("organization").get(pk=twilio.pk)
    with pytest.raises(AccountError, match="sandbox"):
        options_of(smuggled)
    with pytest.raises(AccountError, match="sandbox"):
        change_account(smuggled, name="Still real")
    assert accounts_by_channel(organization).get("sms") is None
    box = create_account(organization, "Box", "sandbox", {})
    assert accounts_by_channel(organization).get("sms") == box


def test_a_channel_takes_its_first_working_account(organization, twilio):
    box = create_account(organization, "Box", "sandbox", {})
    assert accounts_by_channel(organization).get("sms") == twilio
    assert accounts_by_channel(organization).get("email") == box
    ProviderAccount.objects.filter(pk=twilio.pk).update(broken_reason="The password is wrong.")
    assert accounts_by_channel(organization).get("sms") == box
    twilio.refresh_from_db()
    change_account(twilio, options=TWILIO)
    assert accounts_by_channel(organization).get("sms") == twilio


def test_an_account_of_another_organization_is_never_taken(organization, twilio):
    from regulars.organizations.models import Organization

    other = Organization.objects.create(slug="other", name="Other")
    assert accounts_by_channel(other).get("sms") is None


def test_limits_are_kept_until_they_are_changed(organization):
    account = create_account(organization, "Slow", "sandbox", {}, limits=Limits(per_second=50, per_day=9))
    change_account(account, name="Slower")
    account.refresh_from_db()
    assert limits_of(account) == Limits(per_second=50, per_day=9)
    change_account(account, limits=limits_of(account).changed(per_second=None))
    account.refresh_from_db()
    assert limits_of(account) == Limits(per_day=9)


@pytest.mark.parametrize("value", [0, -1, 2**31])
def test_a_limit_that_cannot_be_is_refused_with_words(organization, value):
    with pytest.raises(AccountError, match="whole number from 1") as refusal:
        create_account(organization, "Slow", "sandbox", {}, limits=Limits(per_minute=value))
    assert refusal.value.details[0]["path"] == "per_minute"
    assert not ProviderAccount.objects.exists()


META = {"access_token": "x", "phone_number_id": "1", "business_account_id": "22"}


def test_the_portfolio_follows_the_options(organization):
    account = create_account(organization, "One", "meta", META)
    assert account.portfolio == "22"
    change_account(account, options=META | {"portfolio_id": "33"})
    assert ProviderAccount.objects.get(pk=account.pk).portfolio == "33"


def test_a_sender_that_is_taken_away_takes_its_channel_along(organization):
    both = TWILIO | {"whatsapp_from": "+12015550100"}
    account = create_account(organization, "Both", "twilio", both)
    assert account.channels == ["sms", "whatsapp"]
    change_account(account, options=TWILIO)
    assert account.channels == ["sms"]
    with pytest.raises(AccountError, match="with these options"):
        change_account(account, channels=["whatsapp"])
