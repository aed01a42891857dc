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
from trading.indicators.streaming import StreamingAtr, StreamingEma, StreamingRsi, StreamingSma

PRICE = st.floats(1, 10_000, allow_subnormal=False)
HOLED = st.one_of(PRICE, PRICE, PRICE, PRICE, st.just(math.nan))
PERIOD = st.integers(1, 12)
NAMES = sorted(REGISTRY)


def series(element=HOLED, symbols: int = 2, longest: int = 60):
    return st.integers(1, longest).flatmap(lambda bars: arrays(np.float64, (symbols, bars), elements=element))


def run(name: str, close: np.ndarray, period: int) -> np.ndarray:
    indicator = REGISTRY[name]
    spread = 1 + np.abs(np.sin(np.arange(close.shape[1])))
    bars = {"high": close + spread, "low": close - spread, "close": close, "volume": np.round(close * 10)}
    given_series = [close] * indicator.arity + [bars[field] for field in indicator.inputs]
    constants = [kernel_argument(p, period + place) for place, p in enumerate(indicator.parameters)]
    return indicator.kernel(*given_series, *constants)


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


@given(x=series(), n=PERIOD)
def test_window_kernels_agree_with_plain_python(x, n):
    for name, reckon in WINDOWED.items():
        expected = [plain(row.tolist(), n, reckon) for row in x]
        np.testing.assert_allclose(REGISTRY[name].kernel(x, n), expected, rtol=1e-10, atol=1e-9, err_msg=name)


@given(x=series(), n=PERIOD)
def test_deviation_agrees_with_plain_python(x, n):
    def reckon(w: list[float]) -> float:
        mean = math.fsum(w) / len(w)
        return math.fsum((value - mean) ** 2 for value in w) / len(w)

    expected = [plain(row.tolist(), n, reckon) for row in x]
    # Compared as variances: a root would magnify the last digits of a variance near zero.
    np.testing.assert_allclose(volatility.stdev(x, n) ** 2, expected, rtol=1e-9, atol=1e-6)


@given(x=series(), n=PERIOD)
def test_recursive_kernels_agree_with_plain_python(x, n):
    np.testing.assert_allclose(moving.ema(x, n), [plain_ema(row.tolist(), n) for row in x], rtol=1e-10)
    np.testing.assert_allclose(oscillators.rsi(x, n), [plain_rsi(row.tolist(), n) for row in x], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(x=series(), n=PERIOD, data=st.data())
def test_the_future_never_changes_the_past(name, x, n, data):
    cut = data.draw(st.integers(1, x.shape[1]))
    np.testing.assert_array_equal(run(name, x, n)[:, :cut], run(name, x[:, :cut].copy(), n))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(x=series(symbols=3), n=PERIOD)
def test_symbols_do_not_see_each_other(name, x, n):
    order = [2, 0, 1]
    np.testing.assert_array_equal(run(name, x, n)[order], run(name, x[order].copy(), n))


@given(x=series(), n=PERIOD, factor=st.sampled_from([0.25, 2.0, 64.0]))
def test_means_and_deviations_scale_with_the_price_and_ratios_do_not(x, n, factor):
    for name in ("sma", "ema", "wma", "highest", "lowest", "stdev"):
        kernel = REGISTRY[name].kernel  # powers of two: exact
        np.testing.assert_array_equal(kernel(x * factor, n), kernel(x, n) * factor, err_msg=name)
    for name in ("rsi", "roc"):
        kernel = REGISTRY[name].kernel
        np.testing.assert_array_equal(kernel(x * factor, n), kernel(x, n), err_msg=name)


@given(x=series(), n=PERIOD, shift=st.floats(-500, 500))
def test_means_move_with_the_price(x, n, shift):
    for name in ("sma", "ema", "wma", "highest", "lowest"):
        kernel = REGISTRY[name].kernel
        np.testing.assert_allclose(kernel(x + shift, n), kernel(x, n) + shift, rtol=1e-10, atol=1e-8, err_msg=name)


@given(x=series(), n=PERIOD)
def test_bounded_indicators_stay_within_their_bounds(x, n):
    strength = oscillators.rsi(x, n)
    assert ((strength >= 0) & (strength <= 100) | np.isnan(strength)).all()
    low, mean, high = trend.lowest(x, n), moving.sma(x, n), trend.highest(x, n)
    known = ~np.isnan(mean)
    assert (low[known] <= mean[known] + 1e-9).all() and (mean[known] <= high[known] + 1e-9).all()


@given(x=series(), y=series())
def test_a_cross_up_is_the_other_line_crossing_down_and_never_both(x, y):
    bars = min(x.shape[1], y.shape[1])
    assume(bars > 1)
    x, y = x[:, :bars].copy(), y[:, :bars].copy()
    up, down = trend.crosses_above(x, y), trend.crosses_below(x, y)
    np.testing.assert_array_equal(up, trend.crosses_below(y, x))
    assert not (up & down).any()


@given(x=series(symbols=1, longest=200), n=PERIOD)
def test_one_bar_at_a_time_equals_the_batch(x, n):
    batches = {
        StreamingSma: moving.sma(x, n),
        StreamingEma: moving.ema(x, n),
        StreamingRsi: oscillators.rsi(x, n),
    }
    for stream_class, batch in batches.items():
        stream = stream_class(n)
        np.testing.assert_allclose([stream.update(v) for v in x[0].tolist()], batch[0], rtol=1e-12, atol=1e-12)


@given(x=series(symbols=1, longest=200), n=PERIOD)
def test_streaming_atr_equals_the_batch(x, n):
    high, low = x + 2, x - 1
    stream = StreamingAtr(n)
    one_by_one = [stream.update(*bar) for bar in zip(high[0].tolist(), low[0].tolist(), x[0].tolist(), strict=True)]
    np.testing.assert_allclose(one_by_one, volatility.atr(high, low, x, n)[0], rtol=1e-12, atol=1e-12)
