"""What a guest means by a reply: stop, start again, “wrong number”, or something for a person to read. Pure.

Only a whole message that is one of the words counts, whatever its case, accents and punctuation: a
guest who writes “no pares” has not stopped anything. The words are data (`words.json`), those of all
languages together, for a guest may answer in any; an owner may add more.
"""

import json
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

# A longer text that contains a word is conversation.
_SHORT = 4


class Meaning(StrEnum):
    """What the text says, before it is known what it answers."""

    STOP = "stop"
    START = "start"
    # “Cancel”: marketing, or the table.
    CANCEL = "stop_or_cancel_a_booking"
    # Somebody else has this number now (E26).
    WRONG_PERSON = "wrong_person"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows: an intent (stop, start, wrong_person, text), and whether a person should look."""

    intent: str
    needs_attention: bool = False


def plain_words(text: str) -> str:
    """`¡Dar de BAJA!` as `dar de baja`: compatible forms, no case, no accents, words with single spaces."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    letters = "".join(letter for letter in folded if not unicodedata.combining(letter))
    return " ".join(re.findall(r"\w+", letters.replace("_", " ")))


def understand(text: str, more_stop_words: Collection[str] = ()) -> Meaning:
    """What the whole text is a word for."""
    words = plain_words(text)
    if words in {plain_words(one) for one in more_stop_words}:
        return Meaning.STOP
    return _meanings().get(words, Meaning.TEXT)


def decide(text: str, answered_purpose: str, more_stop_words: Collection[str] = ()) -> Decision:
    """What follows from a text that answers a message of this purpose (empty: of none that we know).

    “Cancel” after a message about a booking is about the booking: it stops nothing, and a person has to
    look. After anything else it stops, because in doubt we do not write; a person should look as well.
    So should somebody after “wrong number”: the guest may be known under another one.
    """
    meaning = understand(text, more_stop_words)
    if meaning is Meaning.CANCEL:
        about_a_booking = answered_purpose == "transactional"
        return Decision("text" if about_a_booking else "stop", needs_attention=True)
    if meaning is Meaning.TEXT:
        unclear = _may_mean_stop(text, more_stop_words) or _may_be_another_person(text)
        return Decision("text", needs_attention=unclear)
    return Decision(str(meaning), needs_attention=meaning is Meaning.WRONG_PERSON)


def _may_mean_stop(text: str, more: Collection[str]) -> bool:
    """A few words with one of the words among them: “quiero la baja”."""
    words = plain_words(text).split()
    if len(words) > _SHORT:
        return False
    return any(understand(word, more) in (Meaning.STOP, Meaning.CANCEL) for word in words)


def _may_be_another_person(text: str) -> bool:
    """One of the phrases in a longer text: “hola, creo que se ha equivocado de número”."""
    said = f" {plain_words(text)} "
    phrases = (words for words, meaning in _meanings().items() if meaning is Meaning.WRONG_PERSON)
    return any(f" {phrase} " in said for phrase in phrases)


def confirmation(intent: str, language: str, fallback: str, house: str, channel: str) -> str:
    """What we answer to a stop or start, in the guest's language, else the house's, else English."""
    texts = _confirmations()[intent]
    text = next((texts[one[:2]] for one in (language, fallback, "en") if one[:2] in texts), texts["en"])
    return text.format(house=house, channel={"whatsapp": "WhatsApp", "sms": "SMS"}.get(channel, channel))


@cache
def _meanings() -> dict[str, Meaning]:
    document = json.loads(files(__package__).joinpath("words.json").read_text(encoding="utf-8"))
    return {
        plain_words(word): Meaning(meaning)
        for meaning, by_language in document.items()
        for words in by_language.values()
        for word in words
    }


@cache
def _confirmations() -> dict[str, dict[str, str]]:
    text = files(__package__).joinpath("confirmations.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)
    return found
