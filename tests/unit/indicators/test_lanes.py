"""Series taken eight abreast: each gets the bits it would have got alone, and none sees its neighbours."""

import numpy as np
import pytest

from trading.indicators.abreast import PIECE, abreast, apart
from trading.indicators.lanes import LANES
from trading.indicators.registry import REGISTRY, kernel_argument

TAKEN = sorted(name for name, indicator in REGISTRY.items() if indicator.kernel.lanes)
SYMBOLS = 2 * LANES + 3  # two groups, and three that go alone
SMALL = {"omega": 0.1, "alpha": 0.1, "beta": 0.8, "step": 0.02, "limit": 0.2}


def market(bars: int) -> dict[str, np.ndarray]:
    """Prices at a tick of five paise, so that some bars stand still; one symbol never moves at all."""
    rng = np.random.default_rng(bars)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(size=(SYMBOLS, bars)) * 0.002, axis=1)) * 20) / 20
    close[3] = 151.35
    return {"high": close * 1.002, "low": close * 0.998, "close": close}


def run(name: str, bars: dict[str, np.ndarray], period: int) -> np.ndarray:
    indicator = REGISTRY[name]
    constants = [SMALL.get(each.name, period + place) for place, each in enumerate(indicator.parameters)]
    series = [bars["close"]] * indicator.arity + [bars[field] for field in indicator.inputs]
    return indicator.kernel(*series, *map(kernel_argument, indicator.parameters, constants))


def alone(name: str, bars: dict[str, np.ndarray], period: int) -> np.ndarray:
    return np.concatenate([run(name, {k: v[s : s + 1] for k, v in bars.items()}, period) for s in range(SYMBOLS)])


def test_what_waits_for_its_own_last_result_is_taken_so():
    assert {"sma", "kama", "rsi", "adx", "bollinger_upper"} <= set(TAKEN)


@pytest.mark.parametrize("name", TAKEN)
def test_eight_abreast_give_the_bits_of_each_alone(name):
    for bars in (1, 9, 30, 700):  # whole squares of eight bars and what is left over
        window = market(bars)
        for period in (1, 2, 5, 20):
            np.testing.assert_array_equal(run(name, window, period), alone(name, window, period))


@pytest.mark.parametrize("name", TAKEN)
def test_a_series_with_a_missing_bar_changes_nothing_for_those_beside_it(name):
    window = market(300)
    whole = run(name, window, 5)
    for lost in (np.nan, np.inf):
        holed = {field: values.copy() for field, values in window.items()}
        for values in holed.values():
            values[1, 40] = lost
        answer = run(name, holed, 5)
        np.testing.assert_array_equal(np.delete(answer, 1, axis=0), np.delete(whole, 1, axis=0))
        np.testing.assert_array_equal(answer, alone(name, holed, 5))
        assert np.isnan(answer[1, 40]) and np.isfinite(answer[1, -1])


@pytest.mark.parametrize("name", ["sma", "kama", "adx", "bollinger_upper"])
def test_a_period_longer_than_a_piece_reaches_back_over_pieces(name):
    window = market(3 * PIECE + 5)
    for period in (PIECE - 1, PIECE, PIECE + 30):
        np.testing.assert_array_equal(run(name, window, period), alone(name, window, period))


def test_rows_become_lanes_and_rows_again():
    rows = np.arange(3 * LANES * 21.0).reshape(3 * LANES, 21)
    groups, back = np.empty((2, 21, LANES)), np.zeros_like(rows)
    for group, top in enumerate((LANES, 2 * LANES)):
        abreast(rows, top, 0, 21, groups[group], 0)
    np.testing.assert_array_equal(groups, rows[LANES:].reshape(2, LANES, 21).transpose(0, 2, 1))
    for group, top in enumerate((LANES, 2 * LANES)):
        apart(groups[group], 0, back, top, 0, 21)
    np.testing.assert_array_equal(back[LANES:], rows[LANES:])
    assert not back[:LANES].any()
