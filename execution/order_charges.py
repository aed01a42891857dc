"""What the fills of an order cost, by the charges of its broker on that day."""

from datetime import datetime

from accounts.models import BrokerAccount
from execution.models import Order
from trading.portfolio.booking import charge_segment
from trading.venue.charges import ChargeBroker, ChargeSheet, charges_for_order
from trading.venue.sessions import exchange_date

HANDED_ON = "SHARE"
"""Source of a fill that is a part of another order's (see `services/outside_share.py`): that one bears its charges."""


def charge_broker(account: BrokerAccount) -> ChargeBroker:
    """Whose prices an account pays: its broker's, on paper as for money; the sandbox exchange has its own."""
    return ChargeBroker(account.broker) if account.has_market_prices else ChargeBroker.SANDBOX


def sheet_of(order: Order, quantity: int, value_paise: int, filled_at: datetime) -> ChargeSheet:
    """The charges of `quantity` units worth `value_paise` in all, as one order."""
    return charges_for_order(
        broker=charge_broker(order.account),
        segment=charge_segment(order.product),
        side=order.side,
        quantity=quantity,
        value_paise=value_paise,
        on_date=exchange_date(filled_at),
    )
