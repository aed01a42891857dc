"""A rule over a window of bars.

Conditions are reckoned with three values: true, false and unknown. A missing number makes its comparison unknown,
`not unknown` is unknown, and only what is known to be true fires. Neither a warm-up nor a lost bar can open a trade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from strategies.rules.errors import RuleError
from strategies.rules.functions import NEED_PREVIOUS_SESSION, NEED_WHOLE_SESSION
from strategies.rules.nodes import (
    Arithmetic,
    Call,
    Compare,
    Cross,
    Field,
    Lag,
    Logic,
    Node,
    Number,
    children,
    is_condition,
    text_of,
    walk,
)
from strategies.rules.parser import parse
from trading.indicators.registry import REGISTRY, kernel_argument

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
_Array = TypeVar("_Array", NDArray[np.float64], NDArray[np.bool_])
Kind: TypeAlias = Literal["condition", "number"]


@dataclass(frozen=True)
class Window:
    """Bars of several symbols on one common time axis, oldest first; a bar that a symbol lacks is NaN.

    `starts` int64[bars], epoch seconds UTC of the bar's start. `open` … `volume` float64[symbols, bars], rupees and
    units. `session_index` int64[bars] grows with each exchange day. `minutes_since_open` float64[bars], of the bar's
    start. Only completed bars belong here.
    """

    symbols: tuple[str, ...]
    starts: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    session_index: NDArray[np.int64]
    minutes_since_open: Floats

    def __post_init__(self) -> None:
        bars = self.starts.shape[0]
        for name in ("open", "high", "low", "close", "volume"):
            values = getattr(self, name)
            if values.shape != (len(self.symbols), bars):
                raise ValueError(f"{name} is {values.shape}, not {len(self.symbols)} symbols of {bars} bars")
            # One memory layout, so that every kernel is compiled once.
            object.__setattr__(self, name, np.require(values, np.float64, ["C", "W"]))
        for name, kind in (("session_index", np.int64), ("minutes_since_open", np.float64)):
            values = getattr(self, name)
            if values.shape != (bars,):
                raise ValueError(f"{name} is {values.shape}, not {bars} bars")
            object.__setattr__(self, name, np.require(values, kind, ["C", "W"]))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.symbols), int(self.starts.shape[0])

    def until(self, bars: int) -> Window:
        """The first `bars` bars: what was known then."""
        return Window(
            symbols=self.symbols,
            starts=self.starts[:bars],
            open=self.open[:, :bars],
            high=self.high[:, :bars],
            low=self.low[:, :bars],
            close=self.close[:, :bars],
            volume=self.volume[:, :bars],
            session_index=self.session_index[:bars],
            minutes_since_open=self.minutes_since_open[:bars],
        )


class Evaluation:
    """One window and everything already computed on it; rules that share a term share its result."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._numbers: dict[Node, Floats] = {}
        self._conditions: dict[Node, tuple[Bools, Bools]] = {}

    def forgetful(self) -> Evaluation:
        """Another of the same window that knows the prices and nothing else: for terms that need not be remembered."""
        other = Evaluation(self.window)
        other._numbers |= {node: values for node, values in self._numbers.items() if isinstance(node, Field)}
        return other

    def numbers(self, node: Node) -> Floats:
        """float64[symbols, bars]; NaN where unknown. Do not write to it."""
        known = self._numbers.get(node)
        if known is None:
            known = self._numbers[node] = self._reckon(node)
        return known

    def condition(self, node: Node) -> tuple[Bools, Bools]:
        """bool[symbols, bars] twice: known to be true, known to be false."""
        known = self._conditions.get(node)
        if known is None:
            known = self._conditions[node] = self._judge(node)
        return known

    def _reckon(self, node: Node) -> Floats:
        match node:
            case Number(value=value):
                return np.full(self.window.shape, value)
            case Field(name=name):
                return self._field(name)
            case Call(name=name, series=series, constants=constants):
                indicator = REGISTRY[name]
                inputs = [self.numbers(each) for each in series]
                inputs += [getattr(self.window, each) for each in indicator.inputs]
                arguments = map(kernel_argument, indicator.parameters, constants)
                result: Floats = indicator.kernel(*inputs, *arguments)
                return result
            case Arithmetic(operator=operator, operands=operands):
                return _finite(_arithmetic(operator, [self.numbers(each) for each in operands]))
            case Lag(of=of, bars=bars):
                return _lagged(self.numbers(of), bars, np.nan)
        raise TypeError(f"not a number: {node!r}")

    def _judge(self, node: Node) -> tuple[Bools, Bools]:
        match node:
            case Compare(operator=operator, left=left, right=right):
                return _compared(operator, self.numbers(left), self.numbers(right))
            case Cross(name=name, left=left, right=right):
                return self._crossed(name, self.numbers(left), self.numbers(right))
            case Lag(of=of, bars=bars):
                was_true, was_false = self.condition(of)
                return _lagged(was_true, bars, False), _lagged(was_false, bars, False)
            case Logic(operator="not", parts=(part,)):
                is_true, is_false = self.condition(part)
                return is_false, is_true
            case Logic(operator=operator, parts=parts):
                judged = [self.condition(part) for part in parts]
                true, false = [each[0] for each in judged], [each[1] for each in judged]
                if operator == "and":
                    return np.logical_and.reduce(true), np.logical_or.reduce(false)
                return np.logical_or.reduce(true), np.logical_and.reduce(false)
        raise TypeError(f"not a condition: {node!r}")

    def _crossed(self, name: str, left: Floats, right: Floats) -> tuple[Bools, Bools]:
        from trading.indicators import trend

        crossed: Bools = getattr(trend, name)(left, right)
        both = np.isfinite(left) & np.isfinite(right)
        had_one_before: Bools = _lagged(np.logical_or.accumulate(both, axis=1), 1, False)
        return crossed, both & had_one_before & ~crossed

    def _field(self, name: str) -> Floats:
        window = self.window
        match name:
            case "open" | "high" | "low" | "close" | "volume":
                prices: Floats = getattr(window, name)
                return _finite(prices)
            case "hl2":
                return _finite((window.high + window.low) / 2)
            case "hlc3":
                return _finite((window.high + window.low + window.close) / 3)
            case "ohlc4":
                return _finite((window.open + window.high + window.low + window.close) / 4)
            case "minutes_since_open":
                return self._for_all_symbols(window.minutes_since_open)
            case "bars_since_open":
                counted = np.arange(self._bars) - self._first_bar[self._ordinal]
                return self._for_all_symbols(np.where(self._whole_session, counted, np.nan))
            case "prev_day_close":
                return self._of_the_day_before(_last_of_each(window.close, self._ordinal))
            case "gap_pct":
                opened = self._day_open
                before = self.numbers(Field("prev_day_close"))
                with np.errstate(all="ignore"):
                    return _finite(100 * (opened / before - 1))
            case "session_vwap":
                from trading.indicators import volume

                average: Floats = volume.session_vwap(
                    window.high, window.low, window.close, window.volume, window.session_index
                )
                return np.where(self._whole_session, average, np.nan)
        raise TypeError(f"no field: {name}")

    # Sessions of the window

    @property
    def _bars(self) -> int:
        return int(self.window.starts.shape[0])

    @cached_property
    def _ordinal(self) -> NDArray[np.int64]:
        """0 for the bars of the window's first session, 1 for the next, and so on."""
        changes = np.diff(self.window.session_index, prepend=self.window.session_index[:1]) != 0
        return np.cumsum(changes).astype(np.int64)

    @cached_property
    def _first_bar(self) -> NDArray[np.int64]:
        return np.searchsorted(self._ordinal, np.arange(self._ordinal[-1] + 1 if self._bars else 0))

    @cached_property
    def _whole_session(self) -> Bools:
        """False for the first session of the window when the window begins after its open."""
        if not self._bars:
            return np.zeros(0, dtype=np.bool_)
        whole: Bools = (self._ordinal > 0) | bool(self.window.minutes_since_open[0] <= 0)
        return whole

    @cached_property
    def _day_open(self) -> Floats:
        """The session's first known open, from the bar that shows it."""
        out = np.full(self.window.shape, np.nan)
        for first, after in self._session_slices():
            opens = _finite(self.window.open[:, first:after])
            known = np.isfinite(opens)
            seen = np.logical_or.accumulate(known, axis=1)
            opening = opens[np.arange(opens.shape[0]), known.argmax(axis=1)]
            out[:, first:after] = np.where(seen, opening[:, None], np.nan)
        return out

    def _session_slices(self) -> list[tuple[int, int]]:
        edges = [*self._first_bar.tolist(), self._bars]
        return list(pairwise(edges))

    def _of_the_day_before(self, by_session: Floats) -> Floats:
        shifted = np.full((by_session.shape[0], by_session.shape[1] + 1), np.nan)
        shifted[:, 1:] = by_session
        return np.ascontiguousarray(shifted[:, self._ordinal])

    def _for_all_symbols(self, per_bar: NDArray[np.float64]) -> Floats:
        return np.broadcast_to(np.asarray(per_bar, dtype=np.float64), self.window.shape).copy()


@dataclass(frozen=True)
class CompiledRule:
    """A rule ready to run. Immutable; the same text and parameters make an equal rule.

    `warm_up`: bars before it can first be known. `settling`: bars to load so that the beginning of the window no
    longer shows in recursive averages. Session terms need the whole current session, some the one before, besides.
    """

    text: str
    node: Node = field(repr=False)
    kind: Kind
    warm_up: int
    settling: int
    needs_previous_session: bool
    needs_whole_session: bool

    def evaluate(self, on: Window | Evaluation) -> NDArray[np.bool_] | NDArray[np.float64]:
        """[symbols, bars]: bool for a condition (true only where known to be), float64 for a number.

        Give an `Evaluation` to share terms between rules.
        """
        evaluation = on if isinstance(on, Evaluation) else Evaluation(on)
        if self.kind == "condition":
            return evaluation.condition(self.node)[0].copy()
        return evaluation.numbers(self.node).copy()

    def terms_at(self, evaluation: Evaluation, symbol_index: int, bar_index: int) -> dict[str, float]:
        """What the rule saw at one bar of one symbol: term → value, 1 or 0 for conditions; unknown ones left out."""
        terms: dict[str, float] = {}
        shown = _shown(self.node) + ([self.node] if isinstance(self.node, Arithmetic) else [])
        for node in shown:
            if is_condition(node):
                is_true, is_false = evaluation.condition(node)
                if is_true[symbol_index, bar_index] or is_false[symbol_index, bar_index]:
                    terms[text_of(node)] = float(is_true[symbol_index, bar_index])
            else:
                value = float(evaluation.numbers(node)[symbol_index, bar_index])
                if np.isfinite(value):
                    terms[text_of(node)] = value
        return terms


def compile_rule(
    text: str, parameters: Mapping[str, float] | None = None, *, expect: Kind | None = None
) -> CompiledRule:
    """Parse and check a rule; parameters become constants. RuleError: see its code, position and suggestion."""
    node = parse(text, parameters or {})
    kind: Kind = "condition" if is_condition(node) else "number"
    if expect is not None and kind != expect:
        raise RuleError("WRONG_KIND", f"This rule is a {kind}, and a {expect} is needed", 0)
    fields = {each.name for each in walk(node) if isinstance(each, Field)}
    return CompiledRule(
        text=text,
        node=node,
        kind=kind,
        warm_up=_reach(node, settled=False),
        settling=_reach(node, settled=True),
        needs_previous_session=bool(fields & NEED_PREVIOUS_SESSION),
        needs_whole_session=bool(fields & NEED_WHOLE_SESSION),
    )


def _reach(node: Node, *, settled: bool) -> int:
    below = max((_reach(child, settled=settled) for child in children(node)), default=0)
    match node:
        case Call(name=name, constants=constants):
            indicator = REGISTRY[name]
            return below + (indicator.settling if settled else indicator.warm_up)(constants)
        case Lag(bars=bars):
            return below + bars
        case Cross():
            return below + 1
    return below


def _shown(node: Node) -> list[Node]:
    """What an explanation may want to name: fields, indicators, lags, crosses, and operands of comparisons."""
    found: list[Node] = []
    match node:
        case Number():
            return []
        case Field() | Call() | Lag():
            return [node]
        case Cross():
            found.append(node)
    for child in children(node):
        if isinstance(node, Compare | Cross) and isinstance(child, Arithmetic):
            found.append(child)
        found += _shown(child)
    return found


def _arithmetic(operator: str, values: list[Floats]) -> Floats:
    with np.errstate(all="ignore"):
        match operator:
            case "+":
                return values[0] + values[1]
            case "-":
                return values[0] - values[1]
            case "*":
                return values[0] * values[1]
            case "/":
                return values[0] / values[1]
            case "negate":
                return -values[0]
            case "abs":
                return np.abs(values[0])
            case "min":
                smallest: Floats = np.minimum.reduce(values)
                return smallest
            case "max":
                largest: Floats = np.maximum.reduce(values)
                return largest
    raise TypeError(f"no operator: {operator}")


def _compared(operator: str, left: Floats, right: Floats) -> tuple[Bools, Bools]:
    less, more, equal = left < right, left > right, left == right  # all False where one is NaN
    match operator:
        case "<":
            return less, more | equal
        case "<=":
            return less | equal, more
        case ">":
            return more, less | equal
        case ">=":
            return more | equal, less
        case "==":
            return equal, less | more
        case "!=":
            return less | more, equal
    raise TypeError(f"no comparison: {operator}")


def _lagged(values: _Array, bars: int, missing: float | bool) -> _Array:
    out = np.full_like(values, missing)
    if bars < values.shape[1]:
        out[:, bars:] = values[:, : values.shape[1] - bars]
    return out


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def _last_of_each(values: Floats, ordinal: NDArray[np.int64]) -> Floats:
    """The last finite value of each session: float64[symbols, sessions]."""
    sessions = int(ordinal[-1]) + 1 if ordinal.size else 0
    out = np.full((values.shape[0], sessions), np.nan)
    for session in range(sessions):
        day = values[:, ordinal == session]
        known = np.isfinite(day)
        last = day.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
        rows = np.arange(values.shape[0])
        out[:, session] = np.where(known.any(axis=1), day[rows, last], np.nan)
    return out
