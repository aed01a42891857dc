"""One fill taken out of order, position, ledger and charges, as if it had not happened. The fill itself stays."""

from datetime import datetime

from django.utils import timezone

from execution.models import Fill, FillBust, Order
from execution.order_charges import sheet_of
from trading.domain.orders import Side
from trading.portfolio.booking import unbook_fill


def fill_reverse(order: Order, fill: Fill, *, reason: str, actor: str, now: datetime) -> FillBust:
    """Reverse a fill of a locked order, which must be saved. `now` is venue time."""
    bust = FillBust.objects.create(
        fill=fill, reason=reason[:200], actor=actor[:150], busted_at=now, created_at=timezone.now()
    )
    left, value = order.filled_quantity - fill.quantity, order.fill_value_paise - fill.value_paise
    refund = sheet_of(order, left, value, fill.filled_at) - sheet_of(
        order, order.filled_quantity, order.fill_value_paise, fill.filled_at
    )
    unbook_fill(
        portfolio_id=order.portfolio_id, instrument_id=order.instrument_id, product=order.product,
        side=Side(order.side), quantity=fill.quantity, value_paise=fill.value_paise, charges=refund,
        execution_key=f"bust:{fill.execution_key}"[:110], taken_back_at=now, left=lambda: _left(order),
    )  # fmt: skip
    order.filled_quantity, order.fill_value_paise = left, value
    order.charges_paise += refund.total
    return bust


def _left(order: Order) -> list[tuple[Side, int, int]]:
    """The fills that stand, of all orders that moved the same position, as they were booked."""
    rows = Fill.objects.filter(
        order__portfolio=order.portfolio_id, order__instrument=order.instrument_id, order__product=order.product,
        bust=None,
    ).order_by("pk").values_list("order__side", "quantity", "value_paise")  # fmt: skip
    return [(Side(side), quantity, value) for side, quantity, value in rows]
