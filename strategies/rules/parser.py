"""Tokens to a checked tree. What comes out is bounded in size, well typed, and looks backward only.

rule       := and-group { "or" and-group }
and-group  := condition { "and" condition }
condition  := "not" condition | sum { compare sum }          (a < b < c means a < b and b < c)
sum        := product { ("+" | "-") product }
product    := signed { ("*" | "/") signed }
signed     := "-" signed | term { "[" lag "]" }
term       := number | name | function "(" [ text "," ] rule { "," rule } ")" | "(" rule ")"
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite, log, sqrt
from typing import Final, NoReturn

from strategies.rules.errors import RuleError
from strategies.rules.functions import (
    CHOICE,
    COUNTS,
    CROSSES,
    ELSEWHERE,
    FUNCTIONS,
    KEYWORDS,
    LONGEST_OPENING_MIN,
    NAMES,
    PATTERNS,
    RANK,
    RESERVED,
    SESSION_RANGES,
    SEVERAL,
    TIMEFRAME_MINUTES,
    TIMEFRAME_NAMES,
    nearest,
    signature_of,
)
from strategies.rules.lexer import Token, tokens_of
from strategies.rules.nodes import (
    NAMED_ARITHMETIC,
    Arithmetic,
    Call,
    Choice,
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
    children,
    is_condition,
    number_text,
)
from trading.indicators.registry import MAX_PERIOD, REGISTRY

MAX_DEPTH: Final = 40
MAX_NODES: Final = 300
MAX_COST: Final = 3_000
"""What a rule may cost: 1 for each term, and 1 for each 25 bars that an indicator reads anew at every bar."""
MAX_REACH: Final = 20_000
"""Bars that a rule may look back upon in all."""

_READS_ITS_PERIOD: Final = frozenset({"cci"})  # every other kernel takes the same time whatever its period

_PARAMETER_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_SYMBOL: Final = re.compile(r"[A-Z]{2,6}:[A-Z0-9&_.-]{1,50}")
_COMPARE: Final = frozenset({"<", "<=", ">", ">=", "==", "!="})
_FOLD: Final[dict[str, Callable[..., float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "negate": operator.neg,
    "min": min,
    "max": max,
    "abs": abs,
    "sqrt": sqrt,
    "log": log,
    "sign": lambda x: float((x > 0) - (x < 0)),
}


@dataclass(frozen=True, slots=True)
class _Parsed:
    node: Node
    position: int
    depth: int
    reach: int = 0


def parse(text: str, parameters: Mapping[str, float], *, timeframe: int | None = None) -> Node:
    """The tree of a rule, parameters already put in as numbers. RuleError says what is wrong and where.

    `timeframe`: minutes of the bars the rule is for; with it, `on` a shorter timeframe is refused here.
    """
    for name, value in parameters.items():
        if not _PARAMETER_NAME.fullmatch(name) or name in RESERVED:
            raise RuleError("PARAMETER_NAME", f"{name} cannot be the name of a parameter", 0)
        if not isfinite(value):
            raise RuleError("PARAMETER_VALUE", f"parameter {name} is not a number", 0)
    return _Parser(tokens_of(text), parameters, timeframe).whole()


class _Parser:
    def __init__(self, tokens: tuple[Token, ...], parameters: Mapping[str, float], timeframe: int | None) -> None:
        self._tokens = tokens
        self._marks = [token.text if token.kind in ("operator", "keyword") else None for token in tokens]
        self._parameters = parameters
        self._next = 0
        self._nesting = 0
        self._nodes = 0
        self._cost = 0
        self._timeframe = timeframe  # of the bars on which the present part is reckoned
        self._alone = False  # within `of`: one instrument, no universe

    def whole(self) -> Node:
        if self._here.kind == "end":
            raise RuleError("EMPTY", "A rule needs at least one term", 0)
        rule = self._rule()
        if self._here.kind != "end":
            self._unexpected("the end of the rule")
        return rule.node

    # Reading tokens

    @property
    def _here(self) -> Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> Token | None:
        if self._marks[self._next] not in texts:
            return None
        self._next += 1
        return self._tokens[self._next - 1]

    def _expect(self, text: str) -> None:
        if self._take(text) is None:
            self._unexpected(text)

    def _unexpected(self, wanted: str) -> NoReturn:
        token = self._here
        found = "the rule ends" if token.kind == "end" else f"{token.text} stands"
        keyword = nearest(token.text, ("and", "or", "not")) if token.kind == "name" else None
        raise RuleError("SYNTAX", f"{found} where {wanted} is expected", token.position, keyword)

    # The grammar, loosest first

    def _rule(self) -> _Parsed:
        self._nesting += 1
        if self._nesting > MAX_DEPTH:
            raise RuleError("TOO_DEEP", f"A rule is nested at most {MAX_DEPTH} levels deep", self._here.position)
        if self._here.kind in ("name", "number") and self._marks[self._next + 1] in (",", ")"):
            parsed = self._term()  # a word alone, as most arguments are: what binds looser has nothing to bind
        else:
            parsed = self._joined("or", lambda: self._joined("and", self._condition))
        self._nesting -= 1
        return parsed

    def _joined(self, word: str, part: Callable[[], _Parsed]) -> _Parsed:
        first = part()
        parts = [first]
        while self._take(word):
            parts.append(part())
        if len(parts) == 1:
            return first
        for each in parts:
            self._need_condition(each, word)
        return self._made(Logic(word, tuple(each.node for each in parts)), first.position, parts)

    def _condition(self) -> _Parsed:
        word = self._take("not")
        if word is not None:
            part = self._nested(self._condition)
            self._need_condition(part, "not")
            return self._made(Logic("not", (part.node,)), word.position, [part])
        left = self._sum()
        compared: list[_Parsed] = []
        while (symbol := self._take(*_COMPARE)) is not None:
            right = self._sum()
            self._need_number(left, symbol.text)
            self._need_number(right, symbol.text)
            compared.append(self._made(Compare(symbol.text, left.node, right.node), left.position, [left, right]))
            left = right
        if not compared:
            return left
        if len(compared) == 1:
            return compared[0]
        return self._made(Logic("and", tuple(each.node for each in compared)), compared[0].position, compared)

    def _sum(self) -> _Parsed:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/"), self._signed))

    def _chain(self, symbols: tuple[str, ...], part: Callable[[], _Parsed]) -> _Parsed:
        left = part()
        while (symbol := self._take(*symbols)) is not None:
            right = part()
            left = self._arithmetic(symbol.text, [left, right], symbol.position)
        return left

    def _signed(self) -> _Parsed:
        minus = self._take("-")
        if minus is not None:
            return self._arithmetic("negate", [self._nested(self._signed)], minus.position)
        parsed = self._term()
        while (bracket := self._take("[")) is not None:
            lag = self._rule()
            self._expect("]")
            bars = self._lag_bars(lag)
            if bars > 0:
                if isinstance(parsed.node, Number):
                    raise RuleError("CONSTANT_SERIES", "A number has no earlier bars", bracket.position)
                parsed = self._made(Lag(parsed.node, bars), parsed.position, [parsed], reach=bars)
        return parsed

    def _nested(self, part: Callable[[], _Parsed]) -> _Parsed:
        self._nesting += 1
        if self._nesting > MAX_DEPTH:
            raise RuleError("TOO_DEEP", f"A rule is nested at most {MAX_DEPTH} levels deep", self._here.position)
        parsed = part()
        self._nesting -= 1
        return parsed

    def _term(self) -> _Parsed:
        token = self._here
        if token.kind == "number":
            self._next += 1
            return self._made(Number(float(token.text)), token.position, [])
        if token.kind == "name":
            self._next += 1
            if self._take("("):
                return self._function(token)
            return self._name(token)
        if self._take("("):
            inner = self._rule()
            self._expect(")")
            return _Parsed(inner.node, token.position, inner.depth, inner.reach)
        return self._unexpected("a number, a name or a bracket")

    def _name(self, token: Token) -> _Parsed:
        if token.text in self._parameters:
            return self._made(Number(float(self._parameters[token.text])), token.position, [])
        if token.text in PATTERNS:
            return self._made(Pattern(token.text), token.position, [], reach=1)
        if token.text in NAMES:
            return self._made(Field(token.text), token.position, [])
        if token.text in FUNCTIONS:
            if token.text in REGISTRY and not REGISTRY[token.text].arity and not REGISTRY[token.text].parameters:
                return self._indicator(token, [])
            raise RuleError(
                "NEEDS_ARGUMENTS", f"{token.text} is a function: {signature_of(token.text)}", token.position
            )
        raise RuleError(
            "UNKNOWN_NAME",
            f"{token.text} is not known",
            token.position,
            nearest(token.text, NAMES | FUNCTIONS | self._parameters.keys() | set(KEYWORDS)),
        )

    def _function(self, token: Token) -> _Parsed:
        name = token.text
        if name not in FUNCTIONS:
            raise RuleError(
                "UNKNOWN_FUNCTION", f"{name} is not a known function", token.position, nearest(name, FUNCTIONS)
            )
        if name in ELSEWHERE:
            return self._elsewhere(token)
        arguments: list[_Parsed] = []
        if not self._take(")"):
            arguments.append(self._rule())
            while self._take(","):
                arguments.append(self._rule())
            self._expect(")")
        if name in COUNTS or name == CHOICE:
            return self._of_condition(token, arguments)
        for argument in arguments:
            self._need_number(argument, name)
        if name == RANK:
            return self._rank(token, arguments)
        if name in SESSION_RANGES:
            if len(arguments) != 1:
                self._wrong_count(token, len(arguments))
            minutes = self._whole(arguments[0], "minutes", LONGEST_OPENING_MIN)
            return self._made(OpeningRange(name, minutes), token.position, arguments)
        if name in CROSSES:
            if len(arguments) != 2:
                self._wrong_count(token, len(arguments))
            if all(isinstance(argument.node, Number) for argument in arguments):
                raise RuleError("CONSTANT_SERIES", "Two numbers never cross", token.position)
            cross = Cross(name, arguments[0].node, arguments[1].node)
            return self._made(cross, token.position, arguments, reach=1)
        if name in SEVERAL:
            fewest, most = SEVERAL[name]
            if not fewest <= len(arguments) <= most:
                self._wrong_count(token, len(arguments))
            return self._arithmetic(name, arguments, token.position)
        return self._indicator(token, arguments)

    def _elsewhere(self, token: Token) -> _Parsed:
        """`on("15m", …)` and `of("NSE:…", …)`: the part within is reckoned on other bars."""
        where = self._here
        if where.kind != "string":
            example = '"15m"' if token.text == "on" else '"NSE:NIFTY50-INDEX"'
            raise RuleError("NEEDS_TEXT", f"{token.text} begins with a text, such as {example}", where.position)
        self._next += 1
        before = self._timeframe, self._alone
        if token.text == "on":
            self._timeframe = self._other_timeframe(where)
        elif _SYMBOL.fullmatch(where.text) is None:
            raise RuleError(
                "UNKNOWN_INSTRUMENT", f"{where.text or 'Nothing'} is no instrument's symbol", where.position
            )
        else:
            self._alone = True
        self._expect(",")
        inner = self._rule()
        self._expect(")")
        minutes = self._timeframe
        self._timeframe, self._alone = before
        if isinstance(inner.node, Number):
            raise RuleError("CONSTANT_SERIES", "A number is the same everywhere", inner.position)
        node = On(minutes or 0, inner.node) if token.text == "on" else Of(where.text, inner.node)
        return self._made(node, token.position, [inner])

    def _other_timeframe(self, where: Token) -> int:
        minutes = TIMEFRAME_MINUTES.get(where.text)
        if minutes is None:
            known = ", ".join(TIMEFRAME_MINUTES)
            raise RuleError(
                "UNKNOWN_TIMEFRAME", f"{where.text or 'Nothing'} is no timeframe: {known}", where.position,
                nearest(where.text, TIMEFRAME_MINUTES),
            )  # fmt: skip
        base = self._timeframe
        if base is not None and (minutes < base or (minutes % base and minutes < TIMEFRAME_MINUTES["1d"])):
            raise RuleError(
                "FINER_TIMEFRAME", f"Bars of {where.text} cannot be made of bars of {TIMEFRAME_NAMES.get(base, base)}",
                where.position,
            )  # fmt: skip
        return minutes

    def _of_condition(self, token: Token, arguments: list[_Parsed]) -> _Parsed:
        name = token.text
        if len(arguments) != (3 if name == CHOICE else 2):
            self._wrong_count(token, len(arguments))
        self._need_condition(arguments[0], name, "begins with a condition")
        for argument in arguments[1:]:
            self._need_number(argument, name)
        if name == CHOICE:
            condition, then, otherwise = (argument.node for argument in arguments)
            return self._made(Choice(condition, then, otherwise), token.position, arguments)
        bars = self._whole(arguments[1], "period", MAX_PERIOD)
        return self._made(Counted(name, arguments[0].node, bars), token.position, arguments, reach=bars)

    def _rank(self, token: Token, arguments: list[_Parsed]) -> _Parsed:
        if len(arguments) != 1:
            self._wrong_count(token, len(arguments))
        if self._alone:
            raise RuleError("NOTHING_TO_RANK", "Within of there is one instrument: nothing to rank", token.position)
        if isinstance(arguments[0].node, Number):
            raise RuleError("CONSTANT_SERIES", "A number ranks the same everywhere", arguments[0].position)
        return self._made(Rank(arguments[0].node), token.position, arguments)

    def _indicator(self, token: Token, arguments: list[_Parsed]) -> _Parsed:
        indicator = REGISTRY[token.text]
        series, constants = arguments[: indicator.arity], arguments[indicator.arity :]
        required = sum(parameter.default is None for parameter in indicator.parameters)
        if len(series) < indicator.arity or not required <= len(constants) <= len(indicator.parameters):
            self._wrong_count(token, len(arguments))
        for each in series:
            if isinstance(each.node, Number):
                raise RuleError(
                    "CONSTANT_SERIES",
                    f"{token.text} needs a series, such as close, before its constants",
                    each.position,
                )
        values: list[float] = []
        for place, parameter in enumerate(indicator.parameters):
            if place >= len(constants):
                values.append(float(parameter.default or 0))
                continue
            given = constants[place]
            if not isinstance(given.node, Number):
                raise RuleError("NOT_CONSTANT", f"{parameter.name} must be a number or a parameter", given.position)
            if not parameter.accepts(given.node.value):
                allowed = f"a whole number from 1 to {MAX_PERIOD}" if parameter.kind == "period" else "positive"
                raise RuleError(
                    "OUT_OF_RANGE",
                    f"{parameter.name} must be {allowed}, not {number_text(given.node.value)}",
                    given.position,
                )
            values.append(given.node.value)
        call = Call(token.text, tuple(each.node for each in series), tuple(values))
        if token.text in _READS_ITS_PERIOD:
            self._cost += int(values[0]) // 25
        return self._made(call, token.position, arguments, reach=indicator.warm_up(values))

    # Checks

    def _lag_bars(self, lag: _Parsed) -> int:
        if not isinstance(lag.node, Number) or lag.node.value != int(lag.node.value):
            raise RuleError("NOT_CONSTANT", "A lag is a whole number of bars", lag.position)
        if lag.node.value < 0:
            raise RuleError("LOOK_AHEAD", "A lag looks backward: its number cannot be negative", lag.position)
        if lag.node.value > MAX_PERIOD:
            raise RuleError("OUT_OF_RANGE", f"A lag reaches back at most {MAX_PERIOD} bars", lag.position)
        return int(lag.node.value)

    def _whole(self, argument: _Parsed, what: str, most: int) -> int:
        if not isinstance(argument.node, Number):
            raise RuleError("NOT_CONSTANT", f"{what} must be a number or a parameter", argument.position)
        value = argument.node.value
        if not 1 <= value <= most or value != int(value):
            given = number_text(value)
            raise RuleError(
                "OUT_OF_RANGE", f"{what} must be a whole number from 1 to {most}, not {given}", argument.position
            )
        return int(value)

    def _arithmetic(self, symbol: str, operands: list[_Parsed], position: int) -> _Parsed:
        for operand in operands:
            self._need_number(operand, "-" if symbol == "negate" else symbol)
        nodes = tuple(operand.node for operand in operands)
        numbers = [node.value for node in nodes if isinstance(node, Number)]
        first = position if symbol == "negate" or symbol in NAMED_ARITHMETIC else operands[0].position
        if symbol == "/" and isinstance(nodes[1], Number) and nodes[1].value == 0:
            raise RuleError("DIVISION_BY_ZERO", "Nothing can be divided by 0", operands[1].position)
        if len(numbers) == len(nodes):
            try:
                folded = float(_FOLD[symbol](*numbers))
            except ValueError as error:
                raise RuleError("NO_VALUE", f"{symbol} of {number_text(numbers[0])} has no value", position) from error
            if not isfinite(folded):
                raise RuleError("NUMBER_TOO_LARGE", "This number is too large", position)
            return self._made(Number(folded), first, operands)
        return self._made(Arithmetic(symbol, nodes), first, operands)

    def _made(self, node: Node, position: int, parts: list[_Parsed], *, reach: int = 0) -> _Parsed:
        self._nodes += 1
        self._cost += 1
        if self._nodes > MAX_NODES:
            raise RuleError("TOO_MANY_TERMS", f"A rule has at most {MAX_NODES} terms", position)
        depth = 1
        if parts:
            depth += max([part.depth for part in parts]) if children(node) else 0
            reach += max([part.reach for part in parts])
        if depth > MAX_DEPTH:
            raise RuleError("TOO_DEEP", f"A rule is nested at most {MAX_DEPTH} levels deep", position)
        if self._cost > MAX_COST:
            raise RuleError("TOO_COSTLY", "This rule reads too many bars at every bar", position)
        if reach > MAX_REACH:
            raise RuleError("TOO_FAR_BACK", f"A rule looks back upon at most {MAX_REACH} bars", position)
        return _Parsed(node, position, depth, reach)

    def _need_condition(self, parsed: _Parsed, word: str, needs: str = "joins conditions") -> None:
        if not is_condition(parsed.node):
            raise RuleError("NOT_A_CONDITION", f"{word} {needs}, and this is a number", parsed.position)

    def _need_number(self, parsed: _Parsed, where: str) -> None:
        if is_condition(parsed.node):
            raise RuleError("NOT_A_NUMBER", f"{where} needs numbers, and this is a condition", parsed.position)

    def _wrong_count(self, token: Token, count: int) -> NoReturn:
        raise RuleError("WRONG_ARGUMENTS", f"{signature_of(token.text)} was given {count} arguments", token.position)
