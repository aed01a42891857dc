"""Kernels against TA-Lib, on bars of a random walk. Where the conventions differ, from the bar where it has faded."""

import numpy as np
import pytest

from trading.indicators import moving, oscillators, statistics, trend, volatility, volume

talib = pytest.importorskip("talib", reason="TA-Lib is an oracle of the tests, where its wheel can be installed")

BARS = 3_000


@pytest.fixture(scope="module")
def day() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(20)
    close = 800 * np.exp(rng.normal(size=BARS).cumsum() * 0.002)
    opened = np.r_[800.0, close[:-1]] * (1 + rng.normal(size=BARS) * 0.0005)
    high = np.maximum(opened, close) * (1 + abs(rng.normal(size=BARS)) * 0.001)
    low = np.minimum(opened, close) * (1 - abs(rng.normal(size=BARS)) * 0.001)
    return {"open": opened, "high": high, "low": low, "close": close, "volume": np.round(rng.lognormal(8, 0.7, BARS))}


CASES = {
    "sma": (moving.sma, "close", (20,), lambda d: talib.SMA(d["close"], 20), 0),
    "ema": (moving.ema, "close", (20,), lambda d: talib.EMA(d["close"], 20), 0),
    "wma": (moving.wma, "close", (20,), lambda d: talib.WMA(d["close"], 20), 0),
    "dema": (moving.dema, "close", (20,), lambda d: talib.DEMA(d["close"], 20), 0),
    "tema": (moving.tema, "close", (20,), lambda d: talib.TEMA(d["close"], 20), 0),
    "kama": (moving.kama, "close", (10, 2, 30), lambda d: talib.KAMA(d["close"], 10), 0),
    "rsi": (oscillators.rsi, "close", (14,), lambda d: talib.RSI(d["close"], 14), 0),
    "roc": (oscillators.roc, "close", (10,), lambda d: talib.ROC(d["close"], 10), 0),
    # The fast seed differs, and fades.
    "macd": (oscillators.macd, "close", (12, 26), lambda d: talib.MACD(d["close"])[0], 400),
    "macd_signal": (oscillators.macd_signal, "close", (12, 26, 9), lambda d: talib.MACD(d["close"])[1], 400),
    "stochastic_k": (
        oscillators.stochastic_k, "high low close", (14, 3),
        lambda d: talib.STOCH(d["high"], d["low"], d["close"], 14, 3, 0, 3, 0)[0], 17,
    ),
    "stochastic_d": (
        oscillators.stochastic_d, "high low close", (14, 3, 3),
        lambda d: talib.STOCH(d["high"], d["low"], d["close"], 14, 3, 0, 3, 0)[1], 0,
    ),
    "stoch_rsi": (oscillators.stoch_rsi, "close", (14, 14), lambda d: talib.STOCHRSI(d["close"], 14, 14, 1)[0], 0),
    "williams_r": (
        oscillators.williams_r, "high low close", (14,), lambda d: talib.WILLR(d["high"], d["low"], d["close"], 14), 0,
    ),
    "cci": (oscillators.cci, "high low close", (20,), lambda d: talib.CCI(d["high"], d["low"], d["close"], 20), 0),
    "true_range": (
        volatility.true_range, "high low close", (), lambda d: talib.TRANGE(d["high"], d["low"], d["close"]), 0,
    ),
    "atr": (volatility.atr, "high low close", (14,), lambda d: talib.ATR(d["high"], d["low"], d["close"], 14), 0),
    "stdev": (volatility.stdev, "close", (20,), lambda d: talib.STDDEV(d["close"], 20), 0),
    "bollinger_upper": (
        volatility.bollinger_upper, "close", (20, 2.0), lambda d: talib.BBANDS(d["close"], 20, 2.0, 2.0)[0], 0,
    ),
    "bollinger_lower": (
        volatility.bollinger_lower, "close", (20, 2.0), lambda d: talib.BBANDS(d["close"], 20, 2.0, 2.0)[2], 0,
    ),
    "highest": (trend.highest, "close", (20,), lambda d: talib.MAX(d["close"], 20), 0),
    "lowest": (trend.lowest, "close", (700,), lambda d: talib.MIN(d["close"], 700), 0),
    # TA-Lib seeds with one move less, and that fades.
    "adx": (trend.adx, "high low close", (14,), lambda d: talib.ADX(d["high"], d["low"], d["close"], 14), 600),
    "plus_di": (
        trend.plus_di, "high low close", (14,), lambda d: talib.PLUS_DI(d["high"], d["low"], d["close"], 14), 500,
    ),
    "minus_di": (
        trend.minus_di, "high low close", (14,), lambda d: talib.MINUS_DI(d["high"], d["low"], d["close"], 14), 500,
    ),
    "aroon_up": (trend.aroon_up, "high low", (25,), lambda d: talib.AROON(d["high"], d["low"], 25)[1], 0),
    "aroon_down": (trend.aroon_down, "high low", (25,), lambda d: talib.AROON(d["high"], d["low"], 25)[0], 0),
    "psar": (trend.psar, "high low", (0.02, 0.2), lambda d: talib.SAR(d["high"], d["low"], 0.02, 0.2), 0),
    "mfi": (
        volume.mfi, "high low close volume", (14,),
        lambda d: talib.MFI(d["high"], d["low"], d["close"], d["volume"], 14), 0,
    ),
    # TA-Lib begins with the first volume, we with 0.
    "obv": (volume.obv, "close volume", (), lambda d: talib.OBV(d["close"], d["volume"]) - d["volume"][0], 0),
    "slope": (statistics.slope, "close", (20,), lambda d: talib.LINEARREG_SLOPE(d["close"], 20), 0),
    "correlation": (statistics.correlation, "close open", (20,), lambda d: talib.CORREL(d["close"], d["open"], 20), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_indicator_agrees_with_talib(name, day):
    kernel, fields, constants, oracle, settled = CASES[name]
    ours = kernel(*(day[field][None, :] for field in fields.split()), *constants)[0]
    theirs = oracle(day)
    if settled == 0:
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.isfinite(theirs[settled:]).sum() > BARS / 2
    np.testing.assert_allclose(ours[settled:], theirs[settled:], rtol=1e-7, atol=1e-7)


def test_beta_of_returns_agrees_with_talib_which_makes_them_itself(day):
    returns = [oscillators.roc(day[field][None, :], 1) for field in ("open", "close")]
    ours = statistics.beta(returns[1], returns[0], 20)[0]
    np.testing.assert_allclose(ours[21:], talib.BETA(day["open"], day["close"], 20)[21:], rtol=1e-6, atol=1e-7)
