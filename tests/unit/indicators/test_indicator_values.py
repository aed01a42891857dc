"""Kernels against small tables worked by hand."""

import numpy as np
import pytest

from trading.indicators import describe, moving, oscillators, statistics, trend, volatility, volume
from trading.indicators.registry import REGISTRY, kernel_argument
from trading.indicators.rows import Kernel

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
    bars = {"open": close + 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": close * 5}
    series = [close, close[::-1]][: indicator.arity] + [bars[field] for field in indicator.inputs]
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


def test_double_and_triple_means_by_hand():
    prices = row(1, 2, 4, 7, 11)
    once, twice = [1.5, 19 / 6, 103 / 18, 499 / 54], [7 / 3, 124 / 27, 623 / 81]
    shows(moving.dema(prices, 2), NAN, NAN, *[2 * a - b for a, b in zip(once[1:], twice, strict=True)])
    thrice = [(twice[0] + twice[1]) / 2, (twice[0] + twice[1]) / 6 + twice[2] * 2 / 3]
    expected = [3 * (a - b) + c for a, b, c in zip(once[2:], twice[1:], thrice, strict=True)]
    shows(moving.tema(prices, 2), NAN, NAN, NAN, *expected)


def test_the_adaptive_mean_hurries_when_straight_and_waits_in_noise():
    fast, slow = (2 / 3) ** 2, (2 / 31) ** 2
    shows(moving.kama(row(10, 11, 12), 2, 2, 30), NAN, NAN, 11 + fast * 1)
    shows(moving.kama(row(10, 11, 10), 2, 2, 30), NAN, NAN, 11 + slow * -1)
    shows(oscillators.efficiency_ratio(row(10, 11, 10, 12, 12, 12), 2), NAN, NAN, 0, 1 / 3, 1, 0)


def test_stochastic_and_williams_by_hand():
    high, low, close = row(10, 12, 14, 14), row(8, 9, 10, 10), row(9, 11, 13, 11)
    shows(oscillators.stochastic_k(high, low, close, 2, 1), NAN, 75, 80, 25)
    shows(oscillators.stochastic_k(high, low, close, 2, 2), NAN, NAN, 77.5, 52.5)
    shows(oscillators.stochastic_d(high, low, close, 2, 1, 2), NAN, NAN, 77.5, 52.5)
    shows(oscillators.williams_r(high, low, close, 2), NAN, -25, -20, -75)


def test_a_ratio_of_a_market_at_rest_stands_in_the_middle():
    rest = row(*[5] * 6)
    shows(oscillators.stochastic_k(rest, rest, rest, 2, 1), NAN, *[50] * 5)
    shows(oscillators.williams_r(rest, rest, rest, 2), NAN, *[-50] * 5)
    shows(oscillators.stoch_rsi(rest, 2, 2), NAN, NAN, NAN, 50, 50, 50)
    shows(volume.mfi(rest, rest, rest, rest, 2), NAN, NAN, 50, 50, 50, 50)
    shows(oscillators.cci(rest, rest, rest, 2), NAN, *[0] * 5)
    shows(statistics.zscore(rest, 2), NAN, *[0] * 5)
    shows(trend.adx(rest, rest, rest, 2), NAN, NAN, NAN, 0, 0, 0)
    assert np.isnan(statistics.r_squared(rest, 2)).all() and np.isnan(statistics.hurst(row(*[5] * 20), 3)).all()
    assert np.isnan(statistics.correlation(rest, row(1, 2, 3, 4, 5, 6), 3)).all()


def test_rest_after_a_move_leaves_no_noise_behind():
    prices = np.concatenate([np.linspace(100, 400, 50), np.full(30, 99.7)])[None, :].copy()
    assert statistics.zscore(prices, 20)[0, -1] == 0
    assert moving.kama(prices, 5, 2, 30)[0, -1] > 100  # nothing moves: the mean is slow, not fast
    assert volume.mfi(prices, prices, prices, np.full_like(prices, 3.3), 5)[0, -1] == 50


def test_commodity_channel_by_hand():
    typical = row(10, 12, 17)
    shows(oscillators.cci(typical, typical, typical, 3), NAN, NAN, 4 / (0.015 * 8 / 3))


def test_directional_movement_by_hand():
    high, low, close = row(10, 12, 13, 13), row(8, 9, 11, 8), row(9, 11, 12, 9)
    # +DM 2, 1, 0; -DM 0, 0, 3; ranges 3, 2, 5: means of two, then Wilder's.
    plus, minus = [100 * 1.5 / 2.5, 100 * 0.75 / 3.75], [0, 100 * 1.5 / 3.75]
    shows(trend.plus_di(high, low, close, 2), NAN, NAN, *plus)
    shows(trend.minus_di(high, low, close, 2), NAN, NAN, *minus)
    shows(trend.adx(high, low, close, 2), NAN, NAN, NAN, (100 + 100 * 0.75 / 2.25) / 2)


def test_channels_by_hand():
    high, low, close = row(10, 12, 11, 15), row(9, 10, 8, 13), row(9.5, 11, 9, 14)
    shows(trend.donchian_upper(high, low, 2), NAN, 12, 12, 15)
    shows(trend.donchian_lower(high, low, 2), NAN, 9, 8, 8)
    shows(trend.donchian_middle(high, low, 2), NAN, 10.5, 10, 11.5)
    shows(volatility.keltner_upper(high, low, close, 1, 2, 2.0), NAN, NAN, 9 + 5.5, 14 + 8.75)
    shows(volatility.keltner_lower(high, low, close, 1, 2, 2.0), NAN, NAN, 9 - 5.5, 14 - 8.75)


def test_aroon_counts_from_the_latest_of_equal_extremes():
    high, low = row(5, 7, 7, 6, 5), row(4, 3, 5, 5, 3)
    shows(trend.aroon_up(high, low, 2), NAN, NAN, 100, 50, 0)
    shows(trend.aroon_down(high, low, 2), NAN, NAN, 50, 0, 100)
    shows(trend.aroon_oscillator(high, low, 2), NAN, NAN, 50, 50, -100)


def test_supertrend_turns_when_the_close_goes_through_its_line():
    high, low, close = row(10, 11, 12, 9, 8), row(9, 10, 11, 6, 7), row(10, 11, 12, 6, 8)
    # Ranges 1, 1, 6, 2 are the ATR of 1. It rests on 9.5 and 10.5; the fall to 6 goes through, and the line is above.
    shows(trend.supertrend(high, low, close, 1, 1.0), NAN, 9.5, 10.5, 13.5, 9.5)
    shows(trend.supertrend_direction(high, low, close, 1, 1.0), NAN, 1, 1, -1, -1)


def test_the_parabolic_stop_follows_and_reverses():
    high, low = row(10, 11, 12, 12, 11), row(9, 10, 11, 11, 8)
    # Rising from 9 towards 11 and 12: 9, then 9.04 held at 9, then with 0.04 towards 12; the fall to 8 reverses it.
    shows(trend.psar(high, low, 0.02, 0.2), NAN, 9, 9.04, 9.1584, 12)


def test_ichimoku_spans_are_those_of_the_past():
    high, low = row(2, 4, 6, 8, 10), row(0, 2, 4, 6, 8)
    shows(trend.ichimoku_conversion(high, low, 1, 2, 3), 1, 3, 5, 7, 9)
    shows(trend.ichimoku_base(high, low, 1, 2, 3), NAN, 2, 4, 6, 8)
    shows(trend.ichimoku_span_a(high, low, 1, 2, 3), NAN, NAN, NAN, 2.5, 4.5)
    shows(trend.ichimoku_span_b(high, low, 1, 2, 3), NAN, NAN, NAN, NAN, 3)


def test_money_flow_and_anchored_vwap_by_hand():
    price, traded = row(10, 11, 10, 12), row(1, 2, 3, 1)
    shows(volume.mfi(price, price, price, traded, 2), NAN, NAN, 100 * 22 / 52, 100 * 12 / 42)
    anchor = row(0, 1, 0, 1)
    shows(volume.anchored_vwap(anchor, price, price, price, traded), NAN, 11, 52 / 5, 12)


def test_the_fitted_line_by_hand():
    prices = row(1, 2, 3, 3)
    shows(statistics.slope(prices, 3), NAN, NAN, 1, 0.5)
    shows(statistics.r_squared(prices, 3), NAN, NAN, 1, 0.75)
    shows(statistics.zscore(row(2, 4, 4), 2), NAN, 1, 0)


def test_correlation_and_beta_by_hand():
    x, y = row(1, 2, 3, 2), row(2, 4, 6, 8)
    shows(statistics.correlation(x, y, 3), NAN, NAN, 1, 0)
    shows(statistics.beta(x, y, 3), NAN, NAN, 0.5, 0)


def test_volatilities_by_hand():
    doubled = row(1, 2, 2, 1)
    log2 = np.log(2)
    shows(volatility.realised_volatility(doubled, 2, 4.0), NAN, NAN, 200 * log2 / np.sqrt(2), 200 * log2 / np.sqrt(2))
    flat = row(1, 1)
    shows(volatility.garman_klass(flat, row(2, 1), flat, flat, 2, 1.0), NAN, 50 * log2)


def test_garch_begins_with_the_long_run_and_remembers():
    prices = row(100, 100 * np.exp(0.02), 100 * np.exp(0.02))
    first = 0.1 + 0.1 * 4 + 0.8 * 1  # long run 0.1 / (1 - 0.9) = 1 percent²
    shows(volatility.garch(prices, 0.1, 0.1, 0.8), NAN, np.sqrt(first), np.sqrt(0.1 + 0.8 * first))


def test_filters_follow_a_straight_line_exactly():
    line = 3.0 + 0.5 * np.arange(50)[None, :]
    np.testing.assert_allclose(statistics.hp_trend(line, 1600.0), line, rtol=1e-12)
    np.testing.assert_allclose(statistics.kalman_level(line, 0.01, 0.0001), line, rtol=1e-12)
    np.testing.assert_allclose(statistics.kalman_slope(line, 0.01, 0.0001)[:, 1:], 0.5, rtol=1e-10)


def test_the_hurst_exponent_tells_a_walk_from_a_trend_and_from_noise():
    noise = np.random.default_rng(11).normal(size=(1, 4000))
    assert statistics.hurst(noise.cumsum(axis=1), 3000)[0, -1] == pytest.approx(0.5, abs=0.05)
    assert statistics.hurst(np.arange(4000.0)[None, :], 3000)[0, -1] == pytest.approx(1)
    assert statistics.hurst(noise, 3000)[0, -1] == pytest.approx(0, abs=0.05)


def test_the_page_about_indicators_says_what_the_registry_says():
    assert describe.PAGE.read_text() == describe.as_markdown(), "python -m trading.indicators.describe writes it anew"


@pytest.mark.parametrize("name", REGISTRY)
def test_every_kernel_says_where_it_comes_from_and_when_it_begins(name):
    words = REGISTRY[name].kernel.__doc__ or ""
    assert "bar" in words and len(words) > 60 and words != Kernel.__doc__, words
