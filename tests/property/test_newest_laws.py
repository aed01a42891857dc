"""A rule judged at the newest bar alone answers as it does when all bars are judged."""

import numpy as np
import pytest

from strategies.rules.compiled import compile_rule
from strategies.rules.newest import newest
from strategies.rules.window import Window

RULES = [
    "ema(close, 20) > ema(close, 50) and rsi(close, 14) > 50 and adx(14) > 20 and close < bollinger_upper(close, 9, 2)",
    "crosses_above(ema(close, 5), ema(close, 9)) or close[3] > sma(close, 10)[2]",
    "not (atr(14) > 0.02 * close) and max(high, high[1], high[2]) > donchian_upper(20)[1]",
    "sma(rsi(close, 14), 5) > 50 and volume > 1.1 * sma(volume, 20)",
    "obv() > 0 and close > psar(0.02, 0.2)",  # these remember everything: judged whole
    "close > session_vwap and gap_pct > -5",  # so are these
    "macd_histogram(close, 12, 26, 9) > 0 and stochastic_k(14, 3) > 50",
]


def market(symbols: int, bars: int, *, holes: bool) -> Window:
    rng = np.random.default_rng(symbols + bars)
    close = 100 * np.exp(np.cumsum(rng.normal(size=(symbols, bars)) * 0.002, axis=1))
    if holes:
        close[rng.random(close.shape) < 0.02] = np.nan
        close[0, : bars // 2] = np.nan
        close[1, -1] = np.nan
    spread = 1 + np.abs(rng.normal(size=close.shape)) * 0.001
    at = np.arange(bars, dtype=np.int64)
    return Window(
        tuple(map(str, range(symbols))), at * 60, close, close * spread, close / spread, close,
        np.round(rng.lognormal(8, 0.7, close.shape)), at // 375, (at % 375).astype(np.float64),
    )  # fmt: skip


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("text", RULES)
def test_the_newest_bar_alone_is_judged_as_with_all_before_it(text, holes, monkeypatch):
    monkeypatch.setattr("strategies.rules.newest.TOGETHER", 12_000)  # so that these are large windows, of several parts
    rule = compile_rule(text)
    seen = set()
    for bars in (1, 30, 400, 2_500):
        window = market(70, bars, holes=holes)
        expected = rule.evaluate(window)[:, -1]
        np.testing.assert_array_equal(newest(rule, window), expected)
        for threads in (2, 3):
            np.testing.assert_array_equal(newest(rule, window, threads=threads), expected)
        seen |= set(expected.tolist())
    assert seen == {True, False}, "a rule that always says the same shows nothing"


def test_a_number_is_no_condition():
    with pytest.raises(TypeError):
        newest(compile_rule("close + 1"), market(2, 9, holes=False))
