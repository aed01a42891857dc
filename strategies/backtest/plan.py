"""What is tested: when to enter, how to leave, how much, and at which cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import time
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from strategies.backtest.errors import BacktestRefused
from strategies.contracts.schema import (
    LEAST_VOLATILITY_DAYS,
    VOLATILITY_DAYS,
    ContractBody,
    Holding,
    SizingKind,
    StopSpec,
    TargetKind,
    TargetSpec,
    TrailingKind,
    volatility_rule,
)
from strategies.rules.compiled import CompiledRule, Kind, compile_rule
from strategies.rules.errors import RuleError
from trading.domain.orders import Product, Side
from trading.venue.charges import ChargeBroker, ChargeSegment

MOST_CASH: Final = Decimal(100_000_000_000)  # rupees: 10,000 crore
MOST_LEVERAGE: Final = 20
MOST_BOOKINGS: Final = 3


class SizingMode(StrEnum):
    """How much a signal buys; the word before the colon on the command line."""

    ALL_IN = "all_in"  # whole units for all equity, shared evenly between the slots
    FIXED = "fixed"  # units
    PERCENT = "percent"  # percent of equity bought
    RISK = "risk"  # percent of equity lost at the stop
    RUPEES = "rupees"  # rupees bought
    VOLATILITY = "volatility"  # what moves by so many percent of equity a year


@dataclass(frozen=True, slots=True)
class Sizing:
    mode: SizingMode
    value: Decimal = Decimal(0)
    period: int = VOLATILITY_DAYS  # of VOLATILITY: days whose returns are measured

    def __str__(self) -> str:
        if self.mode is SizingMode.ALL_IN:
            return str(self.mode)
        days = f":{self.period}" if self.mode is SizingMode.VOLATILITY and self.period != VOLATILITY_DAYS else ""
        return f"{self.mode}:{self.value.normalize():f}{days}"

    @property
    def rule(self) -> CompiledRule | None:
        """The volatility it goes by, percent a year; None for the other ways."""
        if self.mode is not SizingMode.VOLATILITY:
            return None
        return compile_rule(volatility_rule(self.period), expect="number")


@dataclass(frozen=True, slots=True)
class Trailing:
    """A stop `distance_pct` of the best price behind it, once the trade has gained `after_pct` of its entry.

    With `atr_multiple` it is so many average ranges behind instead, of `period` bars.
    """

    distance_pct: Decimal
    after_pct: Decimal = Decimal(0)
    atr_multiple: Decimal | None = None
    period: int | None = None


@dataclass(frozen=True, slots=True)
class LimitEntry:
    """Entries by limit orders, `value` percent (or average ranges of `period` bars) on the passive side of the signal's
    price. Each stands for `bars` bars."""

    value: Decimal
    bars: int = 1
    kind: TargetKind = TargetKind.PERCENT
    period: int | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """A part of a position, `share_pct` of what was entered, is closed at this level, measured as a target is."""

    level: TargetSpec
    share_pct: Decimal


@dataclass(frozen=True, slots=True)
class HouseGates:
    """The desk's gates as far as a past can be asked; percent of equity, minutes of the venue, units. None: not asked.

    `flatten` closes everything at the hard daily limit. A daily lock ends with the day, a halt never.
    """

    trades_per_day: int | None = None
    cooldown_min: int = 0
    duplicate_window_s: int = 0
    loss_streak: int = 0
    loss_streak_pause_min: int = 0
    daily_loss_soft_pct: Decimal | None = None
    daily_loss_hard_pct: Decimal | None = None
    half_size_share_pct: Decimal = Decimal(75)
    flatten: bool = False
    drawdown_cautious_pct: Decimal | None = None
    drawdown_defensive_pct: Decimal | None = None
    drawdown_halt_pct: Decimal | None = None
    drawdown_hysteresis_pct: Decimal = Decimal(0)
    drawdown_size_pct: Decimal = Decimal(50)
    hard_exposure_pct: Decimal | None = None
    cash_reserve_pct: Decimal | None = None
    day_value_pct: Decimal | None = None
    risk_per_trade_pct: Decimal | None = None
    max_order_quantity: int | None = None
    defensive_stop_pct: Decimal | None = None
    option_position_pct: Decimal | None = None
    options_exposure_pct: Decimal | None = None
    sector_exposure_pct: Decimal | None = None
    correlation_halve: Decimal | None = None
    correlation_reject: Decimal | None = None
    price_collar_pct: Decimal | None = None
    option_collar_pct: Decimal | None = None
    opening_gap_pct: Decimal | None = None
    spread_to_deviation: Decimal | None = None
    min_volume_ratio: Decimal | None = None
    restricted_symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IntradayHours:
    """Minutes of the session without entries at both ends, and how long before the close everything leaves."""

    after_open_min: int = 5
    before_close_min: int = 30
    square_off_min: int = 15


@dataclass(frozen=True, slots=True)
class Costs:
    """`charges` None: none. `slippage_bps` against every order at the market, stops included; half of a spread of
    `spread_ticks` besides. Above a tenth of the usual volume of a bar, `impact_bps` for every tenth more; an entry is
    at most `participation_pct` of it (0: any part)."""

    charges: ChargeBroker | None = None
    segment: ChargeSegment = ChargeSegment.EQUITY_INTRADAY
    slippage_bps: Decimal = Decimal(0)
    spread_ticks: int = 0
    impact_bps: Decimal = Decimal(0)
    participation_pct: Decimal = Decimal(0)

    @property
    def needs_volume(self) -> bool:
        return self.impact_bps > 0 or self.participation_pct > 0


@dataclass(frozen=True, slots=True)
class Account:
    """Rupees to begin with, how often they may be spent at once, and how many positions there may be.

    Caps shrink an order as the desk's gates do: percent of equity in one instrument and in all, rupees of one order.
    """

    cash: Decimal = Decimal(1_000_000)
    leverage: Decimal = Decimal(1)
    slots: int = 1
    position_cap_pct: Decimal | None = None
    exposure_cap_pct: Decimal | None = None
    order_cap: Decimal | None = None


@dataclass(frozen=True)
class Plan:
    """Rules, exits and account of one backtest. `name` and `version` say whose rules these are."""

    name: str
    version: str
    long_entry: CompiledRule | None
    short_entry: CompiledRule | None
    long_exit: CompiledRule | None = None
    short_exit: CompiledRule | None = None
    stop: StopSpec | None = None
    stop_rule: CompiledRule | None = None
    target: TargetSpec | None = None
    target_rule: CompiledRule | None = None
    trailing: Trailing | None = None
    max_bars: int | None = None
    reverse: bool = False
    rank: CompiledRule | None = None
    sizing: Sizing = Sizing(SizingMode.ALL_IN)
    account: Account = Account()
    costs: Costs = Costs()
    intraday: IntradayHours | None = None
    late_orders: bool = False  # end as published results do: see `loop`
    entry: LimitEntry | None = None  # None: at the market
    bookings: tuple[Booking, ...] = ()  # nearest first
    safe_after_booking: bool = False  # the stop of what is left goes to the entry
    gates: HouseGates | None = None
    coded: str = ""  # the strategy in Python that decides instead of rules
    leave_at: time | None = None  # the time of day in India at which a trade ends

    def __post_init__(self) -> None:
        if self.long_entry is None and self.short_entry is None and not self.coded:
            raise BacktestRefused("NO_RULE", "A backtest needs a rule that opens a position")
        account, costs = self.account, self.costs
        _within("CASH", "cash", account.cash, Decimal("0.01"), MOST_CASH)
        _within("LEVERAGE", "leverage", account.leverage, Decimal(1), Decimal(MOST_LEVERAGE))
        _within("SLOTS", "slots", Decimal(account.slots), Decimal(1), Decimal(10_000))
        _within("SLIPPAGE", "slippage in basis points", costs.slippage_bps, Decimal(0), Decimal(1_000))
        _within("SLIPPAGE", "spread in ticks", Decimal(costs.spread_ticks), Decimal(0), Decimal(1_000))
        _within("SLIPPAGE", "impact in basis points", costs.impact_bps, Decimal(0), Decimal(1_000))
        _within("PARTICIPATION", "share of the volume in percent", costs.participation_pct, Decimal(0), Decimal(100))
        if self.max_bars is not None:
            _within("MAX_BARS", "max bars", Decimal(self.max_bars), Decimal(1), Decimal(1_000_000))
        if self.trailing is not None:
            distance, after = self.trailing.distance_pct, self.trailing.after_pct
            if self.trailing.atr_multiple is None:
                _within("TRAILING", "trailing distance in percent", distance, Decimal("0.0001"), Decimal(90))
            else:
                multiple = self.trailing.atr_multiple
                _within("TRAILING", "trailing distance in average ranges", multiple, Decimal("0.01"), Decimal(50))
            _within("TRAILING", "trailing activation in percent", after, Decimal(0), Decimal(500))
        if self.entry is not None:
            _within("LIMIT", "distance of a limit entry", self.entry.value, Decimal(0), Decimal(50))
            _within("LIMIT", "bars of a limit entry", Decimal(self.entry.bars), Decimal(1), Decimal(100_000))
        if len(self.bookings) > MOST_BOOKINGS:
            raise BacktestRefused("BOOKING", f"At most {MOST_BOOKINGS} parts of a position are booked by level")
        if self.bookings:
            whole = sum((one.share_pct for one in self.bookings), Decimal(0))
            _within("BOOKING", "sum of the parts that are booked, in percent,", whole, Decimal("0.01"), Decimal(100))
            if self.stop is None and any(one.level.kind is TargetKind.R_MULTIPLE for one in self.bookings):
                raise BacktestRefused(
                    "NO_STOP", "A part booked at a multiple of the risk needs a stop to measure it by"
                )
        if len({spec.period for spec in self._by_range}) > 1:
            raise BacktestRefused("ATR_PERIOD", "Everything measured by the average range uses one: give one period")
        if self.sizing.mode is SizingMode.RISK and self.stop is None:
            raise BacktestRefused("NO_STOP", "Sizing by risk needs a stop to measure the risk with")

    @property
    def atr_period(self) -> int | None:
        return next((spec.period for spec in self._by_range), None)

    @property
    def _by_range(self) -> list[StopSpec | TargetSpec | Trailing | LimitEntry]:
        """Everything that is measured by the average true range."""
        levels = (self.stop, self.target, self.trailing, self.entry, *(one.level for one in self.bookings))
        return [spec for spec in levels if spec is not None and spec.period is not None]

    @property
    def is_plain(self) -> bool:
        """Nothing but market orders, one level either way, and no gates: what a sweep may jump through."""
        by_range = self.trailing is not None and self.trailing.atr_multiple is not None
        costs = self.costs
        return not (
            self.target_rule or self.entry or self.bookings or self.gates or by_range or costs.spread_ticks
            or costs.needs_volume or self.sizing.mode is SizingMode.VOLATILITY
        )  # fmt: skip

    @property
    def rules(self) -> dict[str, CompiledRule]:
        """Every rule there is, by its place."""
        named = {
            "long_entry": self.long_entry, "short_entry": self.short_entry, "long_exit": self.long_exit,
            "short_exit": self.short_exit, "stop": self.stop_rule, "target": self.target_rule, "rank": self.rank,
            "size": self.sizing.rule,
        }  # fmt: skip
        return {name: rule for name, rule in named.items() if rule is not None}

    @property
    def settling(self) -> int:
        """Bars of history that make the rules independent of where the history begins."""
        from trading.indicators.registry import REGISTRY

        reach = [rule.settling for rule in self.rules.values()]
        if self.atr_period is not None:
            reach.append(REGISTRY["atr"].settling([self.atr_period]))
        return max(reach, default=0) + 1

    def as_mapping(self) -> dict[str, Any]:
        """The plan as plain values: what a rerun needs, and what the run's hash is made of."""
        return {
            "name": self.name,
            "version": self.version,
            "rules": {name: _written(rule) for name, rule in self.rules.items()},
            "stop": _level(self.stop),
            "target": _level(self.target),
            "trailing": None
            if self.trailing is None
            else {
                "distance_pct": _plain(self.trailing.distance_pct),
                "after_pct": _plain(self.trailing.after_pct),
                "atr_multiple": _plain_or_none(self.trailing.atr_multiple),
                "period": self.trailing.period,
            },
            "entry": None
            if self.entry is None
            else {
                "kind": str(self.entry.kind),
                "value": _plain(self.entry.value),
                "period": self.entry.period,
                "bars": self.entry.bars,
            },
            "bookings": [{"share_pct": _plain(one.share_pct)} | (_level(one.level) or {}) for one in self.bookings],
            "safe_after_booking": self.safe_after_booking,
            "coded": self.coded or None,
            "leave_at": None if self.leave_at is None else self.leave_at.strftime("%H:%M"),
            "gates": None if self.gates is None else _numbers(self.gates),
            "max_bars": self.max_bars,
            "reverse": self.reverse,
            "late_orders": self.late_orders,
            "sizing": str(self.sizing),
            "cash": _plain(self.account.cash),
            "leverage": _plain(self.account.leverage),
            "slots": self.account.slots,
            "position_cap_pct": _plain_or_none(self.account.position_cap_pct),
            "exposure_cap_pct": _plain_or_none(self.account.exposure_cap_pct),
            "order_cap": _plain_or_none(self.account.order_cap),
            "charges": str(self.costs.charges).lower() if self.costs.charges else "none",
            "segment": str(self.costs.segment) if self.costs.charges else None,
            "slippage_bps": _plain(self.costs.slippage_bps),
            "spread_ticks": self.costs.spread_ticks,
            "impact_bps": _plain(self.costs.impact_bps),
            "participation_pct": _plain(self.costs.participation_pct),
            "intraday": None
            if self.intraday is None
            else {
                "after_open_min": self.intraday.after_open_min,
                "before_close_min": self.intraday.before_close_min,
                "square_off_min": self.intraday.square_off_min,
            },
        }


def plan_of_contract(
    body: ContractBody, *, name: str, parameters: Mapping[str, object] | None = None, account: Account, costs: Costs,
    sizing: Sizing | None = None, rank: str | None = None, hours: IntradayHours | None = None,
) -> Plan:  # fmt: skip
    """The plan a contract makes: its rules, levels, time limit and, unless told otherwise, its sizing.

    An opposite signal does not close a position: live, the desk refuses it as well.
    """
    return Plan(
        name=name,
        version=body.content_hash,
        long_entry=body.entry_rule(Side.BUY, parameters),
        short_entry=body.entry_rule(Side.SELL, parameters),
        long_exit=body.exit_rule(Side.BUY, parameters),
        short_exit=body.exit_rule(Side.SELL, parameters),
        stop=body.stop,
        stop_rule=body.stop_rule(parameters),
        target=body.target,
        target_rule=body.target_rule(parameters),
        trailing=_trailing(body),
        bookings=_bookings(body),
        leave_at=body.exit_at,
        max_bars=body.max_bars,
        rank=rule_of(rank, "--rank", expect="number") or body.score_rule(parameters),
        sizing=sizing or sizing_of_contract(body),
        account=account,
        costs=costs,
        intraday=(hours or IntradayHours()) if body.holding is Holding.INTRADAY else None,
    )


def _trailing(body: ContractBody) -> Trailing | None:
    spec = body.trailing
    if spec is None:
        return None
    if spec.kind is TrailingKind.ATR:
        return Trailing(Decimal(0), spec.after, atr_multiple=spec.distance, period=spec.period)
    return Trailing(spec.distance, spec.after)


def _bookings(body: ContractBody) -> tuple[Booking, ...]:
    """The parts of a contract, nearest first as they are written."""
    return tuple(
        Booking(TargetSpec(TargetKind(str(part.kind)), part.value, part.period), part.share_pct)
        for part in body.partials
    )


def sizing_of_contract(body: ContractBody) -> Sizing:
    spec = body.sizing
    if spec.risk_pct is not None:
        return Sizing(SizingMode.RISK, spec.risk_pct)
    modes = {
        SizingKind.FIXED_QUANTITY: SizingMode.FIXED, SizingKind.PERCENT_EQUITY: SizingMode.PERCENT,
        SizingKind.FIXED_RUPEES: SizingMode.RUPEES, SizingKind.VOLATILITY_TARGET: SizingMode.VOLATILITY,
    }  # fmt: skip
    return Sizing(modes[spec.kind], spec.value, spec.period or VOLATILITY_DAYS)


def segment_of(product: Product) -> ChargeSegment:
    """What the product of a share is charged as."""
    return ChargeSegment.EQUITY_DELIVERY if product is Product.CNC else ChargeSegment.EQUITY_INTRADAY


def rule_of(text: str | None, where: str, *, expect: Kind = "condition") -> CompiledRule | None:
    """A rule from the command line. BacktestRefused points at the character."""
    if text is None:
        return None
    try:
        return compile_rule(text, expect=expect)
    except RuleError as error:
        raise BacktestRefused(f"RULE_{error.code}", f"{where}: {error}") from error


_MOST_OF: Final[Mapping[SizingMode, int]] = {SizingMode.FIXED: 10_000_000, SizingMode.RUPEES: 10_000_000_000}


def sizing_of(text: str) -> Sizing:
    """`all_in`, `fixed:10`, `percent:20`, `risk:0.5`, `rupees:50000`, `volatility:15` or `volatility:15:20`."""
    word, _, given = text.partition(":")
    if word not in set(SizingMode):
        raise BacktestRefused(
            "UNKNOWN_SIZING",
            f"{text} is no sizing: all_in, fixed:UNITS, percent:N, risk:N, rupees:N or volatility:N, also with :DAYS",
        )
    mode = SizingMode(word)
    if mode is SizingMode.ALL_IN:
        if given:
            raise BacktestRefused("UNKNOWN_SIZING", "all_in takes no number")
        return Sizing(mode)
    days = ""
    if mode is SizingMode.VOLATILITY:
        given, _, days = given.partition(":")
    value = number_of(given, f"--sizing {word}")
    _within("SIZING", f"sizing {word}", value, Decimal("0.000001"), Decimal(_MOST_OF.get(mode, 100)))
    if mode is SizingMode.FIXED and value != int(value):
        raise BacktestRefused("SIZING", f"A fixed size is a whole number of units, not {value}")
    period = number_of(days or str(VOLATILITY_DAYS), "days of the volatility")
    _within("SIZING", "days of the volatility", period, Decimal(LEAST_VOLATILITY_DAYS), Decimal(250))
    return Sizing(mode, value, int(period))


_SLIPPAGES: Final = {"spread": "spread_ticks", "volume": "impact_bps", "share": "participation_pct"}


def slippage_of(text: str) -> dict[str, Any]:
    """What `Costs` calls it: `5` basis points, `spread:2` ticks, `volume:10` basis points for every tenth of the usual
    volume, `share:25` percent of it at most; several joined by +, each kind once."""
    found: dict[str, Any] = {}
    for part in text.split("+"):
        word, colon, number = (piece.strip() for piece in part.partition(":"))
        name = _SLIPPAGES.get(word) if colon else "slippage_bps"
        if name is None or name in found:
            raise BacktestRefused(
                "SLIPPAGE", f"{text} is no slippage: BPS, spread:TICKS, volume:BPS or share:PCT, joined by +"
            )
        value = number_of(number if colon else word, "slippage")
        if name == "spread_ticks" and value != int(value):
            raise BacktestRefused("SLIPPAGE", f"A spread is a whole number of ticks, not {value}")
        found[name] = int(value) if name == "spread_ticks" else value
    return found


def number_of(text: str, where: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise BacktestRefused("NOT_A_NUMBER", f"{where}: {text or 'nothing'} is not a number") from error
    if not number.is_finite():
        raise BacktestRefused("NOT_A_NUMBER", f"{where}: {text} is not a number")
    return number


def _within(code: str, what: str, value: Decimal, least: Decimal, most: Decimal) -> None:
    if not least <= value <= most:
        raise BacktestRefused(code, f"The {what} must lie between {least:,} and {most:,}, not {value:,}")


def _written(rule: CompiledRule) -> str:
    """The rule with its parameters put in: what was really run."""
    from strategies.rules.nodes import text_of

    return text_of(rule.node)


def _level(spec: StopSpec | TargetSpec | None) -> dict[str, Any] | None:
    if spec is None:
        return None
    level: dict[str, Any] = {"kind": str(spec.kind), "value": None if spec.value is None else _plain(spec.value)}
    if spec.period is not None:
        level["period"] = spec.period
    return level


def _numbers(gates: HouseGates) -> dict[str, Any]:
    values = {each.name: getattr(gates, each.name) for each in fields(gates)}
    return {
        name: _plain(value) if isinstance(value, Decimal) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def _plain_or_none(number: Decimal | None) -> str | None:
    return None if number is None else _plain(number)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
