"""What happens at the exchange that nobody at the desk asked for. All of it is real: in the books and in the money.

Each returns the number of the order it touched. Refused where there is nothing it could happen to.
"""

from __future__ import annotations

from execution.sandbox.accounts import INTRADAY
from execution.sandbox.exchange import Exchange, Refused, Ticket
from execution.sandbox.order_book import CANCELLED, FILLED, MARKET, Execution, Order

ACTS: dict[str, str] = {
    "over_fill": "more of an order trades than was ordered",
    "late_fill": "an order that was cancelled trades after all",
    "square_off": "the broker closes everything intraday",
    "risk_cancel": "the broker's risk desk cancels what rests",
    "manual_trade": "the owner trades in the broker's own app",
}


def act(
    exchange: Exchange, name: str, *, user: str, order_id: str, symbol: str, side: int, qty: int, wall: float
) -> str:
    """Let one of the acts happen, and tell the user's sockets."""
    exchange.advance(wall)
    if name == "over_fill":
        touched = _execute(exchange, _order(exchange, user, order_id, FILLED), qty)
    elif name == "late_fill":
        touched = _execute(exchange, _order(exchange, user, order_id, CANCELLED), qty)
    elif name == "square_off":
        touched = _square_off(exchange, user)
    elif name == "risk_cancel":
        touched = _risk_cancel(exchange, user)
    elif name == "manual_trade":
        ticket = Ticket(symbol, side, qty, MARKET, INTRADAY, "DAY", 0, 0, "")
        order = exchange.place(user, ticket, wall)
        order.source = "W"
        touched = order.id
    else:
        raise Refused(-50, f"act must be one of {', '.join(ACTS)}")
    exchange.commit(exchange.clock.at(wall))
    return touched


def _order(exchange: Exchange, user: str, order_id: str, status: int) -> Order:
    """The named order, or the user's newest with this status."""
    mine = exchange.orders_of(user)
    if order_id:
        mine = [order for order in mine if order.id == order_id]
    else:
        mine = [order for order in mine if order.status == status]
    if not mine:
        raise Refused(-51, "there is no such order")
    return mine[-1]


def _execute(exchange: Exchange, order: Order, qty: int) -> str:
    """An execution whatever the order's state: the exchange says it happened."""
    price = exchange.quote(order.symbol).last
    exchange.book(order.symbol).remove(order)
    order.filled += qty
    order.value += qty * price
    if order.filled >= order.qty:
        order.status = FILLED
    exchange.book_execution(Execution(order, qty, price))
    return order.id


def _square_off(exchange: Exchange, user: str) -> str:
    for order in exchange.live_of(user):
        if order.product == INTRADAY:
            exchange.end_order(order, CANCELLED, "Cancelled by the broker's square-off")
    touched = ""
    for position in [p for p in exchange.accounts[user].positions.values() if p.product == INTRADAY and p.net]:
        touched = exchange.square_off(user, position)
    if not touched:
        raise Refused(-51, "nothing is held intraday")
    return touched


def _risk_cancel(exchange: Exchange, user: str) -> str:
    live = exchange.live_of(user)
    if not live:
        raise Refused(-51, "nothing rests")
    for order in live:
        exchange.end_order(order, CANCELLED, "RMS: cancelled by the risk desk")
    return live[-1].id
