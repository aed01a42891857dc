"""Numbers as an Indian trader reads them."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain import formatting as f


@pytest.mark.parametrize(
    ("paise", "text"),
    [
        (0, "0.00"),
        (5, "0.05"),
        (99_999, "999.99"),
        (100_000, "1,000.00"),
        (9_999_999, "99,999.99"),
        (12_345_67_50, "12,34,567.50"),
        (1_00_00_00_000_00, "1,00,00,00,000.00"),
        (-43_050, "−430.50"),
        (None, "—"),
    ],
)
def test_rupees_are_grouped_the_indian_way(paise, text):
    assert f.rupees(paise) == text


def test_the_symbol_stands_after_the_sign():
    assert f.rupees(12_185_250, symbol=True) == "₹1,21,852.50"
    assert f.signed_rupees(-43_050, symbol=True, decimals=0) == "−₹431"
    assert f.signed_rupees(125_000, symbol=True) == "+₹1,250.00"


def test_profit_has_a_plus_loss_a_real_minus_and_nothing_neither():
    assert [f.signed_rupees(p) for p in (125_000, -125_000, 0)] == ["+1,250.00", "−1,250.00", "0.00"]


def test_what_rounds_to_nothing_has_no_sign():
    assert f.percent(Decimal("-0.004")) == "0.00"
    assert f.percent(Decimal("0.004")) == "0.00"
    assert f.signed_rupees(-40, decimals=0) == "0"


def test_half_a_unit_rounds_away_from_zero():
    assert f.percent(Decimal("0.125")) == "+0.13"
    assert f.percent(Decimal("-0.125")) == "−0.13"


@pytest.mark.parametrize(
    ("value", "tick", "text"),
    [
        ("812.35", "0.05", "812.35"),
        ("25012.4", "0.0500", "25,012.40"),
        ("84.1225", "0.0025", "84.1225"),
        ("7", "1", "7.00"),
    ],
)
def test_a_price_has_the_decimals_of_its_tick(value, tick, text):
    assert f.price(Decimal(value), Decimal(tick)) == text


def test_missing_is_a_dash():
    assert {f.price(None), f.percent(None), f.quantity(None), f.ist_time(None), f.duration(None)} == {"—"}


def test_units_are_whole_and_a_short_position_is_negative():
    assert f.quantity(150000) == "1,50,000"
    assert f.quantity(-75) == "−75"


def test_times_are_shown_in_ist_with_the_date_when_it_is_another_day():
    at = datetime(2026, 11, 19, 6, 12, 7, tzinfo=UTC)
    assert f.ist_time(at, date(2026, 11, 19)) == "11:42:07"
    assert f.ist_time(at, date(2026, 11, 20)) == "19 Nov 11:42:07"
    assert f.ist_time(at, date(2027, 1, 4)) == "19 Nov 2026 11:42:07"


def test_spans_keep_the_two_units_that_matter():
    assert [f.duration(s) for s in (14, 185, 11_880, 187_200)] == ["14 s", "3 min", "3 h 18 m", "2 d 4 h"]


@given(st.integers(-(10**15), 10**15))
def test_grouping_loses_no_digit(paise):
    text = f.rupees(paise)
    assert Decimal(text.replace(",", "").replace("−", "-")) * 100 == paise
