"""The highest or lowest of a moving window over dense rows of float64[bars]."""

import numpy as np

from trading.indicators.rows import compiled

TILE = 512  # bars that stay in the nearest cache


@compiled
def extreme_of(x, spare, other, out, first, last, begin, n, sign, state, at):
    """out[i] = highest (sign 1.0) or lowest (sign -1.0) of the last n of x; NaN before bar begin + n - 1.

    `x` counts from bar `begin`; `spare` and `other` are rows of work. Many bars at once: windows of 1, 2, 4, … bars,
    each from two of the half, until two of them span n. One bar: the best since a mark, and the best from each bar to
    that mark, in constant time on average (van Herk 1992). An extreme is not rounded: the two ways agree.
    Uses state[at : at + 2].
    """
    if first == last:
        return
    for i in range(first, min(last, begin + n - 1)):
        out[i] = np.nan
    if last - first > 1:
        state[at + 1] = -1.0  # no marks: what follows is reckoned without them too
    if state[at + 1] >= 0.0:
        if first >= begin:
            _step(x, spare, out, first, begin, n, sign, state, at)
        return
    tile = max(TILE, 2 * n)
    low = max(first, begin + n - 1)
    while low < last:
        high = min(low + tile, last)
        start = low - n + 1
        a = spare[: high - start]
        b = other[: high - start]
        source = x[start:high]
        for k in range(a.size):
            a[k] = sign * source[k]
        width = 1
        while 2 * width <= n:
            near, far, into = a[width:], a[: a.size - width], b[width:]
            for k in range(into.size):
                into[k] = max(near[k], far[k])
            a, b = b, a
            width *= 2
        near, far, into = a[n - 1 :], a[width - 1 : a.size - n + width], out[low:high]
        for k in range(into.size):
            into[k] = sign * max(near[k], far[k])
        low = high


@compiled
def _step(x, best_to_mark, out, i, begin, n, sign, state, at):
    since_mark = state[at]
    phase = int(state[at + 1])
    value = sign * x[i]
    if phase == 0:
        since_mark = value
        if i - begin >= n:
            best = sign * x[i - 1]
            best_to_mark[i - 1] = best
            for j in range(i - 2, i - n, -1):
                best = max(best, sign * x[j])
                best_to_mark[j] = best
    since_mark = max(since_mark, value)
    if i >= begin + n - 1:
        out[i] = sign * (since_mark if phase == n - 1 else max(since_mark, best_to_mark[i - n + 1]))
    state[at] = since_mark
    state[at + 1] = 0.0 if phase == n - 1 else phase + 1.0
