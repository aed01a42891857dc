"""Each figure of a result with its words, its unit and its convention: a number without one invites belief."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from trading.domain.formatting import UNKNOWN, number, signed


@dataclass(frozen=True, slots=True)
class Meaning:
    """`unit`: rupees, pct, signed_pct, ratio, count or days. `good` says whether more is better: 1, -1, or 0."""

    key: str
    label: str
    unit: str
    convention: str
    good: int = 0


MEANINGS: Final = (
    Meaning("final_equity", "Final equity", "rupees", "Cash at the end: the beginning and the P&L of all trades."),
    Meaning("return_pct", "Return", "signed_pct", "Of the whole range, net of charges and slippage.", 1),
    Meaning("buy_and_hold_pct", "Buy and hold", "signed_pct", "The same money in every symbol, held."),
    Meaning("cagr_pct", "CAGR", "signed_pct", "By the calendar, a year of 365.25 days.", 1),
    Meaning("annual_return_pct", "Annual return", "signed_pct", "Geometric mean daily return over 252 days.", 1),
    Meaning("annual_volatility_pct", "Volatility", "pct", "Of daily returns, compounded over 252 days.", -1),
    Meaning("sharpe", "Sharpe", "ratio", "Annual return over volatility; no risk-free rate.", 1),
    Meaning("sortino", "Sortino", "ratio", "Annual return over √252 × root mean square of losing days.", 1),
    Meaning("calmar", "Calmar", "ratio", "Annual return over the largest drawdown.", 1),
    Meaning("max_drawdown_pct", "Largest drawdown", "signed_pct", "Equity at bar closes against its highest.", 1),
    Meaning("max_drawdown_days", "… from peak to bottom", "days", "Calendar days.", -1),
    Meaning("drawdown_recovery_days", "… to its recovery", "days", "Calendar days; — when not yet.", -1),
    Meaning("longest_drawdown_days", "Longest time under water", "days", "Calendar days between two peaks.", -1),
    Meaning("var_95_pct", "VaR 95 %", "signed_pct", "The 5th percentile of daily returns.", 1),
    Meaning("cvar_95_pct", "CVaR 95 %", "signed_pct", "The mean of the days at or below it.", 1),
    Meaning("trades", "Trades", "count", "Closed, each from its entry to its exit."),
    Meaning("win_rate_pct", "Win rate", "pct", "Trades with a gain after charges.", 1),
    Meaning("profit_factor_net", "Profit factor, net", "ratio", "Rupees won over rupees lost, after charges.", 1),
    Meaning("profit_factor", "Profit factor, gross", "ratio", "Sum of winning over losing returns, before charges.", 1),
    Meaning("expectancy", "Expectancy", "signed_rupees", "Mean P&L of a trade, after charges.", 1),
    Meaning("expectancy_pct", "Expectancy, gross", "signed_pct", "Mean return of a trade, before charges.", 1),
    Meaning("average_win", "Average win", "signed_rupees", "After charges.", 1),
    Meaning("average_loss", "Average loss", "signed_rupees", "After charges.", 1),
    Meaning("best_trade_pct", "Best trade", "signed_pct", "Exit against entry price, before charges.", 1),
    Meaning("worst_trade_pct", "Worst trade", "signed_pct", "Exit against entry price, before charges.", 1),
    Meaning("sqn", "SQN", "ratio", "√trades × mean P&L over its deviation.", 1),
    Meaning("charges", "Charges", "rupees", "Brokerage and levies of every order by its date.", -1),
    Meaning("exposure_pct", "Exposure", "pct", "Bars with a position, entry and exit bars included."),
    Meaning("turnover", "Turnover", "ratio", "Value bought and sold over mean equity."),
    Meaning("average_bars_held", "Bars held", "ratio", "Mean, from the bar of the entry to that of the exit."),
)  # fmt: skip
BY_KEY: Final = {one.key: one for one in MEANINGS}
HEADLINE: Final = ("return_pct", "max_drawdown_pct", "sharpe", "win_rate_pct", "profit_factor_net", "trades")


def written(key: str, value: float | int | None) -> str:
    """A figure as the desk writes numbers, with its unit."""
    if value is None:
        return UNKNOWN
    unit = BY_KEY[key].unit if key in BY_KEY else "ratio"
    exact = Decimal(str(value))
    if unit == "count":
        return number(exact, 0)
    if unit == "rupees":
        return f"₹{number(exact, 2)}"
    if unit == "signed_rupees":
        return signed(exact, 2)
    if unit == "signed_pct":
        return f"{signed(exact, 2)} %"
    if unit == "pct":
        return f"{number(exact, 2)} %"
    if unit == "days":
        return f"{number(exact, 0 if abs(exact) >= 10 else 1)} d"
    return number(exact, 2)


def tone_of(key: str, value: float | int | None) -> str:
    """up, down or nothing: only where a sign means a gain or a loss."""
    if value is None or key not in BY_KEY or not BY_KEY[key].unit.startswith("signed"):
        return ""
    return "up" if value > 0 else "down" if value < 0 else ""


def table(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every figure that there is, in the order of a reader."""
    return [
        {
            "key": one.key, "label": one.label, "value": written(one.key, found.get(one.key)),
            "tone": tone_of(one.key, found.get(one.key)), "convention": one.convention,
        }
        for one in MEANINGS
        if one.key in found
    ]  # fmt: skip
