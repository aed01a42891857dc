"""The room under the limits that an entry holds: while a change of it is unconfirmed, that of the dearer of the two."""

from collections.abc import Mapping

from execution.models import Order
from risk.reserve import hold_anew
from trading.domain.money import to_paise
from trading.domain.orders import Reason


def hold_room(order: Order, *, caps: Mapping[str, int] | None = None) -> None:
    """Hold what is left of a locked entry at the furthest price it may trade at; the caller saves the order.

    Raises NotAllowed where it takes more than `caps` leave (by bucket; None: what has happened is held in any case).
    """
    price = order.furthest_price if order.reason == Reason.ENTRY and not order.is_final else None
    if price is not None:
        left = max(order.quantity, order.pending_quantity or 0) - order.filled_quantity
        hold_anew(intent_id=order.intent_id, value_paise=to_paise(price) * max(0, left), caps=caps)
