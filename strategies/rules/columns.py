"""Compiled passes over bars that rules need beside the indicators. float64[symbols, bars] unless said otherwise.

`session` int64[bars] numbers the sessions from 0 on. A price that is not finite is a bar that is missing.
"""

from __future__ import annotations

import numpy as np

from trading.indicators.rows import compiled_making_arrays

FIRST, HIGHEST, LOWEST, LAST, TOTAL, MEAN = range(6)


@compiled_making_arrays
def so_far(x, session, how):
    """What the session has shown until each bar, this one included: its first, highest, lowest, last, sum or mean."""
    out = np.full(x.shape, np.nan)
    for s in range(x.shape[0]):
        value, known, total = np.nan, 0, 0.0
        for i in range(x.shape[1]):
            if i == 0 or session[i] != session[i - 1]:
                value, known, total = np.nan, 0, 0.0
            if np.isfinite(x[s, i]):
                value = _joined(value, x[s, i], known, how)
                total += x[s, i]
                known += 1
            if known == 0:
                continue
            if how == TOTAL:
                out[s, i] = total
            elif how == MEAN:
                out[s, i] = total / known
            else:
                out[s, i] = value
    return out


@compiled_making_arrays
def day_before(x, session, how, first_whole):
    """What the whole session before had shown: its first, highest, lowest or last price. NaN in the first session.

    `first_whole`: whether the window's first session is there from its open; else only its last price is known.
    """
    out = np.full(x.shape, np.nan)
    for s in range(x.shape[0]):
        before, value, known = np.nan, np.nan, 0
        for i in range(x.shape[1]):
            if i > 0 and session[i] != session[i - 1]:
                complete = first_whole or session[i - 1] > 0 or how == LAST
                before = value if complete else np.nan
                value, known = np.nan, 0
            if np.isfinite(x[s, i]):
                value = _joined(value, x[s, i], known, how)
                known += 1
            out[s, i] = before
    return out


@compiled_making_arrays
def opening_range(x, session, since_open, minutes, timeframe, how):
    """Highest or lowest of the bars that began in the first `minutes`; NaN until a bar has ended at or after them."""
    out = np.full(x.shape, np.nan)
    for s in range(x.shape[0]):
        value, known = np.nan, 0
        for i in range(x.shape[1]):
            if i == 0 or session[i] != session[i - 1]:
                value, known = np.nan, 0
            if since_open[i] < minutes and np.isfinite(x[s, i]):
                value = _joined(value, x[s, i], known, how)
                known += 1
            if since_open[i] + timeframe >= minutes:
                out[s, i] = value
    return out


@compiled_making_arrays
def _joined(value, new, known, how):
    if known == 0 or how == LAST:
        return new
    if how == HIGHEST:
        return max(value, new)
    if how == LOWEST:
        return min(value, new)
    return value


@compiled_making_arrays
def bars_since(true, most):
    """Bars since `true` (bool[symbols, bars]) last held, 0 where it does; NaN where it did not within `most` bars."""
    out = np.full(true.shape, np.nan)
    for s in range(true.shape[0]):
        last = -1
        for i in range(true.shape[1]):
            if true[s, i]:
                last = i
            if last >= 0 and i - last <= most:
                out[s, i] = i - last
    return out


@compiled_making_arrays
def counted(true, false, bars):
    """On how many of the last `bars` bars `true` held; NaN where fewer are there or one of them is unknown."""
    out = np.full(true.shape, np.nan)
    for s in range(true.shape[0]):
        held, known = 0, 0
        for i in range(true.shape[1]):
            held += true[s, i]
            known += true[s, i] or false[s, i]
            if i >= bars:
                held -= true[s, i - bars]
                known -= true[s, i - bars] or false[s, i - bars]
            if known == bars:
                out[s, i] = held
    return out


@compiled_making_arrays
def ranked(x):
    """The place of each symbol among all at the same bar: 0 the lowest, 100 the highest, equals share the middle.

    NaN for a symbol whose number is unknown, and where fewer than two are known.
    """
    out = np.full(x.shape, np.nan)
    symbols, bars = x.shape
    for i in range(bars):
        column = x[:, i].copy()
        order = np.argsort(column)  # NaN last
        known = 0
        while known < symbols and column[order[known]] == column[order[known]]:
            known += 1
        if known < 2:
            continue
        first = 0
        while first < known:
            after = first + 1
            while after < known and column[order[after]] == column[order[first]]:
                after += 1
            place = 100.0 * ((first + after - 1) / 2) / (known - 1)
            for k in range(first, after):
                out[order[k], i] = place
            first = after
    return out


@compiled_making_arrays
def longer_bars(groups, open_, high, low, close, volume):
    """Bars of each run of equal `groups` (int64[bars], the start of the longer bar): their starts and prices."""
    count = 0
    for i in range(groups.size):
        if i == 0 or groups[i] != groups[i - 1]:
            count += 1
    starts = np.empty(count, np.int64)
    made = np.full((5, open_.shape[0], count), np.nan)
    at = -1
    for i in range(groups.size):
        if i == 0 or groups[i] != groups[i - 1]:
            at += 1
            starts[at] = groups[i]
        for s in range(open_.shape[0]):
            if not np.isfinite(close[s, i]):
                continue
            if np.isnan(made[3, s, at]):
                made[0, s, at], made[1, s, at] = open_[s, i], high[s, i]
                made[2, s, at], made[4, s, at] = low[s, i], volume[s, i]
            else:
                made[1, s, at] = max(made[1, s, at], high[s, i])
                made[2, s, at] = min(made[2, s, at], low[s, i])
                made[4, s, at] += volume[s, i]
            made[3, s, at] = close[s, i]
    return starts, made[0].copy(), made[1].copy(), made[2].copy(), made[3].copy(), made[4].copy()


def warm() -> None:
    """Compile every pass once, into the cache that other processes load."""
    bars = np.linspace(100.0, 101.0, 6).reshape(1, 6).copy()
    true, marks = bars > 100.5, np.array([0, 0, 0, 1, 1, 1])
    so_far(bars, marks, FIRST)
    day_before(bars, marks, LAST, True)
    opening_range(bars, marks, bars[0], 15, 5, HIGHEST)
    bars_since(true, 5)
    counted(true, ~true, 3)
    ranked(bars)
    longer_bars(marks, bars, bars, bars, bars, bars)
