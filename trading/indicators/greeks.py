"""What the price of a European option answers to, which all Indian exchange options are: Black and Scholes (1973).

Kernels over float64[n], for one option as for a whole chain (NaN in, NaN out; a dividend yield after Merton 1973).
Units: prices in rupees a unit; `years` of 365 days (`years_to`); volatility, rate and yield as fractions a year (0.2 is
20 %). Delta a rupee, gamma a rupee of it squared, theta rupees a calendar day, vega rupees a percentage point of
volatility, rho a point of the rate.
"""

from datetime import datetime
from math import erfc
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trading.indicators.rows import compiled

Floats = NDArray[np.float64]
Numbers = Floats | float
Flags = NDArray[np.bool_] | bool
DAYS = 365.0
YEAR_S: Final = DAYS * 86_400.0


LEAST_VOL: Final = 1e-4
MOST_VOL: Final = 10.0  # 1,000 %: what a strike far away on its last day may imply


def years_to(expiry_at: datetime, now: datetime) -> float:
    """Years of 365 days from now to the end of trading on expiry day; never negative."""
    return max(0.0, (expiry_at - now).total_seconds() / YEAR_S)


@compiled
def _cdf(x):
    """The standard normal distribution, by the complementary error function: good to the last digits in both tails."""
    return 0.5 * erfc(-x * 0.7071067811865476)


@compiled
def _price(spot, strike, years, rate, carry, vol, call):
    """One option. `carry`: dividend yield. Without time or volatility: what it is worth if nothing moves."""
    forward = spot * np.exp(-carry * years)
    owed = strike * np.exp(-rate * years)
    if years <= 0.0 or vol <= 0.0:
        return max(forward - owed, 0.0) if call else max(owed - forward, 0.0)
    width = vol * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate - carry) * years) / width + 0.5 * width
    d2 = d1 - width
    if call:
        return forward * _cdf(d1) - owed * _cdf(d2)
    return owed * _cdf(-d2) - forward * _cdf(-d1)


@compiled
def _fill_prices(spot, strike, years, rate, carry, vol, call, out):
    for k in range(out.size):
        out[k] = _price(spot[k], strike[k], years[k], rate, carry, vol[k], call[k])


@compiled
def _fill_greeks(spot, strike, years, rate, carry, vol, call, out):
    """out float64[5, n]: delta, gamma, theta a day, vega a point, rho a point."""
    for k in range(out.shape[1]):
        s, x, t, v = spot[k], strike[k], years[k], vol[k]
        if not (s > 0.0 and x > 0.0 and t > 0.0 and v > 0.0):
            for row in range(5):
                out[row, k] = np.nan
            continue
        root = np.sqrt(t)
        d1 = (np.log(s / x) + (rate - carry + 0.5 * v * v) * t) / (v * root)
        d2 = d1 - v * root
        fade, owed = np.exp(-carry * t), x * np.exp(-rate * t)
        density = 0.3989422804014327 * np.exp(-0.5 * d1 * d1)
        decay = -s * fade * density * v / (2.0 * root)
        out[1, k] = fade * density / (s * v * root)
        out[3, k] = s * fade * density * root / 100.0
        if call[k]:
            out[0, k] = fade * _cdf(d1)
            out[2, k] = (decay - rate * owed * _cdf(d2) + carry * s * fade * _cdf(d1)) / 365.0
            out[4, k] = owed * t * _cdf(d2) / 100.0
        else:
            out[0, k] = -fade * _cdf(-d1)
            out[2, k] = (decay + rate * owed * _cdf(-d2) - carry * s * fade * _cdf(-d1)) / 365.0
            out[4, k] = -owed * t * _cdf(-d2) / 100.0


@compiled
def _fill_implied(price, spot, strike, years, rate, carry, call, out):
    """Newton's steps kept between bounds that close in: never farther out than halving, never out of the range."""
    for k in range(out.size):
        p, s, x, t = price[k], spot[k], strike[k], years[k]
        out[k] = np.nan
        if not (p > 0.0 and s > 0.0 and x > 0.0 and t > 0.0):
            continue
        low, high = LEAST_VOL, MOST_VOL
        if p <= _price(s, x, t, rate, carry, low, call[k]) or p >= _price(s, x, t, rate, carry, high, call[k]):
            continue
        vol = 0.2
        for _ in range(100):
            gap = _price(s, x, t, rate, carry, vol, call[k]) - p
            if gap > 0.0:
                high = vol
            else:
                low = vol
            width = vol * np.sqrt(t)
            d1 = (np.log(s / x) + (rate - carry) * t) / width + 0.5 * width
            slope = s * np.exp(-carry * t) * 0.3989422804014327 * np.exp(-0.5 * d1 * d1) * np.sqrt(t)
            step = vol - gap / slope if slope > 1e-12 else low
            if not low < step < high:
                step = 0.5 * (low + high)
            if abs(step - vol) < 1e-12 * vol or high - low < 1e-13:
                vol = step
                break
            vol = step
        out[k] = vol


def option_price(
    spot: Numbers, strike: Numbers, years: Numbers, vol: Numbers, is_call: Flags, *, rate: float = 0.0,
    dividend: float = 0.0,
) -> Floats:  # fmt: skip
    """Value of each option, rupees. Arrays of one length, or numbers for all."""
    spot, strike, years, vol, call = _together(spot, strike, years, vol, is_call)
    out = np.empty(spot.shape)
    _fill_prices(spot, strike, years, rate, dividend, vol, call, out)
    out[~np.isfinite(spot + strike + years + vol)] = np.nan
    return out


def option_greeks(
    spot: Numbers, strike: Numbers, years: Numbers, vol: Numbers, is_call: Flags, *, rate: float = 0.0,
    dividend: float = 0.0,
) -> Floats:  # fmt: skip
    """float64[5, n]: delta, gamma, theta a calendar day, vega a point of volatility, rho a point of the rate.

    NaN where there is no time or no volatility left.
    """
    spot, strike, years, vol, call = _together(spot, strike, years, vol, is_call)
    out = np.empty((5, spot.size))
    _fill_greeks(spot, strike, years, rate, dividend, vol, call, out)
    return out


def implied_volatilities(
    price: Numbers, spot: Numbers, strike: Numbers, years: Numbers, is_call: Flags, *, rate: float = 0.0,
    dividend: float = 0.0,
) -> Floats:  # fmt: skip
    """The volatility that makes a price, as a fraction a year. NaN where none does: below the value without movement,
    above what a thousand percent would pay, or no time left."""
    price, spot, strike, years, call = _together(price, spot, strike, years, is_call)
    out = np.empty(price.shape)
    _fill_implied(price, spot, strike, years, rate, dividend, call, out)
    return out


def _together(*given: Any) -> tuple[NDArray, ...]:
    """Arrays of one length, contiguous; the last is which are calls."""
    *numbers, calls = np.broadcast_arrays(*given)
    floats = tuple(np.ascontiguousarray(np.atleast_1d(one), np.float64) for one in numbers)
    return (*floats, np.ascontiguousarray(np.atleast_1d(calls), np.bool_))


def warm_greeks() -> None:
    """Compile, into the cache."""
    one, call = np.ones(1), np.ones(1, bool)
    option_price(one, one, one, one * 0.2, call)
    option_greeks(one, one, one, one * 0.2, call)
    implied_volatilities(one * 0.1, one, one, one, call)
