"""Moving averages. float64[symbols, bars] and a period in bars → float64 of the same shape, in the unit of the input.

Missing bars: see `rows`. Sources: TA-Lib's conventions, unless said otherwise.
"""

from trading.indicators.compensated import STATE, mean_of_all
from trading.indicators.lanes import count_of, fma, row_of
from trading.indicators.passes import decay, decay_all, divide, drift, next_strides, renewal_of, slide, steps, weigh
from trading.indicators.rows import WHOLE, bars_near, compiled, kernel

TINY = 1e-300  # in place of a path of no length


@kernel(memory=lambda n: n, state=STATE, poisons=True, turned=True, by_bars=True)
def sma(first, last, state, work, x, out, n):
    """Simple mean of the last n bars. First value at bar n - 1.

    Summed with compensation (Kahan), what leaves before what enters, and flat prices give the price itself: the bits of
    pandas' rolling mean. Two averages that meet in the decimal world then part, or do not, as they do there, so rules
    on crossings fire on the same bars as in published results.
    """
    mean_of_all(x, out[0], first, last, n, state)


@kernel(memory=lambda n: n, state=3, poisons=True, by_bars=True)
def ema(first, last, state, work, x, out, n):
    """Exponential mean, weight 2 / (n + 1), seeded with the simple mean of the first n bars. First value at bar n - 1.

    Other programs seed with the first price; the two agree once the seed has faded (see `settling` in the registry).
    """
    decay_all(x, out[0], first, last, 0, n, 2.0 / (n + 1), state, 0)


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


@kernel(memory=lambda n, fast, slow: n + 1, state=7, work=2, poisons=True, turned=True)
def kama(first, last, state, work, x, out, n, fast, slow):
    """Kaufman's adaptive average: as fast as EMA `fast` in a straight move, as slow as EMA `slow` in noise.

    First value at bar n, from the price of bar n - 1 (TA-Lib's seed; other programs begin with the price of bar n).
    No way made in n bars: as slow as can be (TA-Lib takes a window without movement for a straight one). Kaufman 1995.
    """
    quick = 2.0 / (fast + 1)
    idle = 2.0 / (slow + 1)
    renew = renewal_of(n)
    for s in range(x.shape[0]):
        row, moved, keep, value = row_of(x, s), row_of(work[0], s), row_of(work[1], s), row_of(out[0], s)
        bring, kept = value, row_of(state, s)
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            if a == 0 and b > 0:
                moved[0] = 0.0
            while a < b:
                alone, strides = next_strides(row, a, b, n, kept[2], renew)
                if alone > 0:
                    _paces_by_steps(row, moved, keep, bring, a, a + alone, n, quick, idle, kept)
                    seed = row[n - 1] if a + alone > n else 0.0
                    drift(keep, bring, value, a, a + alone, n, seed, kept, 3)
                    a += alone
                if strides > 0:
                    _adapted_by_strides(row, moved, value, a, a + 4 * strides, n, quick, idle, kept)
                    a += 4 * strides


@compiled
def _pace(price, then, path, quick, idle):
    """How much of the average stays, and what this bar brings to it; path: how far the bars since `then` went."""
    change = abs(price - then)
    ratio = change / max(max(path, change), TINY)
    speed = ratio * (quick - idle) + idle
    weight = speed * speed
    return 1.0 - weight, weight * price


@compiled
def _paces_by_steps(row, moved, keep, bring, a, b, n, quick, idle, kept):
    path = keep
    steps(row, moved, a, b)
    slide(moved, path, a, b, 1, n, kept, 0)
    begin = max(a, n)
    now, then, keeps, brings = row[begin:b], row[begin - n : b], keep[begin:b], bring[begin:b]
    for k in range(now.size):
        keeps[k], brings[k] = _pace(now[k], then[k], keeps[k], quick, idle)


@compiled
def _adapted_by_strides(row, moved, out, a, b, n, quick, idle, kept):
    """Paces and average four bars at a time: what `slide` and `drift` make of them, one division beside the next."""
    path, at, gone = kept[0], (kept[3], kept[4], kept[5]), count_of(kept[6])
    now, before, then, left = row[a:b], row[a - 1 : b], row[a - n : b], moved[a - n : b]
    into, value = moved[a:b], out[a:b]
    for k in range(value.size // 4):
        j = 4 * k
        m1, m2 = abs(now[j] - before[j]), abs(now[j + 1] - now[j])
        m3, m4 = abs(now[j + 2] - now[j + 1]), abs(now[j + 3] - now[j + 2])
        into[j], into[j + 1], into[j + 2], into[j + 3] = m1, m2, m3, m4  # of three bars or fewer some leave at once
        c1 = m1 - left[j]
        c2 = c1 + (m2 - left[j + 1])
        c3 = c2 + (m3 - left[j + 2])
        c4 = c3 + (m4 - left[j + 3])
        one, two = (
            _pace(now[j], then[j], path + c1, quick, idle),
            _pace(now[j + 1], then[j + 1], path + c2, quick, idle),
        )
        three = _pace(now[j + 2], then[j + 2], path + c3, quick, idle)
        path += c4
        four = _pace(now[j + 3], then[j + 3], path, quick, idle)
        value[j], at = _drifted(one, at, gone)
        value[j + 1], at = _drifted(two, at, (gone + 1) & 3)
        value[j + 2], at = _drifted(three, at, (gone + 2) & 3)
        value[j + 3], at = _drifted(four, at, (gone + 3) & 3)
    kept[0], kept[3], kept[4], kept[5] = path, at[0], at[1], at[2]
    kept[2] += float(b - a)


@compiled
def _drifted(pace, at, gone):
    """One bar of `drift`; at: the value before its stride, what is kept of it and what came since; gone: bars since."""
    (keep, bring), (base, held, part) = pace, at
    if gone == 0:
        held, part = keep, bring
    else:
        held, part = held * keep, fma(keep, part, bring)
    value = fma(held, base, part)
    return value, (value if gone == 3 else base, held, part)
