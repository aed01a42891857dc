"""A parsed rule: small immutable trees. Equal trees are the same computation, which is how rules share work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Field:
    """A price field or session term: one number per symbol and bar."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """An indicator of the registry over written series, with its constants."""

    name: str
    series: tuple[Node, ...]
    constants: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`+ - * /` of two, `min max` of several, `abs` and `-` (as `negate`) of one."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Lag:
    """What something was some bars ago. Backward only: nothing in the language can name a later bar."""

    of: Node
    bars: int


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


Node: TypeAlias = Number | Field | Call | Arithmetic | Lag | Compare | Cross | Logic


def is_condition(node: Node) -> bool:
    """Whether a node is true or false rather than a number."""
    if isinstance(node, Lag):
        return is_condition(node.of)
    return isinstance(node, Compare | Cross | Logic)


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Call(series=series):
            return series
        case Arithmetic(operands=operands):
            return operands
        case Lag(of=of):
            return (of,)
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
        case Field(name=name):
            return name
        case Call(name=name, series=series, constants=constants):
            return f"{name}({', '.join([*map(text_of, series), *map(number_text, constants)])})"
        case Arithmetic(operator="negate", operands=(only,)):
            return f"-{_wrapped(only)}"
        case Arithmetic(operator="min" | "max" | "abs" as name, operands=operands):
            return f"{name}({', '.join(map(text_of, operands))})"
        case Arithmetic(operator=operator, operands=operands):
            return f" {operator} ".join(map(_wrapped, operands))
        case Lag(of=of, bars=bars):
            return f"{_wrapped(of)}[{bars}]"
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
        isinstance(node, Arithmetic) and node.operator not in ("min", "max", "abs")
    )
    negative = isinstance(node, Number) and node.value < 0
    return f"({text_of(node)})" if compound or negative else text_of(node)
