"""What all kernels share: how they are compiled, what they do about a missing bar, and how they go on bar by bar.

**The rule for missing bars.** A bar whose inputs are not all finite is left out: its output is NaN (False for a cross)
and the indicator goes on over the bars that exist, as if the missing one had never been. So leading NaN only delays
the warm-up, one lost minute does not silence an average for twenty, and no value ever depends on a later bar.

**One recursion, three uses.** A kernel is written once, over dense rows (`first` to `last` of each row are new, all
before is known), with everything it must remember in `state` and `work`. Called with arrays of bars it fills them
whole; `stream` keeps the memory and feeds it one bar of every symbol at a time; many symbols are taken eight abreast
(`lanes`). All run the same operations in the same order, with fused multiplications asked for by name (`lanes.fma`)
and none left to the compiler's mood: the same bits come out.

Compiled machine code is kept by numba in a folder that bears a hash of all source with kernels (`settings/kernels.py`):
what is compiled from other files too is compiled anew when one of them has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from threading import local
from typing import Any, Final

import numpy as np
from numba import njit
from numba.extending import overload
from numpy.typing import NDArray

from trading.indicators.abreast import groups_through
from trading.indicators.lanes import LANES
from trading.indicators.side_by_side import group_of, groups_side_by_side, lie_side_by_side

Floats = NDArray[np.float64]

BLOCK: Final = 1 << 16  # bars handed over together: with all their steps they stay in a core's own cache
TILE: Final = 1024  # bars of a row taken through all steps together: they stay in a core's nearest cache
_FLOAT: Final = np.dtype(np.float64)
WHOLE: Final = (1 << 62) - 1  # `first & WHOLE` tells the compiler that a position is never negative

# Without numba's counting of references: kernels make no arrays, only views, and counting those costs more than a bar.
_compile: Any = partial(njit, nogil=True, cache=True, error_model="numpy")
compiled: Callable[..., Any] = _compile(_nrt=False)
compiled_making_arrays: Callable[..., Any] = _compile()
compiled_in_any_order: Callable[..., Any] = _compile(_nrt=False, fastmath={"reassoc"})  # sums alone lose by it


@dataclass(frozen=True, eq=False)
class Kernel:
    """An indicator over float64[symbols, bars]: `kernel(*series, *parameters)` → float64 of the same shape.

    With several `outputs` the result is float64[outputs, symbols, bars], unless one of them was picked. `memory`: bars
    it must look back upon before it runs steadily; `state`: numbers it remembers; `work`: rows of bars it sets aside.
    `poisons`: a bar that is not finite makes every later value of its row not finite, so that the last value tells
    whether there was one, and the bars need not be looked through before. `lanes`: its body takes eight series at once
    as well as one (`row_of` and `where` in place of `x[s]` and `if`): symbols that lie side by side in memory go
    through it as they lie, and what comes out lies so too. `turned`: it gains more by lanes than turning rows costs.
    `by_bars`: it takes a bar of all groups of eight before the next bar; it has one output, and what it sets aside is
    not looked back upon.
    """

    advance: Callable[..., None]
    series: int
    memory: Callable[..., int]
    state: int | Callable[..., int]
    work: int
    outputs: int
    picked: int | None = None
    fixed: tuple[float, ...] = ()
    poisons: bool = False
    lanes: bool = False
    turned: bool = False
    by_bars: bool = False

    def __call__(self, *arguments: Any) -> Floats:
        beside = self.lanes and lie_side_by_side(arguments[: self.series])
        given = list(arguments[: self.series]) if beside else [_plain(each) for each in arguments[: self.series]]
        parameters = (*arguments[self.series :], *self.fixed)
        symbols, bars = given[0].shape
        for each in given:
            if each.shape != (symbols, bars):
                raise ValueError(f"series of unlike shape: {[one.shape for one in given]}")
        wanted = range(self.outputs) if self.picked is None else range(self.picked, self.picked + 1)
        if beside:
            out = _aligned(len(wanted) * bars * symbols).reshape(len(wanted), bars, symbols).transpose(0, 2, 1)
            self._fill_side_by_side(given, out, wanted, parameters)
            return out[0] if len(wanted) == 1 else out
        out = np.empty((len(wanted), symbols, bars))
        begin = 0
        if self.turned and symbols >= LANES and bars > 0:
            begin = symbols // LANES * LANES
            self._fill_abreast(given, out, wanted, parameters)
        together = max(1, BLOCK // max(bars, 1))
        if symbols - begin <= together and not begin:
            self._fill(given, out, wanted, parameters)
            begin = symbols
        for top in range(begin, symbols, together):
            block = [each[top : top + together] for each in given]
            self._fill(block, out[:, top : top + together], wanted, parameters)
        return out[0] if len(wanted) == 1 else out

    def output(self, place: int, *fixed: float) -> Kernel:
        """One of several outputs; the last parameters may be fixed at the same time."""
        picked = replace(self, picked=place, fixed=fixed)
        object.__setattr__(picked, "__doc__", self.__doc__)
        return picked

    def stream(self, symbols: int, *parameters: float) -> Stream:
        """The same, one bar of `symbols` symbols at a time."""
        return Stream(self, symbols, (*parameters, *self.fixed))

    @property
    def _arrays(self) -> int:
        return self.series + self.work + self.outputs

    def numbers(self, parameters: tuple[Any, ...]) -> int:
        """How many numbers a symbol's state holds."""
        return self.state if isinstance(self.state, int) else int(self.state(*parameters))

    def _fill(self, block: list[Floats], out: Floats, wanted: range, parameters: tuple[Any, ...]) -> None:
        symbols, bars = block[0].shape
        if symbols > 1 or (self.poisons and not self.work) or bars * self._arrays <= 8 * BLOCK:
            done = self._fill_whole(block, out, wanted, parameters)
        else:
            done = self._fill_by_pieces(block, out, wanted, parameters)
        if not done:
            self._fill_around_holes(block, out, wanted, parameters)

    def _fill_whole(self, block: list[Floats], out: Floats, wanted: range, parameters: tuple[Any, ...]) -> bool:
        """False where a bar proved not to be whole: nothing that was written holds then."""
        symbols, bars = block[0].shape
        if not self.poisons and not all(map(all_finite, block)):
            return False
        state = np.zeros((symbols, self.numbers(parameters)))
        work, filled = self._room(symbols, bars)
        first, last = np.zeros(symbols, dtype=np.int64), np.empty(symbols, dtype=np.int64)
        last.fill(bars)
        if len(out) == self.outputs:
            self.advance(first, last, state, work, *block, out, *parameters)
        else:
            self.advance(first, last, state, work, *block, filled, *parameters)
            out[:] = filled[wanted.start : wanted.stop]
        return not self.poisons or bars == 0 or ends_finite(out)

    def _fill_by_pieces(self, block: list[Floats], out: Floats, wanted: range, parameters: tuple[Any, ...]) -> bool:
        """A long row, each piece with as much of the past as the kernel looks back upon; False as above.

        What is looked through or set aside is then still near. Kernels that do neither have tiles of their own.
        """
        symbols, bars = block[0].shape
        first, last = np.zeros(symbols, dtype=np.int64), np.zeros(symbols, dtype=np.int64)
        state = np.zeros((symbols, self.numbers(parameters)))
        keep = int(self.memory(*parameters)) + 1
        stride = max(8 * BLOCK // self._arrays, 2 * keep)
        work, filled = self._room(symbols, min(bars, stride + keep))
        for begin in range(0, bars, stride):
            base, end = max(0, begin - keep), min(begin + stride, bars)
            if not self.poisons and not all(all_finite(each[:, begin:end]) for each in block):
                return False
            if begin:
                before = max(0, begin - stride - keep)
                work[:, :, :keep] = work[:, :, base - before : begin - before].copy()
            first[:], last[:] = begin - base, end - base
            piece = [each[:, base:end] for each in block]
            if len(out) == self.outputs:
                self.advance(first, last, state, work, *piece, out[:, :, base:end], *parameters)
            else:
                self.advance(first, last, state, work, *piece, filled, *parameters)
                out[:, :, begin:end] = filled[wanted.start : wanted.stop, :, begin - base : end - base]
        return not self.poisons or ends_finite(out)

    def _fill_abreast(self, given: list[Floats], out: Floats, wanted: range, parameters: tuple[Any, ...]) -> None:
        """Whole groups of LANES rows, and once more around its holes each that has any."""
        holed = groups_through(
            self.advance, given, out, picked=wanted.start, outputs=self.outputs, work=self.work,
            numbers=self.numbers(parameters), memory=int(self.memory(*parameters)), poisons=self.poisons,
            parameters=parameters, scratch=_scratch,
        )  # fmt: skip
        for group in np.flatnonzero(holed):
            rows = slice(group * LANES, (group + 1) * LANES)
            self._fill_around_holes([each[rows] for each in given], out[:, rows], wanted, parameters)

    def _fill_side_by_side(self, given: list[Floats], out: Floats, wanted: range, parameters: tuple[Any, ...]) -> None:
        """Groups as they lie, and as rows around its holes each that has any."""
        holed = groups_side_by_side(
            self.advance, given, out, picked=wanted.start, outputs=self.outputs, work=self.work,
            numbers=self.numbers(parameters), memory=int(self.memory(*parameters)), poisons=self.poisons,
            by_bars=self.by_bars, parameters=parameters, scratch=_scratch,
        )  # fmt: skip
        for group in np.flatnonzero(holed):
            columns = group_of(int(group), given[0].shape[0])
            rows = np.empty((len(wanted), LANES, out.shape[2]))
            block = [np.ascontiguousarray(each[columns]) for each in given]
            self._fill_around_holes(block, rows, wanted, parameters)
            out[:, columns] = rows

    def _fill_around_holes(self, block: list[Floats], out: Floats, wanted: range, parameters: tuple[Any, ...]) -> None:
        symbols, bars = block[0].shape
        present = np.isfinite(block[0])
        for each in block[1:]:
            present &= np.isfinite(each)
        dense = [np.empty((symbols, bars)) for _ in block]
        for each, packed in zip(block, dense, strict=True):
            pack(present, each, packed)
        state = np.zeros((symbols, self.numbers(parameters)))
        work, filled = self._room(symbols, bars)
        if self.outputs == 1:
            filled = np.empty((1, symbols, bars))
        first, last = np.zeros(symbols, dtype=np.int64), present.sum(axis=1)
        self.advance(first, last, state, work, *dense, filled, *parameters)
        for place, into in zip(wanted, out, strict=True):
            unpack(present, filled[place], into)

    def _room(self, symbols: int, bars: int) -> tuple[Floats, Floats]:
        """Work, and outputs where there are several: kept from call to call, for fresh pages cost more than kernels."""
        rows = self.work + (self.outputs if self.outputs > 1 else 0)
        if not rows:
            nothing = np.empty((0, symbols, bars))
            return nothing, nothing
        whole = _scratch(rows * symbols * bars).reshape(rows, symbols, bars)
        return whole[: self.work], whole[self.work :]


_kept = local()


def _scratch(size: int) -> Floats:
    """float64[size], of any content, the thread's own until it asks again."""
    room: Floats | None = getattr(_kept, "room", None)
    if room is None or room.size < size:
        room = _aligned(size)
        if size <= 32 * BLOCK:
            _kept.room = room
    return room[:size]


def _aligned(size: int) -> Floats:
    """float64[size] that begins with a line of the caches: eight numbers then never lie across two."""
    whole = np.empty(size + LANES - 1)
    return whole[-(whole.ctypes.data // 8) % LANES :][:size]


def _plain(given: Any) -> Floats:
    """As the kernels were compiled for: float64, in one piece, and (numba tells them apart) writable."""
    if type(given) is np.ndarray and given.dtype is _FLOAT:
        flags = given.flags
        if flags.c_contiguous and flags.writeable:
            return given
    return np.require(given, np.float64, ["C", "W"])


class Stream:
    """A kernel that remembers: `update(*series)`, each float64[symbols], gives the newest value of every symbol.

    float64[symbols], or float64[outputs, symbols]; NaN while warming up and for a symbol whose bar is missing, which
    changes nothing for it. Constant time a bar; the memory is twice what the kernel looks back upon.
    """

    def __init__(self, kernel: Kernel, symbols: int, parameters: tuple[Any, ...]) -> None:
        self._kernel, self._parameters = kernel, parameters
        self._keep = int(kernel.memory(*parameters)) + 1
        bars = 2 * self._keep
        self._bars = np.zeros((kernel.series + kernel.work, symbols, bars))
        self._inputs = tuple(self._bars[: kernel.series])
        self._work = self._bars[kernel.series :]
        self._state = np.zeros((symbols, kernel.numbers(parameters)))
        self._out = np.full((kernel.outputs, symbols, bars), np.nan)
        self._first, self._last = np.zeros(symbols, dtype=np.int64), np.zeros(symbols, dtype=np.int64)
        self._new = np.empty((kernel.series, symbols))
        self._value = np.empty((kernel.outputs, symbols))

    def update(self, *series: Any) -> Floats:
        if len(series) != self._kernel.series:
            raise ValueError(f"{len(series)} series given, {self._kernel.series} needed")
        for place, each in enumerate(series):
            self._new[place] = each
        append(self._bars, self._new, self._first, self._last, self._keep)
        self._kernel.advance(
            self._first, self._last, self._state, self._work, *self._inputs, self._out, *self._parameters
        )
        collect(self._out, self._first, self._last, self._value)
        kernel = self._kernel
        picked = kernel.picked or 0
        return (self._value[picked] if kernel.outputs == 1 or kernel.picked is not None else self._value).copy()


def kernel(
    *,
    memory: Callable[..., int],
    state: int | Callable[..., int] = 0,
    work: int = 0,
    outputs: int = 1,
    poisons: bool = False,
    lanes: bool = False,
    turned: bool = False,
    by_bars: bool = False,
) -> Callable[[Callable[..., None]], Kernel]:
    """Compile a recursion `f(first, last, state, work, *series, out, *parameters)` into a Kernel.

    first, last: int64[symbols]; state: float64[symbols, state]; work: float64[work, symbols, bars]; each of the series:
    float64[symbols, bars], finite up to `last`; out: float64[outputs, symbols, bars], to be filled from first to last.
    """

    def made(function: Callable[..., None]) -> Kernel:
        names = function.__code__.co_varnames
        built = Kernel(
            compiled(function), names.index("out") - 4, memory, state, work, outputs,
            poisons=poisons, lanes=lanes or turned or by_bars, turned=turned, by_bars=by_bars,
        )  # fmt: skip
        object.__setattr__(built, "__doc__", function.__doc__)
        return built

    return made


def bars_near(x):
    """Bars of rows like these, taken through all steps together, that stay in a core's nearest cache: see TILE."""


@overload(bars_near)
def _bars_near(x):
    near = TILE if x.ndim == 2 else TILE // LANES
    return lambda x: near


@compiled_in_any_order
def nothing_of(row):
    """0.0 of a row that is finite: times zero, anything else becomes NaN and stays it."""
    total = 0.0
    for i in range(row.size):
        total += row[i] * 0.0
    return total


@compiled
def all_finite(x):
    """Whether every value is finite."""
    nothing = 0.0
    for s in range(x.shape[0]):
        nothing += nothing_of(x[s])
    return nothing == 0.0


@compiled
def ends_finite(out):
    """Whether the last value of every row of float64[outputs, symbols, bars] is finite."""
    last = out.shape[2] - 1
    for k in range(out.shape[0]):
        for s in range(out.shape[1]):
            if not np.isfinite(out[k, s, last]):
                return False
    return True


@compiled
def pack(present, x, dense):
    for s in range(x.shape[0]):
        k = 0
        for i in range(x.shape[1]):
            if present[s, i]:
                dense[s, k] = x[s, i]
                k += 1


@compiled
def unpack(present, dense, out):
    for s in range(out.shape[0]):
        k = 0
        for i in range(out.shape[1]):
            if present[s, i]:
                out[s, i] = dense[s, k]
                k += 1
            else:
                out[s, i] = np.nan


@compiled
def append(bars, new, first, last, keep):
    """Put one bar behind each row, and make room when a row is full; a bar that is not whole is left out."""
    for s in range(new.shape[1]):
        at = last[s]
        first[s] = at
        whole = True
        for k in range(new.shape[0]):
            whole &= np.isfinite(new[k, s])
        if not whole:
            continue
        if at == bars.shape[2]:
            for k in range(bars.shape[0]):
                for i in range(keep):
                    bars[k, s, i] = bars[k, s, at - keep + i]
            at = keep
            first[s] = at
        for k in range(new.shape[0]):
            bars[k, s, at] = new[k, s]
        last[s] = at + 1


@compiled
def collect(out, first, last, value):
    for k in range(out.shape[0]):
        for s in range(out.shape[1]):
            value[k, s] = out[k, s, first[s]] if last[s] > first[s] else np.nan
