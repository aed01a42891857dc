"""Groups of eight rows through a kernel: turned into lanes, advanced, and turned back, a piece of their bars at a time.

One call takes all groups through all pieces without the interpreter, which another thread has meanwhile. A piece, its
work and its outputs stay in a core's nearer caches from the first turn to the last. Between two pieces a kernel is told
as much of the past as it looks back upon, as between two bars of a stream: the same bits.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import njit, typeof, types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from trading.indicators.lanes import LANES, any_of, row_of

PIECE: Final = 512  # bars of a group taken through all steps together
_VECTOR: Final = ir.VectorType(ir.DoubleType(), LANES)
_PLACES: Final = ir.VectorType(ir.IntType(32), LANES)
_compile: Any = partial(njit, nogil=True, cache=True, error_model="numpy", _nrt=False)()


def _crossed(builder, vectors):
    """The transpose of LANES vectors, by exchanging blocks of 1, 2, 4, …"""
    width = 1
    while width < LANES:
        vectors = list(vectors)
        low = [e if not e & width else LANES + e - width for e in range(LANES)]
        high = [e + width if not e & width else LANES + e for e in range(LANES)]
        for k in range(LANES):
            if not k & width:
                a, b = vectors[k], vectors[k + width]
                for place, mask in ((k, low), (k + width, high)):
                    chosen = ir.Constant(_PLACES, mask)
                    vectors[place] = builder.shuffle_vector(a, b, chosen)
        width *= 2
    return vectors


def _square(there, rows, top, bar, lane_rows, place):
    """LANES bars from `bar` on of LANES rows from `top` on, crossed into lanes from `place` on, or back."""

    def generate(context, builder, sig, args):
        plain = context.make_array(sig.args[0])(context, builder, value=args[0])
        crossed = context.make_array(sig.args[3])(context, builder, value=args[3])
        top, bar, place = args[1], args[2], args[4]
        whole = ir.IntType(64)
        step = builder.extract_value(plain.strides, 0)
        start = builder.add(builder.mul(top, step), builder.mul(bar, whole(8)))
        base = builder.ptrtoint(plain.data, whole)
        rows = [
            builder.inttoptr(builder.add(base, builder.add(start, builder.mul(step, whole(k)))), _VECTOR.as_pointer())
            for k in range(LANES)
        ]
        start = builder.mul(place, whole(8 * LANES))
        base = builder.ptrtoint(crossed.data, whole)
        bars = [
            builder.inttoptr(builder.add(base, builder.add(start, whole(8 * LANES * k))), _VECTOR.as_pointer())
            for k in range(LANES)
        ]
        taken, given = (rows, bars) if there else (bars, rows)
        values = [builder.load(pointer, align=8) for pointer in taken]
        for pointer, value in zip(given, _crossed(builder, values), strict=True):
            builder.store(value, pointer, align=8)
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, lane_rows, types.intp), generate


@intrinsic
def _square_abreast(typing_context, rows, top, bar, lane_rows, place):
    return _square(True, rows, top, bar, lane_rows, place)


@intrinsic
def _square_apart(typing_context, rows, top, bar, lane_rows, place):
    return _square(False, rows, top, bar, lane_rows, place)


@_compile
def abreast(rows, top, first, last, lane_rows, place):
    """Bars from `first` to `last` of LANES rows from `top` on → float64[bars, LANES] from `place` on."""
    whole = first + (last - first) // LANES * LANES
    for i in range(first, whole, LANES):
        _square_abreast(rows, top, i, lane_rows, place + i - first)  # type: ignore[call-arg]
    for i in range(whole, last):
        for k in range(LANES):
            lane_rows[place + i - first, k] = rows[top + k, i]


@_compile
def apart(lane_rows, place, rows, top, first, last):
    """Back again."""
    whole = first + (last - first) // LANES * LANES
    for i in range(first, whole, LANES):
        _square_apart(rows, top, i, lane_rows, place + i - first)  # type: ignore[call-arg]
    for i in range(whole, last):
        for k in range(LANES):
            rows[top + k, i] = lane_rows[place + i - first, k]


SERIES: Final = types.Array(types.float64, 3, "A")  # float64[1, bars, LANES], its bars any step apart
OUTPUTS: Final = types.Array(types.float64, 4, "A")


def _call(typing_context, address, first, last, state, work, series, out, parameters):
    taken = [first, last, state, work, *[SERIES] * len(series), OUTPUTS, *parameters.types]

    def generate(context, builder, sig, args):
        given = [
            *args[1:5], *cgutils.unpack_tuple(builder, args[5]), args[6], *cgutils.unpack_tuple(builder, args[7]),
        ]  # fmt: skip
        kind = context.call_conv.get_function_type(types.none, taken)
        function = builder.inttoptr(args[0], kind.as_pointer())
        status, _ = context.call_conv.call_function(builder, function, types.none, taken, given)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.none(types.intp, first, last, state, work, series, out, parameters), generate


advance_at: Any = intrinsic(_call)  # a kernel by the address of its machine code: one driver for all of one shape


def address_of(advance: Any, series: int, parameters: tuple[Any, ...]) -> int:
    """Where the machine code of a kernel over lanes lies; compiled, or out of the cache, when it is first asked for."""
    asked = (advance, tuple(map(type, parameters)))
    known = _addresses.get(asked)
    if known is None:
        state, work = types.Array(types.float64, 3, "C"), types.Array(types.float64, 4, "C")
        counts = types.Array(types.int64, 1, "C")
        wanted = (counts, counts, state, work, *[SERIES] * series, OUTPUTS, *map(typeof, parameters))
        advance.compile(wanted)
        made = advance.overloads[wanted]
        known = _addresses[asked] = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
    return known


_addresses: dict[Any, int] = {}


def _series_of(room, given):
    """The first rooms, one for each of the series."""


@overload(_series_of)
def _rooms(room, given):
    made: dict[int, Callable[..., Any]] = {
        1: lambda room, given: (room[0],),
        2: lambda room, given: (room[0], room[1]),
        3: lambda room, given: (room[0], room[1], room[2]),
        4: lambda room, given: (room[0], room[1], room[2], room[3]),
    }
    return made[len(given)]


@_compile
def _whole(given, first, last):
    """Whether all lanes of float64[1, bars, LANES] are finite: times zero, anything else becomes NaN and stays it."""
    row = row_of(given, 0)
    a = row[first] * 0.0
    b, c, d = a, a, a
    fours = first + (last - first) // 4 * 4
    for i in range(first, fours, 4):
        a += row[i] * 0.0
        b += row[i + 1] * 0.0
        c += row[i + 2] * 0.0
        d += row[i + 3] * 0.0
    for i in range(fours, last):
        a += row[i] * 0.0
    return not any_of((a + b) + (c + d))


@_compile
def through_lanes(address, given, out, picked, outputs, room, state, span, keep, piece, poisons, parameters, holed):
    """Groups of LANES rows of `given` through a kernel into `out`; `holed` says of each whether a bar was not whole.

    given: float64[symbols, bars] each; out: float64[wanted, symbols, bars], outputs from `picked` on; room:
    float64[series + work + outputs, 1, keep + piece, LANES]; state: float64[1, numbers, LANES]; span: int64[2].
    """
    bars, outputs_at = out.shape[2], room.shape[0] - outputs
    for g in range(holed.size):
        top, base = g * LANES, 0
        state[:] = 0.0
        holed[g] = False
        for begin in range(0, bars, piece):
            end = min(begin + piece, bars)
            if begin > 0:
                gone = begin - keep - base
                for k in range(outputs_at):
                    row = room[k, 0]
                    for i in range(keep):
                        for lane in range(LANES):
                            row[i, lane] = row[i + gone, lane]
                base += gone
            for k, rows in enumerate(given):
                abreast(rows, top, begin, end, room[k, 0], begin - base)
                if not poisons and not _whole(room[k], begin - base, end - base):
                    holed[g] = True
            if holed[g]:
                break
            span[0], span[1] = begin - base, end - base
            advance_at(
                address, span[0:1], span[1:2], state, room[len(given) : outputs_at], _series_of(room, given),
                room[outputs_at:], parameters,
            )  # fmt: skip
            for k in range(out.shape[0]):
                apart(room[outputs_at + picked + k, 0], begin - base, out[k], top, begin, end)
        if poisons and not holed[g]:
            for k in range(out.shape[0]):
                for row in range(top, top + LANES):
                    holed[g] |= not np.isfinite(out[k, row, bars - 1])


def groups_through(
    advance: Any, given: list[NDArray[np.float64]], out: NDArray[np.float64], *, picked: int, outputs: int, work: int,
    numbers: int, memory: int, poisons: bool, parameters: tuple[Any, ...],
    scratch: Callable[[int], NDArray[np.float64]],
) -> NDArray[np.bool_]:  # fmt: skip
    """All whole groups of LANES rows; bool[groups]: those where a bar was not whole, of which nothing holds."""
    symbols, bars = given[0].shape
    keep = memory + 1
    piece = min(max(PIECE, 2 * keep), bars)
    shape = (len(given) + work + outputs, 1, min(keep, bars) + piece, LANES)
    room = scratch(int(np.prod(shape))).reshape(shape)
    holed = np.empty(symbols // LANES, dtype=np.bool_)
    through_lanes(
        address_of(advance, len(given), parameters), tuple(given), out, picked, outputs, room,
        np.empty((1, numbers, LANES)), np.empty(2, dtype=np.int64), keep, piece, poisons, parameters, holed,
    )  # fmt: skip
    return holed
