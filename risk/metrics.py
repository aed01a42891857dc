"""The numbers of a portfolio's risk, from plain values. Pure: no database, no clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST_DAYS = 20


@dataclass(frozen=True, slots=True)
class Held:
    """One position as risk sees it. Paise, signed like the quantity; `stop_loss_paise` is what reaching its stop loses
    from the last price on, None without a stop."""

    symbol: str
    segment: str
    sector: str
    strategy: str
    value_paise: int
    stop_loss_paise: int | None


@dataclass(frozen=True, slots=True)
class Exposure:
    """Paise: all added up, and longs less shorts."""

    gross: int = 0
    net: int = 0


def exposure(held: Iterable[Held]) -> Exposure:
    values = [one.value_paise for one in held]
    return Exposure(sum(abs(value) for value in values), sum(values))


def exposure_by(held: Iterable[Held], part: str) -> dict[str, Exposure]:
    """By `segment`, `sector` or `strategy`, largest gross first; "" is what has none."""
    parts: dict[str, list[Held]] = {}
    for one in held:
        parts.setdefault(getattr(one, part), []).append(one)
    found = {name: exposure(rows) for name, rows in parts.items()}
    return dict(sorted(found.items(), key=lambda pair: -pair[1].gross))


def open_risk(held: Iterable[Held]) -> int:
    """What is lost, from the last prices on, when every stop there is is reached; none can lose less than nothing."""
    return sum(max(0, one.stop_loss_paise or 0) for one in held)


def worst_case(held: Iterable[Held]) -> int:
    """As open risk, with all of its value lost where there is no stop."""
    return sum(abs(one.value_paise) if one.stop_loss_paise is None else max(0, one.stop_loss_paise) for one in held)


def historical_var(returns: Floats, values: Sequence[int], *, level: float = 0.95) -> tuple[int, int] | None:
    """(VaR, CVaR) of one day in paise, positive: today's positions through the daily returns of the past.

    `returns` float64[positions, days], NaN where a day is missing (counted as still); `values` signed paise. CVaR is
    the mean of the days at least as bad as VaR. None: fewer than twenty days.
    """
    if not len(values) or returns.shape[1] < LEAST_DAYS:
        return None
    known = np.isfinite(returns).any(axis=0)
    if np.count_nonzero(known) < LEAST_DAYS:
        return None
    days = np.asarray(values, np.float64) @ np.nan_to_num(returns[:, known])
    edge = float(np.quantile(days, 1 - level, method="lower"))
    return max(0, round(-edge)), max(0, round(-float(days[days <= edge].mean())))


def correlations(returns: Floats) -> list[list[float | None]]:
    """Pearson of each pair on the days both have, [positions][positions]; None: fewer than twenty, or no movement."""
    count = returns.shape[0]
    found: list[list[float | None]] = [[1.0 if a == b else None for b in range(count)] for a in range(count)]
    for a in range(count):
        for b in range(a + 1, count):
            both = np.isfinite(returns[a]) & np.isfinite(returns[b])
            one, two = returns[a][both], returns[b][both]
            if both.sum() >= LEAST_DAYS and one.std() > 0 and two.std() > 0:
                found[a][b] = found[b][a] = round(float(np.corrcoef(one, two)[0, 1]), 4)
    return found


@dataclass(frozen=True, slots=True)
class DrawdownPath:
    """Percent below the peak, and days (points of the curve) it lasts or lasted: now, at the worst, at the longest."""

    now_pct: float
    worst_pct: float
    days_below: int
    longest_days: int


def drawdown_path(equity: Sequence[int]) -> DrawdownPath:
    """Of a curve of one point a day, oldest first."""
    if not equity:
        return DrawdownPath(0.0, 0.0, 0, 0)
    curve = np.asarray(equity, np.float64)
    peaks = np.maximum.accumulate(curve)
    below = np.where(peaks > 0, (peaks - curve) / np.where(peaks > 0, peaks, 1) * 100, 0.0)
    run = longest = 0
    for deep in below:
        run = run + 1 if deep > 0 else 0
        longest = max(longest, run)
    return DrawdownPath(round(float(below[-1]), 4), round(float(below.max()), 4), run, longest)


def utilisation_pct(gross_paise: int, cap_paise: int) -> float | None:
    """How much of what may be exposed is. None where nothing may."""
    return round(gross_paise * 100 / cap_paise, 2) if cap_paise > 0 else None


def added(greeks: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Greeks of positions, already times their units, added up; empty when no option is held."""
    total: dict[str, float] = {}
    for one in greeks:
        for name, value in one.items():
            total[name] = total.get(name, 0.0) + value
    return {name: round(value, 2) for name, value in total.items()}
