"""Eight series abreast: a row whose every bar holds eight numbers, one of each series, for numba.

A recursion waits for its own last result, so a core spends most of its time waiting. Eight series that know nothing of
each other wait together: the same loop over `float64[bars, LANES]`, seen as a row of `Lanes`, does the work of eight
in one wait. Nothing is written twice for it. The passes of `passes` and the kernels are compiled once for rows
of float64 and once for rows of `Lanes`, and each lane makes the same roundings in the same order: the same bits.

`row_of(x, s)` is the door: row s of float64[symbols, bars] as it is, of float64[groups, bars, LANES] as a row of
`Lanes`, whose bars lie one behind the other or any step apart. What a kernel does with one number it may do with eight:
+ - * /, max, min, abs, sqrt, fma, and `where` in place of `a if test else b`. A number that is not eight becomes eight
equal ones.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.extending import register_model
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typeconv import Conversion
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, overload

LANES: Final = 8
_VECTOR: Final = ir.VectorType(ir.DoubleType(), LANES)
_PLACES: Final = ir.VectorType(ir.IntType(32), LANES)
_TRUTHS: Final = ir.VectorType(ir.IntType(1), LANES)


class _Lanes(types.Type):
    """Eight float64."""

    def can_convert_from(self, context, other):
        return Conversion.safe if isinstance(other, types.Number) else None


class _Truths(types.Type):
    """Eight booleans: what comparing lanes gives."""


lanes: Final = _Lanes("lanes")
truths: Final = _Truths("truths of lanes")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, of):
        super().__init__(manager, of, _VECTOR)


@register_model(_Truths)
class _TruthsModel(models.PrimitiveModel):
    def __init__(self, manager, of):
        super().__init__(manager, of, _TRUTHS)


@lower_cast(types.Number, lanes)
def _eight_equal(context, builder, given, _, value):
    one = context.cast(builder, value, given, types.float64)
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, one, ir.IntType(32)(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_PLACES, [0] * LANES))


def _operation(functions: tuple[Any, ...], given: int, made: types.Type, emit: Callable[..., Any]) -> None:
    """Let `functions` take lanes: `given` of them, any but one of which may be plain numbers."""
    wanted = signature(made, *[lanes] * given)

    class Template(AbstractTemplate):
        def generic(self, args, kws):
            known = len(args) == given and lanes in args and all(isinstance(a, _Lanes | types.Number) for a in args)
            return wanted if known and not kws else None

    for function in functions:
        infer_global(function)(type("LanesTemplate", (Template,), {"key": function}))
        lower_builtin(function, *[lanes] * given)(lambda context, builder, sig, args: emit(builder, *args))


def _compared(symbol: str) -> Callable[..., Any]:
    return lambda builder, a, b: builder.fcmp_ordered(symbol, a, b)


def _greater_or_less(symbol: str) -> Callable[..., Any]:
    """As numba's max and min do it for two numbers: the first where the second is not beyond it, or no number."""
    return lambda builder, a, b: builder.select(builder.fcmp_ordered(symbol, b, a), b, a)


def by_name(name: str) -> Callable[..., Any]:
    """A function of LLVM's, of one number or of eight."""

    def emit(builder, *args):
        kind = args[0].type
        suffix = f"v{LANES}f64" if isinstance(kind, ir.VectorType) else "f64"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind] * len(args)), f"llvm.{name}.{suffix}"
        )
        return builder.call(function, args)

    return emit


_operation((operator.add, operator.iadd), 2, lanes, lambda builder, a, b: builder.fadd(a, b))
_operation((operator.sub, operator.isub), 2, lanes, lambda builder, a, b: builder.fsub(a, b))
_operation((operator.mul, operator.imul), 2, lanes, lambda builder, a, b: builder.fmul(a, b))
_operation((operator.truediv, operator.itruediv), 2, lanes, lambda builder, a, b: builder.fdiv(a, b))
_operation((operator.neg,), 1, lanes, lambda builder, a: builder.fneg(a))
_operation((operator.gt,), 2, truths, _compared(">"))
_operation((operator.ge,), 2, truths, _compared(">="))
_operation((operator.lt,), 2, truths, _compared("<"))
_operation((operator.eq,), 2, truths, _compared("=="))
_operation((operator.ne,), 2, truths, lambda builder, a, b: builder.fcmp_unordered("!=", a, b))
_operation((max,), 2, lanes, _greater_or_less(">"))
_operation((min,), 2, lanes, _greater_or_less("<"))
_operation((abs,), 1, lanes, by_name("fabs"))
_operation((np.sqrt,), 1, lanes, by_name("sqrt"))


def _fma(typing_context, a, b, c):
    """a · b + c, rounded once, on every machine."""
    kind = lanes if lanes in (a, b, c) else types.float64

    def generate(context, builder, sig, args):
        return by_name("fma")(builder, *args)

    return kind(kind, kind, kind), generate


fma: Any = intrinsic(_fma)


def _where(typing_context, test, yes, no):
    """`yes if test else no`, both of them reckoned; lane by lane where they are lanes."""
    kind = lanes if lanes in (test, yes, no) or test == truths else types.float64
    test = truths if test == truths else types.boolean

    def generate(context, builder, sig, args):
        held = args[0]
        return builder.select(held, args[1], args[2])

    return kind(test, kind, kind), generate


where: Any = intrinsic(_where)


def _first_of(typing_context, x):
    def generate(context, builder, sig, args):
        return builder.extract_element(args[0], ir.IntType(32)(0))

    return types.float64(lanes), generate


_first: Any = intrinsic(_first_of)


def _any_of(typing_context, x):
    def generate(context, builder, sig, args):
        differ = builder.fcmp_unordered("!=", args[0], ir.Constant(_VECTOR, [0.0] * LANES))
        return builder.icmp_unsigned("!=", builder.bitcast(differ, ir.IntType(LANES)), ir.IntType(LANES)(0))

    return types.boolean(lanes), generate


any_of: Any = intrinsic(_any_of)  # whether any of eight is not 0


def _row_of(typing_context, x, s):
    """Row s of float64[symbols, bars], or of float64[groups, bars, LANES] as Lanes[bars]."""
    abreast = x.ndim == 3
    made = types.Array(lanes if abreast else types.float64, 1, x.layout if abreast else "C", aligned=not abreast)

    def generate(context, builder, sig, args):
        given = context.make_array(sig.args[0])(context, builder, value=args[0])
        item, bars = ir.IntType(64)(8 * LANES if abreast else 8), builder.extract_value(given.shape, 1)
        step = builder.extract_value(given.strides, 1) if made.layout == "A" else item
        start = builder.mul(args[1], builder.extract_value(given.strides, 0))
        seen = context.make_array(made)(context, builder)
        seen.meminfo, seen.parent, seen.nitems, seen.itemsize = given.meminfo, given.parent, bars, item
        seen.data = builder.bitcast(cgutils.pointer_add(builder, given.data, start), seen.data.type)
        seen.shape, seen.strides = cgutils.pack_array(builder, [bars]), cgutils.pack_array(builder, [step])
        return seen._getvalue()

    return made(x, types.intp), generate


row_of: Any = intrinsic(_row_of)


def count_of(x):
    """A whole number out of a row of numbers; of lanes, which count alike, the first's."""


@overload(count_of)
def _count_of(x):
    if x == lanes:
        return lambda x: int(_first(x))
    return lambda x: int(x)
