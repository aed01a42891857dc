"""Sixteen bars looked at together: one comparison of two registers instead of sixteen of two numbers.

What holds for a bar is a bit, the first of the sixteen the lowest. Rows are read without being asked how long they are:
whoever calls keeps them as long as whole blocks of sixteen.

What is looked at lies far apart, and waiting for it would be half the work: `soon` says what will be asked for next, so
that it comes nearer meanwhile.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import DTypeLike, NDArray

BLOCK: Final = 16
WHOLE: Final = (1 << BLOCK) - 1
LINE: Final = 64  # bytes that come from memory together
_INT: Final = ir.IntType(64)
_LEAST, _MOST = -(2**63), 2**63 - 1


def _row(context, builder, signature, arguments, place, at, of):
    """The sixteen values of a row from a bar on."""
    data = context.make_array(signature.args[place])(context, builder, value=arguments[place]).data
    first = builder.gep(data, [arguments[at]])
    return builder.load(builder.bitcast(first, ir.VectorType(of, BLOCK).as_pointer()), align=8)


def _bits(builder, flags):
    return builder.zext(builder.bitcast(flags, ir.IntType(BLOCK)), _INT)


def _compared(typing_context, x, y, at, to):
    """x[at + k] against y[to + k], float64: above in bits 0 to 15, below in 16 to 31, equal in 32 to 47."""

    def generate(context, builder, signature, arguments):
        left = _row(context, builder, signature, arguments, 0, 2, ir.DoubleType())
        right = _row(context, builder, signature, arguments, 1, 3, ir.DoubleType())
        found = _INT(0)
        for place, how in enumerate((">", "<", "==")):
            bits = _bits(builder, builder.fcmp_ordered(how, left, right))
            found = builder.or_(found, builder.shl(bits, _INT(BLOCK * place)))
        return found

    return types.int64(x, y, types.int64, types.int64), generate


def _touched(typing_context, low, high, at, floor, roof):
    """Bars from `at` on whose low reaches down to the floor or whose high reaches up to the roof, int64 rows."""

    def generate(context, builder, signature, arguments):
        down = _row(context, builder, signature, arguments, 0, 2, _INT)
        up = _row(context, builder, signature, arguments, 1, 2, _INT)
        under = builder.icmp_signed("<=", down, _spread(builder, arguments[3]))
        over = builder.icmp_signed(">=", up, _spread(builder, arguments[4]))
        return _bits(builder, builder.or_(under, over))

    return types.int64(low, high, types.int64, types.int64, types.int64), generate


def _extremes(typing_context, row, at, first, after):
    """Lowest and highest of the values of an int64 row at at + first … at + after - 1, within sixteen of `at`."""

    def generate(context, builder, signature, arguments):
        values = _row(context, builder, signature, arguments, 0, 1, _INT)
        lanes = ir.Constant(ir.VectorType(_INT, BLOCK), list(range(BLOCK)))
        asked = builder.and_(
            builder.icmp_signed(">=", lanes, _spread(builder, arguments[2])),
            builder.icmp_signed("<", lanes, _spread(builder, arguments[3])),
        )
        both = []
        for name, else_ in (("smin", _MOST), ("smax", _LEAST)):
            kind = ir.FunctionType(_INT, (values.type,))
            reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.{name}.v{BLOCK}i64")
            others = ir.Constant(values.type, [else_] * BLOCK)
            both.append(builder.call(reduce, [builder.select(asked, values, others)]))
        return context.make_tuple(builder, signature.return_type, both)

    pair = types.UniTuple(types.int64, 2)
    return pair(row, types.int64, types.int64, types.int64), generate


def _bounds(typing_context, row, at):
    """Lowest and highest of the sixteen values of a float64 row from `at` on; all there is where one is missing."""

    def generate(context, builder, signature, arguments):
        values = _row(context, builder, signature, arguments, 0, 1, ir.DoubleType())
        missing = _bits(builder, builder.fcmp_unordered("uno", away := builder.fsub(values, values), away))
        known = builder.icmp_unsigned("==", missing, _INT(0))
        both = []
        for name, else_ in (("fmin", -np.inf), ("fmax", np.inf)):
            kind = ir.FunctionType(ir.DoubleType(), (values.type,))
            reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.{name}.v{BLOCK}f64")
            found = builder.call(reduce, [values], fastmath=("nnan",))
            both.append(builder.select(known, found, ir.DoubleType()(else_)))
        return context.make_tuple(builder, signature.return_type, both)

    return types.UniTuple(types.float64, 2)(row, types.int64), generate


def _first(typing_context, bits):
    """The place of the lowest bit that is set; 64 where none is."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return types.int64(types.int64), generate


def _soon(typing_context, row, at):
    """Let the sixteen values of a row from a bar on come nearer. Changes nothing, and may name a bar there is not."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, value=arguments[0]).data
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), (byte, flag, flag, flag))
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        for ahead in (0, LINE // 8):
            place = builder.gep(data, [builder.add(arguments[1], _INT(ahead))])
            builder.call(prefetch, [builder.bitcast(place, byte), flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(row, types.int64), generate


def _spread(builder, value):
    """A number in all sixteen places."""
    vector = ir.VectorType(_INT, BLOCK)
    one = builder.insert_element(vector(ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
    return builder.shuffle_vector(one, vector(ir.Undefined), zeros)


compared: Any = intrinsic(_compared)
touched: Any = intrinsic(_touched)
extremes: Any = intrinsic(_extremes)
bounds: Any = intrinsic(_bounds)
first_of: Any = intrinsic(_first)
soon: Any = intrinsic(_soon)


def aligned(shape: tuple[int, ...], of: DTypeLike) -> NDArray:
    """An array, not filled, that begins where a line of memory begins: sixteen values are then two lines, not three."""
    kind = np.dtype(of)
    size = int(np.prod(shape)) * kind.itemsize
    room = np.empty(size + LINE, np.uint8)
    begin = -room.ctypes.data % LINE
    return room[begin : begin + size].view(kind).reshape(shape)
