"""Indicators beside TA-Lib on the same bars: one long series, many series at once, one new bar, a first screenful.

Both take turns in every round, so that a busy neighbour slows both, and each is called for 30 ms on end in its turn, as
in a program that does nothing else. The ratio is that of the medians over the rounds.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import geometric_mean, median

import numpy as np

from tests.bench.harness import Figure, Run, Skipped, bench, in_turns, keep_freed_memory, timed
from trading.indicators import moving, oscillators, statistics, trend, volatility, volume
from trading.indicators.streaming import stream

PEER = "TA-Lib, row by row"


@dataclass(frozen=True)
class Bars:
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    def row(self, s: int | slice) -> "Bars":
        return Bars(self.open[s], self.high[s], self.low[s], self.close[s], self.volume[s])

    def side_by_side(self) -> "Bars":
        """The same with the symbols of a bar beside each other in memory."""
        return Bars(*map(np.asfortranarray, (self.open, self.high, self.low, self.close, self.volume)))


def walk(symbols: int, bars: int) -> Bars:
    """Bars of a random walk, a tenth of a percent each: float64[symbols, bars]."""
    rng = np.random.default_rng(7)
    shape = (symbols, bars)
    close = 100 * np.exp(np.cumsum(rng.normal(size=shape) * 0.001, axis=1))
    opened = np.concatenate([np.full((symbols, 1), 100.0), close[:, :-1]], axis=1)
    high = np.maximum(opened, close) * (1 + np.abs(rng.normal(size=shape)) * 0.0005)
    low = np.minimum(opened, close) * (1 - np.abs(rng.normal(size=shape)) * 0.0005)
    return Bars(opened, high, low, close, rng.lognormal(8, 0.7, shape))


Ours = Callable[[Bars], object]
Pairs = dict[str, tuple[Ours, Ours]]


def pairs() -> Pairs:
    """What is measured: name → ours over all rows, theirs over one."""
    try:
        import talib
    except ImportError as error:
        raise Skipped("TA-Lib is not installed") from error
    return {
        "sma": (lambda b: moving.sma(b.close, 20), lambda b: talib.SMA(b.close, 20)),
        "ema": (lambda b: moving.ema(b.close, 20), lambda b: talib.EMA(b.close, 20)),
        "wma": (lambda b: moving.wma(b.close, 20), lambda b: talib.WMA(b.close, 20)),
        "dema": (lambda b: moving.dema(b.close, 20), lambda b: talib.DEMA(b.close, 20)),
        "tema": (lambda b: moving.tema(b.close, 20), lambda b: talib.TEMA(b.close, 20)),
        "kama": (lambda b: moving.kama(b.close, 10, 2, 30), lambda b: talib.KAMA(b.close, 10)),
        "rsi": (lambda b: oscillators.rsi(b.close, 14), lambda b: talib.RSI(b.close, 14)),
        "roc": (lambda b: oscillators.roc(b.close, 10), lambda b: talib.ROC(b.close, 10)),
        "macd": (lambda b: oscillators.macd_lines(b.close, 12, 26, 9), lambda b: talib.MACD(b.close)),
        "stochastic": (
            lambda b: oscillators.stochastic(b.high, b.low, b.close, 14, 3, 3),
            lambda b: talib.STOCH(b.high, b.low, b.close, 14, 3, 0, 3, 0),
        ),
        "stoch_rsi": (lambda b: oscillators.stoch_rsi(b.close, 14, 14), lambda b: talib.STOCHRSI(b.close, 14, 14, 1)),
        "williams_r": (
            lambda b: oscillators.williams_r(b.high, b.low, b.close, 14),
            lambda b: talib.WILLR(b.high, b.low, b.close, 14),
        ),
        "cci": (lambda b: oscillators.cci(b.high, b.low, b.close, 20), lambda b: talib.CCI(b.high, b.low, b.close, 20)),
        "true_range": (
            lambda b: volatility.true_range(b.high, b.low, b.close),
            lambda b: talib.TRANGE(b.high, b.low, b.close),
        ),
        "atr": (lambda b: volatility.atr(b.high, b.low, b.close, 14), lambda b: talib.ATR(b.high, b.low, b.close, 14)),
        "stdev": (lambda b: volatility.stdev(b.close, 20), lambda b: talib.STDDEV(b.close, 20)),
        "bollinger": (lambda b: volatility.bollinger(b.close, 20, 2.0), lambda b: talib.BBANDS(b.close, 20, 2.0, 2.0)),
        "highest": (lambda b: trend.highest(b.close, 20), lambda b: talib.MAX(b.close, 20)),
        "adx": (lambda b: trend.adx(b.high, b.low, b.close, 14), lambda b: talib.ADX(b.high, b.low, b.close, 14)),
        "aroon": (lambda b: trend.aroon(b.high, b.low, 25), lambda b: talib.AROON(b.high, b.low, 25)),
        "psar": (lambda b: trend.psar(b.high, b.low, 0.02, 0.2), lambda b: talib.SAR(b.high, b.low, 0.02, 0.2)),
        "mfi": (
            lambda b: volume.mfi(b.high, b.low, b.close, b.volume, 14),
            lambda b: talib.MFI(b.high, b.low, b.close, b.volume, 14),
        ),
        "obv": (lambda b: volume.obv(b.close, b.volume), lambda b: talib.OBV(b.close, b.volume)),
        "slope": (lambda b: statistics.slope(b.close, 20), lambda b: talib.LINEARREG_SLOPE(b.close, 20)),
        "correlation": (
            lambda b: statistics.correlation(b.close, b.open, 20),
            lambda b: talib.CORREL(b.close, b.open, 20),
        ),
    }


# The seven a desk computes for every symbol, by which the whole is judged; the others are told beside them.
SEVEN = ("sma", "ema", "rsi", "atr", "kama", "adx", "bollinger")


def beside_talib(what: str, bars: Bars, rounds: int, *, only: tuple[str, ...] = (), cores: int = 1) -> Iterator[Figure]:
    keep_freed_memory()
    symbols, length = bars.close.shape
    rows = [bars.row(s) for s in range(symbols)]
    ratios: dict[str, float] = {}
    for name, (one_core, theirs) in pairs().items():
        if only and name not in only:
            continue
        ours = one_core if cores == 1 else in_parts(one_core, bars, cores)
        took = in_turns({"ours": partial(ours, bars), "theirs": partial(_row_by_row, theirs, rows)}, rounds)
        mine, peer = (took[side].settled / (symbols * length) * 1e9 for side in ("ours", "theirs"))
        ratios[name] = peer / mine
        yield Figure(f"{what}_{name}", mine, "ns", PEER, peer)
    for whom, names in (("seven", SEVEN), *((("all", tuple(ratios)),) if not only else ())):
        told = ", ".join(names) if whom == "seven" else f"all {len(names)} above"
        yield Figure(f"{what}_{whom}_mean", geometric_mean(ratios[name] for name in names), "×", f"{PEER}: {told}", 1.0)
    yield Figure(f"{what}_least", min(ratios.values()), "×", PEER, 1.0)


# What takes symbols as they lie side by side.
BESIDE = (*SEVEN, "wma", "dema", "tema", "roc", "macd", "true_range", "stdev")


def each_on_its_own(what: str, bars: Bars, rounds: int, only: tuple[str, ...]) -> Iterator[Figure]:
    """Ours over symbols side by side and TA-Lib over rows that lie in one piece: each as it likes bars best.

    The first call of a turn finds its bars wherever the other side has left them, the others find them near. All of a
    turn count; the mean of the first calls alone is told too.
    """
    keep_freed_memory()
    symbols, length = bars.close.shape
    beside, rows = bars.side_by_side(), [bars.row(s) for s in range(symbols)]
    settled: dict[str, float] = {}
    first: dict[str, float] = {}
    for name, (ours, theirs) in pairs().items():
        if name not in only:
            continue
        took = in_turns({"ours": partial(ours, beside), "theirs": partial(_row_by_row, theirs, rows)}, rounds)
        mine, peer = took["ours"], took["theirs"]
        settled[name], first[name] = peer.settled / mine.settled, peer.first / mine.first
        scale = 1e9 / (symbols * length)
        yield Figure(f"{what}_{name}", mine.settled * scale, "ns", PEER, peer.settled * scale)
    told = f"{PEER}: {', '.join(SEVEN)}"
    yield Figure(f"{what}_seven_mean", geometric_mean(settled[name] for name in SEVEN), "×", told, 1.0)
    yield Figure(f"{what}_seven_mean_first", geometric_mean(first[name] for name in SEVEN), "×", told, 1.0)
    yield Figure(f"{what}_least", min(settled.values()), "×", PEER, 1.0)


def _row_by_row(theirs: Ours, rows: list[Bars]) -> list[object]:
    return [theirs(row) for row in rows]


def in_parts(ours: Ours, bars: Bars, cores: int) -> Ours:
    """Each core its share of the symbols: kernels leave the interpreter alone while they run."""
    pool, symbols = ThreadPoolExecutor(cores), bars.close.shape[0]
    parts = [bars.row(slice(symbols * k // cores, symbols * (k + 1) // cores)) for k in range(cores)]
    return lambda _: list(pool.map(ours, parts))


@bench
def indicators_long(run: Run) -> Iterator[Figure]:
    """One series of 100,000 bars on one core, ns a bar."""
    yield from beside_talib("long", walk(1, 20_000 if run.quick else 100_000), run.rounds(40))


@bench
def indicators_wide(run: Run) -> Iterator[Figure]:
    """64 series of 5,000 bars at once on one core, ns a bar."""
    yield from beside_talib("wide", walk(64, 1_000 if run.quick else 5_000), run.rounds(16))


@bench
def indicators_side_by_side(run: Run) -> Iterator[Figure]:
    """64 series of 5,000 bars that lie side by side, TA-Lib on rows, on one core, ns a bar."""
    yield from each_on_its_own("beside", walk(64, 1_000 if run.quick else 5_000), run.rounds(16), BESIDE)


@bench
def indicators_side_by_side_many(run: Run) -> Iterator[Figure]:
    """500 series of 5,000 bars that lie side by side, TA-Lib on rows, on one core, ns a bar."""
    yield from each_on_its_own("beside_many", walk(500, 1_000 if run.quick else 5_000), run.rounds(8), SEVEN)


@bench
def indicators_wide_two_cores(run: Run) -> Iterator[Figure]:
    """The same 64 series on two cores, beside TA-Lib on one: the seven a desk computes for every symbol."""
    bars = walk(64, 1_000 if run.quick else 5_000)
    yield from beside_talib("wide_two_cores", bars, run.rounds(16), only=SEVEN, cores=2)


@bench
def indicators_new_bar(run: Run) -> Iterator[Figure]:
    """One new bar of 500 symbols into EMA, RSI, ATR and KAMA, µs each; equal to the batch to the last bit."""
    bars = walk(500, 200)
    for name, constants, inputs in (
        ("ema", (20,), (bars.close,)),
        ("rsi", (14,), (bars.close,)),
        ("atr", (14,), (bars.high, bars.low, bars.close)),
        ("kama", (10, 2, 30), (bars.close,)),
    ):
        live = stream(name, 500, *constants)
        seconds, values = [], []
        for bar in range(200):
            newest = [each[:, bar].copy() for each in inputs]
            began = time.perf_counter()
            values.append(live.update(*newest))
            seconds.append(time.perf_counter() - began)
        batch = {"ema": moving.ema, "rsi": oscillators.rsi, "atr": volatility.atr, "kama": moving.kama}[name]
        if not np.array_equal(np.stack(values, axis=1), batch(*inputs, *constants), equal_nan=True):
            raise AssertionError(f"{name}: bar by bar is not the batch")
        yield Figure(f"new_bar_{name}", median(seconds[100:]) * 1e6, "µs", "the 50 µs allowed", 50.0)


@bench
def indicators_screenful(run: Run) -> Iterator[Figure]:
    """EMA, RSI, ATR and KAMA of 10,000 candles, all four, warm."""
    bars = walk(1, 10_000)

    def all_four() -> None:
        moving.ema(bars.close, 20)
        oscillators.rsi(bars.close, 14)
        volatility.atr(bars.high, bars.low, bars.close, 14)
        moving.kama(bars.close, 10, 2, 30)

    yield Figure("screenful", median(timed(all_four, run.rounds(200), warm_up=5)) * 1e3, "ms", "the 1 ms allowed", 1.0)
