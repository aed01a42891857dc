"""Running second moments over dense rows. Sums are kept around a recent value: squares of prices eat the digits."""

import numpy as np
from numba.extending import overload

from trading.indicators.lanes import count_of, fma, lanes
from trading.indicators.passes import add_up, renewal_of
from trading.indicators.rows import compiled


def root_of(value):
    """Of lanes the root at once, which runs beside all else that is reckoned; a plain number waits for `roots_of`."""


@overload(root_of)
def _root_of(value):
    if value == lanes:
        return lambda value: np.sqrt(value)
    return lambda value: value


def roots_of(row):
    """The roots of a plain row, which the compiler takes eight at a time; lanes have theirs."""


@overload(roots_of)
def _roots_of(row):
    if row.dtype == lanes:
        return lambda row: None

    def each(row):
        for k in range(row.size):
            row[k] = np.sqrt(row[k])

    return each


@compiled
def deviation_of(x, out, first, last, begin, n, state, at):
    """out[i] = population standard deviation of the last n of x; NaN before bar begin + n - 1.

    `x` counts from bar `begin`. Four bars at a stride, as in `passes`. Uses state[at : at + 6].
    """
    anchor, total, squares = state[at], state[at + 1], state[at + 2]
    more, more_squares, age = state[at + 3], state[at + 4], count_of(state[at + 5])
    renew = renewal_of(n)
    seed = begin + n - 1
    inverse = 1.0 / n
    for i in range(first, min(last, seed)):
        out[i] = np.nan
    i = max(first, seed)
    while i < last:
        if i == seed or age == renew:
            window = x[i - n + 1 : i + 1]
            anchor = add_up(window) * inverse
            total *= 0.0  # what was no number once stays none
            squares, more, more_squares, age = 0.0, 0.0, 0.0, 0
            for k in range(window.size):
                off = window[k] - anchor
                total += off
                squares = fma(off, off, squares)
            out[i] = root_of(variance_of(total, squares, inverse))
            i += 1
            continue
        run = min(last - i, renew - age)
        new, old, value = x[i : i + run], x[i - n : i - n + run], out[i : i + run]
        if age % 4 == 0 and run >= 4:
            whole = run // 4
            for k in range(whole):
                j = 4 * k
                (c1, c2, c3, c4), (e1, e2, e3, e4) = four_moments(new, old, j, anchor)
                value[j] = root_of(variance_of(total + c1, squares + e1, inverse))
                value[j + 1] = root_of(variance_of(total + c2, squares + e2, inverse))
                value[j + 2] = root_of(variance_of(total + c3, squares + e3, inverse))
                total += c4
                squares += e4
                value[j + 3] = root_of(variance_of(total, squares, inverse))
            i += 4 * whole
            age += 4 * whole
            continue
        change = new[0] - old[0]
        more += change
        more_squares = fma(change, new[0] + old[0] - (anchor + anchor), more_squares)
        value[0] = root_of(variance_of(total + more, squares + more_squares, inverse))
        age += 1
        i += 1
        if age % 4 == 0:
            total += more
            squares += more_squares
            more, more_squares = 0.0, 0.0
    roots_of(out[max(first, seed) : last])
    state[at], state[at + 1], state[at + 2] = anchor, total, squares
    state[at + 3], state[at + 4], state[at + 5] = more, more_squares, age


@compiled
def four_moments(new, old, j, anchor):
    """What four bars from j on, and those that leave for them, add to the sum and to the squares around `anchor`."""
    twice = anchor + anchor
    d1, d2 = new[j] - old[j], new[j + 1] - old[j + 1]
    d3, d4 = new[j + 2] - old[j + 2], new[j + 3] - old[j + 3]
    c2 = d1 + d2
    c3 = c2 + d3
    c4 = c3 + d4
    e1 = d1 * (new[j] + old[j] - twice)
    e2 = fma(d2, new[j + 1] + old[j + 1] - twice, e1)
    e3 = fma(d3, new[j + 2] + old[j + 2] - twice, e2)
    e4 = fma(d4, new[j + 3] + old[j + 3] - twice, e3)
    return (d1, c2, c3, c4), (e1, e2, e3, e4)


@compiled
def variance_of(total, squares, inverse):
    mean = total * inverse
    return max(fma(-mean, mean, squares * inverse), 0.0)
