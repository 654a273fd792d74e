"""docs/faults.md is the table, and says what people will really read."""

from tests.faults import document

from regulars.providers.smtp import tables as smtp
from regulars.providers.twilio import tables as twilio


def test_the_page_is_the_table():
    """Write it anew with `PYTHONPATH=src .venv/bin/python -m tests.faults.document`."""
    assert document.PAGE.read_text(encoding="utf-8") == document.text()


def test_the_advice_is_listed_under_the_words_that_the_product_uses():
    said = [row.words for row in twilio.CODES.values()] + [twilio.NOT_THE_API.words]
    said += [row.refusal.words for row in smtp.ROWS] + [row.words for row in smtp.EARLY.values()]
    said += ["The mail server does not offer what the account asks for", "certificate"]
    for reason in document.ADVICE:
        assert any(words.startswith(reason) for words in said), reason
