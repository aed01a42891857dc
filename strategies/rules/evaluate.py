"""A rule over a window of bars.

Conditions are reckoned with three values: true, false and unknown. A missing number makes its comparison unknown,
`not unknown` is unknown, and only what is known to be true fires. Neither a warm-up nor a lost bar can open a trade.

One `Evaluation` holds everything reckoned on one window. Rules of a contract, of many contracts, and of one contract
with many parameters share it: equal terms are equal nodes, and each node is reckoned once for the whole universe.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from strategies.rules import columns
from strategies.rules.errors import SeriesMissing
from strategies.rules.nodes import (
    Arithmetic,
    Call,
    Choice,
    Compare,
    Counted,
    Cross,
    Field,
    Lag,
    Logic,
    Node,
    Number,
    Of,
    On,
    OpeningRange,
    Pattern,
    Rank,
)
from strategies.rules.patterns import seen
from strategies.rules.window import DAY_S, IST_OFFSET_S, Floats, SeriesKey, Window, longer
from trading.indicators.registry import REGISTRY, kernel_argument
from trading.indicators.rows import all_finite

Bools: TypeAlias = NDArray[np.bool_]
_Array = TypeVar("_Array", NDArray[np.float64], NDArray[np.bool_])

_OF_SESSION = {
    "session_open": ("open", columns.FIRST), "session_high": ("high", columns.HIGHEST),
    "session_low": ("low", columns.LOWEST), "session_volume": ("volume", columns.TOTAL),
    "session_twap": ("hlc3", columns.MEAN),
}  # fmt: skip
_OF_DAY_BEFORE = {
    "prev_day_open": ("open", columns.FIRST), "prev_day_high": ("high", columns.HIGHEST),
    "prev_day_low": ("low", columns.LOWEST), "prev_day_close": ("close", columns.LAST),
}  # fmt: skip


class _Store:
    """What was reckoned, the least recently used let go when there is too much of it: it can be reckoned again."""

    def __init__(self, budget_bytes: int | None) -> None:
        self._kept: OrderedDict[tuple, NDArray] = OrderedDict()
        self._budget, self._bytes = budget_bytes, 0
        self.reckoned = 0

    def get(self, key: tuple) -> NDArray | None:
        found = self._kept.get(key)
        if found is not None and self._budget is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: tuple, values: NDArray) -> None:
        self.reckoned += 1
        self._kept[key] = values
        if self._budget is None:
            return
        self._bytes += values.nbytes
        while self._bytes > self._budget and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.nbytes


class _Shared:
    """What the evaluations of one window and of the other bars it leads to have in common."""

    def __init__(self, window: Window, budget_bytes: int | None) -> None:
        self.window = window
        self.store = _Store(budget_bytes)
        self.elsewhere: dict[SeriesKey, Evaluation] = {}


class Evaluation:
    """One window and everything already reckoned on it; rules that share a term share its result.

    `budget_bytes`: let results go, oldest use first, beyond this much memory. A sweep over thousands of parameters
    stays within it; None keeps everything.
    """

    def __init__(
        self, window: Window, *, budget_bytes: int | None = None, _symbol: str = "", _shared: _Shared | None = None
    ) -> None:
        self.window = window
        self._symbol = _symbol
        self._shared = _shared or _Shared(window, budget_bytes)

    @property
    def reckoned(self) -> int:
        """How many terms have been reckoned so far, shared ones once."""
        return self._shared.store.reckoned

    def numbers(self, node: Node) -> Floats:
        """float64[symbols, bars]; NaN where unknown. Do not write to it."""
        if isinstance(node, Number):
            return np.broadcast_to(np.float64(node.value), self.window.shape)
        key = (id(self), node)
        known = self._shared.store.get(key)
        if known is None:
            known = self._reckon(node)
            self._shared.store.put(key, known)
        return known

    def truth(self, node: Node, wanted: bool = True) -> Bools:
        """bool[symbols, bars]: known to be true, or, with `wanted` False, known to be false."""
        key = (id(self), node, wanted)
        known = self._shared.store.get(key)
        if known is None:
            known = self._judge(node, wanted)
            self._shared.store.put(key, known)
        return known

    def condition(self, node: Node) -> tuple[Bools, Bools]:
        """bool[symbols, bars] twice: known to be true, known to be false."""
        return self.truth(node, True), self.truth(node, False)

    def _reckon(self, node: Node) -> Floats:
        match node:
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
            case Choice(condition=condition, then=then, otherwise=otherwise):
                kept = np.where(self.truth(condition), self.numbers(then), np.nan)
                return np.where(self.truth(condition, False), self.numbers(otherwise), kept)
            case Counted(name="count", condition=condition, bars=bars):
                held: Floats = columns.counted(self.truth(condition), self.truth(condition, False), bars)
                return held
            case Counted(condition=condition, bars=bars):
                since: Floats = columns.bars_since(self.truth(condition), bars)
                return since
            case OpeningRange(name=name, minutes=minutes):
                return self._opening_range(name, minutes)
            case Rank(term=term):
                values = self.numbers(term)
                if self.window.members is not None:
                    values = np.where(self.window.members, values, np.nan)
                places: Floats = columns.ranked(np.ascontiguousarray(values))
                return places
            case On(timeframe=timeframe, term=term):
                other = self._on(timeframe)
                values = other.numbers(term)
                return values if other is self else self._completed(other, values, np.nan)
            case Of(symbol=symbol, term=term):
                other = self._of(symbol)
                values = other.numbers(term)
                return values if other is self else self._at_same_bar(other, values, np.nan)
        raise TypeError(f"not a number: {node!r}")

    def _judge(self, node: Node, wanted: bool) -> Bools:
        match node:
            case Compare(operator=operator, left=left, right=right):
                symbol = operator if wanted else _OPPOSITE[operator]
                return _compared(symbol, self.numbers(left), self.numbers(right))
            case Cross(name=name, left=left, right=right):
                return self._crossed(name, left, right, wanted)
            case Pattern(name=name):
                is_true, is_false = seen(name, self.window.open, self.window.high, self.window.low, self.window.close)
                return is_true if wanted else is_false
            case Lag(of=of, bars=bars):
                return _lagged(self.truth(of, wanted), bars, False)
            case Logic(operator="not", parts=(part,)):
                return self.truth(part, not wanted)
            case Logic(operator=operator, parts=parts):
                judged = [self.truth(part, wanted) for part in parts]
                all_of: Bools = (
                    np.logical_and.reduce(judged) if (operator == "and") is wanted else np.logical_or.reduce(judged)
                )
                return all_of
            case On(timeframe=timeframe, term=term):
                other = self._on(timeframe)
                held = other.truth(term, wanted)
                return held if other is self else self._completed(other, held, False)
            case Of(symbol=symbol, term=term):
                other = self._of(symbol)
                held = other.truth(term, wanted)
                return held if other is self else self._at_same_bar(other, held, False)
        raise TypeError(f"not a condition: {node!r}")

    def _crossed(self, name: str, left_node: Node, right_node: Node, wanted: bool) -> Bools:
        from trading.indicators import trend

        left, right = (np.require(self.numbers(each), np.float64, ["C", "W"]) for each in (left_node, right_node))
        if wanted:
            crossed: Bools = getattr(trend, name)(left, right)
            return crossed
        both = np.isfinite(left) & np.isfinite(right)
        had_one_before: Bools = _lagged(np.logical_or.accumulate(both, axis=1), 1, False)
        return both & had_one_before & ~self.truth(Cross(name, left_node, right_node))

    # Fields and sessions

    def _field(self, name: str) -> Floats:
        window = self.window
        match name:
            case "open" | "high" | "low" | "close" | "volume":
                return _finite(getattr(window, name))
            case "hl2":
                return _finite((window.high + window.low) / 2)
            case "hlc3":
                return _finite((window.high + window.low + window.close) / 3)
            case "ohlc4":
                return _finite((window.open + window.high + window.low + window.close) / 4)
            case "minutes_since_open":
                return self._for_all_symbols(window.minutes_since_open)
            case "minutes_to_close":
                return self._for_all_symbols(window.minutes_to_close)
            case "day_of_week":
                days = (window.starts + IST_OFFSET_S) // DAY_S
                return self._for_all_symbols(((days + 3) % 7 + 1).astype(np.float64))  # 1970-01-01 was a Thursday
            case "bars_since_open":
                counted = np.arange(self._bars) - self._first_bar[self._ordinal]
                return self._for_all_symbols(np.where(self._whole_session, counted, np.nan))
            case "gap_pct":
                opened, before = self.numbers(Field("session_open")), self.numbers(Field("prev_day_close"))
                with np.errstate(all="ignore"):
                    return _finite(100 * (opened / before - 1))
            case "session_vwap":
                from trading.indicators import volume

                average: Floats = volume.session_vwap(
                    window.high, window.low, window.close, window.volume, window.session_index
                )
                return np.where(self._whole_session, average, np.nan)
        if name in _OF_SESSION:
            source, how = _OF_SESSION[name]
            seen_so_far: Floats = columns.so_far(self._writable(Field(source)), self._ordinal, how)
            return np.where(self._whole_session, seen_so_far, np.nan)
        if name in _OF_DAY_BEFORE:
            source, how = _OF_DAY_BEFORE[name]
            whole = bool(self._whole_session[0]) if self._bars else False
            before_today: Floats = columns.day_before(self._writable(Field(source)), self._ordinal, how, whole)
            return before_today
        raise TypeError(f"no field: {name}")

    def _opening_range(self, name: str, minutes: int) -> Floats:
        highest = name == "opening_range_high"
        prices = self._writable(Field("high" if highest else "low"))
        window = self.window
        values: Floats = columns.opening_range(
            prices, self._ordinal, window.minutes_since_open, minutes, window.timeframe,
            columns.HIGHEST if highest else columns.LOWEST,
        )  # fmt: skip
        return np.where(self._whole_session, values, np.nan)

    def _writable(self, node: Node) -> Floats:
        """As the kernels were compiled for."""
        return np.require(self.numbers(node), np.float64, ["C", "W"])

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

    def _for_all_symbols(self, per_bar: NDArray[np.float64]) -> Floats:
        return np.broadcast_to(np.asarray(per_bar, dtype=np.float64), self.window.shape).copy()

    # Other bars

    def _on(self, timeframe: int) -> Evaluation:
        return self if timeframe == self.window.timeframe else self._at((timeframe, self._symbol))

    def _of(self, symbol: str) -> Evaluation:
        return self if symbol == self._symbol else self._at((self.window.timeframe, symbol))

    def _at(self, key: SeriesKey) -> Evaluation:
        elsewhere = self._shared.elsewhere
        if key not in elsewhere:
            window = _series(self._shared.window, key)
            elsewhere[key] = Evaluation(window, _symbol=key[1], _shared=self._shared)
        return elsewhere[key]

    def _completed(self, other: Evaluation, values: _Array, missing: float | bool) -> _Array:
        """What the newest bar that is complete at the end of each of these bars had shown."""
        newest = np.searchsorted(other.window.ends, self.window.ends, side="right") - 1
        return self._taken(values, newest, newest >= 0, missing)

    def _at_same_bar(self, other: Evaluation, values: _Array, missing: float | bool) -> _Array:
        starts, others = self.window.starts, other.window.starts
        place = np.searchsorted(others, starts)
        within = place < others.size
        same = within & (others[np.where(within, place, 0)] == starts) if others.size else within
        return self._taken(values, place, same, missing)

    def _taken(self, values: _Array, place: NDArray[np.int64], valid: Bools, missing: float | bool) -> _Array:
        out = np.full((values.shape[0], place.size), missing, values.dtype)
        out[:, valid] = values[:, place[valid]]
        return np.ascontiguousarray(np.broadcast_to(out, self.window.shape))


def _series(window: Window, key: SeriesKey) -> Window:
    """The bars a rule names: as they were given, else a row of the window, else longer bars made of shorter ones."""
    given = window.others.get(key)
    if given is not None:
        return given
    timeframe, symbol = key
    if timeframe == window.timeframe:
        if symbol in window.symbols:
            return window.row(symbol)
        raise SeriesMissing(f"There are no bars of {symbol}", symbol=symbol, timeframe=timeframe)
    if timeframe < window.timeframe:
        raise SeriesMissing(
            f"Bars of {timeframe} minutes cannot be made of bars of {window.timeframe}", symbol=symbol,
            timeframe=timeframe,
        )  # fmt: skip
    return longer(window if not symbol else _series(window, (window.timeframe, symbol)), timeframe)


_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


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
            case "sqrt":
                return np.sqrt(values[0])
            case "log":
                return np.log(values[0])
            case "sign":
                return np.sign(values[0])
            case "min":
                smallest: Floats = np.minimum.reduce(values)
                return smallest
            case "max":
                largest: Floats = np.maximum.reduce(values)
                return largest
    raise TypeError(f"no operator: {operator}")


def _compared(operator: str, left: Floats, right: Floats) -> Bools:
    """False where one of the two is unknown."""
    match operator:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "==":
            return left == right
        case "!=":
            return (left < right) | (left > right)
    raise TypeError(f"no comparison: {operator}")


def _lagged(values: _Array, bars: int, missing: float | bool) -> _Array:
    out = np.full(values.shape, missing, values.dtype)
    if bars < values.shape[1]:
        out[:, bars:] = values[:, : values.shape[1] - bars]
    return out


def _finite(values: Floats) -> Floats:
    """The same, NaN for what is infinite."""
    if all_finite(np.require(values, np.float64, ["C", "W"])):
        return values
    return np.where(np.isfinite(values), values, np.nan)
