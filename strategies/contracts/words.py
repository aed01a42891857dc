"""A rule and a contract as sentences, before any value is known. Pure."""

from __future__ import annotations

from strategies.contracts.schema import ContractBody, PartKind, SizingKind, StopKind, TargetKind, TrailingKind
from strategies.rules.explain import label
from strategies.rules.functions import TIMEFRAME_NAMES
from strategies.rules.nodes import Compare, Counted, Cross, Lag, Logic, Node, Of, On, Pattern, is_condition
from trading.domain.formatting import rupees
from trading.domain.orders import Side

_VERBS = {
    "<": "is below", "<=": "is not above", ">": "is above", ">=": "is not below", "==": "equals", "!=": "is not",
}  # fmt: skip


def conditions_of(node: Node) -> list[str]:
    """What must be true together, one sentence part each."""
    if isinstance(node, Logic) and node.operator == "and":
        return [text for part in node.parts for text in conditions_of(part)]
    return [in_words(node)]


def in_words(node: Node) -> str:
    """A condition as a part of a sentence; a number as its label."""
    match node:
        case Compare(operator=operator, left=left, right=right):
            return f"{_term(left)} {_VERBS[operator]} {_term(right)}"
        case Cross(name=name, left=left, right=right):
            return f"{_term(left)} {name.replace('_', ' ')} {_term(right)}"
        case Logic(operator="not", parts=(part,)):
            return f"not: {in_words(part)}"
        case Logic(operator="or", parts=parts):
            return "either " + ", or ".join(_joined(part) for part in parts)
        case Logic(parts=parts):
            return " and ".join(map(in_words, parts))
        case Pattern():
            return f"there is {label(node)}"
        case Lag(of=of, bars=bars) if is_condition(of):
            return f"{in_words(of)}, {bars} bar{'s' if bars > 1 else ''} ago"
        case On(term=term) if is_condition(term):
            return f"on {TIMEFRAME_NAMES[node.timeframe]} bars: {in_words(term)}"
        case Of(symbol=symbol, term=term) if is_condition(term):
            return f"of {symbol.partition(':')[2]}: {in_words(term)}"
    return _term(node)


def _joined(node: Node) -> str:
    return " and ".join(conditions_of(node))


def _term(node: Node) -> str:
    match node:
        case Counted(name="count", condition=condition, bars=bars):
            return f"the number of the last {bars} bars on which {in_words(condition)}"
        case Counted(condition=condition):
            return f"the number of bars since {in_words(condition)}"
    return label(node)


def stop_in_words(body: ContractBody) -> str:
    spec = body.stop
    match spec.kind:
        case StopKind.PERCENT:
            return f"{_number(spec.value)} % from the entry"
        case StopKind.ATR:
            return f"{_number(spec.value)} × ATR {spec.period} from the entry"
    return f"at {spec.rule}"


def target_in_words(body: ContractBody) -> str:
    spec = body.target
    if spec is None:
        return "none"
    match spec.kind:
        case TargetKind.PERCENT:
            return f"{_number(spec.value)} % from the entry"
        case TargetKind.ATR:
            return f"{_number(spec.value)} × ATR {spec.period} from the entry"
        case TargetKind.R_MULTIPLE:
            return f"{_number(spec.value)} times what is risked"
    return f"at {spec.rule}, as it stood at the signal"


def trailing_in_words(body: ContractBody) -> str:
    spec = body.trailing
    if spec is None:
        return ""
    unit = "%" if spec.kind is TrailingKind.PERCENT else f"× ATR {spec.period}"
    after = f", once {_number(spec.after)} % are gained" if spec.after else ""
    return f"{_number(spec.distance)} {unit} behind the best price{after}"


def parts_in_words(body: ContractBody) -> list[str]:
    units = {PartKind.PERCENT: " %", PartKind.R_MULTIPLE: " times what is risked"}
    return [
        f"{_number(part.share_pct)} % of the position at a gain of {_number(part.value)}"
        f"{units.get(part.kind, f' × ATR {part.period}')}"
        for part in body.partials
    ]


def sizing_in_words(body: ContractBody) -> str:
    sizing = body.sizing
    value = _number(sizing.value)
    return {
        SizingKind.RISK_PER_TRADE: f"{value} % of equity lost at the stop",
        SizingKind.FIXED_QUANTITY: f"{value} units",
        SizingKind.PERCENT_EQUITY: f"{value} % of equity bought",
        SizingKind.FIXED_RUPEES: f"{rupees(int(sizing.value * 100), symbol=True)} bought",
        SizingKind.VOLATILITY_TARGET: f"as much as moves by {value} % of equity a year, by {sizing.period} days",
        SizingKind.KELLY: f"{value} % of Kelly at odds {sizing.win_rate} and {sizing.payoff}: {sizing.risk_pct} % of "
        "equity lost at the stop",
    }[sizing.kind]


def facts_of(body: ContractBody) -> list[tuple[str, str]]:
    """Everything of a contract but its rules, as label and text, in the order of a trade."""
    sides = " and ".join("long" if side is Side.BUY else "short" for side in body.sides)
    facts = [
        ("Trades", f"{sides}, {body.timeframe} bars, {str(body.holding).replace('_', '-')}"),
        ("Market", "any" if body.regime == "any" else f"{body.regime}"),
        ("Universes", ", ".join(body.universes)),
        ("Size", sizing_in_words(body)),
        ("Stop", stop_in_words(body)),
        ("Target", target_in_words(body)),
        ("Trailing stop", trailing_in_words(body)),
        ("Taken off", "; ".join(parts_in_words(body))),
        ("At most", f"{body.max_bars} bars" if body.max_bars else ""),
        ("Ends at", body.exit_at.strftime("%H:%M") if body.exit_at else ""),
        ("Positions at once", str(body.risk.max_positions or "")),
        ("Trades a day", str(body.risk.max_trades_per_day or "")),
        ("Product", str(body.product)),
    ]
    return [(name, text) for name, text in facts if text]


def _number(value: object) -> str:
    return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}"
