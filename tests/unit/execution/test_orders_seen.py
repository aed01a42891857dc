"""What is usual of many orders is written together; whatever is not just so is taken alone, as ever."""

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from execution.brokers.port import BrokerStatus
from execution.engine.inbox import Inbox
from execution.models import Group, Order, ParkedFill
from execution.services.fill_apply import _park
from execution.services.order_claim import orders_claim
from execution.services.orders_seen import orders_seen
from execution.states import OrderState, PendingOp
from tests.factories import InstrumentFactory
from tests.factories.world import quote
from tests.small_desk import SmallDesk
from trading.domain.fills import FillFact


def placed(desk: SmallDesk, count: int) -> list[Order]:
    """Entries at the broker, each in a share of its own."""
    orders = []
    for _ in range(count):
        share = InstrumentFactory()
        quote(desk.world.feed, share)
        orders.append(desk.order(desk.ask(symbol=share.symbol)))
    desk.engine.send_queued()
    for order in orders:
        order.refresh_from_db()
    return orders


def seen(desk: SmallDesk, news) -> list[str]:
    """Numbers of the orders that were left for the long way."""
    left = orders_seen(account_id=desk.account.pk, news=news, source="SOCKET")
    return [one.broker_order_id for one in left]


def news_of(desk: SmallDesk, order: Order, **changes):
    return replace(desk.broker.book[order.broker_order_id], **changes)


def test_orders_at_rest_are_seen_together(desk):
    orders = placed(desk, 3)
    assert seen(desk, desk.broker.orders()) == []
    for order in orders:
        order.refresh_from_db()
        assert order.state == OrderState.OPEN and order.broker_updated_at == desk.now[0]
        last = order.events.latest("seq")
        assert (last.kind, last.source, last.from_state, last.to_state) == ("order.seen", "SOCKET", "ACKED", "OPEN")
        assert last.detail == {"status": "PENDING", "message": ""}
    before = [order.events.count() for order in orders]
    assert seen(desk, desk.broker.orders()) == []
    assert [order.events.count() for order in orders] == before, "told twice, written once"


def test_an_order_that_is_being_sent_is_bound_by_its_tag_and_its_trade_has_begun(desk):
    order = desk.order(desk.ask())
    (claimed,) = orders_claim(order_ids=[order.pk], fence=1)
    desk.broker.place(claimed.request)
    assert seen(desk, [replace(one, status=BrokerStatus.TRANSIT) for one in desk.broker.orders()]) == []
    order.refresh_from_db()
    assert (order.state, order.broker_order_id, order.lease_expires_at) == (OrderState.ACKED, "B000001", None)
    assert Group.objects.get(pk=order.group_id).state == Group.State.LIVE


@pytest.mark.parametrize(
    "changes",
    [
        {"filled_quantity": 4}, {"quantity": 7}, {"limit_price": Decimal(800)}, {"status": BrokerStatus.CANCELLED},
        {"client_order_id": None}, {"updated_at": None}, {"broker_order_id": "ANOTHER"},
    ],
)  # fmt: skip
def test_news_that_is_not_just_so_is_left(desk, changes):
    usual, odd = placed(desk, 2)
    desk.engine.read_books()
    news = news_of(desk, odd, **changes)
    assert seen(desk, [news_of(desk, usual), news]) == [news.broker_order_id]


@pytest.mark.parametrize(
    "row",
    [
        {"pending_op": PendingOp.CANCEL_SENT}, {"state": OrderState.UNKNOWN}, {"state": OrderState.NOT_PLACED},
        {"pending_quantity": 7}, {"broker_order_id": None, "state": OrderState.QUEUED},
    ],
)  # fmt: skip
def test_an_order_of_which_something_else_is_so_is_left(desk, row):
    usual, odd = placed(desk, 2)
    number = odd.broker_order_id
    Order.objects.filter(pk=odd.pk).update(**row)
    assert seen(desk, [news_of(desk, usual), desk.broker.book[number]]) == [number]


def test_late_news_a_waiting_fill_and_a_trade_that_is_over_are_left(desk):
    late, waits, over = placed(desk, 3)
    Order.objects.filter(pk=late.pk).update(broker_updated_at=desk.now[0] + timedelta(seconds=1))
    _park(desk.account.pk, "waits", desk.broker.fill(waits.broker_order_id, 3, "812.30"))
    Group.objects.filter(pk=over.group_id).update(state=Group.State.CLOSED)
    news = [replace(news_of(desk, one), filled_quantity=0) for one in (late, waits, over)]
    assert seen(desk, news) == [one.broker_order_id for one in (late, waits, over)]
    assert not ParkedFill.objects.exclude(drained_at=None).exists()


def test_the_engine_hears_fills_before_the_end_of_their_order(desk):
    (order,) = placed(desk, 1)
    fact = desk.broker.fill(order.broker_order_id, 10, "812.30")
    desk.engine.hear([news_of(desk, order), fact])
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == (OrderState.FILLED, 10)


def test_what_fails_is_told_and_holds_up_no_other(desk, monkeypatch):
    from execution.engine import account_engine

    first, second = placed(desk, 2)
    facts = [desk.broker.fill(one.broker_order_id, 10, "812.30") for one in (first, second)]
    book = account_engine.fill_apply

    def fails_once(*, fact: FillFact, **how):
        if fact is facts[0]:
            raise ValueError("cannot be booked")
        return book(fact=fact, **how)

    monkeypatch.setattr(account_engine, "fill_apply", fails_once)
    desk.engine.hear(facts)
    assert [Order.objects.get(pk=one.pk).filled_quantity for one in (first, second)] == [0, 10]
    monkeypatch.undo()
    desk.engine.read_books()
    assert Order.objects.get(pk=first.pk).filled_quantity == 10


def test_an_inbox_hands_over_what_has_come_in_its_order_and_says_what_it_lost():
    heard: list[list[object]] = []
    lost, stop = threading.Event(), threading.Event()

    def hear(news) -> None:
        heard.append(list(news))
        stop.set()
        if len(heard) == 2:
            raise ValueError("no")

    inbox = Inbox(hear, on_loss=lost.set)
    for number in range(3):
        inbox.put(number)  # type: ignore[arg-type]
    inbox.run(stop)
    assert heard == [[0, 1, 2]] and not lost.is_set()
    stop.clear()
    inbox.put(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no"):
        inbox.run(stop)
    assert lost.is_set()
