"""Moving averages. float64[symbols, bars] and a period in bars → float64 of the same shape, in the unit of the input.

Missing bars: see `rows`. Sources: TA-Lib's conventions, unless said otherwise.
"""

from trading.indicators.compensated import STATE, mean_of
from trading.indicators.lanes import row_of
from trading.indicators.passes import decay, divide, drift, slide, steps, weigh
from trading.indicators.rows import WHOLE, bars_near, kernel

TINY = 1e-300  # in place of a path of no length


@kernel(memory=lambda n: n, state=STATE, turned=True)
def sma(first, last, state, work, x, out, n):
    """Simple mean of the last n bars. First value at bar n - 1.

    Summed with compensation (Kahan), what leaves before what enters, and flat prices give the price itself: the bits of
    pandas' rolling mean. Two averages that meet in the decimal world then part, or do not, as they do there, so rules
    on crossings fire on the same bars as in published results.
    """
    for s in range(x.shape[0]):
        mean_of(row_of(x, s), row_of(out[0], s), first[s], last[s], n, row_of(state, s))


@kernel(memory=lambda n: n, state=3, poisons=True, lanes=True)
def ema(first, last, state, work, x, out, n):
    """Exponential mean, weight 2 / (n + 1), seeded with the simple mean of the first n bars. First value at bar n - 1.

    Other programs seed with the first price; the two agree once the seed has faded (see `settling` in the registry).
    """
    for s in range(x.shape[0]):
        decay(row_of(x, s), row_of(out[0], s), first[s], last[s], 0, n, 2.0 / (n + 1), row_of(state, s), 0)


@kernel(memory=lambda n: n, state=5, turned=True)
def wma(first, last, state, work, x, out, n):
    """Linearly weighted mean of the last n bars: n for the newest, 1 for the oldest. First value at bar n - 1."""
    norm = n * (n + 1) / 2.0
    for s in range(x.shape[0]):
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            weigh(row_of(x, s), row_of(out[0], s), a, b, n, row_of(state, s), 0)
            divide(row_of(out[0], s), a, b, norm)


@kernel(memory=lambda n: 2 * n - 1, state=6, work=2, poisons=True, turned=True)
def dema(first, last, state, work, x, out, n):
    """2 · EMA - EMA of EMA. First value at bar 2 (n - 1). Mulloy 1994."""
    for s in range(x.shape[0]):
        once, twice, value = row_of(work[0], s), row_of(work[1], s), row_of(out[0], s)
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            decay(row_of(x, s), once, a, b, 0, n, 2.0 / (n + 1), row_of(state, s), 0)
            decay(once, twice, a, b, n - 1, n, 2.0 / (n + 1), row_of(state, s), 3)
            one, two, into = once[a:b], twice[a:b], value[a:b]
            for k in range(into.size):
                into[k] = 2.0 * one[k] - two[k]


@kernel(memory=lambda n: 3 * n - 2, state=9, work=3, poisons=True, turned=True)
def tema(first, last, state, work, x, out, n):
    """3 · EMA - 3 · EMA of EMA + EMA of EMA of EMA. First value at bar 3 (n - 1). Mulloy 1994."""
    for s in range(x.shape[0]):
        once, twice, thrice, value = row_of(work[0], s), row_of(work[1], s), row_of(work[2], s), row_of(out[0], s)
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            decay(row_of(x, s), once, a, b, 0, n, 2.0 / (n + 1), row_of(state, s), 0)
            decay(once, twice, a, b, n - 1, n, 2.0 / (n + 1), row_of(state, s), 3)
            decay(twice, thrice, a, b, 2 * n - 2, n, 2.0 / (n + 1), row_of(state, s), 6)
            one, two, three, into = once[a:b], twice[a:b], thrice[a:b], value[a:b]
            for k in range(into.size):
                into[k] = 3.0 * (one[k] - two[k]) + three[k]


@kernel(memory=lambda n, fast, slow: n + 1, state=7, work=2, turned=True)
def kama(first, last, state, work, x, out, n, fast, slow):
    """Kaufman's adaptive average: as fast as EMA `fast` in a straight move, as slow as EMA `slow` in noise.

    First value at bar n, from the price of bar n - 1 (TA-Lib's seed; other programs begin with the price of bar n).
    No way made in n bars: as slow as can be (TA-Lib takes a window without movement for a straight one). Kaufman 1995.
    """
    quick = 2.0 / (fast + 1)
    idle = 2.0 / (slow + 1)
    for s in range(x.shape[0]):
        row, moved, path, value = row_of(x, s), row_of(work[0], s), row_of(work[1], s), row_of(out[0], s)
        bring = value
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            if a == 0 and b > 0:
                moved[0] = 0.0
            steps(row, moved, a, b)
            slide(moved, path, a, b, 1, n, row_of(state, s), 0)
            begin = max(a, n)
            now, then, keep, brings = row[begin:b], row[begin - n : b], path[begin:b], bring[begin:b]
            for k in range(now.size):
                change = abs(now[k] - then[k])
                ratio = change / max(max(keep[k], change), TINY)
                speed = ratio * (quick - idle) + idle
                weight = speed * speed
                brings[k] = weight * now[k]
                keep[k] = 1.0 - weight
            drift(path, bring, value, a, b, n, row[n - 1] if b > n else 0.0, row_of(state, s), 3)
