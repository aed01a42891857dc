"""An order that was not ours takes its place in a trade.

The broker squares off an intraday position, or its owner sells by hand in the broker's app: the order reduces a
position that a trade of ours holds, so it belongs to that trade, with its fills. What opens something new, or traded
before the trade of ours began, is not ours to manage: the owner is told, and its fills stay parked.
"""

from datetime import UTC, datetime, time

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.port import BookOrder
from execution.identity import client_order_id
from execution.models import Fill, Group, Intent, Order, ParkedFill
from execution.order_charges import HANDED_ON
from execution.services.events import note
from execution.services.fill_apply import drain_parked
from execution.states import OrderState
from trading.domain.clock import IST
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import Product, Reason, Side
from trading.monitoring.alerts import Level, raise_alert
from trading.monitoring.models import Alert
from trading.outbox import after_commit
from trading.venue.sessions import exchange_date

EVER = datetime(1970, 1, 1, tzinfo=UTC)
OUTSIDE = "outside:"
"""How the wish begins that an adopted order is told to be of."""


@transaction.atomic
def order_adopt(*, account_id: int, news: BookOrder, source: str) -> Order | None:
    """Make an outside order part of the trade it reduces; None (and an alert) where there is no such trade."""
    if news.filled_quantity == 0:
        return None  # it may never trade; when it does we shall hear of it
    parked = ParkedFill.objects.filter(
        account_id=account_id, broker_order_id=news.broker_order_id, drained_at=None
    ).values_list("fact__filled_at", flat=True)  # fmt: skip
    traded_at = min((datetime.fromisoformat(at) for at in parked), default=None)
    if traded_at is None:
        after_commit("engine.books", account_id=account_id)
        return None  # its trades have not been read yet
    group = _reduced_by(account_id, news, traded_at)
    if group is None:
        _tell_once(account_id, news)
        return None
    intent, is_new = Intent.objects.get_or_create(
        portfolio=group.portfolio,
        dedupe_key=f"{OUTSIDE}{news.broker_order_id}",
        defaults={
            "group": group, "source": Intent.Source.SYSTEM, "reason": Reason.SQUARE_OFF, "instrument": group.instrument,
            "product": Product(group.product), "side": news.side, "order_type": "MARKET",
            "wanted_quantity": news.quantity, "allowed_quantity": news.quantity, "state": Intent.State.APPROVED,
            "actor": "the broker", "created_at": timezone.now(), "venue_at": news.updated_at or timezone.now(),
        },
    )  # fmt: skip
    if not is_new:
        return Order.objects.lock(intent.orders.get().pk)
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
    crashpoint("recon.adopted")
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


def _reduced_by(account_id: int, news: BookOrder, traded_at: datetime) -> Group | None:
    """The trade, locked, that held something of the other sign when this order traded; it may be over by now."""
    candidates = (
        Group.objects.select_for_update(of=("self",))
        .select_related("portfolio__account", "instrument")
        .filter(
            Q(closed_at=None) | Q(closed_at__gte=traded_at),
            portfolio__account_id=account_id, instrument__symbol=news.symbol, product=news.product,
            opened_at__range=(opened_since(news.product, traded_at), traded_at),
        )
        .order_by("created_at", "pk")
    )  # fmt: skip
    for group in candidates:
        if held_at(group, traded_at) * news.side.sign < 0:
            return group
    return None


def opened_since(product: str, traded_at: datetime) -> datetime:
    """When a trade must have been opened at the earliest to be closed by an order of that product: what is intraday and
    of an earlier day the broker squared off then, whether or not we saw it."""
    if product != Product.INTRADAY:
        return EVER
    return datetime.combine(exchange_date(traded_at), time.min, tzinfo=IST)


def held_at(group: Group, at: datetime, *, but_for: Order | None = None) -> int:
    """Signed units of a trade that an order could close which began to trade at that instant: all that was added by
    then, less what was closed before. Of `but_for` nothing counts, nor of what was handed on to another trade."""
    fills = Fill.objects.filter(order__group=group, bust=None, filled_at__lte=at).select_related("order")
    held = 0
    for fill in fills if but_for is None else fills.exclude(order=but_for).exclude(source=HANDED_ON):
        if fill.order.side == group.side or fill.filled_at < at:
            held += Side(fill.order.side).sign * fill.quantity
    return held


def _tell_once(account_id: int, news: BookOrder) -> None:
    """The book shows it at every reading; its owner, who placed it, needs to hear of it once."""
    key = f"EXTERNAL_ORDER:{owner_of(account_id)}:{news.broker_order_id}"
    if Alert.objects.filter(dedupe_key=key).exists():
        return
    raise_alert(
        "EXTERNAL_ORDER", f"An order for {news.symbol} was placed outside the desk.", owner_id=owner_of(account_id),
        about=news.broker_order_id, next_step="Manage it in the broker's app.", level=Level.WARNING,
    )  # fmt: skip


def owner_of(account_id: int) -> int:
    """The person whose account it is."""
    return BrokerAccount.objects.values_list("owner_id", flat=True).get(pk=account_id)
