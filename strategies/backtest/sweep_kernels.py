"""One symbol, many combinations: the bars that fire, what the account makes of them, and what it comes to.

What combinations share is reckoned once: rows of numbers and the ranges of their blocks (`events`), the market under
the plan (`jumps.Ground`).
"""

from __future__ import annotations

import numpy as np

from strategies.backtest.events import BELOW, find, kept
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


@kernel
def combinations(
    ground,  # see `jumps.Ground`
    pool, pool_ranges,  # float64[rows, skip + blocks × 16], float64[rows, 2, whole sixteens of blocks]: see `events`
    skip,
    programs, starts,  # int64[combinations, parts, 3], int64[combinations, 5]: where each of the four rules begins
    ranges, asked,  # int64[combinations]: rows of the average range and of the stop's price, -1 without
    terms,  # int64[combinations, TERMS]
    events,  # int32[5, bars + 1], scratch
    daily,  # int64[days], scratch
    sums, counters,  # float64[combinations, SUMS], int64[combinations, C_BY_GATE], written here
    trades,  # int64[enough, TRADE_COLUMNS] for a single combination whose trades are wanted, else without rows
):  # fmt: skip
    """Every combination of a batch from its first signal to its last exit. Gives the number of trades of the last."""
    crossed = np.empty(4, np.int64)
    counts = np.empty(4, np.int64)
    count = 0
    for one in range(sums.shape[0]):
        crossed[0] = crossed[1] = -1
        for rule in range(4):
            first, after = starts[one, rule], starts[one, rule + 1]
            counts[rule] = 0
            if after > first:
                program = programs[one]
                what, left, right = program[first, 0], program[first, 1], program[first, 2]
                if what <= BELOW and crossed[0] == left and crossed[1] == right and crossed[2] != what:
                    events[rule, : crossed[3]] = events[4, : crossed[3]]
                    counts[rule] = kept(program, first + 1, after, pool, skip, events[rule], crossed[3])
                    crossed[0] = -1
                else:
                    counts[rule] = find(
                        program, first, after, pool, pool_ranges, skip, ground.bars, crossed, events[rule], events[4]
                    )
        count = walk(
            ground, pool, skip, ranges[one], asked[one], terms[one], events, counts, daily, sums[one], counters[one],
            trades,
        )  # fmt: skip
        of_days(daily, sums[one])
    return count


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
