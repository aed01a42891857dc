"""What the fills of an order cost, by the charges of its broker on that day."""

from datetime import datetime

from execution.models import Order
from trading.portfolio.booking import charge_segment
from trading.venue.charges import ChargeSheet, charges_for_order
from trading.venue.sessions import exchange_date


def sheet_of(order: Order, quantity: int, value_paise: int, filled_at: datetime) -> ChargeSheet:
    """The charges of `quantity` units worth `value_paise` in all, as one order."""
    return charges_for_order(
        broker="SANDBOX" if not order.account.is_live else order.account.broker,
        segment=charge_segment(order.product),
        side=order.side,
        quantity=quantity,
        value_paise=value_paise,
        on_date=exchange_date(filled_at),
    )
