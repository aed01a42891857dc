"""How much prices move. float64[symbols, bars] each → float64 of the same shape. Missing bars: see `rows`."""

import numpy as np
from numba.extending import overload

from trading.indicators.lanes import row_of
from trading.indicators.moments import deviation_of, four_moments, root_of, variance_of
from trading.indicators.passes import (
    decay,
    divide,
    mean_of_sum,
    next_strides,
    powers_of,
    renewal_of,
    slide,
    stride_from,
    stride_on,
)
from trading.indicators.rows import TILE, WHOLE, bars_near, compiled, compiled_in_any_order, kernel


@compiled
def range_of(high, low, close, out, first, last):
    """True ranges of a dense row; NaN at bar 0, and wherever this bar or the one before has a price that is none."""
    if first == 0 and last > 0:
        out[0] = np.nan
    begin = max(first, 1)
    top, bottom, before, into = high[begin:last], low[begin:last], close[begin - 1 : last], out[begin:last]
    end = close[begin:last]
    for k in range(into.size):
        # Zero times a price is nothing, zero times what is none stays none: a mere comparison would lose it.
        into[k] = max(top[k], before[k]) - min(bottom[k], before[k]) + (top[k] + bottom[k] + end[k]) * 0.0
    if begin == 1 and last > 1:
        out[1] += (high[0] + low[0] + close[0]) * 0.0


@compiled_in_any_order
def plain_range_of(high, low, close, out, first, last):
    """True ranges of one bar or more of a dense row, NaN at bar 0; 0.0 is returned, or NaN where a price is none."""
    nothing = (high[first] + low[first] + close[last - 1]) * 0.0
    if first == 0:
        out[0] = np.nan
    begin = max(first, 1)
    top, bottom, before, into = high[begin:last], low[begin:last], close[begin - 1 : last], out[begin:last]
    for k in range(into.size):
        into[k] = max(top[k], before[k]) - min(bottom[k], before[k])
        nothing += (top[k] + bottom[k] + before[k]) * 0.0
    return nothing


@kernel(memory=lambda: 1, state=1, poisons=True, lanes=True)
def true_range(first, last, state, work, high, low, close, out):
    """True range, rupees. The first bar has no previous close: NaN. Wilder 1978."""
    for s in range(close.shape[0]):
        row, kept = row_of(out[0], s), row_of(state, s)
        doubt = kept[0]
        for start in range(first[s], last[s], bars_near(close)):
            a, b = start & WHOLE, min(start + bars_near(close), last[s])
            doubt += plain_range_of(row_of(high, s), row_of(low, s), row_of(close, s), row, a, b)
        kept[0] = doubt
        if last[s] > first[s]:
            row[last[s] - 1] += doubt


@kernel(memory=lambda n: n + 1, state=3, poisons=True, by_bars=True)
def atr(first, last, state, work, high, low, close, out, n):
    """Average true range, rupees. First value at bar n, the simple mean of bars 1 to n. Wilder 1978."""
    mean_range_of(high, low, close, out[0], first, last, n, state)


def mean_range_of(high, low, close, out, first, last, n, state):
    """The mean range of every row; of neighbouring groups of lanes a bar of all before the next."""


@overload(mean_range_of)
def _mean_range_of(high, low, close, out, first, last, n, state):
    def in_turn(high, low, close, out, first, last, n, state):
        for s in range(close.shape[0]):
            top, bottom, end, row = row_of(high, s), row_of(low, s), row_of(close, s), row_of(out, s)
            for start in range(first[s], last[s], bars_near(close)):
                a, b = start & WHOLE, min(start + bars_near(close), last[s])
                _mean_range_by_steps(top, bottom, end, row, a, b, n, row_of(state, s))

    def abreast(high, low, close, out, first, last, n, state):
        a, b = first[0], last[0]
        middle = stride_from(row_of(close, 0), a, b, n, row_of(state, 0)[2])
        end = middle + (b - middle) // 4 * 4
        for s in range(close.shape[0]):
            top, bottom, over = row_of(high, s), row_of(low, s), row_of(close, s)
            _mean_range_by_steps(top, bottom, over, row_of(out, s), a, middle, n, row_of(state, s))
        _mean_range_by_bars(high, low, close, out, middle, end, n, state)
        for s in range(close.shape[0]):
            top, bottom, over = row_of(high, s), row_of(low, s), row_of(close, s)
            _mean_range_by_steps(top, bottom, over, row_of(out, s), end, b, n, row_of(state, s))

    return abreast if close.ndim == 3 else in_turn


@compiled
def _mean_range_by_steps(top, bottom, close, out, a, b, n, kept):
    range_of(top, bottom, close, out, a, b)
    decay(out, out, a, b, 1, n, 1.0 / n, kept, 0)


@compiled
def _mean_range_by_bars(high, low, close, out, a, b, n, state):
    """Whole strides of neighbouring groups in the order in which their bars lie, which memory foresees."""
    weight = 1.0 / n
    powers = powers_of(weight)
    for i in range(a, b, 4):
        for place in range(4):
            for s in range(close.shape[0]):
                brought = weight * _range_at(high, low, close, s, i + place)
                row_of(out, s)[i + place] = stride_on(row_of(state, s), 0, brought, powers, place)


@compiled
def _range_at(high, low, close, s, i):
    """The true range of one bar, as in `range_of`."""
    top, bottom, before, end = row_of(high, s)[i], row_of(low, s)[i], row_of(close, s)[i - 1], row_of(close, s)[i]
    return max(top, before) - min(bottom, before) + (top + bottom + end) * 0.0


@kernel(memory=lambda n: n, state=6, poisons=True, turned=True)
def stdev(first, last, state, work, x, out, n):
    """Population standard deviation of the last n bars (divided by n, as Bollinger does). First value at bar n - 1."""
    for s in range(x.shape[0]):
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            deviation_of(row_of(x, s), row_of(out[0], s), a, b, 0, n, row_of(state, s), 0)


@kernel(memory=lambda n, width: n, state=9, outputs=3, poisons=True, turned=True)
def bollinger(first, last, state, work, x, out, n, width):
    """Upper band, middle, lower band: simple mean of n bars ± `width` population deviations. From bar n - 1. 2001."""
    renew = renewal_of(n)
    for s in range(x.shape[0]):
        row, kept = row_of(x, s), row_of(state, s)
        upper, middle, lower = row_of(out[0], s), row_of(out[1], s), row_of(out[2], s)
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            while a < b:
                steps, strides = next_strides(row, a, b, n - 1, kept[5], renew)
                _bands_by_steps(row, upper, middle, lower, a, a + steps, n, width, kept)
                a += steps
                if strides > 0:
                    _bands_by_strides(row, upper, middle, lower, a, a + 4 * strides, n, width, kept)
                    a += 4 * strides


@compiled
def _bands_by_steps(row, upper, middle, lower, a, b, n, width, kept):
    spread, mean = upper, middle
    deviation_of(row, spread, a, b, 0, n, kept, 0)
    slide(row, mean, a, b, 0, n, kept, 6)
    divide(mean, a, b, n)
    centre, over, under = mean[a:b], upper[a:b], lower[a:b]
    for k in range(centre.size):
        reach = width * over[k]
        over[k] = centre[k] + reach
        under[k] = centre[k] - reach


@compiled
def _bands_by_strides(row, upper, middle, lower, a, b, n, width, kept):
    """The same four bars at a time: what deviation and mean share once, and the root of a bar beside all else."""
    anchor, total, squares, base = kept[0], kept[1], kept[2], kept[6]
    inverse, size = 1.0 / n, float(n)
    new, old = row[a:b], row[a - n : b]
    over, centre, under = upper[a:b], middle[a:b], lower[a:b]
    for k in range(over.size // 4):
        j = 4 * k
        sums, powers = four_moments(new, old, j, anchor)
        for at in range(4):
            mean = mean_of_sum(base + sums[at], inverse, size)
            reach = width * root_of(variance_of(total + sums[at], squares + powers[at], inverse))
            over[j + at], centre[j + at], under[j + at] = mean + reach, mean, mean - reach
        total += sums[3]
        squares += powers[3]
        base += sums[3]
    kept[1], kept[2], kept[6] = total, squares, base
    kept[5] += float(b - a)
    kept[8] += float(b - a)


bollinger_upper = bollinger.output(0)
bollinger_middle = bollinger.output(1)
bollinger_lower = bollinger.output(2)


@kernel(memory=lambda n, range_n, width: max(n, range_n + 1), state=6, work=2, outputs=3, lanes=True)
def keltner(first, last, state, work, high, low, close, out, n, range_n, width):
    """Upper, middle, lower channel: EMA of n closes ± `width` times the ATR of `range_n`, rupees.

    Linda Raschke's form (Keltner 1960 used typical prices and plain ranges). From bar max(n - 1, range_n).
    """
    for s in range(close.shape[0]):
        for start in range(first[s], last[s], bars_near(close)):
            a, b = start & WHOLE, min(start + bars_near(close), last[s])
            mean, reach = row_of(work[0], s), row_of(work[1], s)
            decay(row_of(close, s), mean, a, b, 0, n, 2.0 / (n + 1), row_of(state, s), 0)
            range_of(row_of(high, s), row_of(low, s), row_of(close, s), reach, a, b)
            decay(reach, reach, a, b, 1, range_n, 1.0 / range_n, row_of(state, s), 3)
            upper, middle, lower = row_of(out[0], s), row_of(out[1], s), row_of(out[2], s)
            for i in range(a, b):
                upper[i] = mean[i] + width * reach[i]
                lower[i] = mean[i] - width * reach[i]
                middle[i] = (upper[i] + lower[i]) * 0.5


keltner_upper = keltner.output(0)
keltner_middle = keltner.output(1)
keltner_lower = keltner.output(2)


@kernel(memory=lambda n, bars_per_year: n + 1, state=6, work=1)
def realised_volatility(first, last, state, work, close, out, n, bars_per_year):
    """Sample standard deviation (n - 1) of the last n log returns, annualised, percent. First value at bar n.

    `bars_per_year`: 252 for days; one-minute bars of a 375-minute session make 94,500. n = 1 has no deviation: NaN.
    A sample, because the mean return is estimated from the same few bars. NaN where a price is not positive.
    """
    for s in range(close.shape[0]):
        row, moved, value = close[s], work[0, s], out[0, s]
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            for i in range(max(a, 1), b):
                moved[i] = np.log(row[i] / row[i - 1])
            deviation_of(moved, value, a, b, 1, n, state[s], 0)
            scale = 100.0 * np.sqrt(bars_per_year * n / (n - 1)) if n > 1 else np.nan
            for i in range(a, b):
                value[i] *= scale


@kernel(memory=lambda n, bars_per_year: n, state=3, work=1)
def garman_klass(first, last, state, work, opens, high, low, close, out, n, bars_per_year):
    """Volatility from open, high, low and close of the last n bars, annualised, percent. First value at bar n - 1.

    √ of the mean of ½ ln(high/low)² - (2 ln 2 - 1) ln(close/open)². It sees no overnight gap. Garman and Klass 1980.
    """
    share = 2.0 * np.log(2.0) - 1.0
    for s in range(close.shape[0]):
        variance, value = work[0, s], out[0, s]
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            for i in range(a, b):
                reach = np.log(high[s, i] / low[s, i])
                body = np.log(close[s, i] / opens[s, i])
                variance[i] = 0.5 * reach * reach - share * body * body
            slide(variance, value, a, b, 0, n, state[s], 0)
            for i in range(a, b):
                value[i] = 100.0 * np.sqrt(max(value[i], 0.0) / n * bars_per_year) if i >= n - 1 else np.nan


@kernel(memory=lambda omega, alpha, beta: 1, state=1)
def garch(first, last, state, work, close, out, omega, alpha, beta):
    """GARCH(1,1) forecast of the next bar's volatility, percent of price: √(omega + alpha · r² + beta · variance).

    r: log return, percent. omega in percent²; it begins with the long-run variance omega / (1 - alpha - beta), or with
    the first squared return where alpha + beta ≥ 1. First value at bar 1. The parameters are given, not estimated here.
    Bollerslev 1986.
    """
    rest = 1.0 - alpha - beta
    for s in range(close.shape[0]):
        variance = state[s, 0]
        for i in range(first[s], last[s]):
            if i == 0:
                out[0, s, i] = np.nan
                continue
            ratio = close[s, i] / close[s, i - 1]
            if not ratio > 0.0:  # no price: nothing learned from it
                out[0, s, i] = np.nan
                continue
            change = 100.0 * np.log(ratio)
            if variance == 0.0:
                variance = omega / rest if rest > 0.0 else change * change
            variance = omega + alpha * change * change + beta * variance
            out[0, s, i] = np.sqrt(variance)
        state[s, 0] = variance
