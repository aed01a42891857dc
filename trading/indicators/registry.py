"""Indicators by name, as the rule language knows them. Reading the registry compiles nothing and imports no numba."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from math import ceil, log
from typing import Any, Final, Literal

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
    def kernel(self) -> Callable[..., Any]:
        """The compiled kernel; the first use in a process loads it from numba's cache or compiles it."""
        module, function = self.path.split(":")
        return getattr(import_module(module), function)  # type: ignore[no-any-return]

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


def _none(p: Sequence[float]) -> int:
    return 0


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


_N = Parameter("period", "period")
_N14 = Parameter("period", "period", 14)
_FAST, _SLOW = Parameter("fast", "period", 12), Parameter("slow", "period", 26)
_MACD = (_FAST, _SLOW)
_MACD_SIGNAL = (_FAST, _SLOW, Parameter("signal", "period", 9))
_BANDS = (Parameter("period", "period", 20), Parameter("width", "number", 2))
_HLC = ("high", "low", "close")
_P = "trading.indicators."

REGISTRY: Final[Mapping[str, Indicator]] = {
    indicator.name: indicator
    for indicator in (
        Indicator("sma", _P + "moving:sma", "SMA", "simple moving average", _window, _window, parameters=(_N,)),
        Indicator("ema", _P + "moving:ema", "EMA", "exponential average", _window, _ema_settling, parameters=(_N,)),
        Indicator("wma", _P + "moving:wma", "WMA", "linearly weighted average", _window, _window, parameters=(_N,)),
        Indicator(
            "rsi",
            _P + "oscillators:rsi",
            "RSI",
            "Wilder's relative strength index, 0 to 100",
            _full,
            _wilder_settling,
            parameters=(_N14,),
            decimals=1,
        ),
        Indicator(
            "roc", _P + "oscillators:roc", "ROC", "change over the period, percent", _full, _full, parameters=(_N,)
        ),
        Indicator(
            "macd",
            _P + "oscillators:macd",
            "MACD",
            "fast minus slow EMA",
            _macd_warm_up,
            _macd_settling,
            parameters=_MACD,
        ),
        Indicator(
            "macd_signal",
            _P + "oscillators:macd_signal",
            "MACD signal",
            "EMA of the MACD",
            _macd_signal_warm_up,
            _macd_signal_settling,
            parameters=_MACD_SIGNAL,
        ),
        Indicator(
            "macd_histogram",
            _P + "oscillators:macd_histogram",
            "MACD histogram",
            "MACD minus its signal",
            _macd_signal_warm_up,
            _macd_signal_settling,
            parameters=_MACD_SIGNAL,
        ),
        Indicator(
            "true_range",
            _P + "volatility:true_range",
            "True range",
            "true range, rupees",
            lambda p: 1,
            lambda p: 1,
            arity=0,
            inputs=_HLC,
        ),
        Indicator(
            "atr",
            _P + "volatility:atr",
            "ATR",
            "Wilder's average true range, rupees",
            _full,
            _wilder_settling,
            arity=0,
            inputs=_HLC,
            parameters=(_N14,),
        ),
        Indicator("stdev", _P + "volatility:stdev", "Stdev", "standard deviation", _window, _window, parameters=(_N,)),
        Indicator(
            "bollinger_upper",
            _P + "volatility:bollinger_upper",
            "Bollinger upper",
            "upper band",
            _window,
            _window,
            parameters=_BANDS,
        ),
        Indicator(
            "bollinger_lower",
            _P + "volatility:bollinger_lower",
            "Bollinger lower",
            "lower band",
            _window,
            _window,
            parameters=_BANDS,
        ),
        Indicator(
            "highest", _P + "trend:highest", "Highest", "highest of the period", _window, _window, parameters=(_N,)
        ),
        Indicator("lowest", _P + "trend:lowest", "Lowest", "lowest of the period", _window, _window, parameters=(_N,)),
        Indicator(
            "obv",
            _P + "volume:obv",
            "OBV",
            "on-balance volume since the window began",
            _none,
            _none,
            arity=0,
            inputs=("close", "volume"),
            decimals=0,
        ),
    )
}


def warm_cache() -> int:
    """Compile every kernel once, so that no trading process waits for it; the number of kernels."""
    import numpy as np

    from trading.indicators import trend, volume

    bars = np.linspace(100.0, 110.0, 80).reshape(1, 80).copy()
    for indicator in REGISTRY.values():
        series = [bars] * (indicator.arity + len(indicator.inputs))
        indicator.kernel(*series, *(kernel_argument(p, p.default or 5) for p in indicator.parameters))
    trend.crosses_above(bars, bars)
    trend.crosses_below(bars, bars)
    volume.session_vwap(bars, bars, bars, bars, np.zeros(80, dtype=np.int64))
    return len(REGISTRY) + 3


def kernel_argument(parameter: Parameter, value: float) -> int | float:
    """A constant in the type its kernel was compiled for."""
    return int(value) if parameter.kind == "period" else float(value)
