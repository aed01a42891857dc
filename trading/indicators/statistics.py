"""Lines, likeness and filters. float64[symbols, bars] each → float64 of the same shape. Missing bars: see `rows`."""

import numpy as np

from trading.indicators.lanes import row_of, where
from trading.indicators.moments import deviation_of
from trading.indicators.passes import REFRESH, add_up, divide, fma, slide, weigh
from trading.indicators.rows import TILE, WHOLE, bars_near, compiled, kernel

AT_REST = 1e-9  # a deviation below this share of the value is rounding, not movement


@kernel(memory=lambda n: n, state=5, outputs=2)
def regression(first, last, state, work, x, out, n):
    """Least-squares line through the last n bars: slope, in units of x a bar, and R², 0 to 1. First value at bar n - 1.

    One bar has no slope: NaN for n = 1. R² of a series at rest: NaN.
    """
    middle = (n + 1) * 0.5
    steps = n * (float(n) * n - 1.0) / 12.0  # sum of squared distances of the bar numbers from their mean
    renew = max(REFRESH, n)
    for s in range(x.shape[0]):
        row, slope, fit = x[s], out[0, s], out[1, s]
        anchor, plain, weighted, squares, age = state[s, 0], state[s, 1], state[s, 2], state[s, 3], int(state[s, 4])
        for i in range(first[s], last[s]):
            if i < n - 1 or n == 1:
                slope[i] = np.nan
                fit[i] = np.nan
                continue
            if i == n - 1 or age == renew:
                window = row[i - n + 1 : i + 1]
                anchor = add_up(window) / n
                plain, weighted, squares, age = 0.0, 0.0, 0.0, 0
                for k in range(window.size):
                    off = window[k] - anchor
                    plain += off
                    weighted = fma(k + 1.0, off, weighted)
                    squares = fma(off, off, squares)
            else:
                new, old = row[i] - anchor, row[i - n] - anchor
                weighted += fma(float(n), new, -plain)
                plain += new - old
                squares = fma(new - old, new + old, squares)
                age += 1
            together = fma(-middle, plain, weighted)
            around = fma(-plain / n, plain, squares)
            slope[i] = together / steps
            quiet = AT_REST * abs(row[i])
            fit[i] = min(together * together / (steps * around), 1.0) if around > n * quiet * quiet else np.nan
        state[s, 0], state[s, 1], state[s, 2], state[s, 3], state[s, 4] = anchor, plain, weighted, squares, age


@kernel(memory=lambda n: n, state=8, work=1)
def slope(first, last, state, work, x, out, n):
    """Slope of the least-squares line through the last n bars, in units of x a bar. First value at bar n - 1.

    The first of `regression`, without its fit and in half the time. One bar has no slope: NaN for n = 1.
    """
    middle = (n + 1) * 0.5
    per_step = 12.0 / (n * (float(n) * n - 1.0)) if n > 1 else np.nan
    for s in range(x.shape[0]):
        plain, value = work[0, s], out[0, s]
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            weigh(x[s], value, a, b, n, state[s], 0)
            slide(x[s], plain, a, b, 0, n, state[s], 5)
            into, total = value[a:b], plain[a:b]
            for k in range(into.size):
                into[k] = fma(-middle, total[k], into[k]) * per_step


r_squared = regression.output(1)


@kernel(memory=lambda n: n, state=9, work=2, lanes=True)
def zscore(first, last, state, work, x, out, n):
    """Distance of x from its mean of n bars, in population deviations of the same bars. First value at bar n - 1.

    Population, as the bands of Bollinger: |z| > 2 is a price outside them. At rest: 0.
    """
    for s in range(x.shape[0]):
        spread, mean, row, value = row_of(work[0], s), row_of(work[1], s), row_of(x, s), row_of(out[0], s)
        for start in range(first[s], last[s], bars_near(x)):
            a, b = start & WHOLE, min(start + bars_near(x), last[s])
            deviation_of(row, spread, a, b, 0, n, row_of(state, s), 0)
            slide(row, mean, a, b, 0, n, row_of(state, s), 6)
            divide(mean, a, b, n)
            for i in range(a, min(b, n - 1)):
                value[i] = np.nan
            for i in range(max(a, n - 1), b):
                distance = (row[i] - mean[i]) / spread[i]
                value[i] = where(spread[i] > AT_REST * abs(mean[i]), distance, 0.0)


@kernel(memory=lambda n: n, state=8, outputs=2)
def likeness(first, last, state, work, x, y, out, n):
    """Correlation of x and y over the last n bars, -1 to 1, and beta of x on y (covariance / variance of y).

    Of the series as they are: for the beta of a stock give returns, beta(roc(close, 1), of-the-index, 60); TA-Lib's
    BETA takes prices and makes the returns itself. Sample or population makes no difference here. First value at bar
    n - 1; NaN where a series is at rest, hence always for n = 1.
    """
    renew = max(REFRESH, n)
    inverse = 1.0 / n
    for s in range(x.shape[0]):
        xs, ys, alike, share = x[s], y[s], out[0, s], out[1, s]
        base_x, base_y, sum_x, sum_y = state[s, 0], state[s, 1], state[s, 2], state[s, 3]
        sum_xx, sum_yy, sum_xy, age = state[s, 4], state[s, 5], state[s, 6], int(state[s, 7])
        for i in range(first[s], last[s]):
            if i < n - 1:
                alike[i] = np.nan
                share[i] = np.nan
                continue
            if i == n - 1 or age == renew:
                base_x = add_up(xs[i - n + 1 : i + 1]) * inverse
                base_y = add_up(ys[i - n + 1 : i + 1]) * inverse
                sum_x, sum_y, sum_xx, sum_yy, sum_xy, age = 0.0, 0.0, 0.0, 0.0, 0.0, 0
                for j in range(i - n + 1, i + 1):
                    u, v = xs[j] - base_x, ys[j] - base_y
                    sum_x += u
                    sum_y += v
                    sum_xx = fma(u, u, sum_xx)
                    sum_yy = fma(v, v, sum_yy)
                    sum_xy = fma(u, v, sum_xy)
            else:
                u, v = xs[i] - base_x, ys[i] - base_y
                old_u, old_v = xs[i - n] - base_x, ys[i - n] - base_y
                sum_x += u - old_u
                sum_y += v - old_v
                sum_xx += fma(u, u, -old_u * old_u)
                sum_yy += fma(v, v, -old_v * old_v)
                sum_xy += fma(u, v, -old_u * old_v)
                age += 1
            of_x = fma(-sum_x * inverse, sum_x, sum_xx)
            of_y = fma(-sum_y * inverse, sum_y, sum_yy)
            both = fma(-sum_x * inverse, sum_y, sum_xy)
            quiet_x, quiet_y = AT_REST * abs(xs[i]), AT_REST * abs(ys[i])
            y_moves = of_y > n * quiet_y * quiet_y
            share[i] = both / of_y if y_moves else np.nan
            if y_moves and of_x > n * quiet_x * quiet_x:
                alike[i] = min(max(both / np.sqrt(of_x * of_y), -1.0), 1.0)
            else:
                alike[i] = np.nan
        state[s, 0], state[s, 1], state[s, 2], state[s, 3] = base_x, base_y, sum_x, sum_y
        state[s, 4], state[s, 5], state[s, 6], state[s, 7] = sum_xx, sum_yy, sum_xy, age


correlation = likeness.output(0)
beta = likeness.output(1)


@compiled
def _follow(x, at_bar, way_at_bar, first, last, level, shared, slope, state):
    """Kalman filter of x = line + noise of variance 1; `level`, `slope`, `shared`: (co)variances of the line's noise.

    level' = level + slope + noise, slope' = slope + noise. Begins from the first two bars, knowing nothing before: what
    remains of an endless doubt (the diffuse limit) is one measurement for the level, two and the noises for the slope.
    """
    at, way, p11, p12, p22 = state[0], state[1], state[2], state[3], state[4]
    for i in range(first, last):
        value = x[i]
        if i == 0:
            at = value
            way = np.nan
        elif i == 1:
            way = value - at
            at = value
            p11, p12, p22 = 1.0, 1.0, 2.0 + level + slope - 2.0 * shared
        else:
            p11 += 2.0 * p12 + p22 + level
            p12 += p22 + shared
            p22 += slope
            at += way
            gain = p11 / (p11 + 1.0)
            turn = p12 / (p11 + 1.0)
            miss = value - at
            at = fma(gain, miss, at)
            way = fma(turn, miss, way)
            p22 = fma(-turn, p12, p22)
            p12 = fma(-turn, p11, p12)
            p11 = fma(-gain, p11, p11)
        at_bar[i] = at
        way_at_bar[i] = way
    state[0], state[1], state[2], state[3], state[4] = at, way, p11, p12, p22


@kernel(memory=lambda level_noise, slope_noise: 2, state=5, outputs=2)
def kalman(first, last, state, work, x, out, level_noise, slope_noise):
    """Local linear trend, filtered: level, in units of x, and slope, in units of x a bar, as known at each bar.

    The noises are variances of a step of level and slope against the variance of a measurement: 0.01 and 0.0001 follow
    a price over some twenty bars. First level at bar 0 (the price), first slope at bar 1. Harvey 1989.
    """
    for s in range(x.shape[0]):
        _follow(x[s], out[0, s], out[1, s], first[s], last[s], level_noise, 0.0, slope_noise, state[s])


kalman_level = kalman.output(0)
kalman_slope = kalman.output(1)


@kernel(memory=lambda smoothing: 2, state=5, work=1)
def hp_trend(first, last, state, work, x, out, smoothing):
    """One-sided Hodrick-Prescott trend, in units of x: at each bar the last point of the filter over the bars so far.

    Reckoned exactly, by the Kalman filter of the model behind it (Stock and Watson 1999), so it never looks ahead and
    never changes afterwards, unlike the two-sided filter of textbooks. First value at bar 0. `smoothing`: 1,600 by
    habit; the larger, the straighter. Hodrick and Prescott 1997.
    """
    noise = 1.0 / smoothing
    for s in range(x.shape[0]):
        _follow(x[s], out[0, s], work[0, s], first[s], last[s], noise, noise, noise, state[s])


@kernel(memory=lambda n: n + 8, state=12, work=8)
def hurst(first, last, state, work, x, out, n):
    """Hurst exponent from how moves over 1, 2, 4 and 8 bars grow: ½ a random walk, above trending, below reverting.

    Half the slope of ln(mean squared move) on ln(lag), over the last n moves of each lag. Of the series as it is, with
    its drift. First value at bar n + 7; NaN at rest. Not rescaled ranges (Hurst 1951), which are biased upward on
    windows as short as a trader's, but Di Matteo's generalised exponent for q = 2. 2007.
    """
    for s in range(x.shape[0]):
        row, value = x[s], out[0, s]
        for start in range(first[s], last[s], TILE):
            a, b = start & WHOLE, min(start + TILE, last[s])
            for place in range(4):
                lag = 1 << place
                moved = work[place, s]
                for i in range(max(a, lag), b):
                    change = row[i] - row[i - lag]
                    moved[i] = change * change
                slide(moved, work[4 + place, s], a, b, lag, n, state[s], 3 * place)
            for i in range(a, b):
                quiet = AT_REST * row[i]
                least = n * quiet * quiet
                m1, m2, m4, m8 = work[4, s, i], work[5, s, i], work[6, s, i], work[7, s, i]
                if i < n + 7 or not (m1 > least and m2 > least and m4 > least and m8 > least):
                    value[i] = np.nan
                else:
                    value[i] = (1.5 * np.log(m8 / m1) + 0.5 * np.log(m4 / m2)) / (10.0 * np.log(2.0))
