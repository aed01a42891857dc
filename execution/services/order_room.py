"""The room under the limits that an entry holds: while a change of it is unconfirmed, that of the dearer of the two."""

from collections.abc import Mapping

from execution.models import Order
from risk.reserve import hold_anew
from trading.domain.money import to_paise
from trading.domain.orders import Reason


def hold_room(order: Order, *, caps: Mapping[str, int] | None = None) -> None:
    """Hold what is left of a locked entry, and of the other orders of its intent, each at the furthest price it may
    trade at (at the market: that of the decision); the caller saves the order.

    Raises NotAllowed where it takes more than `caps` leave (by bucket; None: what has happened is held in any case).
    """
    if order.reason != Reason.ENTRY:
        return
    others = Order.objects.filter(intent=order.intent_id).exclude(pk=order.pk).live()  # type: ignore[attr-defined]
    value = 0
    live = [one for one in (order, *others) if not one.is_final]
    for one in live:
        price = one.furthest_price or one.decision_price
        if price is None:
            return
        value += to_paise(price) * max(0, max(one.quantity, one.pending_quantity or 0) - one.filled_quantity)
    if live:
        hold_anew(intent_id=order.intent_id, value_paise=value, caps=caps)
