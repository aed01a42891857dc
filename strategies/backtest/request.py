"""What somebody asked to be tested, in words that can be stored: the same for the command, the pages and the API.

A request names a contract and its market; with the limits of the house as they were when it was asked, it makes one
plan on one market. The same request, limits and candles always give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from decimal import Decimal
from math import ceil
from typing import Any, Final

from risk.models import RiskPolicy
from strategies.backtest.candles import (
    allowed_instruments,
    check_allowed,
    instruments_of,
    market_of_candles,
    with_other_bars,
)
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.facts import with_house_facts
from strategies.backtest.market import Market
from strategies.backtest.membership import with_members
from strategies.backtest.plan import (
    Account,
    Costs,
    HouseGates,
    IntradayHours,
    Plan,
    Sizing,
    SizingMode,
    number_of,
    plan_of_contract,
    segment_of,
    sizing_of,
    sizing_of_contract,
    slippage_of,
)
from strategies.backtest.request_fields import BY_NAME, CHARGES, usual
from strategies.contracts.schema import TIMEFRAME_MINUTES, ContractBody, Regime
from strategies.models.contract import ContractVersion
from strategies.rules.functions import nearest
from trading.marketdata.models import Feed, Instrument
from trading.venue.charges import ChargeBroker
from trading.venue.margins import most_leverage

SLOTS: Final = 5  # positions at once, unless told otherwise, for sizing of one's own
MOST_SYMBOLS: Final = 5_000
_KNOWN: Final = tuple(BY_NAME)
_GATE_COUNTS: Final = ("cooldown_min", "loss_streak", "loss_streak_pause_min", "max_order_quantity")
_GATE_SHARES: Final = (
    "daily_loss_soft_pct", "daily_loss_hard_pct", "half_size_share_pct", "drawdown_cautious_pct",
    "drawdown_defensive_pct", "drawdown_halt_pct", "drawdown_hysteresis_pct", "drawdown_size_pct", "hard_exposure_pct",
    "cash_reserve_pct", "day_value_pct", "defensive_stop_pct", "option_position_pct", "options_exposure_pct",
    "sector_exposure_pct", "correlation_halve", "correlation_reject", "price_collar_pct", "option_collar_pct",
    "opening_gap_pct", "spread_to_deviation", "min_volume_ratio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HouseLimits:
    """What the house allows, as it stood when a test was asked for: it must be the same when the test is run again.

    None: a limit that was not known yet when the request was stored; it is not asked in its rerun either.
    """

    risk_per_trade_pct: Decimal
    position_size_pct: Decimal
    total_exposure_pct: Decimal
    max_order_value: Decimal
    max_open_positions: int
    entry_after_open_min: int
    entry_before_close_min: int
    square_off_before_close_min: int
    max_trades_per_day: int | None = None
    max_strategy_positions: int | None = None
    cooldown_min: int = 0
    duplicate_window_s: int = 0
    loss_streak: int = 0
    loss_streak_pause_min: int = 0
    daily_loss_soft_pct: Decimal | None = None
    daily_loss_hard_pct: Decimal | None = None
    half_size_share_pct: Decimal = Decimal(75)
    flatten_on_hard: int = 0
    drawdown_cautious_pct: Decimal | None = None
    drawdown_defensive_pct: Decimal | None = None
    drawdown_halt_pct: Decimal | None = None
    drawdown_hysteresis_pct: Decimal = Decimal(0)
    drawdown_size_pct: Decimal = Decimal(50)
    hard_exposure_pct: Decimal | None = None
    cash_reserve_pct: Decimal | None = None
    day_value_pct: Decimal | None = None
    risk_mean_reversion_pct: Decimal | None = None
    risk_cap_pct: Decimal | None = None
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

    @classmethod
    def of_policy(cls, policy: RiskPolicy) -> HouseLimits:
        counts = (*_GATE_COUNTS, "max_trades_per_day", "max_strategy_positions")
        gates: dict[str, Any] = {name: int(getattr(policy, name)) for name in counts}
        gates |= {name: Decimal(getattr(policy, name)) for name in _GATE_SHARES}
        return cls(
            risk_per_trade_pct=Decimal(policy.risk_per_trade_pct),
            position_size_pct=Decimal(policy.position_size_pct),
            total_exposure_pct=Decimal(policy.total_exposure_pct),
            max_order_value=Decimal(policy.max_order_value_rupees),
            max_open_positions=policy.max_open_positions,
            entry_after_open_min=policy.entry_after_open_min,
            entry_before_close_min=policy.entry_before_close_min,
            square_off_before_close_min=policy.square_off_before_close_min,
            flatten_on_hard=int(policy.flatten_on_hard),
            risk_mean_reversion_pct=Decimal(policy.risk_mean_reversion_pct),
            risk_cap_pct=Decimal(policy.risk_cap_pct),
            duplicate_window_s=ceil(policy.duplicate_window_s),
            restricted_symbols=tuple(sorted(policy.restricted_symbols)),
            **gates,
        )

    @classmethod
    def of_mapping(cls, stored: Mapping[str, Any]) -> HouseLimits:
        return cls(**{one.name: _limit(str(one.type), stored[one.name]) for one in fields(cls) if one.name in stored})

    def as_mapping(self) -> dict[str, Any]:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in values.items()}

    def gates(self, regime: Regime) -> HouseGates:
        """The gates that can be asked in a past, for an idea made for such a market."""
        share = self.risk_mean_reversion_pct if regime is Regime.RANGE else self.risk_per_trade_pct
        asked = [one for one in (share, self.risk_cap_pct) if one is not None]
        return HouseGates(
            risk_per_trade_pct=min(asked, default=None),
            trades_per_day=self.max_trades_per_day, flatten=bool(self.flatten_on_hard),
            duplicate_window_s=self.duplicate_window_s, restricted_symbols=self.restricted_symbols,
            **{name: getattr(self, name) for name in _GATE_COUNTS + _GATE_SHARES},
        )  # fmt: skip

    @property
    def slots(self) -> int:
        """Positions at once: of the portfolio, and of the one strategy that is tested."""
        most = self.max_strategy_positions
        return self.max_open_positions if most is None else min(self.max_open_positions, most)

    @property
    def hours(self) -> IntradayHours:
        return IntradayHours(self.entry_after_open_min, self.entry_before_close_min, self.square_off_before_close_min)


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """A contract (`slug` or `slug@version`), exchange days with both ends, and the money. Empty `symbols`: all of the
    contract's universes. None means the contract's own, or the house's."""

    contract: str
    from_date: date
    to_date: date
    symbols: tuple[str, ...] = ()
    feed: str = "NSE"
    timeframe: str | None = None
    cash: Decimal = Decimal(1_000_000)
    leverage: Decimal | None = None
    slots: int | None = None
    sizing: str | None = None
    charges: str = "fyers"
    slippage: str = "0"
    rank: str | None = None
    parameters: Mapping[str, Decimal] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        """Plain values that `read_request` takes back."""
        return {
            "contract": self.contract,
            "symbols": list(self.symbols),
            "feed": self.feed,
            "from": self.from_date.isoformat(),
            "to": self.to_date.isoformat(),
            "timeframe": self.timeframe,
            "cash": f"{self.cash:f}",
            "leverage": None if self.leverage is None else f"{self.leverage:f}",
            "slots": self.slots,
            "sizing": self.sizing,
            "charges": self.charges,
            "slippage": self.slippage,
            "rank": self.rank,
            "parameters": {name: f"{value:f}" for name, value in self.parameters.items()},
        }

    @property
    def days(self) -> int:
        return (self.to_date - self.from_date).days + 1


def read_request(given: Mapping[str, Any]) -> BacktestRequest:
    """A request from plain values, as they come from a form, from JSON or from storage. BacktestRefused names what is
    wrong; what is left out or None takes its default."""
    if unknown := sorted(set(given) - set(_KNOWN)):
        raise BacktestRefused("UNKNOWN_FIELD", f"There is no field {unknown[0]}{_meant(unknown[0], _KNOWN)}")
    values = {name: value for name, value in given.items() if value not in (None, "", [], (), {})}
    contract, feed = values.get("contract"), str(values.get("feed", usual("feed")))
    if not isinstance(contract, str) or not contract.isprintable():
        raise BacktestRefused("UNKNOWN_CONTRACT", "Say which contract is to be tested")
    if not feed.isprintable():
        raise BacktestRefused("UNKNOWN_FEED", "Say whose candles are to be tested")
    first, last = day_of(values.get("from"), "from"), day_of(values.get("to"), "to")
    if first is None or last is None:
        raise BacktestRefused("EMPTY_RANGE", "Say --from and --to: the exchange days to test")
    if first > last:
        raise BacktestRefused("EMPTY_RANGE", f"The range ends ({last}) before it begins ({first})")
    symbols = _symbols(values.get("symbols", ()))
    charges = str(values.get("charges", usual("charges"))).lower()
    if charges not in CHARGES:
        raise BacktestRefused("UNKNOWN_CHARGES", f"{charges} is no table of charges: {', '.join(CHARGES)}")
    slippage = str(values.get("slippage", usual("slippage"))).replace(" ", "")
    slippage_of(slippage)
    slots = values.get("slots")
    if slots is not None:
        slots = int(whole_of(slots, "slots"))
        if slots < 1:
            raise BacktestRefused("SLOTS", f"There must be at least one slot, not {slots}")
    parameters = values.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise BacktestRefused("ARGUMENTS", "Parameters are given by name")
    return BacktestRequest(
        contract=contract,
        from_date=first,
        to_date=last,
        symbols=symbols,
        feed=feed,
        timeframe=str(values["timeframe"]) if "timeframe" in values else None,
        cash=number_of(str(values.get("cash", usual("cash"))), "cash"),
        leverage=number_of(str(values["leverage"]), "leverage") if "leverage" in values else None,
        slots=slots,
        sizing=str(sizing_of(str(values["sizing"]))) if "sizing" in values else None,
        charges=charges,
        slippage=slippage,
        rank=str(values["rank"]) if "rank" in values else None,
        parameters={str(name): number_of(str(value), f"parameter {name}") for name, value in parameters.items()},
    )


def find_version(asked: str, *, owner_id: int | None = None) -> ContractVersion:
    """A contract by slug, its newest version or the one after the @: one's own first, then the house's.

    BacktestRefused: there is none, with the nearest name there is.
    """
    slug, _, number = asked.partition("@")
    slug = slug.replace("_", "-")
    if number and not number.isdecimal():
        raise BacktestRefused("UNKNOWN_CONTRACT", f"{number} is no version number")
    visible = ContractVersion.objects.filter(contract__owner=None)
    if owner_id is not None:
        visible = visible | ContractVersion.objects.filter(contract__owner=owner_id)
    versions = visible.filter(contract__slug=slug).select_related("contract").order_by("-number")
    if number:
        versions = versions.filter(number=int(number))
    found = sorted(versions, key=lambda one: one.contract.owner_id is None)  # one's own before the house's
    if not found:
        known = sorted(set(visible.values_list("contract__slug", flat=True)))
        hint = nearest(slug, known)
        raise BacktestRefused(
            "UNKNOWN_CONTRACT",
            f"There is no contract {asked}"
            + (f"; did you mean {hint}?" if hint else f" (known: {', '.join(known) or 'none yet'})"),
        )
    return found[0]


@dataclass(frozen=True)
class Prepared:
    """A request whose contract, instruments and limits are found: it makes plans, and markets for them."""

    request: BacktestRequest
    name: str
    body: ContractBody
    limits: HouseLimits
    feed: Feed
    instruments: tuple[Instrument, ...]

    def plan(self, parameters: Mapping[str, Any] | None = None) -> Plan:
        """The plan, with `parameters` over those of the request."""
        request, limits = self.request, self.limits
        account = Account(
            cash=request.cash,
            leverage=self._leverage(),
            slots=request.slots or min(SLOTS, len(self.instruments)),
        )
        sizing = sizing_of(request.sizing) if request.sizing else None
        gates = limits.gates(self.body.regime) if sizing is None else None
        if sizing is None:  # the contract's own, within the limits of the house
            sizing = sizing_of_contract(self.body)
            if sizing.mode is SizingMode.RISK:
                sizing = Sizing(sizing.mode, min(sizing.value, limits.risk_per_trade_pct))
            account = replace(
                account,
                slots=request.slots or min(limits.slots, len(self.instruments)),
                position_cap_pct=limits.position_size_pct,
                exposure_cap_pct=limits.total_exposure_pct,
                order_cap=limits.max_order_value,
            )
        broker = None if request.charges == "none" else ChargeBroker(request.charges.upper())
        plan = plan_of_contract(
            self.body,
            name=self.name,
            parameters={**request.parameters, **(parameters or {})},
            account=account,
            costs=Costs(charges=broker, segment=segment_of(self.body.product), **slippage_of(request.slippage)),
            sizing=sizing,
            rank=request.rank,
            hours=limits.hours,
        )
        return replace(plan, gates=gates)

    def _leverage(self) -> Decimal:
        """What was asked for, within what the product allows; by itself the contract trades with all of that, a sizing
        of one's own with the money that is there. BacktestRefused: more than the product allows."""
        asked, most = self.request.leverage, most_leverage(self.body.product)
        if asked is None:
            return Decimal(1) if self.request.sizing or most is None else most
        if most is not None and asked > most:
            raise BacktestRefused(
                "LEVERAGE", f"A position of product {self.body.product} may be {most:f} times its money, not {asked:f}"
            )
        return asked

    def market(self, *, settling: int, from_date: date | None = None, to_date: date | None = None) -> Market:
        """The candles of the request, or of a part of its days, with `settling` bars of history before them."""
        request, timeframe = self.request, TIMEFRAME_MINUTES[self.body.timeframe]
        rules = self.body.rule_set(request.parameters)
        by_symbol = {one.symbol: one for one in self.instruments}
        market = market_of_candles(
            self.feed,
            self.instruments,
            timeframe=timeframe,
            from_date=from_date or request.from_date,
            to_date=to_date or request.to_date,
            settling=max(settling, rules.history(timeframe) + 1),
            named=bool(request.symbols),
            largest_order=None if request.sizing else self.limits.max_order_value,
        )
        if request.sizing is None:  # the gates of the house are asked
            market = with_house_facts(market, self.feed, self.instruments)
        market = with_other_bars(market, rules, feed=self.feed, instruments=self.instruments)
        return with_members(market, [by_symbol[symbol] for symbol in market.symbols], self.body.universes)


def _limit(kind: str, raw: Any) -> Any:
    """One stored limit, as its field has it."""
    if raw is None:
        return None
    if kind.startswith("Decimal"):
        return Decimal(raw)
    return tuple(raw) if kind.startswith("tuple") else int(raw)


def prepare(request: BacktestRequest, limits: HouseLimits, *, owner_id: int | None = None) -> Prepared:
    """Find everything a request names. BacktestRefused: it does not exist, or the contract does not allow it."""
    version = find_version(request.contract, owner_id=owner_id)
    body = version.parsed()
    timeframe = request.timeframe or body.timeframe
    minutes_of(timeframe)
    instruments = instruments_of(request.symbols) if request.symbols else allowed_instruments(body)
    check_allowed(body, instruments, timeframe)
    feed = Feed.objects.filter(name=request.feed).first()
    if feed is None:
        known = ", ".join(Feed.objects.order_by("name").values_list("name", flat=True)) or "none yet"
        raise BacktestRefused("UNKNOWN_FEED", f"There is no feed {request.feed} (known: {known})")
    return Prepared(
        request, f"{version.contract.slug}@{version.number}", body, limits, feed, tuple(instruments)
    )  # fmt: skip


def minutes_of(timeframe: str) -> int:
    if timeframe not in TIMEFRAME_MINUTES:
        raise BacktestRefused("TIMEFRAME", f"{timeframe} is no timeframe: {', '.join(TIMEFRAME_MINUTES)}")
    return TIMEFRAME_MINUTES[timeframe]


def day_of(text: Any, where: str) -> date | None:
    if text is None or isinstance(text, date):
        return text
    try:
        return date.fromisoformat(str(text))
    except ValueError as error:
        raise BacktestRefused("NOT_A_DATE", f"{where}: {text} is not a day like 2026-01-31") from error


def whole_of(value: Any, where: str) -> int:
    """A whole number from a form or from JSON."""
    number = number_of(str(value), where)
    if isinstance(value, bool) or number != int(number):
        raise BacktestRefused("NOT_A_NUMBER", f"{where}: {value} is not a whole number")
    return int(number)


def _symbols(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        given = given.replace(",", " ").split()
    if not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        raise BacktestRefused("ARGUMENTS", "Symbols are a list of names")
    if len(given) > MOST_SYMBOLS:
        raise BacktestRefused("TOO_LARGE", f"{len(given):,} symbols are more than {MOST_SYMBOLS:,}")
    return tuple(dict.fromkeys(one.strip().upper() for one in given if one.strip()))


def _meant(name: str, known: Sequence[str]) -> str:
    hint = nearest(name, known)
    return f"; did you mean {hint}?" if hint else f" (known: {', '.join(known)})"
