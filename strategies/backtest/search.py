"""Which sets of numbers to try: every one of a grid, some of them by lot, or as Optuna learns from what it tried.

A range is `{"from": 5, "to": 20, "step": 5}` or `{"values": [5, 8, 13]}`. A search by lot draws from the same grid
without putting back, so that the same seed always tries the same sets. Optuna is not a part of the desk: where it is
not installed a code says how to get it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.errors import BacktestRefused
from strategies.backtest.openings import LEVELS, Combinations
from strategies.backtest.plan import number_of

Floats = NDArray[np.float64]
MOST_VALUES: Final = 1_000  # of one parameter
MOST_NAMES: Final = 6
ASKS_A_SET: Final = 3  # of Optuna, before a set is drawn by lot
Axes = dict[str, list[float]]


class Method(StrEnum):
    GRID = "grid"
    RANDOM = "random"
    OPTUNA = "optuna"


def axes_of(ranges: Any, bounds: Mapping[str, tuple[Decimal, Decimal]]) -> Axes:
    """The values of each name. `bounds`: what the contract allows of its parameters.

    BacktestRefused: RANGES (nothing to try, too many names or values), UNKNOWN_PARAMETER, OUT_OF_RANGE, NOT_A_NUMBER.
    """
    if not isinstance(ranges, Mapping) or not 1 <= len(ranges) <= MOST_NAMES:
        raise BacktestRefused("RANGES", f"Give ranges of one to {MOST_NAMES} parameters to try")
    axes: Axes = {}
    for name, span in ranges.items():
        values = _values(str(name), span)
        if name not in bounds and name not in LEVELS:
            known = ", ".join([*bounds, *LEVELS])
            raise BacktestRefused("UNKNOWN_PARAMETER", f"There is no parameter {name} to try (known: {known})")
        if name in bounds:
            least, most = bounds[name]
            outside = next((one for one in values if not least <= one <= most), None)
            if outside is not None:
                raise BacktestRefused("OUT_OF_RANGE", f"{name} lies between {least} and {most}, not at {outside}")
        axes[str(name)] = [float(one) for one in values]
    return axes


def size_of(axes: Axes) -> int:
    return prod(len(values) for values in axes.values())


def grid(axes: Axes) -> Combinations:
    return Combinations.grid(axes)


def by_lot(axes: Axes, count: int, seed: int) -> Combinations:
    """`count` different sets of the grid, or all there are, in the order of the grid."""
    size = size_of(axes)
    if count >= size:
        return grid(axes)
    draw = np.random.default_rng(seed)
    chosen: set[int] = set()
    while len(chosen) < count:  # a grid may be far too large to be shuffled
        chosen |= {int(one) for one in draw.integers(0, size, count - len(chosen))}
    places = np.unravel_index(np.array(sorted(chosen)), tuple(len(values) for values in axes.values()))
    columns = [np.array(values)[where] for values, where in zip(axes.values(), places, strict=True)]
    return Combinations(tuple(axes), np.stack(columns, axis=1))


def asked_of_optuna(
    axes: Axes, told: Sequence[tuple[Mapping[str, float], float | None]], *, count: int, seed: int
) -> list[dict[str, float]]:
    """The next sets that a tree-structured Parzen estimator would try, after those that were told with their scores.

    None that was told, and none twice: where it asks for nothing new, sets by lot take the place; none are left when
    all were told. The study is made anew from what was told, so that any process can go on with it; `seed` and what was
    told decide what is asked. None as a score: it failed. BacktestRefused (OPTUNA_MISSING): it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise BacktestRefused(
            "OPTUNA_MISSING",
            "Optuna is not installed here: make setup-research (or requirements/research.txt into the environment of"
            " web and worker), or search by grid or by lot",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: dict[str, Any] = {
        name: optuna.distributions.CategoricalDistribution(values) for name, values in axes.items() if len(values) < 2
    }
    space |= {name: _distribution(optuna, values) for name, values in axes.items() if len(values) > 1}
    sampler = optuna.samplers.TPESampler(seed=seed + len(told), constant_liar=True, n_startup_trials=10)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for numbers, score in told:
        places = {name: _told(space[name], axes[name], value) for name, value in numbers.items()}
        study.add_trial(
            optuna.trial.create_trial(
                params=places, distributions=space, value=score,
                state=optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE,
            )
        )  # fmt: skip
    known = {_place(axes, numbers) for numbers, _ in told}
    wanted = min(count, size_of(axes) - len(known))
    new: list[int] = []
    for _ in range(ASKS_A_SET * wanted):
        if len(new) == wanted:
            break
        trial = study.ask(space)
        place = _place(axes, {name: _number(axes[name], trial.params[name], space[name]) for name in axes})
        if place not in known:
            known.add(place)
            new.append(place)
    new += _untried(size_of(axes), known, wanted - len(new), seed=seed + len(told))
    return [_at(axes, place) for place in new]


def _place(axes: Axes, numbers: Mapping[str, float]) -> int:
    """Of a set in the grid."""
    place = 0
    for name, values in axes.items():
        place = place * len(values) + values.index(numbers[name])
    return place


def _at(axes: Axes, place: int) -> dict[str, float]:
    """The set at a place of the grid."""
    numbers: dict[str, float] = {}
    for name, values in reversed(axes.items()):
        place, at = divmod(place, len(values))
        numbers[name] = values[at]
    return {name: numbers[name] for name in axes}


def _untried(size: int, known: set[int], count: int, *, seed: int) -> list[int]:
    """`count` places by lot that are not known."""
    draw = np.random.default_rng(seed)
    if size <= 2 * (len(known) + count):
        left = np.setdiff1d(np.arange(size), np.fromiter(known, np.int64, len(known)))
        return [int(one) for one in draw.choice(left, count, replace=False)]
    found: list[int] = []
    while len(found) < count:
        place = int(draw.integers(0, size))
        if place not in known:
            known.add(place)
            found.append(place)
    return found


def _distribution(optuna: Any, values: list[float]) -> Any:
    """Places of the values, not the values: ranges need not be even, and what comes back is exactly one of them."""
    return optuna.distributions.IntDistribution(0, len(values) - 1)


def _told(distribution: Any, values: list[float], value: float) -> float | int:
    return value if hasattr(distribution, "choices") else values.index(value)


def _number(values: list[float], given: Any, distribution: Any) -> float:
    return float(given) if hasattr(distribution, "choices") else values[int(given)]


def _values(name: str, span: Any) -> list[Decimal]:
    if not isinstance(span, Mapping):
        raise BacktestRefused("RANGES", f"{name}: give from, to and step, or values")
    if "values" in span:
        given = span["values"]
        if not isinstance(given, Sequence) or isinstance(given, str) or not 1 <= len(given) <= MOST_VALUES:
            raise BacktestRefused("RANGES", f"{name}: give one to {MOST_VALUES} values")
        return sorted({number_of(str(one), name) for one in given})
    first, last = (number_of(str(span.get(part, "")), f"{name}, {part}") for part in ("from", "to"))
    step = number_of(str(span.get("step") or "1"), f"{name}, step")
    if step <= 0 or last < first:
        raise BacktestRefused("RANGES", f"{name}: from {first} to {last} in steps of {step} is no range")
    count = int((last - first) / step) + 1
    if count > MOST_VALUES:
        raise BacktestRefused("RANGES", f"{name}: {count:,} values are more than {MOST_VALUES:,}")
    return [first + step * at for at in range(count)]
