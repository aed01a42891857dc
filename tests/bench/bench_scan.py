"""One scan: 50 names × 5,000 bars, EMA 9/21 crossing under an RSI filter, from the database to an answer."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np

from strategies.rules.evaluate import Window, compile_rule
from strategies.scanner.scan_bar import rule_window
from tests.bench import tape
from tests.bench.harness import Figure, Run, bench, middle_ms
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
