"""What the paper broker takes and what it refuses: the exchange's rules for one order, and the money it needs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Protocol

from execution.brokers.port import BrokerPosition
from trading.domain.orders import OrderType, Product, Side
from trading.venue.margins import margin_required
from trading.venue.precision import is_on_tick, whole_lots
from trading.venue.sessions import Phase, Session, SessionKind, exchange_date, session_on

_LIMITED = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_OF_SHARES = (SessionKind.EQUITY, SessionKind.EQUITY_DERIVATIVE_STOCK)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Refusal(Exception):
    """The paper broker says no. `code` is that of the port; `in_book`: the order is kept there, as rejected."""

    def __init__(self, code: str, message: str, *, in_book: bool = False) -> None:
        super().__init__(message)
        self.code, self.message, self.in_book = code, message, in_book


@dataclass(frozen=True, slots=True)
class Terms:
    """How an instrument trades. `assumed`: its days are those of a simulation, where no calendar knows better."""

    symbol: str
    isin: str
    tick: Decimal
    lot: int
    freeze: int | None
    kind: SessionKind
    is_share: bool
    assumed: bool
    listed: bool = True

    def session(self, day: date) -> Session | None:
        return session_on(day, kind=self.kind, assume_weekdays=self.assumed)

    def over_at(self, day: date) -> datetime:
        """When a day's continuous trading ends. A day without a session has been over since it began."""
        session = self.session(day)
        return session.closes_at if session is not None else _LONG_AGO

    def trades_at(self, now: datetime) -> bool:
        session = self.session(exchange_date(now))
        return session is not None and session.phase_at(now) is Phase.CONTINUOUS


def closes_of(day: date, *, assumed: bool) -> tuple[datetime, datetime]:
    """When the first and the last of a day's shares stop trading; the beginning of time on a day without a session."""
    sessions = [session_on(day, kind=kind, assume_weekdays=assumed) for kind in _OF_SHARES]
    ends = [one.closes_at for one in sessions if one is not None]
    return min(ends, default=_LONG_AGO), max(ends, default=_LONG_AGO)


class Working(Protocol):
    """An order in the book, as far as money is concerned."""

    symbol: str
    side: str
    product: str
    margin_price: Decimal

    @property
    def remaining_quantity(self) -> int: ...


def check_product(terms: Terms, product: Product) -> None:
    if not terms.listed:
        raise Refusal("INVALID_SYMBOL", f"{terms.symbol} is not listed any more")
    if not terms.is_share or product not in (Product.INTRADAY, Product.CNC):
        raise Refusal("NOT_ON_PAPER", "A paper account trades shares, intraday or for delivery.")


def check_terms(
    terms: Terms, *, order_type: OrderType, side: Side, product: Product, quantity: int, limit: Decimal | None,
    trigger: Decimal | None, last: Decimal | None,
) -> None:  # fmt: skip
    """Refusal INVALID_SYMBOL or INVALID_PARAMETER, as a broker answers before anything is in its book."""
    check_product(terms, product)
    if whole_lots(quantity, terms.lot) != quantity:
        raise Refusal("INVALID_PARAMETER", f"qty must be a multiple of the lot size {terms.lot}")
    for name, price, needed in (
        ("limitPrice", limit, order_type in _LIMITED), ("stopPrice", trigger, order_type in _STOPS),
    ):  # fmt: skip
        if needed and (price is None or not is_on_tick(price, terms.tick)):
            raise Refusal("INVALID_PARAMETER", f"{name} is not a multiple of tick size {terms.tick:.4f}")
    if trigger is not None and order_type in _STOPS and last is not None and (trigger - last) * side.sign < 0:
        where = "at or above" if side is Side.BUY else "at or below"
        raise Refusal("INVALID_PARAMETER", f"stopPrice must be {where} the last price {last:.2f}")
    if limit is not None and trigger is not None and (limit - trigger) * side.sign < 0:
        where = "above" if side is Side.BUY else "below"
        raise Refusal("INVALID_PARAMETER", f"stopPrice must not be {where} limitPrice")


def check_open(terms: Terms, now: datetime) -> None:
    if not terms.trades_at(now):
        raise Refusal("REJECTED", "RED:Market is closed: orders are accepted while the exchange trades continuously")


def check_band(
    terms: Terms, band: tuple[Decimal, Decimal] | None, *, quantity: int, prices: Iterable[Decimal | None]
) -> None:
    """What risk management declines: the order stays in the book, as rejected."""
    if terms.freeze is not None and quantity > terms.freeze:
        raise Refusal("REJECTED", f"RED:Quantity {quantity} is above the freeze quantity {terms.freeze}", in_book=True)
    if band is None:
        return
    for price in prices:
        if price is not None and not band[0] <= price <= band[1]:
            raise Refusal(
                "REJECTED",
                f"RED:Price {price:.2f} is outside the circuit limits {band[0]:.2f} to {band[1]:.2f}", in_book=True,
            )  # fmt: skip


def blocked(positions: Iterable[BrokerPosition], orders: Iterable[Working]) -> Decimal:
    """Rupees of margin in positions and in the part of working orders that opens something.

    `orders` in the order in which they came: the first may close what is held, the later ones find it promised.
    """
    held = {(one.symbol, one.product): one for one in positions}
    total = Decimal(0)
    for (_, product), one in held.items():
        if one.net_quantity > 0 or (one.net_quantity < 0 and product == Product.INTRADAY):
            total += margin_required(product=Product(product), quantity=abs(one.net_quantity), price=one.average_price)
    before: list[Working] = []
    for order in orders:
        closing = closes(order, positions, before)
        before.append(order)
        if order.product == Product.CNC and order.side == Side.SELL:
            continue
        total += margin_required(
            product=Product(order.product), quantity=order.remaining_quantity - closing, price=order.margin_price
        )
    return total


def closes(order: Working, positions: Iterable[BrokerPosition], before: Iterable[Working]) -> int:
    """Units of an order that close what is held and what the orders `before` it leave of that."""
    way = Side(order.side).sign
    held = next((one for one in positions if (one.symbol, one.product) == (order.symbol, order.product)), None)
    free = max(0, -way * held.net_quantity) if held is not None else 0
    key = (order.symbol, order.product, order.side)
    promised = sum(one.remaining_quantity for one in before if (one.symbol, one.product, one.side) == key)
    return min(order.remaining_quantity, max(0, free - promised))
