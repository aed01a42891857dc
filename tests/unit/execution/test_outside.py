"""One order outside the desk that closes more than one trade of ours holds: each trade takes what it held, no more."""

from execution.models import Group, Order, ReconRun
from tests.factories.portfolio import PortfolioFactory
from trading.domain.orders import Side
from trading.portfolio.models import ClosedTrade, Position

CLOSED = Group.State.CLOSED


def bought(desk) -> list[str]:
    """What was asked of the broker besides entries and their stops."""
    return [call for call in desk.broker.calls if call.startswith("place") and not call.endswith("STOP_LIMIT")]


def agrees(desk) -> None:
    run = desk.engine.reconcile(ReconRun.Cause.PERIODIC)
    assert run.outcome == ReconRun.Outcome.CLEAN, run.differences


def test_a_square_off_of_more_than_ours_closes_ours_and_buys_nothing_back(desk):
    group = desk.enter()
    desk.pass_time(seconds=5)
    by_hand = desk.broker.outside(desk.instrument.symbol, Side.BUY, 10)
    desk.broker.fill(by_hand, 10, "812.50")
    desk.turn(2)
    desk.pass_time(seconds=5)
    desk.broker.end(desk.stop_of(group).broker_order_id)
    desk.broker.fill(desk.broker.outside(desk.instrument.symbol, Side.SELL, 20), 20, "813.00")
    desk.turn(6)
    assert bought(desk) == ["place BUY 10 LIMIT"]
    agrees(desk)
    assert desk.held() == 0 and Group.objects.get(pk=group.pk).state == CLOSED


def test_a_square_off_of_two_portfolios_in_one_order_closes_both(desk):
    mine = desk.enter()
    other = PortfolioFactory(owner=desk.world.user, account=desk.account)
    intent = desk.ask(portfolio=other)
    assert intent.state == "APPROVED", intent.refusal
    desk.turn()
    desk.broker.fill(desk.order(intent).broker_order_id, 10, "812.30")
    desk.turn(3)
    theirs = Group.objects.get(pk=intent.group_id)
    desk.pass_time(seconds=5)
    for group in (mine, theirs):
        desk.broker.end(desk.stop_of(group).broker_order_id)
    desk.broker.fill(desk.broker.outside(desk.instrument.symbol, Side.SELL, 20), 20, "813.00")
    desk.turn(6)
    assert bought(desk) == ["place BUY 10 LIMIT"] * 2
    agrees(desk)
    assert {group.state for group in Group.objects.all()} == {CLOSED}
    assert {row.net_quantity for row in Position.objects.all()} == {0}
    gross = {trade.gross_paise for trade in ClosedTrade.objects.all()}
    assert gross == {700} and ClosedTrade.objects.count() == 2
    outside = Order.objects.get(broker_order_id__startswith="X")
    handed_on = Order.objects.filter(broker_order_id__startswith="DESK-")
    assert outside.filled_quantity == 20 and handed_on.count() == 2 and not sum(o.charges_paise for o in handed_on)
    desk.turn(2)
    assert handed_on.count() == 2


def test_a_sale_by_hand_that_races_our_own_stop_is_bought_back(desk):
    """Both sold what was held once: then the account is short, and the way out of that is ours to walk."""
    group = desk.enter()
    desk.pass_time(seconds=5)
    desk.broker.fill(desk.broker.outside(desk.instrument.symbol, Side.SELL, 10), 10, "803.80")
    desk.pass_time(seconds=1)
    desk.broker.fill(desk.stop_of(group).broker_order_id, 10, "803.90")
    desk.turn(4)
    assert desk.net_at_broker() == -10 and bought(desk)[-1].startswith("place BUY 10")
    desk.broker.fill(desk.broker.newest(), 10, "804.10")
    desk.turn(3)
    agrees(desk)
    assert desk.held() == 0 == desk.net_at_broker() and Group.objects.get(pk=group.pk).state == CLOSED


def test_a_square_off_of_today_closes_no_intraday_trade_of_yesterday(desk):
    left_over = desk.enter()
    desk.pass_time(days=1)
    desk.broker.book.clear()  # the broker squared it off, and nobody here was awake
    desk.broker.facts.clear()
    desk.turn(2)
    desk.world.feed.refresh_from_db()
    other = PortfolioFactory(owner=desk.world.user, account=desk.account)
    intent = desk.ask(portfolio=other)
    assert intent.state == "APPROVED", intent.refusal
    desk.turn()
    desk.broker.fill(desk.order(intent).broker_order_id, 10, "812.30")
    desk.turn(3)
    desk.pass_time(seconds=5)
    desk.broker.fill(desk.broker.outside(desk.instrument.symbol, Side.SELL, 10), 10, "813.00")
    desk.turn(4)
    assert Group.objects.get(pk=intent.group_id).state == CLOSED
    assert Group.objects.get(pk=left_over.pk).quarantined and Order.objects.filter(reason="SQUARE_OFF").count() == 1
