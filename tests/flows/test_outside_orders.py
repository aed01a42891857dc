"""What is traded in the broker's own app, or by the broker, while several trades of the desk hold the same share: over
the real sandbox exchange, both sides of the books agree afterwards and nothing is bought back."""

from collections.abc import Iterator

import pytest

from execution.models import Fill, Group, Order, ReconRun
from execution.services.override import close_position
from risk.models import RiskBucket
from tests.factories import PortfolioFactory
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SYMBOL, SteppedDesk, stepped_desk
from trading.domain.orders import Side
from trading.monitoring.models import Alert
from trading.portfolio.ledger import Account, balance
from trading.portfolio.models import ClosedTrade, Portfolio, Position

CLOSED = Group.State.CLOSED
OWNER = "XF00001"


@pytest.fixture
def desk(transactional_db, valkey, start_sandbox) -> Iterator[SteppedDesk]:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:{OWNER}:1000000")
    with stepped_desk(sandbox.base_url) as found:
        yield found


@pytest.fixture
def trades(desk) -> list[Group]:
    """Fifty units each, of two portfolios; each has its stop at the broker."""
    found = [desk.enter(stop_price=desk.near("-4"))]
    desk.tick()
    other = PortfolioFactory(owner=desk.user, account=desk.account)
    found.append(desk.enter(portfolio=other, stop_price=desk.near("-4")))
    desk.tick()
    assert (desk.held(), desk.working()) == (100, 100)
    return found


def held_by(group: Group) -> int:
    return sum(Side(one.side).sign * one.filled_quantity for one in group.orders.all())


def state(group: Group) -> str:
    return Group.objects.get(pk=group.pk).state


def bought(desk: SteppedDesk) -> list[str]:
    """Of the desk's own orders those that bought, by how they came about."""
    own = {one.client_order_id for one in desk.gateway.orders() if one.side is Side.BUY}
    return list(Order.objects.filter(client_order_id__in=own).order_by("pk").values_list("reason", flat=True))


def agree(desk: SteppedDesk, *, but_for: str = "") -> None:
    """Both books, order by order and fill by fill, but for the order that was never ours; and the money."""
    desk.agrees()
    run = desk.engine.reconcile(ReconRun.Cause.PERIODIC)
    assert run.outcome == ReconRun.Outcome.CLEAN, run.differences
    there = {one.broker_order_id: one.filled_quantity for one in desk.gateway.orders()}
    there.pop(but_for, None)
    orders = Order.objects.exclude(broker_order_id__startswith="DESK-")
    assert there == dict(orders.values_list("broker_order_id", "filled_quantity"))
    traded = sorted(
        (one.broker_order_id, one.broker_trade_id, one.quantity)
        for one in desk.gateway.trades() if one.broker_order_id != but_for
    )  # fmt: skip
    fills = Fill.objects.filter(order__in=orders)
    assert traded == sorted(fills.values_list("order__broker_order_id", "broker_trade_id", "quantity"))
    for portfolio in Portfolio.objects.all():
        position = Position.objects.get(portfolio=portfolio)
        cash = portfolio.opening_cash_paise + position.realised_paise - position.charges_paise - position.cost_paise
        assert balance(portfolio.pk, Account.CASH) == cash
        assert sum(balance(portfolio.pk, account) for account in Account.values) == 0


def settled(desk: SteppedDesk, *, but_for: str = "") -> None:
    """Flat, and no room is taken by nobody."""
    agree(desk, but_for=but_for)
    assert desk.held() == 0 == desk.working()
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()
    assert ClosedTrade.objects.count() == 2


def test_fault_32_a_sale_by_hand_of_more_than_one_trade_ends_it_and_makes_the_next_smaller(desk, trades):
    first, second = trades
    desk.control.act("manual_trade", user=OWNER, symbol=SYMBOL, side=-1, qty=70)
    desk.tick_until(lambda: state(first) == CLOSED)
    desk.act(4)
    assert (held_by(first), held_by(second), desk.working()) == (0, 30, 30), "its stop is as large as what is left"
    agree(desk)
    assert bought(desk) == ["ENTRY", "ENTRY"]
    outside = Order.objects.get(quantity=70)
    assert outside.charges_paise > 0 and outside.group_id == first.pk
    assert Alert.objects.filter(code="OUTSIDE_EXIT").count() == 2
    assert close_position(group_id=second.pk, actor="me", now=desk.now)
    desk.tick_until(lambda: state(second) == CLOSED)
    settled(desk)


def test_fault_32_a_square_off_of_two_trades_and_of_units_bought_by_hand_buys_nothing_back(desk, trades):
    by_hand = desk.control.act("manual_trade", user=OWNER, symbol=SYMBOL, side=1, qty=20)
    desk.tick(2)
    assert (desk.held(), desk.broker_net(), desk.working()) == (100, 120, 100), "what is not ours is not ours"
    desk.control.act("square_off", user=OWNER)
    desk.tick_until(lambda: {state(one) for one in trades} == {CLOSED})
    desk.tick(3)
    assert bought(desk) == ["ENTRY", "ENTRY"]
    assert [held_by(one) for one in trades] == [0, 0]
    assert Alert.objects.filter(code="OUTSIDE_BEYOND").exists()
    settled(desk, but_for=by_hand)
