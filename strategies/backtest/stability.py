"""Whether the best set of parameters stands on a plateau or on a needle.

A set is judged by its neighbours: those whose every parameter lies at most one step away on its own axis. The robust
score of a set is the median of its neighbourhood, itself included: a needle among losses is worth what surrounds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stability:
    """`robust` float64[sets]: the median of each neighbourhood; NaN where nothing of it is known.

    `plateau`: the robust score of the best set over its own score; None where that says nothing (score not above 0).
    """

    best: int
    most_robust: int
    robust: Floats
    neighbours_of_best: int
    plateau: float | None


def stability(names: Sequence[str], values: Floats, scores: Floats) -> Stability | None:
    """Of sets float64[sets, names] and their scores float64[sets], NaN unknown. None: no score is known."""
    if not np.isfinite(scores).any():
        return None
    places = np.stack([np.unique(column, return_inverse=True)[1].ravel() for column in values.T], axis=1)
    by_place = {tuple(place): at for at, place in enumerate(places.tolist())}
    steps = list(product((-1, 0, 1), repeat=len(names)))
    robust = np.full(scores.size, np.nan)
    counted = np.zeros(scores.size, np.int64)
    for at, place in enumerate(places.tolist()):
        around = [by_place.get(tuple(p + s for p, s in zip(place, step, strict=True))) for step in steps]
        near = scores[[one for one in around if one is not None]]
        near = near[np.isfinite(near)]
        if near.size:
            robust[at], counted[at] = np.median(near), near.size - int(np.isfinite(scores[at]))
    best, steady = int(np.nanargmax(scores)), int(np.nanargmax(robust))
    plateau = float(robust[best] / scores[best]) if scores[best] > 0 else None
    return Stability(best, steady, robust, int(counted[best]), plateau)


def heat_map(
    names: Sequence[str], values: Floats, scores: Floats, *, across: str, down: str, at: int
) -> tuple[list[float], list[float], Floats, NDArray[np.int64]]:
    """Values along both axes, the scores float64[down, across] and the place of each set (-1: none), where all other
    parameters are those of the set `at`."""
    i, j = names.index(across), names.index(down)
    others = [place for place in range(len(names)) if place not in (i, j)]
    on_plane = np.ones(scores.size, np.bool_)
    for place in others:
        on_plane &= values[:, place] == values[at, place]
    xs, ys = np.unique(values[:, i]), np.unique(values[:, j])
    cells, where = np.full((ys.size, xs.size), np.nan), np.full((ys.size, xs.size), -1, np.int64)
    for place in map(int, np.flatnonzero(on_plane)):
        row, column = int(np.searchsorted(ys, values[place, j])), int(np.searchsorted(xs, values[place, i]))
        cells[row, column], where[row, column] = scores[place], place
    return xs.tolist(), ys.tolist(), cells, where
