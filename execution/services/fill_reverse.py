"""One fill taken out of order, position, ledger and charges, as if it had not happened. The fill itself stays."""

from datetime import datetime

from django.utils import timezone

from execution.models import Fill, FillBust, Order
from execution.order_charges import sheet_of
from trading.domain.orders import Side
from trading.portfolio.booking import book_fill


def fill_reverse(order: Order, fill: Fill, *, reason: str, actor: str, now: datetime) -> FillBust:
    """Reverse a fill of a locked order, which must be saved. `now` is venue time."""
    bust = FillBust.objects.create(
        fill=fill, reason=reason[:200], actor=actor[:150], busted_at=now, created_at=timezone.now()
    )
    left, value = order.filled_quantity - fill.quantity, order.fill_value_paise - fill.value_paise
    refund = sheet_of(order, left, value, fill.filled_at) - sheet_of(
        order, order.filled_quantity, order.fill_value_paise, fill.filled_at
    )
    book_fill(
        portfolio_id=order.portfolio_id, instrument_id=order.instrument_id, product=order.product,
        side=Side(order.side).opposite, quantity=fill.quantity, value_paise=fill.value_paise, charges=refund,
        execution_key=f"bust:{fill.execution_key}"[:110], filled_at=now,
    )  # fmt: skip
    order.filled_quantity, order.fill_value_paise = left, value
    order.charges_paise += refund.total
    return bust
