"""The pages of the sending accounts: which there are, how they are, and the forms that make and change them."""

import re
from datetime import UTC, datetime

import pytest
from django.utils import timezone
from pydantic import Field, SecretStr
from tests.shelf import META, Shelf, listed

from dashboard.pages import Page
from regulars.automations import accounts
from regulars.automations.models import ProviderAccount
from regulars.organizations.models import AuditEvent, Organization
from regulars.providers import registry
from regulars.providers.base import Connection, Options, Provider

SECRET = "a-key-that-nobody-may-see"
SMTP = {
    "name": "Our letters",
    "options.host": "mail.example.com",
    "options.security": "starttls",
    "options.username": "pepe",
    "options.password": SECRET,
    "options.from_address": "hola@example.com",
}
SID = "AC" + "0" * 32
TWILIO = {"account_sid": SID, "auth_token": SECRET, "from": "+12015550100"}


@pytest.fixture
def letters(organization):
    """An account at a mail server, with a password and limits."""
    options = {name.removeprefix("options."): value for name, value in SMTP.items() if "." in name}
    limits = accounts.Limits(per_second=5, recipients_per_day=250)
    return accounts.create_account(organization, "Our letters", "smtp", options, limits=limits)


@pytest.fixture
def texts(organization):
    """An account that sends SMS."""
    return accounts.create_account(organization, "Our SMS", "twilio", TWILIO)


@pytest.fixture
def shelf(monkeypatch):
    found, real = Shelf(), registry.get
    found.listed = [listed()]
    monkeypatch.setattr(registry, "get", lambda kind: found if kind == "meta" else real(kind))
    return found


@pytest.fixture
def whatsapp(organization, shelf):
    return accounts.create_account(organization, "WhatsApp", "meta", META)


def shown(client, address):
    answer = client.get(address)
    assert answer.status_code == 200, address
    return Page(answer)


def faults(answer):
    """What is said beside each field: by the id of the field, the words it is described by."""
    text = answer.content.decode()
    return {
        name.removeprefix("options-"): words
        for name, words in re.findall(r'<p class="error" id="([\w-]+)-fault">([^<]*)</p>', text)
    }


def field(page, path):
    """The attributes of the field of this name."""
    return next(each for tag, each in page.tags if tag in ("input", "select") and each.get("name") == path)


def said_after(client, answer):
    assert answer.status_code == 302
    return Page(client.get(answer.url)).text


def test_the_list_says_what_each_is_and_what_is_wrong(signed_in, letters, texts):
    ProviderAccount.objects.filter(pk=letters.pk).update(
        broken_reason="The password was refused.", told_recipients_per_day=100
    )
    text = shown(signed_in, "/providers").text
    assert text.index("Our letters") < text.index("Our SMS")
    assert "broken The password was refused." in text
    assert "Messages a second at most 5" in text
    # The stricter of the owner's and the provider's.
    assert "WhatsApp guests in 24 hours at most 100" in text
    assert "Channels SMS" in text
    assert "Limits none" in text
    # That is for WhatsApp, which it does not send.
    assert "Templates" not in text


def test_the_navigation_leads_there_for_those_who_may_change_accounts(signed_in, as_role, account):
    assert ("a", "/providers") in Page(signed_in.get("/")).links()
    assert ("a", "/providers") not in Page(as_role("staff").get("/")).links()


def test_the_pages_are_for_those_who_may_change_accounts(as_role, letters):
    for role, status in (("manager", 200), ("viewer", 403), ("staff", 403)):
        client = as_role(role)
        for address in ("", "/new", "/new/smtp", f"/{letters.pk}", f"/{letters.pk}/change"):
            assert client.get(f"/providers{address}").status_code == status, (role, address)
    assert client.post("/providers/new/smtp", SMTP | {"name": "Other"}).status_code == 403
    for verb in ("change", "test", "sync", "callbacks"):
        assert client.post(f"/providers/{letters.pk}/{verb}", SMTP).status_code == 403
    assert ProviderAccount.objects.count() == 1
    assert not AuditEvent.objects.exists()


def test_an_account_of_another_house_is_not_found(client, letters, make_member):
    other = Organization.objects.create(slug="other", name="Other", timezone="Europe/Madrid")
    user = make_member(other, email="stranger@example.com")
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert "Our letters" not in Page(client.get("/providers")).text
    for address in (f"/providers/{letters.pk}", f"/providers/{letters.pk}/change"):
        assert client.get(address).status_code == 404
    for verb in ("change", "test", "sync", "callbacks"):
        assert client.post(f"/providers/{letters.pk}/{verb}", SMTP).status_code == 404


def test_every_kind_has_a_form_of_its_own_options(signed_in):
    links = Page(signed_in.get("/providers/new")).links()
    for provider in registry.all_providers():
        address = f"/providers/new/{provider.kind}"
        assert ("a", address) in links
        page = shown(signed_in, address)
        names = {each.get("name") for _, each in page.tags}
        declared = accounts._names(provider.options)
        assert {f"options.{name}" for name in declared} <= names
        for name in accounts.secret_names(provider):
            assert field(page, f"options.{name}")["type"] == "password"


def test_one_is_added_and_its_secret_is_never_shown(signed_in, owner):
    form = SMTP | {"per_second": "5", "per_day": "", "recipients_per_day": " 250 "}
    answer = signed_in.post("/providers/new/smtp", form)
    made = ProviderAccount.objects.get()
    assert answer.url == f"/providers/{made.pk}"
    assert (made.name, made.kind, made.channels) == ("Our letters", "smtp", ["email"])
    assert accounts.limits_of(made) == accounts.Limits(per_second=5, recipients_per_day=250)
    assert accounts.options_of(made).password.get_secret_value() == SECRET
    event = AuditEvent.objects.get()
    assert (event.action, event.user, event.subject) == ("provider.created", owner, str(made.pk))
    assert event.details == {"kind": "smtp"}
    for address in ("/providers", f"/providers/{made.pk}", f"/providers/{made.pk}/change", "/audit"):
        assert SECRET not in signed_in.get(address).content.decode(), address


@pytest.mark.parametrize(
    ("changed", "where", "words"),
    [
        ({"name": " "}, "name", "needs a name"),
        ({"options.from_address": ""}, "from_address", "This is missing."),
        ({"options.from_address": "nobody"}, "from_address", "Not an e-mail address"),
        ({"options.port": "70000"}, "port", "at most 65535"),
        ({"options.port": "many"}, "port", "whole number"),
        ({"options.security": "ssl"}, "security", "starttls"),
        ({"per_second": "-1"}, "per_second", "from 1 to 2,147,483,647"),
        ({"per_day": "0"}, "per_day", "not 0"),
        ({"per_minute": "9" * 5000}, "per_minute", "whole number"),
    ],
)
def test_a_fault_is_said_beside_its_field_and_nothing_is_made(signed_in, changed, where, words):
    answer = signed_in.post("/providers/new/smtp", SMTP | changed)
    assert answer.status_code == 422
    found = faults(answer)
    assert list(found) == [where]
    assert words in found[where]
    wrong = [each for tag, each in Page(answer).tags if each.get("aria-invalid")]
    assert [f"{each['id']}-fault" in each["aria-describedby"] for each in wrong] == [True]
    assert not ProviderAccount.objects.exists()
    assert not AuditEvent.objects.exists()


def test_what_was_entered_stays_in_the_form_but_the_secret_does_not(signed_in):
    answer = signed_in.post("/providers/new/smtp", SMTP | {"options.from_address": "nobody", "per_day": "9"})
    page = Page(answer)
    assert field(page, "name")["value"] == "Our letters"
    assert field(page, "options.host")["value"] == "mail.example.com"
    assert field(page, "per_day")["value"] == "9"
    assert SECRET not in answer.content.decode()


def test_what_is_wrong_with_the_whole_is_said_above(signed_in):
    answer = signed_in.post("/providers/new/smtp", SMTP | {"options.password": ""})
    assert answer.status_code == 422
    assert faults(answer) == {}
    assert "Give both username and password, or neither." in Page(answer).text


def test_the_limit_on_guests_is_asked_where_there_is_whatsapp(signed_in, letters, texts):
    def asks(address):
        return "recipients_per_day" in {each.get("name") for _, each in shown(signed_in, address).tags}

    assert asks("/providers/new/meta")
    assert not asks("/providers/new/smtp")
    # Where one is set, it can be lifted.
    assert asks(f"/providers/{letters.pk}/change")


def test_a_name_is_taken_once(signed_in, letters):
    answer = signed_in.post("/providers/new/smtp", SMTP)
    assert "already an account called" in faults(answer)["name"]


def test_channels_are_those_that_are_ticked_else_all_that_the_options_allow(signed_in):
    form = {f"options.{name}": value for name, value in TWILIO.items()}
    signed_in.post("/providers/new/twilio", form | {"name": "All"})
    assert ProviderAccount.objects.get(name="All").channels == ["sms"]
    answer = signed_in.post("/providers/new/twilio", form | {"name": "Both", "channels": ["sms", "whatsapp"]})
    assert "with these options" in faults(answer)["channels"]
    form["options.whatsapp_from"] = "+12015550100"
    signed_in.post("/providers/new/twilio", form | {"name": "One", "channels": ["whatsapp"]})
    assert ProviderAccount.objects.get(name="One").channels == ["whatsapp"]


def test_a_kind_that_is_not_there_is_not_found(signed_in):
    assert signed_in.get("/providers/new/pigeon").status_code == 404
    assert signed_in.post("/providers/new/pigeon", {"name": "x"}).status_code == 404


def test_a_demo_is_offered_the_sandbox_alone(signed_in, organization):
    Organization.objects.update(is_demo=True)
    page = shown(signed_in, "/providers/new")
    kinds = [link for _, link in page.links() if link.startswith("/providers/new/")]
    assert kinds == ["/providers/new/sandbox"]
    assert "its guests are made up" in page.text
    assert signed_in.get("/providers/new/smtp").url == "/providers/new"
    answer = signed_in.post("/providers/new/smtp", SMTP)
    assert answer.status_code == 422
    assert "can only use the sandbox" in Page(answer).text
    assert not ProviderAccount.objects.exists()
    assert signed_in.post("/providers/new/sandbox", {"name": "Try"}).status_code == 302
    assert ProviderAccount.objects.get().kind == "sandbox"


def test_the_form_of_an_account_shows_what_is_stored(signed_in, letters):
    page = shown(signed_in, f"/providers/{letters.pk}/change")
    assert field(page, "options.host")["value"] == "mail.example.com"
    assert field(page, "per_second")["value"] == "5"
    password = field(page, "options.password")
    assert "value" not in password
    assert "required" not in password
    assert "never shown" in page.text


def test_a_secret_left_empty_stays_and_the_account_counts_as_working(signed_in, letters, owner):
    ProviderAccount.objects.update(broken_reason="The password was refused.")
    form = SMTP | {"name": "Letters", "options.password": "", "options.host": "smtp.example.com"}
    answer = signed_in.post(f"/providers/{letters.pk}/change", form | {"per_minute": "60"})
    assert "Saved." in said_after(signed_in, answer)
    letters.refresh_from_db()
    assert (letters.name, letters.broken_reason) == ("Letters", "")
    assert accounts.options_of(letters).host == "smtp.example.com"
    assert accounts.options_of(letters).password.get_secret_value() == SECRET
    # What the form leaves empty is lifted.
    assert accounts.limits_of(letters) == accounts.Limits(per_minute=60)
    event = AuditEvent.objects.get()
    assert (event.action, event.user, event.details) == ("provider.changed", owner, {"kind": "smtp"})


def test_a_secret_is_replaced_or_taken_away(signed_in, letters):
    address = f"/providers/{letters.pk}/change"
    signed_in.post(address, SMTP | {"options.password": " another "})
    letters.refresh_from_db()
    assert accounts.options_of(letters).password.get_secret_value() == " another "
    form = SMTP | {"options.username": "", "options.password": "", "forget.options.password": "on"}
    assert signed_in.post(address, form).status_code == 302
    letters.refresh_from_db()
    assert accounts.options_of(letters).password.get_secret_value() == ""


def test_a_change_that_cannot_be_changes_nothing(signed_in, letters):
    answer = signed_in.post(f"/providers/{letters.pk}/change", SMTP | {"name": "X", "options.port": "0"})
    assert answer.status_code == 422
    assert "at least 1" in faults(answer)["port"]
    assert Page(answer).text.count("Change Our letters") == 2
    letters.refresh_from_db()
    assert letters.name == "Our letters"
    assert not AuditEvent.objects.exists()


@pytest.fixture
def another_key(settings, letters):
    """The installation's key after an account's secrets were sealed with the one before."""
    settings.SECRET_KEY = "another key of the installation"


def test_a_changed_key_of_the_installation_asks_for_the_secrets_again(letters, another_key, signed_in):
    page = shown(signed_in, f"/providers/{letters.pk}/change")
    assert "never shown" not in page.text
    answer = signed_in.post(f"/providers/{letters.pk}/change", SMTP | {"options.password": ""})
    assert "cannot be read with this SECRET_KEY" in said_after(signed_in, answer)
    assert "cannot be read" in said_after(signed_in, signed_in.post(f"/providers/{letters.pk}/test"))
    answer = signed_in.post(f"/providers/{letters.pk}/change", SMTP)
    assert answer.url == f"/providers/{letters.pk}"
    assert "SECRET_KEY" not in Page(signed_in.get(answer.url)).text


def test_an_account_whose_secrets_cannot_be_read_is_shown(whatsapp, another_key, signed_in):
    page = Page(signed_in.get(f"/providers/{whatsapp.pk}", headers={"Accept-Language": "es"}))
    assert "El secreto guardado no se puede leer con esta SECRET_KEY" in page.text


def test_saving_the_form_as_it_is_changes_nothing(signed_in, organization):
    """Every kind's form, sent back as a browser would, keeps the options that are stored."""
    options = {"reject_share": 0.25, "reject_addresses": ["@example.com", "0100"], "delay_ms": 5}
    box = accounts.create_account(organization, "Box", "sandbox", options, ["sms", "email"])
    for account in (box, accounts.create_account(organization, "WA", "meta", META)):
        before = (account.options, account.channels, accounts.secrets_set(account))
        page = shown(signed_in, f"/providers/{account.pk}/change")
        answer = signed_in.post(f"/providers/{account.pk}/change", _as_sent(page))
        assert answer.status_code == 302
        account.refresh_from_db()
        assert (account.options, account.channels, accounts.secrets_set(account)) == before


def _as_sent(page):
    """What a browser sends of the form: ticked boxes, chosen options, and texts."""
    form, select = {}, ""
    for tag, each in page.tags:
        select = each.get("name", select) if tag == "select" else select
        if tag == "option" and "selected" in each:
            form[select] = each["value"]
        if tag == "input" and each.get("type") in ("checkbox", "radio"):
            if "checked" in each:
                form.setdefault(each["name"], []).append(each.get("value", "on"))
        elif tag == "input" and "name" in each:
            form[each["name"]] = each.get("value", "")
    return form


def test_a_test_says_in_words_what_the_provider_answered(signed_in, account, organization):
    answer = signed_in.post(f"/providers/{account.pk}/test")
    assert "It can be used. The sandbox works" in said_after(signed_in, answer)
    # Nobody listens there.
    options = {"api_key": "k", "from_address": "a@example.com", "base_url": "http://127.0.0.1:9"}
    deaf = accounts.create_account(organization, "Deaf", "brevo", options)
    answer = signed_in.post(f"/providers/{deaf.pk}/test")
    assert "It cannot be used. Brevo cannot be reached" in said_after(signed_in, answer)


def test_a_demo_never_asks_a_real_provider(signed_in, letters):
    Organization.objects.update(is_demo=True)
    answer = signed_in.post(f"/providers/{letters.pk}/test")
    assert "can only use the sandbox" in said_after(signed_in, answer)


class Mute(Connection):
    async def send(self, batch):
        raise AssertionError


class PigeonOptions(Options):
    """What another package might declare."""

    ring: SecretStr
    roofs: list[str] = Field(default=["north"], description="Where they land.")
    fast: bool = True
    weight: float | None = None


class Pigeon(Provider):
    kind = "pigeon"
    label = "Pigeons"
    channels = ("sms",)
    options = PigeonOptions

    async def connect(self, options, outbox):
        return Mute()


@pytest.fixture
def pigeon(monkeypatch):
    real = registry.get
    monkeypatch.setattr(registry, "kinds", lambda: [*registry.BUILT_IN, "pigeon"])
    monkeypatch.setattr(registry, "_usable", lambda: [pigeon])
    monkeypatch.setattr(registry, "get", lambda kind: pigeon if kind == "pigeon" else real(kind))
    pigeon = Pigeon()
    return pigeon


def test_the_form_of_another_package_follows_what_it_declares(signed_in, pigeon):
    page = shown(signed_in, "/providers/new/pigeon")
    assert field(page, "options.ring")["type"] == "password"
    assert field(page, "options.roofs")["value"] == "north"
    assert "checked" in field(page, "options.fast")
    assert field(page, "options.weight")["step"] == "any"
    assert "Where they land." in page.text
    form = {"name": "P", "options.ring": "k", "options.roofs": "a, b", "options.weight": "1.5"}
    assert signed_in.post("/providers/new/pigeon", form).status_code == 302
    made = ProviderAccount.objects.get()
    assert made.options == {"roofs": ["a", "b"], "fast": False, "weight": 1.5}


def test_a_provider_that_cannot_be_asked_says_so(signed_in, pigeon, organization):
    made = accounts.create_account(organization, "P", "pigeon", {"ring": "k"})
    answer = signed_in.post(f"/providers/{made.pk}/test")
    assert "cannot be asked without sending" in said_after(signed_in, answer)


def test_an_account_whose_package_is_gone_is_shown_and_cannot_be_changed(signed_in, letters):
    ProviderAccount.objects.update(kind="gone")
    assert "gone" in shown(signed_in, "/providers").text
    text = shown(signed_in, f"/providers/{letters.pk}").text
    assert "“gone” is not installed" in text
    assert signed_in.get(f"/providers/{letters.pk}/change").status_code == 404
    assert "gone" in said_after(signed_in, signed_in.post(f"/providers/{letters.pk}/test"))
    assert "gone" in said_after(signed_in, signed_in.post(f"/providers/{letters.pk}/sync"))


def test_templates_are_copied_and_shown(signed_in, whatsapp, shelf, owner):
    assert "Templates last copied never" in shown(signed_in, "/providers").text
    answer = signed_in.post(f"/providers/{whatsapp.pk}/sync")
    text = said_after(signed_in, answer)
    assert "1 template was copied." in text
    assert "come_back es Marketing approved" in text
    event = AuditEvent.objects.get()
    assert (event.action, event.user, event.subject) == ("provider.synchronised", owner, str(whatsapp.pk))
    whatsapp.templates.update(synced_at=datetime(2025, 3, 1, 12, 0, tzinfo=UTC))
    assert "Templates last copied 1 Mar 2025, 13:00" in shown(signed_in, "/providers").text


def test_an_automation_that_has_to_stop_for_it_is_named(signed_in, whatsapp, shelf, make_automation):
    automation = make_automation()
    automation.current_version.templates.update(
        channel="whatsapp", subject="", body="", provider_template="come_back"
    )
    shelf.listed = []
    text = said_after(signed_in, signed_in.post(f"/providers/{whatsapp.pk}/sync"))
    assert "“We miss you” is paused" in text


def test_a_list_that_cannot_be_read_is_said(signed_in, whatsapp, shelf, letters):
    shelf.fault = "Meta cannot be reached"
    text = said_after(signed_in, signed_in.post(f"/providers/{whatsapp.pk}/sync"))
    assert "Meta cannot be reached" in text
    text = said_after(signed_in, signed_in.post(f"/providers/{letters.pk}/sync"))
    assert "keeps no templates" in text
    assert "Copy the templates now" not in text
    assert not AuditEvent.objects.exists()


def test_it_says_where_the_provider_is_to_call(signed_in, whatsapp, letters, settings):
    from regulars.automations import callback_access

    page = shown(signed_in, f"/providers/{whatsapp.pk}")
    assert callback_access.address_of(whatsapp) in page.text
    assert callback_access.password_of(whatsapp) in page.text
    assert "Still missing app_secret" in page.text
    assert "Where the provider tells us" not in shown(signed_in, f"/providers/{letters.pk}").text
    settings.PUBLIC_URL = ""
    text = shown(signed_in, f"/providers/{whatsapp.pk}").text
    assert "REGULARS_PUBLIC_URL" in text
    assert callback_access.path_of(whatsapp) in text


def test_what_checks_callbacks_is_set_and_never_shown(signed_in, whatsapp, owner):
    from regulars.automations import callback_access

    address = f"/providers/{whatsapp.pk}/callbacks"
    answer = signed_in.post(address, {"app_secret": SECRET, "verify_token": ""})
    text = said_after(signed_in, answer)
    assert "Still missing" not in text
    whatsapp.refresh_from_db()
    assert callback_access.secrets_of(whatsapp)["app_secret"] == SECRET
    assert SECRET not in signed_in.get(f"/providers/{whatsapp.pk}").content.decode()
    event = AuditEvent.objects.get()
    assert (event.action, event.user, event.details) == (
        "provider.callbacks_changed",
        owner,
        {"what": "secrets"},
    )
    text = said_after(signed_in, signed_in.post(address, {"app_secret": "x" * 501}))
    assert "at most 500 characters" in text


def test_numbers_that_guests_complain_of_are_named(signed_in, whatsapp):
    ProviderAccount.objects.update(told={"flagged +12015550100": [timezone.now().isoformat(), False]})
    assert "Guests complain of +12015550100" in shown(signed_in, f"/providers/{whatsapp.pk}").text


def test_faults_are_said_in_spanish(signed_in):
    changed = {"options.port": "70000", "options.from_address": ""}
    answer = signed_in.post("/providers/new/smtp", SMTP | changed, headers={"Accept-Language": "es"})
    assert faults(answer) == {"port": "Tiene que ser 65535 como mucho.", "from_address": "Falta esto."}
    answer = signed_in.post("/providers/new/smtp", SMTP | {"per_day": "x"}, headers={"Accept-Language": "es"})
    assert faults(answer)["per_day"].startswith("Ponga un número entero de 1 a")


def test_changing_needs_the_token_of_the_form(owner, letters):
    from django.test import Client

    careful = Client(enforce_csrf_checks=True)
    careful.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert careful.post(f"/providers/{letters.pk}/change", SMTP).status_code == 403
