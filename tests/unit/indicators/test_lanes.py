"""Series taken eight abreast: each gets the bits it would have got alone, and none sees its neighbours.

Rows are turned for it, where that pays; symbols that lie side by side in memory are taken as they lie.
"""

from dataclasses import replace

import numpy as np
import pytest

from trading.indicators.abreast import PIECE, abreast, apart
from trading.indicators.lanes import LANES
from trading.indicators.registry import REGISTRY, kernel_argument
from trading.indicators.side_by_side import PIECE as PANEL_PIECE
from trading.indicators.trend import directional

TAKEN = sorted(name for name, indicator in REGISTRY.items() if indicator.kernel.turned)
BESIDE = sorted(name for name, indicator in REGISTRY.items() if indicator.kernel.lanes)
NOTICED = sorted(name for name, indicator in REGISTRY.items() if indicator.kernel.poisons)
SYMBOLS = 2 * LANES + 3  # two groups, and three that go alone
SMALL = {"omega": 0.1, "alpha": 0.1, "beta": 0.8, "step": 0.02, "limit": 0.2}


def market(bars: int) -> dict[str, np.ndarray]:
    """Prices at a tick of five paise, so that some bars stand still; one symbol never moves at all."""
    rng = np.random.default_rng(bars)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(size=(SYMBOLS, bars)) * 0.002, axis=1)) * 20) / 20
    close[3] = 151.35
    return {"high": close * 1.002, "low": close * 0.998, "close": close}


def run(name: str, bars: dict[str, np.ndarray], period: int, *, looks: bool = False) -> np.ndarray:
    """looks: look through all bars before, as kernels do that would not notice in the end."""
    indicator = REGISTRY[name]
    constants = [SMALL.get(each.name, period + place) for place, each in enumerate(indicator.parameters)]
    series = [bars["close"]] * indicator.arity + [bars[field] for field in indicator.inputs]
    kernel = replace(indicator.kernel, poisons=False) if looks else indicator.kernel
    return kernel(*series, *map(kernel_argument, indicator.parameters, constants))


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


@pytest.mark.parametrize("name", NOTICED)
def test_what_is_no_number_is_noticed_in_the_end_wherever_it_stands(name):
    for lost in (np.nan, np.inf, -np.inf):
        for bar in (
            0,
            1,
            17,
            298,
            299,
        ):  # then prices move on, or stand still, longer than sums are kept, or not at all
            window = market(300)
            for symbol, field in ((3, "close"), (4, "close"), (5, "high"), (6, "low")):
                window[field][symbol, bar] = lost
            for period in (1, 5):
                wanted = run(name, window, period, looks=True)
                np.testing.assert_array_equal(run(name, window, period), wanted)
                np.testing.assert_array_equal(run(name, side_by_side(window), period), wanted)
                np.testing.assert_array_equal(alone(name, window, period), wanted)


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


def side_by_side(bars: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {field: np.asfortranarray(values) for field, values in bars.items()}


def holed(bars: int) -> dict[str, np.ndarray]:
    """A symbol that begins late, one that lost a bar in one of its fields, and the last, which two groups share."""
    window = market(bars)
    for values in window.values():
        values[1, : bars // 3] = np.nan
        values[SYMBOLS - 1, bars // 2] = np.inf
    window["close"][LANES + 2, bars // 4] = np.nan
    return window


def test_what_lies_side_by_side_is_taken_as_it_lies_and_given_so():
    assert set(BESIDE) > set(TAKEN)
    assert {"ema", "atr", "macd", "keltner_upper", "true_range", "roc", "zscore"} <= set(BESIDE)
    for name in BESIDE:
        answer = run(name, side_by_side(market(30)), 5)
        assert answer.strides == (8, 8 * SYMBOLS), name


@pytest.mark.parametrize("name", BESIDE)
def test_side_by_side_gives_the_bits_of_rows(name):
    for bars in (1, 2, 9, 30, 3 * PANEL_PIECE + 5):
        window, lost = market(bars), holed(bars)
        for period in (1, 2, 5, 20):
            np.testing.assert_array_equal(run(name, side_by_side(window), period), alone(name, window, period))
        np.testing.assert_array_equal(run(name, side_by_side(lost), 5), alone(name, lost, 5))


@pytest.mark.parametrize("name", BESIDE)
def test_any_way_the_bars_lie_gives_the_same(name):
    window = market(150)
    wanted = run(name, window, 5)
    beside = side_by_side(window)
    wider = {field: np.asfortranarray(np.vstack([np.full_like(v, np.nan), v, v])) for field, v in window.items()}
    ways = {
        "a band of more symbols": {field: v[SYMBOLS : 2 * SYMBOLS] for field, v in wider.items()},
        "backwards in time": {field: np.asfortranarray(v[:, ::-1])[:, ::-1] for field, v in window.items()},
        "every other symbol": {field: np.asfortranarray(np.repeat(v, 2, axis=0))[::2] for field, v in window.items()},
        "every other bar": {field: np.asfortranarray(np.repeat(v, 2, axis=1))[:, ::2] for field, v in window.items()},
        "some in rows": beside | {"low": window["low"]},
        "the other in rows": window | {"low": beside["low"]},
        "not at a place for numbers": {field: unaligned(v) for field, v in beside.items()},
        "singles": {field: v.astype(np.float32) for field, v in beside.items()},
    }
    for values in beside.values():
        values.flags.writeable = False
    ways["not to be written"] = beside
    for way, bars in ways.items():
        if way == "singles":
            np.testing.assert_array_equal(
                run(name, bars, 5), run(name, {k: v.astype(float) for k, v in bars.items()}, 5)
            )
        else:
            np.testing.assert_array_equal(run(name, bars, 5), wanted, err_msg=way)


def unaligned(values: np.ndarray) -> np.ndarray:
    room = np.empty(values.nbytes + 1, dtype=np.uint8)[1:]
    moved = np.ndarray(values.shape, buffer=room, strides=values.strides)
    moved[:] = values
    return moved


def test_few_symbols_side_by_side_and_none_at_all():
    for symbols in (0, 1, 3, LANES - 1, LANES, LANES + 1, 9 * LANES + 1):
        rows = np.tile(market(40)["close"], (5, 1))[:symbols]
        np.testing.assert_array_equal(
            REGISTRY["sma"].kernel(np.asfortranarray(rows), 5), REGISTRY["sma"].kernel(rows, 5)
        )
    assert REGISTRY["sma"].kernel(np.empty((20, 0), order="F"), 5).shape == (20, 0)


@pytest.mark.parametrize("name", ["sma", "ema", "rsi", "atr", "kama", "adx", "bollinger_upper"])
def test_many_symbols_side_by_side_give_the_bits_of_rows(name):
    window = holed(300)
    wanted = run(name, window, 5)
    for times in (7, 29):  # more than are taken group by group, and more than are taken together
        many = {field: np.tile(values, (times, 1)) for field, values in window.items()}
        np.testing.assert_array_equal(run(name, side_by_side(many), 5), np.tile(wanted, (times, 1)))


def test_series_of_unlike_shape_are_refused_side_by_side_too():
    close = np.asfortranarray(market(40)["close"])
    with pytest.raises(ValueError, match="unlike shape"):
        REGISTRY["atr"].kernel(close, close[:, :-1], close, 5)


@pytest.mark.parametrize("name", ["sma", "kama", "adx", "bollinger_upper", "macd", "atr"])
def test_side_by_side_a_period_longer_than_a_piece_reaches_back_over_pieces(name):
    window = market(5 * PANEL_PIECE + 5)
    for period in (PANEL_PIECE - 1, PANEL_PIECE, PANEL_PIECE + 30):
        np.testing.assert_array_equal(run(name, side_by_side(window), period), alone(name, window, period))


def test_adx_alone_has_the_bits_of_adx_among_its_directions():
    window = holed(300)
    for bars in (window, side_by_side(window)):
        three = directional(bars["high"], bars["low"], bars["close"], 14)
        np.testing.assert_array_equal(run("adx", bars, 14), three[0])
        np.testing.assert_array_equal(run("plus_di", bars, 14), three[1])
