"""From which age a guest agrees to marketing alone."""

from datetime import date

import pytest

from regulars.customers.ages import born_until, consent_age


@pytest.mark.parametrize(
    ("country", "age"), [("ES", 14), ("es", 14), ("GB", 13), ("FR", 15), ("DE", 16), ("MX", 16)]
)
def test_the_age_is_the_country_s_and_elsewhere_the_highest(country, age):
    assert consent_age(country) == age


@pytest.mark.parametrize(
    ("today", "born", "old_enough"),
    [
        (date(2026, 6, 15), 20120615, True),
        (date(2026, 6, 15), 20120616, False),
        (date(2026, 2, 28), 20120229, False),
        (date(2026, 3, 1), 20120229, True),
    ],
)
def test_one_comes_of_age_on_the_birthday(today, born, old_enough):
    assert (born <= born_until(today, 14)) == old_enough
