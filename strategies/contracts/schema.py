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
from datetime import time
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml

from risk.sizing import KELLY_CAP, kelly_risk_pct
from strategies.contracts.exits import (
    LONGEST_RULE,
    PartKind,
    PartSpec,
    StopKind,
    StopSpec,
    TargetKind,
    TargetSpec,
    TrailingKind,
    TrailingSpec,
    periods_of,
    read_clock,
    read_parts,
    read_stop,
    read_target,
    read_trailing,
    written_level,
    written_part,
    written_trailing,
)
from strategies.contracts.fields import (
    ContractError,
    one_of,
    plain,
    positive,
    read_choice,
    read_mapping,
    read_number,
    read_text,
    whole,
)
from strategies.rules.compiled import CompiledRule, Kind, RuleSet, compile_rule
from strategies.rules.errors import RuleError
from strategies.rules.functions import TIMEFRAME_MINUTES
from trading.domain.orders import Product, Side
from trading.indicators.registry import MAX_PERIOD, REGISTRY

__all__ = [
    "LIBRARY", "TIMEFRAME_MINUTES", "ContractBody", "ContractError", "Family", "Holding", "ParameterSpec", "PartKind",
    "PartSpec", "Regime", "RiskSpec", "SizingKind", "SizingSpec", "StopKind", "StopSpec", "TargetKind", "TargetSpec",
    "TrailingKind", "TrailingSpec", "load_contract", "load_library", "parse_contract",
]  # fmt: skip

LIBRARY: Final = Path(__file__).resolve().parent.parent / "library"

MAX_PARAMETERS: Final = 30
VOLATILITY_DAYS: Final = 60
LEAST_VOLATILITY_DAYS: Final = 10
RULE_KINDS: Final[Mapping[str, Kind]] = {
    "long_entry": "condition", "short_entry": "condition", "long_exit": "condition", "short_exit": "condition",
    "score": "number",
}  # fmt: skip

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


class SizingKind(StrEnum):
    RISK_PER_TRADE = "risk_per_trade"  # percent of equity lost at the stop
    FIXED_QUANTITY = "fixed_quantity"  # units
    PERCENT_EQUITY = "percent_equity"  # percent of equity bought
    FIXED_RUPEES = "fixed_rupees"  # rupees bought
    VOLATILITY_TARGET = "volatility_target"  # deviation that the position may have, percent of equity a year
    KELLY = "kelly"  # percent of what Kelly's formula risks at the odds given, a quarter of it at most


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A number that may be tuned, within its range."""

    default: Decimal
    min: Decimal
    max: Decimal


@dataclass(frozen=True, slots=True)
class SizingSpec:
    """How much a signal buys: one of the ways of `risk.sizing`."""

    kind: SizingKind
    value: Decimal
    period: int | None = None  # of volatility_target: days whose returns are measured
    win_rate: Decimal | None = None  # of kelly: share of trades that win, and the mean win by the mean loss
    payoff: Decimal | None = None

    @property
    def risk_pct(self) -> Decimal | None:
        """Percent of equity lost at the stop; None where the size does not go by the stop."""
        if self.kind is SizingKind.RISK_PER_TRADE:
            return self.value
        if self.win_rate is None or self.payoff is None:
            return None
        return kelly_risk_pct(win_rate=self.win_rate, payoff=self.payoff, part=self.value / 100)


@dataclass(frozen=True, slots=True)
class RiskSpec:
    """Limits of one deployment, tighter than the portfolio's; None: the portfolio's alone hold."""

    max_positions: int | None = None
    max_trades_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class ContractBody:
    """A checked contract. Rules are kept as text and compiled with the parameters of a deployment.

    `score` orders signals of one bar, higher first. `exit_at`: the time of day in India at which a trade ends.
    """

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
    target: TargetSpec | None
    sizing: SizingSpec
    product: Product
    max_bars: int | None
    description: str
    when_it_loses: str
    long_exit: str | None = None
    short_exit: str | None = None
    score: str | None = None
    trailing: TrailingSpec | None = None
    partials: tuple[PartSpec, ...] = ()
    exit_at: time | None = None
    risk: RiskSpec = RiskSpec()

    @property
    def timeframe_minutes(self) -> int:
        return TIMEFRAME_MINUTES[self.timeframe]

    @property
    def atr_period(self) -> int | None:
        """Bars of the ATR that stop, target, trailing and parts are measured with; None if none of them is."""
        return next(iter(self._atr_periods.values()), None)

    @property
    def _atr_periods(self) -> dict[str, int]:
        levels = {"stop": self.stop, "target": self.target, "trailing": self.trailing}
        return periods_of(levels | {f"partials[{place}]": part for place, part in enumerate(self.partials)})

    def parameters_with(self, overrides: Mapping[str, object] | None = None) -> dict[str, float]:
        """All parameters, a deployment's own in place of the defaults. ContractError: unknown or out of range."""
        specs = dict(self.parameters)
        values = {name: float(spec.default) for name, spec in specs.items()}
        for name, given in (overrides or {}).items():
            path = f"parameters.{name}"
            if name not in specs:
                raise ContractError("UNKNOWN_PARAMETER", path, "the contract has no such parameter")
            value = read_number(given, path)
            if not specs[name].min <= value <= specs[name].max:
                raise ContractError(
                    "OUT_OF_RANGE", path, f"{value} is not between {specs[name].min} and {specs[name].max}"
                )
            values[name] = float(value)
        return values

    @property
    def rule_texts(self) -> dict[str, tuple[str, Kind]]:
        """Every rule there is, by the path of its field: its text, and what it must give."""
        texts = {f"rules.{name}": (getattr(self, name), kind) for name, kind in RULE_KINDS.items()}
        texts["stop.value"] = (self.stop.rule, "number")
        texts["target.value"] = (self.target.rule if self.target else None, "number")
        texts["sizing.period"] = (volatility_rule(self.sizing.period) if self.sizing.period else None, "number")
        return {path: (text, kind) for path, (text, kind) in texts.items() if text is not None}

    def compiled(self, overrides: Mapping[str, object] | None = None) -> dict[str, CompiledRule]:
        """Every rule, by the path of its field, with a deployment's parameters. ContractError points into the rule."""
        values = self.parameters_with(overrides)
        return {
            path: _rule(text, values, path, kind, self.timeframe_minutes)
            for path, (text, kind) in self.rule_texts.items()
        }

    def entry_rule(self, side: Side, overrides: Mapping[str, object] | None = None) -> CompiledRule | None:
        """The compiled condition that opens a position on this side; None where the contract does not trade it."""
        return self._one("rules." + _entry_name(side), overrides) if side in self.sides else None

    def exit_rule(self, side: Side, overrides: Mapping[str, object] | None = None) -> CompiledRule | None:
        """The compiled condition that ends a position opened on this side; None: it has none."""
        return self._one("rules." + _exit_name(side), overrides) if side in self.sides else None

    def score_rule(self, overrides: Mapping[str, object] | None = None) -> CompiledRule | None:
        return self._one("rules.score", overrides)

    def stop_rule(self, overrides: Mapping[str, object] | None = None) -> CompiledRule | None:
        """The compiled price of a `price` stop; None for the other kinds."""
        return self._one("stop.value", overrides)

    def target_rule(self, overrides: Mapping[str, object] | None = None) -> CompiledRule | None:
        """The compiled price of a `price` target; None for the other kinds."""
        return self._one("target.value", overrides)

    def size_rule(self, overrides: Mapping[str, object] | None = None) -> CompiledRule | None:
        """The compiled volatility, percent a year, that the size goes by; None for the other kinds."""
        return self._one("sizing.period", overrides)

    def _one(self, path: str, overrides: Mapping[str, object] | None) -> CompiledRule | None:
        text, kind = self.rule_texts.get(path, (None, "number"))
        if text is None:
            return None
        return _rule(text, self.parameters_with(overrides), path, kind, self.timeframe_minutes)  # type: ignore[arg-type]

    def rule_set(self, overrides: Mapping[str, object] | None = None) -> RuleSet:
        """All rules together: which other bars they need."""
        return RuleSet.of(*self.compiled(overrides).values())

    def bars_needed(self, overrides: Mapping[str, object] | None = None) -> int:
        """Completed bars to load so that every rule and the ATR are settled on the newest one."""
        return max(self.rule_set(overrides).history(self.timeframe_minutes) + 1, self.bars_to_settle(overrides))

    def bars_to_settle(self, overrides: Mapping[str, object] | None = None) -> int:
        """As `bars_needed`, without the sessions that session terms want: those are unknown or right."""
        reach = [self.rule_set(overrides).settling]
        if self.atr_period is not None:
            reach.append(REGISTRY["atr"].settling([self.atr_period]))
        return max(reach) + 1

    def as_mapping(self) -> dict[str, Any]:
        """The contract as plain JSON values; parsing it again gives an equal body. What is not used is left out."""
        rules = {name: getattr(self, name) for name in RULE_KINDS}
        optional = {
            "trailing": written_trailing(self.trailing) if self.trailing else None,
            "partials": [written_part(part) for part in self.partials] or None,
            "exit_at": self.exit_at.strftime("%H:%M") if self.exit_at else None,
            "risk": {
                name: value
                for name in ("max_positions", "max_trades_per_day")
                if (value := getattr(self.risk, name)) is not None
            } or None,
            "target": written_level(self.target) if self.target else None,
        }  # fmt: skip
        return {
            "name": self.name,
            "family": str(self.family),
            "timeframe": self.timeframe,
            "holding": str(self.holding),
            "regime": str(self.regime),
            "sides": ["long" if side is Side.BUY else "short" for side in self.sides],
            "universes": list(self.universes),
            "parameters": {
                name: {"default": plain(spec.default), "min": plain(spec.min), "max": plain(spec.max)}
                for name, spec in self.parameters
            },
            "rules": {name: text for name, text in rules.items() if text is not None},
            "stop": written_level(self.stop),
            "sizing": written_sizing(self.sizing),
            "product": str(self.product),
            "max_bars": self.max_bars,
            "description": self.description,
            "when_it_loses": self.when_it_loses,
        } | {name: value for name, value in optional.items() if value is not None}

    @property
    def canonical_json(self) -> str:
        """One text for one meaning: sorted keys, no spaces, plain numbers."""
        return json.dumps(self.as_mapping(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def content_hash(self) -> str:
        """sha256 of the canonical JSON, hexadecimal: the identity of what is promised."""
        return hashlib.sha256(self.canonical_json.encode()).hexdigest()


_REQUIRED: Final = frozenset(
    {"name", "family", "timeframe", "holding", "sides", "universes", "rules", "stop", "sizing", "product",
     "description", "when_it_loses"}
)  # fmt: skip
_OPTIONAL: Final = frozenset(
    {"regime", "parameters", "max_bars", "target", "trailing", "partials", "exit_at", "risk"}
)  # fmt: skip


def parse_contract(mapping: Mapping[str, Any]) -> ContractBody:
    """Check a contract and freeze it. ContractError names the first field that is wrong."""
    source = read_mapping(mapping, "", required=_REQUIRED, optional=_OPTIONAL)
    sides = _sides(source["sides"])
    rules = read_mapping(source["rules"], "rules", optional=set(RULE_KINDS))
    body = ContractBody(
        name=read_text(source["name"], "name", longest=100),
        family=read_choice(source["family"], "family", Family),
        timeframe=one_of(source["timeframe"], "timeframe", TIMEFRAME_MINUTES),
        holding=read_choice(source["holding"], "holding", Holding),
        regime=read_choice(source.get("regime") or Regime.ANY, "regime", Regime),
        sides=sides,
        universes=_universes(source["universes"]),
        parameters=_parameters(source.get("parameters") or {}),
        long_entry=_side_rule(rules, Side.BUY, sides, _entry_name(Side.BUY), required=True),
        short_entry=_side_rule(rules, Side.SELL, sides, _entry_name(Side.SELL), required=True),
        long_exit=_side_rule(rules, Side.BUY, sides, _exit_name(Side.BUY), required=False),
        short_exit=_side_rule(rules, Side.SELL, sides, _exit_name(Side.SELL), required=False),
        score=_rule_text(rules, "score"),
        stop=read_stop(source["stop"]),
        target=read_target(source.get("target")),
        trailing=read_trailing(source.get("trailing")),
        partials=read_parts(source.get("partials")),
        exit_at=read_clock(source.get("exit_at"), "exit_at"),
        risk=_risk(source.get("risk")),
        sizing=_sizing(source["sizing"]),
        product=read_choice(source["product"], "product", Product),
        max_bars=whole(source["max_bars"], "max_bars", MAX_PERIOD) if source.get("max_bars") is not None else None,
        description=read_text(source["description"], "description"),
        when_it_loses=read_text(source["when_it_loses"], "when_it_loses", shortest=40),
    )
    _check_product(body)
    _check_exits(body)
    _check_rules(body)
    return body


def parse_text(text: str) -> ContractBody:
    """Check a contract written as YAML. ContractError also for a text that is not YAML."""
    return parse_contract(read_yaml(text, "contract"))


def read_yaml(text: str, name: str) -> Any:
    """Plain values of a YAML text. ContractError NOT_YAML says the line."""
    if len(text) > 64_000:
        raise ContractError("TOO_LONG", name, "a contract has at most 64,000 characters")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ContractError("NOT_YAML", name, str(error)[:300]) from error


def load_contract(path: Path) -> ContractBody:
    """Read one YAML file. ContractError also for a file that is not YAML."""
    return parse_contract(read_yaml(path.read_text(encoding="utf-8"), path.name))


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


def _check_exits(body: ContractBody) -> None:
    periods = body._atr_periods
    for path, period in periods.items():
        if period != next(iter(periods.values())):
            raise ContractError(
                "CONTRADICTION", f"{path}.period", f"{', '.join(periods)} use one ATR: give them the same period"
            )
    ways = (body.target, body.trailing, body.max_bars, body.exit_at)
    missing = [side for side in body.sides if getattr(body, _exit_name(side)) is None]
    if missing and all(way is None for way in ways) and body.holding is not Holding.INTRADAY:
        raise ContractError(
            "MISSING", "target", "nothing ends a winning trade: a target, trailing, an exit or max_bars"
        )
    if body.exit_at is not None and body.timeframe == "1d":
        raise ContractError("CONTRADICTION", "exit_at", "daily bars know no time of day")


def _check_rules(body: ContractBody) -> None:
    """Rules must hold at the defaults and at both ends of the ranges: a sweep may go anywhere between."""
    for corner in ("default", "min", "max"):
        body.compiled({name: getattr(spec, corner) for name, spec in body.parameters})


# Fields


def volatility_rule(period: int) -> str:
    """What `volatility_target` measures, in the rule language: the scanner and a backtest evaluate the same."""
    return f'on("1d", realised_volatility(close, {period}, 252))'


_MOST_OF: Final[Mapping[SizingKind, int]] = {
    SizingKind.RISK_PER_TRADE: 10, SizingKind.PERCENT_EQUITY: 100, SizingKind.FIXED_RUPEES: 10_000_000_000,
    SizingKind.VOLATILITY_TARGET: 100, SizingKind.KELLY: int(KELLY_CAP * 100),
}  # fmt: skip


def _sizing(value: Any) -> SizingSpec:
    given = read_mapping(value, "sizing", required={"kind", "value"}, optional={"period", "win_rate", "payoff"})
    kind = read_choice(given["kind"], "sizing.kind", SizingKind)
    own = {SizingKind.VOLATILITY_TARGET: {"period"}, SizingKind.KELLY: {"win_rate", "payoff"}}.get(kind, set())
    for name in ("period", "win_rate", "payoff"):
        if given.get(name) is not None and name not in own:
            raise ContractError("CONTRADICTION", f"sizing.{name}", f"{kind} does not go by it")
    if kind is SizingKind.FIXED_QUANTITY:
        return SizingSpec(kind, Decimal(whole(given["value"], "sizing.value", 10_000_000)))
    amount = positive(given["value"], "sizing.value", _MOST_OF[kind])
    if kind is SizingKind.VOLATILITY_TARGET:
        days = VOLATILITY_DAYS if given.get("period") is None else whole(given["period"], "sizing.period", 250)
        if days < LEAST_VOLATILITY_DAYS:
            raise ContractError("OUT_OF_RANGE", "sizing.period", f"at least {LEAST_VOLATILITY_DAYS} days")
        return SizingSpec(kind, amount, period=days)
    if kind is SizingKind.KELLY:
        for name in ("win_rate", "payoff"):
            if given.get(name) is None:
                raise ContractError("MISSING", f"sizing.{name}", "Kelly's formula needs both of the odds")
        odds = SizingSpec(
            kind, amount, win_rate=positive(given["win_rate"], "sizing.win_rate", 1),
            payoff=positive(given["payoff"], "sizing.payoff", 100),
        )  # fmt: skip
        if not odds.risk_pct:
            raise ContractError("CONTRADICTION", "sizing.win_rate", "at these odds Kelly's formula risks nothing")
        return odds
    return SizingSpec(kind, amount)


def written_sizing(sizing: SizingSpec) -> dict[str, Any]:
    written: dict[str, Any] = {"kind": str(sizing.kind), "value": plain(sizing.value)}
    odds = {"win_rate": sizing.win_rate, "payoff": sizing.payoff}
    written |= {name: plain(value) for name, value in odds.items() if value is not None}
    return written if sizing.period is None else written | {"period": sizing.period}


def _risk(value: Any) -> RiskSpec:
    if value is None:
        return RiskSpec()
    source = read_mapping(value, "risk", optional={"max_positions", "max_trades_per_day"})
    return RiskSpec(
        **{name: whole(given, f"risk.{name}", 10_000) for name, given in source.items() if given is not None}
    )


def _sides(value: Any) -> tuple[Side, ...]:
    words = {"long": Side.BUY, "short": Side.SELL}
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or not value
        or len(set(map(str, value))) != len(value)
    ):
        raise ContractError("WRONG_TYPE", "sides", "a list of long, short or both")
    chosen = {words[one_of(word, f"sides[{place}]", words)] for place, word in enumerate(value)}
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
        source = read_mapping(given, path, required={"default", "min", "max"})
        spec = ParameterSpec(
            **{each: read_number(source[each], f"{path}.{each}") for each in ("default", "min", "max")}
        )
        if not spec.min <= spec.default <= spec.max:
            raise ContractError("OUT_OF_RANGE", path, "the default must lie between min and max")
        specs[str(name)] = spec
    return tuple(sorted(specs.items()))


def _side_rule(
    rules: Mapping[str, Any], side: Side, sides: tuple[Side, ...], name: str, *, required: bool
) -> str | None:
    if side in sides:
        if required and rules.get(name) is None:
            raise ContractError("MISSING", f"rules.{name}", "every side that is traded needs its entry rule")
        return _rule_text(rules, name)
    if rules.get(name) is not None:
        raise ContractError("CONTRADICTION", f"rules.{name}", "this side is not among the sides of the contract")
    return None


def _rule_text(rules: Mapping[str, Any], name: str) -> str | None:
    given = rules.get(name)
    return None if given is None else read_text(given, f"rules.{name}", longest=LONGEST_RULE)


def _entry_name(side: Side) -> str:
    return "long_entry" if side is Side.BUY else "short_entry"


def _exit_name(side: Side) -> str:
    return "long_exit" if side is Side.BUY else "short_exit"


def _rule(text: str, parameters: Mapping[str, float], path: str, kind: Kind, timeframe: int) -> CompiledRule:
    try:
        return compile_rule(text, parameters, expect=kind, timeframe=timeframe)
    except RuleError as error:
        raise ContractError(
            f"RULE_{error.code}", path, str(error), position=error.position, suggestion=error.suggestion
        ) from error
