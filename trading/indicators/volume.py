"""Price and volume together. float64[symbols, bars] each → float64 of the same shape. Missing bars: see `rows`."""

from typing import Any

import numpy as np

from trading.indicators.passes import slide
from trading.indicators.rows import TILE, WHOLE, Floats, kernel


@kernel(memory=lambda: 1, state=1)
def obv(first, last, state, work, close, volume, out):
    """On-balance volume, units: 0 at the first bar of the window, plus the volume of rises, minus that of falls.

    Its level depends on where the window begins (TA-Lib begins with the first volume); compare its changes only.
    Granville 1963.
    """
    for s in range(close.shape[0]):
        total = state[s, 0]
        for i in range(first[s], last[s]):
            if i > 0:
                rose = 1.0 if close[s, i] > close[s, i - 1] else 0.0
                fell = 1.0 if close[s, i] < close[s, i - 1] else 0.0
                total += (rose - fell) * volume[s, i]  # no branch: the market's next direction cannot be guessed
            out[0, s, i] = total
        state[s, 0] = total


@kernel(memory=lambda n: n + 1, state=9, work=6)
def mfi(first, last, state, work, high, low, close, volume, out, n):
    """Money flow index, 0 to 100: turnover of bars whose typical price rose, against all that moved. From bar n.

    Nothing traded in n bars, or the price at rest: 50. Quong and Soudack 1989.
    """
    for s in range(close.shape[0]):
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            typical, rise, both, moves, moved, value = (
                work[0, s],
                work[1, s],
                work[2, s],
                work[3, s],
                work[4, s],
                out[0, s],
            )
            rises = work[5, s]
            for i in range(a, b):
                typical[i] = (high[s, i] + low[s, i] + close[s, i]) / 3.0
                if i == 0:
                    continue
                change = typical[i] - typical[i - 1]
                flow = typical[i] * volume[s, i]
                rise[i] = flow if change > 0.0 else 0.0
                both[i] = flow if change != 0.0 else 0.0
                moves[i] = 1.0 if both[i] != 0.0 else 0.0
            slide(rise, rises, a, b, 1, n, state[s], 0)
            slide(both, value, a, b, 1, n, state[s], 3)
            slide(moves, moved, a, b, 1, n, state[s], 6)
            for i in range(a, b):
                if i < n:
                    value[i] = np.nan
                elif moved[i] == 0.0:
                    value[i] = 50.0
                else:
                    value[i] = min(max(100.0 * (rises[i] / value[i]), 0.0), 100.0)


@kernel(memory=lambda: 1, state=2)
def vwap_by(first, last, state, work, key, high, low, close, volume, out):
    """Volume-weighted mean of (high + low + close) / 3 since `key` last changed, rupees. NaN until something traded."""
    for s in range(close.shape[0]):
        turnover, traded = state[s, 0], state[s, 1]
        for i in range(first[s], last[s]):
            if i == 0 or key[s, i] != key[s, i - 1]:
                turnover = 0.0
                traded = 0.0
            turnover += (high[s, i] + low[s, i] + close[s, i]) / 3.0 * volume[s, i]
            traded += volume[s, i]
            out[0, s, i] = turnover / traded if traded > 0.0 else np.nan
        state[s, 0] = turnover
        state[s, 1] = traded


@kernel(memory=lambda: 1, state=3)
def anchored_vwap(first, last, state, work, anchor, high, low, close, volume, out):
    """Volume-weighted mean of (high + low + close) / 3 since the last bar whose `anchor` is above 0, rupees.

    That bar counts. NaN before the first such bar, and until something traded. A bar without an anchor value is left
    out like any bar that is not whole.
    """
    for s in range(close.shape[0]):
        turnover, traded, begun = state[s, 0], state[s, 1], state[s, 2] > 0.0
        for i in range(first[s], last[s]):
            if anchor[s, i] > 0.0:
                turnover = 0.0
                traded = 0.0
                begun = True
            turnover += (high[s, i] + low[s, i] + close[s, i]) / 3.0 * volume[s, i]
            traded += volume[s, i]
            out[0, s, i] = turnover / traded if begun and traded > 0.0 else np.nan
        state[s, 0] = turnover
        state[s, 1] = traded
        state[s, 2] = 1.0 if begun else 0.0


def session_vwap(high: Floats, low: Floats, close: Floats, volume: Floats, session: Any) -> Floats:
    """Volume-weighted mean of (high + low + close) / 3 since the session began, rupees. `session`: int64[bars].

    NaN until the session has traded (an index has no volume: always NaN). A session that began before the window
    starts counting at the window: the caller leaves it out.
    """
    return vwap_by(np.broadcast_to(np.asarray(session, dtype=np.float64), close.shape), high, low, close, volume)
