"""Orders over the real sandbox exchange: HTTP, sockets, matching, and the desk's engine driven step by step."""

from decimal import Decimal

import pytest

from execution.models import Fill, Group, Intent, Order, OrderEvent
from execution.services.override import close_position
from execution.services.square_off import square_off
from execution.states import OrderState
from risk.models import RiskBucket
from risk.policies import publish_policy
from tests.flows.stepped_desk import APP, ARGUMENTS, DAY, SECRET, SteppedDesk, stepped_desk
from trading.domain.errors import NotFound
from trading.domain.orders import OrderRequest, OrderType, Product, Side
from trading.monitoring.models import Alert
from trading.portfolio.ledger import Account, balance
from trading.portfolio.models import ClosedTrade, LedgerTransaction, Position

CLOSED = Group.State.CLOSED


@pytest.fixture
def desk(transactional_db, valkey, start_sandbox) -> SteppedDesk:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")
    with stepped_desk(sandbox.base_url) as found:
        yield found


def state(group) -> str:
    return Group.objects.get(pk=group.pk).state


def allow_anything(desk) -> None:
    everything = dict.fromkeys((
        "position_size_pct", "total_exposure_pct", "hard_exposure_pct", "sector_exposure_pct", "risk_per_trade_pct",
        "risk_cap_pct",
    ), Decimal(100))  # fmt: skip
    everything |= {"cash_reserve_pct": Decimal(0)}
    publish_policy(
        portfolio=desk.portfolio, values=everything | {"max_order_value_rupees": Decimal(100_000_000)}, actor="test"
    )


def flat_and_settled(desk) -> None:
    desk.agrees()
    assert desk.held() == 0 and desk.working() == 0
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()
    position = Position.objects.get()
    cash = balance(desk.portfolio.pk, Account.CASH)
    assert cash == desk.portfolio.opening_cash_paise + position.realised_paise - position.charges_paise
    assert sum(balance(desk.portfolio.pk, account) for account in Account.values) == 0
    assert ClosedTrade.objects.get().net_paise == position.realised_paise - position.charges_paise


def test_a_trade_from_entry_to_stop(desk):
    group = desk.enter(stop_price=desk.near("-0.15"))
    stop = group.orders.get(reason="STOP")
    assert (stop.quantity, stop.state, desk.working()) == (50, OrderState.OPEN, 50)
    desk.agrees()
    desk.tick_until(lambda: state(group) == CLOSED, most=400)
    flat_and_settled(desk)
    assert ClosedTrade.objects.get().exit_reason == "STOP"


def test_a_large_order_fills_in_parts_and_its_stop_follows(desk):
    allow_anything(desk)
    bid = desk.near("0.02")
    intent = desk.ask(quantity=900, order_type=OrderType.LIMIT, limit_price=bid)
    assert intent.state == Intent.State.APPROVED, intent.refusal
    seen = set()

    def grown():
        order = Order.objects.get(intent=intent)
        desk.agrees()
        stop = order.group.orders.filter(reason="STOP").last()
        if order.filled_quantity:
            assert stop is not None and stop.quantity - stop.filled_quantity == desk.held() == desk.working()
            seen.add(order.filled_quantity)
        return order.state == OrderState.FILLED

    desk.tick_until(grown, most=120)
    assert max(seen) == 900
    order = Order.objects.get(intent=intent)
    assert order.fills.count() >= 1 and order.group.orders.filter(reason="STOP").count() == 1
    assert order.fill_value_paise == sum(fill.value_paise for fill in order.fills.all())


def test_a_lost_reply_is_one_order_found_by_its_tag(desk):
    desk.control.faults(kind="drop_reply")
    intent = desk.ask()
    desk.ready()
    desk.engine.send_queued()
    order = Order.objects.get(intent=intent)
    assert order.state == OrderState.UNKNOWN or order.broker_order_id, "the stream may be faster than the doubt"
    desk.tick(3)
    order.refresh_from_db()
    assert order.state == OrderState.FILLED and desk.tagged(order) == 1
    assert order.events.filter(kind="order.unknown").exists() or order.broker_order_id
    desk.agrees()
    assert desk.held() == 50 == desk.working()


def test_the_target_cancels_the_stop_first_and_never_oversells(desk):
    group = desk.enter(side=Side.SELL, target_price=desk.near("-0.15"), stop_price=desk.near("3"))

    def closed():
        desk.agrees()
        return state(group) == CLOSED

    desk.tick_until(closed, most=400)
    flat_and_settled(desk)
    trade = ClosedTrade.objects.get()
    assert trade.exit_reason == "TARGET" and trade.gross_paise > 0
    stop, exit_order = group.orders.get(reason="STOP"), group.orders.get(reason="TARGET")
    assert stop.state == OrderState.CANCELLED and stop.done_at < exit_order.sent_at


def test_a_close_by_hand_pressed_twice_closes_once(desk):
    group = desk.enter()
    assert close_position(group_id=group.pk, actor="me", now=desk.now)
    assert not close_position(group_id=group.pk, actor="me", now=desk.now)
    desk.tick_until(lambda: state(group) == CLOSED)
    flat_and_settled(desk)
    assert group.orders.filter(reason="MANUAL").count() == 1
    assert not close_position(group_id=group.pk, actor="me", now=desk.now)


def test_a_sale_in_the_brokers_own_app_ends_the_trade_and_its_stop(desk):
    group = desk.enter()
    desk.tick()
    desk.gateway.place(OrderRequest("OWNERSOWNTAG", "NSE:SBIN-EQ", Side.SELL, 50, OrderType.MARKET, Product.INTRADAY))
    desk.tick_until(lambda: state(group) == CLOSED)
    flat_and_settled(desk)
    assert Alert.objects.filter(code="OUTSIDE_EXIT").exists()


def test_the_clock_squares_off_before_the_broker_does(desk):
    group = desk.enter(stop_price=desk.near("-4"))
    desk.control.step(until=DAY.replace(hour=15, minute=1))
    desk.tick()
    assert square_off(account_id=desk.account.pk, now=desk.now) == 1
    assert square_off(account_id=desk.account.pk, now=desk.now) == 0
    desk.tick_until(lambda: state(group) == CLOSED)
    flat_and_settled(desk)


def test_fault_32_a_day_that_ends_with_a_position_ends_with_the_brokers_square_off(desk):
    group = desk.enter(stop_price=desk.near("-4"))
    step = desk.control.step(until=DAY.replace(hour=15, minute=15))
    desk.now = step.venue
    desk.act(4)
    assert state(group) == CLOSED
    assert group.orders.get(reason="STOP").state == OrderState.EXPIRED
    flat_and_settled(desk)


def test_fault_40_news_twice_and_books_read_again_change_nothing(desk):
    group = desk.enter()

    def everything():
        return (
            list(Order.objects.order_by("pk").values()), OrderEvent.objects.count(), Fill.objects.count(),
            LedgerTransaction.objects.count(), list(RiskBucket.objects.order_by("pk").values()),
        )  # fmt: skip

    desk.act(2)
    before = everything()
    for _ in range(2):
        desk.engine.read_books()
        for fact in reversed(desk.gateway.trades()):
            desk.engine.hear_fill(fact)
        for news in reversed(desk.gateway.orders()):
            desk.engine.hear_order(news)
    assert everything() == before and state(group) == Group.State.ACTIVE


# -- what is refused ---------------------------------------------------------------------------------------------


def nothing_held(desk) -> None:
    assert desk.held() == 0 == desk.broker_net()
    assert not Group.objects.exclude(state=CLOSED).exists()
    assert not RiskBucket.objects.exclude(reserved=0).exists()


def test_an_unknown_symbol_is_nothing_at_all(desk):
    with pytest.raises(NotFound, match="UNKNOWN_SYMBOL"):
        desk.ask(symbol="NSE:NOSUCH-EQ")
    assert not Intent.objects.exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"order_type": OrderType.LIMIT, "limit_price": Decimal("800.013")}, "TICK_SIZE"),
        ({"stop_price": None}, "STOP_REQUIRED"),
        ({"symbol": "NSE:NIFTY50-INDEX"}, "NOT_TRADABLE"),
    ],
)
def test_what_is_no_order_is_refused_here(desk, changes, code):
    intent = desk.ask(**changes)
    assert (intent.state, intent.refusal_code) == (Intent.State.REFUSED, code), intent.refusal
    desk.act()
    assert not desk.gateway.orders()
    nothing_held(desk)


def test_a_closed_market_refuses_an_entry(desk):
    desk.now = DAY.replace(hour=16)
    assert desk.ask().refusal_code == "MARKET_HOURS"
    nothing_held(desk)


def test_what_the_exchange_refuses_frees_its_room(desk):
    """The exchange knows less money than the portfolio believes: a margin shortfall comes back as a refusal."""
    allow_anything(desk)
    type(desk.portfolio).objects.update(opening_cash_paise=1_000_000_000_00)
    desk.portfolio.refresh_from_db()
    intent = desk.ask(quantity=20_000)
    assert intent.allowed_quantity > 10_000, intent.allowed_quantity
    assert intent.state == Intent.State.APPROVED, intent.refusal
    desk.act(4)
    order = Order.objects.get(intent=intent)
    assert order.state == OrderState.REJECTED and "Margin Shortfall" in order.broker_message
    nothing_held(desk)
    assert Alert.objects.filter(code="ORDER_REJECTED").exists()


def test_an_entry_into_a_market_that_has_just_closed_is_refused_by_the_exchange(desk):
    intent = desk.ask()
    desk.control.step(until=DAY.replace(hour=15, minute=15))
    desk.act(3)
    order = Order.objects.get(intent=intent)
    assert order.state == OrderState.REJECTED and "Market is closed" in order.broker_message
    nothing_held(desk)
