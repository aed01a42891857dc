"""A rule that has been read: what it computes, and which bars it must be given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from strategies.rules.errors import RuleError
from strategies.rules.evaluate import Evaluation
from strategies.rules.functions import NEED_PREVIOUS_SESSION, NEED_WHOLE_SESSION
from strategies.rules.nodes import (
    Arithmetic,
    Call,
    Choice,
    Compare,
    Counted,
    Cross,
    Field,
    Lag,
    Node,
    Number,
    Of,
    On,
    OpeningRange,
    Pattern,
    Rank,
    children,
    is_condition,
    text_of,
    walk,
)
from strategies.rules.parser import parse
from strategies.rules.window import DAILY, SeriesKey, Window
from trading.indicators.registry import REGISTRY

Kind: TypeAlias = Literal["condition", "number"]
LONGEST_SESSION_MIN: Final = 385  # derivatives until 15:40


@dataclass(frozen=True, slots=True)
class SeriesNeed:
    """Bars of another timeframe or of a reference instrument that a rule looks at.

    `timeframe` minutes, 0 for the rule's own; `symbol` "" for the universe itself. `bars`: how many of them to load
    from before the first bar of the window, so that its first value is settled.
    """

    timeframe: int
    symbol: str
    bars: int

    def key(self, base_timeframe: int) -> SeriesKey:
        """Under which a window's `others` holds them."""
        return self.timeframe or base_timeframe, self.symbol


@dataclass(frozen=True)
class CompiledRule:
    """A rule ready to run. Immutable; the same text and parameters make an equal rule.

    `warm_up`: bars before it can first be known. `settling`: bars to load so that the beginning of the window no
    longer shows in recursive averages; session terms need sessions besides: `history` counts both. `needs`: other
    bars it looks at, longest reach of each.
    """

    text: str
    node: Node = field(repr=False)
    kind: Kind
    warm_up: int
    settling: int
    needs_previous_session: bool
    needs_whole_session: bool
    needs: tuple[SeriesNeed, ...] = ()

    def history(self, timeframe: int) -> int:
        """Bars of `timeframe` minutes to load before the first one that is to be judged."""
        return self.settling + _session_bars(self.needs_whole_session, self.needs_previous_session, timeframe)

    def evaluate(self, on: Window | Evaluation) -> NDArray[np.bool_] | NDArray[np.float64]:
        """[symbols, bars]: bool for a condition (true only where known to be), float64 for a number.

        Give an `Evaluation` to share terms between rules.
        """
        evaluation = on if isinstance(on, Evaluation) else Evaluation(on)
        if self.kind == "condition":
            return evaluation.truth(self.node).copy()
        return evaluation.numbers(self.node).copy()

    def terms_at(self, evaluation: Evaluation, symbol_index: int, bar_index: int) -> dict[str, float]:
        """What the rule saw at one bar of one symbol: term → value, 1 or 0 for conditions; unknown ones left out."""
        terms: dict[str, float] = {}
        shown = _shown(self.node) + ([self.node] if isinstance(self.node, Arithmetic) else [])
        for node in shown:
            if is_condition(node):
                is_true, is_false = evaluation.condition(node)
                if is_true[symbol_index, bar_index] or is_false[symbol_index, bar_index]:
                    terms[text_of(node)] = float(is_true[symbol_index, bar_index])
            else:
                value = float(evaluation.numbers(node)[symbol_index, bar_index])
                if np.isfinite(value):
                    terms[text_of(node)] = value
        return terms


@dataclass(frozen=True)
class RuleSet:
    """Rules that run together, and the bars that all of them need: ask for these before the market is loaded.

    rules = RuleSet.of(entry, leave, *others)
    window = load(bars=rules.history(5), others=rules.needs)     # the caller's own loader
    evaluation = Evaluation(window)
    fired = evaluation.truth(entry.node)
    """

    rules: tuple[CompiledRule, ...]
    needs: tuple[SeriesNeed, ...]

    @classmethod
    def of(cls, *rules: CompiledRule | None) -> RuleSet:
        kept = tuple(rule for rule in rules if rule is not None)
        return cls(kept, _merged(need for rule in kept for need in rule.needs))

    @property
    def settling(self) -> int:
        return max((rule.settling for rule in self.rules), default=0)

    def history(self, timeframe: int) -> int:
        """Bars of `timeframe` minutes before the first one that is to be judged."""
        return max((rule.history(timeframe) for rule in self.rules), default=0)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Reference instruments, by name."""
        return tuple(sorted({need.symbol for need in self.needs if need.symbol}))

    @property
    def terms(self) -> int:
        """How many different terms there are: what a market is asked to reckon, each once."""
        return len({node for rule in self.rules for node in walk(rule.node)})


def compile_rule(
    text: str, parameters: Mapping[str, float] | None = None, *, expect: Kind | None = None,
    timeframe: int | None = None,
) -> CompiledRule:  # fmt: skip
    """Parse and check a rule; parameters become constants. RuleError: see its code, position and suggestion.

    `timeframe`: minutes of the bars it is for, so that another timeframe it names can be checked against them.
    """
    node = parse(text, parameters or {}, timeframe=timeframe)
    kind: Kind = "condition" if is_condition(node) else "number"
    if expect is not None and kind != expect:
        raise RuleError("WRONG_KIND", f"This rule is a {kind}, and a {expect} is needed", 0)
    names = _session_names(node)
    return CompiledRule(
        text=text,
        node=node,
        kind=kind,
        warm_up=_reach(node, settled=False),
        settling=_reach(node, settled=True),
        needs_previous_session=bool(names & NEED_PREVIOUS_SESSION),
        needs_whole_session=bool(names & NEED_WHOLE_SESSION),
        needs=_merged(_needs(node, 0, "", timeframe or 1)),
    )


def _reach(node: Node, *, settled: bool) -> int:
    """Bars of the rule's own timeframe that lie behind its value; what is reckoned elsewhere has bars of its own."""
    if isinstance(node, On | Of):
        return 0
    below = max((_reach(child, settled=settled) for child in children(node)), default=0)
    match node:
        case Call(name=name, constants=constants):
            indicator = REGISTRY[name]
            return below + (indicator.settling if settled else indicator.warm_up)(constants)
        case Lag(bars=bars):
            return below + bars
        case Counted(bars=bars):
            return below + (bars if settled else 0)
        case Cross() | Pattern():
            return below + 1
    return below


def _needs(node: Node, timeframe: int, symbol: str, base: int) -> list[SeriesNeed]:
    """Every other series below a node that is itself reckoned on (timeframe, symbol)."""
    found: list[SeriesNeed] = []
    for each in local_nodes(node):
        if not isinstance(each, On | Of):
            continue
        minutes = each.timeframe if isinstance(each, On) else timeframe
        name = each.symbol if isinstance(each, Of) else symbol
        within = _session_names(each.term)
        bars = _reach(each.term, settled=True) + _session_bars(
            bool(within & NEED_WHOLE_SESSION), bool(within & NEED_PREVIOUS_SESSION), minutes or base
        )
        found.append(SeriesNeed(minutes, name, bars + 1))
        found += _needs(each.term, minutes, name, base)
    return found


def local_nodes(node: Node) -> list[Node]:
    """The nodes reckoned on the same bars, those that lead elsewhere included but not what is in them."""
    nodes = [node]
    if not isinstance(node, On | Of):
        for child in children(node):
            nodes += local_nodes(child)
    return nodes


def _session_names(node: Node) -> set[str]:
    return {each.name for each in local_nodes(node) if isinstance(each, Field | OpeningRange)}


def _session_bars(whole: bool, previous: bool, timeframe: int) -> int:
    a_day = 1 if timeframe >= DAILY else ceil(LONGEST_SESSION_MIN / timeframe)
    return a_day * (2 if previous else 1 if whole else 0)


def _merged(needs: Iterable[SeriesNeed]) -> tuple[SeriesNeed, ...]:
    longest: dict[tuple[int, str], int] = {}
    for need in needs:
        key = (need.timeframe, need.symbol)
        longest[key] = max(need.bars, longest.get(key, 0))
    return tuple(SeriesNeed(*key, bars) for key, bars in sorted(longest.items()))


def _shown(node: Node) -> list[Node]:
    """What an explanation may want to name: fields, indicators, lags, crosses, and operands of comparisons."""
    found: list[Node] = []
    match node:
        case Number():
            return []
        case Field() | OpeningRange() | Call() | Lag() | Pattern() | Rank() | Counted() | Choice() | On() | Of():
            return [node]
        case Cross():
            found.append(node)
    for child in children(node):
        if isinstance(node, Compare | Cross) and isinstance(child, Arithmetic):
            found.append(child)
        found += _shown(child)
    return found
