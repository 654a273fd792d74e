"""Where a provider calls, from the command line."""

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from regulars.automations import callback_access
from regulars.automations.models import ProviderAccount
from regulars.callbacks.models import Callback
from regulars.cli import callbacks, operations, starting
from regulars.lib import sql

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(monkeypatch, organization, settings):
    monkeypatch.setattr(starting, "start", lambda **_: None)
    settings.PUBLIC_URL = "https://regulars.example.com"
    for kind in ("meta", "sandbox"):
        ProviderAccount.objects.create(organization=organization, name=kind, kind=kind, channels=["whatsapp"])
    return lambda *arguments: CliRunner().invoke(callbacks.provider_callbacks, arguments)


def test_an_owner_sees_where_and_what_is_missing(call):
    shown = call("meta").output
    assert "https://regulars.example.com/api/callbacks/meta/" in shown
    assert "Missing   -o app_secret=" in shown
    shown = call("meta", "-o", "app_secret=s3cret", "--no-confirms", "--stop-word", "fora").output
    assert "Missing" not in shown
    assert "s3cret" not in shown
    account = ProviderAccount.objects.get(kind="meta")
    assert callback_access.secrets_of(account)["app_secret"] == "s3cret"
    assert (account.callback_access.confirms, account.callback_access.stop_words) == (False, ["fora"])


def test_a_program_gets_json_and_another_address_if_it_asks(call):
    first, second = (json.loads(call("meta", "--json", *more).output) for more in ([], ["--renew"]))
    assert first["address"] != second["address"]
    assert set(second) == {"address", "path", "password", "missing"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "regulars provider list"),
        (["sandbox"], "calls nobody back"),
        (["meta", "-o", "x=1"], "no “x”"),
    ],
)
def test_what_cannot_be_is_said(call, arguments, words):
    refused = call(*arguments)
    assert refused.exit_code != 0
    assert words in str(refused.exception)


def test_the_doctor_misses_what_refuses_and_what_waits(call):
    with pytest.raises(starting.CommandError, match="meta are refused without app_secret"):
        operations._callbacks()
    call("meta", "-o", "app_secret=s3cret")
    assert operations._callbacks() == "1 accounts can be called back"
    account = ProviderAccount.objects.get(kind="meta")
    hour_ago = sql.database_now() - timedelta(hours=1)
    Callback.objects.create(account=account, headers={}, body=b"{}", due_at=hour_ago)
    with pytest.raises(starting.CommandError, match="1 wait to be applied"):
        operations._callbacks()
