"""What a reply means: whole messages only, in any language, with or without accents."""

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.callbacks.meanings import Decision, Meaning, confirmation, decide, plain_words, understand

WORDS = json.loads(files("regulars.callbacks").joinpath("words.json").read_text(encoding="utf-8"))
LISTED = [
    (meaning, word) for meaning, languages in WORDS.items() for words in languages.values() for word in words
]


@pytest.mark.parametrize(("meaning", "word"), LISTED)
@pytest.mark.parametrize("form", ["{}", "  {}. ", "¡{}!", "{}\n", "«{}»", "{} 🙏"])
def test_each_word_is_known_in_any_clothes(meaning, word, form):
    for text in (word, word.upper(), word.title()):
        assert understand(form.format(text)) == meaning


@pytest.mark.parametrize("text", ["Arrêt", "ARRÊT", "Désabonner", "ＳＴＯＰ", "opt-out", "Opt_Out"])
def test_accents_and_wide_letters_do_not_matter(text):
    assert understand(text) is Meaning.STOP


@pytest.mark.parametrize(
    "text",
    [
        "no pares",
        "non-stop",
        "stop by at nine?",
        "end of the month",
        "bajar",
        "altavoz",
        "yes",
        "sí",
        "",
        "👍",
    ],
)
def test_a_word_inside_a_sentence_stops_nothing(text):
    assert decide(text, "").intent == "text"


@pytest.mark.parametrize(
    ("text", "purpose", "decision"),
    [
        ("Cancelar", "transactional", Decision("text", needs_attention=True)),
        ("Cancelar", "marketing", Decision("stop", needs_attention=True)),
        ("CANCEL", "", Decision("stop", needs_attention=True)),
        ("Baja", "transactional", Decision("stop")),
        ("Alta", "marketing", Decision("start")),
        ("Quiero la baja", "marketing", Decision("text", needs_attention=True)),
        ("Baja la musica que no se oye nada", "marketing", Decision("text")),
        ("Mesa para dos, por favor", "marketing", Decision("text")),
    ],
)
def test_what_follows_depends_on_what_was_answered(text, purpose, decision):
    assert decide(text, purpose) == decision


def test_an_owner_may_add_words():
    assert understand("¡Fora!", ["fora"]) is Meaning.STOP
    assert understand("fora") is Meaning.TEXT


@given(st.text())
def test_any_text_has_one_form(text):
    once = plain_words(text)
    assert plain_words(once) == once


@pytest.mark.parametrize("language", ["en", "es", "ca", "fr", "de", "it", "pt", "nl"])
def test_a_confirmation_names_a_word_that_is_understood(language):
    for intent, back in (("stop", Meaning.START), ("start", Meaning.STOP)):
        text = confirmation(intent, language, "en", "Casa Pepe", "sms")
        assert text.startswith("Casa Pepe")
        assert "SMS" in text
        assert understand(text.rpartition(" ")[2]) is back
        assert len(text) <= 160


def test_a_confirmation_speaks_the_guests_language_else_the_houses():
    assert "baja hecha" in confirmation("stop", "es-MX", "en", "Casa Pepe", "sms")
    assert "erledigt" in confirmation("stop", "", "de", "Casa Pepe", "sms")
    assert "START" in confirmation("stop", "ja", "", "Casa Pepe", "whatsapp")
