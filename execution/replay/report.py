"""What a replayed day came to, from the rows it left."""

from datetime import datetime

from execution.models import Fill, Group, Order
from execution.replay.run import Replayed
from strategies.models import ScanSlot, Signal
from trading.domain.money import to_paise, to_rupees
from trading.portfolio.ledger import Account, balance
from trading.portfolio.models import ClosedTrade, EquityPoint, LedgerEntry, Portfolio, Position
from trading.venue.sessions import exchange_date

CASH_SIDE = {Account.CASH, Account.CAPITAL, Account.POSITIONS, Account.REALISED}


def report(result: Replayed) -> dict[str, object]:
    """Plain values: rupees as strings with two decimals, instants in ISO 8601."""
    portfolio = result.portfolio
    marks = _last_prices(portfolio)
    held = list(Position.objects.filter(portfolio=portfolio).exclude(net_quantity=0).select_related("instrument"))
    worth = sum(to_paise(marks.get(row.instrument_id, row.average_price) * row.net_quantity) for row in held)
    cash = balance(portfolio.pk, Account.CASH)
    # Two ways to the same figure: the ledger's cash, and what the positions say of themselves.
    rows = Position.objects.filter(portfolio=portfolio)
    equity = portfolio.opening_cash_paise + worth + sum(r.realised_paise - r.charges_paise - r.cost_paise for r in rows)
    entries = LedgerEntry.objects.filter(transaction__portfolio=portfolio)
    charges = sum(entry.amount_paise for entry in entries if entry.account not in CASH_SIDE)
    seen = Signal.objects.filter(portfolio=portfolio).select_related("instrument")
    signals = list(seen.order_by("bar_at", "instrument__symbol"))
    return {
        "date": exchange_date(result.session.session.opens_at).isoformat(),
        "symbols": [one.symbol for one in result.instruments],
        "contract": str(result.deployment.version),
        "content_hash": result.deployment.version.content_hash,
        "candles": result.session.bars,
        "ticks": result.steps,
        "bars_scanned": ScanSlot.objects.filter(deployment=result.deployment, state="DONE").count(),
        "bars_missed": ScanSlot.objects.filter(deployment=result.deployment, state="MISSED").count(),
        "signals": [_signal(one) for one in signals],
        "orders": [_order(one) for one in _orders(portfolio)],
        "fills": [_fill(one) for one in _fills(portfolio)],
        "trades": [_trade(one) for one in ClosedTrade.objects.filter(portfolio=portfolio).order_by("closed_at", "pk")],
        "open_trades": Group.objects.filter(portfolio=portfolio).exclude(state=Group.State.CLOSED).count(),
        "opening_cash": _rupees(portfolio.opening_cash_paise),
        "cash": _rupees(cash),
        "positions": _rupees(worth),
        "equity": _rupees(equity),
        "pnl_gross": _rupees(equity - portfolio.opening_cash_paise + charges),
        "charges": _rupees(charges),
        "pnl_net": _rupees(equity - portfolio.opening_cash_paise),
        "identity_error": _rupees(cash + worth - equity),
        "equity_points": EquityPoint.objects.filter(portfolio=portfolio).count(),
        "duration_s": round(result.duration_s, 2),
    }


def _last_prices(portfolio: Portfolio) -> dict:
    """The last fill of each instrument: what is still open at the end is marked at it."""
    fills = Fill.objects.filter(order__portfolio=portfolio).order_by("filled_at", "pk")
    return dict(fills.values_list("order__instrument_id", "price"))


def _orders(portfolio: Portfolio):
    return Order.objects.filter(portfolio=portfolio).select_related("instrument").order_by("pk")


def _fills(portfolio: Portfolio):
    return (
        Fill.objects.filter(order__portfolio=portfolio).select_related("order__instrument").order_by("filled_at", "pk")
    )


def _signal(signal: Signal) -> dict[str, object]:
    return {
        "symbol": signal.instrument.symbol, "side": signal.side, "bar_at": _iso(signal.bar_at),
        "entry": str(signal.entry.normalize()),
        "stop": None if signal.stop is None else str(signal.stop.normalize()),
        "target": None if signal.target is None else str(signal.target.normalize()), "state": signal.state,
        "refusal": signal.refusal_code,
        "explanation": signal.explanation,
    }  # fmt: skip


def _order(order: Order) -> dict[str, object]:
    return {
        "client_order_id": order.client_order_id, "symbol": order.instrument.symbol, "side": order.side,
        "reason": order.reason, "type": order.order_type, "quantity": order.quantity,
        "filled_quantity": order.filled_quantity, "state": order.state, "placed_at": _iso(order.placed_at),
        "average_price": str(order.average_price) if order.average_price is not None else None,
        "charges": _rupees(order.charges_paise),
    }  # fmt: skip


def _fill(fill: Fill) -> dict[str, object]:
    return {
        "symbol": fill.order.instrument.symbol, "side": fill.order.side, "quantity": fill.quantity,
        "price": str(fill.price.normalize()), "filled_at": _iso(fill.filled_at), "reason": fill.order.reason,
    }  # fmt: skip


def _trade(trade: ClosedTrade) -> dict[str, object]:
    return {
        "symbol": trade.instrument.symbol, "side": trade.side, "quantity": trade.quantity,
        "entry_price": str(trade.entry_price), "exit_price": str(trade.exit_price), "exit_reason": trade.exit_reason,
        "opened_at": _iso(trade.opened_at), "closed_at": _iso(trade.closed_at), "gross": _rupees(trade.gross_paise),
        "charges": _rupees(trade.charges_paise), "net": _rupees(trade.net_paise),
    }  # fmt: skip


def _rupees(paise: int) -> str:
    return f"{to_rupees(paise):.2f}"


def _iso(at: datetime) -> str:
    return at.isoformat()
