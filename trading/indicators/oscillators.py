"""Momentum. float64[symbols, bars] → float64 of the same shape. Missing bars: see `rows`."""

import numpy as np

from trading.indicators.moving import ema
from trading.indicators.rows import kernel, present


@kernel
def rsi(x, n):
    """Relative strength index, 0 to 100, Wilder 1978. First value at bar n, from the simple mean of n changes.

    Only gains: 100. No movement at all: 50, neither strong nor weak (TA-Lib says 0, which reads as oversold).
    """
    out = np.full(x.shape, np.nan)
    for s in range(x.shape[0]):
        row = x[s]
        at = present(row)
        gain = 0.0
        loss = 0.0
        for k in range(1, at.size):
            change = row[at[k]] - row[at[k - 1]]
            up = change if change > 0.0 else 0.0
            down = -change if change < 0.0 else 0.0
            if k <= n:
                gain += up / n
                loss += down / n
            else:
                gain += (up - gain) / n
                loss += (down - loss) / n
            if k >= n:
                both = gain + loss
                out[s, at[k]] = 100.0 * (gain / both) if both > 0.0 else 50.0
    return out


@kernel
def roc(x, n):
    """Rate of change over n bars, percent. First value at bar n; NaN where the old value is 0."""
    out = np.full(x.shape, np.nan)
    for s in range(x.shape[0]):
        row = x[s]
        at = present(row)
        for k in range(n, at.size):
            old = row[at[k - n]]
            if old != 0.0:
                out[s, at[k]] = 100.0 * (row[at[k]] / old - 1.0)
    return out


@kernel
def macd(x, fast, slow):
    """Fast EMA minus slow EMA, each with its own seed. First value at bar max(fast, slow) - 1. Appel 1979."""
    return ema(x, fast) - ema(x, slow)


@kernel
def macd_signal(x, fast, slow, signal):
    """EMA of the MACD line, seeded with its first `signal` values. First value at bar max(fast, slow) + signal - 2."""
    return ema(macd(x, fast, slow), signal)


@kernel
def macd_histogram(x, fast, slow, signal):
    """MACD line minus its signal line."""
    line = macd(x, fast, slow)
    return line - ema(line, signal)
