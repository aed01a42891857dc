"""What a gate says, and what it may look at."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from trading.domain.orders import OrderIntent


class Outcome(StrEnum):
    PASS = "PASS"  # noqa: S105 - a verdict
    SHRINK = "SHRINK"
    REJECT = "REJECT"


@dataclass(frozen=True, slots=True)
class Finding:
    """One verdict: how many units are allowed after it, what was measured, what the limit is."""

    gate: str
    outcome: Outcome
    quantity: int
    value: str
    limit: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a gate may see, read once. Paise and units; `now` is venue time, ages are wall seconds.

    What has a default is not known everywhere: None means "not measured", and a gate says so.
    """

    now: datetime
    equity_paise: int
    cash_paise: int
    day_pnl_paise: int
    opening_equity_paise: int
    exposure_paise: int
    symbol_exposure_paise: int
    symbol_net_quantity: int
    symbol_reserved: bool
    slots_taken: int
    trades_today: int
    last_price: Decimal | None
    quote_age_s: float | None
    session_open: bool
    entries_from: datetime | None
    entries_until: datetime | None
    last_stop_out_at: datetime | None
    soft_locked: bool
    hard_locked: bool
    kill_level: int
    kill_reason: str
    auth_state: str
    engine_ready: bool
    engine_cause: str
    # -- the trader's own state
    half_size: bool = False  # three quarters of the day's soft limit are lost: latched for the session
    drawdown_state: str = "NORMAL"
    drawdown_pct: Decimal = Decimal(0)
    losses_in_row: int = 0
    last_loss_at: datetime | None = None
    strategy_slots_taken: int = 0
    sector_exposure_paise: int = 0
    options_exposure_paise: int = 0
    opened_today_paise: int = 0
    symbol_risk_paise: int = 0
    # -- the broker
    breaker_open: bool = False
    breaker_cause: str = ""
    reconciled: bool = True
    reconciliation_cause: str = ""
    broker_free_paise: int | None = None
    order_wait_s: float = 0.0
    unknown_outstanding: int = 0  # orders of this instrument whose fate nobody knows
    opposite_working: int = 0  # units on the other side that may trade against us, in any portfolio of the account
    # -- the market
    session_opens_at: datetime | None = None
    session_closes_at: datetime | None = None
    spread: Decimal | None = None
    close_deviation: Decimal | None = None
    bar_volume: int | None = None
    mean_volume: int | None = None
    opening_gap_pct: Decimal | None = None
    correlations: tuple[tuple[str, float], ...] = ()  # with each open position, signed by the sides: 1 is the same bet


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of one policy, as gates read them. Percentages are of equity; 5 means 5 %."""

    name: str
    stop_required: bool = True
    risk_per_trade_pct: Decimal = Decimal(1)
    risk_mean_reversion_pct: Decimal = Decimal("0.75")
    risk_cap_pct: Decimal = Decimal(2)
    position_size_pct: Decimal = Decimal(20)
    option_position_pct: Decimal = Decimal(5)
    options_exposure_pct: Decimal = Decimal(50)
    total_exposure_pct: Decimal = Decimal(70)
    hard_exposure_pct: Decimal = Decimal(80)
    cash_reserve_pct: Decimal = Decimal(10)
    sector_exposure_pct: Decimal = Decimal(30)
    correlation_halve: Decimal = Decimal("0.7")
    correlation_reject: Decimal = Decimal("0.9")
    max_open_positions: int = 5
    max_strategy_positions: int = 5
    max_trades_per_day: int = 20
    day_value_pct: Decimal = Decimal(500)
    daily_loss_soft_pct: Decimal = Decimal(5)
    daily_loss_hard_pct: Decimal = Decimal(10)
    half_size_share_pct: Decimal = Decimal(75)
    drawdown_size_pct: Decimal = Decimal(50)
    price_collar_pct: Decimal = Decimal(3)
    option_collar_pct: Decimal = Decimal(10)
    max_quote_age_s: float = 5
    max_signal_age_s: float = 120
    duplicate_window_s: float = 120
    cooldown_min: int = 30
    loss_streak: int = 4
    loss_streak_pause_min: int = 60
    max_order_value_rupees: Decimal = Decimal(1_000_000)
    max_order_quantity: int = 100_000
    spread_to_deviation: Decimal = Decimal("0.05")
    min_volume_ratio: Decimal = Decimal("0.5")
    opening_gap_pct: Decimal = Decimal(2)
    margin_cushion_pct: Decimal = Decimal(5)
    restricted_symbols: frozenset[str] = frozenset()


Gate = Callable[[OrderIntent, Snapshot, Limits], Finding]


def plain(number: Decimal) -> str:
    """A limit as a person writes it: 80, not 80.000."""
    return f"{number.normalize():f}"


def passed(gate: str, quantity: int, *, value: object = "", limit: object = "", message: str) -> Finding:
    return Finding(gate, Outcome.PASS, quantity, str(value), str(limit), message)


def rejected(gate: str, *, value: object = "", limit: object = "", message: str) -> Finding:
    return Finding(gate, Outcome.REJECT, 0, str(value), str(limit), message)


def up_to(gate: str, room: int, intent: OrderIntent, *, limit: object, what: str) -> Finding:
    """Allow at most `room` units, in whole lots: the order passes, shrinks, or is refused below one lot."""
    whole = max(0, room - room % intent.lot_size)
    if whole >= intent.quantity:
        return passed(gate, intent.quantity, value=intent.quantity, limit=limit, message=f"Within {what}.")
    if whole == 0:
        return rejected(gate, value=intent.quantity, limit=limit, message=f"Not one lot fits within {what}.")
    message = f"Shrunk from {intent.quantity} to {whole} to stay within {what}."
    return Finding(gate, Outcome.SHRINK, whole, str(intent.quantity), str(limit), message)


def to_share(
    gate: str, share_pct: Decimal, intent: OrderIntent, *, value: object, limit: object, because: str
) -> Finding:
    """Allow `share_pct` of what is wanted, in whole lots; at least one lot must be left."""
    units = int(intent.quantity * share_pct / 100)
    finding = up_to(gate, units, intent, limit=limit, what=f"{plain(share_pct)} % of the usual size")
    words = because if finding.outcome is Outcome.PASS else f"{because} {finding.message}"
    return replace(finding, value=str(value), message=words)
