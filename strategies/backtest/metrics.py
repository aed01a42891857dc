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

from math import exp, isfinite, log, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import kernels as k
from trading.venue.matching import UNITS_PER_RUPEE, kernel

TRADING_DAYS: Final = 252
YEAR_S: Final = 365.25 * 86_400
LEAST_SPREAD: Final = 1e-14  # less is the rounding of the powers above, not volatility
MOST_GROWTH: Final = 100.0  # e-folds a year; more is no figure but a few bars multiplied
Figures = dict[str, float | int | None]


def figures(
    *, trades: NDArray[np.int64], equity: NDArray[np.int64], starts: NDArray[np.int64], day_ends: NDArray[np.int64],
    close: NDArray[np.float64], first_known: int, cash: int,
) -> Figures:  # fmt: skip
    """All figures. `trades` and `equity` as the event loop writes them; `day_ends`: the last bar of each exchange day;
    `cash` at the beginning, ten-thousandths of a rupee."""
    top, bottom, recovered, long_from, long_to, highest, mean = _walk(equity)
    final, start, below = int(equity[-1]), cash, int(equity[bottom]) - int(equity[top])
    found: Figures = {
        "final_equity": final / UNITS_PER_RUPEE,
        "return_pct": 100 * (final - start) / start,
        "buy_and_hold_pct": _buy_and_hold(close, first_known),
        "peak_equity": int(highest) / UNITS_PER_RUPEE,
        "max_drawdown_pct": 100 * below / int(equity[top]) if below else 0.0,
        "max_drawdown_days": _days_between(starts, top, bottom),
        "drawdown_recovery_days": _days_between(starts, bottom, recovered) if recovered >= 0 else None,
        "longest_drawdown_days": _days_between(starts, long_from, long_to),
    }
    found |= _annual(equity[day_ends] / UNITS_PER_RUPEE, float(starts[-1] - starts[0]), final / int(equity[0]), found)
    found |= _of_trades(trades)
    found["exposure_pct"] = 100 * int(_bars_held(trades, equity.size)) / equity.size
    traded = int((trades[:, k.T_QUANTITY] * (trades[:, k.T_ENTRY] + trades[:, k.T_EXIT])).sum())
    found["turnover"] = traded / mean if mean > 0 else None
    return {name: _tidy(value) for name, value in found.items()}


def _tidy(value: float | int | None) -> float | int | None:
    if value is None or isinstance(value, int):
        return value
    return round(float(value), 10) if isfinite(value) else None


@kernel
def _walk(equity):
    """One pass over int64[bars]: bars of the peak before, of the bottom of, and of the recovery from the worst drawdown
    (-1: none yet), the longest stretch between two peaks as its two bars, the highest and the mean equity.
    """
    peak = equity[0]
    peak_at = 0
    top = bottom = 0
    recovered = -1
    long_from = long_to = 0
    worst = worst_peak = 1.0  # the worst share of a peak that was left, as a fraction: worst / worst_peak
    total = 0.0
    for bar in range(equity.size):
        now = equity[bar]
        total += now
        if now >= peak:
            if bottom > top and recovered < 0:
                recovered = bar
            if bar - peak_at > long_to - long_from:
                long_from, long_to = peak_at, bar
            peak = now
            peak_at = bar
        elif peak > 0 and now * worst_peak < worst * peak:
            worst, worst_peak = float(now), float(peak)
            top, bottom, recovered = peak_at, bar, -1
    if equity.size - 1 - peak_at > long_to - long_from:
        long_from, long_to = peak_at, equity.size - 1
    return top, bottom, recovered, long_from, long_to, peak, total / equity.size


@kernel
def _first_and_last(row, first):
    """The first known price at or after a bar, and the last of all; twice 0 where there is none."""
    for at in range(first, row.size):
        if np.isfinite(row[at]):
            last = row.size - 1
            while not np.isfinite(row[last]):
                last -= 1
            return row[at], row[last]
    return 0.0, 0.0


def _days_between(starts: NDArray[np.int64], first: int, last: int) -> float:
    return float(starts[last] - starts[first]) / 86_400


def _annual(ends: NDArray[np.float64], seconds: float, growth: float, known: Figures) -> Figures:
    """`ends`: equity at the end of each day; `growth` and `seconds` from the first bar to the last."""
    names = ("cagr_pct", "annual_return_pct", "annual_volatility_pct", "sharpe", "sortino", "calmar", "var_95_pct",
             "cvar_95_pct")  # fmt: skip
    out: Figures = dict.fromkeys(names)
    years = seconds / YEAR_S
    if years > 0 and growth > 0 and log(growth) / years < MOST_GROWTH:
        out["cagr_pct"] = 100 * (growth ** (1 / years) - 1)
    if ends.size < 3 or not (ends[:-1] > 0).all():
        return out
    returns = ends[1:] / ends[:-1] - 1
    mean = float(ends[-1] / ends[0]) ** (1 / returns.size) - 1 if ends[-1] > 0 else 0.0
    try:
        annual = (1 + mean) ** TRADING_DAYS - 1
        spread = (float(returns.var(ddof=1)) + (1 + mean) ** 2) ** TRADING_DAYS - (1 + mean) ** (2 * TRADING_DAYS)
    except OverflowError:  # a few wild days: there is no sensible year of them
        return out
    volatility = sqrt(spread) if spread > LEAST_SPREAD else 0.0
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


@kernel
def _bars_held(trades, bars):
    """Bars with a position in anything, the bars of entry and exit included."""
    held = np.zeros(bars, np.bool_)
    for row in range(trades.shape[0]):
        held[trades[row, k.T_ENTRY_BAR] : trades[row, k.T_EXIT_BAR] + 1] = True
    return np.count_nonzero(held)


def _buy_and_hold(close: NDArray[np.float64], first: int) -> float | None:
    """Percent; symbols that have no price by then, or none after, are left out."""
    ends = (_first_and_last(row, first) for row in close)
    gains = [100 * (last - begin) / begin for begin, last in ends if begin > 0]
    return sum(gains) / len(gains) if gains else None
