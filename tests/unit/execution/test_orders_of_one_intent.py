"""What is above the exchange's freeze quantity: risk is asked once, and the orders share what it gave."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from execution.models import Fill, Group, Intent, Order
from execution.services.approval_decide import approval_decide
from execution.services.group_exit import group_exit
from execution.services.order_cancel import order_cancel
from execution.services.order_queue import order_queue
from execution.services.room_recount import find_drift
from execution.services.runaway_watch import look_at
from execution.why import tell_why
from risk.models import Assessment, Reservation
from risk.policies import active_policy
from tests.small_broker import Refuse
from trading.domain.orders import Reason


@pytest.fixture
def frozen(desk):
    """The exchange takes thirty at once."""
    type(desk.instrument).objects.filter(pk=desk.instrument.pk).update(freeze_quantity=30)
    desk.instrument.refresh_from_db()
    return desk


def children(intent: Intent) -> list[Order]:
    return list(intent.orders.order_by("child"))


def no_drift(desk) -> None:
    assert not find_drift(days=[desk.now[0].date()])


def test_a_single_entry_is_cut_into_orders_of_their_own_names_and_asked_once(frozen):
    intent = frozen.ask(quantity=100)
    orders = children(intent)
    assert [order.quantity for order in orders] == [30, 30, 30, 10] and intent.allowed_quantity == 100
    assert len({order.client_order_id for order in orders}) == 4
    assert Intent.objects.count() == 1
    said = Assessment.objects.get(intent_id=intent.pk).verdicts
    assert [one.outcome for one in said if one.gate == "FREEZE_QUANTITY"] == ["PASS"]
    with pytest.raises(IntegrityError), transaction.atomic():  # whoever repeats it makes no second of them
        order_queue(intent=intent, kill_epoch=0, decision_price=None)
    assert children(intent) == orders
    no_drift(frozen)


def test_what_they_fill_moves_the_room_of_the_whole_and_what_is_cancelled_is_given_back(frozen):
    intent = frozen.ask(quantity=100)
    frozen.turn()
    orders = children(intent)
    for order, filled in zip(orders, (30, 12, 30, 0), strict=True):
        if filled:
            frozen.broker.fill(order.broker_order_id, filled, "812.30")
            frozen.turn()
            no_drift(frozen)
    frozen.turn(2)
    group = Group.objects.get(pk=intent.group_id)
    assert (group.state, frozen.held(), frozen.working()) == (Group.State.PARTIAL, 72, 72)
    for order in (orders[1], orders[3]):
        order_cancel(order_id=order.pk, actor="me", now=frozen.now[0])
        frozen.turn(2)
        no_drift(frozen)
    group.refresh_from_db()
    assert group.state == Group.State.ACTIVE
    value = sum(Fill.objects.filter(order__intent=intent).values_list("value_paise", flat=True))
    exposure = Reservation.objects.get(intent_id=intent.pk, bucket__kind="EXPOSURE")
    assert (exposure.amount, exposure.used) == (0, value)


def test_the_way_out_is_cut_as_well_and_ends_with_nothing_held_back(frozen):
    group = frozen.enter(quantity=70, filled=0)
    for order in children(Intent.objects.get(group=group)):
        frozen.broker.fill(order.broker_order_id, order.quantity, "812.30")
    frozen.turn(3)
    assert frozen.working() == 70
    group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    frozen.turn(4)
    leaving = Order.objects.filter(group=group, reason=Reason.MANUAL).order_by("child")
    assert [order.quantity for order in leaving] == [30, 30, 10]
    assert len({order.intent_id for order in leaving}) == 1
    for order in leaving:
        assert sum(units for _, units in order.lot_relief) == order.quantity
        frozen.broker.fill(order.broker_order_id, order.quantity, "811.00")
        frozen.turn(2)
    group.refresh_from_db()
    assert (group.state, frozen.held(), frozen.net_at_broker()) == (Group.State.CLOSED, 0, 0)
    no_drift(frozen)
    assert not Reservation.objects.filter(released_at=None).exclude(bucket__kind__in=["TRADES", "DAY"]).exists()


def test_a_late_fill_of_one_of_them_is_booked_after_all_had_ended(frozen):
    intent = frozen.ask(quantity=60)
    frozen.turn()
    for order in children(intent):
        order_cancel(order_id=order.pk, actor="me", now=frozen.now[0])
    frozen.turn(3)
    assert Group.objects.get(pk=intent.group_id).state == Group.State.CLOSED
    frozen.broker.fill(children(intent)[1].broker_order_id, 30, "812.30")
    frozen.turn(2)
    assert frozen.held() == 30
    no_drift(frozen)


def test_a_persons_yes_sends_all_of_them(frozen):
    type(frozen.portfolio).objects.filter(pk=frozen.portfolio.pk).update(approval_mode="MANUAL")
    frozen.portfolio.refresh_from_db()
    intent = frozen.ask(quantity=70, source=Intent.Source.API)
    assert (intent.state, children(intent)) == (Intent.State.WAITING, [])
    approval_decide(intent_id=intent.pk, approve=True, actor="me", now=frozen.now[0])
    approval_decide(intent_id=intent.pk, approve=True, actor="me", now=frozen.now[0])
    assert [order.quantity for order in children(intent)] == [30, 30, 10]


def test_many_orders_of_one_wish_are_no_program_that_runs_away(frozen):
    frozen.broker.answers.extend([Refuse()] * 9)
    intent = frozen.ask(quantity=90 * 3)
    frozen.turn(2)
    policy = active_policy(frozen.portfolio.pk)
    assert len(children(intent)) == 9 > policy.runaway_rejections
    assert {order.state for order in children(intent)} == {"REJECTED"}
    assert not look_at(frozen.portfolio, since=None, now=frozen.now[0])


def test_why_tells_of_all_of_them(frozen):
    intent = frozen.ask(quantity=70)
    frozen.turn()
    for order in children(intent)[:2]:
        frozen.broker.fill(order.broker_order_id, 30, "812.30")
    frozen.turn()
    why = tell_why(frozen.world.user, "order", str(children(intent)[2].pk))
    assert "Sent in 3 orders: 30 + 30 + 10." in [step.words for step in why.steps]
    assert why.answer.startswith(f"60 of 70 filled at {Decimal('812.30')}")
    assert {step.order_id for step in why.steps if step.what == "Order"} == {order.pk for order in children(intent)}
