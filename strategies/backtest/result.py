"""What a backtest found. All that is shown comes from three arrays: trades, equity, and what became of the signals."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import kernels as k
from strategies.backtest.day_notes import DayNotes, day_notes
from strategies.backtest.market import USUAL_BARS, Market, shown
from strategies.backtest.metrics import Figures, figures
from strategies.backtest.plan import Plan
from trading.venue.charges import rates_known
from trading.venue.matching import UNITS_PER_PAISA, UNITS_PER_RUPEE

ENGINE_VERSION: Final = 3  # one more whenever the same plan on the same data may give another result

LARGE_SHARE: Final = 0.1  # of the usual volume of a bar; more is not had at one price
FEW_DAYS: Final = 20  # a month: what is reckoned of fewer days and told as a year is chance

REASONS: Final = {
    k.RULE: "RULE", k.STOP: "STOP", k.TARGET: "TARGET", k.TRAILING: "TRAILING", k.TIME: "TIME",
    k.SQUARE_OFF: "SQUARE_OFF", k.REVERSAL: "REVERSAL", k.END: "END", k.RUIN: "RUIN", k.PARTIAL: "PARTIAL",
    k.LOCKED: "DAILY_LOSS", k.HALTED: "DRAWDOWN",
}  # fmt: skip
_DROPPED: Final = {
    "no_slot": k.C_NO_SLOT, "out_of_hours": k.C_OUT_OF_HOURS, "no_money": k.C_NO_MONEY, "no_bar": k.C_NO_BAR,
    "no_stop_level": k.C_NO_LEVEL, "refused_by_gates": k.C_GATED, "locked": k.C_LOCKED, "not_reached": k.C_EXPIRED,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Result:
    """One run. `trades` int64[trades, 16] and `counters` int64[9] as `kernels` names their columns, in the order of
    exits; `equity` int64[bars] at the closes, `cash` at the end, ten-thousandths of a rupee. Without a late order the
    last equity is that cash, and both are what the account began with and the P&L of the trades: exactly."""

    plan: Plan
    market: Market
    trades: NDArray[np.int64]
    equity: NDArray[np.int64]
    cash: int
    counters: NDArray[np.int64]
    first_known: int

    @cached_property
    def figures(self) -> Figures:
        market = self.market
        return figures(
            trades=self.trades, equity=self.equity, starts=market.starts, day_ends=market.day_ends,
            close=market.comparable_close, first_known=self.first_known,
            cash=int(self.plan.account.cash * UNITS_PER_RUPEE),
        )  # fmt: skip

    @cached_property
    def run_hash(self) -> str:
        """sha256 of what went in: the plan, the data and the version of the engine."""
        given = {"plan": self.plan.as_mapping(), "data": self.market.data_hash, "engine": ENGINE_VERSION}
        return hashlib.sha256(json.dumps(given, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def signals(self) -> dict[str, int]:
        """How many signals there were, how many became a trade, and why the others did not."""
        counted = {"fired": int(self.counters[k.C_SIGNALS]), "taken": int(self.counters[k.C_TAKEN])}
        return counted | {name: int(self.counters[place]) for name, place in _DROPPED.items()}

    @property
    def refusals(self) -> dict[str, int]:
        """How many entries each gate of the house refused, by the code that the desk gives it."""
        counted = self.counters[k.C_BY_GATE :].tolist()
        return {code: count for code, count in zip(k.GATES, counted, strict=True) if count}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before believing the figures."""
        said = list(self.market.notes)
        plan, signals = self.plan, self.signals
        if self.counters[k.C_RUIN]:
            said.append("RUIN: the account lost everything; trading stopped there")
        if not len(self.trades):
            why = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in signals.items() if count)
            said.append(f"NO_TRADES: signals fired but none became a trade ({why})")
        if not self._can_leave():
            said.append("NO_EXIT: nothing closes a position but the end of the data")
        if self.counters[k.C_LATE]:
            said.append(
                "LATE_ORDER: a rule fired on the last bar; as in published results its order is filled at that bar's"
                f" open and valued at its close. Without it the account ends at {rupees(self._settled()):,.2f}"
            )
        if self.notes.dp:
            added, left = self.notes.total, self.cash - UNITS_PER_PAISA * self.notes.total
            said.append(
                f"DAY_NOTES: fees of the depository and the rounding of the days' notes come to {added / 100:,.2f} and"
                f" are in no trade. With them the account ends at {rupees(left):,.2f}"
            )
        still = self._fills_without_volume()
        if still:
            said.append(f"ZERO_VOLUME: {still} fills fell on bars in which nothing was traded")
        shares = self._shares_of_volume()
        large = shares[shares > LARGE_SHARE]
        if large.size and not plan.costs.participation_pct:
            said.append(
                f"LARGE_ENTRIES: {large.size} of {shares.size} entries were more than {100 * LARGE_SHARE:.0f} % of what"
                f" is usually traded in a bar (the largest {100 * large.max():.0f} %) and are filled at once. On the"
                " desk it would go out in parts, at other prices: volume:BPS prices the impact, share:PCT caps it"
            )
        days = self.market.day_ends.size
        if days < FEW_DAYS:
            said.append(
                f"FEW_DAYS: there are returns of {days} day{'' if days == 1 else 's'}. Sharpe, volatility and whatever"
                " is told as a year say nothing of so few"
            )
        first = self.market.day_ordinals[0]
        if plan.costs.charges is not None:
            day = date.fromordinal(int(first))
            if not rates_known(day, exchange=self.market.exchange):
                said.append(f"CHARGES_ASSUMED: the earliest known rates stand in for those of {day}")
        return tuple(said)

    @cached_property
    def notes(self) -> DayNotes:
        """What the days' contract notes add to the charges of the trades."""
        return day_notes(self)

    def _settled(self) -> int:
        """What the account holds when every counted trade is closed."""
        return int(self.plan.account.cash * UNITS_PER_RUPEE) + int(self.trades[:, k.T_PNL].sum())

    def _can_leave(self) -> bool:
        plan = self.plan
        two_ways = plan.reverse and plan.long_entry is not None and plan.short_entry is not None
        exits = (
            plan.stop, plan.target, plan.trailing, plan.max_bars, plan.intraday, plan.long_exit, plan.short_exit,
            plan.leave_at,
        )  # fmt: skip
        return two_ways or any(one is not None for one in exits)

    def _fills_without_volume(self) -> int:
        volume = self.market.window.volume[:, self.market.warm_up :]
        rows = self.trades[:, k.T_SYMBOL]
        empty = ~(volume > 0)
        return int(empty[rows, self.trades[:, k.T_ENTRY_BAR]].sum() + empty[rows, self.trades[:, k.T_EXIT_BAR]].sum())

    def _shares_of_volume(self) -> NDArray[np.float64]:
        """Each entry as a share of the mean volume of the bars before it; left out where that is not known."""
        market, symbols = self.market, len(self.market.symbols)
        place = self.trades[:, k.T_ENTRY_BAR] * symbols + self.trades[:, k.T_SYMBOL]
        opened, which = np.unique(place, return_inverse=True)  # the parts of a position were one entry
        units = np.bincount(which, weights=self.trades[:, k.T_QUANTITY], minlength=opened.size)
        before = (opened // symbols)[:, None] + market.warm_up - np.arange(1, USUAL_BARS + 1)
        volume = market.window.volume[(opened % symbols)[:, None], np.maximum(before, 0)]
        usual = np.where(before >= 0, np.nan_to_num(volume), 0.0).sum(axis=1) / np.maximum((before >= 0).sum(axis=1), 1)
        return units[usual > 0] / usual[usual > 0]

    def trade_list(self) -> list[dict[str, Any]]:
        """Trades as plain values: rupees, units, bars counted from the first traded one, times in India."""
        market = self.market
        starts, rows = market.starts, self.trades.tolist()
        return [
            {
                "symbol": market.symbols[row[k.T_SYMBOL]],
                "side": "BUY" if row[k.T_SIDE] > 0 else "SELL",
                "quantity": row[k.T_QUANTITY],
                "entry_bar": row[k.T_ENTRY_BAR],
                "entry_at": shown(starts[row[k.T_ENTRY_BAR]], market.timeframe),
                "entry_price": rupees(row[k.T_ENTRY]),
                "exit_bar": row[k.T_EXIT_BAR],
                "exit_at": shown(starts[row[k.T_EXIT_BAR]], market.timeframe),
                "exit_price": rupees(row[k.T_EXIT]),
                "reason": REASONS[row[k.T_REASON]],
                "stop": rupees(row[k.T_STOP]) if row[k.T_STOP] else None,
                "target": rupees(row[k.T_TARGET]) if row[k.T_TARGET] else None,
                "charges": (row[k.T_CHARGES_IN] + row[k.T_CHARGES_OUT]) / 100,
                "pnl": rupees(row[k.T_PNL]),
                "return_pct": round(100 * row[k.T_SIDE] * (row[k.T_EXIT] / row[k.T_ENTRY] - 1), 10),
                "best_price": rupees(row[k.T_BEST]),
                "worst_price": rupees(row[k.T_WORST]),
            }
            for row in rows
        ]

    def as_mapping(self) -> dict[str, Any]:
        """The whole result as plain values. The same run gives the same text: there is no time of day in it."""
        market = self.market
        return {
            "trades": len(self.trades),
            **self.figures,
            "initial_cash": float(self.plan.account.cash),
            "signals": self.signals,
            "refusals": self.refusals,
            "symbols": list(market.symbols),
            "timeframe_minutes": market.timeframe,
            "bars": market.bars,
            "from": shown(market.starts[0], market.timeframe),
            "to": shown(market.starts[-1], market.timeframe),
            "day_notes": {
                **{name: getattr(self.notes, name) / 100 for name in ("dp", "stt", "stamp", "gst", "total")},
                "final_equity": rupees(self.cash - UNITS_PER_PAISA * self.notes.total),
            },
            "plan": self.plan.as_mapping(),
            "warnings": list(self.warnings),
            "data_hash": market.data_hash,
            "run_hash": self.run_hash,
            "engine_version": ENGINE_VERSION,
            "seed": None,
            "trade_list": self.trade_list(),
        }

    def as_json(self) -> str:
        return json.dumps(self.as_mapping(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def rupees(units: int) -> float:
    """Ten-thousandths of a rupee as rupees, for showing."""
    whole, rest = divmod(units, UNITS_PER_PAISA)
    return whole / 100 if rest == 0 else units / UNITS_PER_RUPEE
