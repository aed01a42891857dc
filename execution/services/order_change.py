"""Carry out, at the broker, the cancels and changes that were asked for. Both may be repeated without harm."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from execution.brokers.port import Acknowledged, BrokerGateway, Refused, SendResult
from execution.models import Order
from execution.services.events import note
from execution.services.order_room import hold_room
from execution.states import AT_EXCHANGE, PendingOp
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import OrderType
from trading.outbox import after_commit

ASK_AGAIN_AFTER = timedelta(seconds=5)
NOT_SENT_PAUSE = timedelta(seconds=1)
Wanted = tuple[int | None, Decimal | None, Decimal | None]
"""The quantity, the limit and the trigger that a change asks for; None: as it is."""
NOTHING: Wanted = (None, None, None)
NEVER_LEFT = ("NOT_SENT", "RATE_LIMITED", "BREAKER_OPEN", "AUTH")
"""Refusals that say nothing of the order: the call itself did not get through."""


def order_change(*, order_id: int, gateway: BrokerGateway) -> Order:
    """Send the pending operation of one order. The network is spoken to outside any transaction."""
    order = _begin(order_id)
    if order is None:
        return Order.objects.get(pk=order_id)
    broker_id = order.broker_order_id or ""
    if order.pending_op == PendingOp.CANCEL_SENT:
        operation, wanted, result = PendingOp.CANCEL_SENT, NOTHING, gateway.cancel(broker_id)
    else:
        operation, wanted = PendingOp.MODIFY_SENT, _wanted(order)
        quantity, limit, trigger = wanted
        result = gateway.modify(
            broker_id, order_type=OrderType(order.order_type), quantity=quantity, limit_price=limit,
            trigger_price=trigger,
        )  # fmt: skip
    crashpoint("exit.change_answered")
    return _end(order_id, operation, wanted, result)


@transaction.atomic
def _begin(order_id: int) -> Order | None:
    """Mark the operation as sent; None where there is nothing to send now."""
    order = Order.objects.lock(order_id)
    if order.broker_order_id is None or order.state not in AT_EXCHANGE:
        return None
    wall = timezone.now()
    recently = order.next_probe_at is not None and order.next_probe_at > wall
    if order.pending_op == PendingOp.NONE or recently:
        return None
    if order.pending_op == PendingOp.CANCEL_ASKED:
        order.pending_op = PendingOp.CANCEL_SENT
    elif order.pending_op == PendingOp.MODIFY_ASKED:
        order.pending_op = PendingOp.MODIFY_SENT
    order.next_probe_at = wall + ASK_AGAIN_AFTER
    note(order, order.pending_op.lower().replace("_", "."), source="ENGINE", **_said(order))
    order.save()
    return order


def _wanted(order: Order) -> Wanted:
    return order.pending_quantity, order.pending_limit_price, order.pending_trigger_price


def _said(order: Order) -> dict[str, Any]:
    prices = {"limit": order.pending_limit_price, "trigger": order.pending_trigger_price}
    return {"quantity": order.pending_quantity, **{name: price for name, price in prices.items() if price is not None}}


@transaction.atomic
def _end(order_id: int, operation: PendingOp, wanted: Wanted, result: SendResult) -> Order:
    order = Order.objects.lock(order_id)
    changed = isinstance(result, Acknowledged) and wanted != NOTHING and not order.is_final
    if changed and _wanted(order) == wanted:
        # Also where a cancel was asked for meanwhile: this is how it works until it is gone.
        note(order, "order.changed", source="ENGINE", **_said(order))
        order.take_change()
        if order.pending_op == operation:
            order.pending_op = PendingOp.NONE
        hold_room(order)
        order.save()
    if order.pending_op != operation:
        after_commit("engine.books", account_id=order.account_id)
        return order  # the book was faster, or somebody wants something else now
    match result:
        case Acknowledged():
            pass  # a cancel is done when the book says so
        case Refused(code=code) if code in NEVER_LEFT:
            note(order, "change.not_sent", source="ENGINE", applied=False, code=code)
            cancels = operation == PendingOp.CANCEL_SENT
            order.pending_op = PendingOp.CANCEL_ASKED if cancels else PendingOp.MODIFY_ASKED
            order.next_probe_at = timezone.now() + NOT_SENT_PAUSE
        case Refused(code=code, message=message):
            # Too late, most likely: it is filled or gone. The book will tell; then whoever asked decides again.
            note(order, "change.refused", source="ENGINE", code=code, message=message)
            order.pending_op = PendingOp.NONE
            order.forget_change()
            hold_room(order)
            order.broker_message = f"{code}: {message}"[:240]
        case _:
            note(order, "change.unknown", source="ENGINE", applied=False)
    order.save()
    after_commit("engine.books", account_id=order.account_id)
    return order
