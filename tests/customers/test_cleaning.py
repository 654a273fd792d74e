from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.customers.importing import cleaning, dates
from regulars.customers.importing.dates import Birthday, DateError, DateOrder, OrderEvidence
from regulars.lib.spreadsheets import neutralise

TODAY = date(2026, 6, 15)
ORDERS = list(DateOrder)


def moment(text, order=DateOrder.DAY_FIRST, hour=12):
    return dates.parse_moment(text, order, "Europe/Madrid", this_year=2026, default_hour=hour)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-04T20:30:00+01:00",
        "2026-03-04T19:30:00.000Z",
        "2026-03-04 20:30",
        "04/03/2026 20:30",
        "4.3.26 20:30:00",
        "04-03-2026 8:30 pm",
        "2026/03/04 20.30",
        "46085.854166667",
    ],
)
def test_one_moment_in_usual_writings(text):
    assert moment(text) == datetime(2026, 3, 4, 19, 30, tzinfo=UTC)


def test_month_first_reads_the_american_way_but_never_with_dots():
    assert moment("03/04/2026 20:30", DateOrder.MONTH_FIRST).month == 3
    assert moment("03.04.2026 20:30", DateOrder.MONTH_FIRST).month == 4


def test_a_contradictory_file_refuses_only_what_can_be_read_two_ways():
    with pytest.raises(DateError, match="day first or month first"):
        moment("03/04/2026", DateOrder.CONTRADICTORY)
    assert moment("25/04/2026", DateOrder.CONTRADICTORY).day == 25
    assert moment("04/25/2026", DateOrder.CONTRADICTORY).day == 25
    assert moment("05/05/2026", DateOrder.CONTRADICTORY).month == 5


@pytest.mark.parametrize(
    ("country", "cells", "order"),
    [
        ("ES", [], DateOrder.DAY_FIRST),
        ("US", [], DateOrder.MONTH_FIRST),
        ("US", ["01/02/2026", "25/04/2026"], DateOrder.DAY_FIRST),
        ("ES", ["04/25/2026"], DateOrder.MONTH_FIRST),
        ("ES", ["25.04.2026", "2026-04-25", "nonsense"], DateOrder.DAY_FIRST),
        ("ES", ["25/04/2026", "04/25/2026"], DateOrder.CONTRADICTORY),
    ],
)
def test_the_file_proves_its_order_of_dates(country, cells, order):
    evidence = OrderEvidence()
    for cell in cells:
        evidence.observe(cell)
    assert evidence.order(country) is order


@pytest.mark.parametrize(
    "text", ["31/02/2026", "2026-13-01", "yesterday", "0001-01-01T00:00", "9999-12-31T23:59", "25:00"]
)
def test_impossible_dates_are_refused(text):
    with pytest.raises(DateError):
        moment(text)


def test_a_date_without_a_time_is_refused_where_the_time_matters():
    with pytest.raises(DateError, match="time of day"):
        moment("2026-03-04", hour=None)


@pytest.mark.parametrize(
    ("text", "birthday"),
    [
        ("1985-05-12", Birthday(5, 12, 1985)),
        ("12/05/85", Birthday(5, 12, 1985)),
        ("12/05", Birthday(5, 12)),
        ("--05-12", Birthday(5, 12)),
        ("29/02", Birthday(2, 29)),
        ("31179", Birthday(5, 12, 1985)),
        ("1900-01-01", None),
        ("01/01/1970", None),
        ("0", None),
        ("2031-01-05", None),
    ],
)
def test_birthdays(text, birthday):
    assert dates.parse_birthday(text, DateOrder.DAY_FIRST, TODAY) == birthday


@given(st.text(max_size=40), st.sampled_from(ORDERS))
def test_any_text_is_a_date_or_refused(text, order):
    for parse in (lambda: moment(text, order), lambda: dates.parse_birthday(text, order, TODAY)):
        try:
            parse()
        except DateError:
            continue


@given(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_an_iso_moment_comes_back_as_it_was(at):
    assert moment(at.isoformat()) == at


@given(st.dates(date(1910, 1, 2), date(1969, 12, 31)))
def test_a_date_written_either_way_comes_back_in_its_order(day):
    expected = Birthday(day.month, day.day, day.year)
    for order, form in ((DateOrder.DAY_FIRST, "%d/%m/%Y"), (DateOrder.MONTH_FIRST, "%m-%d-%Y")):
        assert dates.parse_birthday(day.strftime(form), order, TODAY) == expected


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("29.33", "29.33", ""),
        ("29,33", "29.33", ""),
        ("1.234,56 €", "1234.56", "EUR"),
        ("£1,234.56", "1234.56", "GBP"),
        ("1 234,5", "1234.50", ""),
        ("1.234", "1234", ""),
        ("1,234,567", "1234567", ""),
        ("0.125", "0.13", ""),
        ("EUR 12", "12", "EUR"),
        ("(12.50)", "-12.50", ""),
        ("-3,5", "-3.50", ""),
    ],
)
def test_amounts(text, amount, currency):
    assert cleaning.parse_amount(text) == (Decimal(amount), currency)


@pytest.mark.parametrize("text", ["", "twelve", "1.23.4", "1,2345,6", "9" * 20, "=1+1", "--5", "NaN", "1e5"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError):
        cleaning.parse_amount(text)


@given(st.decimals(-999_999, 999_999, places=2), st.sampled_from(["{:,.2f}", "{:.2f}"]), st.booleans())
def test_an_amount_comes_back_in_either_notation(amount, form, continental):
    text = form.format(amount)
    if continental:
        text = text.translate(str.maketrans(",.", ".,"))
    assert cleaning.parse_amount(text)[0] == amount


@pytest.mark.parametrize("text", ["yes", "Sí", "SI", "1", "x", "TRUE", " s "])
def test_yes(text):
    assert cleaning.parse_yes_no(text) is True


@pytest.mark.parametrize("text", ["no", "0", "N", "false"])
def test_no(text):
    assert cleaning.parse_yes_no(text) is False


@pytest.mark.parametrize("text", ["", "?", "maybe", "2", "-"])
def test_what_is_not_said_clearly_is_no_statement(text):
    assert cleaning.parse_yes_no(text) is None


@given(st.text(max_size=60))
def test_clean_text_is_storable_and_cleaning_again_changes_nothing(text):
    clean = cleaning.clean_text(text)
    assert "\x00" not in clean
    clean.encode()
    if not clean.startswith("'"):
        assert cleaning.clean_text(clean) == clean


@given(st.text(max_size=30))
def test_a_neutralised_cell_runs_no_formula_and_is_read_as_the_same_text(text):
    shown = neutralise(text)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    if text[:1] in "=+-@":
        assert cleaning.clean_text(shown) == cleaning.clean_text(text)
