"""Each gate is a pure function of an intent, a snapshot and a policy, and says what it saw in numbers.

ENTRY_GATES and EXIT_GATES are in the order in which they are asked: first what forbids trading at all, then what is
wrong with this order, then how much of it is allowed. Nothing that only limits size may stop an exit.
"""

from risk.gates.exposure import order_value, position_size, total_exposure
from risk.gates.finding import Finding, Gate, Outcome
from risk.gates.loss_limits import cooldown, daily_loss
from risk.gates.margin import margin
from risk.gates.market_quality import price_collar, quote_freshness, signal_age
from risk.gates.per_trade import open_positions, reduces_only, risk_per_trade, sanity, stop_required, trades_per_day
from risk.gates.session import market_hours, market_open
from risk.gates.state import already_positioned, broker_health, lockdown, trading_state

ENTRY_GATES: tuple[Gate, ...] = (
    trading_state,
    broker_health,
    market_hours,
    sanity,
    stop_required,
    signal_age,
    quote_freshness,
    price_collar,
    already_positioned,
    cooldown,
    daily_loss,
    trades_per_day,
    open_positions,
    risk_per_trade,
    position_size,
    total_exposure,
    order_value,
    margin,
)
MOMENT_GATES: tuple[Gate, ...] = (
    trading_state,
    broker_health,
    market_hours,
    quote_freshness,
    price_collar,
    daily_loss,
)
"""Those of the entry that look at the moment alone: asked again when a person says yes some time later."""
EXIT_GATES: tuple[Gate, ...] = (lockdown, market_open, reduces_only)

__all__ = ["ENTRY_GATES", "EXIT_GATES", "MOMENT_GATES", "Finding", "Gate", "Outcome"]
