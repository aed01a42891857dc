"""How much of the portfolio may stand in one thing, and in all of them."""

from risk.gates.finding import Finding, Limits, Snapshot, plain, up_to
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent


def _units(paise: int, intent: OrderIntent) -> int:
    price = to_paise(intent.price)
    return max(0, paise) // price if price > 0 else 0


def position_size(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Keep one instrument within its share of equity."""
    cap = int(snapshot.equity_paise * limits.position_size_pct / 100)
    room = _units(cap - snapshot.symbol_exposure_paise, intent)
    what = f"{plain(limits.position_size_pct)} % of equity in one instrument"
    return up_to("POSITION_SIZE", room, intent, limit=f"₹{cap // 100}", what=what)


def total_exposure(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Keep all positions together within their share of equity."""
    cap = int(snapshot.equity_paise * limits.total_exposure_pct / 100)
    room = _units(cap - snapshot.exposure_paise, intent)
    what = f"{plain(limits.total_exposure_pct)} % of equity in all positions"
    return up_to("TOTAL_EXPOSURE", room, intent, limit=f"₹{cap // 100}", what=what)


def order_value(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """No single order above the cap in rupees, whatever the equity."""
    room = _units(to_paise(limits.max_order_value_rupees), intent)
    shown = f"₹{limits.max_order_value_rupees:.0f}"
    return up_to("ORDER_VALUE", room, intent, limit=shown, what=f"{shown} an order")
