"""Is there money for it?"""

from decimal import Decimal

from risk.gates.finding import Finding, Limits, Snapshot, up_to
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent, Product
from trading.venue.margins import margin_required

CUSHION = Decimal("1.05")


def margin(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """What the order blocks, and a twentieth more, must be free. What is open is counted at the intraday rate."""
    unit = margin_required(product=intent.product, quantity=1, price=intent.price) * CUSHION
    one_rupee = margin_required(product=Product.INTRADAY, quantity=1, price=Decimal(1))
    free = snapshot.equity_paise - int(snapshot.exposure_paise * one_rupee)
    room = max(0, free) // to_paise(unit) if unit > 0 else 0
    return up_to("MARGIN", room, intent, limit=f"₹{free // 100}", what="the free margin")
