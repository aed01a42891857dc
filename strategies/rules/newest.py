"""What a rule says of the newest bar, without judging all bars before it.

The newest value of an average hangs on the bars of the last while, and not on a year of them: beyond a reach that
follows from the indicators, older bars weigh less than the last digit of a float. So only that reach is reckoned, some
symbols at a time that fit into a core's own cache, and conditions are judged on the few bars they look back upon.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from strategies.rules.compiled import CompiledRule
from strategies.rules.evaluate import Evaluation
from strategies.rules.functions import PRICE_FIELDS
from strategies.rules.nodes import Arithmetic, Call, Compare, Cross, Field, Lag, Logic, Node, Number, walk
from strategies.rules.window import Window
from trading.indicators.lanes import LANES
from trading.indicators.registry import REGISTRY
from trading.indicators.rows import all_finite

Bools = NDArray[np.bool_]
TOGETHER: Final = 1 << 19  # bars of all symbols of a part: a few megabytes each term
FADED: Final = 4.2  # times `settling` (a weight of 1e-4): what is older weighs less than 1e-16
# Path-dependent for as long as they live, or counted from the first bar: their past never fades.
_NEVER_FADE: Final = frozenset(
    {"obv", "anchored_vwap", "psar", "supertrend", "supertrend_direction", "garch", "hp_trend"}
    | {name for name in REGISTRY if name.startswith("kalman")}
)
_other_cores = Lock()  # held by the call that uses more cores than its own
_KNOWN: Final = (Number, Field, Arithmetic, Lag, Call, Compare, Logic, Cross)


def newest(rule: CompiledRule, window: Window, *, threads: int = 1) -> Bools:
    """bool[symbols]: whether a condition is known to be true at the last bar of the window.

    The same as `rule.evaluate(window)[:, -1]`, with values equal to 1e-12; a rule that looks at sessions, other bars or
    other symbols is evaluated whole. `threads`: as many cores at most share a window that one part does not hold; a
    smaller one is done before another thread would be awake. Nobody waits for cores that another call of this process
    has just taken: it goes on alone. The answers are the same however many there are.
    """
    if rule.kind != "condition":
        raise TypeError(f"{rule.text} is a number, not a condition")
    bars = int(window.starts.shape[0])
    reach = int(FADED * rule.settling) + _lags(rule.node) + 8
    if not _fades(rule.node) or not bars:
        return cast(Bools, rule.evaluate(window)[:, -1]) if bars else np.zeros(len(window.symbols), np.bool_)
    reach = min(reach, bars)
    fired, holed = np.zeros(len(window.symbols), np.bool_), np.zeros(len(window.symbols), np.bool_)

    def judge(rows: slice) -> None:
        deep = Evaluation(cast(Window, _Slice(window, rows, reach)))
        shallow = _Shallow(deep, cast(Window, _Slice(window, rows, min(_lags(rule.node) + 1, bars))))
        fired[rows] = shallow.truth(rule.node)[:, -1]
        if reach < bars and not all_finite(deep.window.close):
            holed[rows] = ~np.isfinite(deep.window.close).all(axis=1)

    def judge_all(parts: list[slice]) -> None:
        for part in parts:
            judge(part)

    large = len(window.symbols) * reach > TOGETHER
    threads = threads if threads > 1 and large and _other_cores.acquire(blocking=False) else 1
    parts = _parts(len(window.symbols), reach, threads)
    if threads == 1:
        judge_all(parts)
    else:
        try:
            with ThreadPoolExecutor(threads - 1) as pool:
                beside = pool.map(judge_all, [parts[k::threads] for k in range(1, threads)])
                judge_all(parts[::threads])
                list(beside)
        finally:
            _other_cores.release()
    if holed.any():  # whoever missed bars lately reaches further back for as many: judged over all there is
        at = np.flatnonzero(holed)
        prices = {name: getattr(window, name)[at] for name in ("open", "high", "low", "close", "volume")}
        few = replace(window, symbols=tuple(window.symbols[row] for row in at), **prices)
        fired[at] = np.asarray(rule.evaluate(few))[:, -1]
    return fired


def _parts(symbols: int, bars: int, threads: int) -> list[slice]:
    """Few parts, as many for each thread: between two kernels a thread may have to wait for the other.

    Whole groups of lanes each, but for the last.
    """
    shares = max(1, -(-symbols * bars // (TOGETHER * threads))) * threads
    size = max(LANES, -(-symbols // (shares * LANES)) * LANES)
    return [slice(top, top + size) for top in range(0, symbols, size)] or [slice(0, 0)]


class _Slice:
    """Some symbols of a window and its last bars, in one piece of memory, each field when it is first asked for."""

    def __init__(self, window: Window, rows: slice, bars: int) -> None:
        self._window, self._rows, self._last = window, rows, bars
        self.starts = window.starts[-bars:]
        self.timeframe = window.timeframe
        self.shape = (window.close[rows].shape[0], bars)

    def _of(self, name: str) -> NDArray[np.float64]:
        return np.ascontiguousarray(getattr(self._window, name)[self._rows, -self._last :])

    @cached_property
    def open(self) -> NDArray[np.float64]:
        return self._of("open")

    @cached_property
    def high(self) -> NDArray[np.float64]:
        return self._of("high")

    @cached_property
    def low(self) -> NDArray[np.float64]:
        return self._of("low")

    @cached_property
    def close(self) -> NDArray[np.float64]:
        return self._of("close")

    @cached_property
    def volume(self) -> NDArray[np.float64]:
        return self._of("volume")


class _Shallow(Evaluation):
    """Conditions over the last bars alone; what must reach back is asked of the deep one."""

    def __init__(self, deep: Evaluation, window: Window) -> None:
        super().__init__(window)
        self._deep, self._width = deep, window.shape[1]

    def _reckon(self, node: Node) -> Any:
        if isinstance(node, Call):
            return self._deep.numbers(node)[:, -self._width :]
        return super()._reckon(node)

    def _judge(self, node: Node, wanted: bool) -> Bools:
        if isinstance(node, Cross):
            return self._deep.truth(node, wanted)[:, -self._width :]
        return super()._judge(node, wanted)


def _fades(node: Node) -> bool:
    """Whether everything in it is made of prices by means that forget."""
    for each in walk(node):
        if not isinstance(each, _KNOWN):
            return False
        if isinstance(each, Field) and each.name not in PRICE_FIELDS:
            return False
        if isinstance(each, Call) and each.name in _NEVER_FADE:
            return False
    return True


def _lags(node: Node) -> int:
    """Bars that lags reach back, taken together."""
    return sum(_bars_of(node))


def _bars_of(node: Node) -> Iterator[int]:
    for each in walk(node):
        if isinstance(each, Lag):
            yield each.bars
