"""How many parts an SMS has, which is what it costs. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from regulars.providers.gsm import DEFAULT_ALPHABET, EXTENSION


class Encoding(StrEnum):
    """GSM-7 as long as every character is in its alphabet; one stranger turns the whole text."""

    GSM7 = "GSM-7"
    UCS2 = "UCS-2"


# Units in a message that stands alone, and in each part of a longer one (the header takes 6 bytes).
_CAPACITY = {Encoding.GSM7: (160, 153), Encoding.UCS2: (70, 67)}


@dataclass(frozen=True, slots=True)
class Parts:
    """`units` are septets (GSM-7) or UTF-16 code units (UCS-2); `parts` are what is billed."""

    encoding: Encoding
    units: int
    parts: int


def sms_parts(text: str) -> Parts:
    """The encoding, length and number of parts of `text`; an empty text has no part."""
    encoding = Encoding.UCS2 if strangers(text) else Encoding.GSM7
    sizes = [_size(character, encoding) for character in text]
    units = sum(sizes)
    alone, joined = _CAPACITY[encoding]
    if units <= alone:
        return Parts(encoding, units, 1 if units else 0)
    return Parts(encoding, units, _packed(sizes, joined))


def strangers(text: str) -> str:
    """The characters, each once, that make `text` more expensive because GSM-7 has them not."""
    return "".join(dict.fromkeys(c for c in text if c not in DEFAULT_ALPHABET and c not in EXTENSION))


def _size(character: str, encoding: Encoding) -> int:
    if encoding is Encoding.GSM7:
        return 2 if character in EXTENSION else 1
    return 2 if ord(character) > 0xFFFF else 1


def _packed(sizes: list[int], capacity: int) -> int:
    """Parts needed when a character of two units is never split between two parts."""
    parts, room = 1, capacity
    for size in sizes:
        if size > room:
            parts, room = parts + 1, capacity
        room -= size
    return parts
