"""The highest or lowest of a moving window over dense rows of float64[bars]."""

import numpy as np

from trading.indicators.rows import compiled

TILE = 512  # bars that stay in the nearest cache


@compiled
def extreme_of(x, spare, other, out, first, last, begin, n, sign, state, at):
    """out[i] = highest (sign 1.0) or lowest (sign -1.0) of the last n of x; NaN before bar begin + n - 1.

    `x` counts from bar `begin`; `spare` and `other` are rows of work. Many bars at once: windows of 4, 16, 64, … bars,
    each from four of the quarter, until four of them span n. One bar: the best since a mark, and the best from each
    bar to that mark, in constant time on average (van Herk 1992). An extreme is not rounded: the two ways agree.
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
        source = x[start:high]
        a = spare[: high - start]
        b = other[: high - start]
        width = min(n, 4)
        one, two, three, four = source[width - 1 :], source[min(width - 1, 2) :], source[min(width - 1, 1) :], source
        into = a[width - 1 :]
        for k in range(into.size):
            into[k] = max(max(sign * one[k], sign * two[k]), max(sign * three[k], sign * four[k]))
        while 4 * width <= n:
            begun = 4 * width - 1  # before it stands nothing
            one, two, three, four = a[begun:], a[begun - width :], a[begun - 2 * width :], a[begun - 3 * width :]
            into = b[begun:]
            for k in range(into.size):
                into[k] = max(max(one[k], two[k]), max(three[k], four[k]))
            a, b = b, a
            width *= 4
        one, four, into = a[n - 1 :], a[width - 1 :], out[low:high]
        if n <= 2 * width:
            for k in range(into.size):
                into[k] = sign * max(one[k], four[k])
        else:
            two, three = a[max(n - 1 - width, width - 1) :], a[max(n - 1 - 2 * width, width - 1) :]
            for k in range(into.size):
                into[k] = sign * max(max(one[k], two[k]), max(three[k], four[k]))
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


@compiled
def bars_since(x, value, other, place, moved, out, first, last, n, sign):
    """out[i] = bars since the latest of the highest (sign 1.0) or lowest (-1.0) of n + 1 bars, for bars from n on.

    `value`, `other`, `place` and `moved` are rows of work. Windows of 1, 2, 4, … bars, as above, with the place of each
    extreme carried along.
    """
    tile = max(TILE, 2 * n)
    for low in range(first, last, tile):
        high = min(low + tile, last)
        start = low - n
        source = x[start:high]
        a, b, at, to = value[: source.size], other[: source.size], place[: source.size], moved[: source.size]
        for k in range(a.size):
            a[k] = sign * source[k]
            at[k] = k
        width = 1
        while width < n + 1:
            step = min(width, n + 1 - width)  # the last two windows overlap: they end here and `step` bars ago
            near, far, into = a[step:], a[: a.size - step], b[step:]
            near_at, far_at, into_at = at[step:], at[: a.size - step], to[step:]
            for k in range(into_at.size):
                later, earlier = near_at[k], far_at[k]
                into_at[k] = later if near[k] >= far[k] else earlier
            for k in range(into.size):
                into[k] = max(near[k], far[k])
            for k in range(step):  # windows that begin before the tile: never looked at by what follows
                b[k] = a[k]
                to[k] = at[k]
            a, b, at, to = b, a, to, at
            width += step
        found, into = at[n:], out[low:high]
        for k in range(into.size):
            into[k] = n + k - found[k]
