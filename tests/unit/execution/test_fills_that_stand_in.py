"""A book that counts fills and shows no trades: one fill stands in for them, once, and goes when they come."""

import pytest

from execution.engine.books import read_books
from execution.models import Fill, Order, ReconRun
from execution.services.fill_apply import fill_apply
from execution.states import OrderState
from tests.small_desk import small_desk
from trading.monitoring.models import Alert
from trading.portfolio.ledger import Account, balance
from trading.portfolio.models import LedgerEntry, Position

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(valkey):
    return small_desk()


def look(desk, *, patience_s: float = 0.0) -> None:
    read_books(account=desk.account, gateway=desk.broker, now=desk.now[0], stand_in_after_s=patience_s)


def untold(desk, order: Order, *parts: tuple[int, str]) -> list:
    """The order trades, and the trade book keeps it to itself."""
    facts = [desk.broker.fill(order.broker_order_id, quantity, price) for quantity, price in parts]
    desk.broker.untold |= {fact.broker_trade_id for fact in facts}
    return facts


def entered(desk) -> Order:
    intent = desk.ask()
    desk.turn()
    return desk.order(intent)


def agrees(desk, order: Order, *, quantity: int, value_paise: int) -> None:
    """Order, position, cash and ledger say the same."""
    order.refresh_from_db()
    position = Position.objects.get(portfolio=desk.portfolio)
    assert (order.filled_quantity, order.fill_value_paise) == (quantity, value_paise)
    assert (position.net_quantity, position.cost_paise - position.realised_paise) == (quantity, value_paise)
    assert position.charges_paise == order.charges_paise
    assert sum(LedgerEntry.objects.values_list("amount_paise", flat=True)) == 0
    cash = desk.portfolio.opening_cash_paise - value_paise - order.charges_paise
    assert balance(desk.portfolio.pk, Account.CASH) == cash


def standing() -> list[tuple[int, bool]]:
    return [(fill.quantity, fill.synthetic) for fill in Fill.objects.filter(bust=None).order_by("pk")]


def test_patience_first_then_one_fill_at_the_orders_average_and_never_a_second(desk):
    order = entered(desk)
    untold(desk, order, (4, "812.00"), (6, "812.30"))
    look(desk, patience_s=3600)
    look(desk, patience_s=3600)
    assert not Fill.objects.exists()  # the trades may still come
    assert order.events.filter(kind="order.ahead").count() == 1
    for _ in range(3):
        look(desk)
    assert standing() == [(10, True)]
    agrees(desk, order, quantity=10, value_paise=8_121_80)
    assert order.state == OrderState.FILLED
    assert Alert.objects.filter(code="FILL_STANDS_IN").count() == 1
    # Books that do not agree with each other are not compared with ours.
    assert desk.engine.reconcile(ReconRun.Cause.PERIODIC).outcome == ReconRun.Outcome.INVALID
    assert standing() == [(10, True)]


def test_no_average_no_price_is_invented(desk):
    order = entered(desk)
    untold(desk, order, (4, "812.00"))
    desk.broker._put(desk.broker.book[order.broker_order_id], average_price=None)
    for _ in range(3):
        look(desk)
    assert not Fill.objects.exists()


def test_its_name_follows_from_the_order_and_the_sums(desk):
    order = entered(desk)
    untold(desk, order, (4, "812.00"))
    for _ in range(2):
        look(desk)
    untold(desk, order, (3, "812.10"))
    for _ in range(2):
        look(desk)
    names = list(Fill.objects.order_by("pk").values_list("broker_trade_id", flat=True))
    assert len(set(names)) == 2 and all(name.startswith("SUM-") for name in names)
    agrees(desk, order, quantity=7, value_paise=5_684_30)


def test_trades_that_come_one_by_one_take_its_place_and_replaying_them_changes_nothing(desk):
    order = entered(desk)
    first, second = untold(desk, order, (4, "812.00"), (6, "812.30"))
    for _ in range(2):
        look(desk)
    fill_apply(account_id=desk.account.pk, fact=second, source="SOCKET")
    assert standing() == [(6, False), (4, True)]
    agrees(desk, order, quantity=10, value_paise=8_121_80)
    desk.broker.untold.clear()
    look(desk)
    assert standing() == [(6, False), (4, False)]
    agrees(desk, order, quantity=10, value_paise=8_121_80)
    before = Fill.objects.count(), LedgerEntry.objects.count(), order.events.count()
    for fact in (first, second, first):
        assert fill_apply(account_id=desk.account.pk, fact=fact, source="SOCKET") is None
    look(desk)
    assert (Fill.objects.count(), LedgerEntry.objects.count(), order.events.count()) == before
    assert desk.engine.reconcile(ReconRun.Cause.PERIODIC).outcome == ReconRun.Outcome.CLEAN


def test_a_new_trade_that_comes_before_the_old_ones_leaves_no_gap(desk):
    order = entered(desk)
    untold(desk, order, (4, "812.00"))
    for _ in range(2):
        look(desk)
    desk.broker.fill(order.broker_order_id, 6, "812.30")
    for _ in range(3):
        look(desk)
    assert standing() == [(6, False), (4, True)]
    desk.broker.untold.clear()
    look(desk)
    assert standing() == [(6, False), (4, False)]
    agrees(desk, order, quantity=10, value_paise=8_121_80)


def test_what_it_stands_for_is_protected_and_sold_and_lots_follow_the_trades(desk):
    order = entered(desk)
    facts = untold(desk, order, (4, "812.00"), (6, "812.30"))
    for _ in range(2):
        look(desk)
    desk.turn(2)
    stop = desk.stop_of(order.group)
    assert stop.quantity == 10
    desk.broker.fill(stop.broker_order_id, 7, "803.00")
    desk.turn(2)
    for fact in facts:
        fill_apply(account_id=desk.account.pk, fact=fact, source="SOCKET")
    desk.broker.untold.clear()
    stop.refresh_from_db()
    real = set(Fill.objects.filter(order=order, synthetic=False).values_list("execution_key", flat=True))
    assert {name for name, _ in stop.lot_relief} <= real
    assert desk.held() == desk.net_at_broker() == 3
    position = Position.objects.get(portfolio=desk.portfolio)
    bought, sold = 4 * 812_00 + 6 * 812_30, 7 * 803_00
    assert position.cost_paise - position.realised_paise == bought - sold
    assert sum(LedgerEntry.objects.values_list("amount_paise", flat=True)) == 0
    assert desk.engine.reconcile(ReconRun.Cause.PERIODIC).outcome == ReconRun.Outcome.CLEAN


@pytest.mark.parametrize("first_told", [0, 1])
def test_trades_as_large_as_what_stood_in_take_its_place_one_by_one(desk, first_told):
    """Two of the same size: what is left when the first has come lies between the same sums as what stood in before."""
    order = entered(desk)
    facts = []
    for price in ("812.00", "812.20"):
        facts += untold(desk, order, (5, price))
        for _ in range(2):
            look(desk)
    assert standing() == [(5, True), (5, True)]
    desk.broker.untold.discard(facts[first_told].broker_trade_id)
    for _ in range(2):
        look(desk)
    assert standing() == [(5, False), (5, True)]
    agrees(desk, order, quantity=10, value_paise=8_121_00)
    desk.broker.untold.clear()
    look(desk)
    assert standing() == [(5, False), (5, False)]
    agrees(desk, order, quantity=10, value_paise=8_121_00)
