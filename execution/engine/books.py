"""The broker's books, read whole and often: what the stream lost is found here, and the unknown is decided here."""

import logging
from datetime import datetime, time

from django.db.models import Q
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.port import BookOrder, BrokerGateway, BrokerStatus
from execution.engine.one_of_many import one_of_many
from execution.identity import OF_THE_DESK, execution_key
from execution.models import Fill, Group, Order, ParkedFill
from execution.services.fill_apply import fill_apply
from execution.services.fill_stand_in import PATIENCE_S
from execution.services.order_update import STATE_OF, order_absent, order_expired_with_its_day, order_update
from execution.services.orders_seen import orders_seen
from execution.states import LIVE_STATES, OrderState, PendingOp
from trading.domain.clock import IST
from trading.domain.crashpoint import crashpoint
from trading.domain.fills import FillFact
from trading.monitoring.models import Heartbeat
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
ABSENT_BOOKS = 6
ABSENT_SPAN_S = 180.0


def read_books(
    *, account: BrokerAccount, gateway: BrokerGateway, now: datetime,
    absent_books: int = ABSENT_BOOKS, absent_span_s: float = ABSENT_SPAN_S, stand_in_after_s: float = PATIENCE_S,
) -> int:  # fmt: skip
    """Apply the trade book and the order book; returns how many orders and trades they hold.

    Trades first: an order is believed to have ended only when its fills are booked. A read that fails raises, and
    changes nothing: an incomplete book proves nothing. Running it twice changes nothing either.
    """
    asked_at = timezone.now()
    trades = gateway.trades()
    orders = gateway.orders()
    crashpoint("fills.books_fetched")
    apply_books(
        account=account, trades=trades, orders=orders, asked_at=asked_at, now=now, absent_books=absent_books,
        absent_span_s=absent_span_s, stand_in_after_s=stand_in_after_s,
    )  # fmt: skip
    return len(trades) + len(orders)


def apply_books(
    *, account: BrokerAccount, trades: list[FillFact], orders: list[BookOrder], asked_at: datetime, now: datetime,
    absent_books: int = ABSENT_BOOKS, absent_span_s: float = ABSENT_SPAN_S, stand_in_after_s: float = PATIENCE_S,
) -> None:  # fmt: skip
    """Take over what two books say that were asked for at `asked_at`, wall time."""
    for fact in _unbooked(account.pk, trades):
        with one_of_many("books", f"{account.pk}:{fact.broker_order_id}"):
            fill_apply(account_id=account.pk, fact=fact, source="BOOK")
    seen = {name for news in orders for name in (news.broker_order_id, news.client_order_id) if name}
    settled, resting = _settled(account.pk, orders), _resting(account.pk, orders)
    told = [
        news for news in orders
        if (news.broker_order_id, STATE_OF[news.status], news.filled_quantity) not in settled
        and not (news.status is BrokerStatus.PENDING and _picture(news) in resting)
    ]  # fmt: skip
    for news in orders_seen(account_id=account.pk, news=told, source="BOOK"):
        with one_of_many("books", f"{account.pk}:{news.broker_order_id}"):
            order_update(account_id=account.pk, news=news, source="BOOK", stand_in_after_s=stand_in_after_s)
    # A book that has lost an order it once had is not complete, and proves the absence of none.
    complete = known_today(account.pk, now) <= seen
    live = Order.objects.filter(account=account).live().exclude(state=OrderState.QUEUED)
    for order in live.filter(Q(sent_at__lt=asked_at) | Q(sent_at=None, created_at__lt=asked_at)):
        if order.client_order_id in seen or order.broker_order_id in seen:
            continue
        if exchange_date(order.placed_at) < exchange_date(now):
            order_expired_with_its_day(order_id=order.pk)
        elif order.state == OrderState.UNKNOWN and complete:
            order_absent(order_id=order.pk, span_s=absent_span_s, books=absent_books)
    Heartbeat.objects.update_or_create(name=f"books:{account.pk}", defaults={"at": timezone.now()})


def known_today(account_id: int, now: datetime) -> set[str]:
    """Broker orders of ours that a whole book of today shows."""
    midnight = datetime.combine(exchange_date(now), time.min, tzinfo=IST)
    placed = Order.objects.filter(account_id=account_id, placed_at__gte=midnight, broker_order_id__isnull=False)
    numbers = placed.exclude(broker_order_id__startswith=OF_THE_DESK).values_list("broker_order_id", flat=True)
    return {number for number in numbers if number is not None}


def _unbooked(account_id: int, trades: list[FillFact]) -> list[FillFact]:
    """Trades that are not in our rows exactly as the book has them. By the afternoon that is few of many.

    A book that shows one trade in two versions keeps both: the second is disputed.
    """
    keyed = [
        (
            execution_key(
                account_id=account_id, broker_order_id=fact.broker_order_id, broker_trade_id=fact.broker_trade_id,
                filled_at=fact.filled_at,
            ),
            fact,
        )
        for fact in trades
    ]  # fmt: skip
    rows = Fill.objects.filter(execution_key__in={key for key, _ in keyed})
    booked = set(rows.values_list("execution_key", "quantity", "price"))
    return [fact for key, fact in keyed if (key, fact.quantity, fact.price) not in booked]


def _settled(account_id: int, orders: list[BookOrder]) -> set[tuple[str | None, str, int]]:
    """What of the book is over for us too: number, state and filled quantity of orders that have ended here."""
    ended = [news.broker_order_id for news in orders if news.status.is_final]
    rows = Order.objects.filter(account_id=account_id, broker_order_id__in=ended).exclude(state__in=LIVE_STATES)
    return set(rows.values_list("broker_order_id", "state", "filled_quantity"))


def _picture(news: BookOrder) -> tuple[object, ...]:
    return news.broker_order_id, news.filled_quantity, news.quantity, news.updated_at


def _resting(account_id: int, orders: list[BookOrder]) -> set[tuple[object, ...]]:
    """What of the book works as we know it, in the very picture that we saw last: it tells nothing new. None of it
    while a fill waits for its order."""
    if ParkedFill.objects.filter(account=account_id, drained_at=None).exists():
        return set()
    works = [news.broker_order_id for news in orders if news.status is BrokerStatus.PENDING]
    rows = Order.objects.filter(
        account_id=account_id, broker_order_id__in=works, state=OrderState.OPEN, pending_op=PendingOp.NONE,
        unknown_since=None, broker_updated_at__isnull=False,
    ).exclude(group__state=Group.State.CLOSED)  # fmt: skip
    return set(rows.values_list("broker_order_id", "filled_quantity", "quantity", "broker_updated_at"))
