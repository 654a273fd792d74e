"""What guests read on the pages behind their links, in their own language. Data (`guest_words.json`).

Not in the translations of the pages that members use: guests speak more languages than the house.
"""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

Texts = dict[str, str]


def language_of(wanted: Iterable[str]) -> str:
    """The first of these languages (`es`, `pt-BR`) that is spoken here, else English. Pure."""
    return next((spoken for one in wanted if (spoken := one.strip()[:2].lower()) in _all()), "en")


def texts_of(language: str) -> Texts:
    """The texts of a language that is spoken here."""
    return _all()[language]


def channel(code: str, language: str) -> str:
    """A channel as the guest calls it: WhatsApp and SMS are that everywhere."""
    return {"whatsapp": "WhatsApp", "sms": "SMS"}.get(code) or texts_of(language)["email"]


@cache
def _all() -> dict[str, Texts]:
    found: dict[str, Texts] = json.loads(files(__package__).joinpath("guest_words.json").read_text("utf-8"))
    return found
