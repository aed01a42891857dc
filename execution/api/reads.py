"""What the endpoints look up. Always starting from the rows of one user."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from execution.models import EngineLease, Fill, Group, Intent, Order, OrderEvent
from execution.states import OrderState
from risk.models import Assessment, TradingState
from trading.marketdata.clocks import venue_now
from trading.marketdata.quotes import last_quotes
from trading.portfolio.models import Portfolio, Position
from trading.portfolio.valuation import PositionValue, Valuation, value_portfolio
from trading.statements import Select, together

CENT = 2


OWN_ORDER = Select(
    Order, "instrument", "portfolio", where="WHERE t.id = %(order)s AND t_portfolio.owner_id = %(owner)s"
)
EVENTS = Select(OrderEvent, where="WHERE t.order_id = %(order)s ORDER BY t.seq")
FILLS = Select(Fill, where="WHERE t.order_id = %(order)s ORDER BY t.id")
ASSESSMENT = Select(
    Assessment, where="WHERE t.intent_id = (SELECT intent_id FROM execution_order WHERE id = %(order)s)"
)  # fmt: skip


def order_with_story(user: Any, order_id: int) -> Order | None:
    """An order of this user with what was `told` of it, `filled` of it, and its `verdicts`; None for a foreign one."""
    with together():
        own = OWN_ORDER.ask({"order": order_id, "owner": user.pk})
        told, filled = (each.ask({"order": order_id}) for each in (EVENTS, FILLS))
        assessed = ASSESSMENT.ask({"order": order_id})
    order: Any = next(iter(own()), None)
    if order is not None:
        order.told, order.filled = told(), filled()
        order.verdicts = [verdict for one in assessed() for verdict in one.verdicts]
    return order


def attach_verdicts(user: Any, signals: Sequence[Any]) -> None:
    """Give each signal the verdicts on what became of it."""
    intents = Intent.objects.for_user(user).filter(signal__in=[signal.pk for signal in signals])
    signal_of = dict(intents.values_list("id", "signal_id"))
    by_intent = Assessment.objects.for_user(user).verdicts_of(signal_of)
    for signal in signals:
        ours = [intent for intent, signal_id in signal_of.items() if signal_id == signal.pk]
        signal.verdicts = [verdict for intent in ours for verdict in by_intent.get(intent, [])]


def valued(portfolio: Portfolio, *, now: datetime) -> Valuation:
    """The portfolio at the last prices of what it holds."""
    held = Position.objects.filter(portfolio=portfolio).exclude(net_quantity=0)
    symbols = held.values_list("instrument__symbol", flat=True)
    return value_portfolio(portfolio, quotes=last_quotes(portfolio.account.feed, symbols), now=now)


def attach_values(user: Any, positions: Sequence[Any]) -> None:
    """Give each position its last price, its profit or loss, and the group that would close it."""
    portfolios = Portfolio.objects.for_user(user).filter(pk__in={position.portfolio_id for position in positions})
    values: dict[int, PositionValue] = {}
    for portfolio in portfolios.select_related("account"):
        valuation = valued(portfolio, now=venue_now(portfolio.account.feed))
        values |= {value.position.pk: value for value in valuation.positions}
    groups = Group.objects.for_user(user).exclude(state=Group.State.CLOSED)
    group_of = {
        (portfolio_id, instrument_id, product): group_id
        for group_id, portfolio_id, instrument_id, product in groups.values_list(
            "id", "portfolio_id", "instrument_id", "product"
        )
    }
    for position in positions:
        value = values.get(position.pk)
        position.last_price = value.last_price if value else None
        position.quote_age_s = round(value.quote_age_s, 3) if value and value.quote_age_s is not None else None
        position.pnl_paise = value.pnl_paise if value else None
        position.pnl_pct = round(value.pnl_pct, CENT) if value and value.pnl_pct is not None else None
        key = (position.portfolio_id, position.instrument_id, position.product)
        position.group = group_of.get(key) if position.net_quantity else None


def dashboard(user: Any, portfolio: Portfolio) -> dict[str, Any]:
    """One portfolio at a glance."""
    now = venue_now(portfolio.account.feed)
    worth = valued(portfolio, now=now)
    orders: Any = Order.objects.for_user(user).filter(portfolio=portfolio)
    lease = EngineLease.objects.for_user(user).filter(account=portfolio.account_id).first()
    states = TradingState.objects.filter(
        scope__in=[
            "GLOBAL",
            f"USER:{portfolio.owner_id}",
            f"ACCOUNT:{portfolio.account_id}",
            f"PORTFOLIO:{portfolio.pk}",
        ]
    )
    level = max((state.level for state in states), default=TradingState.Level.ACTIVE)
    return {
        "portfolio": portfolio.pk,
        "name": portfolio.name,
        "environment": portfolio.account.environment,
        "venue_time": now,
        "equity": worth.equity_paise,
        "cash": worth.cash_paise,
        "unrealised": worth.unrealised_paise,
        "day_pnl": worth.day_pnl_paise,
        "day_pnl_pct": round(worth.day_pnl_pct, CENT),
        "exposure": worth.exposure_paise,
        "stale": worth.stale,
        "open_positions": len(worth.positions),
        "live_orders": orders.live().count(),
        "unknown_orders": orders.filter(state=OrderState.UNKNOWN).count(),
        "approvals_waiting": Intent.objects.for_user(user)
        .filter(portfolio=portfolio, state=Intent.State.WAITING)
        .count(),
        "broker_state": portfolio.account.auth_state,
        "engine_state": lease.state if lease else EngineLease.State.STOPPED,
        "preflight": lease.gates if lease else [],
        "kill_level": TradingState.Level(level).name,
    }
