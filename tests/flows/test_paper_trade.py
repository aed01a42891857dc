"""A paper account on the prices of the sandbox: the same engine and the same rows, and a broker of the desk's own."""

from datetime import timedelta
from decimal import Decimal

import pytest

from execution.brokers.port import BrokerStatus
from execution.models import Group, Order, PaperOrder, PaperTrade, ReconRun
from execution.services.override import close_position
from execution.states import OrderState
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SYMBOL, SteppedDesk, stepped_desk
from trading.domain.crashpoint import arm
from trading.domain.orders import Product
from trading.portfolio.models import ClosedTrade


class Killed(BaseException):
    """Here the process would be gone."""


@pytest.fixture
def desk(transactional_db, valkey, start_sandbox) -> SteppedDesk:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")
    with stepped_desk(sandbox.base_url, paper=True) as found:
        yield found


def test_a_trade_is_entered_protected_left_alone_by_a_killed_engine_and_closed_at_its_target(desk):
    group = desk.enter(target_price=desk.near("0.05"))
    entry, stop = group.orders.get(reason="ENTRY"), group.orders.get(reason="STOP")
    assert entry.client_order_id.startswith("P") and entry.average_price is not None
    assert (stop.state, stop.quantity, desk.working()) == (OrderState.OPEN, 50, 50)
    desk.agrees()

    desk.venue.__exit__()
    desk.start_again()
    with desk.venue:
        desk.tick()
        assert desk.engine.reconcile(ReconRun.Cause.STARTUP).outcome == ReconRun.Outcome.CLEAN
        desk.agrees()
        desk.tick_until(lambda: Group.objects.get(pk=group.pk).state == Group.State.CLOSED, most=400)
        desk.agrees()
    assert desk.held() == desk.broker_net() == desk.working() == 0
    trade = ClosedTrade.objects.get()
    assert trade.exit_reason == "TARGET" and trade.quantity == 50
    assert not SandboxBooks(desk).orders, "the source of the prices has never seen an order"


def test_a_stop_that_was_passed_while_the_desk_was_dead_is_found_as_history_has_it(desk):
    group = desk.enter(stop_price=desk.near("-0.3"))
    stop = group.orders.get(reason="STOP")
    desk.venue.__exit__()

    placed_at = desk.now
    while not any(bar.low < stop.trigger_price - 1 for bar in desk.bars_since(placed_at)):
        desk.now = desk.control.step(until=desk.now + timedelta(minutes=20)).venue
    desk.now = desk.control.step(until=desk.now + timedelta(minutes=3)).venue
    desk.start_again()
    with desk.venue:
        desk.act()
        row = PaperOrder.objects.get(tag=stop.client_order_id)
        assert row.status == BrokerStatus.FILLED and row.filled_quantity == 50
        assert row.average_price <= stop.trigger_price
        assert placed_at < PaperTrade.objects.get(order=row).traded_at < desk.now - timedelta(minutes=1)
        desk.tick_until(lambda: Group.objects.get(pk=group.pk).state == Group.State.CLOSED)
        desk.agrees()
    assert desk.held() == 0


def test_a_desk_that_dies_before_it_could_write_down_the_answer_finds_its_one_order_again(desk):
    def die(point: str) -> None:
        if point == "dispatch.answered":
            raise Killed

    intent = desk.ask()
    arm(die)
    try:
        with pytest.raises(Killed):
            desk.engine.sweep()
    finally:
        arm(None)
    order = Order.objects.get(intent=intent)
    assert (order.state, desk.tagged(order)) == (OrderState.SENDING, 1)
    Order.objects.filter(pk=order.pk).update(lease_expires_at=order.created_at)
    desk.venue.__exit__()
    desk.start_again()
    with desk.venue:
        desk.tick_until(lambda: Order.objects.get(pk=order.pk).state == OrderState.FILLED)
        desk.act()
        assert desk.tagged(order) == 1 and desk.held() == 50
        desk.agrees()


def test_the_end_of_the_day_is_the_brokers(desk):
    """Orders of the day expire, intraday is squared off, deliveries lie in the demat account the next morning, and
    the day's contract note is paid."""
    group = desk.enter(product=Product.CNC, stop_price=desk.near("-3"), quantity=7)
    before = desk.gateway.funds()
    first = desk.now.date()
    while desk.control.clock().session_date == first:
        desk.control.step(until=desk.control.clock().venue + timedelta(hours=8))
        desk.control.step(ticks=1)
    desk.now = desk.control.clock().venue
    (held,) = desk.gateway.holdings()
    assert (held.symbol, held.quantity, held.sellable) == (SYMBOL, 7, 7)
    assert desk.gateway.orders() == [] and desk.gateway.positions() == []
    after = desk.gateway.funds()
    paid = held.average_price * 7
    charges = before.total - paid - after.total
    assert Decimal(0) < charges < Decimal(30), "brokerage, STT, stamp and the rest"
    desk.engine.reconcile(ReconRun.Cause.STARTUP)
    close_position(group_id=group.pk, actor="trader", now=desk.now)
    desk.tick_until(lambda: Group.objects.get(pk=group.pk).state == Group.State.CLOSED)
    assert desk.gateway.holdings()[0].sellable == 0


class SandboxBooks:
    """What the account that lends its prices has in its own books."""

    def __init__(self, desk: SteppedDesk) -> None:
        self.orders = desk.gateway.prices.connection.orders()
