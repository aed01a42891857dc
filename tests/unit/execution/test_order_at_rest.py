"""The usual acknowledgement is one statement; what rests is left at rest, until there is something to do."""

from datetime import timedelta

import pytest
from django.db import connection, transaction

from execution.engine import account_engine
from execution.engine.account_engine import TO_ADVANCE
from execution.models import Fill, Group, Order, ParkedFill
from execution.services.fill_apply import _park
from execution.services.order_chase import ENTRY_PATIENCE
from execution.states import OrderState, PendingOp
from tests.factories import InstrumentFactory
from tests.factories.world import quote
from trading.statements import ask, run, together


def to_advance(desk) -> list:
    asked = {
        "account": desk.account.pk, "patient": desk.now[0] - ENTRY_PATIENCE, "today": desk.now[0] - timedelta(hours=6),
    }  # fmt: skip
    return [group_id for group_id, rests in run(TO_ADVANCE, asked) if not rests]


def test_an_acknowledged_entry_has_begun_its_trade_in_the_same_moment(desk):
    order = desk.order(desk.ask())
    desk.engine.send_queued()
    order.refresh_from_db()
    assert (order.state, order.broker_order_id, order.lease_expires_at) == (OrderState.ACKED, "B000001", None)
    assert order.acked_at is not None
    assert [event.kind for event in order.events.all()] == ["order.queued", "order.claimed", "order.acknowledged"]
    assert order.group.state == Group.State.LIVE


def test_an_entry_at_rest_is_left_alone_until_its_patience_ends(desk):
    order = desk.order(desk.ask())
    assert to_advance(desk) == [], "it is on its way"
    desk.turn()
    assert to_advance(desk) == []
    desk.pass_time(minutes=6)
    assert to_advance(desk) == [order.group_id]
    desk.turn(2)
    assert desk.order(order.intent).state == OrderState.CANCELLED


@pytest.mark.parametrize(
    "changed", [{"pending_op": PendingOp.CANCEL_ASKED}, {"filled_quantity": 1}, {"state": "UNKNOWN"}]
)
def test_an_entry_that_something_happened_to_is_looked_at(desk, changed):
    order = desk.order(desk.ask())
    desk.turn()
    Order.objects.filter(pk=order.pk).update(**changed)
    assert to_advance(desk) == [order.group_id]


@pytest.mark.parametrize("state", ["UNKNOWN", "WITHDRAWN", "ACKED", "REJECTED"])
def test_an_entry_that_is_not_on_its_way_any_more_is_looked_at(desk, state):
    order = desk.order(desk.ask())
    Order.objects.filter(pk=order.pk).update(state=state)
    assert to_advance(desk) == [order.group_id]


@pytest.mark.parametrize("changed", [{"close_reason": "MANUAL"}, {"state": "ACTIVE"}, {"state": "WAITING"}])
def test_a_trade_that_wants_something_is_looked_at(desk, changed):
    order = desk.order(desk.ask())
    desk.turn()
    Group.objects.filter(pk=order.group_id).update(**changed)
    assert to_advance(desk) == [order.group_id]


def test_a_trade_that_is_held_and_wholly_protected_is_left_alone(desk):
    group = desk.enter()
    assert group.state == Group.State.ACTIVE and to_advance(desk) == []
    stop = desk.stop_of(group)
    for changed in ({"pending_op": PendingOp.MODIFY_ASKED}, {"state": OrderState.UNKNOWN}, {"quantity": 9}):
        before = {name: getattr(stop, name) for name in changed}
        Order.objects.filter(pk=stop.pk).update(**changed)
        assert to_advance(desk) == [group.pk], changed
        Order.objects.filter(pk=stop.pk).update(**before)
    for changed in ({"close_reason": "MANUAL"}, {"quarantined": True}, {"opened_at": None}, {"resting_stop": 805}):
        before = {name: getattr(group, name) for name in changed}
        Group.objects.filter(pk=group.pk).update(**changed)
        assert to_advance(desk) == [group.pk], changed
        Group.objects.filter(pk=group.pk).update(**before)
    desk.broker.fill(stop.broker_order_id, 4, "803.95")
    desk.engine.read_books()
    assert desk.stop_of(group).filled_quantity == 4
    assert to_advance(desk) == [], "what is left of the stop is as large as what is left"


def test_every_trade_at_rest_has_its_turn_now_and_then(desk, monkeypatch):
    share = InstrumentFactory()
    quote(desk.world.feed, share)
    both = {desk.order(desk.ask()).group_id, desk.order(desk.ask(symbol=share.symbol)).group_id}
    desk.turn()
    assert to_advance(desk) == []
    monkeypatch.setattr(account_engine, "RESTING_A_SWEEP", 1)
    stepped: list[object] = []
    monkeypatch.setattr(account_engine, "group_advance", lambda *, group_id, now: stepped.append(group_id))
    for _ in range(2):
        desk.engine.advance_groups()
    assert set(stepped) == both
    desk.engine.advance_groups()
    assert len(stepped) == 3


def test_an_engine_that_has_just_begun_looks_at_every_trade(desk, monkeypatch):
    desk.order(desk.ask())
    desk.turn()
    stepped: list[object] = []
    monkeypatch.setattr(account_engine, "RESTING_A_SWEEP", 0)
    monkeypatch.setattr(account_engine, "group_advance", lambda *, group_id, now: stepped.append(group_id))
    desk.engine.advance_groups()
    assert stepped == []
    begun = account_engine.AccountEngine(
        account=desk.account, feed=desk.world.feed, gateway=desk.broker, fence=1, now=lambda: desk.now[0]
    )
    begun.advance_groups()
    assert len(stepped) == 1


def writes_of(desk) -> int:
    told: list[str] = []

    def hear(execute, statement, *rest):
        told.append(str(statement).replace('"', ""))
        return execute(statement, *rest)

    with connection.execute_wrapper(hear):
        desk.engine.read_books()
    return sum("UPDATE execution_order " in statement for statement in told)


def test_a_book_that_shows_what_was_seen_last_touches_no_row(desk):
    order = desk.order(desk.ask())
    desk.turn(2)
    desk.engine.read_books()
    assert desk.order(order.intent).state == OrderState.OPEN
    assert writes_of(desk) == 0
    desk.pass_time(seconds=1)
    desk.broker.fill(order.broker_order_id or "B000001", 4, "812.35")
    assert writes_of(desk) > 0
    assert desk.order(order.intent).filled_quantity == 4


def test_a_fill_that_was_parked_beside_the_acknowledgement_is_booked_by_the_next_book(desk):
    order = desk.order(desk.ask())
    desk.turn(2)
    desk.engine.read_books()
    order.refresh_from_db()
    fact = desk.broker.fill(order.broker_order_id, 10, "812.35")
    desk.broker.facts.clear()  # the trade book is late; the stream told it before the number was known
    _park(order.account_id, "beside-the-acknowledgement", fact)
    desk.engine.read_books()
    assert ParkedFill.objects.get().drained_at is not None
    assert Fill.objects.get(order=order).quantity == 10 and desk.held() == 10


def test_questions_asked_together_have_each_their_own_answer(db):
    with transaction.atomic(), together():
        first = ask("SELECT 1 + %s::int", [1])
        second = ask("SELECT g FROM generate_series(1, %(most)s::int) g", {"most": 3})
    assert (first(), second()) == ([(2,)], [(1,), (2,), (3,)])
    assert ask("SELECT 7")() == [(7,)]
