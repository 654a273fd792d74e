"""Templates that a provider keeps: copied, filled in for each guest, checked before anybody is written to."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.shelf import META, Shelf, listed

from regulars.automations import approved_texts, content, template_sync, triggers
from regulars.automations.accounts import create_account
from regulars.automations.content import DefinitionError, parse_definition
from regulars.automations.models import Automation, ProviderTemplate
from regulars.automations.rendering import MissingValueError, RenderError
from regulars.automations.template_sync import TemplatesUnavailableError, synchronise
from regulars.providers import registry
from regulars.providers.base import Approval

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
GUEST = {"customer": {"first_name": "Ana", "name": "Ana Soler"}, "venue": {"name": "Casa  Pepe\nCentro"}}


@pytest.fixture
def account(organization):
    return create_account(organization, "WhatsApp", "meta", META)


@pytest.fixture
def shelf(monkeypatch, account):
    found = Shelf()
    found.listed = [listed()]
    real = registry.get
    monkeypatch.setattr(registry, "get", lambda kind: found if kind == "meta" else real(kind))
    return found


def text(**changes):
    return {
        "channel": "whatsapp",
        "language": "es",
        "provider_template": "come_back",
        "variables": {"1": '{{ customer.first_name | default: "amigo" }}', "venue": "{{ venue.name }}"},
    } | changes


@pytest.fixture
def make(organization, definition):
    def make(*texts, **changes):
        data = definition(channels=["whatsapp"], templates=list(texts or [text()]), **changes)
        return content.create(organization, parse_definition(data), None)

    return make


def faults(action, *arguments, **changes):
    with pytest.raises(DefinitionError) as fault:
        action(*arguments, **changes)
    return {item["path"]: item["problem"] for item in fault.value.details}


# Copying.


def test_the_copy_is_the_providers_list(shelf, account):
    shelf.listed = [listed(), listed(reference="id-2", language="en", approval=Approval.PENDING)]
    found = synchronise(account, NOW).templates
    assert [(row.name, row.language, row.approval) for row in found] == [
        ("come_back", "en", "pending"),
        ("come_back", "es", "approved"),
    ]
    assert found[1].placeholders == ["1", "venue"]
    later = NOW + timedelta(hours=1)
    shelf.listed = [listed(approval=Approval.PAUSED)]
    (row,) = synchronise(account, later).templates
    assert (row.pk, row.approval, row.synced_at) == (found[1].pk, "paused", later)


def test_a_list_that_cannot_be_read_changes_nothing(shelf, account):
    synchronise(account, NOW)
    shelf.fault = "Meta cannot be reached"
    with pytest.raises(TemplatesUnavailableError, match="reached"):
        synchronise(account, NOW)
    assert ProviderTemplate.objects.count() == 1


def test_an_account_without_templates_says_so(organization):
    box = create_account(organization, "Box", "sandbox", {})
    with pytest.raises(TemplatesUnavailableError, match="keeps no templates"):
        synchronise(box, NOW)


def test_the_hourly_look_goes_on_behind_an_account_that_fails(shelf, account, organization, monkeypatch):
    other = create_account(organization, "Other", "meta", META)
    seen = []

    def look(looked_at, now):
        seen.append(looked_at.pk)
        if looked_at.pk == account.pk:
            raise TemplatesUnavailableError("Meta cannot be reached")

    monkeypatch.setattr(template_sync, "synchronise", look)
    assert template_sync.synchronise_all(NOW) == {account.pk: "Meta cannot be reached"}
    assert seen == [account.pk, other.pk]


def test_a_template_taken_away_pauses_the_automation_that_needs_it(shelf, account, make):
    synchronise(account, NOW)
    needs, free = (
        make(enabled=True),
        make(text(provider_template="", variables={}, body="Hola"), enabled=True),
    )
    shelf.listed = [listed(approval=Approval.PAUSED)]
    assert [each.pk for each in synchronise(account, NOW).paused] == [needs.pk]
    assert "quality" in Automation.objects.get(pk=needs.pk).paused_reason
    assert Automation.objects.get(pk=free.pk).paused_reason == ""


# Saving.


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"body": "Hola"}, "templates[0].body", "leave body empty"),
        ({"variables": {"1": "{{ custmer.name }}"}}, "templates[0].variables.1", "customer.name"),
        ({"variables": {"1": "{{ customer.name "}}, "templates[0].variables.1", "Line 1"),
        ({"variables": {"1": "  "}}, "templates[0].variables.1", "empty"),
        ({"provider_template": ""}, "templates[0].variables", "name it"),
        ({"provider_template": "", "variables": {}}, "templates[0].body", "missing"),
    ],
)
def test_what_is_wrong_by_itself_cannot_be_saved(make, changes, path, words):
    found = faults(make, text(**changes))
    assert words in found[path], found


def test_only_whatsapp_has_templates_of_the_provider(organization, definition):
    sms = text(channel="sms")
    data = definition(channels=["sms"], templates=[sms])
    found = faults(content.create, organization, parse_definition(data), None)
    assert "WhatsApp" in found["templates[0].provider_template"]


def test_what_was_saved_can_be_read_and_saved_again(organization, make):
    automation = make()
    shown = content.definition_of(automation)
    assert shown["templates"][0]["provider_template"] == "come_back"
    assert shown["templates"][0]["variables"]["venue"] == "{{ venue.name }}"
    again = content.create(organization, parse_definition(shown), None)
    assert content.definition_of(again) == shown


def test_another_expression_makes_another_version(make):
    automation = make()
    data = content.definition_of(automation)
    data["templates"][0]["variables"]["venue"] = "La Casa"
    content.change(automation, parse_definition(data), None)
    assert automation.version_number == 2


# Switching on.


def test_an_approved_and_mapped_template_can_be_switched_on(shelf, account, make):
    synchronise(account, NOW)
    assert content.enable(make()).enabled


@pytest.mark.parametrize(
    ("kept", "used", "path", "words"),
    [
        (listed(name="other"), {}, "provider_template", "synchronise"),
        (listed(language="en"), {}, "provider_template", "“es”"),
        (listed(approval=Approval.PENDING), {}, "provider_template", "approval"),
        (listed(approval=Approval.REJECTED, reason="PROMO"), {}, "provider_template", "PROMO"),
        (listed(approval=Approval.PAUSED), {}, "provider_template", "paused"),
        (listed(approval=Approval.DISABLED), {}, "provider_template", "choose another"),
        (listed(category="utility"), {}, "provider_template", "“marketing”"),
        (listed(category=""), {}, "provider_template", "“nothing”"),
        (listed(unsupported="carousel"), {}, "provider_template", "carousel"),
        (listed(), {"variables": {"venue": "x"}}, "variables", "without a value: 1"),
        (listed(placeholders=("venue",)), {}, "variables", "no place called 1"),
        (listed(), {"variables": {"1": "{{ customer.first_name }}", "venue": "x"}}, "variables.1", "fallback"),
    ],
)  # fmt: skip
def test_what_the_provider_would_refuse_cannot_be_switched_on(shelf, account, make, kept, used, path, words):
    shelf.listed = [kept]
    synchronise(account, NOW)
    automation = make(text(**used))
    found = faults(content.enable, automation)
    assert words in found[f"templates[0].{path}"], found
    assert not Automation.objects.get(pk=automation.pk).enabled
    assert faults(make, text(**used), enabled=True) == found


def test_a_service_message_needs_a_template_of_its_kind(shelf, account, make, monkeypatch):
    monkeypatch.setattr(type(triggers.get("test_harvest")), "purpose", "transactional")
    synchronise(account, NOW)
    found = faults(content.enable, make())
    assert "“utility”" in found["templates[0].provider_template"]
    shelf.listed = [listed(category="utility")]
    synchronise(account, NOW)
    assert content.enable(make()).enabled


def test_one_language_without_a_template_is_not_forgotten(shelf, account, make):
    synchronise(account, NOW)
    free = {"channel": "whatsapp", "language": "en", "body": "Hello"}
    # Texts are kept by language: the English one comes first.
    found = faults(content.enable, make(text(), free))
    assert "name one here" in found["templates[0].provider_template"]


def test_a_text_of_its_own_may_be_switched_on_for_those_who_have_just_written(shelf, account, make):
    assert content.enable(make(text(provider_template="", variables={}, body="Hola"))).enabled


def test_an_account_that_keeps_none_cannot_be_asked_for_one(organization, make):
    create_account(organization, "Box", "sandbox", {})
    found = faults(content.enable, make())
    assert "write the text here" in found["templates[0].provider_template"]


# A list that tells neither texts nor places.


@pytest.fixture
def mute(shelf, account):
    """A provider whose list has names, languages and states only."""
    shelf.tells_places = False
    shelf.listed = [listed(text="", placeholders=())]
    synchronise(account, NOW)
    return shelf


def test_an_automation_names_the_places_that_the_list_does_not_tell(mute, make):
    assert content.enable(make(text(variables={"FNAME": "Hola", "venue": "{{ venue.name }}"}))).enabled
    assert content.enable(make(text(variables={}), name="Without places")).enabled


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"approval": Approval.PENDING}, "approval"),
        ({"approval": Approval.REJECTED}, "rejected"),
        ({"category": "utility"}, "“marketing”"),
        ({"language": "en"}, "“es”"),
    ],
)
def test_what_such_a_list_does_tell_is_checked(mute, account, make, changes, words):
    mute.listed = [listed(text="", placeholders=(), **changes)]
    synchronise(account, NOW)
    assert words in faults(content.enable, make())["templates[0].provider_template"]


def test_a_place_that_the_list_does_not_tell_may_not_stay_empty_either(mute, make):
    found = faults(content.enable, make(text(variables={"FNAME": "{{ customer.first_name }}"})))
    assert "fallback" in found["templates[0].variables.FNAME"]


def test_the_list_says_that_the_places_are_not_told(mute, account):
    (line,) = synchronise(account, NOW).lines()
    assert line.endswith("places not told: name them as they are called there")
    mute.tells_places = True
    (line,) = synchronise(account, NOW).lines()
    assert line.endswith("no places")


# Finding and filling in.


def row(**changes):
    values = {"name": "come_back", "reference": "id-1", "language": "es"} | changes
    return ProviderTemplate(text="Hola {{1}}, {{venue}}.", placeholders=["1", "venue"], **values)


@pytest.mark.parametrize(
    ("kept", "wanted", "found"),
    [
        (["es"], "es", "es"),
        (["es_ES", "en"], "es", "es_ES"),
        (["es_MX", "es_ES"], "es-MX", "es_MX"),
        (["es"], "es-MX", None),
        (["en"], "es", None),
    ],
)
def test_a_region_serves_its_language(kept, wanted, found):
    known = approved_texts.by_name([row(language=each, reference=each) for each in kept])
    template = approved_texts.find(known, "come_back", wanted)
    assert (template and template.language) == found


def test_a_template_is_found_by_the_providers_own_id_too():
    known = approved_texts.by_name([row()])
    assert approved_texts.find(known, "id-1", "es").name == "come_back"


def filled(variables, **guest):
    expressions = {"1": "{{ customer.first_name }}", "venue": "{{ venue.name }}"} | variables
    return approved_texts.approved_text("whatsapp", row(), expressions, "es").render(GUEST | guest)


def test_each_value_is_one_line_and_the_text_reads_with_it():
    rendered = filled({})
    assert rendered.template.values == (("1", "Ana"), ("venue", "Casa Pepe Centro"))
    assert (rendered.template.name, rendered.template.language) == ("come_back", "es")
    assert rendered.body == "Hola Ana, Casa Pepe Centro."


def test_a_text_that_is_not_told_is_shown_by_its_name_and_values():
    template = row()
    template.text, template.placeholders = "", []
    expressions = {"FNAME": "{{ customer.first_name }}", "first-visit": "{{ venue.name }}"}
    made = approved_texts.approved_text("whatsapp", template, expressions, "es", places_told=False)
    rendered = made.render(GUEST)
    assert rendered.template.values == (("FNAME", "Ana"), ("first-visit", "Casa Pepe Centro"))
    assert rendered.body == "[come_back]\nFNAME: Ana\nfirst-visit: Casa Pepe Centro"


def test_a_guests_name_cannot_fill_another_place():
    rendered = filled({}, customer={"first_name": "{{venue}}"})
    assert rendered.body == "Hola {{venue}}, Casa Pepe Centro."


def test_a_value_that_would_be_empty_fails_this_guest_alone():
    with pytest.raises(RenderError, match="“1” would be empty"):
        filled({"1": '{{ customer.first_name | default: "" }}'}, customer={"first_name": ""})
    with pytest.raises(MissingValueError):
        filled({}, customer={"first_name": ""})


@pytest.mark.parametrize("turned", [False, True])
def test_of_templates_that_share_a_name_always_the_same_approved_one_is_found(turned):
    """Whatever order the database gives them in: else a look could pause what another has let through."""
    states = [("id-1", "approved"), ("id-2", "approved"), ("id-3", "rejected")]
    rows = [
        row(pk=number, reference=each, approval=state) for number, (each, state) in enumerate(states, start=1)
    ]
    known = approved_texts.by_name(rows[::-1] if turned else rows)
    assert approved_texts.find(known, "come_back", "es").reference == "id-2"
    assert approved_texts.find(known, "id-3", "es").reference == "id-3"


@given(st.text(min_size=1).filter(str.strip))
def test_no_value_breaks_a_line_or_widens_a_space(name):
    rendered = filled({"1": "{{ customer.first_name }}"}, customer={"first_name": name})
    value = dict(rendered.template.values)["1"]
    assert value == " ".join(value.split())
