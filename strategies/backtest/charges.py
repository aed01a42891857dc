"""The dated charges of `trading.venue.charges` in whole numbers, for the event loop.

Rates come from the public function, never from a second table: each is read off a probe whose value makes the exact
line equal to the rate. The arithmetic here is in integers throughout, so an order costs the same paise in a backtest
as in the ledger.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trading.domain.orders import Side
from trading.venue.charges import GST_PERCENT, ChargeBroker, ChargeSegment, exact_lines
from trading.venue.matching import bare

SCALE: Final = 1_000_000_000  # rates are in billionths of the value
CAP, PERCENT, STT, EXCHANGE, SEBI, STAMP, IPFT = range(7)
FLAT: Final = -1  # in place of a percentage: the cap is always charged
_GST: Final = int(GST_PERCENT)
_BUY, _SELL = 0, 1
SMALL: Final = 500_000_000_000  # paise; no rate reaches a percent and a half

NO_CHARGES: Final = np.zeros((1, 2, 7), np.int64)


@bare
def _part(value, rate):
    """Whole paise and billionths of a paisa of `value` × `rate` / SCALE, without leaving 64 bits."""
    rest = value % 1_000_000_000 * rate
    return value // 1_000_000_000 * rate + rest // 1_000_000_000, rest % 1_000_000_000


@bare
def _rounded(value, rate):
    whole, rest = _part(value, rate)
    return whole + (1 if 2 * rest >= 1_000_000_000 else 0)


@bare
def _unsigned(value, by):
    """value // by for a value that is never negative: the compiler is spared the care for those that are."""
    return np.int64(np.uint64(value) // np.uint64(by))


@bare
def _billions(value):
    return _unsigned(value, 1_000_000_000)


@bare
def _charges_of_less(value, rates, row, way):
    """The same for an order whose value times any rate stays within 64 bits: one division a line."""
    cap = rates[row, way, CAP]
    whole, rest = cap, np.int64(0)
    if rates[row, way, PERCENT] >= 0:
        asked = value * rates[row, way, PERCENT]
        asked_whole = _billions(asked)
        if asked_whole < cap:
            whole = asked_whole
            rest = asked - whole * 1_000_000_000
    total = whole + (1 if 2 * rest >= 1_000_000_000 else 0)
    for line in (STT, EXCHANGE, SEBI, STAMP, IPFT):
        total += _billions(value * rates[row, way, line] + 500_000_000)
    fees = value * (rates[row, way, EXCHANGE] + rates[row, way, SEBI])
    fees_whole = _billions(fees)
    whole += fees_whole
    rest += fees - fees_whole * 1_000_000_000
    taxed = whole * _GST
    taxed_whole = _unsigned(taxed, 100)
    rest = (taxed - taxed_whole * 100) * 1_000_000_000 + rest * _GST
    rest_whole = _unsigned(rest, 100_000_000_000)
    total += taxed_whole + rest_whole
    return total + (1 if 2 * (rest - rest_whole * 100_000_000_000) >= 100_000_000_000 else 0)


@bare
def order_charges(value, rates, row, way):
    """Charges of one order in whole paise; each line rounded half up, as the ledger does.

    `value` paise of turnover; `rates` as `rate_rows` makes them, the `row` in force, `way` 0 for a purchase, 1 a sale.
    """
    if value < SMALL:
        return _charges_of_less(value, rates, row, way)
    cap = rates[row, way, CAP]
    whole, rest = cap, np.int64(0)
    if rates[row, way, PERCENT] >= 0:
        asked, asked_rest = _part(value, rates[row, way, PERCENT])
        if asked < cap:
            whole, rest = asked, asked_rest
    total = whole + (1 if 2 * rest >= 1_000_000_000 else 0)
    for line in (STT, EXCHANGE, SEBI, STAMP, IPFT):
        total += _rounded(value, rates[row, way, line])
    for line in (EXCHANGE, SEBI):
        more, more_rest = _part(value, rates[row, way, line])
        whole += more
        rest += more_rest
    # GST on the exact sum of the three: `whole` paise and `rest` billionths, times the percentage.
    taxed = whole * _GST
    rest = taxed % 100 * 1_000_000_000 + rest * _GST
    total += taxed // 100 + rest // 100_000_000_000
    return total + (1 if 2 * (rest % 100_000_000_000) >= 100_000_000_000 else 0)


def rate_rows(
    days: NDArray[np.int64], *, broker: ChargeBroker, segment: ChargeSegment, exchange: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rates in force on `days` (proleptic ordinals): int64[days] row numbers, int64[rows, buy and sell, 7]."""
    rows: list[NDArray[np.int64]] = []
    row_of_day = np.empty(days.size, np.int64)
    previous = None
    for place, ordinal in enumerate(days.tolist()):
        rates = _rates_on(ordinal, broker, segment, exchange)
        if rates is not previous:
            rows.append(rates)
        previous = rates
        row_of_day[place] = len(rows) - 1
    return row_of_day, np.stack(rows) if rows else NO_CHARGES


_known_rows: dict[bytes, NDArray[np.int64]] = {}


@lru_cache(maxsize=65_536)
def _rates_on(ordinal: int, broker: ChargeBroker, segment: ChargeSegment, exchange: str) -> NDArray[np.int64]:
    rates = np.zeros((2, 7), np.int64)

    def lines(side: Side, value_paise: int) -> dict[str, int]:
        exact = exact_lines(
            broker=broker, segment=segment, side=side, quantity=1, value_paise=value_paise,
            on_date=date.fromordinal(ordinal), exchange=exchange,
        )  # fmt: skip
        billionths = SCALE // value_paise if value_paise < SCALE else 1
        return {name: int(paise * billionths) for name, paise in exact.items()}

    for place, side in ((_BUY, Side.BUY), (_SELL, Side.SELL)):
        at_scale = lines(side, SCALE)
        rates[place, STT:] = [at_scale[name] for name in ("stt", "exchange", "sebi", "stamp", "ipft")]
        cap, smallest = lines(side, SCALE * SCALE)["brokerage"], lines(side, 1)["brokerage"]
        rates[place, CAP] = cap
        rates[place, PERCENT] = FLAT if smallest == cap * SCALE else smallest
    rates.setflags(write=False)
    return _known_rows.setdefault(rates.tobytes(), rates)  # equal rates are one object
