"""Several streams of daily returns held together: how alike they move, how much of each, and what comes of it.

Streams are aligned on the days that all of them have. Weights are constant: the mixture is brought back to them every
day, at no cost (Markowitz 1952 writes such a portfolio as the weighted sum of its returns). Weights are never negative
and add up to one. Where a stream never moves, nothing can be said of its risk and a code says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.errors import BacktestRefused
from strategies.backtest.metrics import TRADING_DAYS

Floats = NDArray[np.float64]
FEWEST_DAYS: Final = 3
_TURNS: Final = 10_000
_CLOSE_ENOUGH: Final = 1e-12


class Weighting(StrEnum):
    EQUAL = "equal"
    CUSTOM = "custom"
    INVERSE_VOLATILITY = "inverse_volatility"
    RISK_PARITY = "risk_parity"


@dataclass(frozen=True)
class Streams:
    """float64[streams, days] of returns on common exchange days."""

    names: tuple[str, ...]
    days: tuple[date, ...]
    returns: Floats


def aligned(names: Sequence[str], days: Sequence[Sequence[date]], returns: Sequence[Floats]) -> Streams:
    """The streams on the days that all of them have. BacktestRefused (TOO_FEW_DAYS): fewer than three."""
    common = set(days[0]).intersection(*days[1:]) if days else set()
    if len(common) < FEWEST_DAYS:
        raise BacktestRefused(
            "TOO_FEW_DAYS",
            f"They have {len(common)} days in common: at least {FEWEST_DAYS} are needed",
            days=len(common),
        )
    kept = tuple(sorted(common))
    rows = []
    for own, values in zip(days, returns, strict=True):
        by_day = dict(zip(own, values.tolist(), strict=True))
        rows.append([by_day[day] for day in kept])
    return Streams(tuple(names), kept, np.array(rows, np.float64))


def correlations(returns: Floats) -> Floats:
    """Pearson correlation, float64[streams, streams]; NaN with a stream that never moves."""
    centred = returns - returns.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1))
    moved = size > 1e-15 * np.maximum(1.0, np.abs(returns).max(axis=1))
    both = np.outer(size, size)
    found = np.where(np.outer(moved, moved), centred @ centred.T / np.where(both > 0, both, 1.0), np.nan)
    known = np.clip(found, -1.0, 1.0)
    np.fill_diagonal(known, np.where(moved, 1.0, np.nan))
    return known


def covariance(returns: Floats) -> Floats:
    """Sample covariance of daily returns, float64[streams, streams]."""
    centred = returns - returns.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / (returns.shape[1] - 1))


def weights_of(streams: Streams, how: Weighting, custom: Mapping[str, float] | None = None) -> Floats:
    """float64[streams], adding up to one.

    Inverse volatility: 1/σ. Risk parity: every stream brings the same share of the variance, w·(Σw) equal for all
    (Maillard, Roncalli and Teïletche 2010), found by cyclical descent (Griveau-Billion, Richard and Roncalli 2013).
    BacktestRefused: FLAT_STREAM, CUSTOM_WEIGHTS.
    """
    count = len(streams.names)
    if how is Weighting.EQUAL:
        return np.full(count, 1 / count)
    if how is Weighting.CUSTOM:
        return _custom(streams.names, custom or {})
    spread = streams.returns.std(axis=1, ddof=1)
    if (spread <= 0).any():
        flat = streams.names[int(np.argmin(spread))]
        raise BacktestRefused("FLAT_STREAM", f"{flat} never moves on these days: it has no risk to weigh by")
    if how is Weighting.INVERSE_VOLATILITY:
        return np.asarray((1 / spread) / (1 / spread).sum())
    return risk_parity(covariance(streams.returns))


def risk_parity(cov: Floats) -> Floats:
    """The long-only weights whose risk contributions are equal, for a covariance with a positive diagonal."""
    count = cov.shape[0]
    spread = np.sqrt(np.diag(cov))
    scaled = cov / np.outer(spread, spread)  # the problem in correlations is the same, and well scaled
    x = np.full(count, 1 / sqrt(count))
    for _ in range(_TURNS):
        before = x.copy()
        for at in range(count):
            other = float(scaled[at] @ x - scaled[at, at] * x[at])
            x[at] = (-other + sqrt(other * other + 4 * scaled[at, at] / count)) / (2 * scaled[at, at])
        if np.abs(x - before).max() < _CLOSE_ENOUGH:
            break
    weights = x / spread
    return np.asarray(weights / weights.sum())


def risk_shares(weights: Floats, cov: Floats) -> Floats:
    """What each part brings of the variance, adding up to one; NaN when there is none."""
    parts = weights * (cov @ weights)
    total = parts.sum()
    return np.asarray(parts / total) if total > 0 else np.full(weights.shape, np.nan)


def diversification_ratio(weights: Floats, cov: Floats) -> float | None:
    """Weighted volatilities over the volatility of the whole (Choueifaty 2008): 1 is no diversification."""
    whole = float(weights @ cov @ weights)
    return float(weights @ np.sqrt(np.diag(cov))) / sqrt(whole) if whole > 0 else None


@dataclass(frozen=True, slots=True)
class Summary:
    """Of daily returns, by the conventions of `metrics`; None: it cannot be known."""

    return_pct: float
    annual_return_pct: float | None
    annual_volatility_pct: float | None
    sharpe: float | None
    max_drawdown_pct: float
    worst_day_pct: float


def summary(returns: Floats) -> Summary:
    growth = np.cumprod(1 + returns)
    curve = np.concatenate(([1.0], growth))
    top = np.maximum.accumulate(curve)
    annual = spread = None
    if (returns > -1).all() and returns.size > 1:
        mean = float(np.exp(np.log1p(returns).mean()) - 1)
        try:
            annual = (1 + mean) ** TRADING_DAYS - 1
            variance = float(returns.var(ddof=1))
            square = (variance + (1 + mean) ** 2) ** TRADING_DAYS - (1 + mean) ** (2 * TRADING_DAYS)
            spread = sqrt(max(0.0, square))
        except OverflowError:
            annual = spread = None
    return Summary(
        return_pct=100 * float(growth[-1] - 1),
        annual_return_pct=None if annual is None else 100 * annual,
        annual_volatility_pct=None if spread is None else 100 * spread,
        sharpe=annual / spread if annual is not None and spread else None,
        max_drawdown_pct=100 * float((curve / top - 1).min()),
        worst_day_pct=100 * float(returns.min()),
    )


def _custom(names: Sequence[str], custom: Mapping[str, float]) -> Floats:
    missing = [name for name in names if name not in custom]
    if missing:
        raise BacktestRefused("CUSTOM_WEIGHTS", f"Say a weight for each: {missing[0]} has none")
    values = np.array([float(custom[name]) for name in names])
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise BacktestRefused("CUSTOM_WEIGHTS", "Weights are not negative, and one of them is above 0")
    return np.asarray(values / values.sum())
