"""The broker's books, read whole and often: what the stream lost is found here, and the unknown is decided here."""

import logging
from datetime import datetime, time

from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.port import BookOrder, BrokerGateway, BrokerStatus
from execution.engine.clock_step import doubts_begin_anew_after_a_step
from execution.engine.one_of_many import one_of_many
from execution.identity import OF_THE_DESK, execution_key
from execution.models import Order
from execution.services.fill_apply import fill_apply
from execution.services.fill_stand_in import PATIENCE_S
from execution.services.order_update import STATE_OF, order_absent, order_expired_with_its_day, order_update
from execution.services.orders_seen import orders_seen
from execution.states import LIVE_STATES, OrderState
from trading.domain.clock import IST
from trading.domain.crashpoint import crashpoint
from trading.domain.fills import FillFact
from trading.statements import Select, run, tell
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
ABSENT_BOOKS = 6
ABSENT_SPAN_S = 180.0
_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE_STATES))
BEAT = """
INSERT INTO monitoring_heartbeat (name, at, detail) VALUES (%s, %s, '{}')
ON CONFLICT (name) DO UPDATE SET at = excluded.at
"""
KNOWN_TODAY = """
SELECT broker_order_id FROM execution_order
WHERE account_id = %s AND placed_at >= %s AND broker_order_id IS NOT NULL AND NOT starts_with(broker_order_id, %s)
"""
BOOKED = "SELECT execution_key, quantity, price FROM execution_fill WHERE execution_key = ANY(%s::varchar[])"
SETTLED = f"""
SELECT broker_order_id, state, filled_quantity FROM execution_order
WHERE account_id = %s AND broker_order_id = ANY(%s::varchar[]) AND state NOT IN ({_LIVE})
"""  # noqa: S608 - made of constants
# Live here when the books were asked for, and in neither of them.
MISSED = Select(
    Order,
    where=f"""
WHERE t.account_id = %(account)s AND t.state IN ({_LIVE}) AND t.state <> 'QUEUED'
  AND coalesce(t.sent_at, t.created_at) < %(asked_at)s AND t.client_order_id <> ALL(%(seen)s::varchar[])
  AND coalesce(t.broker_order_id <> ALL(%(seen)s::varchar[]), true)
ORDER BY t.id
""",
)
RESTING = """
SELECT o.broker_order_id, o.filled_quantity, o.quantity, o.broker_updated_at
FROM execution_order o LEFT JOIN execution_group g ON g.id = o.group_id
WHERE o.account_id = %(account)s AND o.broker_order_id = ANY(%(works)s::varchar[]) AND o.state = 'OPEN'
  AND o.pending_op = 'NONE' AND o.unknown_since IS NULL AND o.broker_updated_at IS NOT NULL
  AND g.state IS DISTINCT FROM 'CLOSED'
  AND NOT EXISTS (SELECT 1 FROM execution_parkedfill f WHERE f.account_id = %(account)s AND f.drained_at IS NULL)
"""


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
            order_update(
                account_id=account.pk, news=news, source="BOOK", stand_in_after_s=stand_in_after_s, shown=seen
            )  # fmt: skip
    doubts_begin_anew_after_a_step(account.pk)
    # A book that has lost an order it once had is not complete, and proves the absence of none.
    complete = known_today(account.pk, now) <= seen
    for order in MISSED.rows({"account": account.pk, "asked_at": asked_at, "seen": list(seen)}):
        if exchange_date(order.placed_at) < exchange_date(now):
            order_expired_with_its_day(order_id=order.pk)
        elif order.state == OrderState.UNKNOWN and complete:
            order_absent(order_id=order.pk, span_s=absent_span_s, books=absent_books)
    tell(BEAT, [f"books:{account.pk}", timezone.now()])


def known_today(account_id: int, now: datetime) -> set[str]:
    """Broker orders of ours that a whole book of today shows."""
    midnight = datetime.combine(exchange_date(now), time.min, tzinfo=IST)
    return {number for (number,) in run(KNOWN_TODAY, [account_id, midnight, OF_THE_DESK])}


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
    booked = set(run(BOOKED, [[key for key, _ in keyed]])) if keyed else set()
    return [fact for key, fact in keyed if (key, fact.quantity, fact.price) not in booked]


def _settled(account_id: int, orders: list[BookOrder]) -> set[tuple[str | None, str, int]]:
    """What of the book is over for us too: number, state and filled quantity of orders that have ended here."""
    ended = [news.broker_order_id for news in orders if news.status.is_final]
    return set(run(SETTLED, [account_id, ended])) if ended else set()


def _picture(news: BookOrder) -> tuple[object, ...]:
    return news.broker_order_id, news.filled_quantity, news.quantity, news.updated_at


def _resting(account_id: int, orders: list[BookOrder]) -> set[tuple[object, ...]]:
    """What of the book works as we know it, in the very picture that we saw last: it tells nothing new. None of it
    while a fill waits for its order."""
    works = [news.broker_order_id for news in orders if news.status is BrokerStatus.PENDING]
    return set(run(RESTING, {"account": account_id, "works": works})) if works else set()
