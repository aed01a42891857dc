"""How much prices move. float64[symbols, bars] each → float64 of the same shape. Missing bars: see `rows`."""

import numpy as np

from trading.indicators.moving import sma
from trading.indicators.rows import kernel, present, present_in_all


@kernel
def true_range(high, low, close):
    """True range, rupees. The first bar has no previous close: NaN. Wilder 1978."""
    out = np.full(close.shape, np.nan)
    for s in range(close.shape[0]):
        at = present_in_all(high[s], low[s], close[s])
        for k in range(1, at.size):
            previous = close[s, at[k - 1]]
            out[s, at[k]] = max(high[s, at[k]], previous) - min(low[s, at[k]], previous)
    return out


@kernel
def atr(high, low, close, n):
    """Average true range, rupees. First value at bar n, the simple mean of bars 1 to n. Wilder 1978."""
    out = np.full(close.shape, np.nan)
    ranges = true_range(high, low, close)
    for s in range(close.shape[0]):
        at = present(ranges[s])
        mean = 0.0
        for k in range(at.size):
            if k < n:
                mean += ranges[s, at[k]] / n
            else:
                mean += (ranges[s, at[k]] - mean) / n
            if k >= n - 1:
                out[s, at[k]] = mean
    return out


@kernel
def stdev(x, n):
    """Population standard deviation of the last n bars (divided by n, as Bollinger does). First value at bar n - 1."""
    out = np.full(x.shape, np.nan)
    for s in range(x.shape[0]):
        row = x[s]
        at = present(row)
        anchor = 0.0  # sums are kept around a recent mean: squares of prices would eat the digits
        total = 0.0
        squares = 0.0
        for k in range(n - 1, at.size):
            if (k + 1) % n == 0:
                anchor = 0.0
                for j in range(k - n + 1, k + 1):
                    anchor += row[at[j]]
                anchor /= n
                total = 0.0
                squares = 0.0
                for j in range(k - n + 1, k + 1):
                    off = row[at[j]] - anchor
                    total += off
                    squares += off * off
            else:
                off = row[at[k]] - anchor
                old = row[at[k - n]] - anchor
                total += off - old
                squares += off * off - old * old
            mean = total / n
            variance = squares / n - mean * mean
            out[s, at[k]] = np.sqrt(variance) if variance > 0.0 else 0.0
    return out


@kernel
def bollinger_upper(x, n, width):
    """Simple mean of n bars plus `width` standard deviations. First value at bar n - 1. Bollinger 2001."""
    return sma(x, n) + width * stdev(x, n)


@kernel
def bollinger_lower(x, n, width):
    """Simple mean of n bars minus `width` standard deviations."""
    return sma(x, n) - width * stdev(x, n)
