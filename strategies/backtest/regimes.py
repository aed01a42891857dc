"""What kind of market each day was in, known before the day began.

The market is the mean daily return of the tested symbols. A day is judged by the twenty days before it:

- *efficiency*: the size of the sum of their returns over the sum of their sizes (Kaufman 1995). From 0.3 on it is a
  trend, up or down by the sign of the sum; below it is a range.
- *volatile*: their standard deviation lies above the median of all such deviations up to then.

The first twenty days are unknown. Nothing of the day itself, or after it, is used.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.market import Market, exchange_days

LOOK_BACK: Final = 20
TREND_FROM: Final = 0.3
UNKNOWN, TREND_UP, TREND_DOWN, RANGE = range(4)
VOLATILE: Final = 4  # added to the kind
NAMES: Final = {
    UNKNOWN: "Unknown", TREND_UP: "Trend up, calm", TREND_DOWN: "Trend down, calm", RANGE: "Range, calm",
    TREND_UP + VOLATILE: "Trend up, volatile", TREND_DOWN + VOLATILE: "Trend down, volatile",
    RANGE + VOLATILE: "Range, volatile",
}  # fmt: skip


def regimes_of_days(market: Market) -> NDArray[np.int8]:
    """int8[days]: the regime of each traded day, a key of NAMES. The history before the range is used as well."""
    closes = _daily_closes(market)
    if closes.shape[1] < 2:
        return np.zeros(market.day_ends.size, np.int8)
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = closes[:, 1:] / closes[:, :-1] - 1
    known = np.isfinite(steps)
    counted = known.sum(axis=0)
    mean = np.where(counted > 0, np.where(known, steps, 0.0).sum(axis=0) / np.maximum(counted, 1), 0.0)
    kinds = np.concatenate(([UNKNOWN], regimes(mean)))  # the first day has no return, so no day is judged by it
    traded = int(market.day_ends.size)
    return kinds[-traded:].astype(np.int8) if kinds.size >= traded else np.zeros(traded, np.int8)


def regimes(returns: NDArray[np.float64]) -> NDArray[np.int8]:
    """int8[days]: the regime of each day of daily returns, by the twenty before it."""
    size = returns.size
    kinds = np.zeros(size, np.int8)
    if size <= LOOK_BACK:
        return kinds
    windows = np.lib.stride_tricks.sliding_window_view(returns, LOOK_BACK)[: size - LOOK_BACK]
    total, path = windows.sum(axis=1), np.abs(windows).sum(axis=1)
    spread = windows.std(axis=1)
    efficiency = np.divide(np.abs(total), path, out=np.zeros_like(path), where=path > 0)
    kind = np.where(efficiency >= TREND_FROM, np.where(total > 0, TREND_UP, TREND_DOWN), RANGE)
    middle = np.array([np.median(spread[: at + 1]) for at in range(spread.size)])
    kinds[LOOK_BACK:] = kind + np.where(spread > middle, VOLATILE, 0)
    return kinds


def _daily_closes(market: Market) -> NDArray[np.float64]:
    """float64[symbols, days]: the last price of each day, carried on where a day has none; history included."""
    ordinals = exchange_days(np.asarray(market.window.starts))
    ends = np.append(np.flatnonzero(np.diff(ordinals)), ordinals.size - 1)
    close = market.adjusted.close
    bars = np.where(np.isfinite(close), np.arange(close.shape[1]), -1)
    last = np.maximum.accumulate(bars, axis=1)[:, ends]
    return np.where(last >= 0, np.take_along_axis(close, np.maximum(last, 0), axis=1), np.nan)
