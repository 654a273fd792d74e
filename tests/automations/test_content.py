"""Automations as their owner writes them: checked with a place for each fault, frozen in versions."""

import threading

import pytest
from django.db import connection

from regulars.automations import content, triggers
from regulars.automations.content import DefinitionError, parse_definition
from regulars.automations.models import Automation, AutomationVersion, ProviderAccount
from regulars.automations.public_links import missing_link
from regulars.lib.secret_box import seal


def made(organization, data, user=None):
    return content.create(organization, parse_definition(data), user)


def faults(organization, data):
    with pytest.raises(DefinitionError) as fault:
        made(organization, data)
    return {item["path"]: item["problem"] for item in fault.value.details}


def text(**changes):
    return {"channel": "email", "language": "es", "subject": "Hola", "body": "Vuelve."} | changes


def test_defaults_come_from_the_trigger(organization, definition):
    automation = made(organization, definition(parameters={"days": 30}))
    version = automation.current_version
    assert version.parameters == {"days": 30, "note": ""}
    assert version.policy["cooldown_days"] == 45
    assert automation.family == "test_family"
    assert automation.enabled is False


def test_what_was_created_can_be_read_and_created_again(organization, definition):
    first = made(organization, definition(channels=["email", "sms"], templates=[
        text(), text(channel="sms", subject=""), text(language="en"),
    ], conditions={"field": "tier", "operator": "is", "value": "gold"}, policy={"cooldown_days": 7},
        schedule={"times": ["10:00"]}))  # fmt: skip
    shown = content.definition_of(first)
    again = made(organization, shown)
    assert content.definition_of(again) == shown
    assert shown["policy"]["cooldown_days"] == 7
    assert shown["channels"] == ["email", "sms"]
    assert len(shown["templates"]) == 3


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"parameters": {"dais": 3}}, "parameters.dais", "“days”"),
        ({"parameters": {"days": 0}}, "parameters.days", "at least 1"),
        ({"parameters": {"days": "soon"}}, "parameters.days", "whole number"),
        ({"parameters": {"note": "x" * 21}}, "parameters.note", "20 characters"),
        ({"policy": {"cooldown": 3}}, "policy.cooldown", "cooldown_days"),
        ({"policy": {"cooldown_days": -1}}, "policy.cooldown_days", "at least 0"),
        ({"policy": {"delivery": "at_least_once"}}, "policy.delivery", "transactional"),
        ({"policy": {"delivery": "exactly_once"}}, "policy.delivery", "at_least_once"),
        ({"trigger": "test_harvst"}, "trigger", "“test_harvest”"),
        (
            {"conditions": {"field": "teir", "operator": "is", "value": "x"}},
            "conditions.field",
            "tier",
        ),
        ({"channels": []}, "channels", "At least 1"),
        ({"channels": ["email", "email"]}, "channels", "once"),
        ({"channels": ["fax"]}, "channels[0]", "'sms'"),
        ({"name": "  "}, "name", "empty"),
        ({"name": "x" * 201}, "name", "200"),
        ({"templates": []}, "templates", "e-mail text in “es”"),
        ({"templates": [text(language="en")]}, "templates", "“es”"),
        ({"templates": [text(), text()]}, "templates[1]", "second"),
        ({"templates": [text(), text(channel="sms", subject="")]}, "templates[1].channel", "sms"),
        ({"templates": [text(body="{{ custmer.name }}")]}, "templates[0].body", "customer.name"),
        ({"templates": [text(subject="")]}, "templates[0].subject", "subject"),
        ({"templates": [text(language="Spanish")]}, "templates[0].language", "form"),
        ({"templates": [{"channel": "email", "language": "es"}]}, "templates[0].body", "missing"),
        ({"enable": True}, "enable", "“enabled”"),
        ({"schedule": {"tmes": ["10:00"]}}, "schedule.tmes", "“times”"),
        ({"schedule": {"times": ["10:00"], "cron": "0 10 * * *"}}, "schedule", "Give one of"),
        ({"schedule": {"times": ["25:00"]}}, "schedule.times[0]", "form"),
        ({"schedule": {"cron": "tomorrow"}}, "schedule.cron", "five fields"),
        ({"schedule": {"times": ["10:00"], "timezone": "Madrid"}}, "schedule.timezone", "Europe/Madrid"),
        ({"schedule": {"as_it_happens": True}}, "schedule.as_it_happens", "follows no event"),
        ({"schedule": "daily"}, "schedule", "object"),
        ({"enabled": "perhaps"}, "enabled", "true or false"),
    ],
)
def test_each_fault_is_named_with_its_place(organization, definition, changes, path, words):
    found = faults(organization, definition(**changes))
    assert path in found, found
    assert words in found[path]


def test_a_transactional_automation_may_choose_to_risk_a_second_message(
    organization, definition, monkeypatch
):
    trigger = triggers.get(definition()["trigger"])
    monkeypatch.setattr(type(trigger), "purpose", "transactional")
    automation = made(organization, definition(policy={"delivery": "at_least_once"}))
    assert content.definition_of(automation)["policy"]["delivery"] == "at_least_once"


def test_by_default_nobody_risks_a_second_message(organization, definition):
    assert made(organization, definition()).current_version.policy["delivery"] == "at_most_once"


def test_all_faults_are_told_at_once(organization, definition):
    found = faults(
        organization,
        definition(parameters={"days": 0}, policy={"x": 1}, templates=[text(body="")]),
    )
    assert {"parameters.days", "policy.x", "templates[0].body"} <= set(found)
    assert not Automation.objects.exists()


def test_a_document_that_is_no_object_is_refused():
    with pytest.raises(DefinitionError):
        parse_definition([1])


def test_a_change_of_content_makes_a_new_version_and_keeps_the_old(organization, definition):
    automation = made(organization, definition())
    content.change(automation, parse_definition(definition(templates=[text(body="Nuevo.")])), None)
    assert automation.version_number == 2
    assert automation.versions.get(number=1).templates.get().body.startswith("Vuelve pronto")
    assert automation.current_version.templates.get().body == "Nuevo."


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Other"},
        {"schedule": {"times": ["10:00"]}},
        {"enabled": True},
        {"parameters": {"days": 60}},
        {"policy": {"cooldown_days": 45}},
        {},
    ],
)
def test_what_is_no_content_makes_no_version(organization, definition, mail_account, changes):
    automation = made(organization, definition())
    content.change(automation, parse_definition(definition(**changes)), None)
    automation.refresh_from_db()
    assert automation.version_number == 1
    assert AutomationVersion.objects.count() == 1
    for name in set(changes) & {"name", "schedule", "enabled"}:
        assert getattr(automation, name) == changes[name]


def test_the_order_of_channels_is_content_and_that_of_templates_is_not(organization, definition):
    both = [text(), text(channel="sms", subject="")]
    automation = made(organization, definition(channels=["email", "sms"], templates=both))
    turned = definition(channels=["email", "sms"], templates=both[::-1])
    content.change(automation, parse_definition(turned), None)
    assert automation.version_number == 1
    turned["channels"] = ["sms", "email"]
    content.change(automation, parse_definition(turned), None)
    assert automation.version_number == 2


def test_the_trigger_of_an_automation_cannot_change(organization, definition):
    automation = made(organization, definition())
    other = parse_definition(definition(trigger="birthday", parameters={}))
    with pytest.raises(DefinitionError, match="new automation"):
        content.change(automation, other, None)


def test_without_an_account_nothing_is_switched_on(organization, definition):
    automation = made(organization, definition())
    with pytest.raises(DefinitionError, match="account"):
        content.enable(automation)
    assert "account" in faults(organization, definition(enabled=True))["channels"]
    automation.refresh_from_db()
    assert automation.enabled is False


def test_an_account_for_another_channel_does_not_help(organization, definition):
    ProviderAccount.objects.create(organization=organization, name="S", kind="sandbox", channels=["sms"])
    assert "channels" in faults(organization, definition(enabled=True))


def test_a_demo_organization_is_not_switched_on_with_a_real_provider(organization, definition):
    organization.is_demo = True
    organization.save(update_fields=["is_demo"])
    ProviderAccount.objects.create(organization=organization, name="R", kind="smtp", channels=["email"])
    assert "channels" in faults(organization, definition(enabled=True))


def test_switched_on_and_off(organization, definition, mail_account):
    automation = made(organization, definition())
    Automation.objects.update(paused_reason="broken template")
    content.enable(automation)
    automation.refresh_from_db()
    assert (automation.enabled, automation.paused_reason) == (True, "")
    content.disable(automation)
    automation.refresh_from_db()
    assert automation.enabled is False


def test_a_pause_is_not_ended_by_a_change_of_name(organization, definition, mail_account):
    automation = made(organization, definition(enabled=True))
    Automation.objects.update(paused_reason="broken template")
    content.change(automation, parse_definition(definition(enabled=True, name="N")), None)
    automation.refresh_from_db()
    assert automation.paused_reason == "broken template"


def test_a_name_without_fallback_may_be_saved_but_not_switched_on(organization, definition, mail_account):
    holed = definition(templates=[text(body="Hola {{ customer.first_name }}")])
    automation = made(organization, holed)
    with pytest.raises(DefinitionError) as fault:
        content.enable(automation)
    assert fault.value.details[0]["path"] == "templates[0].body"
    assert "default" in fault.value.details[0]["problem"]
    with pytest.raises(DefinitionError):
        content.change(automation, parse_definition(holed | {"enabled": True}), None)


def test_a_deleted_automation_is_off_hidden_and_cannot_be_changed(
    organization, definition, mail_account, now
):
    automation = made(organization, definition(enabled=True))
    content.delete(automation, now)
    automation.refresh_from_db()
    assert (automation.enabled, automation.deleted_at) == (False, now)
    for verb in (content.enable, content.disable):
        with pytest.raises(DefinitionError, match="deleted"):
            verb(automation)
    with pytest.raises(DefinitionError, match="deleted"):
        content.change(automation, parse_definition(definition()), None)


@pytest.mark.django_db(transaction=True)
def test_of_two_changes_at_once_none_is_lost(organization, definition):
    automation = made(organization, definition())
    together = threading.Barrier(4)
    failures = []

    def edit(number):
        try:
            mine = Automation.objects.get(pk=automation.pk)
            together.wait()
            content.change(mine, parse_definition(definition(parameters={"days": number})), None)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    editors = [threading.Thread(target=edit, args=(number,)) for number in (11, 12, 13, 14)]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
    assert failures == []
    automation.refresh_from_db()
    assert automation.version_number == 5
    days = automation.versions.order_by("number").values_list("parameters__days", flat=True)
    assert sorted(days) == [11, 12, 13, 14, 60]
    assert automation.current_version.parameters["days"] == days[4]


@pytest.mark.parametrize(
    ("url", "kind", "word"),
    [
        ("", "smtp", "REGULARS_PUBLIC_URL"),
        ("http://casa.example.com", "smtp", "https://"),
        ("https://casa.example.com", "smtp", ""),
        ("http://127.0.0.1:8000", "smtp", ""),
        ("", "sandbox", ""),
    ],
)
def test_advertising_by_mail_is_switched_on_only_where_guests_can_unsubscribe(
    organization, definition, settings, url, kind, word
):
    settings.PUBLIC_URL = url
    ProviderAccount.objects.update_or_create(
        organization=organization, defaults={"kind": kind, "name": "post", "channels": ["email"]}
    )
    made(organization, definition())
    if word:
        assert word in faults(organization, definition(enabled=True))["channels"]
    else:
        assert made(organization, definition(enabled=True)).enabled


@pytest.mark.parametrize(("sender", "refused"), [("CasaPepe", True), ("+12015550100", False)])
def test_a_text_message_whose_sender_cannot_be_answered_needs_the_link_too(
    organization, settings, sender, refused
):
    settings.PUBLIC_URL = ""
    account = ProviderAccount(organization=organization, kind="twilio", channels=["sms"])
    account.options = {"account_sid": f"AC{'0' * 32}", "from": sender}
    account.sealed_secrets = seal({"auth_token": "x"}, settings.SECRET_KEY)
    assert bool(missing_link(account, "sms")) == refused
