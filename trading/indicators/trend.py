"""Direction, extremes and crossings. float64[symbols, bars] each → same shape. Missing bars: see `rows`."""

import numpy as np

from trading.indicators.extremes import bars_since, extreme_of
from trading.indicators.lanes import fma, row_of, where
from trading.indicators.passes import decay, four, stride_from
from trading.indicators.rows import TILE, WHOLE, bars_near, compiled, compiled_making_arrays, kernel, nothing_of
from trading.indicators.volatility import range_of


@kernel(memory=lambda n: n, state=2, work=2)
def highest(first, last, state, work, x, out, n):
    """Highest of the last n bars, this one included. First value at bar n - 1."""
    for s in range(x.shape[0]):
        extreme_of(x[s], work[0, s], work[1, s], out[0, s], first[s], last[s], 0, n, 1.0, state[s], 0)


@kernel(memory=lambda n: n, state=2, work=2)
def lowest(first, last, state, work, x, out, n):
    """Lowest of the last n bars, this one included. First value at bar n - 1."""
    for s in range(x.shape[0]):
        extreme_of(x[s], work[0, s], work[1, s], out[0, s], first[s], last[s], 0, n, -1.0, state[s], 0)


@kernel(memory=lambda n: n, state=4, work=3, outputs=3)
def donchian(first, last, state, work, high, low, out, n):
    """Upper, middle, lower channel: extremes of the last n bars, this one included. First value at bar n - 1.

    This bar included, as charts draw it: a break of the channel is a close beyond yesterday's, donchian_upper(20)[1].
    """
    for s in range(high.shape[0]):
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            upper, middle, lower = out[0, s], out[1, s], out[2, s]
            extreme_of(high[s], work[0, s], work[2, s], upper, a, b, 0, n, 1.0, state[s], 0)
            extreme_of(low[s], work[1, s], work[2, s], lower, a, b, 0, n, -1.0, state[s], 2)
            for i in range(a, b):
                middle[i] = (upper[i] + lower[i]) * 0.5


donchian_upper = donchian.output(0)
donchian_middle = donchian.output(1)
donchian_lower = donchian.output(2)


@kernel(memory=lambda n: 2 * n + 1, state=12, work=1, outputs=3, turned=True)
def directional(first, last, state, work, high, low, close, out, n):
    """ADX, +DI and -DI, 0 to 100. First DI at bar n, first ADX at bar 2 n - 1, the mean of n DX. Wilder 1978.

    Seeded as in Wilder's book, with n moves; TA-Lib begins with n - 1 and agrees once the seed has faded. No movement
    in either direction: 0. -DM counts only where it exceeds +DM, and the other way round.
    """
    for s in range(close.shape[0]):
        for start in range(first[s], last[s], bars_near(close)):
            a, b = start & WHOLE, min(start + bars_near(close), last[s])
            top, bottom = row_of(high, s), row_of(low, s)
            mean, rise, fall, reach = row_of(out[0], s), row_of(out[1], s), row_of(out[2], s), row_of(work[0], s)
            kept, end = row_of(state, s), row_of(close, s)
            begin = stride_from(top, a, b, n, kept[2])
            _directed_by_steps(top, bottom, end, mean, rise, fall, reach, a, begin, n, kept)
            if begin < b:
                _directed_by_strides(top, bottom, end, mean, rise, fall, begin, b, n, kept)
                _directed_by_steps(top, bottom, end, mean, rise, fall, reach, begin + (b - begin) // 4 * 4, b, n, kept)
            decay(mean, mean, a, b, n, n, 1.0 / n, kept, 9)


@compiled
def _moved(now, then, under, before):
    """How far up and how far down a bar went beyond the one before, the lesser of the two as 0."""
    up = max(now - then, 0.0)
    down = max(before - under, 0.0)
    return where(up > down, up, 0.0), where(down > up, down, 0.0)


@compiled
def _moves(top, bottom, rise, fall, a, b):
    begin = max(a, 1)
    now, then, under, before = top[begin:b], top[begin - 1 : b], bottom[begin:b], bottom[begin - 1 : b]
    into_rise, into_fall = rise[begin:b], fall[begin:b]
    for k in range(into_rise.size):
        into_rise[k], into_fall[k] = _moved(now[k], then[k], under[k], before[k])


@compiled
def _apart(up, down):
    """DX of mean moves."""
    both = up + down
    quotient = 100.0 * (abs(up - down) / both)
    return where(both != 0.0, quotient, 0.0)


@compiled
def _direction(up, down, reach):
    """DX, +DI and -DI of mean moves and a mean range."""
    unit = 100.0 / reach
    rests = reach != 0.0
    return _apart(up, down), where(rests, up * unit, 0.0), where(rests, down * unit, 0.0)


@compiled
def _directed_by_steps(top, bottom, close, mean, rise, fall, reach, a, b, n, kept):
    _moves(top, bottom, rise, fall, a, b)
    range_of(top, bottom, close, reach, a, b)
    decay(rise, rise, a, b, 1, n, 1.0 / n, kept, 0)
    decay(fall, fall, a, b, 1, n, 1.0 / n, kept, 3)
    decay(reach, reach, a, b, 1, n, 1.0 / n, kept, 6)
    ups, downs, ranges, apart = rise[a:b], fall[a:b], reach[a:b], mean[a:b]
    for k in range(apart.size):
        apart[k], ups[k], downs[k] = _direction(ups[k], downs[k], ranges[k])


@compiled
def _directed_by_strides(top, bottom, close, mean, rise, fall, a, b, n, kept):
    """The same four bars at a time: bars that are whole, from the beginning of a stride on."""
    up, down, reach, weight = kept[0], kept[3], kept[6], 1.0 / n
    now, under, ends, then, low = top[a:b], bottom[a:b], close[a - 1 : b], top[a - 1 : b], bottom[a - 1 : b]
    ups, downs, apart = rise[a:b], fall[a:b], mean[a:b]
    for k in range(apart.size // 4):
        j = 4 * k
        u1, d1 = _moved(now[j], then[j], under[j], low[j])
        u2, d2 = _moved(now[j + 1], now[j], under[j + 1], under[j])
        u3, d3 = _moved(now[j + 2], now[j + 1], under[j + 2], under[j + 1])
        u4, d4 = _moved(now[j + 3], now[j + 2], under[j + 3], under[j + 2])
        u1, u2, u3, up = four(up, weight, u1, u2, u3, u4)
        d1, d2, d3, down = four(down, weight, d1, d2, d3, d4)
        r1, r2, r3, reach = four(
            reach, weight,
            max(now[j], ends[j]) - min(under[j], ends[j]),
            max(now[j + 1], ends[j + 1]) - min(under[j + 1], ends[j + 1]),
            max(now[j + 2], ends[j + 2]) - min(under[j + 2], ends[j + 2]),
            max(now[j + 3], ends[j + 3]) - min(under[j + 3], ends[j + 3]),
        )  # fmt: skip
        apart[j], ups[j], downs[j] = _direction(u1, d1, r1)
        apart[j + 1], ups[j + 1], downs[j + 1] = _direction(u2, d2, r2)
        apart[j + 2], ups[j + 2], downs[j + 2] = _direction(u3, d3, r3)
        apart[j + 3], ups[j + 3], downs[j + 3] = _direction(up, down, reach)
    kept[0], kept[3], kept[6] = up, down, reach


@kernel(memory=lambda n: 2 * n + 1, state=9, work=2, poisons=True, turned=True)
def adx(first, last, state, work, high, low, close, out, n):
    """ADX, 0 to 100, with the bits of `directional`: of DX alone the ranges fall out. First ADX at bar 2 n - 1."""
    for s in range(close.shape[0]):
        top, bottom, end = row_of(high, s), row_of(low, s), row_of(close, s)
        rise, fall, mean, kept = row_of(work[0], s), row_of(work[1], s), row_of(out[0], s), row_of(state, s)
        for start in range(first[s], last[s], bars_near(close)):
            a, b = start & WHOLE, min(start + bars_near(close), last[s])
            begin = stride_from(top, a, b, n, kept[2])
            _apart_by_steps(top, bottom, end, mean, rise, fall, a, begin, n, kept)
            if begin < b:
                _apart_by_strides(top, bottom, end, mean, begin, b, n, kept)
                _apart_by_steps(top, bottom, end, mean, rise, fall, begin + (b - begin) // 4 * 4, b, n, kept)
            decay(mean, mean, a, b, n, n, 1.0 / n, kept, 6)


@compiled
def _apart_by_steps(top, bottom, close, mean, rise, fall, a, b, n, kept):
    _moves(top, bottom, rise, fall, a, b)
    begin = max(a, 1)
    now, under, end, into = top[begin:b], bottom[begin:b], close[begin:b], rise[begin:b]
    for k in range(into.size):
        into[k] += (now[k] + under[k] + end[k]) * 0.0  # of what is no number a comparison makes one
    if a <= 1 and b > 1:
        rise[1] += (top[0] + bottom[0] + close[0]) * 0.0
    decay(rise, rise, a, b, 1, n, 1.0 / n, kept, 0)
    decay(fall, fall, a, b, 1, n, 1.0 / n, kept, 3)
    ups, downs, apart = rise[a:b], fall[a:b], mean[a:b]
    for k in range(apart.size):
        apart[k] = _apart(ups[k], downs[k])


@compiled
def _apart_by_strides(top, bottom, close, mean, a, b, n, kept):
    """The same four bars at a time: bars that are whole, from the beginning of a stride on."""
    up, down, weight = kept[0], kept[3], 1.0 / n
    nothing = up * 0.0
    now, under, end, then, low, apart = top[a:b], bottom[a:b], close[a:b], top[a - 1 : b], bottom[a - 1 : b], mean[a:b]
    for k in range(apart.size // 4):
        j = 4 * k
        u1, d1 = _moved(now[j], then[j], under[j], low[j])
        u2, d2 = _moved(now[j + 1], now[j], under[j + 1], under[j])
        u3, d3 = _moved(now[j + 2], now[j + 1], under[j + 2], under[j + 1])
        u4, d4 = _moved(now[j + 3], now[j + 2], under[j + 3], under[j + 2])
        u1, u2, u3, up = four(up, weight, u1, u2, u3, u4)
        d1, d2, d3, down = four(down, weight, d1, d2, d3, d4)
        apart[j], apart[j + 1], apart[j + 2], apart[j + 3] = (
            _apart(u1, d1), _apart(u2, d2), _apart(u3, d3), _apart(up, down),
        )  # fmt: skip
        tops = (now[j] + now[j + 1]) + (now[j + 2] + now[j + 3])
        bottoms = (under[j] + under[j + 1]) + (under[j + 2] + under[j + 3])
        ends = (end[j] + end[j + 1]) + (end[j + 2] + end[j + 3])
        nothing = fma((tops + bottoms) + ends, 0.0, nothing)  # of what is no number a comparison makes one
    kept[0], kept[3] = up + nothing, down
    apart[(b - a) // 4 * 4 - 1] += nothing


plus_di = directional.output(1)
minus_di = directional.output(2)


@kernel(memory=lambda n: n + 1, state=2, work=4, outputs=3)
def aroon(first, last, state, work, high, low, out, n):
    """Aroon up, down and up - down: 100 · (n - bars since the highest high of n + 1 bars) / n. First value at bar n.

    Of equal extremes the latest counts, as in TA-Lib. Bar by bar, when an extreme leaves the window, its successor is
    looked for among n bars; else a bar costs one step. Chande 1995.
    """
    scale = 100.0 / n
    for s in range(high.shape[0]):
        a, b, up, down, rest = first[s], last[s], out[0, s], out[1, s], out[2, s]
        alone = b if b - a == 1 else min(b, n)
        since_high, since_low = int(state[s, 0]), int(state[s, 1])
        for i in range(a, alone):
            since_high = _bars_since(high[s], i, n, 1.0, since_high)
            since_low = _bars_since(low[s], i, n, -1.0, since_low)
            up[i] = since_high if i >= n else np.nan
            down[i] = since_low if i >= n else np.nan
        if b > max(a, alone):
            value, other, place, moved = work[0, s], work[1, s], work[2, s], work[3, s]
            bars_since(high[s], value, other, place, moved, up, max(a, alone), b, n, 1.0)
            bars_since(low[s], value, other, place, moved, down, max(a, alone), b, n, -1.0)
            since_high, since_low = int(up[b - 1]), int(down[b - 1])
        state[s, 0] = since_high
        state[s, 1] = since_low
        risen, fallen, apart = up[a:b], down[a:b], rest[a:b]
        for k in range(apart.size):
            risen[k] = (n - risen[k]) * scale
            fallen[k] = (n - fallen[k]) * scale
            apart[k] = risen[k] - fallen[k]


@compiled
def _bars_since(x, i, n, sign, since):
    """Bars since the extreme of the last n + 1, given what it was a bar ago."""
    if i == 0:
        return 0
    value = sign * x[i]
    if value >= sign * x[i - 1 - since]:
        return 0
    if since < n:
        return since + 1
    best = value
    since = 0
    for back in range(1, n + 1):
        if sign * x[i - back] > best:
            best = sign * x[i - back]
            since = back
    return since


aroon_up = aroon.output(0)
aroon_down = aroon.output(1)
aroon_oscillator = aroon.output(2)


@kernel(memory=lambda n, width: n + 1, state=6, work=1, outputs=2)
def supertrend_lines(first, last, state, work, high, low, close, out, n, width):
    """Supertrend line, rupees, and its direction, 1 or -1. First value at bar n, where the ATR begins, rising.

    Bands: (high + low) / 2 ± width · ATR of n; a band moves only towards the price until the close goes through it.
    Seban's rule as charting programs draw it.
    """
    for s in range(close.shape[0]):
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            reach, row = work[0, s], close[s]
            range_of(high[s], low[s], row, reach, a, b)
            decay(reach, reach, a, b, 1, n, 1.0 / n, state[s], 0)
            above, below, way = state[s, 3], state[s, 4], state[s, 5]
            for i in range(a, b):
                if i < n:
                    out[0, s, i] = np.nan
                    out[1, s, i] = np.nan
                    continue
                middle = (high[s, i] + low[s, i]) * 0.5
                over = middle + width * reach[i]
                under = middle - width * reach[i]
                if i == n:
                    above, below, way = over, under, 1.0
                else:
                    above = over if over < above or row[i - 1] > above else above
                    below = under if under > below or row[i - 1] < below else below
                    if way > 0.0:
                        way = 1.0 if row[i] >= below else -1.0
                    else:
                        way = 1.0 if row[i] > above else -1.0
                out[0, s, i] = below if way > 0.0 else above
                out[1, s, i] = way
            state[s, 3] = above
            state[s, 4] = below
            state[s, 5] = way


supertrend = supertrend_lines.output(0)
supertrend_direction = supertrend_lines.output(1)


@kernel(memory=lambda step, limit: 1, state=4)
def psar(first, last, state, work, high, low, out, step, limit):
    """Parabolic stop and reverse, rupees: the stop that holds during the bar. First value at bar 1. Wilder 1978.

    The acceleration begins at `step`, grows by it with each new extreme, up to `limit`. The first direction is that of
    the first two bars (falling when the low fell by more than the high rose), as in TA-Lib.
    """
    for s in range(high.shape[0]):
        stop, extreme, pace, rising = state[s, 0], state[s, 1], state[s, 2], state[s, 3] > 0.0
        for i in range(first[s], last[s]):
            if i == 0:
                out[0, s, i] = np.nan
                continue
            top, bottom, before_top, before_bottom = high[s, i], low[s, i], high[s, i - 1], low[s, i - 1]
            if i == 1:
                down = before_bottom - bottom
                rising = not (down > 0.0 and down > top - before_top)
                stop = before_bottom if rising else before_top
                extreme = top if rising else bottom
                pace = min(step, limit)
                before_top, before_bottom = top, bottom
            if rising and bottom <= stop:
                rising = False
                stop = max(extreme, before_top, top)
                out[0, s, i] = stop
                pace = min(step, limit)
                extreme = bottom
                stop = max(stop + pace * (extreme - stop), before_top, top)
            elif not rising and top >= stop:
                rising = True
                stop = min(extreme, before_bottom, bottom)
                out[0, s, i] = stop
                pace = min(step, limit)
                extreme = top
                stop = min(stop + pace * (extreme - stop), before_bottom, bottom)
            else:
                out[0, s, i] = stop
                if rising and top > extreme:
                    extreme = top
                    pace = min(pace + step, limit)
                elif not rising and bottom < extreme:
                    extreme = bottom
                    pace = min(pace + step, limit)
                stop = stop + pace * (extreme - stop)
                stop = min(stop, before_bottom, bottom) if rising else max(stop, before_top, top)
        state[s, 0] = stop
        state[s, 1] = extreme
        state[s, 2] = pace
        state[s, 3] = 1.0 if rising else -1.0


@kernel(memory=lambda conversion, base, span: max(conversion, base, span) + base, state=12, work=14, outputs=4)
def ichimoku(first, last, state, work, high, low, out, conversion, base, span):
    """Conversion line, base line, leading spans A and B, rupees: middles of the extremes of 9, 26 and 52 bars.

    The spans are those under the present bar, reckoned `base` bars ago; nothing looks ahead. The lagging span is the
    close itself: compare close with close[26]. First values at bars conversion - 1, base - 1,
    max(conversion, base) - 1 + base, span - 1 + base. Hosoda 1969.
    """
    for s in range(high.shape[0]):
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            top, bottom, spare = high[s], low[s], work[13, s]
            _middle(top, bottom, work[0, s], work[1, s], work[2, s], work[3, s], spare, a, b, conversion, state[s], 0)
            _middle(top, bottom, work[4, s], work[5, s], work[6, s], work[7, s], spare, a, b, base, state[s], 4)
            _middle(top, bottom, work[8, s], work[9, s], work[10, s], work[11, s], spare, a, b, span, state[s], 8)
            for i in range(a, b):
                short, long = work[0, s, i], work[4, s, i]
                work[12, s, i] = (short + long) * 0.5
                out[0, s, i] = short
                out[1, s, i] = long
                out[2, s, i] = work[12, s, i - base] if i >= base else np.nan
                out[3, s, i] = work[8, s, i - base] if i >= base else np.nan


@compiled
def _middle(high, low, middle, other, best, worst, spare, first, last, n, state, at):
    extreme_of(high, best, spare, middle, first, last, 0, n, 1.0, state, at)
    extreme_of(low, worst, spare, other, first, last, 0, n, -1.0, state, at + 2)
    for i in range(first, last):
        middle[i] = (middle[i] + other[i]) * 0.5


ichimoku_conversion = ichimoku.output(0)
ichimoku_base = ichimoku.output(1)
ichimoku_span_a = ichimoku.output(2)
ichimoku_span_b = ichimoku.output(3)


@compiled_making_arrays
def crosses_above(x, y):
    """bool[symbols, bars]: x is above y now and was not at the previous bar where both exist."""
    out = np.zeros(x.shape, dtype=np.bool_)
    for s in range(x.shape[0]):
        _crossed(x[s], y[s], out[s])
    return out


@compiled_making_arrays
def crosses_below(x, y):
    """bool[symbols, bars]: x is below y now and was not at the previous bar where both exist."""
    return crosses_above(y, x)


@compiled
def _crossed(x, y, out):
    """One row; `out` is all false before. Where both are known to the end, every bar asks for itself, many at once."""
    first = 0
    while first < x.size and not (np.isfinite(x[first]) and np.isfinite(y[first])):
        first += 1
    if nothing_of(x[first:]) + nothing_of(y[first:]) == 0.0:
        into, now, other = out[first + 1 :], x[first + 1 :], y[first + 1 :]
        before, other_before = x[first:], y[first:]
        for k in range(into.size):
            into[k] = (now[k] > other[k]) & (before[k] <= other_before[k])
        return
    last_known = first
    for i in range(first + 1, x.size):
        if np.isfinite(x[i]) and np.isfinite(y[i]):
            out[i] = x[i] > y[i] and x[last_known] <= y[last_known]
            last_known = i
