"""A parsed rule: small immutable trees. Equal trees are the same computation, which is how rules share work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from strategies.rules.functions import TIMEFRAME_NAMES


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Field:
    """A price field or session term: one number per symbol and bar."""

    name: str


@dataclass(frozen=True, slots=True)
class OpeningRange:
    """`opening_range_high` or `opening_range_low` of the first minutes of the session."""

    name: str
    minutes: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """A shape of one or two candles."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """An indicator of the registry over written series, with its constants."""

    name: str
    series: tuple[Node, ...]
    constants: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`+ - * /` of two, `min max` of several, `abs sqrt log sign` and `-` (as `negate`) of one."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`when`: one number where a condition is true, another where it is false."""

    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Counted:
    """`bars_since` or `count` of a condition within the last `bars` bars."""

    name: str
    condition: Node
    bars: int


@dataclass(frozen=True, slots=True)
class Lag:
    """What something was some bars ago. Backward only: nothing in the language can name a later bar."""

    of: Node
    bars: int


@dataclass(frozen=True, slots=True)
class On:
    """Something on bars of another timeframe, minutes; at each bar, the newest that is complete."""

    timeframe: int
    term: Node


@dataclass(frozen=True, slots=True)
class Of:
    """Something of another instrument, at the same bar."""

    symbol: str
    term: Node


@dataclass(frozen=True, slots=True)
class Rank:
    """The place of a number among all symbols at the same bar, 0 to 100."""

    term: Node


@dataclass(frozen=True, slots=True)
class Compare:
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Cross:
    """`crosses_above` or `crosses_below`."""

    name: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic:
    """`and` or `or` of several conditions, `not` of one."""

    operator: str
    parts: tuple[Node, ...]


Node: TypeAlias = (
    Number | Field | OpeningRange | Pattern | Call | Arithmetic | Choice | Counted | Lag | On | Of | Rank | Compare
    | Cross | Logic
)  # fmt: skip

NAMED_ARITHMETIC: Final = frozenset({"min", "max", "abs", "sqrt", "log", "sign"})


def is_condition(node: Node) -> bool:
    """Whether a node is true or false rather than a number."""
    while isinstance(node, Lag | On | Of):
        node = node.of if isinstance(node, Lag) else node.term
    return isinstance(node, Compare | Cross | Logic | Pattern)


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Call(series=series):
            return series
        case Arithmetic(operands=operands):
            return operands
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return (condition, then, otherwise)
        case Counted(condition=condition):
            return (condition,)
        case Lag(of=of):
            return (of,)
        case On(term=term) | Of(term=term) | Rank(term=term):
            return (term,)
        case Compare(left=left, right=right) | Cross(left=left, right=right):
            return (left, right)
        case Logic(parts=parts):
            return parts
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def number_text(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def text_of(node: Node) -> str:
    """The node written as a rule; the key under which its value appears in an explanation."""
    match node:
        case Number(value=value):
            return number_text(value)
        case Field(name=name) | Pattern(name=name):
            return name
        case OpeningRange(name=name, minutes=minutes):
            return f"{name}({minutes})"
        case Call(name=name, series=series, constants=constants):
            return f"{name}({', '.join([*map(text_of, series), *map(number_text, constants)])})"
        case Arithmetic(operator="negate", operands=(only,)):
            return f"-{_wrapped(only)}"
        case Arithmetic(operator=name, operands=operands) if name in NAMED_ARITHMETIC:
            return f"{name}({', '.join(map(text_of, operands))})"
        case Arithmetic(operator=operator, operands=operands):
            return f" {operator} ".join(map(_wrapped, operands))
        case Choice():
            return f"when({', '.join(map(text_of, children(node)))})"
        case Counted(name=name, condition=condition, bars=bars):
            return f"{name}({text_of(condition)}, {bars})"
        case Lag(of=of, bars=bars):
            return f"{_wrapped(of)}[{bars}]"
        case On(timeframe=timeframe, term=term):
            return f'on("{TIMEFRAME_NAMES[timeframe]}", {text_of(term)})'
        case Of(symbol=symbol, term=term):
            return f'of("{symbol}", {text_of(term)})'
        case Rank(term=term):
            return f"rank({text_of(term)})"
        case Compare(operator=operator, left=left, right=right):
            return f"{_wrapped(left)} {operator} {_wrapped(right)}"
        case Cross(name=name, left=left, right=right):
            return f"{name}({text_of(left)}, {text_of(right)})"
        case Logic(operator="not", parts=(only,)):
            return f"not {_wrapped(only)}"
        case Logic(operator=operator, parts=parts):
            return f" {operator} ".join(map(_wrapped, parts))
    raise TypeError(f"no node: {node!r}")


def _wrapped(node: Node) -> str:
    compound = isinstance(node, Compare | Logic) or (
        isinstance(node, Arithmetic) and node.operator not in NAMED_ARITHMETIC
    )
    negative = isinstance(node, Number) and node.value < 0
    return f"({text_of(node)})" if compound or negative else text_of(node)
