"""Kernels against small tables worked by hand."""

import numpy as np
import pytest

from trading.indicators import moving, oscillators, trend, volatility, volume
from trading.indicators.registry import REGISTRY, kernel_argument

NAN = float("nan")


def row(*values: float) -> np.ndarray:
    return np.array([values], dtype=np.float64)


def shows(result: np.ndarray, *expected: float) -> None:
    np.testing.assert_allclose(result[0], expected, rtol=1e-12, atol=1e-12)


def test_simple_exponential_and_weighted_means_by_hand():
    prices = row(10, 11, 12, 14, 13)
    shows(moving.sma(prices, 3), NAN, NAN, 11, 37 / 3, 13)
    shows(moving.ema(prices, 3), NAN, NAN, 11, 12.5, 12.75)  # seed 11, weight 1/2
    shows(moving.wma(prices, 3), NAN, NAN, 68 / 6, 77 / 6, 79 / 6)


def test_rsi_by_hand():
    # Changes +1, +1, -1, +2; seed of three: gain 2/3, loss 1/3; then gain 10/9, loss 2/9.
    shows(oscillators.rsi(row(10, 11, 12, 11, 13), 3), NAN, NAN, NAN, 200 / 3, 100 * 10 / 12)


def test_rsi_of_a_price_that_only_rises_falls_or_rests():
    shows(oscillators.rsi(row(1, 2, 3, 4), 2), NAN, NAN, 100, 100)
    shows(oscillators.rsi(row(4, 3, 2, 1), 2), NAN, NAN, 0, 0)
    shows(oscillators.rsi(row(5, 5, 5, 5), 2), NAN, NAN, 50, 50)


def test_true_range_and_atr_by_hand():
    high, low, close = row(10, 12, 11, 15), row(9, 10, 8, 13), row(9.5, 11, 9, 14)
    shows(volatility.true_range(high, low, close), NAN, 2.5, 3, 6)
    shows(volatility.atr(high, low, close, 2), NAN, NAN, 2.75, 4.375)


def test_deviation_and_bands_by_hand():
    prices = row(2, 4, 4, 6)
    shows(volatility.stdev(prices, 2), NAN, 1, 0, 1)
    shows(volatility.bollinger_upper(prices, 2, 2.0), NAN, 5, 4, 7)
    shows(volatility.bollinger_lower(prices, 2, 2.0), NAN, 1, 4, 3)


def test_macd_and_its_signal_by_hand():
    prices = row(1, 2, 3, 5, 8)
    # EMA 1 is the price; EMA 2: seed 1.5, then 2.5, 25/6, 121/18.
    line = [NAN, 0.5, 0.5, 5 / 6, 23 / 18]
    shows(oscillators.macd(prices, 1, 2), *line)
    shows(oscillators.macd_signal(prices, 1, 2, 2), NAN, NAN, 0.5, 0.5 + 2 / 3 * (5 / 6 - 0.5), 1.0925925925925926)
    shows(oscillators.macd_histogram(prices, 1, 2, 2)[:, :3], NAN, NAN, 0)


def test_rate_of_change_extremes_and_on_balance_volume_by_hand():
    prices = row(10, 12, 9, 9)
    shows(oscillators.roc(prices, 2), NAN, NAN, -10, -25)
    shows(trend.highest(prices, 2), NAN, 12, 12, 9)
    shows(trend.lowest(prices, 2), NAN, 10, 9, 9)
    shows(volume.obv(prices, row(5, 6, 7, 8)), 0, 6, -1, -1)


def test_vwap_starts_again_with_each_session_and_waits_for_volume():
    price, traded = row(10, 20, 30, 40), row(0, 1, 1, 3)
    sessions = np.array([1, 1, 2, 2], dtype=np.int64)
    shows(volume.session_vwap(price, price, price, traded, sessions), NAN, 20, 30, 37.5)


def test_a_cross_needs_the_other_side_before_and_a_touch_counts_as_not_above():
    fast, slow = row(1, 2, 3, 2, 4), row(2, 2, 2, 2, 2)
    assert trend.crosses_above(fast, slow)[0].tolist() == [False, False, True, False, True]
    assert trend.crosses_below(fast, slow)[0].tolist() == [False] * 5
    assert trend.crosses_below(slow, fast)[0].tolist() == [False, False, True, False, True]


def test_a_missing_bar_does_not_hide_a_cross():
    assert trend.crosses_above(row(1, NAN, 3), row(2, 2, 2))[0].tolist() == [False, False, True]


def test_a_missing_bar_is_left_out_and_the_rest_goes_on():
    whole, holed = row(10, 11, 12, 14, 13), row(10, NAN, 11, 12, 14, 13)
    for indicate in (lambda x: moving.sma(x, 3), lambda x: moving.ema(x, 3), lambda x: oscillators.rsi(x, 3)):
        expected = np.insert(indicate(whole), 1, NAN, axis=1)
        np.testing.assert_array_equal(indicate(holed), expected)


def test_infinity_is_a_missing_bar():
    shows(moving.sma(row(1, float("inf"), 3), 2), NAN, NAN, 2)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_indicator_warms_up_exactly_as_it_says(name):
    indicator = REGISTRY[name]
    constants = [parameter.default or 7 for parameter in indicator.parameters]
    rng = np.random.default_rng(7)
    close = 100 + rng.normal(size=(2, 120)).cumsum(axis=1)
    bars = {"high": close + 1, "low": close - 1, "close": close, "volume": np.full(close.shape, 5.0)}
    series = [close] * indicator.arity + [bars[field] for field in indicator.inputs]
    result = indicator.kernel(*series, *map(kernel_argument, indicator.parameters, constants))
    assert (np.isnan(result).sum(axis=1) == indicator.warm_up(constants)).all()
    assert indicator.settling(constants) >= indicator.warm_up(constants)
    assert indicator.doc and indicator.signature.startswith(name)


def test_fewer_bars_than_the_period_give_no_value():
    for name in ("sma", "ema", "wma", "rsi", "stdev", "highest"):
        assert np.isnan(REGISTRY[name].kernel(row(1, 2), 5)).all()


def test_a_long_flat_tail_after_a_wild_start_has_no_leftover_deviation():
    prices = np.concatenate([np.linspace(1, 1e6, 50), np.full(200, 100.0)])[None, :].copy()
    assert volatility.stdev(prices, 20)[0, -1] == pytest.approx(0, abs=1e-6)
    assert moving.sma(prices, 20)[0, -1] == pytest.approx(100, rel=1e-13)


def test_the_settling_length_hides_where_the_history_began():
    prices = 1000 + np.random.default_rng(3).normal(size=(1, 2000)).cumsum(axis=1)
    for name, period in (("ema", 21), ("rsi", 14)):
        indicator = REGISTRY[name]
        short = prices[:, -indicator.settling([period]) - 1 :].copy()
        long_way = indicator.kernel(prices, period)[0, -1]
        assert indicator.kernel(short, period)[0, -1] == pytest.approx(long_way, rel=2e-4)
