"""The two faces of an e-mail: HTML from text or MJML, text from HTML, with Liquid kept whole.

All of it is done once when a template is compiled, on the template itself: the Liquid parts are
put aside, the rest is converted, and they are put back.
"""

import re
from enum import StrEnum
from html import escape
from html.parser import HTMLParser

import mrml

_LIQUID = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_HTML = re.compile(
    r"<!doctype html|</?(?:html|head|body|p|div|table|tr|td|br|a|h[1-6]|span|strong|em|b|i|u|img|ul"
    r"|ol|li|center|font|hr|blockquote)(?:\s[^>]*)?/?>",
    re.IGNORECASE,
)
# The one variable that is an address: a text names it bare.
_VARIABLE_LINK = re.compile(r"\{\{-?\s*unsubscribe_url\s*-?\}\}")
_URL = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")


class BodyKind(StrEnum):
    """How the body of an e-mail is written; found from the body itself."""

    TEXT = "text"
    HTML = "html"
    MJML = "mjml"


class MarkupError(ValueError):
    """The markup cannot be converted; the text says where and what to do."""


def body_kind(body: str) -> BodyKind:
    """MJML starts with `<mjml`; HTML has a known tag somewhere; anything else is plain text."""
    if body.lstrip().lower().startswith("<mjml"):
        return BodyKind.MJML
    return BodyKind.HTML if _HTML.search(_LIQUID.sub("", body)) else BodyKind.TEXT


class _Aside:
    """The Liquid parts of a template, put aside under words that no converter touches."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.salt = "zqx"
        while self.salt in source:
            self.salt += "q"
        self.found = list(_LIQUID.finditer(source))
        numbers = iter(range(len(self.found)))
        self.plain = _LIQUID.sub(lambda _: f"{self.salt}{next(numbers)}x", source)
        self._word = re.compile(rf"{self.salt}(\d+)x")

    def restore(self, text: str) -> str:
        return self._word.sub(lambda word: self.found[int(word[1])][0], text)

    def lost(self, text: str) -> re.Match[str] | None:
        """The first Liquid part that is no longer in `text`."""
        kept = {int(number) for number in self._word.findall(text)}
        return next((part for n, part in enumerate(self.found) if n not in kept), None)

    def line(self, part: re.Match[str]) -> int:
        return self.source.count("\n", 0, part.start()) + 1


def mjml_to_html(body: str) -> str:
    """The HTML of an MJML template, Liquid kept.

    Raises:
        MarkupError: not well-formed MJML, an `mj-include`, or Liquid where MJML keeps no text.
    """
    aside = _Aside(body)
    try:
        # No fonts from elsewhere: they would tell a third party who opens the message.
        html = mrml.to_html(aside.plain.strip(), render_options=mrml.RenderOptions(fonts={})).content
    except OSError as problem:
        raise MarkupError(f"The MJML is not well formed: {problem}.") from None
    if lost := aside.lost(html):
        raise MarkupError(
            f"Line {aside.line(lost)}: MJML does not keep “{lost[0][:40]}” at this place. "
            "Put it inside <mj-text> or <mj-raw>."
        )
    return aside.restore(html)


def text_to_html(body: str) -> str:
    """A plain HTML page from a text: paragraphs, line breaks and links; Liquid kept."""
    aside = _Aside(body.strip())
    paragraphs = re.split(r"\n\s*\n", aside.plain)
    shown = "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in paragraphs)
    page = f'<!doctype html><html><head><meta charset="utf-8"></head><body>{shown}</body></html>'
    return _VARIABLE_LINK.sub(r'<a href="\g<0>">\g<0></a>', aside.restore(page))


def _inline(paragraph: str) -> str:
    pieces, end = [], 0
    for url in _URL.finditer(paragraph):
        link = escape(url[0])
        pieces += [escape(paragraph[end : url.start()]), f'<a href="{link}">{link}</a>']
        end = url.end()
    pieces.append(escape(paragraph[end:]))
    return "".join(pieces).replace("\n", "<br>")


def html_to_text(body: str) -> str:
    """The text of an HTML template: lines for blocks, addresses behind links; Liquid kept."""
    aside = _Aside(body)
    reader = _Reader()
    reader.feed(aside.plain)
    reader.close()
    return aside.restore(reader.text())


_BLOCKS = frozenset(
    [
        "p",
        "div",
        "table",
        "tr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "center",
        "hr",
        "blockquote",
        "section",
        "article",
    ]
)
_UNREAD = frozenset(["style", "script", "title", "head"])


class _Reader(HTMLParser):
    """Collects what a person would read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.unread = 0
        # For each open link: its address, and where its text starts.
        self.links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _UNREAD:
            self.unread += 1
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in _BLOCKS:
            self.pieces.append("\n- " if tag == "li" else "\n\n" if tag != "tr" else "\n")
        elif tag == "img" and given.get("alt"):
            self.pieces.append(str(given["alt"]))
        elif tag == "a":
            self.links.append((given.get("href") or "", len(self.pieces)))

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNREAD:
            self.unread = max(0, self.unread - 1)
        elif tag in _BLOCKS and tag not in ("li", "tr"):
            self.pieces.append("\n\n")
        elif tag == "a" and self.links:
            address, start = self.links.pop()
            shown = "".join(self.pieces[start:]).strip()
            if address and not address.startswith("#") and shown != address:
                self.pieces.append(f" ({address})")

    def handle_data(self, data: str) -> None:
        if not self.unread:
            self.pieces.append(re.sub(r"\s+", " ", data))

    def text(self) -> str:
        joined = re.sub(r"[ \t\xa0]+", " ", "".join(self.pieces))
        lines = re.sub(r" ?\n ?", "\n", joined)
        return re.sub(r"\n{3,}", "\n\n", lines).strip()
