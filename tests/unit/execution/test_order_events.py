"""Every event meets every state. The table is the machine; what it does not name leaves the state as it was.

The broker's word on an order is the business of `test_order_machine`; here is what the desk itself hears and does.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from execution.brokers.port import Acknowledged, BookOrder, BrokerStatus, Refused, Unknown
from execution.models import Order, OrderEvent
from execution.services.events import NOT_APPLIED
from execution.services.fill_apply import fill_apply
from execution.services.fill_bust import fill_bust
from execution.services.order_cancel import order_cancel
from execution.services.order_claim import orders_claim
from execution.services.order_submit import lease_expired, record_send
from execution.services.order_update import order_absent, order_update
from execution.states import LIVE_STATES, OrderState, PendingOp
from tests.factories import FillFactFactory, IntentFactory, OrderFactory
from tests.small_desk import hold_lease
from trading.domain.orders import OrderType, Side
from trading.monitoring.models import Alert
from trading.portfolio.models import Position

S = OrderState
TOKEN = UUID(int=7)
BROKER_ID = "26021600099999"
AT_WORK = (S.SENDING, S.UNKNOWN, S.ACKED, S.OPEN)


def claim(order: Order) -> None:
    orders_claim(order_ids=[order.pk], fence=1)


def withdraw(order: Order) -> None:
    order_cancel(order_id=order.pk, actor="me", now=timezone.now())


def answer(result) -> Callable[[Order], None]:
    return lambda order: record_send(order_id=order.pk, token=TOKEN, result=result) and None


def lease_ends(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    lease_expired(order_id=order.pk)


def absence_proven(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(unknown_since=timezone.now() - timedelta(minutes=4), absent_books=5)
    order_absent(order_id=order.pk, span_s=180, books=6)


def fills(quantity: int) -> Callable[[Order], None]:
    def fill(order: Order) -> None:
        fact = FillFactFactory(
            broker_order_id=BROKER_ID, client_order_id=order.client_order_id, symbol=order.instrument.symbol,
            side=Side.BUY, quantity=quantity, price=Decimal("100.00"), broker_trade_id=f"T{quantity}",
        )  # fmt: skip
        assert fill_apply(account_id=order.account_id, fact=fact, source="SOCKET") is not None
        assert fill_apply(account_id=order.account_id, fact=fact, source="BOOK") is None

    return fill


def filled_and_busted(order: Order) -> None:
    fills(4)(order)
    Order.objects.filter(pk=order.pk).update(state=order.state)
    fill_bust(fill_id=order.fills.get().pk, reason="a mistake", actor="me", now=timezone.now())


EVENTS: dict[str, tuple[Callable[[Order], None], dict[OrderState, OrderState]]] = {
    "claimed": (claim, {S.QUEUED: S.SENDING}),
    "withdrawn": (withdraw, {S.QUEUED: S.WITHDRAWN}),
    "acknowledged": (answer(Acknowledged(BROKER_ID)), dict.fromkeys((S.SENDING, S.UNKNOWN, S.NOT_PLACED), S.ACKED)),
    "refused": (answer(Refused("REJECTED", "no")), dict.fromkeys((S.SENDING, S.UNKNOWN), S.REJECTED)),
    "unanswered": (answer(Unknown("ReadTimeout")), {S.SENDING: S.UNKNOWN}),
    "lease over": (lease_ends, {S.SENDING: S.UNKNOWN}),
    "absence proven": (absence_proven, {S.UNKNOWN: S.NOT_PLACED}),
    "filled": (fills(10), dict.fromkeys(S, S.FILLED)),
    "partly filled": (fills(4), dict.fromkeys(LIVE_STATES, S.OPEN)),
    "busted": (filled_and_busted, {}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", EVENTS)
def test_an_event_in_every_state(valkey, name):
    event, moves = EVENTS[name]
    for state in S:
        bound = BROKER_ID if state in (S.ACKED, S.OPEN, S.FILLED, S.CANCELLED, S.EXPIRED) else None
        order = OrderFactory(
            state=state, broker_order_id=bound, claim_token=TOKEN, quantity=10, sent_at=timezone.now(),
            intent=IntentFactory(), valid_until=timezone.now() + timedelta(minutes=5),
        )  # fmt: skip
        hold_lease(order.account)
        event(order)
        order.refresh_from_db()
        assert order.state == moves.get(state, state), f"{name} in {state}"
        if state != S.QUEUED:
            assert order.state != S.QUEUED, "nothing leads back: that is how orders double"
        held = sum(Position.objects.filter(portfolio=order.portfolio).values_list("net_quantity", flat=True))
        expected = {"filled": 10, "partly filled": 4}.get(name, 0)
        assert (order.filled_quantity, held) == (expected, expected), "no fill is thrown away for the order's state"
        if name == "withdrawn":
            assert (order.pending_op == PendingOp.CANCEL_ASKED) == (state in AT_WORK)


@pytest.mark.django_db
def test_what_was_said_of_an_order_is_never_edited_or_removed(valkey):
    order = OrderFactory(state=S.QUEUED, broker_order_id=None)
    withdraw(order)
    for wrong in (
        lambda: OrderEvent.objects.filter(order=order).update(kind="other"),
        lambda: OrderEvent.objects.filter(order=order).delete(),
    ):
        with pytest.raises(DatabaseError, match=r"(?i)append|change|stay"), transaction.atomic():
            wrong()


@pytest.mark.django_db
def test_an_event_that_makes_no_sense_is_kept_counted_and_told(valkey):
    order = OrderFactory(state=S.CANCELLED, broker_order_id=BROKER_ID)
    counter = NOT_APPLIED.labels(kind="order.illegal")
    before = counter._value.get()
    news = BookOrder(
        BROKER_ID, order.client_order_id, order.instrument.symbol, Side.BUY, OrderType.LIMIT, order.product, 10, 0, 10,
        order.limit_price, None, None, BrokerStatus.EXPIRED, "", None, "API", "7",
    )  # fmt: skip
    for _ in range(3):
        order_update(account_id=order.account_id, news=news, source="BOOK")
    event = OrderEvent.objects.get(order=order, kind="order.illegal")
    assert (event.applied, event.from_state, event.to_state) == (False, S.CANCELLED, S.EXPIRED)
    assert counter._value.get() == before + 1 and Alert.objects.filter(code="ILLEGAL_ORDER_EVENT").exists()
