"""The lots of a trade: what its fills brought in, and which of them an exit gives up."""

from collections.abc import Collection

from execution.models import Fill, Group, Order
from trading.portfolio.lots import Lot, held_lots, relieve


def lots_of(group: Group) -> list[Lot]:
    """What is still held of each fill that built the trade, oldest first."""
    fills = Fill.objects.filter(order__group=group, bust=None).select_related("order").order_by("pk")
    bought = [Lot(fill.execution_key, fill.quantity) for fill in fills if fill.order.side == group.side]
    exits = Order.objects.filter(group=group, filled_quantity__gt=0).exclude(side=group.side)
    return held_lots(bought, [_carried_out(order) for order in exits.order_by("pk")])


def lots_given_up(group: Group, quantity: int, *, first: Collection[str] = ()) -> list[list[object]]:
    """[execution, units] of what an exit of `quantity` takes, to be stored on it before it is sent.

    The lots called `first` go before the others, else the oldest do; what a working exit will take is spoken for.
    Empty where that much is not held in lots: more was closed than opened, and the way back takes from nothing.
    """
    lots = lots_of(group)
    if quantity > sum(lot.quantity for lot in lots):
        return []
    promised: dict[str, int] = {}
    for order in Order.objects.filter(group=group).exclude(side=group.side).live():  # type: ignore[attr-defined]
        if order.trigger_price is None:
            for lot in _not_carried_out(order):
                promised[lot.name] = promised.get(lot.name, 0) + lot.quantity
    free = [Lot(lot.name, max(0, lot.quantity - promised.get(lot.name, 0))) for lot in lots]
    if quantity <= sum(lot.quantity for lot in free):
        lots = [lot for lot in free if lot.quantity]
    lots.sort(key=lambda lot: lot.name not in first)
    return [[lot.name, lot.quantity] for lot in relieve(lots, quantity)]


def _not_carried_out(order: Order) -> list[Lot]:
    done = {lot.name: lot.quantity for lot in _carried_out(order)}
    return [Lot(name, quantity - done.get(name, 0)) for name, quantity in order.lot_relief]


def _carried_out(order: Order) -> list[Lot]:
    """What an exit has really taken: as far as it is filled, in the order that was stored on it."""
    left, taken = order.filled_quantity, []
    for name, quantity in order.lot_relief:
        part = min(quantity, left)
        if part:
            taken.append(Lot(name, part))
        left -= part
    return taken
