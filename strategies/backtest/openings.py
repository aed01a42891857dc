"""Rules with their numbers left open, and the plans that many sets of numbers make of one.

A rule is parsed once for every value of every parameter, not for every combination of them: where each occurrence of a
parameter turns out to be one number of its own in the tree, the trees of all combinations differ in those numbers only
and are made by putting them in. Where it does not (a parameter in arithmetic that is reckoned while parsing, a lag that
vanishes at 0) every combination is parsed. Both give the trees that `compile_rule` gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.errors import BacktestRefused
from strategies.backtest.plan import Plan, Trailing
from strategies.contracts.schema import StopKind
from strategies.rules.compiled import CompiledRule, compile_rule
from strategies.rules.errors import RuleError
from strategies.rules.nodes import Node
from strategies.rules.parser import parse

MOST_COMBINATIONS: Final = 1_000_000
LEVELS: Final = {
    "exit.stop": "value of the stop: percent, or multiples of the average range",
    "exit.target": "value of the target: percent, multiples of the average range, or of the risk",
    "exit.trailing": "distance of the trailing stop, percent",
    "exit.trailing_after": "gain after which it trails, percent",
    "exit.max_bars": "bars after which a position is closed",
}
Path = tuple[int, ...]


@dataclass(frozen=True)
class Combinations:
    """Sets of numbers to try: `values` float64[combinations, names], of parameters of the rules and of LEVELS."""

    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names) or len(set(self.names)) != len(self.names):
            raise ValueError(f"{self.values.shape} values are no combinations of {self.names}")
        if not 1 <= len(self.values) <= MOST_COMBINATIONS:
            raise BacktestRefused(
                "COMBINATIONS", f"There must be 1 to {MOST_COMBINATIONS:,} combinations, not {len(self.values):,}"
            )
        if not np.isfinite(self.values).all():
            raise BacktestRefused("NOT_A_NUMBER", "Every value of a combination must be a number")

    def __len__(self) -> int:
        return len(self.values)

    def one(self, place: int) -> dict[str, float]:
        return dict(zip(self.names, self.values[place].tolist(), strict=True))

    @classmethod
    def grid(
        cls, axes: Mapping[str, Sequence[float]], where: Callable[[dict[str, float]], bool] | None = None
    ) -> Combinations:
        """Every value with every other, the last name changing quickest; `where` keeps those it is true of."""
        count = 1
        for values in axes.values():
            count *= len(values)
        if count > MOST_COMBINATIONS:
            raise BacktestRefused("COMBINATIONS", f"{count:,} combinations are more than {MOST_COMBINATIONS:,}")
        rows: Iterable[tuple[float, ...]] = product(*axes.values())
        if where is not None:
            rows = (row for row in rows if where(dict(zip(axes, row, strict=True))))
        return cls(tuple(axes), np.array(list(rows), np.float64).reshape(-1, len(axes)))

    @classmethod
    def of(cls, sets: Sequence[Mapping[str, float]]) -> Combinations:
        """Combinations one by one, all of the same names."""
        names = tuple(sets[0]) if sets else ()
        return cls(names, np.array([[float(one[name]) for name in names] for one in sets]).reshape(-1, len(names)))


def plan_with(plan: Plan, numbers: Mapping[str, float], fixed: Mapping[str, float] | None = None) -> Plan:
    """The plan with these numbers in its rules and levels; `fixed` are the parameters that are not tried.

    BacktestRefused: a level that the plan does not have. RuleError: a rule that does not take its number.
    """
    parameters = dict(fixed or {}) | {name: value for name, value in numbers.items() if name not in LEVELS}

    def again(rule: CompiledRule | None) -> CompiledRule | None:
        return None if rule is None else compile_rule(rule.text, parameters, expect=rule.kind)

    changed = replace(
        plan, long_entry=again(plan.long_entry), short_entry=again(plan.short_entry), long_exit=again(plan.long_exit),
        short_exit=again(plan.short_exit), stop_rule=again(plan.stop_rule), target_rule=again(plan.target_rule),
        rank=again(plan.rank),
    )  # fmt: skip
    return with_levels(changed, numbers)


def with_levels(plan: Plan, numbers: Mapping[str, float]) -> Plan:
    """The plan with those of the numbers that are levels."""
    for name in LEVELS:
        if name in numbers:
            plan = _with_level(plan, name, numbers[name])
    return plan


def _with_level(plan: Plan, name: str, number: float) -> Plan:
    value = Decimal(repr(number))
    if name == "exit.max_bars":
        return replace(plan, max_bars=int(number))
    if name == "exit.stop" and plan.stop is not None and plan.stop.kind is not StopKind.PRICE and 0 < value <= 50:
        return replace(plan, stop=replace(plan.stop, value=value))
    if name == "exit.target" and plan.target is not None and plan.target.value is not None and 0 < value <= 500:
        return replace(plan, target=replace(plan.target, value=value))
    if name == "exit.trailing":
        return replace(plan, trailing=replace(plan.trailing or Trailing(value), distance_pct=value))
    if name == "exit.trailing_after" and plan.trailing is not None:
        return replace(plan, trailing=replace(plan.trailing, after_pct=value))
    raise BacktestRefused("OUT_OF_RANGE", f"{name} cannot be {number:g} in this plan")


def check_names(plan: Plan, names: Iterable[str]) -> None:
    """BacktestRefused: a name that no rule mentions and no level has."""
    text = " ".join(rule.text for rule in plan.rules.values())
    for name in names:
        if name not in LEVELS and not re.search(rf"\b{re.escape(name)}\b", text):
            raise BacktestRefused("UNKNOWN_PARAMETER", f"No rule of {plan.name} mentions {name}")


class Opening:
    """A rule and what many combinations make of it, or of a part of it: see the top of this file."""

    def __init__(self, rule: CompiledRule, tried: Combinations, fixed: Mapping[str, float]) -> None:
        self._rule, self._tried, self._fixed = rule, tried, fixed
        self._names = [name for name in tried.names if re.search(rf"\b{re.escape(name)}\b", rule.text)]
        values = {name: np.unique(column).tolist() for name, column in zip(self._names, self._columns.T, strict=True)}
        self.tree: Node | None = None  # with the first value of each; None: every combination is parsed
        if 1 < len(self._sets(self._names)[0]) <= sum(map(len, values.values())):
            return  # hardly a value is had twice: there is nothing to share
        try:
            tree = self._parsed({name: others[0] for name, others in values.items()})
            holes = _holes(rule.text, tree, values, self._parsed)
        except RuleError:  # at numbers that no combination has together: those that there are will tell
            return
        if holes is not None:
            self.tree, self._branches = tree, _branches(holes)
            self._names_at = {path: tuple(_names_in(below)) for path, below in _every_branch((), self._branches)}
            self._made: dict[object, Node] = {}

    def at(self, path: Path) -> tuple[list[Node], NDArray[np.int64]]:
        """The different nodes at a place in the tree, and which of them each combination has: int64[combinations].

        Without a tree there is no place but the whole, `()`.
        """
        branches: Branches = self._branches if self.tree is not None else {}
        for place in path:
            branches = branches.get(place, {})  # type: ignore[assignment]  # a number is no place to ask for
        names = self._names if self.tree is None else sorted(set(_names_in(branches)))
        sets, which = self._sets(names)
        rows = [dict(zip(names, row, strict=True)) for row in sets.tolist()]
        if self.tree is None:
            return [self._parsed(row) for row in rows], which
        node = node_at(self.tree, path)
        if not branches:
            return [node], which
        return [_put_in(node, path, branches, row, self._made, self._names_at) for row in rows], which

    @property
    def _columns(self) -> NDArray[np.float64]:
        return self._tried.values[:, [self._tried.names.index(name) for name in self._names]]

    def _sets(self, names: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The different sets of values of these parameters, and which of them each combination has."""
        return different(self._tried.values[:, [self._tried.names.index(name) for name in names]])

    def _parsed(self, numbers: Mapping[str, float]) -> Node:
        return parse(self._rule.text, dict(self._fixed) | dict(numbers))


def different(rows: NDArray) -> tuple[NDArray, NDArray[np.int64]]:
    """The different rows of a table, rising column by column, and which of them each row is: int64[rows].

    `np.unique(rows, axis=0)`, a column at a time: numbers are sorted a hundred times as fast as rows.
    """
    which = np.zeros(len(rows), np.int64)
    for column in rows.T:
        values, places = np.unique(column, return_inverse=True)
        _, which = np.unique(which * len(values) + places, return_inverse=True)
    _, first = np.unique(which, return_index=True)
    return rows[first], np.asarray(which, np.int64)


def _holes(
    text: str, tree: Node, values: Mapping[str, Sequence[float]], parsed: Callable[[Mapping[str, float]], Node],
) -> dict[Path, str] | None:  # fmt: skip
    """The place in the tree of every occurrence of every parameter; None where one has no place of its own."""
    holes: dict[Path, str] = {}
    base = {name: others[0] for name, others in values.items()}
    for name, others in values.items():
        own: set[Path] = set()
        for value in others[1:]:
            changed = _differences(tree, parsed({**base, name: value}))
            if changed is None or any(number != value for number in changed.values()) or own - changed.keys():
                return None
            own |= changed.keys()
        written = len(re.findall(rf"\b{re.escape(name)}\b", text))
        if own & holes.keys() or len(own) != (written if len(others) > 1 else 0):
            return None
        holes |= dict.fromkeys(own, name)
    owners = {id(node_at(tree, path[:-1])) for path in holes}
    if len(owners) != len({path[:-1] for path in holes}):  # one node in two places: an occurrence that counted twice
        return None
    return holes


# Trees by place: the parts of a node, numbers and nodes alike, are counted in the order in which it names them.

Branches = dict[int, "Branches | str"]


def _parts(node: Node) -> list[object]:
    parts: list[object] = []
    for name in _fields_of(type(node)):  # type: ignore[arg-type]  # a class can be hashed
        value = getattr(node, name)
        if isinstance(value, tuple):
            parts += value
        else:
            parts.append(value)
    return parts


@cache
def _fields_of(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def node_at(node: Node, path: Path) -> Node:
    for place in path:
        node = _parts(node)[place]  # type: ignore[assignment]
    return node


def place_in(node: Node, part: Node) -> int:
    """Which part of a node another is."""
    return next(place for place, one in enumerate(_parts(node)) if one is part)


def _differences(one: Node, other: Node) -> dict[Path, float] | None:
    """Where two trees of one shape differ, and the number of the other there; None when they differ in shape."""
    if type(one) is not type(other):
        return None
    mine, its = _parts(one), _parts(other)
    if len(mine) != len(its):
        return None
    found: dict[Path, float] = {}
    for place, (a, b) in enumerate(zip(mine, its, strict=True)):
        if a == b:
            continue
        if is_dataclass(a) and is_dataclass(b):
            below = _differences(a, b)  # type: ignore[arg-type]
            if below is None:
                return None
            found |= {(place, *path): number for path, number in below.items()}
        elif isinstance(a, float | int) and isinstance(b, float | int):
            found[(place,)] = b
        else:
            return None
    return found


def _branches(holes: Mapping[Path, str]) -> Branches:
    top: Branches = {}
    for path, name in holes.items():
        here = top
        for place in path[:-1]:
            here = here.setdefault(place, {})  # type: ignore[assignment]
        here[path[-1]] = name
    return top


def _put_in(
    node: Node, path: Path, branches: Branches, numbers: Mapping[str, float], made: dict[object, Node],
    names_at: Mapping[Path, tuple[str, ...]],
) -> Node:  # fmt: skip
    """A copy of a tree with numbers in its holes; equal parts are one object."""
    key = (path, *[numbers[name] for name in names_at[path]])
    known = made.get(key)
    if known is None:
        known = made[key] = _rebuilt(node, path, branches, numbers, made, names_at)
    return known


def _rebuilt(
    node: Node, path: Path, branches: Branches, numbers: Mapping[str, float], made: dict[object, Node],
    names_at: Mapping[Path, tuple[str, ...]],
) -> Node:  # fmt: skip
    place = 0

    def part(value: object) -> object:
        nonlocal place
        here, place = place, place + 1
        hole = branches.get(here)
        if hole is None:
            return value
        if isinstance(hole, str):
            return int(numbers[hole]) if isinstance(value, int) else numbers[hole]
        return _put_in(value, (*path, here), hole, numbers, made, names_at)  # type: ignore[arg-type]

    given = {name: getattr(node, name) for name in _fields_of(type(node))}  # type: ignore[arg-type]  # as above
    made_of: Callable[..., Node] = type(node)
    return made_of(
        **{name: tuple(map(part, value)) if isinstance(value, tuple) else part(value) for name, value in given.items()}
    )


def _every_branch(path: Path, branches: Branches) -> Iterator[tuple[Path, Branches]]:
    yield path, branches
    for place, deeper in branches.items():
        if not isinstance(deeper, str):
            yield from _every_branch((*path, place), deeper)


def _names_in(branches: Branches) -> Iterator[str]:
    for deeper in branches.values():
        if isinstance(deeper, str):
            yield deeper
        else:
            yield from _names_in(deeper)
