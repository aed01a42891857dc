"""An order that was not ours takes its place in a trade.

The broker squares off an intraday position, or its owner sells by hand in the broker's app: the order reduces a position
that a trade of ours holds, so it belongs to that trade, with its fills. What opens something new is not ours to manage:
the owner is told, and its fills stay parked.
"""

from django.db import transaction
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.port import BookOrder
from execution.identity import client_order_id
from execution.models import Group, Intent, Order
from execution.services.events import note
from execution.services.fill_apply import drain_parked
from execution.states import OrderState
from trading.domain.orders import Product, Reason
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit


@transaction.atomic
def order_adopt(*, account_id: int, news: BookOrder, source: str) -> Order | None:
    """Make an outside order part of the trade it reduces; None (and an alert) where there is no such trade."""
    if news.filled_quantity == 0:
        return None  # it may never trade; when it does we shall hear of it
    group = (
        Group.objects.select_for_update(of=("self",))
        .select_related("portfolio__account", "instrument")
        .filter(
            portfolio__account_id=account_id, instrument__symbol=news.symbol, product=news.product,
            side=news.side.opposite,
        )
        .exclude(state=Group.State.CLOSED)
        .first()
    )  # fmt: skip
    if group is None:
        owner_id = _owner(account_id)
        raise_alert(
            "EXTERNAL_ORDER", f"An order for {news.symbol} was placed outside the desk.", owner_id=owner_id,
            about=news.broker_order_id, next_step="Manage it in the broker's app.", level=Level.WARNING,
        )  # fmt: skip
        return None
    intent, is_new = Intent.objects.get_or_create(
        portfolio=group.portfolio,
        dedupe_key=f"outside:{news.broker_order_id}",
        defaults={
            "group": group, "source": Intent.Source.SYSTEM, "reason": Reason.SQUARE_OFF, "instrument": group.instrument,
            "product": Product(group.product), "side": news.side, "order_type": "MARKET",
            "wanted_quantity": news.quantity, "allowed_quantity": news.quantity, "state": Intent.State.APPROVED,
            "actor": "the broker", "created_at": timezone.now(), "venue_at": news.updated_at or timezone.now(),
        },
    )  # fmt: skip
    if not is_new:
        return Order.objects.lock(intent.order.pk)
    wall = timezone.now()
    account = group.portfolio.account
    order = Order.objects.create(
        client_order_id=client_order_id(account_id=account_id, intent_id=intent.pk, live=account.is_live),
        intent=intent, group=group, portfolio=group.portfolio, account=account, instrument=group.instrument,
        side=news.side, product=group.product, order_type="MARKET", reason=Reason.SQUARE_OFF, quantity=news.quantity,
        state=OrderState.ACKED, broker_order_id=news.broker_order_id, broker_message="Placed outside the desk.",
        valid_until=wall, kill_epoch=0, placed_at=intent.venue_at, created_at=wall, acked_at=wall,
    )  # fmt: skip
    note(order, "order.adopted", source=source, broker_id=news.broker_order_id)
    raise_alert(
        "OUTSIDE_EXIT", f"{group.instrument.ticker}: the position was reduced outside the desk.",
        owner_id=group.portfolio.owner_id, about=str(order.pk),
    )  # fmt: skip
    order = Order.objects.lock(order.pk)
    drain_parked(order)
    order.save()
    after_commit("engine.books", account_id=account_id)
    after_commit("engine.group", account_id=account_id, group_id=str(group.pk))
    return order


def _owner(account_id: int) -> int:
    return BrokerAccount.objects.values_list("owner_id", flat=True).get(pk=account_id)
