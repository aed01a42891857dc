"""What the days' contract notes add to the charges of single orders: the part that belongs to a scrip and a day.

On its note a broker takes the depository's fee once for a share that was sold out of delivery on a day, and rounds STT
to the rupee, on the day's average price, with what was bought and sold on one day counted as intraday. None of it is
known when an order fills, so it is in no trade, and in the ledger only once the note itself is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import kernels as k
from strategies.backtest.charges import SCALE, STAMP, STT
from trading.venue.charges import GST_PERCENT, ChargeSegment, ScripDay
from trading.venue.matching import UNITS_PER_PAISA

if TYPE_CHECKING:
    from strategies.backtest.result import Result


@dataclass(frozen=True, slots=True)
class DayNotes:
    """Paise over the whole run: depository fees, and what the notes' STT, stamp duty and GST differ by."""

    dp: int = 0
    stt: int = 0
    stamp: int = 0
    gst: int = 0

    @property
    def total(self) -> int:
        return self.dp + self.stt + self.stamp + self.gst


def day_notes(result: Result) -> DayNotes:
    """The notes of all days of a run; nothing for one without charges, or on derivatives."""
    costs, market, trades = result.plan.costs, result.market, result.trades
    if costs.charges is None or not costs.segment.is_equity or not len(trades):
        return DayNotes()
    orders = _orders(trades)
    row_of_bar, rates = market.rates(costs.charges, costs.segment)
    in_force = rates[row_of_bar[orders[:, _BAR]], orders[:, _WAY]]
    booked = {line: int(_rounded(orders[:, _VALUE], in_force[:, line]).sum()) for line in (STT, STAMP)}
    stt, stamp, dp = 0, Decimal(0), Decimal(0)
    for ordinal, group in _scrip_days(orders, market.day_ordinals):
        stt += group.equity_stt_paise(date.fromordinal(ordinal))
        stamp += group.equity_stamp()
        dp += group.dp_paise(costs.charges) if costs.segment is ChargeSegment.EQUITY_DELIVERY else 0
    fee = int(dp)
    gst = int((dp * GST_PERCENT / 100).quantize(Decimal(1), ROUND_HALF_UP))
    return DayNotes(fee, stt - booked[STT], int(stamp.quantize(Decimal(1), ROUND_HALF_UP)) - booked[STAMP], gst)


def _rounded(values: NDArray[np.int64], rates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole paise of each value × rate, half up, within 64 bits."""
    rounded: NDArray[np.int64] = values // SCALE * rates + (values % SCALE * rates + SCALE // 2) // SCALE
    return rounded


_SYMBOL, _BAR, _WAY, _UNITS, _VALUE = range(5)


def _orders(trades: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[orders, 5]: symbol, bar, 0 for a purchase and 1 for a sale, units, paise. Parts of one order are one."""
    bought_first = (trades[:, k.T_SIDE] < 0).astype(np.int64)
    sides = []
    for bar, price, way in ((k.T_ENTRY_BAR, k.T_ENTRY, bought_first), (k.T_EXIT_BAR, k.T_EXIT, 1 - bought_first)):
        value = (trades[:, k.T_QUANTITY] * trades[:, price] + UNITS_PER_PAISA // 2) // UNITS_PER_PAISA
        sides.append(np.stack((trades[:, k.T_SYMBOL], trades[:, bar], way, trades[:, k.T_QUANTITY], value), axis=1))
    lines = np.concatenate(sides)
    keys, place = np.unique(lines[:, :_UNITS], axis=0, return_inverse=True)
    sums = np.zeros((len(keys), 2), np.int64)
    np.add.at(sums, place.reshape(-1), lines[:, _UNITS:])
    return np.concatenate((keys, sums), axis=1)


def _scrip_days(orders: NDArray[np.int64], day_of_bar: NDArray[np.int64]) -> list[tuple[int, ScripDay]]:
    """Each symbol's day with its ordinal."""
    keys = np.stack((day_of_bar[orders[:, _BAR]], orders[:, _SYMBOL]), axis=1)
    days, place = np.unique(keys, axis=0, return_inverse=True)
    sums = np.zeros((len(days), 4), np.int64)
    place = place.reshape(-1)
    for way in (0, 1):
        mine = orders[:, _WAY] == way
        np.add.at(sums[:, way], place[mine], orders[mine, _UNITS])
        np.add.at(sums[:, 2 + way], place[mine], orders[mine, _VALUE])
    return [(day, ScripDay(*four)) for (day, _), four in zip(days.tolist(), sums.tolist(), strict=True)]
