"""What is said about an order is written down, whether or not it changed anything."""

import json

from django.utils import timezone
from prometheus_client import Counter

from execution.models import Order
from execution.states import PendingOp
from trading.realtime.publish import publish
from trading.statements import tell

NOT_APPLIED = Counter(
    "tarazu_order_events_not_applied_total", "What was said of an order and could not change it", ["kind"]
)
# The order is locked, so nobody takes the same number.
APPEND = """
INSERT INTO execution_orderevent (order_id, seq, kind, source, from_state, to_state, applied, detail, at)
SELECT %(order)s, coalesce(max(seq), 0) + 1, %(kind)s, %(source)s, %(before)s, %(after)s, %(applied)s, %(detail)s,
       %(at)s
FROM execution_orderevent WHERE order_id = %(order)s
"""


def note(order: Order, kind: str, *, source: str, to_state: str | None = None, applied: bool = True, **detail) -> None:
    """Append one event to a locked order; with `to_state` and `applied` the order moves (and must be saved)."""
    before = order.state
    if applied and to_state is not None:
        order.state = to_state
        if order.is_final:
            # What has ended has nothing under way; should it turn up after all, its trade asks again.
            order.pending_op = PendingOp.NONE
            order.forget_change()
            order.done_at = order.done_at or timezone.now()
    tell(APPEND, {
        "order": order.pk, "kind": kind, "source": source, "before": str(before), "after": str(to_state or before),
        "applied": applied, "detail": json.dumps({key: str(value) for key, value in detail.items()}),
        "at": timezone.now(),
    })  # fmt: skip
    if not applied:
        NOT_APPLIED.labels(kind=kind).inc()
    else:
        told(order, kind)


def told(order: Order, kind: str) -> None:
    """The pages of its owner hear what an event has made of an order, once that has committed."""
    publish(order.portfolio.owner_id, "order", order=order.pk, group=str(order.group_id), state=order.state, event=kind)
