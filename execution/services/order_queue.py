"""An approved intent becomes orders: one, or as many as the exchange's freeze quantity asks for.

Risk was asked once, for the whole. Its orders are its children: each has its number among them, and a name that follows
from it, so that no repeat makes another; together they never ask for more than the intent was allowed.
"""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from execution.identity import client_order_id
from execution.models import Intent, Order
from execution.services.events import note
from execution.states import OrderState
from trading.domain.orders import Reason
from trading.outbox import after_commit
from trading.statements import insert
from trading.venue.precision import slice_quantity

ENTRY_VALID_S = 30
EXIT_VALID_S = 300


def order_queue(*, intent: Intent, kill_epoch: int, decision_price: Decimal | None) -> list[Order]:
    """Write all orders of an approved intent; the caller's transaction makes them real together."""
    instrument, quantity = intent.instrument, intent.allowed_quantity
    lot, freeze = instrument.lot_size, instrument.spec.freeze_quantity
    if quantity % lot or (freeze is not None and freeze < lot):
        lot = 1  # only of an exit: a part of a lot that is held must be able to leave
    pieces = slice_quantity(quantity, freeze, lot)
    return [
        _write(intent, child, piece, kill_epoch=kill_epoch, decision_price=decision_price)
        for child, piece in enumerate(pieces)
    ]


def _write(intent: Intent, child: int, quantity: int, *, kill_epoch: int, decision_price: Decimal | None) -> Order:
    account = intent.portfolio.account
    wall = timezone.now()
    order = Order(
        client_order_id=client_order_id(account_id=account.pk, intent_id=intent.pk, live=account.is_live, child=child),
        intent=intent,
        child=child,
        group=intent.group,
        portfolio=intent.portfolio,
        account=account,
        instrument=intent.instrument,
        side=intent.side,
        product=intent.product,
        order_type=intent.order_type,
        reason=intent.reason,
        quantity=quantity,
        limit_price=intent.limit_price,
        trigger_price=intent.trigger_price,
        state=OrderState.QUEUED,
        valid_until=wall + timedelta(seconds=ENTRY_VALID_S if intent.reason == Reason.ENTRY else EXIT_VALID_S),
        kill_epoch=kill_epoch,
        decision_price=decision_price,
        placed_at=intent.venue_at,
        created_at=wall,
    )
    insert(order)
    # The engine first, then the pages.
    after_commit("engine.order", account_id=account.pk, order_id=order.pk, queued=True)
    note(order, "order.queued", source="RISK", quantity=order.quantity, reason=order.reason)
    return order
