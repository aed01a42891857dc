"""Prices that leave those before and after them and come back. A real move does not come back with the next bar."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trading.marketdata.quality.bars import Floats

LEAST: Final = 0.05  # of the price: a minute that leaves its neighbours by less is no outlier
LEAST_DAILY: Final = 0.25  # the same of a day: wider than most bands, and no share comes back from there at once
RANGES: Final = 12.0  # times the usual step from bar to bar
FEW_STEPS: Final = 10  # below so many a spike's own two steps would be what is usual
FEWEST_BARS: Final = 5


def spikes(high: Floats, low: Floats, close: Floats, *, least: float = LEAST) -> NDArray[np.bool_]:
    """Which bars of a series, in order of time, are contradicted by both of their neighbours.

    The first may gap and the last may be an auction's, or the beginning of a move: neither is one, whatever it says.
    """
    if close.size < FEWEST_BARS:
        return np.zeros(close.size, bool)
    before = np.concatenate((close[:1], close[:-1]))
    after = np.concatenate((close[1:], close[-1:]))
    steps = np.abs(np.diff(close))
    moved = steps[steps > 0]
    usual = float(np.median(moved)) if moved.size >= FEW_STEPS else 0.0
    middle = (before + after) / 2
    limit = np.maximum(least * middle, RANGES * usual)
    back = np.abs(after - before) < limit / 2
    away = np.maximum(np.abs(high - middle), np.abs(low - middle))
    found: NDArray[np.bool_] = (away > limit) & back
    found[[0, -1]] = False
    return found
