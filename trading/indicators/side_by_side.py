"""Symbols that lie side by side in memory, through a kernel as they lie: eight of a bar are one load.

float64[symbols, bars] whose next symbol is the next number in memory, however far it is to the next bar: a table of
bars by symbol, seen the other way round. Nothing is turned. A kernel over lanes is shown a group of eight where it is
(`lanes.row_of`), its bars a step apart, and writes where its results stay. What it does is machine code that rows are
taken through too once they are turned (`abreast`): the same bits.

A few bars of neighbouring groups are taken before the next few bars, so that memory is read in the order it lies in.
The last group ends with the last symbol, and shares some with the one before where they are not a multiple of eight.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from trading.indicators.abreast import OUTPUTS, SERIES, address_of, advance_at
from trading.indicators.lanes import LANES, any_of, fma, row_of

PANEL: Final = 8  # neighbouring groups that are taken through a piece together: 512 bytes of a bar
PIECE: Final = 512  # bars of a piece
BREADTH: Final = 64  # as many where a kernel takes a bar of all of them before the next, and where there are many
BROAD_PIECE: Final = 128  # bars of a piece of so many
_compile: Any = partial(njit, nogil=True, cache=True, error_model="numpy", _nrt=False)()


def lie_side_by_side(series: tuple[Any, ...]) -> bool:
    """The rule: every one of the series is float64[symbols, bars] whose next symbol is the next number in memory."""
    for each in series:
        if type(each) is not np.ndarray or each.dtype != np.float64 or each.ndim != 2:
            return False
        flags = each.flags
        if each.strides[0] != 8 or each.shape[0] < LANES or flags.c_contiguous or not flags.aligned:
            return False
    return True


def _seen_at(context, builder, made, address, shape, strides):
    """The array that lies at an address."""
    there, whole = context.make_array(made)(context, builder), ir.IntType(64)
    there.data = builder.inttoptr(address, there.data.type)
    there.shape, there.strides = cgutils.pack_array(builder, shape), cgutils.pack_array(builder, strides)
    there.nitems, there.itemsize = whole(0), whole(8)
    there.meminfo = cgutils.get_null_value(there.meminfo.type)
    there.parent = cgutils.get_null_value(there.parent.type)
    return there._getvalue()


def _panel_at(typing_context, places, k, left, groups, bars):
    """Of series k the groups that begin with symbol `left`: float64[groups, bars, LANES]."""

    def generate(context, builder, sig, args):
        whole = ir.IntType(64)
        told = context.make_array(sig.args[0])(context, builder, value=args[0]).data
        at = builder.mul(args[1], whole(2))
        address, step = (builder.load(builder.gep(told, [builder.add(at, whole(more))])) for more in (0, 1))
        address = builder.add(address, builder.mul(args[2], whole(8)))
        shape, strides = [args[3], args[4], whole(LANES)], [whole(8 * LANES), step, whole(8)]
        return _seen_at(context, builder, SERIES, address, shape, strides)

    return SERIES(places, types.intp, types.intp, types.intp, types.intp), generate


def _groups_at(typing_context, count, places, left, groups, base, bars):
    """Of each of the series the groups from symbol `left` on, from bar `base` on: float64[groups, bars, LANES]."""
    made = types.UniTuple(SERIES, len(count))

    def generate(context, builder, sig, args):
        whole, first = ir.IntType(64), builder.mul(args[2], ir.IntType(64)(8))
        told = context.make_array(sig.args[1])(context, builder, value=args[1]).data
        seen = []
        for k in range(len(count)):
            address, step = (builder.load(builder.gep(told, [whole(2 * k + at)])) for at in (0, 1))
            address = builder.add(builder.add(address, first), builder.mul(args[4], step))
            shape, strides = [args[3], args[5], whole(LANES)], [whole(8 * LANES), step, whole(8)]
            seen.append(_seen_at(context, builder, SERIES, address, shape, strides))
        return context.make_tuple(builder, made, seen)

    return made(count, places, types.intp, types.intp, types.intp, types.intp), generate


def _outputs_at(typing_context, into, left, groups, base, bars):
    """The same of all outputs wanted: float64[outputs, groups, bars, LANES]."""

    def generate(context, builder, sig, args):
        whole = ir.IntType(64)
        told = context.make_array(sig.args[0])(context, builder, value=args[0]).data
        address, apart, step, wanted = (builder.load(builder.gep(told, [whole(at)])) for at in range(4))
        address = builder.add(builder.add(address, builder.mul(args[1], whole(8))), builder.mul(args[3], step))
        shape, strides = [wanted, args[2], args[4], whole(LANES)], [apart, whole(8 * LANES), step, whole(8)]
        return _seen_at(context, builder, OUTPUTS, address, shape, strides)

    return OUTPUTS(into, types.intp, types.intp, types.intp, types.intp), generate


_panel: Any = intrinsic(_panel_at)
_groups: Any = intrinsic(_groups_at)
_outputs: Any = intrinsic(_outputs_at)


@_compile
def _nothing_of(groups, first, last):
    """Eight times 0.0 of neighbouring groups that are whole: times zero, anything else becomes NaN and stays it.

    In the order in which the bars lie, which memory foresees: what is then taken group by group is near.
    """
    a = row_of(groups, 0)[first] * 0.0
    b, c, d = a, a, a
    fours = groups.shape[0] // 4 * 4
    for i in range(first, last):
        for g in range(0, fours, 4):
            a = fma(row_of(groups, g)[i], 0.0, a)
            b = fma(row_of(groups, g + 1)[i], 0.0, b)
            c = fma(row_of(groups, g + 2)[i], 0.0, c)
            d = fma(row_of(groups, g + 3)[i], 0.0, d)
        for g in range(fours, groups.shape[0]):
            a = fma(row_of(groups, g)[i], 0.0, a)
    return (a + b) + (c + d)


@_compile
def through_panels(
    address, count, places, into, filled, picked, symbols, bars, room, states, span, keep, piece, poisons, parameters,
    by_bars, holed,
):  # fmt: skip
    """All groups through a kernel; `holed` says of each whether a bar was not whole.

    count: as many zeros as there are series. places: int64[series, 2], where the first number lies and how far it is
    from bar to bar. into: int64[4], where the outputs lie, how far it is from one to the next and from bar to bar, and
    how many. filled: float64[outputs, 1, keep + piece, LANES], what `picked` is taken from where not all are wanted,
    else empty.
    room: float64[PANEL, work, 1, keep + piece, LANES]; states: float64[PANEL, numbers, LANES]; span: int64[2, PANEL].
    by_bars: whether all of a panel are shown at once: PANEL is BREADTH then, room float64[1, work, PANEL, …], and what
    is set aside need not last.
    """
    for panel in range(0, holed.size, states.shape[0]):
        below = min(panel + states.shape[0], holed.size)
        holed[panel:below] = False
        states[:] = 0.0
        even = min(below * LANES, symbols) // LANES - panel
        base = 0
        for begin in range(0, bars, piece):
            end = min(begin + piece, bars)
            gone = max(begin - keep, 0) - base
            base += gone
            span[0], span[1] = begin - base, end - base
            doubtful = False
            if not poisons:
                for k in range(places.shape[0]):
                    if even > 0:
                        doubtful |= any_of(_nothing_of(_panel(places, k, panel * LANES, even, bars), begin, end))
                    if even < below - panel:
                        doubtful |= any_of(_nothing_of(_panel(places, k, symbols - LANES, 1, bars), begin, end))
            g = panel
            while g < below:
                many = max(panel + even - g, 1) if by_bars else 1
                left, work, here = (
                    min(g * LANES, symbols - LANES),
                    room[0 if by_bars else g - panel],
                    states[g - panel : g - panel + many],
                )
                if doubtful:
                    for k in range(places.shape[0]):
                        for m in range(many):
                            nothing = _nothing_of(_panel(places, k, left + m * LANES, 1, bars), begin, end)
                            holed[g + m] |= any_of(nothing)
                if gone > 0 and not by_bars:
                    for k in range(work.shape[0]):
                        row = work[k, 0]
                        for i in range(keep):
                            for lane in range(LANES):
                                row[i, lane] = row[i + gone, lane]
                series = _groups(count, places, left, many, base, bars - base)
                out = _outputs(into, left, many, base, bars - base)
                if filled.shape[0] == 0:
                    advance_at(address, span[0], span[1], here, work, series, out, parameters)
                else:
                    advance_at(address, span[0], span[1], here, work, series, filled, parameters)
                    for k in range(out.shape[0]):
                        for i in range(begin - base, end - base):
                            for lane in range(LANES):
                                out[k, 0, i, lane] = filled[picked + k, 0, i, lane]
                if poisons and end == bars:
                    for k in range(out.shape[0]):
                        for m in range(many):
                            for lane in range(LANES):
                                holed[g + m] |= not np.isfinite(out[k, m, end - base - 1, lane])
                g += many


def groups_side_by_side(
    advance: Any, given: list[NDArray[np.float64]], out: NDArray[np.float64], *, picked: int, outputs: int, work: int,
    numbers: int, memory: int, poisons: bool, by_bars: bool, parameters: tuple[Any, ...],
    scratch: Callable[[int], NDArray[np.float64]],
) -> NDArray[np.bool_]:  # fmt: skip
    """All groups of LANES symbols; bool[groups]: those where a bar was not whole, of which nothing holds."""
    symbols, bars = given[0].shape
    holed = np.empty(-(-symbols // LANES), dtype=np.bool_)
    keep = memory + 1
    broad = not by_bars and holed.size > 2 * PANEL  # bars of eight lie far apart: looking through them brings them near
    piece = min(max(BROAD_PIECE if broad else PIECE, keep), bars)
    panel, long = min(BREADTH if by_bars or broad else PANEL, holed.size), min(keep, bars) + piece
    filled = outputs if len(out) < outputs else 0
    aside = scratch((panel * work + filled) * long * LANES)
    shape = (1, work, panel) if by_bars else (panel, work, 1)
    room = aside[: panel * work * long * LANES].reshape(*shape, long, LANES)
    places = np.array([(_place(each), each.strides[1]) for each in given])
    into = np.array((_place(out), out.strides[0], out.strides[2], len(out)))
    through_panels(
        address_of(advance, len(given), parameters), (0,) * len(given), places, into,
        aside[room.size :].reshape(filled, 1, long, LANES), picked, symbols, bars, room,
        np.empty((panel, numbers, LANES)), np.empty((2, panel), dtype=np.int64), keep, piece,
        poisons and not broad, parameters, by_bars, holed,
    )  # fmt: skip
    return holed


def group_of(group: int, symbols: int) -> slice:
    """The symbols of a group."""
    left = min(group * LANES, symbols - LANES)
    return slice(left, left + LANES)


def _place(array: NDArray[np.float64]) -> int:
    return int(array.__array_interface__["data"][0])
