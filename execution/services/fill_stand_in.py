"""The book says how much of an order traded, and the trades do not come: one fill stands in for them until they do.

Its name follows from the order, the two sums it lies between and how many went before it, so that a restart or a
repeated reading makes the same fill and not a second one. When real trades come, it makes room for them in the same
transaction; what they do not cover yet is stood in for anew. Position and protection never wait for a trade number.
"""

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from execution.brokers.port import BookOrder
from execution.identity import execution_key
from execution.models import Fill, Order
from execution.services.events import note
from trading.domain.fills import FillFact
from trading.domain.money import to_paise
from trading.domain.orders import Side

PATIENCE_S = 20.0
"""Wall seconds that the trade book may stay behind the order book: several readings of both."""
CENT_OF_A_PAISA = Decimal("0.0001")


def stand_ins_of(order: Order) -> list[Fill]:
    """The fills of an order that stand in for trades still to come."""
    return list(order.fills.filter(synthetic=True, bust=None).order_by("pk"))


def stand_in_due(order: Order, news: BookOrder, *, source: str, patience_s: float) -> FillFact | None:
    """What to book of a locked order of which the book says more than our trades; None while they may still come.

    The first look is written down, so that patience survives a restart. A book that names no average has no price to
    book, and none is invented.
    """
    if not news.average_price or news.average_price <= 0:
        return None
    ahead = order.events.filter(kind="order.ahead", detail__filled=str(news.filled_quantity)).first()
    if ahead is None:
        note(order, "order.ahead", source=source, filled=news.filled_quantity, booked=order.filled_quantity)
        return None
    if timezone.now() - ahead.at < timedelta(seconds=patience_s):
        return None
    total = to_paise(news.average_price * news.filled_quantity)
    return stand_in(order, upto=news.filled_quantity, value_paise=total, at=news.updated_at or order.placed_at)


def stand_in(order: Order, *, upto: int, value_paise: int, at: datetime) -> FillFact:
    """The fill between what is booked and a sum of `upto` units worth `value_paise` in all."""
    quantity = upto - order.filled_quantity
    rest = value_paise - order.fill_value_paise
    if rest <= 0:  # the sums disagree by more than the rest is worth: then at the average of all
        rest = value_paise * quantity // upto
    price = max((Decimal(rest) / 100 / quantity).quantize(CENT_OF_A_PAISA), CENT_OF_A_PAISA)
    # Of two trades of one size the first leaves to stand in for what lies between the very sums that one did before.
    went = order.fills.filter(synthetic=True, bust__isnull=False).count()
    name = hashlib.blake2b(f"{order.pk}:{order.filled_quantity}:{upto}:{went}".encode(), digest_size=8).hexdigest()
    return FillFact(
        order.broker_order_id or "", f"SUM-{name}", order.instrument.symbol, Side(order.side), quantity, price, at,
        order.client_order_id,
    )  # fmt: skip


def key_of(order: Order, fact: FillFact) -> str:
    return execution_key(
        account_id=order.account_id, broker_order_id=fact.broker_order_id, broker_trade_id=fact.broker_trade_id,
        filled_at=fact.filled_at,
    )  # fmt: skip


def hand_over_lots(order: Order, gone: list[Fill], came: list[Fill]) -> None:
    """Exits name the fills they give up: those that named a stand-in name what came in its place."""
    names = {fill.execution_key for fill in gone}
    free = [[fill.execution_key, fill.quantity] for fill in came]
    for out in Order.objects.filter(group=order.group_id).exclude(side=order.side).order_by("pk"):
        if names.isdisjoint(name for name, _ in out.lot_relief):
            continue
        relief: list[list[object]] = []
        for name, quantity in out.lot_relief:
            if name not in names:
                relief.append([name, quantity])
                continue
            while quantity and free:
                part = min(quantity, free[0][1])
                relief.append([free[0][0], part])
                quantity, free[0][1] = quantity - part, free[0][1] - part
                if not free[0][1]:
                    free.pop(0)
        out.lot_relief = relief
        out.save(update_fields=["lot_relief"])
