"""Moving averages. float64[symbols, bars] and a period in bars → float64 of the same shape, in the unit of the input.

Missing bars: see `rows`. Running sums are formed anew every `n` bars, so that rounding errors do not pile up.
"""

import numpy as np

from trading.indicators.rows import kernel, present


@kernel
def sma(x, n):
    """Simple mean of the last n bars. First value at bar n - 1."""
    out = np.full(x.shape, np.nan)
    for s in range(x.shape[0]):
        row = x[s]
        at = present(row)
        total = 0.0
        for k in range(at.size):
            if (k + 1) % n == 0:
                total = 0.0
                for j in range(k - n + 1, k + 1):
                    total += row[at[j]]
            else:
                total += row[at[k]]
                if k >= n:
                    total -= row[at[k - n]]
            if k >= n - 1:
                out[s, at[k]] = total / n
    return out


@kernel
def ema(x, n):
    """Exponential mean, weight 2 / (n + 1), seeded with the simple mean of the first n bars (TA-Lib's convention)."""
    out = np.full(x.shape, np.nan)
    weight = 2.0 / (n + 1)
    for s in range(x.shape[0]):
        row = x[s]
        at = present(row)
        if at.size < n:
            continue
        mean = 0.0
        for k in range(n):
            mean += row[at[k]]
        mean /= n
        out[s, at[n - 1]] = mean
        for k in range(n, at.size):
            mean += weight * (row[at[k]] - mean)
            out[s, at[k]] = mean
    return out


@kernel
def wma(x, n):
    """Linearly weighted mean of the last n bars: n for the newest, 1 for the oldest. First value at bar n - 1."""
    out = np.full(x.shape, np.nan)
    norm = n * (n + 1) / 2.0
    for s in range(x.shape[0]):
        row = x[s]
        at = present(row)
        plain = 0.0
        weighted = 0.0
        for k in range(n - 1, at.size):
            if (k + 1) % n == 0:
                plain = 0.0
                weighted = 0.0
                for j in range(n):
                    value = row[at[k - n + 1 + j]]
                    plain += value
                    weighted += (j + 1) * value
            else:
                newest = row[at[k]]
                weighted += n * newest - plain
                plain += newest - row[at[k - n]]
            out[s, at[k]] = weighted / norm
    return out
