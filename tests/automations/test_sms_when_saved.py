"""An SMS is judged by its parts when it is saved."""

import pytest

from regulars.automations.templates import check_template, vocabulary_of
from regulars.automations.triggers import get


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ("a" * 1_530, False),
        ("a" * 1_531, True),
        ("á" * 670, False),
        ("á" * 671, True),
    ],
)
def test_more_than_ten_parts_are_refused_with_the_reason(body, refused):
    problems = check_template("sms", "", body, vocabulary_of(get("inactive")), "templates", 0)
    assert bool(problems) is refused
    if refused:
        assert "11 SMS parts" in problems[0]["problem"]
        assert ("Without á" in problems[0]["problem"]) is ("á" in body)


def test_the_same_text_is_no_trouble_on_whatsapp():
    assert not check_template("whatsapp", "", "á" * 671, vocabulary_of(get("inactive")), "templates", 0)
