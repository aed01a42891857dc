"""How much of the portfolio may stand in one thing, and in all of them."""

from risk.gates.finding import Finding, Limits, Snapshot, passed, plain, rejected, up_to
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent
from trading.venue.precision import slice_quantity


def _units(paise: int, intent: OrderIntent) -> int:
    price = to_paise(intent.price)
    return max(0, paise) // price if price > 0 else 0


def position_size(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Keep one instrument within its share of equity; an option's premium within a smaller one."""
    share = limits.option_position_pct if intent.is_option else limits.position_size_pct
    cap = int(snapshot.equity_paise * share / 100)
    room = _units(cap - snapshot.symbol_exposure_paise, intent)
    what = f"{plain(share)} % of equity in one {'option' if intent.is_option else 'instrument'}"
    return up_to("POSITION_SIZE", room, intent, limit=f"₹{cap // 100}", what=what)


def options_exposure(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Keep all premiums together within their share of equity."""
    if not intent.is_option:
        return passed("OPTIONS_EXPOSURE", intent.quantity, message="No option.")
    cap = int(snapshot.equity_paise * limits.options_exposure_pct / 100)
    room = _units(cap - snapshot.options_exposure_paise, intent)
    what = f"{plain(limits.options_exposure_pct)} % of equity in option premiums"
    return up_to("OPTIONS_EXPOSURE", room, intent, limit=f"₹{cap // 100}", what=what)


def total_exposure(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Keep all positions together within their share of equity; above the hard cap nothing is opened at all."""
    hard = int(snapshot.equity_paise * limits.hard_exposure_pct / 100)
    if snapshot.exposure_paise >= hard:
        message = f"{plain(limits.hard_exposure_pct)} % of equity or more are exposed: the hard cap."
        shown = f"₹{snapshot.exposure_paise // 100}"
        return rejected("HARD_EXPOSURE", value=shown, limit=f"₹{hard // 100}", message=message)
    cap = min(hard, int(snapshot.equity_paise * limits.total_exposure_pct / 100))
    room = _units(cap - snapshot.exposure_paise, intent)
    what = f"{plain(limits.total_exposure_pct)} % of equity in all positions"
    return up_to("TOTAL_EXPOSURE", room, intent, limit=f"₹{cap // 100}", what=what)


def cash_reserve(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """A part of equity is never put to work: what is bought outright comes out of the rest."""
    reserve = int(snapshot.equity_paise * limits.cash_reserve_pct / 100)
    free = snapshot.equity_paise - snapshot.exposure_paise - reserve
    what = f"{plain(limits.cash_reserve_pct)} % of equity kept in cash"
    return up_to("CASH_RESERVE", _units(free, intent), intent, limit=f"₹{reserve // 100}", what=what)


def day_value(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """All that is opened in one day, added up, stays within a multiple of equity."""
    cap = int(snapshot.equity_paise * limits.day_value_pct / 100)
    room = _units(cap - snapshot.opened_today_paise, intent)
    what = f"{plain(limits.day_value_pct)} % of equity opened in one day"
    return up_to("DAY_VALUE", room, intent, limit=f"₹{cap // 100}", what=what)


def order_value(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """No single order above the cap in rupees, whatever the equity."""
    room = _units(to_paise(limits.max_order_value_rupees), intent)
    shown = f"₹{limits.max_order_value_rupees:.0f}"
    return up_to("ORDER_VALUE", room, intent, limit=shown, what=f"{shown} an order")


def order_quantity(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """No single order above the cap in units."""
    most = limits.max_order_quantity
    return up_to("ORDER_QUANTITY", most, intent, limit=most, what=f"{most} units an order")


def freeze_quantity(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """What is above the exchange's freeze quantity is cut into orders that it takes; one lot must be below it."""
    freeze = intent.freeze_quantity
    if freeze is None:
        return passed("FREEZE_QUANTITY", intent.quantity, message="The exchange names no freeze quantity.")
    if intent.lot_size > freeze:
        message = f"One lot of {intent.lot_size} is above the exchange's freeze quantity."
        return rejected("FREEZE_QUANTITY", value=intent.lot_size, limit=freeze, message=message)
    orders = len(slice_quantity(intent.quantity, freeze, intent.lot_size))
    message = "In one order." if orders == 1 else f"In {orders} orders that the exchange takes."
    return passed("FREEZE_QUANTITY", intent.quantity, value=intent.quantity, limit=freeze, message=message)
