"""What gates know of a market's past at each bar: its gaps, its spread and volume, how its symbols move together.

The measures are those of `risk.market_facts` and the limits those of `risk.gates.market_quality`, reckoned for all bars
at once in whole numbers, so that an edge falls on the same side. A candle knows no bid and no ask: where a run assumes
a spread that is what is measured, else nothing is. Bars longer than the five minutes that the desk looks at tell
nothing of spread and volume: not measured, as on the desk before there are twenty of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.gates.market_quality import BAR_MIN, BARS, EDGE, NOON, ONE
from strategies.backtest import kernels as k
from strategies.backtest.loop import NO_PAST, Past
from strategies.backtest.market import DAY_S, IST_OFFSET_S, Market
from strategies.backtest.plan import HouseGates, Plan
from strategies.rules.window import longer
from trading.venue.matching import UNITS_PER_RUPEE

_EDGE_S: Final = int(EDGE.total_seconds())
_NOON_S, _ONE_S = NOON.hour * 3_600, ONE.hour * 3_600
_MILLION: Final = 1_000_000


def past_of(plan: Plan, market: Market) -> Past:
    """All that the plan's gates ask of the past of a market, reckoned once for all plans that ask the same. A plan
    without gates asks nothing, and takes no time."""
    if plan.gates is None:
        return NO_PAST
    asked = plan.gates, plan.costs.spread_ticks
    known = market.pasts.get(asked)
    if known is None:
        known = market.pasts[asked] = _past_of(plan, plan.gates, market)
    return known


def _past_of(plan: Plan, gates: HouseGates, market: Market) -> Past:
    seen = _seen(plan, gates, market)
    daily, known = NO_PAST.daily, NO_PAST.known
    if len(market.symbols) > 1 and (gates.correlation_halve, gates.correlation_reject) != (None, None):
        days, daily = market.daily_closes
        known = np.searchsorted(days, market.day_ordinals).astype(np.int64)
    return Past(seen=seen, daily=daily, known=known, traits=_traits(market))


def _traits(market: Market) -> NDArray[np.int64]:
    sectors = market.sectors or ("",) * len(market.symbols)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(one for one in sectors if one))}
    options = [name in market.options for name in market.symbols]
    if not numbers and not any(options):
        return NO_PAST.traits
    return np.array([(numbers.get(one, -1), option) for one, option in zip(sectors, options, strict=True)], np.int64)


def _seen(plan: Plan, gates: HouseGates, market: Market) -> NDArray[np.uint8]:
    """uint8[symbols, bars]: bits of what forbids an entry on a bar (a name, a gap) or after it (spread, volume)."""
    forbidden = _forbidden(gates, market)
    if not forbidden.any() and gates.opening_gap_pct is None and not _measures(gates, market):
        return NO_PAST.seen
    seen = np.zeros(market.prices[0].shape, np.uint8)
    seen[forbidden] |= k.FORBIDDEN
    if gates.opening_gap_pct is not None:
        seen |= _gapped(market, int(gates.opening_gap_pct * 10_000)) * np.uint8(k.GAPPED)
    if _measures(gates, market):
        _liquidity(plan, gates, market, seen)
    return seen if seen.any() else NO_PAST.seen


def _forbidden(gates: HouseGates, market: Market) -> NDArray[np.bool_]:
    names = set(gates.restricted_symbols)
    tickers = [(one, one.partition(":")[2].rpartition("-")[0]) for one in market.symbols]
    return np.array([bool(names & set(pair)) for pair in tickers], np.bool_)


def _gapped(market: Market, most: int) -> NDArray[np.bool_]:
    """bool[symbols, bars]: the day opened more than `most` millionths away from the close before it."""
    opens, ends = market.prices[0], market.day_ends
    firsts = np.append(0, ends[:-1] + 1)
    days, closes = market.daily_closes
    place = np.searchsorted(days, market.day_ordinals[ends])
    gapped = np.zeros(opens.shape, np.bool_)
    for row in range(opens.shape[0]):
        first = _units(opens[row, firsts])
        before = np.where(place > 0, closes[row, np.maximum(place - 1, 0)], np.nan)
        if market.factors is not None:  # in shares of the day itself
            before = before / market.traded(market.factors)[row, firsts]
        before = _units(before)
        wide = (first > 0) & (before > 0) & (np.abs(first - before) * _MILLION > most * before)
        gapped[row] = np.repeat(wide, np.diff(ends, prepend=-1))
    return gapped


def _measures(gates: HouseGates, market: Market) -> bool:
    """Whether bars of five minutes can be made of those of the market."""
    asked = gates.spread_to_deviation is not None or gates.min_volume_ratio is not None
    return asked and market.timeframe <= BAR_MIN and BAR_MIN % market.timeframe == 0


def _liquidity(plan: Plan, gates: HouseGates, market: Market, seen: NDArray[np.uint8]) -> None:
    """Mark the bars after which the spread is too wide for how the price moves, or nobody trades."""
    window = market.adjusted
    five = window if market.timeframe == BAR_MIN else longer(window, BAR_MIN, market.kind)
    ends = market.traded(window.ends[None, :])[0]
    newest = np.searchsorted(five.ends, ends, side="right") - 1
    session = market.traded(window.session_index[None, :])[0]
    thin = _thin_hours(market)
    for row in range(len(market.symbols)):
        known = np.flatnonzero(np.isfinite(five.close[row]))
        if known.size < BARS:
            continue
        bars = _Bars(five.close[row, known], five.volume[row, known], five.session_index[known])
        last = np.searchsorted(known, newest, side="right") - 1  # the newest known bar at each traded one
        enough, last = last >= BARS - 1, np.maximum(last, BARS - 1)
        spread = plan.costs.spread_ticks * int(market.ticks_units[row])
        if gates.spread_to_deviation is not None and spread:
            near = newest - known[last - BARS + 1] < 2 * BARS  # the desk looks no further back
            most = int(gates.spread_to_deviation * _MILLION)
            deviation = bars.deviation[last]
            wide = enough & near & (spread * 2 * _MILLION > most * np.where(thin, 1, 2) * deviation)
            seen[row] |= wide * np.uint8(k.WIDE)
        if gates.min_volume_ratio is not None:
            volume, mean, today = bars.volume[last], bars.mean_volume[last], bars.session[last] == session
            least = int(gates.min_volume_ratio * _MILLION)
            empty = enough & today & (mean > 0) & (volume * _MILLION < least * mean)
            seen[row] |= empty * np.uint8(k.THIN)


class _Bars:
    """The known five-minute bars of one symbol, twenty at least. int64[bars]: the deviation of the last twenty closes
    in ten-thousandths of a rupee, the volume, and its mean over the last twenty of the session; 0 where fewer are."""

    def __init__(self, close: NDArray[np.float64], volume: NDArray[np.float64], session: NDArray[np.int64]) -> None:
        self._close, self.session = close, session
        self.volume = np.nan_to_num(volume, nan=0.0).astype(np.int64)

    @cached_property
    def mean_volume(self) -> NDArray[np.int64]:
        found, summed = np.zeros(self.volume.size, np.int64), np.cumsum(self.volume)
        summed[BARS:] -= summed[:-BARS].copy()
        whole = self.session[BARS - 1 :] == self.session[: self.volume.size - BARS + 1]
        found[BARS - 1 :] = np.where(whole, summed[BARS - 1 :] // BARS, 0)
        return found

    @cached_property
    def deviation(self) -> NDArray[np.int64]:
        found = np.zeros(self._close.size, np.int64)
        over = np.lib.stride_tricks.sliding_window_view(self._close, BARS)
        found[BARS - 1 :] = np.round(np.round(np.std(over, axis=1, ddof=1), 4) * UNITS_PER_RUPEE)
        return found


def _thin_hours(market: Market) -> NDArray[np.bool_]:
    """bool[bars]: whether the moment a bar ends lies at an edge of its session, or in the hour after noon."""
    window = market.window
    second = (window.ends + IST_OFFSET_S) % DAY_S
    since_open = window.minutes_since_open * 60 + (window.ends - window.starts)
    to_close = window.minutes_to_close * 60
    thin = (second >= _NOON_S) & (second < _ONE_S)
    thin |= (since_open < _EDGE_S) | ((to_close > 0) & (to_close <= _EDGE_S))
    at_end: NDArray[np.bool_] = thin[market.warm_up :]
    return at_end


def _units(prices: NDArray[np.float64]) -> NDArray[np.int64]:
    """Ten-thousandths of a rupee; 0 where there is no price."""
    return np.round(np.nan_to_num(prices, nan=0.0) * UNITS_PER_RUPEE).astype(np.int64)
