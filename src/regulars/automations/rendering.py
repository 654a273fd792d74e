"""Templates made ready once and rendered for each guest. Says nothing about who gets them.

Rendering is pure: the same template and variables give the same message, dry run or run.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TextIO, cast

from liquid import BoundTemplate, RenderContext
from liquid.exceptions import LiquidInterrupt, OutputStreamLimitError

from regulars.automations.liquid import HoleError, LiquidError, environment
from regulars.automations.markup import (
    BodyKind,
    MarkupError,
    body_kind,
    html_to_text,
    mjml_to_html,
    text_to_html,
)
from regulars.customers.models import Channel
from regulars.providers.base import TemplateUse

# Characters of a rendered body: Twilio refuses longer ones (error 21617) for SMS and WhatsApp.
MAX_CHARACTERS = {Channel.SMS.value: 1_600, Channel.WHATSAPP.value: 1_600}

# Characters that one rendering may make; a loop beyond it is a mistake.
MAX_OUTPUT = 500_000

# Variables that every template may use, each with an example; a trigger adds its own.
COMMON_SAMPLE: dict[str, Any] = {
    "customer": {
        "first_name": "Marta",
        "last_name": "Soler",
        "name": "Marta Soler",
        "tier": "gold",
        "language": "es",
    },
    "venue": {"name": "Casa Pepe Centro"},
    "organization": {"name": "Casa Pepe"},
}
# Those that may be empty for a guest.
COMMON_OPTIONAL = frozenset(f"customer.{name}" for name in COMMON_SAMPLE["customer"])

_CONTROLS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


class TemplateError(ValueError):
    """The template cannot be used; `part` is `subject` or `body`, the text says where and why."""

    def __init__(self, part: str, problem: str) -> None:
        super().__init__(problem)
        self.part = part


class RenderError(ValueError):
    """The template cannot be rendered with these variables; the text says why."""


class MissingValueError(RenderError):
    """A variable, `name`, has no value for this guest, and the template has no fallback.

    The fault of one message, not of the template: other guests have a value.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"“{name}” has no value for this guest, and the template has no fallback.")
        self.name = name


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is said to one guest. `subject` and `html` are empty except for e-mail.

    `template` is what is sent where the provider keeps the text; `body` is then how it reads.
    """

    subject: str
    body: str
    html: str
    template: TemplateUse | None = None


@dataclass(frozen=True)
class Compiled:
    """A template parsed and converted, safe to share between threads."""

    channel: str
    subject: BoundTemplate | None
    body: BoundTemplate
    html: BoundTemplate | None
    language: str = ""

    @cached_property
    def roots(self) -> frozenset[str]:
        """The first names of all variables that it mentions: `customer` of `customer.first_name`."""
        parts = [part for part in (self.subject, self.body, self.html) if part is not None]
        return frozenset(name for part in parts for name in part.global_variables())

    def render(self, variables: Mapping[str, Any]) -> Rendered:
        """The message for these variables (nested: `customer.first_name` is in `customer`).

        Raises:
            MissingValueError: a variable is empty and has no `default`.
            RenderError: an unknown variable, a limit was passed, or the text is too long.
        """
        # A text cannot start a new header line, whatever a guest is called.
        subject = _CONTROLS.sub(" ", _rendered(self.subject, variables)).strip()
        body = _rendered(self.body, variables)
        limit = MAX_CHARACTERS.get(self.channel)
        if limit is not None and len(body) > limit:
            raise RenderError(f"The text has {len(body)} characters; at most {limit} can be sent.")
        return Rendered(subject, body, _rendered(self.html, variables))


class _Buffer(io.TextIOBase):
    """Collects a text up to `MAX_OUTPUT` characters; line ends become one kind."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.room = MAX_OUTPUT

    def write(self, text: str) -> int:
        self.pieces.append(text)
        self.room -= len(text)
        if self.room < 0:
            raise OutputStreamLimitError("output limit reached", token=None)
        return len(text)

    def text(self) -> str:
        joined = "".join(self.pieces)
        return joined.replace("\r\n", "\n").replace("\r", "\n") if "\r" in joined else joined


def _rendered(template: BoundTemplate | None, variables: Mapping[str, Any]) -> str:
    if template is None:
        return ""
    # As BoundTemplate.render does, without its copies of the variables and its slower buffer.
    context = RenderContext(template, globals=variables)
    buffer = _Buffer()
    try:
        for node in template.nodes:
            node.render(context, cast("TextIO", buffer))
    except HoleError as hole:
        raise MissingValueError(hole.name) from None
    except LiquidInterrupt:
        raise RenderError("“break” and “continue” only have a meaning inside “for”.") from None
    except LiquidError as problem:
        problem.token = problem.token or node.token
        raise RenderError(plain_words(problem)) from None
    return buffer.text()


@lru_cache(maxsize=512)
def compile_template(channel: str, subject: str, body: str, language: str = "") -> Compiled:
    """Parse a template; the 512 used last are kept.

    `language` is that of printed dates; empty: the guest's own.

    Raises:
        TemplateError: a syntax error with its line, or markup that cannot be converted.
    """
    source = _parsed("body", body, language)
    if channel != Channel.EMAIL:
        return Compiled(channel, None, source, None, language)
    title = _parsed("subject", subject, language)
    try:
        text, html = _faces(body)
    except MarkupError as problem:
        raise TemplateError("body", str(problem)) from None
    return Compiled(
        channel,
        title,
        _parsed("body", text, language, derived=True),
        _parsed("body", html, language, derived=True, escape=True),
        language,
    )


def _faces(body: str) -> tuple[str, str]:
    """The text and the HTML of an e-mail, both still templates."""
    match body_kind(body):
        case BodyKind.TEXT:
            return body.strip(), text_to_html(body)
        case BodyKind.HTML:
            return html_to_text(body), body
    html = mjml_to_html(body)
    return html_to_text(html), html


def _parsed(
    part: str, source: str, language: str, *, derived: bool = False, escape: bool = False
) -> BoundTemplate:
    tongue = language[:2].lower()
    try:
        return environment(escape=escape, language=tongue).from_string(source)
    except LiquidError as problem:
        words = plain_words(problem, source)
        if derived:
            # The source itself is sound: the fault is how Liquid and markup are interleaved.
            words = (
                "A Liquid tag starts inside an HTML tag and ends outside it, or the other way "
                f"round; put both on the same side. ({words})"
            )
        raise TemplateError(part, words) from None


_BLOCK = re.compile(r"\{%-?\s*(end)?(if|unless|case|for|capture|comment)\b")


def plain_words(problem: LiquidError, source: str = "") -> str:
    """What is wrong, in one sentence with the line if it is known."""
    words = str(problem.message or problem).strip().rstrip(".")
    words = words[:1].upper() + words[1:]
    place = problem.context()
    if place:
        return f"Line {place[0]}: {words}."
    open_block = _unclosed(source)
    return f"Line {open_block[0]}: “{open_block[1]}” is never closed." if open_block else f"{words}."


def _unclosed(source: str) -> tuple[int, str] | None:
    """Line and name of the first block without an end: the parser only sees the text end."""
    opened: list[re.Match[str]] = []
    for tag in _BLOCK.finditer(source):
        if not tag[1]:
            opened.append(tag)
        elif opened:
            opened.pop()
    return (source.count("\n", 0, opened[0].start()) + 1, opened[0][2]) if opened else None
