"""The figures of a backtest, and what each of them means.

The conventions are those of the published results the engine is held against, so that figures can be compared:

- *daily returns*: last equity of each exchange day against the day before. A year has 252 of them.
- *annual return*: the geometric mean daily return, compounded over 252 days. *volatility*: of the same compounding,
  √((σ² + (1 + g)²)²⁵² - (1 + g)⁵⁰⁴), σ² the sample variance. *Sharpe*: the one over the other, no risk-free rate.
- *Sortino*: annual return over √252 times the root mean square of the negative daily returns.
- *CAGR*: by the calendar, a year of 365.25 days. *Calmar*: annual return over the largest drawdown.
- *drawdown*: equity at bar closes against its highest so far, percent, never positive.
- *return of a trade*: exit against entry price, before charges. Best, worst, expectancy and profit factor are made of
  these; P&L in rupees, win rate and SQN are net of charges.
- *buy and hold*: the same money in every symbol at the close of the first bar on which the rules are known.
- *VaR, CVaR*: the 5th percentile of daily returns (linear between neighbours), and the mean of those at or below it.
- *turnover*: value bought and sold over mean equity. *exposure*: share of bars with a position, its first and last
  included.

What cannot be known (no trade, one day, no loss to divide by) is None, never 0.
"""

from __future__ import annotations

from math import exp, isfinite, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import kernels as k
from trading.venue.matching import UNITS_PER_RUPEE

TRADING_DAYS: Final = 252
_YEAR_S: Final = 365.25 * 86_400
Figures = dict[str, float | int | None]


def figures(
    *, trades: NDArray[np.int64], equity: NDArray[np.int64], starts: NDArray[np.int64], days: NDArray[np.int64],
    close: NDArray[np.float64], first_known: int, cash: int,
) -> Figures:  # fmt: skip
    """All figures. `trades` and `equity` as the event loop writes them; `days` int64[bars]; `cash` at the beginning."""
    curve = equity / UNITS_PER_RUPEE
    start = cash / UNITS_PER_RUPEE
    worst, *drawdown = _drawdown(curve, starts)
    found: Figures = {
        "final_equity": float(curve[-1]),
        "return_pct": 100 * (float(curve[-1]) - start) / start,
        "buy_and_hold_pct": _buy_and_hold(close, first_known),
        "peak_equity": float(curve.max()),
        "max_drawdown_pct": worst,
    }
    found |= dict(zip(("max_drawdown_days", "drawdown_recovery_days", "longest_drawdown_days"), drawdown, strict=True))
    found |= _annual(curve, starts, days, found)
    found |= _of_trades(trades)
    found["exposure_pct"] = 100 * _bars_held(trades, curve.size) / curve.size
    traded = (trades[:, k.T_QUANTITY] * (trades[:, k.T_ENTRY] + trades[:, k.T_EXIT])).sum() / UNITS_PER_RUPEE
    found["turnover"] = float(traded) / float(curve.mean()) if curve.mean() > 0 else None
    return {name: _tidy(value) for name, value in found.items()}


def _tidy(value: float | int | None) -> float | int | None:
    if value is None or isinstance(value, int):
        return value
    return round(float(value), 10) if isfinite(value) else None


def _drawdown(curve: NDArray[np.float64], starts: NDArray[np.int64]) -> tuple[float, float | None, float | None, float]:
    """Worst drawdown in percent; days from its peak to its bottom and from there to recovery (None: not recovered);
    days of the longest time below a peak."""
    peaks = np.maximum.accumulate(curve)
    with np.errstate(all="ignore"):
        below = np.where(peaks > 0, curve / peaks - 1, 0.0)
    bottom = int(below.argmin())
    if below[bottom] >= 0:
        return 0.0, 0.0, 0.0, 0.0
    at_peak = np.flatnonzero(below >= 0)
    peak = int(at_peak[at_peak <= bottom][-1]) if (at_peak <= bottom).any() else 0
    after = at_peak[at_peak > bottom]
    recovery = float(starts[after[0]] - starts[bottom]) / 86_400 if after.size else None
    edges = np.concatenate((at_peak, [curve.size - 1]))
    longest = float(np.diff(starts[edges]).max()) / 86_400
    return 100 * float(below[bottom]), float(starts[bottom] - starts[peak]) / 86_400, recovery, longest


def _annual(curve: NDArray[np.float64], starts: NDArray[np.int64], days: NDArray[np.int64], known: Figures) -> Figures:
    names = ("cagr_pct", "annual_return_pct", "annual_volatility_pct", "sharpe", "sortino", "calmar", "var_95_pct",
             "cvar_95_pct")  # fmt: skip
    out: Figures = dict.fromkeys(names)
    years = float(starts[-1] - starts[0]) / _YEAR_S
    if years > 0 and curve[0] > 0 and curve[-1] > 0:
        out["cagr_pct"] = 100 * ((float(curve[-1]) / float(curve[0])) ** (1 / years) - 1)
    ends = curve[np.append(np.flatnonzero(np.diff(days)), curve.size - 1)]
    if ends.size < 3 or not (ends[:-1] > 0).all():
        return out
    returns = ends[1:] / ends[:-1] - 1
    mean = exp(float(np.log1p(returns).sum()) / returns.size) - 1 if (returns > -1).all() else 0.0
    try:
        annual = (1 + mean) ** TRADING_DAYS - 1
        spread = (float(returns.var(ddof=1)) + (1 + mean) ** 2) ** TRADING_DAYS - (1 + mean) ** (2 * TRADING_DAYS)
    except OverflowError:  # a few wild days: there is no sensible year of them
        return out
    volatility = sqrt(max(0.0, spread))
    losses = sqrt(float(np.mean(np.minimum(returns, 0) ** 2)))
    worst = known["max_drawdown_pct"] or 0.0
    fifth = float(np.percentile(returns, 5))
    out |= {
        "annual_return_pct": 100 * annual,
        "annual_volatility_pct": 100 * volatility,
        "sharpe": annual / volatility if volatility else None,
        "sortino": annual / (losses * sqrt(TRADING_DAYS)) if losses else None,
        "calmar": annual / (-worst / 100) if worst else None,
        "var_95_pct": 100 * fifth,
        "cvar_95_pct": 100 * float(returns[returns <= fifth].mean()),
    }
    return out


def _of_trades(trades: NDArray[np.int64]) -> Figures:
    names = ("win_rate_pct", "best_trade_pct", "worst_trade_pct", "expectancy_pct", "average_trade_pct",
             "profit_factor", "profit_factor_net", "expectancy", "average_win", "average_loss", "sqn")  # fmt: skip
    out: Figures = dict.fromkeys(names)
    count = trades.shape[0]
    out["charges"] = float((trades[:, k.T_CHARGES_IN] + trades[:, k.T_CHARGES_OUT]).sum()) / 100
    out["average_bars_held"] = float((trades[:, k.T_EXIT_BAR] - trades[:, k.T_ENTRY_BAR]).mean()) if count else None
    if not count:
        return out
    pnl = trades[:, k.T_PNL] / UNITS_PER_RUPEE
    returns = trades[:, k.T_SIDE] * (trades[:, k.T_EXIT] / trades[:, k.T_ENTRY] - 1)
    gained, lost = float(returns[returns > 0].sum()), float(-returns[returns < 0].sum())
    won, paid = float(pnl[pnl > 0].sum()), float(-pnl[pnl < 0].sum())
    spread = float(pnl.std(ddof=1)) if count > 1 else 0.0
    out |= {
        "win_rate_pct": 100 * float((pnl > 0).mean()),
        "best_trade_pct": 100 * float(returns.max()),
        "worst_trade_pct": 100 * float(returns.min()),
        "expectancy_pct": 100 * float(returns.mean()),
        "average_trade_pct": 100 * (exp(float(np.log1p(returns).mean())) - 1) if (returns > -1).all() else None,
        "profit_factor": gained / lost if lost else None,
        "profit_factor_net": won / paid if paid else None,
        "expectancy": float(pnl.mean()),
        "average_win": float(pnl[pnl > 0].mean()) if (pnl > 0).any() else None,
        "average_loss": float(pnl[pnl < 0].mean()) if (pnl < 0).any() else None,
        "sqn": sqrt(count) * float(pnl.mean()) / spread if spread else None,
    }
    return out


def _bars_held(trades: NDArray[np.int64], bars: int) -> int:
    """Bars with a position in anything, the bars of entry and exit included."""
    steps = np.zeros(bars + 1, np.int64)
    np.add.at(steps, trades[:, k.T_ENTRY_BAR], 1)
    np.add.at(steps, trades[:, k.T_EXIT_BAR] + 1, -1)
    return int(np.count_nonzero(np.cumsum(steps[:-1])))


def _buy_and_hold(close: NDArray[np.float64], first: int) -> float | None:
    """Percent; symbols that have no price by then, or none after, are left out."""
    gains = []
    for row in close:
        known = row[first:][np.isfinite(row[first:])]
        if known.size and known[0] > 0:
            gains.append(100 * (float(known[-1]) - float(known[0])) / float(known[0]))
    return sum(gains) / len(gains) if gains else None
