"""Momentum. float64[symbols, bars] → float64 of the same shape. Missing bars: see `rows`.

A window in which nothing moved is neither strong nor weak: such a ratio stands in the middle of its scale.
"""

import numpy as np
from numba.extending import overload

from trading.indicators.extremes import extreme_of
from trading.indicators.lanes import row_of, where
from trading.indicators.passes import (
    decay,
    divide,
    four,
    part_moves,
    powers_of,
    share,
    share_of,
    slide,
    spread_around,
    steps,
    stride_from,
    stride_on,
    typical_of,
    within,
)
from trading.indicators.rows import TILE, WHOLE, bars_near, compiled, kernel


@kernel(memory=lambda n: n + 1, state=6, work=1, poisons=True, turned=True, by_bars=True)
def rsi(first, last, state, work, x, out, n):
    """Relative strength index, 0 to 100, Wilder 1978. First value at bar n, from the simple mean of n changes.

    Only gains: 100. No movement at all: 50, neither strong nor weak (TA-Lib says 0, which reads as oversold).
    """
    for s in range(x.shape[0]):
        if first[s] == 0 and last[s] > 0:
            row_of(state, s)[0] += row_of(x, s)[0] * 0.0  # of a fall from no number, and below,
    _strengths(x, work[0], out[0], first, last, n, state)
    for s in range(x.shape[0]):
        if last[s] > first[s]:
            end = last[s] - 1
            row_of(out[0], s)[end] += row_of(x, s)[end] * 0.0  # to none, the share alone would be 0, which is one


def _strengths(x, aside, out, first, last, n, state):
    """Of every row; of neighbouring groups of lanes a bar of all before the next."""


@overload(_strengths)
def _strengths_of(x, aside, out, first, last, n, state):
    def each(x, aside, out, first, last, n, state):
        _strengths_in_turn(x, aside, out, first, last, n, state)

    def abreast(x, aside, out, first, last, n, state):
        if x.shape[0] == 1:
            _strengths_in_turn(x, aside, out, first, last, n, state)
            return
        a, b = first[0], last[0]
        middle = stride_from(row_of(x, 0), a, b, n, row_of(state, 0)[2])
        end = middle + (b - middle) // 4 * 4
        for s in range(x.shape[0]):
            _strength_by_steps(row_of(x, s), row_of(aside, s), row_of(out, s), a, middle, n, row_of(state, s))
        _strength_by_bars(x, out, middle, end, n, state)
        for s in range(x.shape[0]):
            _strength_by_steps(row_of(x, s), row_of(aside, s), row_of(out, s), end, b, n, row_of(state, s))

    return abreast if x.ndim == 3 else each


@compiled
def _strengths_in_turn(x, aside, out, first, last, n, state):
    for s in range(x.shape[0]):
        row, gain, loss, kept = row_of(x, s), row_of(aside, s), row_of(out, s), row_of(state, s)
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            begin = stride_from(row, a, b, n, kept[2])
            _strength_by_steps(row, gain, loss, a, begin, n, kept)
            if begin < b:
                _strength_by_strides(row, loss, begin, b, n, kept)
                _strength_by_steps(row, gain, loss, begin + (b - begin) // 4 * 4, b, n, kept)


@compiled
def _strength_by_steps(row, gain, loss, a, b, n, kept):
    part_moves(row, gain, loss, a, b)
    decay(gain, gain, a, b, 1, n, 1.0 / n, kept, 0)
    decay(loss, loss, a, b, 1, n, 1.0 / n, kept, 3)
    share(gain, loss, a, b)


@compiled
def _strength_by_strides(row, out, a, b, n, kept):
    gain, loss = kept[0], kept[3]
    now, then, value = row[a:b], row[a - 1 : b], out[a:b]
    for k in range(value.size // 4):
        j = 4 * k
        c1, c2 = now[j] - then[j], now[j + 1] - now[j]
        c3, c4 = now[j + 2] - now[j + 1], now[j + 3] - now[j + 2]
        g1, g2, g3, gain = four(gain, 1.0 / n, max(c1, 0.0), max(c2, 0.0), max(c3, 0.0), max(c4, 0.0))
        l1, l2, l3, loss = four(loss, 1.0 / n, max(-c1, 0.0), max(-c2, 0.0), max(-c3, 0.0), max(-c4, 0.0))
        value[j], value[j + 1], value[j + 2], value[j + 3] = (
            share_of(g1, l1),
            share_of(g2, l2),
            share_of(g3, l3),
            share_of(gain, loss),
        )
    kept[0], kept[3] = gain, loss


@compiled
def _strength_by_bars(x, out, a, b, n, state):
    """Whole strides of neighbouring groups in the order in which their bars lie, which memory foresees."""
    weight = 1.0 / n
    powers = powers_of(weight)
    for i in range(a, b, 4):
        for place in range(4):
            for s in range(x.shape[0]):
                row, kept = row_of(x, s), row_of(state, s)
                change = row[i + place] - row[i + place - 1]
                gain = stride_on(kept, 0, weight * max(change, 0.0), powers, place)
                loss = stride_on(kept, 3, weight * max(-change, 0.0), powers, place)
                row_of(out, s)[i + place] = share_of(gain, loss)


@kernel(memory=lambda n: n + 1, lanes=True)
def roc(first, last, state, work, x, out, n):
    """Rate of change over n bars, percent. First value at bar n; NaN where the old value is 0."""
    for s in range(x.shape[0]):
        row, value = row_of(x, s), row_of(out[0], s)
        begin = max(first[s], n)
        for i in range(first[s], min(n, last[s])):
            value[i] = np.nan
        now, then, change = row[begin : last[s]], row[begin - n : last[s]], value[begin : last[s]]
        for k in range(now.size):
            quotient = 100.0 * (now[k] / then[k] - 1.0)
            change[k] = where(then[k] != 0.0, quotient, np.nan)


@kernel(memory=lambda fast, slow, signal: max(fast, slow) + signal, state=9, work=2, outputs=3, lanes=True)
def macd_lines(first, last, state, work, x, out, fast, slow, signal):
    """MACD, its signal and the difference: fast EMA minus slow EMA, each with its own seed, and the EMA of that.

    First values at bar max(fast, slow) - 1, then signal - 1 bars later. (TA-Lib delays the fast seed to the slow one's
    bar and shows no line before its signal; the lines meet as the seeds fade.) Appel 1979.
    """
    for s in range(x.shape[0]):
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            quick, idle, line = row_of(work[0], s), row_of(work[1], s), row_of(out[0], s)
            mean, rest = row_of(out[1], s), row_of(out[2], s)
            decay(row_of(x, s), quick, a, b, 0, fast, 2.0 / (fast + 1), row_of(state, s), 0)
            decay(row_of(x, s), idle, a, b, 0, slow, 2.0 / (slow + 1), row_of(state, s), 3)
            one, two, into = quick[a:b], idle[a:b], line[a:b]
            for k in range(into.size):
                into[k] = one[k] - two[k]
            decay(line, mean, a, b, max(fast, slow) - 1, signal, 2.0 / (signal + 1), row_of(state, s), 6)
            two, left = mean[a:b], rest[a:b]
            for k in range(into.size):
                left[k] = into[k] - two[k]


macd = macd_lines.output(0, 1)
macd_signal = macd_lines.output(1)
macd_histogram = macd_lines.output(2)


@kernel(memory=lambda n, smooth, mean: n + smooth + mean, state=10, work=7, outputs=2)
def stochastic(first, last, state, work, high, low, close, out, n, smooth, mean):
    """Where the close stands between the extremes of n bars, 0 to 100: slow %K (mean of `smooth`), and %D (of `mean`).

    First %K at bar n + smooth - 2, first %D mean - 1 bars later. No range: 50. smooth = 1 is the fast %K. Lane 1984.
    """
    for s in range(close.shape[0]):
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            top, bottom, raw, row = work[0, s], work[1, s], work[2, s], close[s]
            extreme_of(high[s], work[4, s], work[6, s], top, a, b, 0, n, 1.0, state[s], 0)
            extreme_of(low[s], work[5, s], work[6, s], bottom, a, b, 0, n, -1.0, state[s], 2)
            within(row, top, bottom, raw, a, b, 100.0, 50.0)
            slow = work[3, s]
            slide(raw, slow, a, b, n - 1, smooth, state[s], 4)
            divide(slow, a, b, smooth)
            source, into = slow[a:b], out[0, s, a:b]
            for k in range(into.size):
                into[k] = source[k]
            slide(slow, out[1, s], a, b, n + smooth - 2, mean, state[s], 7)
            divide(out[1, s], a, b, mean)


stochastic_k = stochastic.output(0, 1)
stochastic_d = stochastic.output(1)


@kernel(memory=lambda n, window: n + window + 1, state=10, work=6)
def stoch_rsi(first, last, state, work, x, out, n, window):
    """Where the RSI of n stands between its extremes of `window` bars, 0 to 100. First value at bar n + window - 1.

    Not smoothed: write sma(stoch_rsi(close, 14, 14), 3) for %K. RSI at rest: 50. Chande and Kroll 1994, who count to 1.
    """
    for s in range(x.shape[0]):
        row, gain, loss, value = x[s], work[0, s], work[1, s], out[0, s]
        strength = loss
        top, bottom = work[2, s], value
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            part_moves(row, gain, loss, a, b)
            decay(gain, gain, a, b, 1, n, 1.0 / n, state[s], 0)
            decay(loss, loss, a, b, 1, n, 1.0 / n, state[s], 3)
            share(gain, loss, a, b)
            extreme_of(strength, work[3, s], work[5, s], top, a, b, n, window, 1.0, state[s], 6)
            extreme_of(strength, work[4, s], work[5, s], bottom, a, b, n, window, -1.0, state[s], 8)
            within(strength, top, bottom, value, a, b, 100.0, 50.0)


@kernel(memory=lambda n: n, state=4, work=5)
def williams_r(first, last, state, work, high, low, close, out, n):
    """Williams %R, -100 (at the low of n bars) to 0 (at the high). First value at bar n - 1. No range: -50. 1973."""
    for s in range(close.shape[0]):
        row, top, bottom, value = close[s], work[0, s], work[1, s], out[0, s]
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            extreme_of(high[s], work[2, s], work[4, s], top, a, b, 0, n, 1.0, state[s], 0)
            extreme_of(low[s], work[3, s], work[4, s], bottom, a, b, 0, n, -1.0, state[s], 2)
            within(row, bottom, top, value, a, b, -100.0, -50.0)


@kernel(memory=lambda n: n, state=3, work=2)
def cci(first, last, state, work, high, low, close, out, n):
    """Commodity channel index: (typical price - its mean) / (0.015 · mean absolute deviation). From bar n - 1.

    The deviation is taken around today's mean, so a new bar costs n steps, not one. No deviation: 0. Lambert 1980.
    """
    for s in range(close.shape[0]):
        typical, mean, value = work[0, s], work[1, s], out[0, s]
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            typical_of(high[s], low[s], close[s], typical, a, b)
            slide(typical, mean, a, b, 0, n, state[s], 0)
            divide(mean, a, b, n)
            for i in range(a, b):
                if i < n - 1:
                    value[i] = np.nan
                    continue
                off = spread_around(typical[i - n + 1 : i + 1], mean[i]) / n
                value[i] = (typical[i] - mean[i]) / (0.015 * off) if off > 1e-12 * abs(mean[i]) else 0.0


@kernel(memory=lambda n: n + 1, state=3, work=2)
def efficiency_ratio(first, last, state, work, x, out, n):
    """Kaufman's efficiency ratio, 0 to 1: the way made over n bars against the way gone. First value at bar n.

    No movement: 0. Kaufman 1995.
    """
    for s in range(x.shape[0]):
        row, moved, path, value = x[s], work[0, s], work[1, s], out[0, s]
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            steps(row, moved, a, b)
            slide(moved, path, a, b, 1, n, state[s], 0)
            for i in range(a, b):
                if i < n:
                    value[i] = np.nan
                    continue
                change = abs(row[i] - row[i - n])
                value[i] = change / max(path[i], change) if change > 0.0 else 0.0
