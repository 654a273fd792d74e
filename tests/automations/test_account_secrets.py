"""Whatever the kind, a secret is sealed when it comes in, and a mask when it is shown."""

import pytest

from regulars.automations.accounts import MASK, change_account, create_account, options_of, public_options

pytestmark = pytest.mark.django_db

SECRET = "sesame-open"
FROM = {"from_address": "casa@example.com"}
OPTIONS = {
    "smtp": ("password", FROM | {"host": "mail.example.com", "username": "casa"}),
    "twilio": ("auth_token", {"account_sid": "AC" + "a" * 32, "from": "+12015550100"}),
    "brevo": ("api_key", FROM | {"sms_sender": "CasaPepe"}),
    "ses": ("secret_access_key", FROM | {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "region": "eu-west-1"}),
    "postmark": ("server_token", FROM),
    "mailgun": ("api_key", FROM | {"domain": "mg.example.com"}),
    "resend": ("api_key", FROM),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_secret_is_sealed_and_never_shown_again(kind, organization):
    name, others = OPTIONS[kind]
    account = create_account(organization, "the one", kind, others | {name: SECRET})
    account.refresh_from_db()
    assert SECRET not in f"{account.options} {account.sealed_secrets} {public_options(account)}"
    assert public_options(account)[name] == MASK
    assert getattr(options_of(account), name).get_secret_value() == SECRET
    # What is shown can be given back.
    change_account(account, options=public_options(account))
    assert getattr(options_of(account), name).get_secret_value() == SECRET
