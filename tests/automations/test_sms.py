"""What an SMS costs, against the table of GSM 03.38 and against a plain count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.automations.sms import (
    DEFAULT_ALPHABET,
    EXTENSION,
    Encoding,
    Parts,
    sms_parts,
    strangers,
)

GSM, UCS = Encoding.GSM7, Encoding.UCS2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Parts(GSM, 0, 0)),
        ("Hola", Parts(GSM, 4, 1)),
        ("a" * 160, Parts(GSM, 160, 1)),
        ("a" * 161, Parts(GSM, 161, 2)),
        ("a" * 306, Parts(GSM, 306, 2)),
        ("a" * 307, Parts(GSM, 307, 3)),
        # Two units each, and never split between two parts: 76 fit into one of 153.
        ("€" * 80, Parts(GSM, 160, 1)),
        ("€" * 81, Parts(GSM, 162, 2)),
        ("€" * 153, Parts(GSM, 306, 3)),
        ("aquí", Parts(UCS, 4, 1)),
        ("í" * 70, Parts(UCS, 70, 1)),
        ("í" * 71, Parts(UCS, 71, 2)),
        ("í" * 134, Parts(UCS, 134, 2)),
        ("í" * 135, Parts(UCS, 135, 3)),
        ("🎉" * 35, Parts(UCS, 70, 1)),
        ("🎉" * 36, Parts(UCS, 72, 2)),
        # A pair of code units is not split either: 33 emoji fit into a part of 67.
        ("🎉" * 67, Parts(UCS, 134, 3)),
    ],
)
def test_parts_are_counted_as_the_standard_says(text, expected):
    assert sms_parts(text) == expected


@pytest.mark.parametrize("character", "èéùìòàäöüñåæøßÄÖÜÑÅÆØÉÇ¿¡§£¥@_Δ\n")
def test_these_are_in_the_alphabet(character):
    assert sms_parts(character * 160) == Parts(GSM, 160, 1)


@pytest.mark.parametrize("character", "áíóúçÁÍÓÚâêîôûÀÈ“”‘’–…`ªº\t🎉")
def test_these_are_not_in_the_alphabet(character):
    assert sms_parts(character).encoding is UCS
    assert strangers(f"Hola {character}{character}") == character


@pytest.mark.parametrize("character", "|^{}[]~\\€\f")
def test_these_take_two_units(character):
    assert sms_parts(character) == Parts(GSM, 2, 1)


def test_the_alphabet_has_as_many_characters_as_the_standard():
    # 128 places, one of them the escape; the extension table has ten.
    assert (len(DEFAULT_ALPHABET), len(EXTENSION)) == (127, 10)
    assert not DEFAULT_ALPHABET & EXTENSION


everything = st.text(st.characters(codec="utf-8"), max_size=400)
cheap = st.text(st.sampled_from(sorted(DEFAULT_ALPHABET | EXTENSION)), max_size=400)


@given(text=everything | cheap)
def test_the_parts_have_room_for_the_units_and_not_much_more(text):
    result = sms_parts(text)
    alone, joined = (160, 153) if result.encoding is GSM else (70, 67)
    if result.units <= alone:
        assert result.parts == (1 if text else 0)
    else:
        assert result.parts * joined >= result.units
        # At most one unit of each part stays empty.
        assert (result.parts - 1) * (joined - 1) < result.units


@given(text=everything)
def test_ucs2_units_are_what_utf16_takes(text):
    result = sms_parts("í" + text)
    assert result.units == len(("í" + text).encode("utf-16-be")) // 2


@given(text=cheap, more=cheap)
def test_a_longer_text_never_has_fewer_parts(text, more):
    assert sms_parts(text + more).parts >= sms_parts(text).parts
