"""Whether the templates that providers keep can be used as an automation wants, in plain words.

Two moments: saving (what is written here must be sound by itself) and switching on (the provider must
have the template, in the right category, approved, with a value for each placeholder).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from regulars.automations import approved_texts
from regulars.automations import templates as texts
from regulars.automations.accounts import accounts_by_channel
from regulars.automations.models import ProviderAccount, ProviderTemplate
from regulars.automations.problems import Problem, join_path, listed
from regulars.automations.templates import Vocabulary
from regulars.customers.models import Channel, Purpose
from regulars.organizations.models import Organization
from regulars.providers import registry
from regulars.providers.base import Approval

# What the provider must have filed a template under, by what the automation is for. WhatsApp limits
# businesses that advertise with templates of another category (error 131064).
CATEGORIES = {Purpose.MARKETING: "marketing", Purpose.TRANSACTIONAL: "utility"}

_STATES = {
    Approval.PENDING: "is waiting for WhatsApp’s approval: wait for it, then synchronise",
    Approval.REJECTED: "was rejected by WhatsApp: correct it there and synchronise, or choose another",
    Approval.PAUSED: "is paused for its quality: wait until WhatsApp lets it go on, or choose another",
    Approval.DISABLED: "was disabled by WhatsApp: choose another",
}


class Text(Protocol):
    """What is said on one channel in one language, as `content.TemplateText` has it."""

    @property
    def channel(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def provider_template(self) -> str: ...
    @property
    def variables(self) -> Mapping[str, str]: ...


def check_text(text: Text, vocabulary: Vocabulary, *place: str | int) -> list[Problem]:
    """Every reason why this text, or this use of a provider's template, cannot be saved."""
    problems = [Problem(path=join_path(*place, part), problem=words) for part, words in _form(text)]
    if not text.provider_template:
        return problems + texts.check_template(text.channel, text.subject, text.body, vocabulary, *place)
    for name, expression in text.variables.items():
        found = texts.check_template(text.channel, "", expression, vocabulary)
        problems += [_at(item, name, place) for item in found]
    return problems


def _form(text: Text) -> Iterator[tuple[str, str]]:
    if text.variables and not text.provider_template:
        yield "variables", "Variables fill in a provider’s template: name it in provider_template."
    if text.provider_template and text.channel != Channel.WHATSAPP:
        yield "provider_template", "Only WhatsApp has templates that the provider keeps: write the text here."
    if text.provider_template and text.body:
        yield "body", "The provider keeps this text: leave body empty, and give its variables."


def _at(item: Problem, name: str, place: Sequence[str | int]) -> Problem:
    return Problem(path=join_path(*place, "variables", name), problem=item["problem"])


def check_fallbacks(text: Text, vocabulary: Vocabulary, *place: str | int) -> list[Problem]:
    """Variables that may be empty for some guest: a hole, or a message that the provider refuses (E27)."""
    if not text.provider_template:
        return texts.check_fallbacks(text.channel, text.subject, text.body, vocabulary, *place)
    return [
        _at(item, name, place)
        for name, expression in text.variables.items()
        for item in texts.check_fallbacks(text.channel, "", expression, vocabulary)
    ]


def activation_problems(
    organization: Organization, purpose: str, wanted: Sequence[Text], place: str = "templates"
) -> list[Problem]:
    """Why guests cannot be written to with these WhatsApp texts; each says what to do.

    A text without a template is no fault: it goes to those who have just written.
    """
    account = accounts_by_channel(organization).get(Channel.WHATSAPP)
    if account is None:
        return []
    numbered = [(n, text) for n, text in enumerate(wanted) if text.channel == Channel.WHATSAPP]
    named = [(n, text) for n, text in numbered if text.provider_template]
    if not named:
        return []
    known = approved_texts.by_name(list(account.templates.all()))
    problems = [
        Problem(path=join_path(place, n, part), problem=words)
        for n, text in named
        for part, words in _faults(account, known, text, purpose)
    ]
    return problems + [_without(n, place) for n, text in numbered if not text.provider_template]


def _without(number: int, place: str) -> Problem:
    words = (
        "Other WhatsApp texts of this automation name a template of the provider, this one does not: "
        "name one here, too."
    )
    return Problem(path=join_path(place, number, "provider_template"), problem=words)


def _faults(
    account: ProviderAccount, known: Mapping[tuple[str, str], ProviderTemplate], text: Text, purpose: str
) -> Iterator[tuple[str, str]]:
    provider = registry.get(account.kind)
    if not provider.lists_templates:
        yield (
            "provider_template",
            f"The account “{account.name}” keeps no templates: write the text here instead.",
        )
        return
    found = approved_texts.find(known, text.provider_template, text.language)
    if found is None:
        words = approved_texts.MISSING.format(
            account=account.name, name=text.provider_template, language=text.language
        )
        there = listed(sorted({name for name, _ in known if name != text.provider_template})[:10])
        yield "provider_template", f"{words} There is: {there}."
        return
    yield from (("provider_template", words) for words in _unusable(found, purpose))
    if provider.tells_places:
        yield from (("variables", words) for words in _mapping(found, text.variables))


def _unusable(template: ProviderTemplate, purpose: str) -> Iterator[str]:
    name = f"The template “{template}”"
    if template.approval != Approval.APPROVED:
        reason = f" ({template.reason})" if template.reason else ""
        yield f"{name} {_STATES[Approval(template.approval)]}.{reason}"
    if template.category != (category := CATEGORIES[Purpose(purpose)]):
        yield (
            f"{name} is filed under “{template.category or 'nothing'}”, and this automation needs one of "
            f"“{category}”: choose another, or have it filed anew at WhatsApp."
        )
    if template.unsupported:
        yield f"{name} has a part that cannot be filled in here ({template.unsupported}): choose another."


def _mapping(template: ProviderTemplate, variables: Mapping[str, str]) -> Iterator[str]:
    if missing := [name for name in template.placeholders if name not in variables]:
        yield (
            f"The template “{template}” has places without a value: {listed(missing)}. Give each an "
            'expression, for example {{ customer.first_name | default: "amigo" }}.'
        )
    if strange := [name for name in variables if name not in template.placeholders]:
        yield f"The template “{template}” has no place called {listed(strange)}: remove it."
