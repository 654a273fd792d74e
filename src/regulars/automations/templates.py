"""Whether a template may be saved, and whether it may be sent; every fault in plain words."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liquid.exceptions import LiquidError

from regulars.automations.liquid import environment
from regulars.automations.opt_outs import VARIABLE
from regulars.automations.problems import Problem, join_path, listed, suggestion
from regulars.automations.rendering import (
    COMMON_OPTIONAL,
    COMMON_SAMPLE,
    MissingValueError,
    RenderError,
    TemplateError,
    compile_template,
    plain_words,
)
from regulars.automations.sms import sms_parts, strangers
from regulars.automations.triggers import Trigger
from regulars.customers.models import Channel, Purpose

# What carriers put together again reliably.
MOST_SMS_PARTS = 10
MAX_BODY = 200_000
# As long as a real one.
LINK_SAMPLE = f"https://regulars.example.com/u/{'x' * 44}"


@dataclass(frozen=True)
class Vocabulary:
    """What a template may name: an example of every variable, and which of them may be empty."""

    sample: Mapping[str, Any]
    optional: frozenset[str]

    @property
    def paths(self) -> list[str]:
        """Every variable by its full name: `customer.first_name`, …"""
        return [path for path, _ in _flat(self.sample)]


def vocabulary_of(trigger: Trigger) -> Vocabulary:
    """The common variables and those of `trigger`; advertising may also name the way out."""
    way_out = {VARIABLE: LINK_SAMPLE} if trigger.purpose == Purpose.MARKETING else {}
    return Vocabulary(COMMON_SAMPLE | trigger.sample | way_out, COMMON_OPTIONAL | trigger.optional)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def check_template(
    channel: str, subject: str, body: str, vocabulary: Vocabulary, *place: str | int
) -> list[Problem]:
    """Every reason why this template cannot be saved; `place` is its path in the document."""
    problems = [
        Problem(path=join_path(*place, part), problem=words) for part, words in _form(channel, subject, body)
    ]
    for part, source in (("subject", subject), ("body", body)):
        problems += [
            Problem(path=join_path(*place, part), problem=words) for words in _variables(source, vocabulary)
        ]
    if problems:
        return problems
    try:
        rendered = compile_template(channel, subject, body).render(vocabulary.sample)
    except TemplateError as fault:
        return [Problem(path=join_path(*place, fault.part), problem=str(fault))]
    except RenderError as fault:
        return [Problem(path=join_path(*place, "body"), problem=str(fault))]
    if not rendered.body.strip():
        return [Problem(path=join_path(*place, "body"), problem="With the example guest this says nothing.")]
    if channel == Channel.SMS:
        return [Problem(path=join_path(*place, "body"), problem=words) for words in _too_long(rendered.body)]
    return []


def _too_long(text: str) -> Iterator[str]:
    """An SMS is paid by the part: one á turns 160 characters a part into 70."""
    length = sms_parts(text)
    if length.parts > MOST_SMS_PARTS:
        why = "".join(sorted(strangers(text)))
        hint = f" Without {why} it would be fewer." if why else ""
        yield (
            f"With the example guest this is {length.parts} SMS parts ({length.encoding}), each paid; "
            f"at most {MOST_SMS_PARTS} are allowed.{hint}"
        )


def _form(channel: str, subject: str, body: str) -> Iterator[tuple[str, str]]:
    """Faults that show without looking at the Liquid."""
    if not body.strip():
        yield "body", "The text is missing or empty: say something."
    if len(body) > MAX_BODY:
        yield "body", f"The text has {len(body)} characters; at most {MAX_BODY} are allowed."
    if "\x00" in body or "\x00" in subject:
        yield "body", "The text contains a null character: remove it."
    if "<script" in body.lower():
        yield "body", "E-mail programs do not run scripts: remove <script>."
    if channel == Channel.EMAIL and not subject.strip():
        yield "subject", "An e-mail needs a subject."
    if channel != Channel.EMAIL and subject.strip():
        yield "subject", "Only e-mails have a subject: leave it empty."
    if len(subject.splitlines()) > 1 or "\r" in subject or "\n" in subject:
        yield "subject", "A subject is one line: remove the line break."


def _variables(source: str, vocabulary: Vocabulary) -> Iterator[str]:
    """Syntax errors, and names that do not exist, each with its line."""
    try:
        template = environment(escape=False, language="en").from_string(source)
        used = template.analyze(include_partials=False).globals
    except LiquidError as problem:
        yield plain_words(problem, source)
        return
    paths = vocabulary.paths
    for variable in (each for several in used.values() for each in several):
        words = _unknown(str(variable), paths)
        if words:
            yield f"Line {source.count(chr(10), 0, variable.span.index) + 1}: {words}"


def _unknown(name: str, paths: list[str]) -> str | None:
    if name in paths:
        return None
    inside = [path for path in paths if path.startswith(f"{name}.")]
    if inside:
        return f"“{name}” has several parts; use one of {listed(inside)}."
    hint = suggestion(name, paths)
    return f"There is no variable “{name}”.{hint} Known variables: {listed(paths)}."


def check_fallbacks(
    channel: str, subject: str, body: str, vocabulary: Vocabulary, *place: str | int
) -> list[Problem]:
    """Variables that would leave a hole in some guest's message (E27): each needs a fallback.

    Found by rendering: with each optional variable missing alone, present alone, and all missing,
    so that a text inside `{% if … %}` is judged as a guest would see it.
    """
    template = compile_template(channel, subject, body)
    missing: dict[str, None] = {}
    for absent in _absences(sorted(vocabulary.optional)):
        # After a hole is found its variable is given a value, to find the next one.
        while (name := _hole(template, vocabulary, absent)) is not None and name not in missing:
            missing[name] = None
            absent = absent - {name}  # noqa: PLW2901
    return [
        Problem(
            path=join_path(*place, "subject" if name in subject and name not in body else "body"),
            problem=f"“{name}” may be empty. Give a fallback text, for example "
            f'{{{{ {name} | default: "…" }}}}, or put it inside {{% if {name} %}}.',
        )
        for name in missing
    ]


def _absences(optional: list[str]) -> Iterator[frozenset[str]]:
    yield frozenset(optional)
    for name in optional:
        yield frozenset({name})
        yield frozenset(optional) - {name}


def _hole(template: Any, vocabulary: Vocabulary, absent: frozenset[str]) -> str | None:
    try:
        template.render(_without(vocabulary.sample, absent))
    except MissingValueError as hole:
        return hole.name
    except RenderError:
        return None
    return None


def _without(sample: Mapping[str, Any], absent: frozenset[str]) -> dict[str, Any]:
    values = copy.deepcopy(dict(sample))
    for path in absent:
        *parents, last = path.split(".")
        place: Any = values
        for parent in parents:
            place = place[parent]
        # What a guest's own fields hold when unknown, and what a trigger gives.
        place[last] = "" if path in COMMON_OPTIONAL else None
    return values


def check_languages(
    templates: Sequence[tuple[str, str]], channels: Sequence[str], language: str
) -> list[Problem]:
    """Which texts are missing; `templates` are the (channel, language) pairs there are.

    Each channel needs at least the organization's language: it is what a guest of any other
    language gets (E28).
    """
    return [
        Problem(
            path="templates",
            problem=f"There is no {_name(channel)} text in “{language}”, the language of your "
            f"organization. Guests without a language get that one: add it. There is: "
            f"{listed(tongue for way, tongue in templates if way == channel)}.",
        )
        for channel in channels
        if (channel, language) not in templates
    ]


def check_translations(templates: Sequence[tuple[str, str]], channels: Sequence[str]) -> list[Problem]:
    """WhatsApp texts are approved per language: it needs every language that others have."""
    if Channel.WHATSAPP not in channels:
        return []
    there = {tongue for way, tongue in templates if way == Channel.WHATSAPP}
    wanted = sorted({tongue for _, tongue in templates} - there)
    return [
        Problem(
            path="templates",
            problem=f"There is no {_name(Channel.WHATSAPP)} text in “{tongue}”, although another "
            "channel has one. WhatsApp texts are approved per language: add it.",
        )
        for tongue in wanted
    ]


def _name(channel: str) -> str:
    return {"whatsapp": "WhatsApp", "sms": "SMS", "email": "e-mail"}[channel]
