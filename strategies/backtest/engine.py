"""Plan × market → result: rules to arrays, arrays through the event loop."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import kernels
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.market import Hours, Market
from strategies.backtest.plan import Plan, SizingMode
from strategies.backtest.result import Result
from strategies.contracts.schema import StopKind, TargetKind
from strategies.rules.evaluate import CompiledRule, Evaluation
from strategies.rules.nodes import Call, walk
from trading.indicators.volatility import atr
from trading.venue.matching import SLIPPAGE_SCALE, UNITS_PER_RUPEE

_STOP_KINDS: Final = {
    StopKind.PERCENT: kernels.BY_PERCENT, StopKind.ATR: kernels.BY_ATR, StopKind.PRICE: kernels.BY_PRICE,
}  # fmt: skip
_TARGET_KINDS: Final = {
    TargetKind.PERCENT: kernels.BY_PERCENT, TargetKind.ATR: kernels.BY_ATR, TargetKind.R_MULTIPLE: kernels.BY_RISK,
}  # fmt: skip
_SIZINGS: Final = {
    SizingMode.ALL_IN: kernels.ALL_IN, SizingMode.FIXED: kernels.FIXED, SizingMode.PERCENT: kernels.PERCENT_EQUITY,
    SizingMode.RISK: kernels.RISK_PER_TRADE,
}  # fmt: skip
_LOOK_FIRST: Final = 1_024  # bars: most indicators are known by then
_NO_BOOLS: Final = np.zeros((0, 0), np.bool_)
_NO_FLOATS: Final = np.zeros((0, 0))


@dataclass(frozen=True, eq=False)
class Arguments:
    """All that the event loop is given: what it reads, and the buffers it writes. `signals` counts both entry rules."""

    arrays: tuple[Any, ...]
    trades: NDArray[np.int64]
    equity: NDArray[np.int64]
    counters: NDArray[np.int64]
    terms: NDArray[np.int64]
    signals: int


def run(plan: Plan, market: Market) -> Result:
    """Test a plan on a market. Pure: the same two always give the same result.

    BacktestRefused: fewer than two bars to trade (EMPTY_RANGE), too few bars for the rules ever to be known
    (TOO_SHORT), rules that opened nothing on any bar (NEVER_FIRED).
    """
    if market.bars < 2:
        raise BacktestRefused("EMPTY_RANGE", f"{market.bars} bars are too few to trade", bars=market.bars)
    evaluation = Evaluation(market.window)
    given = arguments_of(plan, market, evaluation)
    first_known = _first_known(plan, evaluation, market)
    if not given.signals:
        raise _silent(plan, market, first_known)
    count, cash = kernels.simulate(*given.arrays, given.trades, given.equity, given.counters)
    return Result(
        plan=plan, market=market, trades=given.trades[:count].copy(), equity=given.equity, cash=int(cash),
        counters=given.counters, first_known=first_known,
    )  # fmt: skip


def arguments_of(plan: Plan, market: Market, evaluation: Evaluation) -> Arguments:
    """The event loop's arguments, its rules reckoned with what `evaluation` (of the market's window) knows already."""
    long_in, short_in = (_fired(rule, evaluation, market) for rule in (plan.long_entry, plan.short_entry))
    signals = int(np.count_nonzero(long_in)) + int(np.count_nonzero(short_in))
    window, (open_, high, low, close) = market.window, market.prices
    ranges = asked_stop = score = _NO_FLOATS
    if plan.atr_period is not None:
        ranges = market.traded(atr(window.high, window.low, window.close, plan.atr_period))
    if plan.stop_rule is not None:
        asked_stop = market.traded(plan.stop_rule.evaluate(evaluation))
    if plan.rank is not None:
        score = np.nan_to_num(market.traded(plan.rank.evaluate(evaluation)), nan=-np.inf)
    hours = hours_of(plan, market)
    rate_of_bar, rates = market.rates(plan.costs.charges, plan.costs.segment)
    terms = terms_of(plan)
    arrays = (
        open_, high, low, close, long_in, short_in,
        _exits(plan.long_exit, evaluation, market), _exits(plan.short_exit, evaluation, market),
        score, ranges, asked_stop, hours.may_enter, hours.must_leave, hours.day_ends, rate_of_bar, rates,
        market.ticks_units, market.lot_units, terms,
    )  # fmt: skip
    return Arguments(
        arrays=arrays, trades=np.empty((signals + 1, kernels.TRADE_COLUMNS), np.int64),
        equity=np.empty(market.bars, np.int64), counters=np.zeros(kernels.COUNTERS, np.int64), terms=terms,
        signals=signals,
    )  # fmt: skip


def hours_of(plan: Plan, market: Market) -> Hours:
    """When the plan may enter and must leave: at any time, or by the hours of an intraday strategy."""
    if plan.intraday is None:
        return market.always_open
    return market.hours(
        after_open_min=plan.intraday.after_open_min,
        before_close_min=plan.intraday.before_close_min,
        square_off_min=plan.intraday.square_off_min,
    )


def terms_of(plan: Plan) -> NDArray[np.int64]:
    """The plan's numbers as the event loop reads them, int64[TERMS]."""
    account, trailing, terms = plan.account, plan.trailing, np.zeros(kernels.TERMS, np.int64)
    terms[kernels.X_CASH] = int(account.cash * UNITS_PER_RUPEE)
    terms[kernels.X_SIZING], terms[kernels.X_SIZE] = _SIZINGS[plan.sizing.mode], _size(plan)
    terms[kernels.X_LEVERAGE], terms[kernels.X_SLOTS] = int(account.leverage * 100), account.slots
    terms[kernels.X_SLIPPAGE] = int(plan.costs.slippage_bps * SLIPPAGE_SCALE / 10_000)
    terms[kernels.X_REVERSE], terms[kernels.X_LATE_ORDERS] = plan.reverse, plan.late_orders
    terms[kernels.X_POSITION_CAP] = _part_of_equity(account.position_cap_pct)
    terms[kernels.X_EXPOSURE_CAP] = _part_of_equity(account.exposure_cap_pct)
    terms[kernels.X_ORDER_CAP] = _order_cap(plan)
    if plan.stop is not None:
        terms[kernels.X_STOP_KIND], terms[kernels.X_STOP_VALUE] = (
            _STOP_KINDS[plan.stop.kind],
            millionths(plan.stop.value),
        )
    if plan.target is not None:
        terms[kernels.X_TARGET_KIND] = _TARGET_KINDS[plan.target.kind]
        terms[kernels.X_TARGET_VALUE] = millionths(plan.target.value)
    if trailing is not None:
        terms[kernels.X_TRAIL] = millionths(trailing.distance_pct)
        terms[kernels.X_TRAIL_AFTER] = millionths(trailing.after_pct)
    terms[kernels.X_MAX_BARS] = plan.max_bars or 0
    return terms


def _fired(rule: CompiledRule | None, evaluation: Evaluation, market: Market) -> NDArray[np.bool_]:
    if rule is None:
        return np.zeros((len(market.symbols), market.bars), np.bool_)
    return market.traded(evaluation.condition(rule.node)[0])


def _exits(rule: CompiledRule | None, evaluation: Evaluation, market: Market) -> NDArray[np.bool_]:
    return _NO_BOOLS if rule is None else market.traded(evaluation.condition(rule.node)[0])


def _first_known(plan: Plan, evaluation: Evaluation, market: Market) -> int:
    """The first traded bar at which every indicator of the entry rules is known for some symbol."""
    first = 0
    for rule in (plan.long_entry, plan.short_entry):
        for node in walk(rule.node) if rule else ():
            if isinstance(node, Call):
                values = evaluation.numbers(node)
                known = np.isfinite(values[:, :_LOOK_FIRST]).any(axis=0)
                if not known.any():
                    known = np.isfinite(values).any(axis=0)
                first = max(first, int(known.argmax()) if known.any() else known.size)
    return max(0, first - market.warm_up)


def _silent(plan: Plan, market: Market, first_known: int) -> BacktestRefused:
    """Why nothing was ever opened."""
    if first_known >= market.bars:
        warm_up = max(rule.warm_up for rule in plan.rules.values())
        return BacktestRefused(
            "TOO_SHORT",
            f"The rules need {warm_up} bars before they can be known, and there are {market.window.starts.size}",
            bars=int(market.window.starts.size), needed=warm_up,
        )  # fmt: skip
    texts = " | ".join(rule.text for rule in (plan.long_entry, plan.short_entry) if rule)
    return BacktestRefused(
        "NEVER_FIRED", f"No entry rule was true on any of {market.bars:,} bars: {texts}", bars=market.bars
    )


def _size(plan: Plan) -> int:
    if plan.sizing.mode is SizingMode.FIXED:
        return int(plan.sizing.value)
    return int(plan.sizing.value * 10_000)  # percent to millionths


def _order_cap(plan: Plan) -> int:
    asked = plan.account.order_cap
    return kernels.LARGEST_ORDER if asked is None else min(int(asked * UNITS_PER_RUPEE), kernels.LARGEST_ORDER)


def _part_of_equity(percent: Decimal | None) -> int:
    return 0 if percent is None else int(percent * 10_000)


def millionths(value: Decimal | None) -> int:
    return 0 if value is None else int(value * 1_000_000)
