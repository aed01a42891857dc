"""Tick sizes, lots and the largest single order. The broker's instrument master rules where it speaks; this is the
exchange's own table, for simulation and for checking the master.

Sources: NSE circular 2024-05-24 (0.01 below 250 rupees, from 2024-06-10); broker notice of NSE circulars, 2025-03-17
(bands by price, from 2025-04-15); NSE circular 2025-09-23 (stock options, from 2025-11-03).
ETFs stay at 0.01 or 0.05 by their own notice: ask the master.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date
from decimal import Decimal
from typing import Final

PENNY: Final = Decimal("0.01")
NICKEL: Final = Decimal("0.05")
PENNY_BELOW: Final = Decimal(250)  # exactly 250 belongs to the next band

_PENNY_TICKS_FROM: Final = date(2024, 6, 10)
_BANDS_FROM: Final = date(2025, 4, 15)
_PENNY_OPTIONS_FROM: Final = date(2025, 11, 3)

# A band ends at its upper price, included: 1,000.00 still ticks by 0.05.
_STOCK_BAND_ENDS: Final = [Decimal(edge) for edge in (1_000, 5_000, 10_000, 20_000)]
_STOCK_TICKS: Final = [NICKEL, Decimal("0.10"), Decimal("0.50"), Decimal("1.00"), Decimal("5.00")]
_INDEX_BAND_ENDS: Final = [Decimal(15_000), Decimal(30_000)]
_INDEX_TICKS: Final = [NICKEL, Decimal("0.10"), Decimal("0.20")]


def stock_tick(price: Decimal, *, on_date: date) -> Decimal:
    """Tick of a share, or of its future, by its price in rupees (the exchange uses the last close of the month)."""
    if on_date < _PENNY_TICKS_FROM:
        return NICKEL
    if price < PENNY_BELOW:
        return PENNY
    if on_date < _BANDS_FROM:
        return NICKEL
    return _STOCK_TICKS[bisect_left(_STOCK_BAND_ENDS, price)]


def index_future_tick(level: Decimal, *, on_date: date) -> Decimal:
    """Tick of an NSE index future by the level of its index."""
    if on_date < _BANDS_FROM:
        return NICKEL
    return _INDEX_TICKS[bisect_left(_INDEX_BAND_ENDS, level)]


def option_tick(*, on_date: date, underlying_price: Decimal | None = None) -> Decimal:
    """Tick of an option. `underlying_price`: the share's; None for an index option."""
    if underlying_price is not None and on_date >= _PENNY_OPTIONS_FROM and underlying_price < PENNY_BELOW:
        return PENNY
    return NICKEL


def is_on_tick(price: Decimal, tick: Decimal) -> bool:
    """Whether the exchange accepts this price."""
    return price.is_finite() and price % tick == 0


def whole_lots(quantity: int, lot: int) -> int:
    """The largest quantity of whole lots not above `quantity`, in units."""
    if lot < 1:
        raise ValueError(f"a lot holds at least one unit, not {lot}")
    return max(quantity, 0) // lot * lot


def slice_quantity(quantity: int, freeze: int | None, lot: int = 1) -> tuple[int, ...]:
    """Cut an order into pieces the exchange accepts, largest first; units, not lots.

    `freeze` is the largest single order; it need not be a multiple of the lot (1,800 NIFTY at a lot of 65 means pieces
    of 1,755). ValueError: not positive, not in whole lots, or a lot above the freeze quantity.
    """
    if quantity < 1 or whole_lots(quantity, lot) != quantity:
        raise ValueError(f"{quantity} is not a positive number of lots of {lot}")
    if freeze is None or quantity <= freeze:
        return (quantity,)
    largest = whole_lots(freeze, lot)
    if largest == 0:
        raise ValueError(f"one lot of {lot} is above the freeze quantity {freeze}")
    full, rest = divmod(quantity, largest)
    return (largest,) * full + ((rest,) if rest else ())


# The largest single order in the NSE index contracts, units, by the date it took effect (NSE circulars, monthly).
_INDEX_FREEZE: Final[dict[str, list[tuple[date, int]]]] = {
    "NIFTY": [(date(2023, 4, 3), 1800)],
    "BANKNIFTY": [
        (date(2023, 4, 3), 900), (date(2025, 7, 1), 600), (date(2025, 9, 1), 900), (date(2025, 11, 3), 600),
        (date(2026, 4, 1), 900), (date(2026, 7, 1), 600),
    ],
    "FINNIFTY": [
        (date(2023, 4, 3), 1800), (date(2025, 12, 1), 1200), (date(2026, 2, 1), 1800), (date(2026, 3, 2), 1200),
        (date(2026, 4, 1), 1800),
    ],
    "MIDCPNIFTY": [(date(2023, 4, 3), 5500), (date(2025, 3, 3), 4200), (date(2025, 7, 1), 2800)],
    "NIFTYNXT50": [(date(2025, 3, 3), 600)],
}  # fmt: skip


def index_freeze_quantity(index: str, *, on_date: date) -> int | None:
    """Largest single order in an index contract on a day, units; None where this table does not know."""
    history = _INDEX_FREEZE.get(index, [])
    position = bisect_right([start for start, _ in history], on_date)
    return history[position - 1][1] if position else None


def index_freeze_days(index: str) -> tuple[date, ...]:
    """The days from which this table has another largest order for an index; none: it does not know the index."""
    return tuple(start for start, _ in _INDEX_FREEZE.get(index, []))
