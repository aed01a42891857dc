"""Scans: one wide, with six indicators, beside TA-Lib and pandas; one from the database to its answer."""

import time
from collections.abc import Iterator
from datetime import timedelta
from statistics import median

import numpy as np

from strategies.rules.compiled import compile_rule
from strategies.rules.newest import newest
from strategies.rules.window import Window
from strategies.scanner.scan_bar import rule_window
from tests.bench import tape
from tests.bench.bench_indicators import Bars, walk
from tests.bench.harness import Figure, Run, Skipped, bench, middle_ms
from trading.marketdata.candles import forget_candles
from trading.marketdata.windows import WindowCache, load_window

RULE = "crosses_above(ema(close, 9), ema(close, 21)) and rsi(close, 14) > 50"
PEER = "per-symbol recursion in plain Python over numpy rows"


@bench
def scan(run: Run) -> Iterator[Figure]:
    """The rule over the whole window, and the same with the window loaded cold and warm."""
    symbols, bars = (20, 1_000) if run.quick else (50, 5_000)
    source, names, starts = tape.filled("SCAN", symbols, bars)
    rule, until = compile_rule(RULE), starts[-1] + timedelta(minutes=1)
    window = rule_window(load_window(source, names, 1, bars=bars, until=until))
    _must_agree(rule.evaluate(window), window)
    peer = middle_ms(lambda: _by_symbol(window.close), 2, warm_up=0)

    yield Figure("scan_rule", middle_ms(lambda: rule.evaluate(window), run.rounds(40), warm_up=3), "ms", PEER, peer)

    def cold() -> None:
        rule.evaluate(rule_window(load_window(source, names, 1, bars=bars, until=until)))

    cold_ms = middle_ms(cold, run.rounds(8))
    loading = middle_ms(lambda: load_window(source, names, 1, bars=bars, until=until), run.rounds(8))
    yield Figure("scan_cold", cold_ms, "ms", f"{PEER}, and the same loading", peer + loading)

    cache, clock = WindowCache(), iter(starts[-40:])
    cache.window(source, names, 1, bars=bars, until=starts[-41])

    def warm() -> None:
        rule.evaluate(rule_window(cache.window(source, names, 1, bars=bars, until=next(clock))))

    yield Figure("scan_warm", middle_ms(warm, run.rounds(32)), "ms", f"{PEER}, without loading", peer)
    forget_candles(source)


SIX = (
    "ema(close, 20) > ema(close, 50) and rsi(close, 14) > 50 and rsi(close, 14) < 70 and adx(14) > 20"
    " and close < bollinger_upper(close, 20, 2) and atr(14) > 0.001 * close"
)


@bench
def scan_wide(run: Run) -> Iterator[Figure]:
    """500 names × 5,000 bars, six indicators, a rule on the newest bar: one core, two, TA-Lib, pandas."""
    try:
        import pandas  # noqa: F401
        import talib  # noqa: F401
    except ImportError as error:
        raise Skipped("TA-Lib and pandas are not both installed") from error
    symbols, bars = (60, 2_000) if run.quick else (500, 5_000)
    market = walk(symbols, bars)
    numbers = np.arange(bars, dtype=np.int64)
    window = Window(
        tuple(map(str, range(symbols))), numbers * 60, market.open, market.high, market.low, market.close,
        market.volume, numbers // 375, (numbers % 375).astype(np.float64),
    )  # fmt: skip
    rule = compile_rule(SIX)
    rows = [market.row(s) for s in range(symbols)]
    theirs = np.array([_six_by_talib(row) for row in rows])
    for answer in (newest(rule, window), newest(rule, window, threads=2), rule.evaluate(window)[:, -1]):
        if not np.array_equal(answer, theirs) or not theirs.any():
            raise AssertionError("the scan and TA-Lib's loop do not answer alike")
    rounds: list[tuple[float, ...]] = []
    for _ in range(run.rounds(12)):
        stamps = [time.perf_counter()]
        for work in (
            lambda: newest(rule, window), lambda: newest(rule, window, threads=2),
            lambda: [_six_by_talib(row) for row in rows],
        ):  # fmt: skip
            work()
            stamps.append(time.perf_counter())
        rounds.append(tuple(np.diff(stamps)))
    began = time.perf_counter()
    for row in rows[:50]:
        _six_by_pandas(row)
    pandas_ms = (time.perf_counter() - began) * 1e3 * symbols / len(rows[:50])
    for name, place in (("one_core", 0), ("two_cores", 1)):
        ms = median(each[place] for each in rounds) * 1e3
        ratio = median(each[2] / each[place] for each in rounds)
        yield Figure(f"scan_wide_{name}", ms, "ms", "TA-Lib, row by row", ms * ratio)
    yield Figure("scan_wide_pandas", ms, "ms", "pandas, row by row (from 50 rows)", pandas_ms)


def _six_by_talib(row: Bars) -> bool:
    import talib

    high, low, close = row.high, row.low, row.close
    fast, slow, strength = talib.EMA(close, 20)[-1], talib.EMA(close, 50)[-1], talib.RSI(close, 14)[-1]
    trend, upper = talib.ADX(high, low, close, 14)[-1], talib.BBANDS(close, 20, 2.0, 2.0)[0][-1]
    reach = talib.ATR(high, low, close, 14)[-1]
    return bool(fast > slow and 50 < strength < 70 and trend > 20 and close[-1] < upper and reach > 0.001 * close[-1])


def _six_by_pandas(row: Bars) -> bool:
    import pandas as pd

    high, low, close = pd.Series(row.high), pd.Series(row.low), pd.Series(row.close)

    def wilder(values: "pd.Series[float]") -> "pd.Series[float]":
        return values.ewm(alpha=1 / 14, adjust=False).mean()

    move, before, rolling = close.diff(), close.shift(), close.rolling(20)
    gain, loss = wilder(move.clip(lower=0)), wilder(-move.clip(upper=0))
    up, down = high.diff(), -low.diff()
    rise, fall = wilder(up.where((up > down) & (up > 0), 0.0)), wilder(down.where((down > up) & (down > 0), 0.0))
    strength = (100 * gain / (gain + loss)).iat[-1]
    trend = wilder(100 * (rise - fall).abs() / (rise + fall)).iat[-1]
    reach = wilder(np.maximum(high, before) - np.minimum(low, before)).iat[-1]
    upper = (rolling.mean() + 2 * rolling.std(ddof=0)).iat[-1]
    fast, slow = close.ewm(span=20, adjust=False).mean().iat[-1], close.ewm(span=50, adjust=False).mean().iat[-1]
    return bool(
        fast > slow and 50 < strength < 70 and trend > 20 and close.iat[-1] < upper and reach > 0.001 * close.iat[-1]
    )


def _by_symbol(close: np.ndarray) -> np.ndarray:
    """The same rule as one would write it first: a loop over symbols, a loop over bars."""
    fired = np.zeros(close.shape, bool)
    for row in range(close.shape[0]):
        prices = close[row]
        fast, slow, strength = _ema(prices, 9), _ema(prices, 21), _rsi(prices, 14)
        fired[row, 1:] = (fast[1:] > slow[1:]) & (fast[:-1] <= slow[:-1]) & (strength[1:] > 50)
    return fired


def _ema(prices: np.ndarray, length: int) -> np.ndarray:
    out = np.full(prices.size, np.nan)
    value, weight = float(np.mean(prices[:length])), 2 / (length + 1)
    out[length - 1] = value
    for bar in range(length, prices.size):
        value += weight * (prices[bar] - value)
        out[bar] = value
    return out


def _rsi(prices: np.ndarray, length: int) -> np.ndarray:
    out = np.full(prices.size, np.nan)
    moves = np.diff(prices)
    gain = float(np.mean(np.maximum(moves[:length], 0)))
    loss = float(np.mean(np.maximum(-moves[:length], 0)))
    for bar in range(length, prices.size):
        if bar > length:
            move = moves[bar - 1]
            gain = (gain * (length - 1) + max(move, 0.0)) / length
            loss = (loss * (length - 1) + max(-move, 0.0)) / length
        out[bar] = 100.0 if loss == 0 else 100 - 100 / (1 + gain / loss)
    return out


def _must_agree(fired: np.ndarray, window: Window) -> None:
    """A figure is worth nothing when the two do not answer alike."""
    expected = _by_symbol(window.close)
    if not np.array_equal(fired[:, 200:], expected[:, 200:]):
        differ = int(np.count_nonzero(fired[:, 200:] != expected[:, 200:]))
        raise AssertionError(f"the rule and its peer differ at {differ} of {fired[:, 200:].size} bars")
    if not expected.any():
        raise AssertionError("the rule never fired: nothing was compared")
