"""Automations as their owner writes them: checked, saved as frozen versions, switched on and off.

A version is never changed. What a run uses (parameters, conditions, channels, policy, templates)
makes a new one when it changes; the name, the schedule and the switch do not. Changes to one
automation wait for each other on its row, so that none is lost.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from regulars.automations import order, provider_templates, slots, triggers
from regulars.automations import templates as texts
from regulars.automations.conditions import ConditionError, check_conditions
from regulars.automations.models import Automation, AutomationVersion, Template
from regulars.automations.policy import Policy
from regulars.automations.problems import (
    DefinitionError,
    Problem,
    from_pydantic,
    join_path,
    listed,
    suggestion,
)
from regulars.automations.public_links import link_problems
from regulars.automations.schedule import Schedule
from regulars.customers.models import Channel, Purpose
from regulars.lib import clock
from regulars.organizations.models import Organization, User

__all__ = [
    "Definition",
    "DefinitionError",
    "change",
    "change_schedule",
    "create",
    "definition_of",
    "delete",
    "disable",
    "enable",
    "parse_definition",
]

ChannelName = Literal["whatsapp", "sms", "email"]


class TemplateText(BaseModel):
    """What is said on one channel in one language: a text, or a template that the provider keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: ChannelName
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[A-Za-z]{2,4})?$")]
    subject: Annotated[str, StringConstraints(max_length=500)] = ""
    body: str = ""
    provider_template: Annotated[str, StringConstraints(max_length=512)] = Field(
        default="", description="WhatsApp: name (or id) of an approved template of the provider"
    )
    variables: dict[str, str] = Field(
        default={}, max_length=100, description="An expression for each of its placeholders"
    )


class Definition(BaseModel):
    """An automation as the API and files have it; absent settings take the trigger's defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    trigger: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    conditions: dict[str, Any] = Field(default_factory=dict)
    channels: Annotated[list[ChannelName], Field(min_length=1)]
    templates: Annotated[list[TemplateText], Field(max_length=200)] = Field(default_factory=list)
    policy: dict[str, Any] = Field(default_factory=dict)
    schedule: Schedule | None = None
    enabled: bool = False


class _Content(BaseModel):
    """What a version freezes, with every default filled in: two are the same or not."""

    model_config = ConfigDict(frozen=True)

    parameters: dict[str, Any]
    conditions: dict[str, Any]
    channels: list[str]
    policy: dict[str, Any]
    templates: list[TemplateText]


def parse_definition(data: Any) -> Definition:
    """The definition that JSON `data` states.

    Raises:
        DefinitionError: with every fault of form, its path and what to do.
    """
    try:
        return Definition.model_validate(data)
    except ValidationError as error:
        known = (*Definition.model_fields, *TemplateText.model_fields, *Schedule.model_fields)
        raise DefinitionError(from_pydantic(error, known)) from None


def create(
    organization: Organization, definition: Definition, user: User | None, now: datetime | None = None
) -> Automation:
    """Make an automation with its first version; switched on only if it may be (`enabled`).

    Here and below: slots of its schedule count from `now` (absent: the clock's).

    Raises:
        DefinitionError: with every fault.
    """
    trigger, content = _checked(organization, definition)
    if definition.enabled:
        _refuse(_activation_problems(organization, trigger, content))
    with transaction.atomic():
        automation = Automation(
            organization=organization,
            name=definition.name,
            trigger=trigger.kind,
            family=trigger.family,
            version_number=1,
        )
        _set(automation, definition.enabled, slots.stored(definition.schedule), now)
        automation.save(force_insert=True)
        _write_version(automation, content, user)
        order.place(automation)
    return automation


def change(
    automation: Automation, definition: Definition, user: User | None, now: datetime | None = None
) -> Automation:
    """Make the automation what `definition` says; a new version only if its content changed.

    Raises:
        DefinitionError: with every fault, among them another trigger or a deleted automation.
    """
    if definition.trigger != automation.trigger:
        # The occasions already written about belong to the old trigger; guests would be told twice.
        raise DefinitionError(
            [Problem(path="trigger", problem="The trigger cannot be changed: make a new automation.")]
        )
    trigger, content = _checked(automation.organization, definition)
    if definition.enabled:
        _refuse(_activation_problems(automation.organization, trigger, content))
    with transaction.atomic():
        _lock(automation)
        if _content_of(automation.current_version) != content:
            automation.version_number += 1
            _write_version(automation, content, user)
        automation.name = definition.name
        _set(automation, definition.enabled, slots.stored(definition.schedule), now)
        automation.save(update_fields=[*_SWITCH, "name", "version_number", "updated_at"])
    return automation


def change_schedule(automation: Automation, schedule: Any, now: datetime | None = None) -> Automation:
    """Let it run by itself as JSON `schedule` says (None: not by itself); nothing else changes.

    Raises:
        DefinitionError: with every fault, or because it has been deleted.
    """
    wanted = slots.parse(schedule)
    _refuse(slots.problems(_trigger(automation.trigger), wanted))
    with transaction.atomic():
        _lock(automation)
        _set(automation, automation.enabled, slots.stored(wanted), now)
        automation.save(update_fields=[*_SWITCH, "updated_at"])
    return automation


def enable(automation: Automation, now: datetime | None = None) -> Automation:
    """Switch on what may be sent; a pause because of a broken template ends.

    Raises:
        DefinitionError: no account for its channels, a text or a fallback missing.
    """
    with transaction.atomic():
        _lock(automation)
        trigger = triggers.get(automation.trigger)
        content = _content_of(automation.current_version)
        _refuse(_activation_problems(automation.organization, trigger, content))
        automation.paused_reason = ""
        _set(automation, True, automation.schedule, now)
        automation.save(update_fields=[*_SWITCH, "updated_at"])
    return automation


def disable(automation: Automation) -> Automation:
    """Switch off: nothing more is planned; what has not left is withheld when its turn comes."""
    with transaction.atomic():
        _lock(automation)
        _set(automation, False, automation.schedule)
        automation.save(update_fields=[*_SWITCH, "updated_at"])
    return automation


def delete(automation: Automation, now: datetime) -> None:
    """Switch off for good and hide. Its runs and messages stay: they happened."""
    with transaction.atomic():
        _lock(automation)
        _set(automation, False, automation.schedule, now)
        automation.deleted_at = now
        automation.save(update_fields=[*_SWITCH, "deleted_at", "updated_at"])


def definition_of(automation: Automation) -> dict[str, Any]:
    """The automation in the form in which it can be created again, every setting shown."""
    content = _content_of(automation.current_version)
    return {
        "name": automation.name,
        "trigger": automation.trigger,
        **content.model_dump(),
        "schedule": automation.schedule,
        "enabled": automation.enabled,
    }


_SWITCH = ("enabled", "paused_reason", "schedule", "next_slot")


def _set(
    automation: Automation, enabled: bool, schedule: dict[str, Any] | None, now: datetime | None = None
) -> None:
    """A slot that is due stays due unless the switch or the schedule really changes."""
    same = (automation.enabled, automation.schedule) == (enabled, schedule)
    if not enabled or not automation.enabled:
        automation.paused_reason = ""
    automation.enabled, automation.schedule = enabled, schedule
    if not same or automation.next_slot is None:
        automation.next_slot = slots.next_after(automation, now or clock.now())


def _lock(automation: Automation) -> None:
    """Hold the automation's row to the end of the transaction, and see it as it is now."""
    rows = Automation.objects.select_for_update().filter(pk=automation.pk, deleted_at=None)
    current = rows.values("version_number", *_SWITCH).first()
    if current is None:
        raise DefinitionError([Problem(path="", problem="This automation has been deleted.")])
    for name, value in current.items():
        setattr(automation, name, value)


def _checked(organization: Organization, definition: Definition) -> tuple[triggers.Trigger, _Content]:
    """The trigger and the content with defaults filled in, or every fault at once."""
    trigger = _trigger(definition.trigger)
    problems: list[Problem] = []
    parameters = _settings(trigger.parameters, {}, definition.parameters, "parameters", problems)
    defaults = trigger.policy.model_dump(mode="json")
    policy = _settings(Policy, defaults, definition.policy, "policy", problems)
    problems += _delivery_problems(trigger, policy)
    problems += _condition_problems(organization, definition.conditions)
    problems += slots.problems(trigger, definition.schedule)
    problems += _template_problems(organization, trigger, definition)
    _refuse(problems)
    return trigger, _Content(
        parameters=parameters,
        conditions=definition.conditions,
        channels=list(definition.channels),
        policy=policy,
        templates=_in_order(definition.templates),
    )


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise DefinitionError(problems)


def _trigger(kind: str) -> triggers.Trigger:
    known = [trigger.kind for trigger in triggers.all_triggers()]
    if kind not in known:
        hint = suggestion(kind, known)
        words = f"There is no trigger “{kind}”.{hint} Known triggers: {listed(known)}."
        raise DefinitionError([Problem(path="trigger", problem=words)])
    return triggers.get(kind)


def _settings(
    model: type[BaseModel],
    defaults: dict[str, Any],
    given: dict[str, Any],
    place: str,
    problems: list[Problem],
) -> dict[str, Any]:
    """`given` over `defaults` as `model` has it, complete; faults are added to `problems`."""
    try:
        return model.model_validate(defaults | given).model_dump(mode="json")
    except ValidationError as error:
        problems += from_pydantic(error, model.model_fields, place)
        return {}


def _delivery_problems(trigger: triggers.Trigger, policy: dict[str, Any]) -> list[Problem]:
    if policy.get("delivery") != "at_least_once" or trigger.purpose == Purpose.TRANSACTIONAL:
        return []
    words = (
        "An automation that advertises never risks to write twice: only transactional ones, such as "
        "the confirmation of a booking, can be “at_least_once”. Leave it at “at_most_once”."
    )
    return [Problem(path="policy.delivery", problem=words)]


def _condition_problems(organization: Organization, conditions: dict[str, Any]) -> list[Problem]:
    try:
        check_conditions(conditions, organization)
    except ConditionError as fault:
        return [Problem(path=fault.path, problem=fault.problem)]
    return []


def _template_problems(
    organization: Organization, trigger: triggers.Trigger, definition: Definition
) -> list[Problem]:
    vocabulary = texts.vocabulary_of(trigger)
    problems = _double_channels(definition)
    seen: set[tuple[str, str]] = set()
    for number, text in enumerate(definition.templates):
        place = ("templates", number)
        key = (text.channel, text.language)
        if key in seen:
            words = f"There is a second {text.channel} text in “{text.language}”: keep one."
            problems.append(Problem(path=join_path(*place), problem=words))
        if text.channel not in definition.channels:
            words = f"The channel {text.channel} is not used: add it, or remove this text."
            problems.append(Problem(path=join_path(*place, "channel"), problem=words))
        seen.add(key)
        problems += provider_templates.check_text(text, vocabulary, *place)
    return problems + texts.check_languages(sorted(seen), list(definition.channels), organization.language)


def _double_channels(definition: Definition) -> list[Problem]:
    if len(set(definition.channels)) == len(definition.channels):
        return []
    return [Problem(path="channels", problem="Name each channel once, the preferred one first.")]


def _activation_problems(
    organization: Organization, trigger: triggers.Trigger, content: _Content
) -> list[Problem]:
    """What must be so before guests are written to, besides what must be so to save."""
    vocabulary = texts.vocabulary_of(trigger)
    pairs = [(text.channel, text.language) for text in content.templates]
    problems = texts.check_languages(pairs, content.channels, organization.language)
    problems += texts.check_translations(pairs, content.channels)
    for number, text in enumerate(content.templates):
        problems += provider_templates.check_fallbacks(text, vocabulary, "templates", number)
    problems += provider_templates.activation_problems(organization, trigger.purpose, content.templates)
    problems += _account_problems(organization, content.channels)
    return problems + link_problems(organization, trigger.purpose, content.channels)


def _account_problems(organization: Organization, channels: list[str]) -> list[Problem]:
    accounts = organization.accounts.filter(channels__overlap=channels)
    if organization.is_demo:
        accounts = accounts.filter(kind="sandbox")
    if accounts.exists():
        return []
    words = f"No account can send by {listed(channels)}: add a provider account for at least one."
    return [Problem(path="channels", problem=words)]


def _in_order(templates: list[TemplateText]) -> list[TemplateText]:
    order = {channel: place for place, channel in enumerate(Channel.values)}
    return sorted(templates, key=lambda text: (order[text.channel], text.language))


def _write_version(automation: Automation, content: _Content, user: User | None) -> None:
    version = AutomationVersion.objects.create(
        automation=automation,
        number=automation.version_number,
        parameters=content.parameters,
        conditions=content.conditions,
        channels=content.channels,
        policy=content.policy,
        created_by=user,
    )
    Template.objects.bulk_create(Template(version=version, **text.model_dump()) for text in content.templates)


def _content_of(version: AutomationVersion) -> _Content:
    rows: Any = version.templates.values(*TemplateText.model_fields)
    return _Content(
        parameters=version.parameters,
        conditions=version.conditions,
        channels=version.channels,
        policy=version.policy,
        # As stored: a later, stricter form must not make an old version unreadable.
        templates=_in_order([TemplateText.model_construct(None, **row) for row in rows]),
    )
