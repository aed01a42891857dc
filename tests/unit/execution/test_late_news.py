"""The truth arrives late, twice, out of order, or after somebody gave up on it."""

from datetime import timedelta
from itertools import permutations
from threading import Event

import pytest
from django.utils import timezone

from execution.brokers.port import BrokerStatus
from execution.engine.books import read_books
from execution.engine.runner import AccountRunner
from execution.models import Fill, Group, Order, OrderEvent, ParkedFill, ReconRun
from execution.services.order_submit import lease_expired
from execution.services.order_update import order_expired_with_its_day
from execution.states import OrderState
from risk.models import RiskBucket
from tests.small_broker import LIE, LOST, VANISHED
from trading.domain.fills import FillFact
from trading.domain.orders import Side
from trading.monitoring.models import Alert
from trading.portfolio.models import ClosedTrade, LedgerTransaction

CLOSED = Group.State.CLOSED


def give_up(desk, order) -> Order:
    """The proof of absence, without the wait."""
    for _ in range(6):
        read_books(account=desk.account, gateway=desk.broker, now=desk.now[0], absent_span_s=0)
    order.refresh_from_db()
    return order


def lost_entry(desk) -> Order:
    desk.broker.answers.append(LOST)
    desk.broker.hidden.add("B000001")
    intent = desk.ask()
    desk.turn()
    return desk.order(intent)


def test_fault_14_a_lost_reply_is_looked_up_by_its_tag_and_never_sent_again(desk):
    order = lost_entry(desk)
    assert order.state == OrderState.UNKNOWN and order.broker_order_id is None
    assert RiskBucket.objects.get(kind="EXPOSURE").reserved > 0, "its room stays taken"
    assert desk.ask().refusal_code == "UNKNOWN_OUTSTANDING", "and its instrument too"
    desk.broker.hidden.clear()
    desk.turn()
    order.refresh_from_db()
    assert (order.state, order.broker_order_id) == (OrderState.OPEN, "B000001")
    assert desk.broker.calls.count("place BUY 10 LIMIT") == 1


def test_fault_15_an_order_that_never_arrived_is_proven_absent_and_gives_its_room_back(desk):
    desk.broker.answers.append(VANISHED)
    order = desk.order(desk.ask())
    desk.turn(3)
    order.refresh_from_db()
    assert order.state == OrderState.UNKNOWN, "a few books prove nothing"
    assert give_up(desk, order).state == OrderState.NOT_PLACED
    desk.turn()
    order.group.refresh_from_db()
    assert order.group.state == CLOSED
    assert not RiskBucket.objects.exclude(reserved=0).exists()
    assert desk.broker.calls == ["place BUY 10 LIMIT"]


def test_no_proof_of_absence_while_a_trade_is_unexplained(desk):
    order = lost_entry(desk)
    desk.broker.facts.append(
        FillFact("B000001", "T1", desk.instrument.symbol, Side.BUY, 10, order.limit_price, desk.now[0], None)
    )
    assert give_up(desk, order).state == OrderState.UNKNOWN


@pytest.mark.parametrize("filled", [0, 4, 10])
def test_fault_18_an_order_thought_absent_turns_up(desk, filled):
    order = give_up(desk, lost_entry(desk))
    assert order.state == OrderState.NOT_PLACED
    desk.turn()
    desk.broker.hidden.clear()
    if filled:
        desk.broker.fill("B000001", filled, "812.35")
    desk.turn(5)
    order.refresh_from_db()
    assert order.is_final and order.filled_quantity == filled == desk.held()
    if filled:
        group = Group.objects.get(pk=order.group_id)
        assert group.state == Group.State.CLOSING
        assert RiskBucket.objects.get(kind="SLOTS").taken == 1
        assert desk.working() == filled, "it is being sold"
        desk.broker.fill(desk.broker.newest(), filled, "812.00")
        desk.turn(2)
    assert desk.held() == 0 == desk.net_at_broker()
    assert not Group.objects.exclude(state=CLOSED).exists()
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()
    assert Alert.objects.filter(code="LATE_DISCOVERY" if filled < 10 else "LATE_NEWS").exists()


def test_an_order_thought_absent_turns_up_when_the_instrument_is_taken_again(desk):
    late = give_up(desk, lost_entry(desk))
    desk.turn()
    group = desk.enter()
    assert group.pk != late.group_id
    desk.broker.hidden.clear()
    desk.broker.fill("B000001", 10, "812.35")
    desk.turn(4)
    late.refresh_from_db()
    assert late.group_id == group.pk and desk.held() == 20
    assert desk.working() == 20, "the broker nets them, so one stop protects both"


def test_a_refusal_that_was_a_lie(desk):
    desk.broker.answers.append(LIE)
    desk.broker.hidden.add("B000001")
    order = desk.order(desk.ask())
    desk.turn(2)
    order.refresh_from_db()
    assert order.state == OrderState.REJECTED
    desk.broker.hidden.clear()
    desk.turn(4)
    order.refresh_from_db()
    assert order.state == OrderState.CANCELLED, "what was given up is taken back from the market"
    assert desk.broker.book["B000001"].status is BrokerStatus.CANCELLED


def test_fault_61_an_order_of_a_restored_backup_is_not_sent_a_second_time(desk):
    order = desk.order(desk.ask())
    desk.engine.sweep()
    # The rows of an hour ago: queued, says the backup.
    Order.objects.filter(pk=order.pk).update(state=OrderState.QUEUED, broker_order_id=None, claim_token=None)
    desk.engine.sends_from = timezone.now()  # an engine that has just started
    desk.engine.sweep()
    desk.engine.send_queued()
    assert desk.broker.calls.count("place BUY 10 LIMIT") == 1, "its sweep is faster than the first reading of the books"
    desk.engine.reconcile(ReconRun.Cause.STARTUP)
    desk.engine.sends_from = None
    desk.turn(2)
    assert desk.broker.calls.count("place BUY 10 LIMIT") == 1


def test_what_was_queued_when_an_engine_died_leaves_once_the_books_have_been_read(desk):
    order = desk.order(desk.ask())
    desk.engine.sends_from = timezone.now()
    desk.engine.sweep()
    assert not desk.broker.calls
    runner = AccountRunner(desk.account, stop=Event())
    runner.engine = desk.engine
    runner._look_at_books()
    desk.engine.sweep()
    order.refresh_from_db()
    assert (order.state, desk.broker.calls) == (OrderState.ACKED, ["place BUY 10 LIMIT"])


def test_an_engine_that_died_while_sending_leaves_an_unknown_order(desk):
    order = desk.order(desk.ask())
    desk.engine.sweep()
    Order.objects.filter(pk=order.pk).update(
        state=OrderState.SENDING, broker_order_id=None, lease_expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert lease_expired(order_id=order.pk)
    assert not lease_expired(order_id=order.pk)
    desk.turn()
    order.refresh_from_db()
    assert (order.state, order.broker_order_id) == (OrderState.OPEN, "B000001")
    assert desk.broker.calls.count("place BUY 10 LIMIT") == 1


def test_fills_before_the_acknowledgement_wait_for_it(desk):
    order = desk.order(desk.ask())
    place = desk.broker.place

    def place_and_fill(request, **options):
        reply = place(request, **options)
        if request.side is Side.SELL:
            return reply
        fact = desk.broker.fill(reply.broker_order_id, 4, "812.30")
        desk.engine.hear_fill(FillFact(**{**_fields(fact), "client_order_id": None}))  # a stream without tags
        return reply

    desk.broker.place = place_and_fill
    desk.engine.sweep()
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == (OrderState.OPEN, 4)
    assert ParkedFill.objects.get().drained_at is not None
    desk.turn(2)
    assert desk.held() == 4 == Fill.objects.get().quantity


def _fields(fact):
    return {name: getattr(fact, name) for name in fact.__dataclass_fields__}


def test_fault_28_fills_after_the_end_count(desk):
    group = desk.enter(filled=0)
    order = group.orders.get()
    desk.engine.hear_order(desk.broker.end(order.broker_order_id))
    desk.turn(2)
    assert Group.objects.get(pk=group.pk).state == CLOSED
    desk.engine.hear_fill(desk.broker.fill(order.broker_order_id, 4, "812.30"))
    desk.turn(3)
    assert desk.held() == 4 == desk.working()
    desk.broker.fill(desk.broker.newest(), 4, "812.00")
    desk.turn(2)
    assert desk.held() == 0 and ClosedTrade.objects.get().quantity == 4


def test_a_trade_reopened_by_late_news_has_its_page_written_anew(desk):
    group = desk.enter(filled=4)
    entry, stop = group.orders.get(reason="ENTRY"), desk.stop_of(group)
    desk.broker.end(entry.broker_order_id)
    desk.broker.fill(stop.broker_order_id, 4, "803.50")
    desk.turn(3)
    assert ClosedTrade.objects.get().quantity == 4
    ClosedTrade.objects.update(notes="my own words")
    desk.broker.fill(entry.broker_order_id, 2, "812.35")
    desk.turn(3)
    desk.broker.fill(desk.broker.newest(), 2, "803.00")
    desk.turn(3)
    page = ClosedTrade.objects.get()
    assert (page.quantity, page.notes, desk.held()) == (6, "my own words", 0)
    assert page.gross_paise == 4 * 803_50 + 2 * 803_00 - 4 * 812_30 - 2 * 812_35


def test_fault_25_the_same_news_twice_and_in_any_order_changes_nothing(desk):
    seen = set()
    for order_of_news in list(permutations(range(4)))[::3]:
        group = desk.enter(filled=0)
        entry = group.orders.get(reason="ENTRY")
        taken = desk.broker.book[entry.broker_order_id]
        first = desk.broker.fill(entry.broker_order_id, 4, "812.30")
        second = desk.broker.fill(entry.broker_order_id, 6, "812.35")
        done = desk.broker.book[entry.broker_order_id]
        news = [
            lambda taken=taken: desk.engine.hear_order(taken), lambda first=first: desk.engine.hear_fill(first),
            lambda second=second: desk.engine.hear_fill(second), lambda done=done: desk.engine.hear_order(done),
        ]  # fmt: skip
        for number in order_of_news + order_of_news:
            news[number]()
        entry.refresh_from_db()
        seen.add((entry.state, entry.filled_quantity, entry.fill_value_paise, entry.charges_paise, desk.held()))
        desk.turn(2)
        desk.broker.fill(desk.stop_of(group).broker_order_id, 10, "803.90")
        desk.turn(2)
        assert Group.objects.get(pk=group.pk).state == CLOSED
        ClosedTrade.objects.update(closed_at=desk.now[0] - timedelta(hours=2))  # no cooldown
        desk.broker.book.clear()
        desk.broker.facts.clear()
    assert len(seen) == 1
    assert not Alert.objects.filter(code__in=["ILLEGAL_ORDER_EVENT", "FILL_DISPUTED", "OVERFILLED"]).exists()


def test_reading_the_books_twice_changes_nothing(desk):
    group = desk.enter(filled=4)
    desk.turn(2)

    def everything():
        return (
            list(Order.objects.order_by("pk").values()), OrderEvent.objects.count(), Fill.objects.count(),
            LedgerTransaction.objects.count(), list(RiskBucket.objects.order_by("pk").values()), desk.held(),
        )  # fmt: skip

    before = everything()
    desk.engine.read_books()
    desk.engine.read_books()
    assert everything() == before and Group.objects.get(pk=group.pk).state in Group.HELD


def test_fault_26_a_trade_reported_in_two_versions_is_disputed_not_booked_twice(desk):
    group = desk.enter(filled=4)
    fact = desk.broker.facts[0]
    desk.engine.hear_fill(FillFact(**{**_fields(fact), "price": fact.price + 1}))
    assert desk.held() == 4
    assert Group.objects.get(pk=group.pk).quarantined
    assert Alert.objects.filter(code="FILL_DISPUTED").exists()


# -- the day is over ---------------------------------------------------------------------------------------------


def test_yesterdays_orders_are_over_today(desk):
    group = desk.enter(filled=0)
    order = group.orders.get()
    desk.pass_time(days=1)
    desk.broker.book.clear()
    desk.turn(2)
    order.refresh_from_db()
    assert order.state == OrderState.EXPIRED and Group.objects.get(pk=group.pk).state == CLOSED


def test_an_adopted_order_is_over_with_its_day_too(desk):
    group = desk.enter()
    desk.pass_time(seconds=5)
    desk.broker.fill(desk.broker.outside(desk.instrument.symbol, Side.SELL, 20), 4, "813.00")
    desk.turn(2)
    adopted = group.orders.get(reason="SQUARE_OFF")
    assert (adopted.filled_quantity, adopted.is_final) == (4, False)
    desk.pass_time(days=1)
    desk.broker.book.clear()
    desk.broker.facts.clear()
    desk.engine.read_books()
    adopted.refresh_from_db()
    assert adopted.state == OrderState.EXPIRED


def test_no_order_for_an_intraday_trade_of_yesterday(desk):
    group = desk.enter()
    desk.pass_time(days=1)
    desk.broker.book.clear()  # the broker squared it off, and nobody here was awake
    desk.broker.facts.clear()
    desk.turn(4)
    assert desk.working() == 0, "a stop for what is not held opens a position"
    assert Group.objects.get(pk=group.pk).quarantined
    assert Alert.objects.filter(code="INTRADAY_LEFT_OVER").exists()


def test_a_delivery_position_gets_a_new_stop_each_day(desk):
    group = desk.enter(product="CNC")
    desk.pass_time(days=1)
    desk.broker.book.clear()
    desk.broker.facts.clear()
    desk.turn(4)
    assert desk.working() == 10 and group.orders.filter(reason="STOP").count() == 2


def test_a_queued_order_does_not_expire_with_its_day_by_the_book(desk):
    order = desk.order(desk.ask())
    assert not order_expired_with_its_day(order_id=order.pk)
