"""Each gate is a pure function of an intent, a snapshot and a policy, and says what it saw in numbers.

ENTRY_GATES and EXIT_GATES are in the order in which they are asked: first what forbids trading at all, then what is
wrong with this order, then how much of it is allowed. Nothing that only limits size may stop an exit.
"""

from risk.gates.concentration import correlation, sector_exposure
from risk.gates.exposure import (
    cash_reserve,
    day_value,
    freeze_quantity,
    options_exposure,
    order_quantity,
    order_value,
    position_size,
    total_exposure,
)
from risk.gates.finding import Finding, Gate, Outcome
from risk.gates.loss_limits import cooldown, daily_loss, drawdown, loss_streak
from risk.gates.margin import margin
from risk.gates.market_quality import (
    circuit_band,
    liquidity,
    opening_gap,
    price_collar,
    quote_freshness,
    signal_age,
)
from risk.gates.per_trade import (
    open_positions,
    position_risk,
    reduces_only,
    risk_per_trade,
    sanity,
    stop_required,
    strategy_positions,
    trades_per_day,
)
from risk.gates.session import market_hours, market_open
from risk.gates.state import (
    already_positioned,
    broker_health,
    duplicate,
    lockdown,
    order_rate,
    restricted,
    self_trade,
    trading_state,
    unknown_outstanding,
)

ENTRY_GATES: tuple[Gate, ...] = (
    trading_state,
    broker_health,
    market_hours,
    sanity,
    restricted,
    stop_required,
    signal_age,
    quote_freshness,
    price_collar,
    circuit_band,
    unknown_outstanding,
    already_positioned,
    self_trade,
    duplicate,
    cooldown,
    loss_streak,
    daily_loss,
    drawdown,
    trades_per_day,
    open_positions,
    strategy_positions,
    opening_gap,
    liquidity,
    correlation,
    risk_per_trade,
    position_risk,
    position_size,
    options_exposure,
    sector_exposure,
    total_exposure,
    cash_reserve,
    day_value,
    order_value,
    order_quantity,
    freeze_quantity,
    margin,
    order_rate,
)
MOMENT_GATES: tuple[Gate, ...] = (
    trading_state,
    broker_health,
    market_hours,
    quote_freshness,
    price_collar,
    circuit_band,
    unknown_outstanding,
    self_trade,
    daily_loss,
    drawdown,
)
"""Those of the entry that look at the moment alone: asked again when a person says yes some time later."""
CHASE_GATES: tuple[Gate, ...] = (*MOMENT_GATES, stop_required, risk_per_trade, position_risk, order_value)
"""Asked about what is left of an entry before it gets a dearer price: the moment, and what it may lose there."""
PARENT_GATES: tuple[Gate, ...] = tuple(
    gate for gate in ENTRY_GATES if gate not in (order_value, order_quantity, order_rate)
)
"""Asked about a large order as a whole. What limits a single order is asked of each of its children, with the rest."""
EXIT_GATES: tuple[Gate, ...] = (lockdown, market_open, circuit_band, reduces_only)

__all__ = ["CHASE_GATES", "ENTRY_GATES", "EXIT_GATES", "MOMENT_GATES", "PARENT_GATES", "Finding", "Gate", "Outcome"]
