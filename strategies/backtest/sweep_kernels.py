"""One symbol, many combinations: the bars that fire, what the account makes of them, and what it comes to.

What combinations share is reckoned once: rows of numbers and the ranges of their blocks (`events`), the market under
the plan (`jumps.Ground`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from strategies.backtest.abreast import BLOCK
from strategies.backtest.events import ABOVE, bars_of, before_the_first, crossings, found_by, kept
from strategies.backtest.jumps import (
    S_BARS_HELD,
    S_CASH,
    S_CHARGES,
    S_DAYS,
    S_DOWN,
    S_DRAWDOWN,
    S_GAINED,
    S_GROWTH,
    S_KURTOSIS,
    S_LOST,
    S_MEAN,
    S_SKEW,
    S_SPREAD,
    S_TRADES,
    S_WINS,
    S_WORST,
    settled,
    walk,
)
from strategies.backtest.kernels import T_CHARGES_IN, T_CHARGES_OUT, T_ENTRY_BAR, T_EXIT_BAR, T_PNL
from trading.venue.matching import bare, kernel

TILE: Final = 128  # blocks: what two dozen rows have of them lies in the second cache of a core


@kernel
def combinations(
    ground,  # see `jumps.Ground`
    pool, pool_ranges,  # float64[rows, skip + blocks × 16], float64[rows, 2, whole sixteens of blocks]: see `events`
    skip,
    programs, starts,  # int64[combinations, parts, 3], int64[combinations, 5]: where each of the four rules begins
    pairs,  # int64[pairs, 2]: rows that are asked where they cross
    pair_of,  # int64[combinations, 4]: the pair that begins a rule, -1 where it begins otherwise
    ranges, asked,  # int64[combinations]: rows of the average range and of the stop's price, -1 without
    terms,  # int64[combinations, TERMS]
    crossed,  # int64[pairs, 2, words], scratch: bits of the bars where a pair crosses upwards, and downwards
    events,  # int32[4, bars + 1], scratch
    daily,  # int64[days], scratch
    sums, counters,  # float64[combinations, SUMS], int64[combinations, C_BY_GATE], written here
    trades,  # int64[enough, TRADE_COLUMNS] for a single combination whose trades are wanted, else without rows
):  # fmt: skip
    """Every combination of a batch from its first signal to its last exit. Gives the number of trades of the last."""
    cross_all(pairs, pool, pool_ranges, skip, ground.bars, np.empty(pairs.shape[0], np.int64), crossed)
    counts = np.empty(4, np.int64)
    count = 0
    for one in range(sums.shape[0]):
        program = programs[one]
        for rule in range(4):
            first, after, pair = starts[one, rule], starts[one, rule + 1], pair_of[one, rule]
            counts[rule] = 0
            if pair >= 0:
                way = 0 if program[first, 0] == ABOVE else 1
                counts[rule] = bars_of(crossed[pair, way], ground.bars, events[rule])
            elif after > first:
                counts[rule] = found_by(program, first, pool, pool_ranges, skip, ground.bars, events[rule])
            counts[rule] = kept(program, first + 1, after, pool, skip, events[rule], counts[rule])
        count = walk(
            ground, pool, skip, ranges[one], asked[one], terms[one], events, counts, daily, sums[one], counters[one],
            trades,
        )  # fmt: skip
        of_days(daily, sums[one])
    return count


@bare
def cross_all(pairs, pool, pool_ranges, skip, bars, sides, crossed):
    """Where all pairs cross, into `crossed`: see `combinations`. `sides` int64[pairs] is scratch.

    Tile by tile: what many pairs ask of a row is fetched once and lies near until the last has asked.
    """
    blocks = -(-bars // BLOCK)
    for pair in range(pairs.shape[0]):
        sides[pair] = before_the_first(pool[pairs[pair, 0]], pool[pairs[pair, 1]], skip)
    for first in range(0, blocks, TILE):
        for pair in range(pairs.shape[0]):
            x, y = pairs[pair, 0], pairs[pair, 1]
            sides[pair] = crossings(
                pool[x], pool[y], skip, first, min(first + TILE, blocks), pool_ranges[x], pool_ranges[y], sides[pair],
                crossed[pair, 0], crossed[pair, 1],
            )  # fmt: skip


@bare
def of_days(daily, sums):
    """Moments of the daily returns; no days where a day ended with nothing."""
    days = daily.size - 1
    sums[S_DAYS] = 0
    if days < 2:
        return
    for day in range(days):
        if daily[day] <= 0:
            return
    total = squares = down = 0.0
    for day in range(days):
        change = daily[day + 1] / daily[day] - 1.0
        total += change
        fall = min(change, 0.0)
        down += fall * fall
    mean = total / days
    third = fourth = 0.0
    for day in range(days):
        away = daily[day + 1] / daily[day] - 1.0 - mean
        square = away * away
        squares += square
        third += square * away
        fourth += square * square
    sums[S_DAYS], sums[S_MEAN], sums[S_SPREAD], sums[S_DOWN] = days, mean, squares / (days - 1), down / days
    sums[S_GROWTH] = daily[days] / daily[0]
    if squares > 0.0:
        variance = squares / days
        sums[S_SKEW], sums[S_KURTOSIS] = third / days / variance**1.5, fourth / days / variance**2


@kernel
def of_run(trades, equity, day_ends, sums):
    """The same sums of what the event loop wrote: int64[trades, 16], int64[bars]."""
    peak = equity[0]
    worst, worst_peak = 1.0, 1.0
    worst_at, worst_from = np.int64(1), np.int64(1)
    for bar in range(equity.size):
        worst, worst_peak, worst_at, worst_from, peak = settled(
            equity[bar], worst, worst_peak, worst_at, worst_from, peak
        )
    held = np.zeros(equity.size, np.bool_)
    sums[S_TRADES], sums[S_CASH] = trades.shape[0], equity[equity.size - 1]
    sums[S_WORST], sums[S_DRAWDOWN] = worst_from, worst_at - worst_from
    for row in range(trades.shape[0]):
        profit = trades[row, T_PNL]
        sums[S_CHARGES] += trades[row, T_CHARGES_IN] + trades[row, T_CHARGES_OUT]
        sums[S_WINS] += 1 if profit > 0 else 0
        sums[S_GAINED] += max(profit, 0)
        sums[S_LOST] -= min(profit, 0)
        held[trades[row, T_ENTRY_BAR] : trades[row, T_EXIT_BAR] + 1] = True
    sums[S_BARS_HELD] = np.count_nonzero(held)
    daily = np.empty(day_ends.size, np.int64)
    for day in range(day_ends.size):
        daily[day] = equity[day_ends[day]]
    of_days(daily, sums)
