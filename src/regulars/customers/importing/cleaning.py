"""One cell's text in, one clean value out, or a CellError that says what is wrong. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

YES = frozenset("yes y si s true t 1 x on ok granted opt_in optin verdadero sim oui ja".split())
NO = frozenset("no n false f 0 off opt_out optout withdrawn falso nao non nein".split())
CURRENCY_SIGNS = {"€": "EUR", "£": "GBP", "$": ""}
LANGUAGE_NAMES = {
    "espanol": "es",
    "spanish": "es",
    "castellano": "es",
    "ingles": "en",
    "english": "en",
    "catalan": "ca",
    "catala": "ca",
    "frances": "fr",
    "french": "fr",
    "aleman": "de",
    "german": "de",
    "deutsch": "de",
    "italiano": "it",
    "italian": "it",
    "portugues": "pt",
    "portuguese": "pt",
}
LARGEST_AMOUNT = Decimal(10) ** 10

_NEUTRALISED = re.compile(r"'(?=[=+\-@])")
_LANGUAGE = re.compile(r"([a-z]{2,3})(_[a-z0-9]{2,8})*")
_CURRENCY_CODE = re.compile(r"^([A-Z]{3})\s*|\s*([A-Z]{3})$")
_AMOUNT = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_WHOLE = re.compile(r"(\d{1,4})(?:[.,]0+)?", re.ASCII)


class CellError(ValueError):
    """A cell that keeps its row out: the column and the reason."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason


def clean_text(cell: str) -> str:
    """`cell` in NFC without control characters, runs of white space as one space, ends trimmed.

    An apostrophe that a rejects file put before a formula sign comes off again.
    """
    if not cell.isprintable():
        cell = "".join(" " if unicodedata.category(sign) in {"Cc", "Cs"} else sign for sign in cell)
        cell = cell.replace("\ufeff", "")
    if not cell.isascii():
        cell = unicodedata.normalize("NFC", cell)
    cell = " ".join(cell.split())
    return cell[1:] if _NEUTRALISED.match(cell) else cell


def fold(text: str) -> str:
    """For loose comparison: lower case, no accents, runs of other signs as one underscore."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def text_of(values: Mapping[str, str], column: str, longest: int) -> str | None:
    """The clean text of a cell, None if it is empty or the column is not there.

    Raises:
        CellError: longer than `longest` characters.
    """
    text = clean_text(values.get(column, ""))
    if len(text) > longest:
        raise CellError(column, f"is longer than {longest} characters")
    return text or None


def parse_yes_no(cell: str) -> bool | None:
    """Yes, no, or None for anything else: what is not said clearly is not said."""
    word = fold(cell)
    return True if word in YES else False if word in NO else None


def parse_language(text: str) -> str:
    """The two or three letters of a language (`es-ES`, `Español` and `es` are `es`).

    Raises:
        ValueError: no language.
    """
    word = fold(text)
    if word in LANGUAGE_NAMES:
        return LANGUAGE_NAMES[word]
    if found := _LANGUAGE.fullmatch(word):
        return found[1]
    raise ValueError("is not a language; write it like es or en")


def parse_tags(text: str) -> list[str]:
    """The tags in `text`, separated by comma, semicolon or bar; each once, in their order.

    Raises:
        ValueError: a tag is too long.
    """
    tags = dict.fromkeys(tag for part in re.split(r"[,;|]", text) if (tag := part.strip()))
    if any(len(tag) > 64 for tag in tags):
        raise ValueError("has a tag longer than 64 characters")
    return list(tags)


def parse_amount(text: str) -> tuple[Decimal, str]:
    """The amount, rounded to cents, and the currency its sign or code names, or empty.

    The last of comma and point is the decimal one, unless exactly three digits follow and no other
    sort of separator came before: 1.234 and 1,234 are one thousand two hundred thirty-four.

    Raises:
        ValueError: no amount.
    """
    number, currency = _without_currency(text.strip())
    number = re.sub(r"[\s'’]", "", number)
    if number.startswith("(") and number.endswith(")"):
        number = "-" + number[1:-1]
    number = _with_point(number.replace("−", "-"))
    if not _AMOUNT.fullmatch(number) or len(number) > 40:
        raise ValueError("is not an amount; write it like 29.50")
    amount = Decimal(number).quantize(Decimal("0.01"), ROUND_HALF_UP)
    if abs(amount) >= LARGEST_AMOUNT:
        raise ValueError("is too large for an amount")
    return amount, currency


def _without_currency(text: str) -> tuple[str, str]:
    for sign, code in CURRENCY_SIGNS.items():
        if sign in text:
            return text.replace(sign, "", 1).strip(), code
    if found := _CURRENCY_CODE.search(text):
        return _CURRENCY_CODE.sub("", text, count=1), found[1] or found[2]
    return text, ""


def _with_point(number: str) -> str:
    """`number` with a point before its decimals and no thousands separators."""
    comma, point = number.rfind(","), number.rfind(".")
    if comma < 0 and point < 0:
        return number
    decimal, thousands = (",", ".") if comma > point else (".", ",")
    whole, _, fraction = number.rpartition(decimal)
    if decimal in whole or (thousands not in whole and _is_grouped(whole, fraction)):
        # One sort of separator, in groups of three: thousands only.
        groups = number.split(decimal)
        proper = thousands not in number and all(len(group) == 3 for group in groups[1:])
        return "".join(groups) if proper else "?"
    groups = whole.split(thousands)
    if any(len(group) != 3 for group in groups[1:]):
        return "?"
    return "".join(groups) + ("." + fraction if fraction else "")


def _is_grouped(whole: str, fraction: str) -> bool:
    digits = whole.lstrip("-")
    return len(fraction) == 3 and 1 <= len(digits) <= 3 and digits != "0"


def parse_party_size(text: str) -> int:
    """How many came, 1 to 999.

    Raises:
        ValueError: no such number.
    """
    found = _WHOLE.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= 999:
        raise ValueError("is not a number of guests between 1 and 999")
    return int(found[1])


def parse_currency(text: str) -> str:
    """An ISO 4217 code.

    Raises:
        ValueError: not three letters and no known sign.
    """
    code = CURRENCY_SIGNS.get(text) or text.upper()
    if not re.fullmatch(r"[A-Z]{3}", code):
        raise ValueError("is not a currency; write it like EUR")
    return code
