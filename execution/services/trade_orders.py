"""What the steps of a trade share: to send an order of it, to resize one, to ask for its end. The trade is locked."""

from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from execution.lots import lots_given_up
from execution.models import Group, Intent, Mismatch, Order, PartExit
from execution.services.events import note
from execution.services.intent_create import intent_create
from execution.services.intent_judge import Wish
from execution.services.order_cancel import order_cancel
from execution.services.order_change import NEVER_LEFT
from execution.states import OrderState, PendingOp
from trading.domain.crashpoint import crashpoint
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.marketdata.listing.bands import Band, band_of
from trading.marketdata.models import Feed
from trading.marketdata.quotes import last_quote
from trading.marketdata.sessions import session_at
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit
from trading.venue.sessions import Phase, exchange_date

MOST_CHANGES = 24
"""Changes of one order; brokers refuse the twenty-sixth."""
EXIT_BAND = Decimal("0.005")
FURTHEST_REACH = 5
HELD_BACK_PAUSE = timedelta(seconds=5)
"""Wall time between two tries of an exit that risk held back."""
FRESH_S = 5


def protects(order: Order) -> bool:
    """A stop that waits at the broker, unlike an exit that is sent because a stop was passed."""
    return order.reason == Reason.STOP and order.trigger_price is not None


FAILED = frozenset({OrderState.REJECTED, OrderState.NOT_PLACED})


def never_left(order: Order) -> bool:
    """Refused on the way, without a word about the order itself."""
    return order.state == OrderState.REJECTED and order.broker_message.startswith(NEVER_LEFT)


def protected_limit(group: Group, side: Side, *, tries: int) -> Decimal | None:
    """A price at which an exit trades now, and not at any price; further with every try, within reason. None: no
    fresh price is known."""
    quote = last_quote(group.portfolio.account.feed, group.instrument.symbol)
    if quote is None or quote.age_s >= FRESH_S:
        return None
    reach = quote.last_price * EXIT_BAND * (1 + min(tries, FURTHEST_REACH))
    price = quote.last_price + side.sign * reach
    band = band_today(group, quote.traded_at)
    if band is not None and band[0] <= quote.last_price <= band[1]:  # the exchange takes no price outside it
        price = min(max(price, band[0]), band[1])
    return to_tick(price, tick=group.instrument.tick_size, side=side)


def band_today(group: Group, now: datetime) -> Band | None:
    """Outside it the exchange takes no price of the day; None: nobody told."""
    return band_of(Feed.objects.get(name=group.portfolio.account.feed), group.instrument, exchange_date(now))


def send(
    group: Group, *, reason: Reason, side: Side, quantity: int, key: str, order_type: OrderType,
    limit_price: Decimal | None, now: datetime, trigger_price: Decimal | None = None,
    part: PartExit | None = None, lots: Collection[str] = (),
) -> None:  # fmt: skip
    """Every try is an intent of its own; one that was held back is not repeated at once."""
    tries = Intent.objects.filter(group=group, dedupe_key__startswith=f"{key}:")
    last = tries.order_by("created_at").last()
    if last is not None and last.state == Intent.State.REFUSED and timezone.now() - last.created_at < HELD_BACK_PAUSE:
        return
    quantity = bounded(group, side, quantity)
    if quantity < 1:
        return
    intent = intent_create(
        portfolio=group.portfolio,
        wish=Wish(
            source=Intent.Source.SYSTEM, reason=reason, dedupe_key=f"{key}:{len(tries)}",
            actor=group.close_asked_by or (part.actor if part else "protection"), instrument=group.instrument,
            side=side, quantity=quantity, order_type=order_type, product=Product(group.product),
            limit_price=limit_price, trigger_price=trigger_price, group=group, part=part,
        ),
        now=now,
    )  # fmt: skip
    if intent.state == Intent.State.REFUSED:
        raise_alert(
            "EXIT_HELD_BACK", f"{group.instrument.ticker}: {intent.refusal}", level=Level.SEVERE,
            owner_id=group.portfolio.owner_id, about=str(group.pk), next_step="Read the verdicts of the intent.",
        )  # fmt: skip
        return
    if side != group.side:
        for order in intent.orders.order_by("child"):
            order.lot_relief = lots_given_up(group, order.quantity, first=lots)
            order.save(update_fields=["lot_relief"])


def bounded(group: Group, side: Side, quantity: int) -> int:
    """What may be sent of a way out: no more than the broker has, while a person compares the two sides."""
    most = Mismatch.objects.most_to_close(
        group.portfolio.account_id, group.instrument.symbol, group.product, side.opposite.sign
    )
    if most is None or most >= quantity:
        return quantity
    # Who has less cannot sell more: the broker's own figure binds while the two are compared by a person.
    raise_alert(
        "EXIT_CAPPED", f"{group.instrument.ticker}: {quantity} are held here, {most} at the broker.",
        level=Level.SEVERE, owner_id=group.portfolio.owner_id, about=str(group.pk),
        next_step="Decide on the reconciliation page.",
    )  # fmt: skip
    return most


def resize(stop: Order, quantity: int) -> None:
    order = Order.objects.lock(stop.pk)
    if order.pending_op == PendingOp.NONE and not order.is_final and ask_change(order, quantity=quantity):
        crashpoint("protect.resize_asked")


def move_stop(stop: Order, trigger: Decimal) -> bool:
    """Ask the broker to keep a stop at a nearer price: changed where it stands, so that it is there at every moment.
    False where it is not asked.

    Once for each price: where the broker would not, or has changed it as often as it may, it stays as it is and the
    engine alone watches the nearer one. Its limit stays: how far a fill may go is no less than it was.
    """
    order = Order.objects.lock(stop.pk)
    changes = order.events.filter(kind="change.asked")
    tried = changes.filter(detail__trigger=str(trigger)).exists()
    if order.pending_op != PendingOp.NONE or order.is_final or tried or changes.count() >= MOST_CHANGES:
        return False
    asked = ask_change(order, trigger_price=trigger)
    crashpoint("protect.move_asked")
    return asked


def ask_change(
    order: Order, *, quantity: int | None = None, limit_price: Decimal | None = None,
    trigger_price: Decimal | None = None,
) -> bool:  # fmt: skip
    """Ask for another quantity, limit or trigger of a locked order that has nothing under way. False where it was
    changed as often as the broker allows: it is cancelled instead, and whoever asked decides again once it is gone."""
    if order.events.filter(kind="change.asked").count() >= MOST_CHANGES:
        order_cancel(order_id=order.pk, actor="changed as often as the broker allows", now=order.placed_at)
        return False
    prices: dict[str, Any] = {"limit": limit_price, "trigger": trigger_price}
    told = {name: price for name, price in prices.items() if price is not None}
    note(order, "change.asked", source="ENGINE", quantity=quantity, **told)
    order.pending_op, order.next_probe_at = PendingOp.MODIFY_ASKED, None
    order.pending_quantity, order.pending_limit_price, order.pending_trigger_price = (
        quantity, limit_price, trigger_price
    )  # fmt: skip
    order.save()
    after_commit("engine.order", account_id=order.account_id, order_id=order.pk)
    return True


def ask_exit(group: Group, reason: Reason, actor: str) -> None:
    group.close_reason, group.close_asked_by = reason, actor
    group.save(update_fields=["close_reason", "close_asked_by"])
    after_commit("engine.group", account_id=group.portfolio.account_id, group_id=str(group.pk))


def market_open(group: Group, now: datetime) -> bool:
    feed = Feed.objects.get(name=group.portfolio.account.feed)
    session = session_at(feed, group.instrument, now)
    return session is not None and session.phase_at(now) is Phase.CONTINUOUS
