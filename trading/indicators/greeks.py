"""What an option's price answers to: Black and Scholes (1973) without dividends, for European options, which all Indian
exchange options are. Plain numbers, one option at a time. Rupees a unit; years of 365 days; 0.2 is 20 %.
"""

from dataclasses import dataclass
from math import erf, exp, isfinite, log, pi, sqrt

DAYS = 365.0
LEAST_VOLATILITY, MOST_VOLATILITY = 1e-4, 5.0


@dataclass(frozen=True, slots=True)
class Greeks:
    """For one unit: delta per rupee of the underlying, gamma per rupee of it squared, theta per calendar day, vega per
    percentage point of volatility."""

    price: float
    delta: float
    gamma: float
    theta: float
    vega: float


def greeks(
    *, spot: float, strike: float, years: float, volatility: float, rate: float = 0.065, is_call: bool
) -> Greeks:
    """Price and Greeks. At or after expiry what is left is the intrinsic value."""
    sign = 1.0 if is_call else -1.0
    if years <= 0 or volatility <= 0:
        inside = max(0.0, sign * (spot - strike))
        return Greeks(inside, sign if inside > 0 else 0.0, 0.0, 0.0, 0.0)
    root = volatility * sqrt(years)
    d1 = (log(spot / strike) + (rate + volatility * volatility / 2) * years) / root
    d2 = d1 - root
    paid = strike * exp(-rate * years)
    density = exp(-d1 * d1 / 2) / sqrt(2 * pi)
    price = sign * (spot * _normal(sign * d1) - paid * _normal(sign * d2))
    decay = -spot * density * volatility / (2 * sqrt(years)) - sign * rate * paid * _normal(sign * d2)
    return Greeks(
        price=price, delta=sign * _normal(sign * d1), gamma=density / (spot * root), theta=decay / DAYS,
        vega=spot * density * sqrt(years) / 100,
    )  # fmt: skip


def implied_volatility(
    *, price: float, spot: float, strike: float, years: float, rate: float = 0.065, is_call: bool
) -> float | None:
    """The volatility that makes the price; None where no volatility does, or time is up. By bisection, to 1e-6."""
    if years <= 0 or not all(isfinite(one) and one > 0 for one in (price, spot, strike)):
        return None
    low, high = LEAST_VOLATILITY, MOST_VOLATILITY

    def at(volatility: float) -> float:
        return (
            greeks(spot=spot, strike=strike, years=years, volatility=volatility, rate=rate, is_call=is_call).price
            - price
        )

    if at(low) > 0 or at(high) < 0:
        return None
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) < 0 else (low, middle)
    return (low + high) / 2


def _normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
