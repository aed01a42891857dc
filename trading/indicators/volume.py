"""Price and volume together. float64[symbols, bars] each → float64 of the same shape. Missing bars: see `rows`."""

import numpy as np

from trading.indicators.rows import kernel, present_in_all, present_in_both


@kernel
def obv(close, volume):
    """On-balance volume, units: 0 at the first bar of the window, plus the volume of rises, minus that of falls.

    Its level depends on where the window begins; compare its changes only. Granville 1963.
    """
    out = np.full(close.shape, np.nan)
    for s in range(close.shape[0]):
        at = present_in_both(close[s], volume[s])
        total = 0.0
        for k in range(at.size):
            if k > 0:
                change = close[s, at[k]] - close[s, at[k - 1]]
                if change > 0.0:
                    total += volume[s, at[k]]
                elif change < 0.0:
                    total -= volume[s, at[k]]
            out[s, at[k]] = total
    return out


@kernel
def session_vwap(high, low, close, volume, session):
    """Volume-weighted mean of (high + low + close) / 3 since the session began, rupees. `session`: int64[bars].

    NaN until the session has traded (an index has no volume: always NaN). A session that began before the window
    starts counting at the window: the caller leaves it out.
    """
    out = np.full(close.shape, np.nan)
    for s in range(close.shape[0]):
        at = present_in_all(high[s] + volume[s], low[s], close[s])
        turnover = 0.0
        traded = 0.0
        for k in range(at.size):
            i = at[k]
            if k == 0 or session[i] != session[at[k - 1]]:
                turnover = 0.0
                traded = 0.0
            turnover += (high[s, i] + low[s, i] + close[s, i]) / 3.0 * volume[s, i]
            traded += volume[s, i]
            if traded > 0.0:
                out[s, i] = turnover / traded
    return out
