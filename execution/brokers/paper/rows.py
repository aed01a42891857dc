"""From the rows of a paper book to the words of the port."""

from decimal import Decimal
from itertools import starmap

from execution.brokers.paper.book import meet, reached_leg
from execution.brokers.port import (
    BookOrder,
    BrokerHolding,
    BrokerStatus,
    StandingTrigger,
    TriggerLeg,
    TriggerStatus,
)
from execution.models.paper import PaperHolding, PaperOrder, PaperTrade, PaperTrigger
from trading.domain.fills import FillFact
from trading.domain.orders import OrderRequest, OrderType, Side
from trading.venue.fill_model import Friction, Stretch

CANCELLED = BrokerStatus.CANCELLED
_ANY_TICK = Decimal("0.0001")
_AT_ONCE = Friction()


def order(row: PaperOrder) -> BookOrder:
    return BookOrder(
        broker_order_id=row.number, client_order_id=row.tag or None, symbol=row.symbol, side=Side(row.side),
        order_type=OrderType(row.order_type), product=row.product, quantity=row.quantity,
        filled_quantity=row.filled_quantity, remaining_quantity=row.remaining_quantity if row.is_working else 0,
        limit_price=row.limit_price, trigger_price=row.trigger_price, average_price=row.average_price,
        status=BrokerStatus(row.status), message=row.message, updated_at=row.updated_at, source=row.source,
        raw_status="TRIGGERED" if row.triggered and row.is_working and row.trigger_price else row.status,
    )  # fmt: skip


def fill(row: PaperTrade) -> FillFact:
    return FillFact(
        broker_order_id=row.order.number, broker_trade_id=row.number, symbol=row.order.symbol,
        side=Side(row.order.side), quantity=row.quantity, price=row.price, filled_at=row.traded_at,
        client_order_id=row.order.tag or None,
    )  # fmt: skip


def holding(row: PaperHolding, *, sellable: int, last: Decimal | None) -> BrokerHolding:
    return BrokerHolding(
        symbol=row.symbol, isin=row.isin, quantity=row.quantity, sellable=max(0, min(row.quantity, sellable)),
        unsettled=0, average_price=round(row.cost / row.quantity, 4), last_price=last,
    )  # fmt: skip


def trigger(row: PaperTrigger) -> StandingTrigger:
    legs = [(Decimal(price), Decimal(limit), int(quantity)) for price, limit, quantity in row.legs]
    return StandingTrigger(
        trigger_id=row.number, symbol=row.symbol, side=Side(row.side), product=row.product,
        legs=tuple(starmap(TriggerLeg, legs)), status=TriggerStatus(row.status), message=row.message,
        created_at=row.created_at,
    )  # fmt: skip


def draft(request: OrderRequest, *, last: Decimal | None) -> PaperOrder:
    """An order that is only reckoned with."""
    price = request.limit_price or request.trigger_price or last or Decimal(0)
    return PaperOrder(
        symbol=request.symbol, side=request.side.value, product=request.product.value, quantity=request.quantity,
        margin_price=price,
    )  # fmt: skip


def touches(row: PaperOrder | PaperTrigger, stretch: Stretch) -> bool:
    """Whether a stretch may change something about a row. Prices are not on the tick here: only whether is asked."""
    if isinstance(row, PaperTrigger):
        return reached_leg(row, stretch) is not None
    met = meet(row, stretch, tick=_ANY_TICK, friction=_AT_ONCE)
    return met.price is not None or met.triggered is not row.triggered
