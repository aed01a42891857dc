"""What a strategy promises, checked to the last field before it may be published.

A contract is a mapping (YAML in the library, JSON in the database). `parse_contract` makes a `ContractBody` of it or
says which field is wrong. Two contracts that say the same have the same canonical JSON and the same content hash,
whatever the order or spelling of their numbers. Unknown fields are refused: a misspelt stop is no stop.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from strategies.rules.compiled import CompiledRule, Kind, compile_rule
from strategies.rules.errors import RuleError
from strategies.rules.functions import TIMEFRAME_MINUTES
from trading.domain.orders import Product, Side
from trading.indicators.registry import MAX_PERIOD, REGISTRY

LIBRARY: Final = Path(__file__).resolve().parent.parent / "library"

MAX_PARAMETERS: Final = 30

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


class Family(StrEnum):
    EQUITY = "equity"
    OPTIONS = "options"
    INDEX = "index"


class Holding(StrEnum):
    INTRADAY = "intraday"
    MULTI_DAY = "multi_day"


class Regime(StrEnum):
    """The market a strategy is meant for."""

    TREND = "trend"
    RANGE = "range"
    EVENT = "event"
    INDEX = "index"
    ANY = "any"


class StopKind(StrEnum):
    PERCENT = "percent"  # of the entry price
    ATR = "atr"  # multiples of the average true range
    PRICE = "price"  # a rule that gives a price


class TargetKind(StrEnum):
    PERCENT = "percent"  # of the entry price
    ATR = "atr"
    R_MULTIPLE = "r_multiple"  # multiples of what is risked per unit


class SizingKind(StrEnum):
    RISK_PER_TRADE = "risk_per_trade"  # percent of equity lost at the stop
    FIXED_QUANTITY = "fixed_quantity"  # units
    PERCENT_EQUITY = "percent_equity"  # percent of equity bought


class ContractError(Exception):
    """A contract that cannot be published: a stable code, the path of the field, and why."""

    def __init__(self, code: str, path: str, message: str) -> None:
        self.code = code
        self.path = path
        self.message = message
        super().__init__(f"{path}: {message}" if path else message)


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A number that may be tuned, within its range."""

    default: Decimal
    min: Decimal
    max: Decimal


@dataclass(frozen=True, slots=True)
class StopSpec:
    """`value`: percent or multiple, None for a price rule. `period`: bars of the ATR. `rule`: text of a price rule."""

    kind: StopKind
    value: Decimal | None
    period: int | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class TargetSpec:
    kind: TargetKind
    value: Decimal
    period: int | None = None


@dataclass(frozen=True, slots=True)
class SizingSpec:
    kind: SizingKind
    value: Decimal


@dataclass(frozen=True, slots=True)
class ContractBody:
    """A checked contract. Rules are kept as text and compiled with the parameters of a deployment."""

    name: str
    family: Family
    timeframe: str
    holding: Holding
    regime: Regime
    sides: tuple[Side, ...]
    universes: tuple[str, ...]
    parameters: tuple[tuple[str, ParameterSpec], ...]
    long_entry: str | None
    short_entry: str | None
    stop: StopSpec
    target: TargetSpec
    sizing: SizingSpec
    product: Product
    max_bars: int | None
    description: str
    when_it_loses: str

    @property
    def timeframe_minutes(self) -> int:
        return TIMEFRAME_MINUTES[self.timeframe]

    @property
    def atr_period(self) -> int | None:
        """Bars of the ATR that the stop, or else the target, is measured with; None if neither is."""
        return self.stop.period or self.target.period

    def parameters_with(self, overrides: Mapping[str, object] | None = None) -> dict[str, float]:
        """All parameters, a deployment's own in place of the defaults. ContractError: unknown or out of range."""
        specs = dict(self.parameters)
        values = {name: float(spec.default) for name, spec in specs.items()}
        for name, given in (overrides or {}).items():
            path = f"parameters.{name}"
            if name not in specs:
                raise ContractError("UNKNOWN_PARAMETER", path, "the contract has no such parameter")
            value = _number(given, path)
            if not specs[name].min <= value <= specs[name].max:
                raise ContractError(
                    "OUT_OF_RANGE", path, f"{value} is not between {specs[name].min} and {specs[name].max}"
                )
            values[name] = float(value)
        return values

    def entry_rule(self, side: Side, overrides: Mapping[str, object] | None = None) -> CompiledRule | None:
        """The compiled condition that opens a position on this side; None where the contract does not trade it."""
        text = self.long_entry if side is Side.BUY else self.short_entry
        if text is None or side not in self.sides:
            return None
        values = self.parameters_with(overrides)
        return _rule(text, values, "rules." + _entry_name(side), "condition", self.timeframe_minutes)

    def stop_rule(self, overrides: Mapping[str, object] | None = None) -> CompiledRule | None:
        """The compiled price of a `price` stop; None for the other kinds."""
        if self.stop.rule is None:
            return None
        return _rule(self.stop.rule, self.parameters_with(overrides), "stop.value", "number", self.timeframe_minutes)

    def bars_needed(self, overrides: Mapping[str, object] | None = None) -> int:
        """Completed bars to load so that every rule and the ATR are settled on the newest one."""
        rules = [self.entry_rule(side, overrides) for side in self.sides] + [self.stop_rule(overrides)]
        reach = [rule.history(self.timeframe_minutes) for rule in rules if rule is not None]
        if self.atr_period is not None:
            reach.append(REGISTRY["atr"].settling([self.atr_period]))
        return max(reach, default=0) + 1

    def as_mapping(self) -> dict[str, Any]:
        """The contract as plain JSON values; parsing it again gives an equal body."""
        stop: dict[str, Any] = {"kind": str(self.stop.kind), "value": self.stop.rule or _plain(self.stop.value)}
        if self.stop.period is not None:
            stop["period"] = self.stop.period
        target: dict[str, Any] = {"kind": str(self.target.kind), "value": _plain(self.target.value)}
        if self.target.period is not None:
            target["period"] = self.target.period
        rules = {_entry_name(Side.BUY): self.long_entry, _entry_name(Side.SELL): self.short_entry}
        return {
            "name": self.name,
            "family": str(self.family),
            "timeframe": self.timeframe,
            "holding": str(self.holding),
            "regime": str(self.regime),
            "sides": ["long" if side is Side.BUY else "short" for side in self.sides],
            "universes": list(self.universes),
            "parameters": {
                name: {"default": _plain(spec.default), "min": _plain(spec.min), "max": _plain(spec.max)}
                for name, spec in self.parameters
            },
            "rules": {name: text for name, text in rules.items() if text is not None},
            "stop": stop,
            "target": target,
            "sizing": {"kind": str(self.sizing.kind), "value": _plain(self.sizing.value)},
            "product": str(self.product),
            "max_bars": self.max_bars,
            "description": self.description,
            "when_it_loses": self.when_it_loses,
        }

    @property
    def canonical_json(self) -> str:
        """One text for one meaning: sorted keys, no spaces, plain numbers."""
        return json.dumps(self.as_mapping(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def content_hash(self) -> str:
        """sha256 of the canonical JSON, hexadecimal: the identity of what is promised."""
        return hashlib.sha256(self.canonical_json.encode()).hexdigest()


_REQUIRED: Final = frozenset(
    {"name", "family", "timeframe", "holding", "sides", "universes", "rules", "stop", "target", "sizing", "product",
     "description", "when_it_loses"}
)  # fmt: skip
_OPTIONAL: Final = frozenset({"regime", "parameters", "max_bars"})


def parse_contract(mapping: Mapping[str, Any]) -> ContractBody:
    """Check a contract and freeze it. ContractError names the first field that is wrong."""
    source = _mapping(mapping, "", required=_REQUIRED, optional=_OPTIONAL)
    sides = _sides(source["sides"])
    rules = _mapping(source["rules"], "rules", optional={"long_entry", "short_entry"})
    body = ContractBody(
        name=_text(source["name"], "name", longest=100),
        family=_choice(source["family"], "family", Family),
        timeframe=_one_of(source["timeframe"], "timeframe", TIMEFRAME_MINUTES),
        holding=_choice(source["holding"], "holding", Holding),
        regime=_choice(source.get("regime", Regime.ANY), "regime", Regime),
        sides=sides,
        universes=_universes(source["universes"]),
        parameters=_parameters(source.get("parameters") or {}),
        long_entry=_entry(rules, Side.BUY, sides),
        short_entry=_entry(rules, Side.SELL, sides),
        stop=_stop(source["stop"]),
        target=_target(source["target"]),
        sizing=_sizing(source["sizing"]),
        product=_choice(source["product"], "product", Product),
        max_bars=_whole(source["max_bars"], "max_bars", MAX_PERIOD) if source.get("max_bars") is not None else None,
        description=_text(source["description"], "description"),
        when_it_loses=_text(source["when_it_loses"], "when_it_loses", shortest=40),
    )
    _check_product(body)
    _check_atr(body)
    _check_rules(body)
    return body


def load_contract(path: Path) -> ContractBody:
    """Read one YAML file. ContractError also for a file that is not YAML."""
    try:
        source = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ContractError("NOT_YAML", path.name, str(error)) from error
    return parse_contract(source)


def load_library() -> dict[str, ContractBody]:
    """The contracts that come with the desk, by slug (the file's name)."""
    return {path.stem: load_contract(path) for path in sorted(LIBRARY.glob("*.yaml"))}


# What must hold between fields


def _check_product(body: ContractBody) -> None:
    if body.holding is Holding.MULTI_DAY and body.product is Product.INTRADAY:
        raise ContractError("CONTRADICTION", "product", "an INTRADAY position cannot be held for days")
    if body.holding is Holding.INTRADAY and body.product is Product.CNC:
        raise ContractError("CONTRADICTION", "product", "an intraday strategy uses INTRADAY or MARGIN")
    if body.product is Product.CNC and Side.SELL in body.sides:
        raise ContractError("CONTRADICTION", "sides", "shares cannot be sold short for delivery")
    if body.timeframe == "1d" and body.holding is Holding.INTRADAY:
        raise ContractError("CONTRADICTION", "timeframe", "a daily bar is complete only when the day is over")


def _check_atr(body: ContractBody) -> None:
    if body.stop.period is not None and body.target.period not in (None, body.stop.period):
        raise ContractError("CONTRADICTION", "target.period", "stop and target use one ATR: give both the same period")


def _check_rules(body: ContractBody) -> None:
    """Rules must hold at the defaults and at both ends of the ranges: a sweep may go anywhere between."""
    for corner in ("default", "min", "max"):
        values = {name: getattr(spec, corner) for name, spec in body.parameters}
        for side in body.sides:
            body.entry_rule(side, values)
        body.stop_rule(values)


# Fields


def _stop(value: Any) -> StopSpec:
    source = _mapping(value, "stop", required={"kind", "value"}, optional={"period"})
    kind = _choice(source["kind"], "stop.kind", StopKind)
    if kind is StopKind.PRICE:
        _no_period(source, "stop")
        return StopSpec(kind, None, rule=_text(source["value"], "stop.value", longest=2_000))
    if kind is StopKind.ATR:
        return StopSpec(kind, _positive(source["value"], "stop.value", 20), _atr_period(source, "stop"))
    _no_period(source, "stop")
    return StopSpec(kind, _positive(source["value"], "stop.value", 50))


def _target(value: Any) -> TargetSpec:
    source = _mapping(value, "target", required={"kind", "value"}, optional={"period"})
    kind = _choice(source["kind"], "target.kind", TargetKind)
    if kind is TargetKind.ATR:
        return TargetSpec(kind, _positive(source["value"], "target.value", 50), _atr_period(source, "target"))
    _no_period(source, "target")
    return TargetSpec(kind, _positive(source["value"], "target.value", 500 if kind is TargetKind.PERCENT else 50))


def _sizing(value: Any) -> SizingSpec:
    source = _mapping(value, "sizing", required={"kind", "value"})
    kind = _choice(source["kind"], "sizing.kind", SizingKind)
    if kind is SizingKind.FIXED_QUANTITY:
        return SizingSpec(kind, Decimal(_whole(source["value"], "sizing.value", 10_000_000)))
    most = 10 if kind is SizingKind.RISK_PER_TRADE else 100
    return SizingSpec(kind, _positive(source["value"], "sizing.value", most))


def _sides(value: Any) -> tuple[Side, ...]:
    words = {"long": Side.BUY, "short": Side.SELL}
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or not value
        or len(set(map(str, value))) != len(value)
    ):
        raise ContractError("WRONG_TYPE", "sides", "a list of long, short or both")
    chosen = {words[_one_of(word, f"sides[{place}]", words)] for place, word in enumerate(value)}
    return tuple(side for side in (Side.BUY, Side.SELL) if side in chosen)


def _universes(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ContractError("WRONG_TYPE", "universes", "a list of at least one universe")
    for place, slug in enumerate(value):
        if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
            raise ContractError("WRONG_TYPE", f"universes[{place}]", "a universe is named in small letters and digits")
    return tuple(sorted(set(value)))


def _parameters(value: Any) -> tuple[tuple[str, ParameterSpec], ...]:
    if not isinstance(value, Mapping) or len(value) > MAX_PARAMETERS:
        raise ContractError("WRONG_TYPE", "parameters", f"at most {MAX_PARAMETERS} named parameters")
    specs: dict[str, ParameterSpec] = {}
    for name, given in value.items():
        path = f"parameters.{name}"
        source = _mapping(given, path, required={"default", "min", "max"})
        spec = ParameterSpec(**{each: _number(source[each], f"{path}.{each}") for each in ("default", "min", "max")})
        if not spec.min <= spec.default <= spec.max:
            raise ContractError("OUT_OF_RANGE", path, "the default must lie between min and max")
        specs[str(name)] = spec
    return tuple(sorted(specs.items()))


def _entry(rules: Mapping[str, Any], side: Side, sides: tuple[Side, ...]) -> str | None:
    name = _entry_name(side)
    if side in sides:
        if name not in rules:
            raise ContractError("MISSING", f"rules.{name}", "every side that is traded needs its entry rule")
        return _text(rules[name], f"rules.{name}", longest=2_000)
    if name in rules:
        raise ContractError("CONTRADICTION", f"rules.{name}", "this side is not among the sides of the contract")
    return None


def _entry_name(side: Side) -> str:
    return "long_entry" if side is Side.BUY else "short_entry"


def _rule(text: str, parameters: Mapping[str, float], path: str, kind: Kind, timeframe: int) -> CompiledRule:
    try:
        return compile_rule(text, parameters, expect=kind, timeframe=timeframe)
    except RuleError as error:
        raise ContractError(f"RULE_{error.code}", path, str(error)) from error


# Plain values

_Enum = TypeVar("_Enum", bound=StrEnum)


def _mapping(
    value: Any,
    path: str,
    *,
    required: frozenset[str] | set[str] = frozenset(),
    optional: frozenset[str] | set[str] = frozenset(),
) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ContractError("WRONG_TYPE", path, "a group of named fields is needed")
    prefix = f"{path}." if path else ""
    for name in value:
        if name not in required and name not in optional:
            raise ContractError("UNKNOWN_FIELD", f"{prefix}{name}", "no such field")
    for name in sorted(required):
        if value.get(name) is None:
            raise ContractError("MISSING", f"{prefix}{name}", "this field is required")
    return value


def _text(value: Any, path: str, *, shortest: int = 1, longest: int = 4_000) -> str:
    if not isinstance(value, str):
        raise ContractError("WRONG_TYPE", path, "a text is needed")
    text = value.strip()
    if not shortest <= len(text) <= longest:
        raise ContractError("WRONG_LENGTH", path, f"{shortest} to {longest} characters, not {len(text)}")
    return text


def _one_of(value: Any, path: str, allowed: Mapping[str, Any]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ContractError("UNKNOWN_CHOICE", path, f"one of {', '.join(allowed)}")
    return value


def _choice(value: Any, path: str, kind: type[_Enum]) -> _Enum:
    return kind(_one_of(value, path, {str(member.value): member for member in kind}))


def _number(value: Any, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ContractError("WRONG_TYPE", path, "a number is needed")
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ContractError("WRONG_TYPE", path, "a number is needed") from error
    if not number.is_finite() or abs(number) > 1_000_000_000:
        raise ContractError("OUT_OF_RANGE", path, "a number of sensible size is needed")
    return number


def _positive(value: Any, path: str, most: int) -> Decimal:
    number = _number(value, path)
    if not 0 < number <= most:
        raise ContractError("OUT_OF_RANGE", path, f"above 0 and at most {most}, not {number}")
    return number


def _whole(value: Any, path: str, most: int) -> int:
    number = _positive(value, path, most)
    if number != int(number):
        raise ContractError("OUT_OF_RANGE", path, f"a whole number, not {number}")
    return int(number)


def _atr_period(source: Mapping[str, Any], path: str) -> int:
    return _whole(source.get("period", 14), f"{path}.period", MAX_PERIOD)


def _no_period(source: Mapping[str, Any], path: str) -> None:
    if source.get("period") is not None:
        raise ContractError("CONTRADICTION", f"{path}.period", "only an atr distance has a period")


def _plain(number: Decimal | None) -> int | float | None:
    if number is None:
        return None
    return int(number) if number == int(number) else float(number)
