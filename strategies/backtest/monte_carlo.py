"""How else the same trades might have followed each other, or how else they might have been drawn.

*shuffle* puts the P&L of the trades into another order: the end stays, the way there does not, so it says how much of a
drawdown was the luck of the order. *bootstrap* draws as many trades with replacement: end and way both move. P&L is
added in rupees, as it was earned; sizes are not reckoned anew. Trades are taken to be independent, which they are not
where they overlap: bands are then too narrow, and a reader is told so by how many did.

Paths are drawn batch by batch, each from its own seed, so that the same seed gives the same paths however the work is
cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.errors import BacktestRefused

Floats = NDArray[np.float64]
BATCH: Final = 250
POINTS: Final = 120
PERCENTILES: Final = (5, 25, 50, 75, 95)


class Draw(StrEnum):
    SHUFFLE = "shuffle"
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True)
class Paths:
    """`at` int64[points]: after how many trades; `bands` float64[percentiles, points], rupees of equity.

    `final` rupees and `drawdown_pct` (never positive) float64[paths]; `actual` is the path that was.
    """

    at: NDArray[np.int64]
    bands: Floats
    actual: Floats
    final: Floats
    drawdown_pct: Floats
    actual_drawdown_pct: float

    def chance_of_loss(self, cash: float) -> float:
        return float((self.final < cash).mean())

    def chance_of_drawdown(self, pct: float) -> float:
        """The share of paths whose drawdown is at least so deep."""
        return float((self.drawdown_pct <= -abs(pct)).mean())


def simulate(
    pnl: Floats, *, cash: float, paths: int, draw: Draw, seed: int, advance: Callable[[int], None] | None = None
) -> Paths:
    """Paths of equity from the P&L of trades, float64[trades], rupees in the order of their exits.

    BacktestRefused (TOO_FEW_TRADES): fewer than two. `advance(paths)` is called after each batch.
    """
    if pnl.size < 2:
        raise BacktestRefused("TOO_FEW_TRADES", f"{pnl.size} trades have no order to speak of")
    at = np.unique(np.linspace(0, pnl.size, min(POINTS, pnl.size + 1)).round().astype(np.int64))
    kept, final, deepest = np.empty((paths, at.size)), np.empty(paths), np.empty(paths)
    for first in range(0, paths, BATCH):
        count = min(BATCH, paths - first)
        draws = np.random.default_rng([seed, first // BATCH])
        steps = np.broadcast_to(pnl, (BATCH, pnl.size))  # a last batch that is short draws the same as a whole one
        if draw is Draw.SHUFFLE:
            steps = draws.permuted(steps, axis=1)
        else:
            steps = pnl[draws.integers(0, pnl.size, (BATCH, pnl.size))]
        curve = cash + np.concatenate((np.zeros((count, 1)), np.cumsum(steps[:count], axis=1)), axis=1)
        kept[first : first + count] = curve[:, at]
        final[first : first + count] = curve[:, -1]
        deepest[first : first + count] = drawdowns(curve)
        if advance is not None:
            advance(count)
    actual = cash + np.concatenate(([0.0], np.cumsum(pnl)))
    return Paths(
        at=at, bands=np.percentile(kept, PERCENTILES, axis=0), actual=actual[at], final=final, drawdown_pct=deepest,
        actual_drawdown_pct=float(drawdowns(actual[None, :])[0]),
    )  # fmt: skip


def drawdowns(curves: Floats) -> Floats:
    """The deepest fall from a peak of each curve, float64[curves], percent, never positive; at most all of it."""
    top = np.maximum.accumulate(curves, axis=1)
    fall = np.where(top > 0, curves / np.where(top > 0, top, 1.0) - 1, 0.0)
    return np.asarray(100 * np.maximum(fall.min(axis=1), -1.0))
