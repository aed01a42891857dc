"""The inner loops of many kernels: running means and sums over dense rows of float64[bars].

A recursion waits for its own last result. These take four bars at a stride instead: what the four bring along is
reckoned beside the wait, and only one step in four depends on the one before. A bar's place in its stride is part of
the memory (`state`), so the same bars give the same bits, whether they come one by one or all at once.
"""

import numpy as np
from numba.extending import overload

from trading.indicators.lanes import count_of, fma, lanes, row_of, where
from trading.indicators.rows import compiled

REFRESH = 256  # bars after which a running sum is formed anew, so that rounding errors do not pile up


@compiled
def renewal_of(n):
    """Bars after which a running sum of n bars is formed anew."""
    return max(REFRESH, (n + 3) // 4 * 4)


@compiled
def decay(x, out, first, last, begin, n, weight, state, at):
    """out[i] = (1 - weight) · out[i - 1] + weight · x[i], seeded at bar begin + n - 1 with the mean of n; NaN before.

    `x` counts from bar `begin`. `x` and `out` may be the same row. Uses state[at : at + 3].
    """
    keep = 1.0 - weight
    keep2 = keep * keep
    keep3 = keep2 * keep
    keep4 = keep2 * keep2
    base = state[at]
    part = state[at + 1]
    stride = count_of(state[at + 2])
    i = first
    seed = begin + n - 1
    while i < last and i <= seed:
        if i >= begin:
            base += x[i]
        if i == seed:
            base /= n
            out[i] = base
        else:
            out[i] = np.nan
        i += 1
    while i < last:
        if stride == 0 and i + 4 <= last:
            p = x[i:last]
            o = out[i:last]
            whole = (last - i) // 4
            for k in range(whole):
                j = 4 * k
                c1 = weight * p[j]
                c2 = fma(keep, c1, weight * p[j + 1])
                c3 = fma(keep, c2, weight * p[j + 2])
                c4 = fma(keep, c3, weight * p[j + 3])
                o[j] = fma(keep, base, c1)
                o[j + 1] = fma(keep2, base, c2)
                o[j + 2] = fma(keep3, base, c3)
                base = fma(keep4, base, c4)
                o[j + 3] = base
            i += 4 * whole
            continue
        part = fma(keep, part, weight * x[i])
        stride += 1
        if stride == 1:
            out[i] = fma(keep, base, part)
        elif stride == 2:
            out[i] = fma(keep2, base, part)
        elif stride == 3:
            out[i] = fma(keep3, base, part)
        else:
            base = fma(keep4, base, part)
            out[i] = base
            part = 0.0
            stride = 0
        i += 1
    state[at] = base
    state[at + 1] = part
    state[at + 2] = stride


def decay_all(x, out, first, last, begin, n, weight, state, at):
    """`decay` of every row of x into that of out; of neighbouring groups of lanes a bar of all before the next."""


@overload(decay_all)
def _decay_all(x, out, first, last, begin, n, weight, state, at):
    def in_turn(x, out, first, last, begin, n, weight, state, at):
        for s in range(x.shape[0]):
            decay(row_of(x, s), row_of(out, s), first[s], last[s], begin, n, weight, row_of(state, s), at)

    def abreast(x, out, first, last, begin, n, weight, state, at):
        a, b = first[0], last[0]
        middle = b if x.shape[0] == 1 else stride_from(row_of(x, 0), a, b, begin + n - 1, row_of(state, 0)[at + 2])
        end = middle + (b - middle) // 4 * 4
        for s in range(x.shape[0]):
            decay(row_of(x, s), row_of(out, s), a, middle, begin, n, weight, row_of(state, s), at)
        _decay_by_bars(x, out, middle, end, weight, state, at)
        for s in range(x.shape[0]):
            decay(row_of(x, s), row_of(out, s), end, b, begin, n, weight, row_of(state, s), at)

    return abreast if x.ndim == 3 else in_turn


@compiled
def _decay_by_bars(x, out, a, b, weight, state, at):
    """Whole strides of neighbouring groups in the order in which their bars lie, which memory foresees."""
    powers = powers_of(weight)
    for i in range(a, b, 4):
        for place in range(4):
            for s in range(x.shape[0]):
                brought = weight * row_of(x, s)[i + place]
                row_of(out, s)[i + place] = stride_on(row_of(state, s), at, brought, powers, place)


@compiled
def powers_of(weight):
    """What a mean keeps of its past after one bar, two, three, four."""
    keep = 1.0 - weight
    keep2 = keep * keep
    return keep, keep2, keep2 * keep, keep2 * keep2


@compiled
def stride_on(kept, at, brought, powers, place):
    """What `decay` makes of one bar of a stride, the first (0) to the last (3); brought: weight · x."""
    part = brought if place == 0 else fma(powers[0], kept[at + 1], brought)
    mean = fma(powers[place], kept[at], part)
    if place == 3:
        kept[at], kept[at + 1] = mean, 0.0
    else:
        kept[at + 1] = part
    return mean


@compiled
def four(base, weight, one, two, three, more):
    """What `decay` makes of four bars at the beginning of a stride; the last of them is the next base."""
    keep = 1.0 - weight
    keep2 = keep * keep
    keep3 = keep2 * keep
    keep4 = keep2 * keep2
    c1 = weight * one
    c2 = fma(keep, c1, weight * two)
    c3 = fma(keep, c2, weight * three)
    c4 = fma(keep, c3, weight * more)
    return fma(keep, base, c1), fma(keep2, base, c2), fma(keep3, base, c3), fma(keep4, base, c4)


def stride_from(x, first, last, seed, strode):
    """First bar at which a stride begins, all four bars of it before `last`; of a plain row: `last`.

    The first stride follows upon bar `seed`; `strode`: bars gone of the one that was left unfinished.

    Lanes gain by taking four bars through all steps at once: they stay in registers, and a division runs beside the
    rest. A plain row gains more where each step is a loop of its own, which the compiler makes eight bars wide.
    """


@overload(stride_from)
def _stride_from(x, first, last, seed, strode):
    if x.dtype != lanes:
        return lambda x, first, last, seed, strode: last

    def begin(x, first, last, seed, strode):
        bar = seed + 1 if first <= seed else first + (4 - count_of(strode)) % 4
        return bar if bar + 4 <= last else last

    return begin


def next_strides(x, first, last, seed, age, renew):
    """Bars to take one by one from `first` on, and the strides that follow them; of a plain row: all, and none.

    For running sums: begun at bar `seed`, `age` bars old and formed anew when they are `renew`.
    """


@overload(next_strides)
def _next_strides(x, first, last, seed, age, renew):
    if x.dtype != lanes:
        return lambda x, first, last, seed, age, renew: (last - first, 0)

    def begin(x, first, last, seed, age, renew):
        if first <= seed:
            return min(seed + 1, last) - first, 0
        gone = count_of(age)
        if gone % 4 != 0 or gone == renew:
            return 1, 0
        strides = min(last - first, renew - gone) // 4
        return (last - first if strides == 0 else 0), strides

    return begin


@compiled
def part_moves(x, up, down, first, last):
    """The rise and the fall of each bar, one of them 0; nothing at bar 0."""
    begin = max(first, 1)
    now, then, rise, fall = x[begin:last], x[begin - 1 : last], up[begin:last], down[begin:last]
    for k in range(now.size):
        change = now[k] - then[k]
        rise[k] = max(change, 0.0)
        fall[k] = max(-change, 0.0)


@compiled
def share_of(p, r):
    """`share` of one bar."""
    both = p + r
    quotient = 100.0 * (p / both)
    return where(both != 0.0, quotient, 50.0)


@compiled
def share(part, rest, first, last):
    """100 · part / (part + rest), in the place of rest; 50 where both are 0."""
    p, r = part[first:last], rest[first:last]
    for k in range(r.size):
        r[k] = share_of(p[k], r[k])


@compiled
def steps(x, moved, first, last):
    """How far each bar is from the one before, without sign; nothing at bar 0."""
    begin = max(first, 1)
    now, then, into = x[begin:last], x[begin - 1 : last], moved[begin:last]
    for k in range(into.size):
        into[k] = abs(now[k] - then[k])


@compiled
def within(x, top, bottom, out, first, last, scale, at_rest):
    """out = scale · (x - bottom) / (top - bottom); `at_rest` where there is no room between them."""
    v, t, b, o = x[first:last], top[first:last], bottom[first:last], out[first:last]
    for k in range(o.size):
        reach = t[k] - b[k]
        quotient = scale * ((v[k] - b[k]) / reach)
        o[k] = where(reach != 0.0, quotient, at_rest)


@compiled
def typical_of(high, low, close, out, first, last):
    """(high + low + close) / 3."""
    top, bottom, end, into = high[first:last], low[first:last], close[first:last], out[first:last]
    for k in range(into.size):
        total = top[k] + bottom[k] + end[k]
        guess = total * (1.0 / 3.0)
        into[k] = fma(fma(-3.0, guess, total), 1.0 / 3.0, guess)  # total / 3, as in `divide`


@compiled
def add_up(x):
    """Sum of a row, in four parts."""
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    whole = x.size // 4
    for k in range(whole):
        j = 4 * k
        a += x[j]
        b += x[j + 1]
        c += x[j + 2]
        d += x[j + 3]
    for j in range(4 * whole, x.size):
        a += x[j]
    return (a + b) + (c + d)


@compiled
def slide(x, out, first, last, begin, n, state, at):
    """out[i] = sum of the last n of x; NaN before bar begin + n - 1. `x` counts from bar `begin`.

    `x` and `out` are different rows. Uses state[at : at + 3].
    """
    base = state[at]
    part = state[at + 1]
    age = count_of(state[at + 2])
    renew = renewal_of(n)
    i = first
    seed = begin + n - 1
    while i < last and i < seed:
        out[i] = np.nan
        i += 1
    while i < last:
        if i == seed or age == renew:
            base = add_up(x[i - n + 1 : i + 1]) + base * 0.0  # what was no number once stays none
            out[i] = base
            part = 0.0
            age = 0
            i += 1
            continue
        run = min(last - i, renew - age)
        if age % 4 == 0 and run >= 4:
            whole = run // 4
            new = x[i : i + run]
            old = x[i - n : i - n + run]
            o = out[i : i + run]
            for k in range(whole):
                j = 4 * k
                c1 = new[j] - old[j]
                c2 = c1 + (new[j + 1] - old[j + 1])
                c3 = c2 + (new[j + 2] - old[j + 2])
                c4 = c3 + (new[j + 3] - old[j + 3])
                o[j] = base + c1
                o[j + 1] = base + c2
                o[j + 2] = base + c3
                base += c4
                o[j + 3] = base
            i += 4 * whole
            age += 4 * whole
            continue
        part += x[i] - x[i - n]
        age += 1
        out[i] = base + part
        if age % 4 == 0:
            base += part
            part = 0.0
        i += 1
    state[at] = base
    state[at + 1] = part
    state[at + 2] = age


@compiled
def divide(x, first, last, n):
    """x[i] / n in place, correctly rounded without dividing (Markstein 1990)."""
    inverse = 1.0 / n
    size = float(n)
    row = x[first:last]
    for i in range(row.size):
        row[i] = mean_of_sum(row[i], inverse, size)


@compiled
def mean_of_sum(total, inverse, size):
    """total / size, given 1 / size."""
    guess = total * inverse
    return fma(fma(-size, guess, total), inverse, guess)


@compiled
def weigh(x, out, first, last, n, state, at):
    """out[i] = n · x[i] + (n - 1) · x[i - 1] + … + x[i - n + 1]; NaN before bar n - 1. Uses state[at : at + 5]."""
    plain = state[at]
    plain_part = state[at + 1]
    base = state[at + 2]
    part = state[at + 3]
    age = count_of(state[at + 4])
    renew = renewal_of(n)
    size = float(n)
    i = first
    while i < last and i < n - 1:
        out[i] = np.nan
        i += 1
    while i < last:
        if i == n - 1 or age == renew:
            window = x[i - n + 1 : i + 1]
            plain = add_up(window)
            base = 0.0
            for k in range(window.size):
                base = fma(k + 1.0, window[k], base)
            out[i] = base
            plain_part = 0.0
            part = 0.0
            age = 0
            i += 1
            continue
        run = min(last - i, renew - age)
        if age % 4 == 0 and run >= 4:
            whole = run // 4
            new = x[i : i + run]
            old = x[i - n : i - n + run]
            o = out[i : i + run]
            for k in range(whole):
                j = 4 * k
                c1 = new[j] - old[j]
                c2 = c1 + (new[j + 1] - old[j + 1])
                c3 = c2 + (new[j + 2] - old[j + 2])
                c4 = c3 + (new[j + 3] - old[j + 3])
                f1 = size * new[j]
                f2 = fma(size, new[j + 1], f1 - c1)
                f3 = fma(size, new[j + 2], f2 - c2)
                f4 = fma(size, new[j + 3], f3 - c3)
                o[j] = fma(-1.0, plain, base + f1)
                o[j + 1] = fma(-2.0, plain, base + f2)
                o[j + 2] = fma(-3.0, plain, base + f3)
                base = fma(-4.0, plain, base + f4)
                o[j + 3] = base
                plain += c4
            i += 4 * whole
            age += 4 * whole
            continue
        part = fma(size, x[i], part - plain_part)
        plain_part += x[i] - x[i - n]
        age += 1
        step = age % 4
        if step == 0:
            base = fma(-4.0, plain, base + part)
            plain += plain_part
            out[i] = base
            part = 0.0
            plain_part = 0.0
        else:
            out[i] = fma(-float(step), plain, base + part)
        i += 1
    state[at] = plain
    state[at + 1] = plain_part
    state[at + 2] = base
    state[at + 3] = part
    state[at + 4] = age


@compiled
def drift(keep, bring, out, first, last, begin, seed, state, at):
    """out[i] = keep[i] · out[i - 1] + bring[i], beginning at bar `begin` after the value `seed`; NaN before.

    Uses state[at : at + 4].
    """
    base = state[at]
    kept = state[at + 1]
    part = state[at + 2]
    stride = count_of(state[at + 3])
    i = first
    while i < last and i < begin:
        out[i] = np.nan
        i += 1
    if i == begin and i < last:
        base = seed
    while i < last:
        if stride == 0 and i + 4 <= last:
            q = keep[i:last]
            b = bring[i:last]
            o = out[i:last]
            whole = (last - i) // 4
            for k in range(whole):
                j = 4 * k
                q1 = q[j]
                q2 = q1 * q[j + 1]
                q3 = q2 * q[j + 2]
                q4 = q3 * q[j + 3]
                c1 = b[j]
                c2 = fma(q[j + 1], c1, b[j + 1])
                c3 = fma(q[j + 2], c2, b[j + 2])
                c4 = fma(q[j + 3], c3, b[j + 3])
                o[j] = fma(q1, base, c1)
                o[j + 1] = fma(q2, base, c2)
                o[j + 2] = fma(q3, base, c3)
                base = fma(q4, base, c4)
                o[j + 3] = base
            i += 4 * whole
            continue
        kept = keep[i] if stride == 0 else kept * keep[i]
        part = bring[i] if stride == 0 else fma(keep[i], part, bring[i])
        out[i] = fma(kept, base, part)
        stride += 1
        if stride == 4:
            base = out[i]
            stride = 0
        i += 1
    state[at] = base
    state[at + 1] = kept
    state[at + 2] = part
    state[at + 3] = stride


@compiled
def spread_around(x, centre):
    """Sum of the distances of a row's values from `centre`, in four parts."""
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    whole = x.size // 4
    for k in range(whole):
        j = 4 * k
        a += abs(x[j] - centre)
        b += abs(x[j + 1] - centre)
        c += abs(x[j + 2] - centre)
        d += abs(x[j + 3] - centre)
    for j in range(4 * whole, x.size):
        a += abs(x[j] - centre)
    return (a + b) + (c + d)
