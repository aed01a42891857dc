"""Running second moments over dense rows. Sums are kept around a recent value: squares of prices eat the digits."""

import numpy as np

from trading.indicators.passes import REFRESH, add_up, fma
from trading.indicators.rows import compiled


@compiled
def deviation_of(x, out, first, last, begin, n, state, at):
    """out[i] = population standard deviation of the last n of x; NaN before bar begin + n - 1.

    `x` counts from bar `begin`. Uses state[at : at + 4].
    """
    anchor = state[at]
    total = state[at + 1]
    squares = state[at + 2]
    age = int(state[at + 3])
    renew = max(REFRESH, n)
    seed = begin + n - 1
    inverse = 1.0 / n
    for i in range(first, min(last, seed)):
        out[i] = np.nan
    i = max(first, seed)
    while i < last:
        if i == seed or age == renew:
            window = x[i - n + 1 : i + 1]
            anchor = add_up(window) * inverse
            total = 0.0
            squares = 0.0
            for k in range(window.size):
                off = window[k] - anchor
                total += off
                squares = fma(off, off, squares)
            age = 0
            out[i] = _variance(total, squares, inverse)
            i += 1
            continue
        run = min(last - i, renew - age)
        new = x[i : i + run]
        old = x[i - n : i - n + run]
        value = out[i : i + run]
        for k in range(run):
            change = new[k] - old[k]
            total += change
            squares = fma(change, (new[k] - anchor) + (old[k] - anchor), squares)
            value[k] = _variance(total, squares, inverse)
        i += run
        age += run
    row = out[max(first, seed) : last]
    for k in range(row.size):
        row[k] = np.sqrt(row[k])
    state[at] = anchor
    state[at + 1] = total
    state[at + 2] = squares
    state[at + 3] = age


@compiled
def _variance(total, squares, inverse):
    mean = total * inverse
    return max(fma(-mean, mean, squares * inverse), 0.0)
