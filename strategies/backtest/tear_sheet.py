"""What a reader wants to see of one result: when it earned, how it lost, and where it came from.

Made of the stored report and curves alone, so that an old run is shown without running it again. Groups are by the
entry: its hour and weekday in India, and the regime its day was in (`regimes`). P&L is net of charges, returns of
trades are before them; MAE and MFE are the worst and best price of a trade against its entry, percent, as the trader
sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import regimes

Floats = NDArray[np.float64]
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNITS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Group:
    """Trades that have something in common. Rupees net of charges; None: there is nothing to divide by."""

    name: str
    trades: int
    wins: int
    pnl: float
    best: float
    worst: float
    profit_factor: float | None

    @property
    def win_rate_pct(self) -> float:
        return 100 * self.wins / self.trades

    @property
    def average(self) -> float:
        return self.pnl / self.trades


@dataclass(frozen=True, slots=True)
class Bin:
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class TearSheet:
    """One result, ready to be drawn. `report` as the engine wrote it; `arrays`: starts, equity, days, regimes."""

    report: Mapping[str, Any]
    arrays: Mapping[str, NDArray]

    @property
    def trades(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.report["trade_list"]
        return found

    @property
    def cash(self) -> float:
        return float(self.report["initial_cash"])

    @cached_property
    def equity(self) -> Floats:
        """float64[bars], rupees at the closes."""
        return np.asarray(self.arrays["equity"], np.float64) / UNITS

    @cached_property
    def drawdown(self) -> Floats:
        """float64[bars], percent of the highest equity so far, never positive."""
        top = np.maximum.accumulate(self.equity)
        return np.where(top > 0, 100 * (self.equity / np.where(top > 0, top, 1) - 1), -100.0)

    @cached_property
    def days(self) -> list[date]:
        return [date.fromordinal(int(one)) for one in self.arrays["days"]]

    @cached_property
    def day_equity(self) -> Floats:
        """float64[days]: equity at the last bar of each exchange day."""
        starts = np.asarray(self.arrays["starts"], np.int64)
        ordinals = (starts + 19_800) // 86_400
        ends = np.append(np.flatnonzero(np.diff(ordinals)), starts.size - 1)
        return self.equity[ends]

    @cached_property
    def day_returns(self) -> Floats:
        """float64[days]: of each day, the first against the cash at the beginning; 0 once everything is lost."""
        before = np.concatenate(([self.cash], self.day_equity[:-1]))
        return np.where(before > 0, self.day_equity / np.where(before > 0, before, 1) - 1, 0.0)

    @cached_property
    def months(self) -> list[tuple[int, list[float | None], float]]:
        """Year, the return of each of its months in percent (None: not traded), and that of the year."""
        factors: dict[tuple[int, int], float] = {}
        for day, gain in zip(self.days, self.day_returns.tolist(), strict=True):
            factors[day.year, day.month] = factors.get((day.year, day.month), 1.0) * (1 + gain)
        years = sorted({year for year, _ in factors})
        rows = []
        for year in years:
            row = [100 * (factors[year, m] - 1) if (year, m) in factors else None for m in range(1, 13)]
            whole = float(np.prod([factors[year, m] for m in range(1, 13) if (year, m) in factors]))
            rows.append((year, row, 100 * (whole - 1)))
        return rows

    # --- trades in groups ---------------------------------------------------------------------------------------------
    @cached_property
    def by_hour(self) -> list[Group]:
        return self._grouped(lambda trade: f"{trade['entry_at'][11:13]}:00" if len(trade["entry_at"]) > 10 else "Day")

    @cached_property
    def by_weekday(self) -> list[Group]:
        order = {name: at for at, name in enumerate(WEEKDAYS)}
        groups = self._grouped(lambda trade: WEEKDAYS[date.fromisoformat(trade["entry_at"][:10]).weekday()])
        return sorted(groups, key=lambda group: order[group.name])

    @cached_property
    def by_regime(self) -> list[Group]:
        kinds = dict(zip((day.isoformat() for day in self.days), self.arrays["regimes"].tolist(), strict=True))
        return self._grouped(lambda trade: regimes.NAMES[kinds.get(trade["entry_at"][:10], regimes.UNKNOWN)])

    @cached_property
    def by_symbol(self) -> list[Group]:
        return sorted(self._grouped(lambda trade: trade["symbol"]), key=lambda group: -group.pnl)

    @cached_property
    def by_side(self) -> list[Group]:
        return self._grouped(lambda trade: "Long" if trade["side"] == "BUY" else "Short")

    @cached_property
    def by_reason(self) -> list[Group]:
        return self._grouped(lambda trade: trade["reason"].replace("_", " ").capitalize())

    def _grouped(self, name_of: Callable[[Mapping[str, Any]], str]) -> list[Group]:
        found: dict[str, list[float]] = {}
        for trade in self.trades:
            found.setdefault(name_of(trade), []).append(trade["pnl"])
        return [_group(name, found[name]) for name in sorted(found)]

    # --- trades one by one --------------------------------------------------------------------------------------------
    @cached_property
    def returns_pct(self) -> Floats:
        return np.array([trade["return_pct"] for trade in self.trades], np.float64)

    @cached_property
    def mae_pct(self) -> Floats:
        """float64[trades], never positive."""
        return np.array([min(0.0, _against(trade, "worst_price")) for trade in self.trades], np.float64)

    @cached_property
    def mfe_pct(self) -> Floats:
        """float64[trades], never negative."""
        return np.array([max(0.0, _against(trade, "best_price")) for trade in self.trades], np.float64)

    @cached_property
    def bars_held(self) -> Floats:
        return np.array([trade["exit_bar"] - trade["entry_bar"] for trade in self.trades], np.float64)

    @cached_property
    def trade_distribution(self) -> list[Bin]:
        return distribution(self.returns_pct)

    @cached_property
    def day_distribution(self) -> list[Bin]:
        return distribution(100 * self.day_returns)


def distribution(values: Floats, *, most: int = 31) -> list[Bin]:
    """A histogram with an edge at zero, so that no bar holds gains and losses together. Empty: there is nothing."""
    known = values[np.isfinite(values)]
    if not known.size:
        return []
    low, high = float(min(0.0, known.min())), float(max(0.0, known.max()))
    width = (high - low) / most or 1.0
    first, last = -int(np.ceil(-low / width - 1e-9)), int(np.ceil(high / width - 1e-9))
    edges = width * np.arange(min(first, 0), max(last, first + 1) + 1)
    places = np.clip(np.floor(known / width + 1e-12).astype(int) - min(first, 0), 0, edges.size - 2)
    counts = np.bincount(places, minlength=edges.size - 1)
    return [Bin(float(edges[at]), float(edges[at + 1]), int(count)) for at, count in enumerate(counts)]


def _group(name: str, pnl: Sequence[float]) -> Group:
    won, lost = sum(one for one in pnl if one > 0), -sum(one for one in pnl if one < 0)
    return Group(
        name, len(pnl), sum(1 for one in pnl if one > 0), sum(pnl), max(pnl), min(pnl), won / lost if lost else None
    )


def _against(trade: Mapping[str, Any], name: str) -> float:
    side = 1 if trade["side"] == "BUY" else -1
    return float(100 * side * (trade[name] / trade["entry_price"] - 1))
