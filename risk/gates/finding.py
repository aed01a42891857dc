"""What a gate says, and what it may look at."""

from collections.abc import Callable
from dataclasses import dataclass
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
    """Everything a gate may see, read once. Paise and units; `now` is venue time, ages are wall seconds."""

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


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of one policy, as gates read them. Percentages are of equity; 5 means 5 %."""

    name: str
    stop_required: bool
    risk_per_trade_pct: Decimal
    position_size_pct: Decimal
    total_exposure_pct: Decimal
    max_open_positions: int
    max_trades_per_day: int
    daily_loss_soft_pct: Decimal
    daily_loss_hard_pct: Decimal
    price_collar_pct: Decimal
    max_quote_age_s: float
    max_signal_age_s: float
    cooldown_min: int
    max_order_value_rupees: Decimal


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
