"""Plan × market → result: rules to arrays, arrays through the event loop."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.sizing import MOST_OF_EQUITY
from strategies.backtest import kernels
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.jumps import SUMS, Ground, one_walk
from strategies.backtest.loop import Given, simulate
from strategies.backtest.market import Hours, Market
from strategies.backtest.market_past import past_of
from strategies.backtest.plan import HouseGates, Plan, SizingMode
from strategies.backtest.result import Result
from strategies.contracts.schema import StopKind, TargetKind
from strategies.rules.evaluate import Evaluation
from strategies.rules.nodes import Call, walk
from trading.indicators.volatility import atr
from trading.venue.matching import SLIPPAGE_SCALE, UNITS_PER_RUPEE

_STOP_KINDS: Final = {
    StopKind.PERCENT: kernels.BY_PERCENT, StopKind.ATR: kernels.BY_ATR, StopKind.PRICE: kernels.BY_PRICE,
}  # fmt: skip
_TARGET_KINDS: Final = {
    TargetKind.PERCENT: kernels.BY_PERCENT, TargetKind.ATR: kernels.BY_ATR, TargetKind.R_MULTIPLE: kernels.BY_RISK,
    TargetKind.PRICE: kernels.BY_PRICE,
}  # fmt: skip
_SIZINGS: Final = {
    SizingMode.ALL_IN: kernels.ALL_IN, SizingMode.FIXED: kernels.FIXED, SizingMode.PERCENT: kernels.PERCENT_EQUITY,
    SizingMode.RISK: kernels.RISK_PER_TRADE, SizingMode.RUPEES: kernels.RUPEES,
    SizingMode.VOLATILITY: kernels.VOLATILITY,
}  # fmt: skip
_LOOK_FIRST: Final = 1_024  # bars: most indicators are known by then
_NO_FLOATS: Final = np.zeros((0, 0))
_NO_PRICES: Final = np.zeros((0, 0, 0))
_NEVER: Final = np.zeros(0, np.bool_)
_NO_BARS: Final = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Arguments:
    """All that the event loop is given: what it reads, and the buffers it writes. `signals` counts both entry rules."""

    given: Given
    trades: NDArray[np.int64]
    equity: NDArray[np.int64]
    counters: NDArray[np.int64]
    signals: int

    def simulate(self) -> tuple[int, int]:
        """Bar by bar: the number of trades, and the cash at the end."""
        count, cash = simulate(self.given, self.trades, self.equity, self.counters)
        return int(count), int(cash)

    def walk(self, ground: Ground) -> tuple[int, int]:
        """The same for a plan that `fits`, from event to event."""
        given = self.given
        pool = given.ranges if not given.asked.size else np.stack((_or_unknown(given), given.asked[0, 0]))
        fires = [np.flatnonzero(row) for row in given.flags[:, 0]]
        counts = np.array(list(map(len, fires)), np.int64)
        events = np.zeros((4, counts.max()), np.int32)
        for row, bars in zip(events, fires, strict=True):
            row[: bars.size] = bars
        count = one_walk(
            ground, pool, given.terms, events, counts, np.zeros(SUMS), self.counters, self.trades, self.equity
        )
        return int(count), int(self.equity[-1])


def run(plan: Plan, market: Market) -> Result:
    """Test a plan on a market. Pure: the same two always give the same result.

    BacktestRefused: fewer than two bars to trade (EMPTY_RANGE), too few bars for the rules ever to be known
    (TOO_SHORT), rules that opened nothing on any bar (NEVER_FIRED), no volume for a plan that goes by it (NO_VOLUME).
    """
    if market.bars < 2:
        raise BacktestRefused("EMPTY_RANGE", f"{market.bars} bars are too few to trade", bars=market.bars)
    evaluation = Evaluation(market.adjusted)
    arguments = arguments_of(plan, market, evaluation)
    first_known = _first_known(plan, evaluation, market)
    if not arguments.signals:
        raise _silent(plan, market, first_known)
    count, cash = arguments.walk(ground_of(plan, market)) if fits(plan, market) else arguments.simulate()
    return Result(
        plan=plan, market=market, trades=arguments.trades[:count].copy(), equity=arguments.equity, cash=cash,
        counters=arguments.counters, first_known=first_known,
    )  # fmt: skip


def arguments_of(plan: Plan, market: Market, evaluation: Evaluation) -> Arguments:
    """The event loop's arguments, its rules reckoned with what `evaluation` (of `market.adjusted`) knows already."""
    flags = np.zeros((4, len(market.symbols), market.bars), np.bool_)
    for place, rule in enumerate((plan.long_entry, plan.short_entry, plan.long_exit, plan.short_exit)):
        if rule is not None:
            flags[place] = evaluation.truth(rule.node)[:, market.warm_up :]
    if market.members is not None:
        flags[:2] &= market.members
    return with_flags(plan, market, evaluation, flags, int(np.count_nonzero(flags[:2])))


def with_flags(plan: Plan, market: Market, evaluation: Evaluation, flags: NDArray[np.bool_], signals: int) -> Arguments:
    """The arguments with the decisions of the rules given, bool[4, symbols, bars], and how many may open something."""
    window = market.adjusted
    ranges = score = liquid = _NO_FLOATS
    asked = _NO_PRICES
    if plan.atr_period is not None:
        ranges = market.as_traded(atr(window.high, window.low, window.close, plan.atr_period))
    size_rule = plan.sizing.rule
    if plan.stop_rule is not None or plan.target_rule is not None or size_rule is not None:
        asked = np.full((3, *market.prices[0].shape), np.nan)
        for place, rule in enumerate((plan.stop_rule, plan.target_rule)):
            if rule is not None:
                asked[place] = market.as_traded(rule.evaluate(evaluation))
        if size_rule is not None:
            asked[2] = _shares(plan.sizing.value, market.traded(size_rule.evaluate(evaluation)))
    if plan.rank is not None:
        score = np.nan_to_num(market.traded(plan.rank.evaluate(evaluation)), nan=-np.inf)
    if plan.costs.needs_volume:
        liquid = market.usual_volume
        if not np.isfinite(liquid).any():
            raise BacktestRefused("NO_VOLUME", "Fills by volume need bars with a volume, and there is none")
    hours = hours_of(plan, market)
    levied = plan.costs.charges, plan.costs.segment
    given = Given(
        prices=market.price_block, flags=flags, score=score, ranges=ranges, asked=asked, liquid=liquid,
        blocked=market.blocked, hours=hours.block, clock=market.clock(*levied), rates=market.rates(*levied)[1],
        contracts=market.contract_terms[1], rungs=_rungs(plan), actions=market.action_rows, past=past_of(plan, market),
        terms=terms_of(plan),
    )  # fmt: skip
    most = (signals + 1) * (1 + len(plan.bookings))
    return Arguments(
        given=given, trades=np.empty((most, kernels.TRADE_COLUMNS), np.int64),
        equity=np.empty(market.bars, np.int64), counters=np.zeros(kernels.COUNTERS, np.int64), signals=signals,
    )  # fmt: skip


def fits(plan: Plan, market: Market) -> bool:
    """Whether a plan and a market are of the kind that `jumps` can walk: the trades are those of the event loop."""
    return plan.is_plain and plan.rank is None and not plan.late_orders and market.is_plain and market.is_whole


def ground_of(plan: Plan, market: Market) -> Ground:
    """The market under a plan that `fits` it."""
    prices, ranges = market.whole_prices
    may_enter, leaves, closes_day = _NEVER, _NO_BARS, _NO_BARS
    hours = hours_of(plan, market)
    if hours is not market.always_open:
        may_enter, leaves, closes_day = hours.may_enter, _first_from(hours.must_leave), _first_from(hours.day_ends)
    rate_of_bar, rates = market.rates(plan.costs.charges, plan.costs.segment)
    return Ground(
        prices=prices, ranges=ranges, bars=market.bars, may_enter=may_enter, leaves=leaves, closes_day=closes_day,
        day_ends=market.day_ends, day_closes=prices[3, market.day_ends], rate_of_bar=rate_of_bar.astype(np.int16),
        rates=rates, tick=int(market.ticks_units[0]), lot=int(market.lot_units[0]),
    )  # fmt: skip


def _first_from(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For every bar the first one at or after it that is flagged; one past the last where there is none."""
    places = np.where(flags, np.arange(flags.size), flags.size)
    first: NDArray[np.int64] = np.minimum.accumulate(places[::-1])[::-1].astype(np.int64)
    return np.ascontiguousarray(first)


def _rungs(plan: Plan) -> NDArray[np.int64]:
    rows = [
        (_TARGET_KINDS[one.level.kind], millionths(one.level.value), _part_of_equity(one.share_pct))
        for one in plan.bookings
    ]
    return np.array(rows, np.int64).reshape(-1, 3)


def _or_unknown(given: Given) -> NDArray[np.float64]:
    return given.ranges[0] if given.ranges.size else np.full(given.asked.shape[2], np.nan)


def hours_of(plan: Plan, market: Market) -> Hours:
    """When the plan may enter and must leave: at any time, or by the hours of an intraday strategy."""
    hours = market.always_open
    if plan.intraday is not None:
        hours = market.hours(
            after_open_min=plan.intraday.after_open_min,
            before_close_min=plan.intraday.before_close_min,
            square_off_min=plan.intraday.square_off_min,
        )
    return hours if plan.leave_at is None else market.leaving_at(hours, plan.leave_at)


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
        terms[kernels.X_TRAIL_KIND] = kernels.BY_PERCENT
        if trailing.atr_multiple is not None:
            terms[kernels.X_TRAIL], terms[kernels.X_TRAIL_KIND] = millionths(trailing.atr_multiple), kernels.BY_ATR
    terms[kernels.X_MAX_BARS] = plan.max_bars or 0
    terms[kernels.X_SPREAD] = plan.costs.spread_ticks
    terms[kernels.X_IMPACT] = int(plan.costs.impact_bps * SLIPPAGE_SCALE / 10_000)
    terms[kernels.X_PARTICIPATION] = _part_of_equity(plan.costs.participation_pct)
    terms[kernels.X_SAFE] = plan.safe_after_booking
    if plan.entry is not None:
        terms[kernels.X_LIMIT] = _TARGET_KINDS[plan.entry.kind]
        terms[kernels.X_LIMIT_VALUE], terms[kernels.X_LIMIT_BARS] = millionths(plan.entry.value), plan.entry.bars
    if plan.gates is not None:
        _gate_terms(plan.gates, terms)
    return terms


def _gate_terms(gates: HouseGates, terms: NDArray[np.int64]) -> None:
    terms[kernels.X_GATED], terms[kernels.X_FLATTEN] = 1, gates.flatten
    terms[kernels.X_STREAK], terms[kernels.X_STREAK_PAUSE_S] = gates.loss_streak, gates.loss_streak_pause_min * 60
    terms[kernels.X_COOLDOWN_S], terms[kernels.X_DUPLICATE_S] = gates.cooldown_min * 60, gates.duplicate_window_s
    terms[kernels.X_TRADES_PER_DAY] = _or_not_asked(gates.trades_per_day)
    terms[kernels.X_MOST_UNITS] = _or_not_asked(gates.max_order_quantity)
    for place, percent in (
        (kernels.X_LOSS_SOFT, gates.daily_loss_soft_pct), (kernels.X_LOSS_HARD, gates.daily_loss_hard_pct),
        (kernels.X_HALF_SHARE, gates.half_size_share_pct), (kernels.X_CAUTIOUS, gates.drawdown_cautious_pct),
        (kernels.X_DEFENSIVE, gates.drawdown_defensive_pct), (kernels.X_HALT, gates.drawdown_halt_pct),
        (kernels.X_HYSTERESIS, gates.drawdown_hysteresis_pct), (kernels.X_DRAWDOWN_SIZE, gates.drawdown_size_pct),
        (kernels.X_HARD_EXPOSURE, gates.hard_exposure_pct), (kernels.X_CASH_RESERVE, gates.cash_reserve_pct),
        (kernels.X_DAY_VALUE, gates.day_value_pct), (kernels.X_RISK_CAP, gates.risk_per_trade_pct),
        (kernels.X_DEFENSIVE_STOP, gates.defensive_stop_pct), (kernels.X_COLLAR, gates.price_collar_pct),
        (kernels.X_OPTION_COLLAR, gates.option_collar_pct), (kernels.X_SECTOR, gates.sector_exposure_pct),
        (kernels.X_OPTION_CAP, gates.option_position_pct), (kernels.X_OPTIONS, gates.options_exposure_pct),
    ):  # fmt: skip
        terms[place] = kernels.NOT_ASKED if percent is None else _part_of_equity(percent)
    for place, ratio in (
        (kernels.X_ALIKE_HALF, gates.correlation_halve), (kernels.X_ALIKE, gates.correlation_reject),
    ):  # fmt: skip
        terms[place] = kernels.NOT_ASKED if ratio is None else millionths(ratio)


def _or_not_asked(count: int | None) -> int:
    return kernels.NOT_ASKED if count is None else count


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


def _shares(target_pct: Decimal, volatility_pct: NDArray[np.float64]) -> NDArray[np.float64]:
    """`risk.sizing.volatility_share` of every bar at once."""
    moves = np.where(volatility_pct > 0, volatility_pct, np.nan)
    return np.minimum(np.floor(float(target_pct) / moves * 1_000_000), MOST_OF_EQUITY)


def _size(plan: Plan) -> int:
    if plan.sizing.mode is SizingMode.FIXED:
        return int(plan.sizing.value)
    if plan.sizing.mode is SizingMode.RUPEES:
        return int(plan.sizing.value * UNITS_PER_RUPEE)
    return int(plan.sizing.value * 10_000)  # percent to millionths


def _order_cap(plan: Plan) -> int:
    asked = plan.account.order_cap
    return kernels.LARGEST_ORDER if asked is None else min(int(asked * UNITS_PER_RUPEE), kernels.LARGEST_ORDER)


def _part_of_equity(percent: Decimal | None) -> int:
    return 0 if percent is None else int(percent * 10_000)


def millionths(value: Decimal | None) -> int:
    return 0 if value is None else int(value * 1_000_000)
