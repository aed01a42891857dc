"""Laws of the kernels: against slow and plain Python, and against themselves under cuts, shifts and shuffles."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trading.indicators import moving, oscillators, trend, volatility
from trading.indicators.registry import REGISTRY, kernel_argument
from trading.indicators.streaming import stream

PRICE = st.floats(1, 10_000, allow_subnormal=False)
HOLED = st.one_of(PRICE, PRICE, PRICE, PRICE, st.just(math.nan))
PERIOD = st.integers(1, 12)
NAMES = sorted(REGISTRY)


def series(element=HOLED, symbols: int = 2, longest: int = 60):
    return st.integers(1, longest).flatmap(lambda bars: arrays(np.float64, (symbols, bars), elements=element))


def bars_of(name: str, close: np.ndarray) -> list[np.ndarray]:
    """What the indicator reads: series written in a rule, then fields of bars around this close."""
    indicator = REGISTRY[name]
    spread = 0.1 + 0.5 * np.abs(np.sin(np.arange(close.shape[1])))
    opened = close * (1 + 0.3 * (spread - 0.35))
    bars = {
        "open": opened,
        "high": np.maximum(opened, close) * (1 + spread),
        "low": np.minimum(opened, close) * (1 - spread),
        "close": close,
        "volume": np.round(close * 10),
    }
    return [close, np.cos(close) + close][: indicator.arity] + [bars[field] for field in indicator.inputs]


def constants_of(name: str, period: int) -> list[float]:
    small = {"omega": 0.1, "alpha": 0.1, "beta": 0.8, "step": 0.02, "limit": 0.2}
    return [small.get(p.name, period + place) for place, p in enumerate(REGISTRY[name].parameters)]


def run(name: str, close: np.ndarray, period: int) -> np.ndarray:
    indicator = REGISTRY[name]
    constants = map(kernel_argument, indicator.parameters, constants_of(name, period))
    return indicator.kernel(*bars_of(name, close), *constants)


def plain(values: list[float], window: int, reckon) -> list[float]:
    """A window function the slow way, over the bars that exist."""
    out, seen = [], []
    for value in values:
        if not math.isfinite(value):
            out.append(math.nan)
            continue
        seen.append(value)
        out.append(reckon(seen[-window:]) if len(seen) >= window else math.nan)
    return out


def plain_ema(values: list[float], n: int) -> list[float]:
    seen: list[float] = []
    out, mean = [], 0.0
    for value in values:
        if not math.isfinite(value):
            out.append(math.nan)
            continue
        seen.append(value)
        if len(seen) == n:
            mean = math.fsum(seen) / n
        elif len(seen) > n:
            mean = mean * (1 - 2 / (n + 1)) + value * 2 / (n + 1)
        out.append(mean if len(seen) >= n else math.nan)
    return out


def plain_rsi(values: list[float], n: int) -> list[float]:
    seen: list[float] = []
    out, gain, loss = [], 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            out.append(math.nan)
            continue
        seen.append(value)
        changes = [after - before for before, after in pairwise(seen)]
        if len(changes) == n:
            gain = math.fsum(max(change, 0) for change in changes) / n
            loss = math.fsum(max(-change, 0) for change in changes) / n
        elif len(changes) > n:
            gain = (gain * (n - 1) + max(changes[-1], 0)) / n
            loss = (loss * (n - 1) + max(-changes[-1], 0)) / n
        if len(changes) < n:
            out.append(math.nan)
        else:
            out.append(100 * gain / (gain + loss) if gain + loss > 0 else 50.0)
    return out


WINDOWED = {
    "sma": lambda w: math.fsum(w) / len(w),
    "wma": lambda w: math.fsum((k + 1) * x for k, x in enumerate(w)) / (len(w) * (len(w) + 1) / 2),
    "highest": max,
    "lowest": min,
}


@settings(deadline=None)
@given(x=series(), n=PERIOD)
def test_window_kernels_agree_with_plain_python(x, n):
    for name, reckon in WINDOWED.items():
        expected = [plain(row.tolist(), n, reckon) for row in x]
        np.testing.assert_allclose(REGISTRY[name].kernel(x, n), expected, rtol=1e-10, atol=1e-9, err_msg=name)


@settings(deadline=None)
@given(x=series(), n=PERIOD)
def test_deviation_agrees_with_plain_python(x, n):
    def reckon(w: list[float]) -> float:
        mean = math.fsum(w) / len(w)
        return math.fsum((value - mean) ** 2 for value in w) / len(w)

    expected = [plain(row.tolist(), n, reckon) for row in x]
    # Compared as variances: a root would magnify the last digits of a variance near zero.
    np.testing.assert_allclose(volatility.stdev(x, n) ** 2, expected, rtol=1e-9, atol=1e-6)


@settings(deadline=None)
@given(x=series(), n=PERIOD)
def test_recursive_kernels_agree_with_plain_python(x, n):
    np.testing.assert_allclose(moving.ema(x, n), [plain_ema(row.tolist(), n) for row in x], rtol=1e-10)
    np.testing.assert_allclose(oscillators.rsi(x, n), [plain_rsi(row.tolist(), n) for row in x], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=40)
@given(x=series(), n=PERIOD, data=st.data())
def test_the_future_never_changes_the_past(name, x, n, data):
    cut = data.draw(st.integers(1, x.shape[1]))
    np.testing.assert_array_equal(run(name, x, n)[:, :cut], run(name, x[:, :cut].copy(), n))


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=20)
@given(x=series(symbols=3), n=PERIOD)
def test_symbols_do_not_see_each_other(name, x, n):
    order = [2, 0, 1]
    np.testing.assert_array_equal(run(name, x, n)[order], run(name, x[order].copy(), n))


# In the unit of the price, and free of any unit. (Both need bars and series that scale together.)
PRICES = [
    "sma", "ema", "wma", "dema", "tema", "kama", "highest", "lowest", "stdev", "bollinger_upper", "bollinger_middle",
    "bollinger_lower", "macd", "macd_signal", "macd_histogram", "slope", "true_range", "atr", "keltner_upper",
    "keltner_middle", "keltner_lower", "donchian_upper", "donchian_middle", "donchian_lower", "supertrend", "psar",
    "ichimoku_conversion", "ichimoku_base", "ichimoku_span_a", "ichimoku_span_b", "hp_trend", "kalman_level",
    "kalman_slope",
]  # fmt: skip
RATIOS = [
    "rsi", "roc", "stoch_rsi", "efficiency_ratio", "stochastic_k", "stochastic_d", "williams_r", "cci",
    "realised_volatility", "garman_klass", "garch", "adx", "plus_di", "minus_di", "aroon_up", "aroon_down",
    "aroon_oscillator", "supertrend_direction", "r_squared", "zscore", "hurst",
]  # fmt: skip


@settings(deadline=None)
@given(x=series(), n=PERIOD, factor=st.sampled_from([0.25, 2.0, 64.0]))
def test_means_and_deviations_scale_with_the_price_and_ratios_do_not(x, n, factor):
    for name in PRICES:  # powers of two: exact
        np.testing.assert_array_equal(run(name, x * factor, n), run(name, x, n) * factor, err_msg=name)
    for name in RATIOS:
        np.testing.assert_array_equal(run(name, x * factor, n), run(name, x, n), err_msg=name)


@settings(deadline=None)
@given(x=series(), n=PERIOD, shift=st.floats(-500, 500))
def test_means_move_with_the_price(x, n, shift):
    for name in ("sma", "ema", "wma", "dema", "tema", "highest", "lowest", "hp_trend", "kalman_level"):
        moved, stayed = run(name, x + shift, n), run(name, x, n)
        np.testing.assert_allclose(moved, stayed + shift, rtol=1e-10, atol=1e-8, err_msg=name)


@settings(deadline=None)
@given(x=series(), n=PERIOD)
def test_bounded_indicators_stay_within_their_bounds(x, n):
    strength = oscillators.rsi(x, n)
    assert ((strength >= 0) & (strength <= 100) | np.isnan(strength)).all()
    low, mean, high = trend.lowest(x, n), moving.sma(x, n), trend.highest(x, n)
    known = ~np.isnan(mean)
    assert (low[known] <= mean[known] + 1e-9).all() and (mean[known] <= high[known] + 1e-9).all()


@settings(deadline=None)
@given(x=series(), y=series())
def test_a_cross_up_is_the_other_line_crossing_down_and_never_both(x, y):
    bars = min(x.shape[1], y.shape[1])
    assume(bars > 1)
    x, y = x[:, :bars].copy(), y[:, :bars].copy()
    up, down = trend.crosses_above(x, y), trend.crosses_below(x, y)
    np.testing.assert_array_equal(up, trend.crosses_below(y, x))
    assert not (up & down).any()


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=25)
@given(x=series(symbols=3, longest=90), n=PERIOD)
def test_one_bar_at_a_time_equals_the_batch_bit_for_bit(name, x, n):
    live = stream(name, x.shape[0], *constants_of(name, n))
    inputs = bars_of(name, x)
    one_by_one = [live.update(*(each[:, bar] for each in inputs)) for bar in range(x.shape[1])]
    np.testing.assert_array_equal(np.stack(one_by_one, axis=1), run(name, x, n))


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(x=series(PRICE, symbols=2), n=PERIOD, data=st.data())
def test_a_missing_bar_is_as_if_it_had_never_been(name, x, n, data):
    hole = data.draw(st.integers(0, x.shape[1]))
    inputs = bars_of(name, x)
    constants = [*map(kernel_argument, REGISTRY[name].parameters, constants_of(name, n))]
    lost = data.draw(st.integers(0, len(inputs) - 1))  # one input missing is enough
    holed = [np.insert(each, hole, np.nan if place == lost else 1.0, axis=1) for place, each in enumerate(inputs)]
    whole = REGISTRY[name].kernel(*inputs, *constants)
    np.testing.assert_array_equal(REGISTRY[name].kernel(*holed, *constants), np.insert(whole, hole, np.nan, axis=1))


@pytest.mark.parametrize("name", NAMES)
def test_a_first_bar_without_one_of_its_prices_is_no_bar(name):
    inputs = bars_of(name, 100 + np.arange(80.0).reshape(2, 40) % 7)
    constants = [*map(kernel_argument, REGISTRY[name].parameters, constants_of(name, 1))]
    whole = np.insert(REGISTRY[name].kernel(*inputs, *constants), 0, np.nan, axis=1)
    for lost in range(len(inputs)):
        holed = [np.insert(each, 0, np.nan if place == lost else 1.0, axis=1) for place, each in enumerate(inputs)]
        np.testing.assert_array_equal(REGISTRY[name].kernel(*holed, *constants), whole)


def test_a_stream_agrees_with_the_batch_over_years_of_bars():
    close = 100 * np.exp(np.random.default_rng(5).normal(size=(2, 3000)).cumsum(axis=1) * 0.01)
    for name in NAMES:
        live, inputs, bars = stream(name, 2, *constants_of(name, 9)), bars_of(name, close), range(close.shape[1])
        one_by_one = [live.update(*(each[:, bar] for each in inputs)) for bar in bars]
        np.testing.assert_array_equal(np.stack(one_by_one, axis=1), run(name, close, 9), err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_a_long_row_taken_in_pieces_equals_the_row_taken_whole(name):
    close = 100 * np.exp(np.random.default_rng(6).normal(size=(1, 300_000)).cumsum(axis=1) * 0.001)
    inputs = bars_of(name, close)
    constants = [*map(kernel_argument, REGISTRY[name].parameters, constants_of(name, 21))]
    whole = [np.insert(each, 0, np.nan, axis=1) for each in inputs]  # a row with a hole is not cut
    kernel = REGISTRY[name].kernel
    np.testing.assert_array_equal(kernel(*inputs, *constants), kernel(*whole, *constants)[:, 1:])
