"""The desk over Zerodha: the same engine, the same rows, another dialect on the wire."""

import pytest

from accounts.models import BrokerAccount
from execution.models import Fill, Group, Order
from execution.services.override import close_position
from execution.states import OrderState
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SteppedDesk, stepped_desk
from trading.portfolio.models import ClosedTrade


@pytest.fixture
def desk(transactional_db, valkey, start_sandbox) -> SteppedDesk:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")
    with stepped_desk(sandbox.base_url, BrokerAccount.Broker.ZERODHA) as found:
        yield found


def test_a_trade_is_entered_protected_and_closed_by_hand(desk):
    group = desk.enter()
    stop = group.orders.get(reason="STOP")
    assert (stop.state, stop.quantity, desk.working()) == (OrderState.OPEN, 50, 50)
    desk.agrees()
    close_position(group_id=group.pk, actor="trader", now=desk.now)
    desk.tick_until(lambda: Group.objects.get(pk=group.pk).state == Group.State.CLOSED)
    desk.agrees()
    assert desk.held() == 0 and desk.working() == 0
    assert sum(fill.quantity for fill in Fill.objects.filter(order__group=group)) == 100
    assert ClosedTrade.objects.get().exit_reason == "MANUAL"


def test_a_lost_reply_is_one_order_found_by_its_tag(desk):
    desk.control.faults(kind="drop_reply")
    intent = desk.ask()
    desk.act()
    order = Order.objects.get(intent=intent)
    desk.tick_until(lambda: Order.objects.get(pk=order.pk).state == OrderState.FILLED)
    assert desk.tagged(order) == 1
    desk.agrees()


def test_what_the_broker_rejects_after_taking_it_ends_the_trade(transactional_db, valkey, start_sandbox):
    """The exchange knows less money than the portfolio believes: the order is taken, and rejected in the book."""
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000")
    with stepped_desk(sandbox.base_url, BrokerAccount.Broker.ZERODHA) as desk:
        intent = desk.ask()
        desk.act()
        order = Order.objects.get(intent=intent)
        assert order.state == OrderState.REJECTED and order.broker_order_id
        assert Group.objects.get(pk=intent.group_id).state == Group.State.CLOSED
        assert desk.held() == desk.broker_net() == 0
