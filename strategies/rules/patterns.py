"""Shapes of one or two candles. float64[symbols, bars] prices → bool of the same shape: known true, known false.

The proportions are ours, written down because books differ; Nison 1991 has the shapes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SMALL_BODY = 1 / 3  # of the range, for a hammer or a shooting star
OTHER_SHADOW = 0.1  # of the range, on the side of the body
DOJI_BODY = 0.1  # of the range


def seen(name: str, open_: Floats, high: Floats, low: Floats, close: Floats) -> tuple[Bools, Bools]:
    """Where the shape is there, and where it is known not to be. A missing bar is neither."""
    known = np.isfinite(open_) & np.isfinite(high) & np.isfinite(low) & np.isfinite(close)
    with np.errstate(invalid="ignore"):
        if name in ("bullish_engulfing", "bearish_engulfing", "inside_bar"):
            before = [_before(each) for each in (open_, high, low, close)]
            known &= np.isfinite(before[0]) & np.isfinite(before[1]) & np.isfinite(before[2]) & np.isfinite(before[3])
            shape = _of_two(name, (open_, high, low, close), before)
        else:
            shape = _of_one(name, open_, high, low, close)
    shape &= known
    return shape, known & ~shape


def _of_one(name: str, open_: Floats, high: Floats, low: Floats, close: Floats) -> Bools:
    reach, body = high - low, np.abs(close - open_)
    above, below = high - np.maximum(open_, close), np.minimum(open_, close) - low
    moved: Bools = reach > 0
    if name == "doji":
        return moved & (body <= DOJI_BODY * reach)
    long, short = (below, above) if name == "hammer" else (above, below)
    return moved & (body <= SMALL_BODY * reach) & (long >= 2 * body) & (short <= OTHER_SHADOW * reach)


def _of_two(name: str, now: tuple[Floats, ...], before: list[Floats]) -> Bools:
    (open_, high, low, close), (open_1, high_1, low_1, close_1) = now, before
    if name == "inside_bar":
        inside: Bools = (high < high_1) & (low > low_1)
        return inside
    if name == "bearish_engulfing":  # the mirror image
        open_, close, open_1, close_1 = -open_, -close, -open_1, -close_1
    larger = (close - open_) > (open_1 - close_1)
    covered: Bools = (close_1 < open_1) & (close > open_) & (open_ <= close_1) & (close >= open_1) & larger
    return covered


def _before(values: Floats) -> Floats:
    out = np.full(values.shape, np.nan)
    out[:, 1:] = values[:, :-1]
    return out
