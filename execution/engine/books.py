"""The broker's books, read whole and often: what the stream lost is found here, and the unknown is decided here."""

import logging
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.port import BrokerGateway
from execution.engine.one_of_many import one_of_many
from execution.models import Order
from execution.services.fill_apply import fill_apply
from execution.services.order_update import order_absent, order_expired_with_its_day, order_update
from execution.states import OrderState
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
ABSENT_BOOKS = 6
ABSENT_SPAN_S = 180.0


def read_books(
    *, account: BrokerAccount, gateway: BrokerGateway, now: datetime,
    absent_books: int = ABSENT_BOOKS, absent_span_s: float = ABSENT_SPAN_S,
) -> int:  # fmt: skip
    """Apply the trade book and the order book; returns how many orders and trades they hold.

    Trades first: an order is believed to have ended only when its fills are booked. A read that fails raises, and
    changes nothing: an incomplete book proves nothing. Running it twice changes nothing either.
    """
    asked_at = timezone.now()
    trades = gateway.trades()
    orders = gateway.orders()
    for fact in trades:
        with one_of_many("books", f"{account.pk}:{fact.broker_order_id}"):
            fill_apply(account_id=account.pk, fact=fact, source="BOOK")
    seen: set[str] = set()
    for news in orders:
        with one_of_many("books", f"{account.pk}:{news.broker_order_id}"):
            order_update(account_id=account.pk, news=news, source="BOOK")
        seen.add(news.broker_order_id)
        if news.client_order_id:
            seen.add(news.client_order_id)
    live = Order.objects.filter(account=account).live().exclude(state=OrderState.QUEUED)
    for order in live.filter(Q(sent_at__lt=asked_at) | Q(sent_at=None, created_at__lt=asked_at)):
        if order.client_order_id in seen or order.broker_order_id in seen:
            continue
        if exchange_date(order.placed_at) < exchange_date(now):
            order_expired_with_its_day(order_id=order.pk)
        elif order.state == OrderState.UNKNOWN:
            order_absent(order_id=order.pk, span_s=absent_span_s, books=absent_books)
    return len(trades) + len(orders)
