"""Why a rule fired, as a sentence a trader would say, from the values it saw."""

from __future__ import annotations

from collections.abc import Mapping

from strategies.rules.compiled import CompiledRule
from strategies.rules.functions import TIMEFRAME_NAMES
from strategies.rules.nodes import (
    NAMED_ARITHMETIC,
    Arithmetic,
    Call,
    Compare,
    Counted,
    Cross,
    Field,
    Lag,
    Logic,
    Node,
    Number,
    Of,
    On,
    OpeningRange,
    Pattern,
    Rank,
    is_condition,
    number_text,
    text_of,
)
from trading.indicators.registry import REGISTRY

_FIELD_LABELS = {
    "minutes_since_open": "minutes since the open",
    "bars_since_open": "bars since the open",
    "minutes_to_close": "minutes to the close",
    "day_of_week": "day of the week",
    "session_open": "the day's open",
    "session_high": "the day's high",
    "session_low": "the day's low",
    "session_twap": "the day's average",
    "session_volume": "the day's volume",
    "prev_day_open": "previous open",
    "prev_day_high": "previous high",
    "prev_day_low": "previous low",
    "prev_day_close": "previous close",
    "gap_pct": "gap %",
    "session_vwap": "session VWAP",
    "hl2": "HL/2",
    "hlc3": "HLC/3",
    "ohlc4": "OHLC/4",
}
_WHOLE = frozenset(
    {"volume", "minutes_since_open", "minutes_to_close", "bars_since_open", "day_of_week", "session_volume"}
)
_PATTERN_LABELS = {
    "hammer": "a hammer", "shooting_star": "a shooting star", "bullish_engulfing": "a bullish engulfing",
    "bearish_engulfing": "a bearish engulfing", "doji": "a doji", "inside_bar": "an inside bar",
}  # fmt: skip
_VERBS = {"<": "below", "<=": "not above", ">": "above", ">=": "not below", "==": "equal to", "!=": "not"}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def explain(rule: CompiledRule, terms: Mapping[str, float]) -> str:
    """One sentence for a rule that fired; `terms` come from `CompiledRule.terms_at` (they may have been stored).

    Of an `or` only the parts that were true are told. A number rule is told as its value.
    """
    if rule.kind == "number":
        return _sentence([f"{label(rule.node)} is {_shown(rule.node, terms)}"])
    return _sentence(_merged(_facts(rule.node, terms, wanted=True)))


def label(node: Node) -> str:
    """A term the way people write it: EMA 9, ATR 14, session VWAP, close 1 bar ago."""
    match node:
        case Number(value=value):
            return number_text(value)
        case Field(name=name):
            return _FIELD_LABELS.get(name, name)
        case OpeningRange(name=name, minutes=minutes):
            return f"{minutes}-minute opening range {name.rpartition('_')[2]}"
        case Pattern(name=name):
            return _PATTERN_LABELS[name]
        case On(timeframe=timeframe, term=term):
            return f"{label(term)} on {TIMEFRAME_NAMES[timeframe]}"
        case Of(symbol=symbol, term=term):
            return f"{label(term)} of {symbol.partition(':')[2]}"
        case Rank(term=term):
            return f"rank of {label(term)}"
        case Counted(name="count", condition=condition, bars=bars):
            return f"bars of the last {bars} with {label(condition)}"
        case Counted(condition=condition):
            return f"bars since {label(condition)}"
        case Call(name=name, series=series, constants=constants):
            parts = " ".join([REGISTRY[name].label, ", ".join(map(number_text, constants))]).strip()
            other = [each for each in series if each != Field("close")]
            return f"{parts} of {label(other[0])}" if other else parts
        case Lag(of=of, bars=bars):
            return f"{label(of)} {bars} bar{'s' if bars > 1 else ''} ago"
        case Arithmetic(operator="negate", operands=(only,)):
            return f"-{label(only)}"
        case Arithmetic(operator=name, operands=operands) if name in NAMED_ARITHMETIC:
            return f"{name}({', '.join(map(label, operands))})"
        case Arithmetic(operator=operator, operands=operands):
            return f" {operator} ".join(
                f"({label(each)})" if isinstance(each, Arithmetic) else label(each) for each in operands
            )
    return text_of(node)


def rupee_digits(value: float, decimals: int = 2) -> str:
    """A number in Indian grouping: 12,34,567.80."""
    whole, _, fraction = f"{abs(value):.{decimals}f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    groups = [tail]
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    grouped = ",".join(groups) + (f".{fraction}" if fraction else "")
    return f"-{grouped}" if value < 0 and any(digit in grouped for digit in "123456789") else grouped


# A fact is told of a subject ("RSI 14 is 58.2") with something said about it ("below 70").
_Fact = tuple[str, str]


def _facts(node: Node, terms: Mapping[str, float], *, wanted: bool) -> list[_Fact]:
    """The parts of a condition that made it true, or, for a `not`, false."""
    match node:
        case Logic(operator="not", parts=(part,)):
            return _facts(part, terms, wanted=not wanted)
        case Logic(parts=parts):
            return [
                fact for part in parts if _truth(part, terms) is wanted for fact in _facts(part, terms, wanted=wanted)
            ]
        case Cross(name=name, left=left, right=right):
            verb = name.replace("crosses", "crossed" if wanted else "has not crossed").replace("_", " ")
            return [(f"{_with_value(left, terms)} {verb} {_with_value(right, terms)}", "")]
        case Compare(operator=symbol, left=left, right=right):
            if isinstance(left, Number):
                left, right, symbol = right, left, _MIRRORED[symbol]
            verb = _VERBS[symbol if wanted else _OPPOSITE[symbol]]
            return [(f"{label(left)} is {_shown(left, terms)}", f"{verb} {_with_value(right, terms)}")]
        case Pattern():
            return [(f"{'there is' if wanted else 'there is not'} {label(node)}", "")]
        case Lag() | On() | Of():
            return [(f"{label(node)} {'held' if wanted else 'did not hold'}", "")]
    return []


def _truth(node: Node, terms: Mapping[str, float]) -> bool | None:
    match node:
        case Cross() | Lag() | Pattern() | On() | Of():
            told = terms.get(text_of(node))
            return None if told is None else told > 0
        case Compare(operator=symbol, left=left, right=right):
            a, b = _value(left, terms), _value(right, terms)
            if a is None or b is None:
                return None
            return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b, "!=": a != b}[symbol]
        case Logic(operator="not", parts=(part,)):
            inner = _truth(part, terms)
            return None if inner is None else not inner
        case Logic(operator=operator, parts=parts):
            truths = [_truth(part, terms) for part in parts]
            deciding = operator == "or"
            if deciding in truths:
                return deciding
            return None if None in truths else not deciding
    return None


def _merged(facts: list[_Fact]) -> list[str]:
    """Each subject once: "RSI 14 is 58.2, below 70 and above 50"."""
    said: dict[str, list[str]] = {}
    for subject, remark in facts:
        remarks = said.setdefault(subject, [])
        if remark and remark not in remarks:
            remarks.append(remark)
    return [f"{subject}, {' and '.join(remarks)}" if remarks else subject for subject, remarks in said.items()]


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _value(node: Node, terms: Mapping[str, float]) -> float | None:
    return node.value if isinstance(node, Number) else terms.get(text_of(node))


def _with_value(node: Node, terms: Mapping[str, float]) -> str:
    return label(node) if isinstance(node, Number) else f"{label(node)} ({_shown(node, terms)})"


def _shown(node: Node, terms: Mapping[str, float]) -> str:
    value = _value(node, terms)
    return "unknown" if value is None else rupee_digits(value, _decimals(node))


def _decimals(node: Node) -> int:
    match node:
        case Call(name=name):
            return REGISTRY[name].decimals
        case Field(name=name):
            return 0 if name in _WHOLE else 2
        case Lag(of=of):
            return _decimals(of)
        case On(term=term) | Of(term=term):
            return 0 if is_condition(term) else _decimals(term)
        case Counted():
            return 0
        case Rank():
            return 1
    return 2
