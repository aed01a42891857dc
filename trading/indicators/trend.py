"""Extremes and crossings. float64[symbols, bars] → same shape. Missing bars: see `rows`."""

import numpy as np

from trading.indicators.rows import kernel, present, present_in_both


@kernel
def highest(x, n):
    """Highest of the last n bars, this one included. First value at bar n - 1."""
    out = np.full(x.shape, np.nan)
    for s in range(x.shape[0]):
        row = x[s]
        at = present(row)
        queue = np.empty(at.size, dtype=np.int64)  # candidates, best first: each bar enters and leaves once
        head = 0
        tail = 0
        for k in range(at.size):
            while tail > head and row[at[queue[tail - 1]]] <= row[at[k]]:
                tail -= 1
            queue[tail] = k
            tail += 1
            if queue[head] <= k - n:
                head += 1
            if k >= n - 1:
                out[s, at[k]] = row[at[queue[head]]]
    return out


@kernel
def lowest(x, n):
    """Lowest of the last n bars, this one included. First value at bar n - 1."""
    return -highest(-x, n)


@kernel
def crosses_above(x, y):
    """bool[symbols, bars]: x is above y now and was not at the previous bar where both exist."""
    out = np.zeros(x.shape, dtype=np.bool_)
    for s in range(x.shape[0]):
        at = present_in_both(x[s], y[s])
        for k in range(1, at.size):
            out[s, at[k]] = x[s, at[k]] > y[s, at[k]] and x[s, at[k - 1]] <= y[s, at[k - 1]]
    return out


@kernel
def crosses_below(x, y):
    """bool[symbols, bars]: x is below y now and was not at the previous bar where both exist."""
    return crosses_above(-x, -y)
