"""Carry out, at the broker, the cancels and changes that were asked for. Both may be repeated without harm."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from execution.brokers.port import Acknowledged, BrokerGateway, Refused, SendResult
from execution.models import Order
from execution.services.events import note
from execution.states import AT_EXCHANGE, PendingOp
from trading.domain.orders import OrderType
from trading.outbox import after_commit

ASK_AGAIN_AFTER = timedelta(seconds=5)


def order_change(*, order_id: int, gateway: BrokerGateway) -> Order:
    """Send the pending operation of one order. The network is spoken to outside any transaction."""
    order = _begin(order_id)
    if order is None:
        return Order.objects.get(pk=order_id)
    broker_id = order.broker_order_id or ""
    if order.pending_op == PendingOp.CANCEL_SENT:
        result = gateway.cancel(broker_id)
    else:
        result = gateway.modify(broker_id, order_type=OrderType(order.order_type), quantity=order.pending_quantity)
    return _end(order_id, order.pending_op, result)


@transaction.atomic
def _begin(order_id: int) -> Order | None:
    """Mark the operation as sent; None where there is nothing to send now."""
    order = Order.objects.lock(order_id)
    if order.broker_order_id is None or order.state not in AT_EXCHANGE:
        return None
    wall = timezone.now()
    recently = order.next_probe_at is not None and order.next_probe_at > wall
    if order.pending_op == PendingOp.CANCEL_ASKED:
        order.pending_op = PendingOp.CANCEL_SENT
    elif order.pending_op == PendingOp.MODIFY_ASKED:
        order.pending_op = PendingOp.MODIFY_SENT
    elif order.pending_op == PendingOp.NONE or recently:
        return None
    order.next_probe_at = wall + ASK_AGAIN_AFTER
    note(order, order.pending_op.lower().replace("_", "."), source="ENGINE", quantity=order.pending_quantity)
    order.save()
    return order


@transaction.atomic
def _end(order_id: int, operation: str, result: SendResult) -> Order:
    order = Order.objects.lock(order_id)
    if order.pending_op != operation:
        return order  # the book was faster
    match result:
        case Acknowledged():
            if operation == PendingOp.MODIFY_SENT and order.pending_quantity:
                note(order, "order.changed", source="ENGINE", quantity=order.pending_quantity)
                order.quantity = order.pending_quantity
                order.pending_op, order.pending_quantity = PendingOp.NONE, None
        case Refused(code=code, message=message):
            # Too late, most likely: it is filled or gone. The book will tell; then whoever asked decides again.
            note(order, "change.refused", source="ENGINE", code=code, message=message)
            order.pending_op, order.pending_quantity = PendingOp.NONE, None
            order.broker_message = f"{code}: {message}"[:240]
        case _:
            note(order, "change.unknown", source="ENGINE", applied=False)
    order.save()
    after_commit("engine.books", account_id=order.account_id)
    return order
