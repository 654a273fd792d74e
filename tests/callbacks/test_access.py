"""The secret address of an account, and what is set about its callbacks."""

import pytest

from regulars.automations import callback_access
from regulars.automations.callback_access import CallbackSettingError
from regulars.automations.models import CallbackAccess, ProviderAccount
from regulars.callbacks.doors import load
from regulars.providers.callbacks import PASSWORD

pytestmark = pytest.mark.django_db


def again(account):
    return ProviderAccount.objects.get(pk=account.pk)


def test_an_address_is_secret_and_stays_until_it_is_renewed(make_account, settings):
    account, other = make_account("brevo"), make_account("twilio")
    address = callback_access.address_of(account)
    assert address == callback_access.address_of(again(account))
    assert address.startswith(f"https://regulars.example.com/api/callbacks/brevo/{account.pk}-")
    token, password = callback_access.token_of(account), callback_access.password_of(account)
    assert len({token, password, callback_access.token_of(other)}) == 3
    key, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert callback_access.token_of(again(account)) != token
    settings.SECRET_KEY = key
    callback_access.renew(account)
    assert callback_access.token_of(again(account)) != token
    assert load("brevo", account.pk).token == callback_access.token_of(account)


def test_there_is_no_address_where_nobody_can_reach_us(make_account, settings):
    assert callback_access.address_of(make_account("smtp")) == ""
    settings.PUBLIC_URL = ""
    assert callback_access.address_of(make_account("brevo")) == ""


def test_secrets_are_sealed_and_reach_only_the_handler(make_account):
    account = make_account("ses", options={"region": "eu-west-1", "sandbox": True})
    callback_access.configure(account, secrets={"topic_arn": "arn:aws:sns:eu-west-1:1:r"})
    row = CallbackAccess.objects.get()
    assert "arn" not in row.sealed_secrets
    secrets = callback_access.secrets_of(again(account))
    assert secrets["topic_arn"] == "arn:aws:sns:eu-west-1:1:r"
    assert secrets[PASSWORD] == callback_access.password_of(account)
    callback_access.configure(again(account), tracking=True)
    assert callback_access.secrets_of(again(account))["topic_arn"]
    callback_access.configure(again(account), secrets={"topic_arn": ""})
    assert "topic_arn" not in callback_access.secrets_of(again(account))
    assert CallbackAccess.objects.get().tracking


def test_it_is_said_what_is_missing(make_account):
    account = make_account("resend")
    assert set(callback_access.missing(account)) == {"webhook_secret"}
    callback_access.configure(account, secrets={"webhook_secret": "whsec_x"})
    assert callback_access.missing(account) == {}
    assert callback_access.missing(make_account("meta")) == {}
    assert callback_access.missing(make_account("twilio")) == {}
    assert callback_access.missing(make_account("smtp")) == {}


def test_a_shared_key_may_be_given_to_twilio_but_need_not_be(make_account):
    account = make_account("twilio")
    callback_access.configure(account, secrets={"shared_key": "k"})
    assert load("twilio", account.pk).secrets["shared_key"] == "k"


@pytest.mark.parametrize(
    "wrong",
    [
        {"secrets": {"app_secret": "x"}},
        {"secrets": {"webhook_secret": "two\nlines"}},
        {"secrets": {"webhook_secret": "x" * 501}},
        {"stop_words": ["!!"]},
        {"stop_words": ["x" * 65]},
        {"stop_words": [str(n) for n in range(51)]},
    ],
)
def test_what_cannot_be_kept_is_refused_whole(make_account, wrong):
    account = make_account("resend")
    with pytest.raises(CallbackSettingError):
        callback_access.configure(account, tracking=True, **wrong)
    assert not CallbackAccess.objects.exists()


def test_a_door_is_only_where_an_account_of_the_kind_is(make_account):
    account = make_account("brevo")
    assert load("brevo", account.pk).account_id == account.pk
    assert load("twilio", account.pk) is None
    assert load("brevo", account.pk + 1) is None
    assert load("smtp", make_account("smtp").pk) is None
