"""Broker news about an order: from the socket or from the book, early, late, twice, in any order."""

from collections.abc import Collection
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from execution.brokers.port import BookOrder, BrokerStatus
from execution.identity import is_ours
from execution.models import Group, Order, ParkedFill
from execution.services.events import note
from execution.services.fill_apply import book_sum, drain_parked
from execution.services.fill_stand_in import PATIENCE_S
from execution.services.group_reopen import group_reopen
from execution.services.order_adopt import order_adopt, owner_of
from execution.services.order_room import hold_room
from execution.services.order_submit import bind, bind_to_the_book
from execution.states import AT_EXCHANGE, ORDER_MOVES, REVIVABLE, OrderState, PendingOp
from risk.reserve import retake
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import OrderType, Reason
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.outbox import after_commit
from trading.statements import store

STATE_OF = {
    BrokerStatus.TRANSIT: OrderState.ACKED,
    BrokerStatus.PENDING: OrderState.OPEN,
    BrokerStatus.FILLED: OrderState.FILLED,
    BrokerStatus.CANCELLED: OrderState.CANCELLED,
    BrokerStatus.REJECTED: OrderState.REJECTED,
    BrokerStatus.EXPIRED: OrderState.EXPIRED,
}


@transaction.atomic
def order_update(
    *, account_id: int, news: BookOrder, source: str, stand_in_after_s: float = PATIENCE_S,
    shown: Collection[str] = (),
) -> Order | None:  # fmt: skip
    """Apply what the broker says of one order. None when the order is not ours and touches no trade of ours. `shown`:
    all numbers of the book that says it.

    An end is believed only once the fills that belong to it are booked: until then the trade book is asked, so that
    nothing is ever sized from an order whose fills are still on their way.
    """
    order = Order.objects.lock_named(
        account_id=account_id, number=news.broker_order_id, tag=news.client_order_id
    )  # fmt: skip
    if order is None:
        if is_ours(news.client_order_id):
            # Another desk on this account, or rows that a restored backup has lost. Not guessed at: told.
            raise_alert(
                "UNKNOWN_TAG", f"The broker has an order for {news.symbol} with a tag of the desk's that no row knows.",
                level=Level.SEVERE, owner_id=owner_of(account_id), about=news.broker_order_id,
                next_step="Manage it in the broker's app.",
            )  # fmt: skip
            return None
        return order_adopt(account_id=account_id, news=news, source=source)
    if shown and news.client_order_id == order.client_order_id:
        bind_to_the_book(order, news.broker_order_id, shown=shown)
    bind(order, news.broker_order_id)
    if order.broker_order_id != news.broker_order_id:
        order.save()
        return order
    drain_parked(order)
    target = STATE_OF[news.status]
    missing = news.filled_quantity > order.filled_quantity
    if missing and source == "BOOK" and book_sum(order, news, source=source, patience_s=stand_in_after_s) is not None:
        missing = False
    stale = (
        order.broker_updated_at is not None
        and news.updated_at is not None
        and news.updated_at < order.broker_updated_at
        and not news.status.is_final
    )
    before = (order.state, order.pending_op, order.quantity)
    price_before = order.limit_price
    revives = _revives(order, news, source)
    if revives:
        raise_alert(
            "LATE_DISCOVERY", f"{order.instrument.ticker}: an order thought absent is at the broker after all.",
            level=Level.SEVERE, owner_id=order.portfolio.owner_id, about=str(order.pk),
        )  # fmt: skip
    if missing and target not in (OrderState.ACKED, OrderState.OPEN):
        # Ended, they say, with more fills than we have seen. Wait for the trades themselves.
        if ORDER_MOVES.allows(order.state, OrderState.OPEN) and order.state != OrderState.OPEN:
            note(order, "order.seen", source=source, to_state=OrderState.OPEN, status=news.status)
        after_commit("engine.books", account_id=account_id)
    elif stale or (order.state == OrderState.OPEN and target == OrderState.ACKED):
        pass  # an older picture of an order that still works tells nothing
    elif order.is_final and not news.status.is_final and not revives:
        pass  # older, too: what has ended for the broker does not work again
    elif target == OrderState.FILLED and order.filled_quantity < (news.filled_quantity or news.quantity):
        after_commit("engine.books", account_id=account_id)
    elif order.state == target:
        pass
    elif ORDER_MOVES.allows(order.state, target):
        note(order, "order.seen", source=source, to_state=target, status=news.status, message=news.message)
        if target == OrderState.FILLED and news.quantity != order.quantity:
            order.quantity = max(news.quantity, 1)  # it was made smaller, and filled before we heard of that
    elif not order.events.filter(kind="order.illegal", to_state=target).exists():
        note(order, "order.illegal", source=source, to_state=target, applied=False, status=news.status)
        raise_alert(
            "ILLEGAL_ORDER_EVENT", f"{order.instrument.ticker}: {order.state} cannot become {target}.",
            level=Level.SEVERE, owner_id=order.portfolio.owner_id, about=str(order.pk),
        )  # fmt: skip
    if not stale:
        _settle_pending(order, news)
        if revives and order.state in AT_EXCHANGE:
            _take_back(order, before[0])
        if (order.quantity, order.limit_price) != (before[2], price_before):
            hold_room(order)
    if not order.is_final:
        group_reopen(order)
    if order.state not in (OrderState.UNKNOWN, OrderState.SENDING):
        if order.unknown_since is not None:
            clear_alerts("ORDER_UNKNOWN", owner_id=order.portfolio.owner_id, about=str(order.pk))
            order.next_probe_at = None
        order.unknown_since = order.lease_expires_at = None
        order.acked_at = order.acked_at or timezone.now()
    if news.updated_at is not None and (order.broker_updated_at is None or news.updated_at > order.broker_updated_at):
        order.broker_updated_at = news.updated_at
    if news.message:
        order.broker_message = news.message[:240]
    store(order)
    crashpoint("fills.order_seen")
    if before != (order.state, order.pending_op, order.quantity) and not _only_rests(order, before):
        after_commit("engine.group", account_id=account_id, group_id=str(order.group_id))
    return order


def _take_back(order: Order, was: str) -> None:
    """An entry that was given up is not wanted any more: its room was given back, and its idea may be gone."""
    if order.reason != Reason.ENTRY or was not in (OrderState.NOT_PLACED, OrderState.REJECTED):
        return
    retake(intent_id=order.intent_id)  # until it is gone it may still trade
    note(order, "cancel.asked", source="ENGINE", by="it turned up after it was given up")
    order.pending_op, order.next_probe_at, order.cancel_asked_at = PendingOp.CANCEL_ASKED, None, timezone.now()
    after_commit("engine.order", account_id=order.account_id, order_id=order.pk)


def _only_rests(order: Order, before: tuple[str, str, int]) -> bool:
    """An entry that was acknowledged is at the exchange now: nothing follows before it fills."""
    group = order.group
    began_with_it = group.state == Group.State.LIVE and group.ladder_id is None and not group.close_reason
    rests = before == (OrderState.ACKED, PendingOp.NONE, order.quantity) and order.state == OrderState.OPEN
    return rests and began_with_it and order.reason == Reason.ENTRY


def _revives(order: Order, news: BookOrder, source: str) -> bool:
    """The order is at the broker, though we had good reason to think that it is not.

    A refusal is taken back by the book alone: on the stream the last steps of a refused order may come late.
    """
    if order.state not in REVIVABLE:
        return False
    if order.state == OrderState.REJECTED:
        ended = news.status is BrokerStatus.REJECTED or order.broker_updated_at is not None
        return source == "BOOK" and not ended
    return news.status is not BrokerStatus.REJECTED


def _settle_pending(order: Order, news: BookOrder) -> None:
    """A cancel or a change is done when the book shows it."""
    if order.is_final:
        order.pending_op = PendingOp.NONE
        order.forget_change()
        return
    if news.status not in (BrokerStatus.PENDING, BrokerStatus.TRANSIT):
        return
    asked = order.pending_op in (PendingOp.MODIFY_ASKED, PendingOp.MODIFY_SENT)
    shown, limit, trigger = news.quantity, _limit_shown(order, news), _trigger_shown(order, news)
    quantity_came = order.pending_quantity in (None, shown)
    limit_came = order.pending_limit_price in (None, limit)
    trigger_came = order.pending_trigger_price in (None, trigger)
    wanted = {order.pending_quantity, order.pending_limit_price, order.pending_trigger_price} != {None}
    came = wanted and quantity_came and limit_came and trigger_came
    if came and (shown, limit, trigger) != (order.quantity, order.limit_price, order.trigger_price):
        note(order, "order.changed", source="BOOK", quantity=shown, limit=limit, trigger=trigger)
        order.take_change()
        order.pending_op = PendingOp.NONE if asked else order.pending_op
    elif not asked and shown != order.quantity and shown >= max(1, order.filled_quantity):
        note(order, "order.changed_outside", source="BOOK", quantity=shown)
        order.quantity, order.pending_quantity = shown, None
    if not asked and limit != order.limit_price and _is_newer(order, news):
        note(order, "order.changed_outside", source="BOOK", limit=limit)
        order.limit_price, order.pending_limit_price = limit, None
    if not asked and trigger != order.trigger_price and _is_newer(order, news):
        # Whoever drew a stop nearer in the broker's app must not find it moved away again by a drawdown.
        note(order, "order.changed_outside", source="BOOK", trigger=trigger)
        order.trigger_price, order.pending_trigger_price = trigger, None


def _limit_shown(order: Order, news: BookOrder) -> Decimal | None:
    """The limit that the book shows; where it has none to show for this kind of order, the one it was given."""
    plain = order.order_type == news.order_type == OrderType.LIMIT
    return news.limit_price if plain and news.limit_price else order.limit_price


def _trigger_shown(order: Order, news: BookOrder) -> Decimal | None:
    """The trigger that the book shows; of a stop that has been passed it shows none, and the one it was given stays."""
    return news.trigger_price or order.trigger_price if order.order_type == news.order_type else order.trigger_price


def _is_newer(order: Order, news: BookOrder) -> bool:
    """Read after what was seen last: a picture from before a change of ours tells nothing of the price."""
    return news.updated_at is not None and (
        order.broker_updated_at is None or news.updated_at > order.broker_updated_at
    )


@transaction.atomic
def order_absent(*, order_id: int, span_s: float, books: int) -> bool:
    """A complete book did not show an unknown order. Proof of absence takes `books` of them over `span_s` seconds.

    True when it is now proven. An entry is not sent again: the next signal may try; a person may too.
    """
    order = Order.objects.lock(order_id)
    if order.state != OrderState.UNKNOWN or order.unknown_since is None:
        return False
    order.absent_books += 1
    waited = (timezone.now() - order.unknown_since).total_seconds()
    # A trade that nobody can explain may be its trade.
    unexplained = ParkedFill.objects.filter(
        account_id=order.account_id, drained_at=None, received_at__gte=order.created_at,
        fact__symbol=order.instrument.symbol, fact__side=order.side,
    ).exists()  # fmt: skip
    proven = order.absent_books >= books and waited >= span_s and not unexplained
    if proven:
        note(order, "order.absent", source="BOOK", to_state=OrderState.NOT_PLACED, books=order.absent_books)
        order.broker_message = "The broker's book never showed it."
        order.unknown_since = order.next_probe_at = None
        clear_alerts("ORDER_UNKNOWN", owner_id=order.portfolio.owner_id, about=str(order.pk))
        after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))
    order.save()
    if proven:
        crashpoint("house.absence_proven")
    return proven


@transaction.atomic
def order_expired_with_its_day(*, order_id: int) -> bool:
    """A day order of an earlier session cannot work any more: the exchange ended it at that day's close."""
    order = Order.objects.lock(order_id)
    if order.is_final or order.state == OrderState.QUEUED:
        return False
    if order.state == OrderState.SENDING:
        note(order, "order.unknown", source="ENGINE", to_state=OrderState.UNKNOWN, cause="its session is over")
    if order.state == OrderState.UNKNOWN:
        note(order, "order.absent", source="BOOK", to_state=OrderState.NOT_PLACED, cause="its session is over")
    else:
        note(order, "order.expired", source="BOOK", to_state=OrderState.EXPIRED, cause="its session is over")
    order.pending_op = PendingOp.NONE
    order.forget_change()
    order.save()
    after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))
    return True
