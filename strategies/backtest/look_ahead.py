"""Does a plan see what it cannot know? Cut the future off and look whether the past changes.

At each cut the market ends earlier. Whatever was decided, filled and valued before it must be the same as in the whole
run: every trade that was over two bars before the cut (the last bar of a run closes what is held), and the equity at
every close up to there. Cuts are drawn from a seed; the last bar before a fill is cut more often than others, for that
is where a look ahead would pay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import kernels as k
from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.market import Market
from strategies.backtest.plan import Plan
from strategies.backtest.result import Result

EMPTY: Final = frozenset({"NEVER_FIRED", "TOO_SHORT", "EMPTY_RANGE"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One cut: how many bars were left, and the first thing that was different; "" when nothing was."""

    bars: int
    trades_compared: int
    difference: str


def look_ahead(
    plan: Plan, market: Market, *, cuts: int, seed: int, advance: Callable[[int], None] | None = None
) -> list[Finding]:
    """Compare the whole run with runs on less. `advance(1)` is called after the whole run and after each cut."""
    plan = replace(plan, late_orders=False)
    whole = run(plan, market)
    if advance is not None:
        advance(1)
    findings = []
    for bars in cuts_of(whole, cuts, seed):
        findings.append(compared(plan, whole, bars))
        if advance is not None:
            advance(1)
    return findings


def cuts_of(whole: Result, count: int, seed: int) -> list[int]:
    """Lengths, in traded bars: half of them just after a signal that became a trade, half anywhere."""
    bars = whole.market.bars
    draw = np.random.default_rng(seed)
    signals = whole.trades[:, k.T_SIGNAL_BAR] + 3
    signals = np.unique(signals[(signals >= 4) & (signals < bars)])
    found: set[int] = set()
    if signals.size:
        found |= {int(one) for one in draw.choice(signals, min(count // 2, signals.size), replace=False)}
    while len(found) < min(count, max(1, bars - 4)):
        found.add(int(draw.integers(4, max(5, bars))))
    return sorted(found)


def compared(plan: Plan, whole: Result, bars: int) -> Finding:
    """The whole run against one that ends after so many traded bars."""
    trades, equity = _less(plan, whole.market, bars)
    settled = bars - 2
    before = whole.trades[whole.trades[:, k.T_EXIT_BAR] < settled]
    after = trades[trades[:, k.T_EXIT_BAR] < settled]
    if before.shape != after.shape:
        return Finding(bars, len(before), f"{len(before)} trades were over, {len(after)} with the future cut off")
    differing = np.flatnonzero((before != after).any(axis=1))
    if differing.size:
        return Finding(bars, len(before), f"trade {int(differing[0]) + 1} is another one with the future cut off")
    if equity is not None and not np.array_equal(whole.equity[:settled], equity[:settled]):
        at = int(np.flatnonzero(whole.equity[:settled] != equity[:settled])[0])
        return Finding(bars, len(before), f"equity at bar {at} is another one with the future cut off")
    return Finding(bars, len(before), "")


def shortened(market: Market, bars: int) -> Market:
    """The market with so many traded bars left."""
    kept = market.warm_up + bars
    window = market.window
    total = window.starts.size
    cut: dict[str, Any] = {}
    for one in fields(window):
        value = getattr(window, one.name)
        if isinstance(value, np.ndarray) and value.shape and value.shape[-1] == total:
            cut[one.name] = np.ascontiguousarray(value[..., :kept])
    less = replace(market, window=replace(window, **cut), bands=None)
    return less if market.bands is None else replace(less, bands=market.bands[:, :, : less.day_ends.size])


def _less(plan: Plan, market: Market, bars: int) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    try:
        found = run(plan, shortened(market, bars))
    except BacktestRefused as error:
        if error.code not in EMPTY:
            raise
        return np.empty((0, k.TRADE_COLUMNS), np.int64), None
    return found.trades, found.equity
