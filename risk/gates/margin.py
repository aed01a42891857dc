"""Is there money for it?"""

from decimal import Decimal

from risk.gates.finding import Finding, Limits, Snapshot, rejected, up_to
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent, Product
from trading.venue.margins import margin_required


def margin(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """What the order blocks, and a cushion more, must be free: by our own reckoning, and by the broker's funds where
    they are known. What is open is counted at the intraday rate."""
    needed = _unit_margin(intent)
    if needed is None:
        message = f"The margin of {intent.symbol} depends on the whole portfolio; the broker has not named it."
        return rejected("MARGIN_UNKNOWN", value=intent.product, message=message)
    unit = needed * (1 + limits.margin_cushion_pct / 100)
    one_rupee = margin_required(product=Product.INTRADAY, quantity=1, price=Decimal(1))
    free = snapshot.equity_paise - int(snapshot.exposure_paise * one_rupee)
    whose = "the free margin"
    if snapshot.broker_free_paise is not None and snapshot.broker_free_paise < free:
        free, whose = snapshot.broker_free_paise, "the broker's free funds"
    room = max(0, free) // to_paise(unit) if unit > 0 else 0
    return up_to("MARGIN", room, intent, limit=f"₹{free // 100}", what=whose)


def _unit_margin(intent: OrderIntent) -> Decimal | None:
    """Rupees blocked for one unit: as the broker says, else by product; a bought option costs its premium."""
    if intent.unit_margin is not None:
        return intent.unit_margin
    if intent.is_option and intent.side.sign > 0:
        return intent.price
    if intent.product not in (Product.INTRADAY, Product.CNC) or intent.segment != "CM":
        return None
    return margin_required(product=intent.product, quantity=1, price=intent.price)
