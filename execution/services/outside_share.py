"""What an order outside the desk closed beyond the trade that took it in is handed on.

A broker squares off all that an account holds of an instrument in one order: the trades of several portfolios, and what
the owner bought by hand. The order stays with the trade that took it in, with its fills and its charges; what it closed
beyond that is booked out of there at its own price, into the other trades that it closed, the oldest first. What is
left was never ours. Nothing is bought back for it: the broker's position is flat.
"""

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from execution.identity import OF_THE_DESK, client_order_id
from execution.models import Fill, Group, Intent, Order
from execution.order_charges import HANDED_ON
from execution.services.events import note
from execution.services.fill_apply import fill_apply
from execution.services.order_adopt import OUTSIDE, held_at, opened_since
from execution.states import OrderState
from trading.domain.fills import FillFact
from trading.domain.orders import Reason, Side
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit


def hand_on(group: Group, orders: Sequence[Order], surplus: int) -> bool:
    """Of `surplus` units that more were closed than opened in a locked trade, hand on what outside orders closed beyond
    it. False where the desk's own exits did it; True also where somebody holds one of the other trades: later."""
    for order in orders:
        due = min(surplus, _beyond(group, order))
        if due > 0:
            return _share_out(group, order, due)
    return False


def _beyond(group: Group, order: Order) -> int:
    """Units of an outside order that its trade did not hold when it began to trade, and that were not handed on yet."""
    if not order.intent.dedupe_key.startswith(OUTSIDE) or not order.filled_quantity or order.side == group.side:
        return 0
    began = min(order.fills.filter(bust=None).values_list("filled_at", flat=True))
    held = held_at(group, began, but_for=order) * Side(group.side).sign
    gone = Fill.objects.filter(order__group=group, order__intent__dedupe_key__startswith=f"share:{order.pk}:")
    return order.filled_quantity - max(0, held) - sum(gone.values_list("quantity", flat=True))


def _share_out(group: Group, order: Order, due: int) -> bool:
    last: datetime = order.fills.latest("filled_at").filled_at
    others = (
        Group.objects.filter(
            portfolio__account=order.account_id, instrument=order.instrument_id, product=order.product,
            side=group.side, closed_at=None, opened_at__range=(opened_since(order.product, last), last),
        )
        .exclude(pk=group.pk)
        .order_by("created_at", "pk")
    )  # fmt: skip
    known = set(others.values_list("pk", flat=True))
    # Whoever holds one of them may wait for ours: they are taken as far as they are free, all or none.
    free = list(others.select_for_update(of=("self",), skip_locked=True).select_related("portfolio__account"))
    if known - {one.pk for one in free}:
        return True
    _book(group, order, Side(group.side), due)
    left = due
    for other in free:
        held = sum(Side(one.side).sign * one.filled_quantity for one in other.orders.all()) * Side(other.side).sign
        share = min(left, held)
        if share > 0:
            _book(other, order, Side(order.side), share)
            left -= share
            raise_alert(
                "OUTSIDE_EXIT", f"{order.instrument.ticker}: the position was reduced outside the desk.",
                owner_id=other.portfolio.owner_id, about=f"{order.pk}:{other.pk}",
            )  # fmt: skip
    if left:
        raise_alert(
            "OUTSIDE_BEYOND", f"{order.instrument.ticker}: {left} more were closed outside than our trades held.",
            level=Level.WARNING, owner_id=group.portfolio.owner_id, about=str(order.pk),
            next_step="Nothing is sent for it. Compare with the broker's position.",
        )  # fmt: skip
    after_commit("engine.group", account_id=order.account_id, group_id=str(group.pk))
    return True


def _book(group: Group, outside: Order, side: Side, quantity: int) -> None:
    """Its part of the outside order in one trade, as an order that no broker knows."""
    wall, account = timezone.now(), outside.account
    at: datetime = outside.fills.latest("filled_at").filled_at
    tries = Intent.objects.filter(group=group, dedupe_key__startswith=f"share:{outside.pk}:").count()
    intent = Intent.objects.create(
        portfolio_id=group.portfolio_id, group=group, source=Intent.Source.SYSTEM, reason=Reason.SQUARE_OFF,
        dedupe_key=f"share:{outside.pk}:{group.pk}:{tries}", instrument=outside.instrument, product=outside.product,
        side=side, order_type="MARKET", wanted_quantity=quantity, allowed_quantity=quantity,
        state=Intent.State.APPROVED, actor="the broker", created_at=wall, venue_at=at,
    )  # fmt: skip
    number = f"{OF_THE_DESK}S{outside.pk}-{group.pk.hex[:8]}-{tries}"
    order = Order.objects.create(
        client_order_id=client_order_id(account_id=account.pk, intent_id=intent.pk, live=account.is_live),
        intent=intent, group=group, portfolio_id=group.portfolio_id, account=account, instrument=outside.instrument,
        side=side, product=outside.product, order_type="MARKET", reason=Reason.SQUARE_OFF, quantity=quantity,
        state=OrderState.ACKED, broker_order_id=number, broker_message="A part of an order outside the desk.",
        valid_until=wall, kill_epoch=0, placed_at=at, created_at=wall, acked_at=wall,
    )  # fmt: skip
    note(order, "order.handed_on", source="ENGINE", of=outside.broker_order_id, quantity=quantity)
    order.save()
    fact = FillFact(number, "1", outside.instrument.symbol, side, quantity, outside.average_price, at, None)
    fill_apply(account_id=account.pk, fact=fact, source=HANDED_ON)
