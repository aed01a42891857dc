"""How much of a Sharpe ratio is skill, when it is the best of many that were tried.

Bailey and López de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 2014. Ratios here are of daily
returns, not annual ones; kurtosis is the fourth standardised moment, 3 for a normal distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, isfinite, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

EULER: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Deflated:
    """`probability` that the true ratio is above what luck alone gives the best of `trials` (`by_luck`)."""

    trials: int
    sharpe: float
    by_luck: float
    probability: float

    @property
    def believable(self) -> bool:
        return self.probability >= 0.95


def best_by_luck(trials: int, variance: float) -> float:
    """The ratio that the best of so many worthless trials is expected to have; `variance` of their ratios."""
    if trials < 2 or variance <= 0:
        return 0.0
    return sqrt(variance) * (
        (1 - EULER) * _NORMAL.inv_cdf(1 - 1 / trials) + EULER * _NORMAL.inv_cdf(1 - 1 / (trials * e))
    )


def probabilistic(sharpe: float, *, days: int, skew: float, kurtosis: float, against: float = 0.0) -> float | None:
    """The probability that the true ratio is above `against`. None: too few days, or moments that cannot be."""
    room = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if days < 3 or not isfinite(room) or room <= 0:
        return None
    return _NORMAL.cdf((sharpe - against) * sqrt(days - 1) / sqrt(room))


def deflated(
    ratios: NDArray[np.float64], best: int, *, days: int, skew: float, kurtosis: float, trials: int | None = None
) -> Deflated | None:
    """Of the trial at `best` among the daily ratios of all, float64[trials]; NaN where a trial has none.

    `trials`: how many there were in all, when more were tried than are given. None: it cannot be known.
    """
    known = ratios[np.isfinite(ratios)]
    if known.size < 2 or not isfinite(float(ratios[best])):
        return None
    count = max(trials or 0, int(known.size))
    luck = best_by_luck(count, float(known.var(ddof=1)))
    chance = probabilistic(float(ratios[best]), days=days, skew=skew, kurtosis=kurtosis, against=luck)
    return None if chance is None else Deflated(count, float(ratios[best]), luck, chance)
