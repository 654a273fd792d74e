"""Texts that a provider keeps and has approved: filled in for each guest, never written here.

The provider puts the values into its own text; we do the same to show how it reads. So the preview is
the message as long as the text is the one that was synchronised last.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from regulars.automations.models import ProviderTemplate
from regulars.automations.rendering import Compiled, Rendered, RenderError, compile_template
from regulars.providers.base import Approval, TemplateUse

_PLACEHOLDER = re.compile(r"\{\{([\w.]+)\}\}")
MISSING = (
    "The account “{account}” has no template “{name}” in “{language}”: synchronise its templates "
    "(regulars provider sync), or choose another."
)


def find(
    known: Mapping[tuple[str, str], ProviderTemplate], name: str, language: str
) -> ProviderTemplate | None:
    """The template called `name` for guests of `language`: `es`, else some `es_…`.

    `known` are those of one account by (name or reference, language).
    """
    spelt = language.replace("-", "_")
    if found := known.get((name, spelt)) or known.get((name, language)):
        return found
    region = f"{language[:2]}_"
    named = {tongue: row for (title, tongue), row in known.items() if title == name}
    return next((row for tongue, row in named.items() if tongue.startswith(region)), None)


def by_name(templates: list[ProviderTemplate]) -> dict[tuple[str, str], ProviderTemplate]:
    """Templates of one account, findable by what people call them and by the provider's own id.

    Of several that share a name an approved one is found, and always the same one.
    """
    in_order = sorted(templates, key=lambda each: (each.approval == Approval.APPROVED, each.pk))
    named = {(each.name, each.language): each for each in in_order}
    return named | {(each.reference, each.language): each for each in in_order}


@dataclass(frozen=True)
class ApprovedText:
    """A template of the provider with the expressions that fill it in; used as a `Compiled` is."""

    channel: str
    use: TemplateUse
    text: str
    # By placeholder, in the order of the provider's own.
    expressions: Mapping[str, Compiled]

    @cached_property
    def roots(self) -> frozenset[str]:
        """The first names of all variables that its expressions mention."""
        return frozenset().union(*(each.roots for each in self.expressions.values()))

    def render(self, variables: Mapping[str, Any]) -> Rendered:
        """The values for one guest, and how the message reads with them.

        Raises:
            MissingValueError: a variable is empty and has no `default`.
            RenderError: an expression gives nothing: the provider refuses an empty value.
        """
        values = {name: _value(name, each, variables) for name, each in self.expressions.items()}
        use = TemplateUse(self.use.reference, self.use.name, self.use.language, tuple(values.items()))
        return Rendered("", _filled(self.text, values) or _listed(self.use.name, values), "", use)


@dataclass(frozen=True)
class MissingText:
    """In place of a template that the account does not have: nobody gets anything of it."""

    problem: str
    roots: frozenset[str] = frozenset()

    def render(self, variables: Mapping[str, Any]) -> Rendered:
        """Refuse, with the reason.

        Raises:
            RenderError: always.
        """
        raise RenderError(self.problem)


def _value(name: str, expression: Compiled, variables: Mapping[str, Any]) -> str:
    # One line without runs of spaces: WhatsApp refuses values with line breaks, tabs or more than
    # four spaces in a row (error 132012).
    value = " ".join(expression.render(variables).body.split())
    if not value:
        raise RenderError(f"The placeholder “{name}” would be empty for this guest.")
    return value


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def _listed(name: str, values: Mapping[str, str]) -> str:
    """In place of a text that the provider does not tell: the template's name, and what it is filled with."""
    return "\n".join([f"[{name}]", *(f"{place}: {value}" for place, value in values.items())])


def approved_text(
    channel: str,
    template: ProviderTemplate,
    variables: Mapping[str, str],
    language: str,
    *,
    places_told: bool = True,
) -> ApprovedText:
    """Make a provider's template ready to be filled in.

    Where the provider does not tell the places (`Provider.tells_places`), they are those of `variables`.

    Raises:
        TemplateError: an expression has a syntax error.
    """
    use = TemplateUse(template.reference, template.name, template.language)
    expressions = {
        name: compile_template(channel, "", variables[name], language)
        for name in (template.placeholders if places_told else variables)
        if name in variables
    }
    return ApprovedText(channel, use, template.text, expressions)
