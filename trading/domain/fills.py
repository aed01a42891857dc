"""What a venue says happened."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.domain.orders import Side


@dataclass(frozen=True, slots=True)
class FillFact:
    """One execution, as the broker reports it. Quantity in units, price in rupees a unit, instant in UTC."""

    broker_order_id: str
    broker_trade_id: str
    symbol: str
    side: Side
    quantity: int
    price: Decimal
    filled_at: datetime
    client_order_id: str | None = None
