"""Forms as every server reads them."""

from urllib.parse import parse_qsl

from hypothesis import example, given
from hypothesis import strategies as st

from regulars.lib.http import form_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(TEXTS, TEXTS, max_size=5))
@example({"To": "+12015550100", "Body": "¡Baja & vuelve! 100 % = sí\r\n🍷 ~*-._+"})
@example({"empty": ""})
def test_a_form_says_what_it_was_given(fields):
    assert parse_qsl(form_of(fields).decode("ascii"), keep_blank_values=True) == list(fields.items())
