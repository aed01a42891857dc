"""Indicators by name, as the rule language knows them. Reading the registry compiles nothing and imports no numba."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from math import ceil, log
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from trading.indicators.rows import Kernel, Stream

MAX_PERIOD: Final = 5_000
SEED_WEIGHT_LEFT: Final = 1e-4  # a recursive mean is settled when its seed weighs less than this

Bars = Callable[[Sequence[float]], int]


@dataclass(frozen=True)
class Parameter:
    """A constant of an indicator: a `period` is a whole number of bars, a `number` any positive one."""

    name: str
    kind: Literal["period", "number"]
    default: float | None = None

    def accepts(self, value: float) -> bool:
        if self.kind == "period":
            return 1 <= value <= MAX_PERIOD and value == int(value)
        return 0 < value <= 1_000_000


@dataclass(frozen=True)
class Indicator:
    """One kernel and how to call it: `arity` series written in the rule, `inputs` taken from the bars, then parameters.

    `warm_up(parameters)`: bars before the first value. `settling(parameters)`: bars after which the choice of the
    first bar no longer shows (seed below 0.01 %): load that many, and a short window agrees with a long history.
    """

    name: str
    path: str  # module:function
    label: str  # how people write it, as in "RSI 14"
    doc: str
    warm_up: Bars
    settling: Bars
    arity: int = 1
    inputs: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    decimals: int = 2

    @cached_property
    def kernel(self) -> Kernel:
        """The compiled kernel; the first use in a process loads it from numba's cache or compiles it."""
        module, function = self.path.split(":")
        return getattr(import_module(module), function)  # type: ignore[no-any-return]

    def stream(self, symbols: int, constants: Sequence[float]) -> Stream:
        """The same, one bar of `symbols` symbols at a time."""
        return self.kernel.stream(symbols, *map(kernel_argument, self.parameters, constants))

    @property
    def defaults(self) -> Mapping[str, float]:
        return {p.name: p.default for p in self.parameters if p.default is not None}

    @property
    def signature(self) -> str:
        """As it is written in a rule, for help and messages."""
        written = ["series"] * self.arity + [p.name for p in self.parameters]
        return f"{self.name}({', '.join(written)})"


def _window(p: Sequence[float]) -> int:
    return int(p[0]) - 1


def _full(p: Sequence[float]) -> int:
    return int(p[0])


def _ema_settling(p: Sequence[float]) -> int:
    n = p[0]
    return int(n) + (ceil(log(SEED_WEIGHT_LEFT) / log(1 - 2 / (n + 1))) if n > 1 else 0)


def _wilder_settling(p: Sequence[float]) -> int:
    n = p[0]
    return int(n) + (ceil(log(SEED_WEIGHT_LEFT) / log(1 - 1 / n)) if n > 1 else 0)


def _macd_warm_up(p: Sequence[float]) -> int:
    return int(max(p[0], p[1])) - 1


def _macd_signal_warm_up(p: Sequence[float]) -> int:
    return _macd_warm_up(p) + int(p[2]) - 1


def _macd_settling(p: Sequence[float]) -> int:
    return _ema_settling([max(p[0], p[1])])


def _macd_signal_settling(p: Sequence[float]) -> int:
    return _macd_settling(p) + _ema_settling([p[2]])


def _plus(more: int) -> Bars:
    return lambda p: int(p[0]) + more


def _never(p: Sequence[float]) -> int:
    return 0


def _one(p: Sequence[float]) -> int:
    return 1


def _several_ema(times: int) -> tuple[Bars, Bars]:
    return lambda p: times * (int(p[0]) - 1), lambda p: times * _ema_settling(p)


def _kama_settling(p: Sequence[float]) -> int:
    return int(p[0]) + _ema_settling([max(p[1], p[2])]) * int(max(p[1], p[2]) + 1) // 2  # its weight is a square


def _keltner_settling(p: Sequence[float]) -> int:
    return max(_ema_settling(p), _wilder_settling([p[1]]))


def _garch_settling(p: Sequence[float]) -> int:
    beta = p[2]
    return 1 + (min(MAX_PERIOD, ceil(log(SEED_WEIGHT_LEFT) / log(beta))) if 0 < beta < 1 else MAX_PERIOD)


def _kalman_settling(p: Sequence[float]) -> int:
    """A steady filter forgets about as fast as an average over 2 / (slope noise) ^ ¼ bars, or 2 / √(level noise)."""
    reach = min(2 / p[0] ** 0.5, 2 * p[1] ** -0.25)
    return min(MAX_PERIOD, 2 + ceil(20 * max(reach, 1)))


def _hp_settling(p: Sequence[float]) -> int:
    return min(MAX_PERIOD, 2 + ceil(20 * p[0] ** 0.25))


_N = Parameter("period", "period")
_N10, _N14, _N20 = (Parameter("period", "period", n) for n in (10, 14, 20))
_FAST, _SLOW = Parameter("fast", "period", 12), Parameter("slow", "period", 26)
_MACD = (_FAST, _SLOW)
_MACD_SIGNAL = (_FAST, _SLOW, Parameter("signal", "period", 9))
_BANDS = (Parameter("period", "period", 20), Parameter("width", "number", 2))
_KAMA = (_N10, Parameter("fast", "period", 2), Parameter("slow", "period", 30))
_KELTNER = (_N20, Parameter("range_period", "period", 10), Parameter("width", "number", 2))
_SUPERTREND = (_N10, Parameter("width", "number", 3))
_STOCHASTIC = (_N14, Parameter("smooth", "period", 3), Parameter("mean", "period", 3))
_ICHIMOKU = (Parameter("conversion", "period", 9), Parameter("base", "period", 26), Parameter("span", "period", 52))
_YEAR = Parameter("bars_per_year", "number", 252)
_KALMAN = (Parameter("level_noise", "number", 0.01), Parameter("slope_noise", "number", 0.0001))
_GARCH = (Parameter("omega", "number"), Parameter("alpha", "number"), Parameter("beta", "number"))
_HL, _HLC, _HLCV = ("high", "low"), ("high", "low", "close"), ("high", "low", "close", "volume")


def _of_series(
    name: str, path: str, label: str, doc: str, warm_up: Bars, settling: Bars, *parameters: Parameter, **more: int
) -> Indicator:
    """An indicator of a series that the rule writes."""
    at = f"trading.indicators.{path}"
    return Indicator(name, at, label, doc, warm_up, settling, parameters=parameters, **more)  # type: ignore[arg-type]


def _of_bars(
    inputs: tuple[str, ...],
    name: str,
    path: str,
    label: str,
    doc: str,
    warm_up: Bars,
    settling: Bars,
    *parameters: Parameter,
    decimals: int = 2,
) -> Indicator:
    """An indicator that takes what it needs from the bars."""
    at = f"trading.indicators.{path}"
    return Indicator(name, at, label, doc, warm_up, settling, 0, inputs, parameters, decimals)


def _averages() -> Iterator[Indicator]:
    one = _of_series
    yield one("sma", "moving:sma", "SMA", "simple moving average", _window, _window, _N)
    yield one("ema", "moving:ema", "EMA", "exponential average", _window, _ema_settling, _N)
    yield one("wma", "moving:wma", "WMA", "linearly weighted average", _window, _window, _N)
    yield one("dema", "moving:dema", "DEMA", "double exponential average", *_several_ema(2), _N)
    yield one("tema", "moving:tema", "TEMA", "triple exponential average", *_several_ema(3), _N)
    yield one("kama", "moving:kama", "KAMA", "Kaufman's adaptive average", _full, _kama_settling, *_KAMA)


def _momentum() -> Iterator[Indicator]:
    one, path = _of_series, "oscillators:"
    yield one(
        "rsi", path + "rsi", "RSI", "Wilder's relative strength index, 0 to 100", _full, _wilder_settling, _N14,
        decimals=1,
    )  # fmt: skip
    yield one(
        "stoch_rsi", path + "stoch_rsi", "StochRSI", "where the RSI stands in its own range, 0 to 100",
        lambda p: int(p[0] + p[1]) - 1, lambda p: _wilder_settling(p) + int(p[1]), _N14,
        Parameter("window", "period", 14), decimals=1,
    )  # fmt: skip
    yield one("roc", path + "roc", "ROC", "change over the period, percent", _full, _full, _N)
    yield one("macd", path + "macd", "MACD", "fast minus slow EMA", _macd_warm_up, _macd_settling, *_MACD)
    for name, label, doc in (
        ("macd_signal", "MACD signal", "EMA of the MACD"),
        ("macd_histogram", "MACD histogram", "MACD minus its signal"),
    ):
        yield one(name, path + name, label, doc, _macd_signal_warm_up, _macd_signal_settling, *_MACD_SIGNAL)
    yield one(
        "efficiency_ratio", path + "efficiency_ratio", "Efficiency", "way made against way gone, 0 to 1", _full, _full,
        _N10,
    )  # fmt: skip
    of, k = _of_bars, lambda p: int(p[0] + p[1]) - 2
    yield of(
        _HLC, "stochastic_k", path + "stochastic_k", "%K", "close within the range, 0 to 100", k, k, *_STOCHASTIC[:2],
        decimals=1,
    )  # fmt: skip
    d: Bars = lambda p: int(p[0] + p[1] + p[2]) - 3  # noqa: E731
    yield of(_HLC, "stochastic_d", path + "stochastic_d", "%D", "mean of %K", d, d, *_STOCHASTIC, decimals=1)
    yield of(
        _HLC, "williams_r", path + "williams_r", "%R", "Williams %R, -100 to 0", _window, _window, _N14, decimals=1
    )
    yield of(_HLC, "cci", path + "cci", "CCI", "commodity channel index", _window, _window, _N20, decimals=1)
    yield of(
        _HLCV, "mfi", "volume:mfi", "MFI", "money flow index, 0 to 100", _full, _full, _N14, decimals=1
    )  # fmt: skip


def _movement() -> Iterator[Indicator]:
    one, of, path = _of_series, _of_bars, "volatility:"
    yield of(_HLC, "true_range", path + "true_range", "True range", "true range, rupees", _one, _one)
    yield of(_HLC, "atr", path + "atr", "ATR", "Wilder's average true range, rupees", _full, _wilder_settling, _N14)
    yield one("stdev", path + "stdev", "Stdev", "standard deviation", _window, _window, _N)
    for band in ("upper", "middle", "lower"):
        yield one(
            f"bollinger_{band}", f"{path}bollinger_{band}", f"Bollinger {band}", f"{band} band", _window, _window,
            *_BANDS,
        )  # fmt: skip
    for band in ("upper", "middle", "lower"):
        yield of(
            _HLC, f"keltner_{band}", f"{path}keltner_{band}", f"Keltner {band}", f"{band} channel of EMA and ATR",
            lambda p: max(int(p[0]) - 1, int(p[1])), _keltner_settling, *_KELTNER,
        )  # fmt: skip
    for band in ("upper", "middle", "lower"):
        yield of(
            _HL, f"donchian_{band}", f"trend:donchian_{band}", f"Donchian {band}", f"{band} channel of extremes",
            _window, _window, _N20,
        )  # fmt: skip
    yield one(
        "realised_volatility", path + "realised_volatility", "Volatility",
        "deviation of log returns, percent a year", _full, _full, _N20, _YEAR,
    )  # fmt: skip
    yield of(
        ("open", "high", "low", "close"), "garman_klass", path + "garman_klass", "Garman-Klass",
        "volatility from the whole bar, percent a year", _window, _window, _N20, _YEAR,
    )  # fmt: skip
    yield one(
        "garch", path + "garch", "GARCH", "forecast of the next bar's volatility, percent", _one, _garch_settling,
        *_GARCH,
    )  # fmt: skip


def _direction() -> Iterator[Indicator]:
    one, of, path = _of_series, _of_bars, "trend:"
    yield one("highest", path + "highest", "Highest", "highest of the period", _window, _window, _N)
    yield one("lowest", path + "lowest", "Lowest", "lowest of the period", _window, _window, _N)
    yield of(
        _HLC, "adx", path + "adx", "ADX", "strength of the trend, 0 to 100", lambda p: 2 * int(p[0]) - 1,
        lambda p: 2 * _wilder_settling(p), _N14, decimals=1,
    )  # fmt: skip
    for name, label, way in (("plus_di", "+DI", "up"), ("minus_di", "-DI", "down")):
        yield of(
            _HLC, name, path + name, label, f"share of moves {way}, 0 to 100", _full, _wilder_settling, _N14,
            decimals=1,
        )  # fmt: skip
    for name in ("up", "down", "oscillator"):
        yield of(
            _HL, f"aroon_{name}", f"{path}aroon_{name}", f"Aroon {name}", "how recent the extreme is, percent", _full,
            _full, Parameter("period", "period", 25), decimals=1,
        )  # fmt: skip
    for name, label, doc in (
        ("supertrend", "Supertrend", "trailing line of ATR bands, rupees"),
        ("supertrend_direction", "Supertrend direction", "1 rising, -1 falling"),
    ):
        yield of(_HLC, name, path + name, label, doc, _full, lambda p: 3 * _wilder_settling(p), *_SUPERTREND)
    yield of(
        _HL, "psar", path + "psar", "PSAR", "parabolic stop and reverse, rupees", _one, lambda p: 250,
        Parameter("step", "number", 0.02), Parameter("limit", "number", 0.2),
    )  # fmt: skip
    for name, label, warm_up in _ICHIMOKU_LINES:
        yield of(
            _HL, f"ichimoku_{name}", f"{path}ichimoku_{name}", label, "Ichimoku line, rupees", warm_up, warm_up,
            *_ICHIMOKU,
        )  # fmt: skip


_ICHIMOKU_LINES: Final[tuple[tuple[str, str, Bars], ...]] = (
    ("conversion", "Conversion line", lambda p: int(p[0]) - 1),
    ("base", "Base line", lambda p: int(p[1]) - 1),
    ("span_a", "Span A", lambda p: int(max(p[0], p[1]) - 1 + p[1])),
    ("span_b", "Span B", lambda p: int(p[2] - 1 + p[1])),
)


def _traded() -> Iterator[Indicator]:
    yield _of_bars(
        ("close", "volume"), "obv", "volume:obv", "OBV", "on-balance volume since the window began", _never, _never,
        decimals=0,
    )  # fmt: skip
    at = "trading.indicators.volume:anchored_vwap"
    yield Indicator(
        "anchored_vwap", at, "Anchored VWAP", "average price since the series was last above 0", _never, _never,
        inputs=_HLCV,
    )  # fmt: skip


def _statistics() -> Iterator[Indicator]:
    one, path = _of_series, "statistics:"
    yield one("slope", path + "slope", "Slope", "slope of the fitted line, per bar", _window, _window, _N)
    yield one("r_squared", path + "r_squared", "R²", "fit of the line, 0 to 1", _window, _window, _N)
    yield one("zscore", path + "zscore", "Z-score", "distance from the mean in deviations", _window, _window, _N20)
    yield one(
        "correlation", path + "correlation", "Correlation", "likeness of two series, -1 to 1", _window, _window, _N,
        arity=2,
    )  # fmt: skip
    yield one("beta", path + "beta", "Beta", "move of the first per move of the second", _window, _window, _N, arity=2)
    yield one(
        "kalman_level", path + "kalman_level", "Kalman level", "filtered level", _never, _kalman_settling, *_KALMAN
    )
    yield one(
        "kalman_slope", path + "kalman_slope", "Kalman slope", "filtered slope, per bar", _one, _kalman_settling,
        *_KALMAN,
    )  # fmt: skip
    yield one(
        "hp_trend", path + "hp_trend", "HP trend", "one-sided Hodrick-Prescott trend", _never, _hp_settling,
        Parameter("smoothing", "number", 1600),
    )  # fmt: skip
    yield one(
        "hurst", path + "hurst", "Hurst", "0.5 random, above trending, below reverting", _plus(7), _plus(7),
        Parameter("period", "period", 100),
    )  # fmt: skip


REGISTRY: Final[Mapping[str, Indicator]] = {
    one.name: one for family in (_averages, _momentum, _movement, _direction, _traded, _statistics) for one in family()
}


def warm_cache() -> int:
    """Compile every kernel once, so that no trading process waits for it; the number of kernels."""
    import numpy as np

    from trading.indicators import moving, trend, volume
    from trading.indicators.lanes import LANES

    bars = np.linspace(100.0, 110.0, 80).reshape(1, 80).copy()
    holed = np.where(bars > 105.0, bars, np.nan)
    kernels = {}
    for indicator in REGISTRY.values():
        rows = np.tile(bars, (LANES + 1, 1)) if indicator.kernel.turned else bars  # eight abreast, and one alone
        series = [rows] * (indicator.arity + len(indicator.inputs))
        constants = [kernel_argument(p, p.default or 5) for p in indicator.parameters]
        if indicator.kernel.advance not in kernels:
            kernels[indicator.kernel.advance] = indicator.kernel(*series, *constants)
            if indicator.kernel.lanes:
                beside = [np.asfortranarray(np.tile(bars, (LANES, 1)))] * len(series)
                indicator.kernel(*beside, *constants)
    moving.sma(holed, 5)
    moving.sma.stream(1, 5).update(bars[:, 0])
    trend.crosses_above(bars, bars)
    trend.crosses_below(bars, bars)
    volume.session_vwap(bars, bars, bars, bars, np.zeros(80, dtype=np.int64))
    return len(kernels) + 3


def kernel_argument(parameter: Parameter, value: float) -> int | float:
    """A constant in the type its kernel was compiled for."""
    return int(value) if parameter.kind == "period" else float(value)
