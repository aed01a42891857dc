"""Ticks, lots and freeze quantities."""

from datetime import date
from decimal import Decimal

import pytest

from trading.venue.precision import (
    index_freeze_quantity,
    index_future_tick,
    is_on_tick,
    option_tick,
    slice_quantity,
    stock_tick,
    whole_lots,
)

NOW = date(2026, 2, 16)


@pytest.mark.parametrize(
    ("price", "tick"),
    [("249.99", "0.01"), ("250", "0.05"), ("1000", "0.05"), ("1000.05", "0.10"), ("5000", "0.10"), ("5000.1", "0.50"),
     ("10000", "0.50"), ("19999", "1.00"), ("20000", "1.00"), ("140000", "5.00")],
)  # fmt: skip
def test_the_tick_of_a_share_follows_its_price_band(price, tick):
    assert stock_tick(Decimal(price), on_date=NOW) == Decimal(tick)


@pytest.mark.parametrize(
    ("day", "price", "tick"),
    [("2024-06-09", "100", "0.05"), ("2024-06-10", "100", "0.01"), ("2025-04-14", "3000", "0.05"),
     ("2025-04-15", "3000", "0.10")],
)  # fmt: skip
def test_ticks_changed_on_their_dates(day, price, tick):
    assert stock_tick(Decimal(price), on_date=date.fromisoformat(day)) == Decimal(tick)


def test_index_futures_and_options_have_their_own_ticks():
    assert index_future_tick(Decimal(25_000), on_date=NOW) == Decimal("0.10")
    assert index_future_tick(Decimal(58_000), on_date=NOW) == Decimal("0.20")
    assert option_tick(on_date=NOW) == Decimal("0.05")
    assert option_tick(on_date=NOW, underlying_price=Decimal(180)) == Decimal("0.01")
    assert option_tick(on_date=date(2025, 11, 2), underlying_price=Decimal(180)) == Decimal("0.05")


def test_a_price_is_on_its_tick_exactly_or_not_at_all():
    assert is_on_tick(Decimal("812.35"), Decimal("0.05"))
    assert not is_on_tick(Decimal("812.37"), Decimal("0.05"))
    assert not is_on_tick(Decimal("NaN"), Decimal("0.05"))


def test_a_nifty_order_is_cut_to_27_lots_because_freeze_is_no_multiple_of_the_lot():
    assert slice_quantity(65 * 60, 1800, 65) == (1755, 1755, 390)
    assert slice_quantity(1755, 1800, 65) == (1755,)
    assert slice_quantity(500_000, None) == (500_000,)


@pytest.mark.parametrize(("quantity", "freeze", "lot"), [(0, 100, 1), (-65, 1800, 65), (66, 1800, 65), (130, 60, 65)])
def test_an_order_that_cannot_be_cut_is_refused(quantity, freeze, lot):
    with pytest.raises(ValueError):
        slice_quantity(quantity, freeze, lot)


def test_whole_lots_round_down():
    assert [whole_lots(quantity, 65) for quantity in (-1, 64, 65, 129, 130)] == [0, 0, 65, 65, 130]


def test_freeze_quantities_are_dated():
    assert index_freeze_quantity("BANKNIFTY", on_date=date(2025, 10, 31)) == 900
    assert index_freeze_quantity("BANKNIFTY", on_date=date(2025, 11, 3)) == 600
    assert index_freeze_quantity("NIFTY", on_date=date(2020, 1, 1)) is None
    assert index_freeze_quantity("UNHEARD", on_date=NOW) is None
