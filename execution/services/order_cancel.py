"""Ask for a cancel. Asked for is not done: done is when the broker's book says so."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from execution.models import Order
from execution.services.events import note
from execution.states import OrderState, PendingOp
from trading.domain.errors import NotFound
from trading.outbox import after_commit


@transaction.atomic
def order_cancel(*, order_id: int, actor: str, now: datetime) -> bool:
    """True when the cancel is newly asked for; False when it was asked before, or there is nothing left to cancel.

    An order still in the queue is withdrawn at once: it never left.
    """
    if not Order.objects.filter(pk=order_id).exists():
        raise NotFound("UNKNOWN_ORDER", "There is no such order.")
    order = Order.objects.lock(order_id)
    if order.is_final or order.pending_op in (PendingOp.CANCEL_ASKED, PendingOp.CANCEL_SENT):
        return False
    if order.state == OrderState.QUEUED:
        note(order, "order.withdrawn", source="USER", to_state=OrderState.WITHDRAWN, by=actor)
        order.broker_message = f"Withdrawn by {actor}."
    else:
        note(order, "cancel.asked", source="USER", by=actor)
        if order.pending_op != PendingOp.MODIFY_SENT:
            order.forget_change()  # one that was sent may still take effect
        order.pending_op, order.next_probe_at = PendingOp.CANCEL_ASKED, None
        order.cancel_asked_at = timezone.now()
        after_commit("engine.order", account_id=order.account_id, order_id=order.pk)
    order.save()
    after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))
    return True
