"""What is said about an order is written down, whether or not it changed anything."""

from django.db.models import Max
from django.utils import timezone

from execution.models import Order, OrderEvent
from trading.realtime.publish import publish


def note(order: Order, kind: str, *, source: str, to_state: str | None = None, applied: bool = True, **detail) -> None:
    """Append one event to a locked order; with `to_state` and `applied` the order moves (and must be saved)."""
    last = order.events.aggregate(last=Max("seq"))["last"] or 0
    before = order.state
    if applied and to_state is not None:
        order.state = to_state
        if order.is_final and order.done_at is None:
            order.done_at = timezone.now()
    OrderEvent.objects.create(
        order=order, seq=last + 1, kind=kind, source=source, from_state=before, to_state=to_state or before,
        applied=applied, detail={key: str(value) for key, value in detail.items()}, at=timezone.now(),
    )  # fmt: skip
    if applied:
        publish(
            order.portfolio.owner_id, "order", order=order.pk, group=str(order.group_id), state=order.state, event=kind
        )
