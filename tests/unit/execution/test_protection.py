"""What is held is protected, what protects is never larger than what is held, and a trade that is over is over."""

from datetime import timedelta
from decimal import Decimal

import pytest

from execution.brokers.port import BrokerStatus
from execution.models import Group, Intent, Order
from execution.services.group_exit import group_exit
from execution.services.intent_judge import at_risk
from execution.services.kill_switch_pull import kill_switch_pull, kill_switch_rearm
from execution.services.order_cancel import order_cancel
from execution.services.part_exit import part_exit
from execution.states import OrderState, PendingOp
from risk.drawdown_watch import watch_drawdown
from risk.kill_switch import of_portfolio
from risk.models import DrawdownState, RiskBucket
from risk.policies import active_policy
from tests.factories.people import a_factor
from tests.small_broker import LOST, NOT_SENT, Refuse
from trading.audit.models import AuditEntry
from trading.domain.orders import Reason, Side
from trading.monitoring.models import Alert
from trading.portfolio.models import ClosedTrade

CLOSED = Group.State.CLOSED


def state(group):
    return Group.objects.get(pk=group.pk).state


def test_the_stop_follows_what_is_held(desk):
    group = desk.enter(filled=4)
    stop = desk.stop_of(group)
    assert (stop.quantity, stop.state, desk.held()) == (4, OrderState.OPEN, 4)
    entry = group.orders.get(reason="ENTRY")
    desk.broker.fill(entry.broker_order_id, 6, "812.35")
    desk.turn(2)
    assert desk.stop_of(group).quantity == 10 == desk.working() == desk.held()
    assert group.orders.filter(reason="STOP").count() == 1


def test_a_stop_that_is_hit_closes_the_trade(desk):
    group = desk.enter()
    desk.broker.fill(desk.stop_of(group).broker_order_id, 10, "803.50")
    desk.turn(2)
    assert state(group) == CLOSED and desk.held() == 0
    trade = ClosedTrade.objects.get()
    assert (trade.quantity, trade.exit_reason, trade.gross_paise) == (10, "STOP", -88_00)
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()


def test_closing_cancels_the_stop_first_and_then_sells_what_is_held_then(desk):
    group = desk.enter()
    assert group_exit(group_id=group.pk, reason=Reason.TARGET, actor="the price")
    stop = desk.stop_of(group)
    desk.broker.answers.append("slow")
    desk.turn(2)
    assert desk.working() == 10, "nothing is sold while the stop may still trade"
    desk.broker.fill(stop.broker_order_id, 3, "804.00")
    desk.broker.end(stop.broker_order_id)
    desk.turn(2)
    exit_order = Order.objects.get(reason="TARGET")
    assert exit_order.quantity == 7
    desk.broker.fill(exit_order.broker_order_id, 7, "815.00")
    desk.turn(2)
    assert state(group) == CLOSED and desk.net_at_broker() == desk.held() == 0


def test_asking_twice_closes_once(desk):
    group = desk.enter()
    assert group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    assert not group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    desk.turn(4)
    assert Order.objects.filter(reason="MANUAL").count() == 1


def test_fault_23_a_close_while_nobody_knows_whether_the_entry_arrived(desk):
    desk.broker.answers.append(LOST)
    desk.broker.hidden.add("B000001")
    intent = desk.ask()
    desk.turn()
    order = desk.order(intent)
    assert order.state == OrderState.UNKNOWN
    group_exit(group_id=order.group_id, reason=Reason.MANUAL, actor="me")
    desk.turn(2)
    assert state(order.group) == Group.State.CLOSING
    desk.broker.fill("B000001", 4, "812.35")
    desk.broker.hidden.clear()
    desk.turn(4)
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == (OrderState.CANCELLED, 4)
    exit_order = Order.objects.get(reason="MANUAL")
    assert exit_order.quantity == 4
    desk.broker.fill(exit_order.broker_order_id, 4, "812.00")
    desk.turn(2)
    assert state(order.group) == CLOSED and desk.held() == 0
    assert sum(call.startswith("place BUY") for call in desk.broker.calls) == 1


def test_an_entry_given_up_after_a_partial_fill_keeps_its_stop_and_frees_the_rest(desk):
    group = desk.enter(filled=4)
    room = RiskBucket.objects.get(kind="EXPOSURE")
    assert (room.reserved, room.used) == (6 * 812_35, 4 * 812_30), "four are held, six may still come"
    desk.pass_time(minutes=6)
    desk.turn(3)
    entry = group.orders.get(reason="ENTRY")
    assert (entry.state, entry.filled_quantity) == (OrderState.CANCELLED, 4)
    assert desk.stop_of(group).quantity == 4 == desk.held()
    room.refresh_from_db()
    assert (room.reserved, room.used) == (0, entry.fill_value_paise)


# -- somebody else trades our position ---------------------------------------------------------------------------


def test_a_stop_dies_when_the_position_was_sold_outside(desk):
    group = desk.enter()
    desk.pass_time(seconds=5)
    outside = desk.broker.outside(desk.instrument.symbol, Side.SELL, 10)
    desk.broker.fill(outside, 10, "813.00")
    desk.turn(4)
    assert desk.held() == 0
    assert desk.working() == 0, "a stop without a position opens one"
    assert state(group) == CLOSED


def test_an_exit_shrinks_when_part_of_it_was_sold_outside(desk):
    group = desk.enter()
    group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    desk.turn(3)
    assert desk.working() == 10
    desk.pass_time(seconds=5)
    desk.broker.fill(desk.broker.outside(desk.instrument.symbol, Side.SELL, 6), 6, "813.00")
    desk.turn(4)
    assert desk.working() <= desk.held() == 4
    desk.broker.fill(Order.objects.filter(reason="MANUAL").latest("pk").broker_order_id, 4, "812.00")
    desk.turn(2)
    assert desk.held() == 0 and state(group) == CLOSED


def test_an_old_outside_order_is_not_taken_for_the_end_of_a_new_trade(desk):
    for side in (Side.BUY, Side.SELL):  # yesterday's idea of the owner, over before ours began
        desk.broker.fill(desk.broker.outside(desk.instrument.symbol, side, 10), 10, "810.00")
    desk.pass_time(minutes=30)
    group = desk.enter()
    desk.turn(2)
    assert desk.held() == 10 == desk.working()
    assert state(group) == Group.State.ACTIVE


def test_more_sold_than_held_is_bought_back_and_never_forgotten(desk):
    group = desk.enter()
    desk.pass_time(seconds=5)
    desk.broker.fill(desk.broker.outside(desk.instrument.symbol, Side.SELL, 10), 10, "813.00")
    desk.broker.fill(desk.stop_of(group).broker_order_id, 10, "804.00")  # in the same moment
    desk.turn(3)
    assert desk.held() == -10 == desk.net_at_broker()
    found = Group.objects.get(pk=group.pk)
    assert found.quarantined and found.state != CLOSED
    assert Alert.objects.filter(code="OVERCLOSED").exists()
    back = found.orders.latest("pk")
    assert (back.side, back.quantity) == ("BUY", 10)
    desk.broker.fill(back.broker_order_id, 10, "813.00")
    desk.turn(2)
    assert desk.held() == 0 and state(group) == CLOSED


# -- the broker says no ------------------------------------------------------------------------------------------


def test_a_stop_that_never_left_is_sent_again(desk):
    intent = desk.ask()
    desk.turn()
    desk.broker.fill(desk.order(intent).broker_order_id, 10, "812.30")
    desk.broker.answers.append(NOT_SENT)
    desk.turn(2)
    Order.objects.filter(reason="STOP").update(created_at=desk.order(intent).created_at.replace(year=2020))
    desk.turn(2)
    group = desk.order(intent).group
    assert Group.objects.get(pk=group.pk).close_reason == "", "a lost connection is no reason to sell"
    assert desk.stop_of(group).state == OrderState.OPEN and desk.working() == 10


def test_a_stop_that_the_broker_refuses_is_an_exit_now(desk):
    intent = desk.ask()
    desk.turn()
    desk.broker.fill(desk.order(intent).broker_order_id, 10, "812.30")
    desk.broker.answers.append(Refuse())
    desk.turn(4)
    exit_order = Order.objects.filter(reason="STOP", trigger_price=None).get()
    assert exit_order.quantity == 10 == desk.working()


def test_a_cancel_that_never_left_is_asked_again(desk):
    group = desk.enter(filled=0)
    entry = group.orders.get()
    order_cancel(order_id=entry.pk, actor="me", now=desk.now[0])
    desk.broker.answers.append(NOT_SENT)
    desk.engine.send_changes()
    entry.refresh_from_db()
    assert entry.pending_op != PendingOp.NONE, "the wish to cancel outlives a lost connection"
    Order.objects.update(next_probe_at=None)
    desk.turn(2)
    entry.refresh_from_db()
    assert entry.state == OrderState.CANCELLED


def test_a_lockdown_holds_an_exit_back_and_lets_it_go_afterwards(desk):
    group = desk.enter()
    kill_switch_pull(scope=of_portfolio(desk.portfolio), level=5, reason="stop", actor="me", now=desk.now[0])
    group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    desk.turn(6)
    assert not Order.objects.filter(reason="MANUAL").exists()
    assert Intent.objects.filter(reason="MANUAL").count() <= 1, "held back once, not at every sweep"
    kill_switch_rearm(
        scope=of_portfolio(desk.portfolio), reason="go on", actor="me", factor=a_factor(), now=desk.now[0]
    )
    Intent.objects.filter(reason="MANUAL").update(created_at=group.created_at.replace(year=2020))
    desk.instrument_price("815.00")
    desk.turn(4)
    assert Order.objects.get(reason="MANUAL").quantity == 10


def test_protection_held_back_by_a_lockdown_comes_afterwards(desk):
    intent = desk.ask()
    desk.turn()
    kill_switch_pull(scope=of_portfolio(desk.portfolio), level=5, reason="stop", actor="me", now=desk.now[0])
    desk.broker.fill(desk.order(intent).broker_order_id, 10, "812.30")
    desk.turn(3)
    assert desk.working() == 0
    kill_switch_rearm(
        scope=of_portfolio(desk.portfolio), reason="go on", actor="me", factor=a_factor(), now=desk.now[0]
    )
    Intent.objects.filter(reason="STOP").update(created_at=intent.created_at.replace(year=2020))
    desk.turn(3)
    assert desk.working() == 10


# -- sizes that change under way ---------------------------------------------------------------------------------


def test_fault_30_a_stop_that_trades_while_it_is_made_larger_is_not_taken_for_done(desk):
    group = desk.enter(filled=4)
    entry, stop = group.orders.get(reason="ENTRY"), desk.stop_of(group)
    desk.broker.fill(entry.broker_order_id, 6, "812.35")
    desk.broker.answers.append(LOST)  # the change to ten arrives, its reply does not
    desk.engine.read_books()
    desk.engine.sweep()
    stop.refresh_from_db()
    assert (stop.pending_op, stop.pending_quantity) == (PendingOp.MODIFY_SENT, 10)
    desk.engine.hear_fill(desk.broker.fill(stop.broker_order_id, 4, "804.00"))
    stop.refresh_from_db()
    assert stop.state != OrderState.FILLED, "six of it may still trade"
    desk.turn(3)
    assert desk.working() == desk.held() == 6
    assert not Alert.objects.filter(code="OVERFILLED").exists()


def test_a_cancel_over_a_change_under_way_keeps_the_size_the_broker_works_at(desk):
    group = desk.enter(filled=4)
    entry, stop = group.orders.get(reason="ENTRY"), desk.stop_of(group)
    desk.broker.fill(entry.broker_order_id, 6, "812.35")
    desk.broker.answers.append(LOST)
    desk.engine.read_books()
    desk.engine.sweep()
    order_cancel(order_id=stop.pk, actor="me", now=desk.now[0])
    desk.engine.hear_fill(desk.broker.fill(stop.broker_order_id, 4, "804.00"))
    stop.refresh_from_db()
    assert stop.state != OrderState.FILLED
    desk.engine.read_books()
    stop.refresh_from_db()
    assert (stop.quantity, stop.filled_quantity) == (10, 4)
    assert not Alert.objects.filter(code="OVERFILLED").exists()


def test_an_order_that_ended_smaller_than_we_thought_has_ended(desk):
    group = desk.enter(filled=0)
    entry = group.orders.get()
    broker_id = entry.broker_order_id
    desk.broker._put(desk.broker.book[broker_id], quantity=6, remaining_quantity=6)
    desk.engine.hear_fill(desk.broker.fill(broker_id, 6, "812.35"))
    desk.turn(3)
    entry.refresh_from_db()
    assert (entry.state, entry.quantity, desk.stop_of(group).quantity) == (OrderState.FILLED, 6, 6)


def test_fault_27_an_overfill_is_booked_and_protected(desk):
    group = desk.enter(filled=0)
    entry = group.orders.get()
    desk.broker.fill(entry.broker_order_id, 15, "812.35")
    desk.turn(3)
    found = Group.objects.get(pk=group.pk)
    assert found.quarantined and desk.held() == 15 == desk.working()
    assert Alert.objects.filter(code="OVERFILLED").exists()


@pytest.mark.parametrize("reordered", [False, True])
def test_partly_filled_and_then_cancelled(desk, reordered):
    group = desk.enter(filled=0)
    entry = group.orders.get()
    fact = desk.broker.fill(entry.broker_order_id, 4, "812.35")
    ended = desk.broker.end(entry.broker_order_id, BrokerStatus.CANCELLED)
    for hear in [lambda: desk.engine.hear_fill(fact), lambda: desk.engine.hear_order(ended)][:: -1 if reordered else 1]:
        hear()
    entry.refresh_from_db()
    assert (entry.filled_quantity, entry.is_final) == (4, not reordered), "an end is believed with its fills"
    desk.turn(3)
    entry.refresh_from_db()
    assert (entry.state, desk.stop_of(group).quantity) == (OrderState.CANCELLED, 4)


def test_the_exit_reaches_further_but_not_for_ever(desk):
    group = desk.enter()
    group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    for _ in range(12):
        desk.turn(2)
        for order in Order.objects.filter(reason="MANUAL", state=OrderState.OPEN):
            Order.objects.filter(pk=order.pk).update(acked_at=order.created_at.replace(year=2020))
    last = Order.objects.filter(reason="MANUAL").latest("pk")
    assert last.limit_price > Decimal("812.35") * Decimal("0.95")
    assert desk.working() <= 10


def turn_defensive(desk) -> None:
    equity = 10_000_000
    policy = active_policy(desk.portfolio.pk)
    for worth in (equity, equity * 84 // 100):
        watch_drawdown(portfolio=desk.portfolio, equity_paise=worth, policy=policy, now=desk.now[0])


def tightenings() -> list[str]:
    return [entry.detail["watched"] for entry in AuditEntry.objects.filter(action="stop.tightened")]


def test_a_drawdown_draws_the_stops_of_what_is_held_closer_once_and_never_back(desk):
    group = desk.enter()  # at 812.30, its stop at 804
    desk.pass_time(minutes=1)
    turn_defensive(desk)
    for _ in range(3):  # whoever is killed in between, or looks again, changes nothing
        desk.engine.keep_rules_of_time()
    group.refresh_from_db()
    # Four fifths of 8.30 below the entry, away from the price on the tick.
    assert (group.trail_price, group.stop_price) == (Decimal("805.65"), Decimal("804.00"))
    assert tightenings() == ["805.65"]
    Group.objects.filter(pk=group.pk).update(trail_price=Decimal("808.00"))  # trailing had it nearer already
    desk.engine.keep_rules_of_time()
    group.refresh_from_db()
    assert group.trail_price == Decimal("808.00") and len(tightenings()) == 1
    desk.engine.watch_groups()
    desk.engine.hear_ticks(desk.ticks("807.90"))
    group.refresh_from_db()
    assert group.close_reason == Reason.TRAILING


def moves(desk) -> list[str]:
    return [call for call in desk.broker.calls if call.startswith("modify") and " from " in call]


def test_the_stop_at_the_broker_is_moved_where_it_stands_and_never_back(desk):
    group = desk.enter()
    stop = desk.stop_of(group)
    desk.pass_time(minutes=1)
    turn_defensive(desk)
    desk.engine.keep_rules_of_time()
    desk.turn(3)
    stop.refresh_from_db()
    assert moves(desk) == ["modify None from 805.6500"] and stop.trigger_price == Decimal("805.65")
    at_broker = desk.broker.book[stop.broker_order_id]
    assert (at_broker.trigger_price, at_broker.limit_price, at_broker.quantity) == (
        Decimal("805.65"), Decimal("796.00"), 10,
    )  # fmt: skip
    assert desk.working() == desk.held() == 10 and group.orders.filter(reason="STOP").count() == 1
    policy = active_policy(desk.portfolio.pk)
    watch_drawdown(portfolio=desk.portfolio, equity_paise=10_000_000, policy=policy, now=desk.now[0])
    assert DrawdownState.objects.get().step == "NORMAL"
    desk.engine.keep_rules_of_time()
    desk.turn(3)
    stop.refresh_from_db()
    assert len(moves(desk)) == 1 and stop.trigger_price == Decimal("805.65"), "what was won is kept"


def test_a_stop_that_the_broker_will_not_move_stays_and_is_asked_for_once(desk):
    group = desk.enter()
    stop = desk.stop_of(group)
    desk.pass_time(minutes=1)
    turn_defensive(desk)
    desk.broker.answers.append(Refuse("REJECTED", "trigger price is past the market"))
    for _ in range(4):
        desk.engine.keep_rules_of_time()
        desk.turn(2)
    stop.refresh_from_db()
    assert len(moves(desk)) == 1 and stop.trigger_price == Decimal("804.00") and desk.working() == 10
    desk.engine.watch_groups()
    desk.engine.hear_ticks(desk.ticks("805.60"))
    group.refresh_from_db()
    assert group.close_reason == Reason.TRAILING, "the engine watches the nearer one all the same"


def test_a_lost_reply_to_a_move_is_settled_by_the_book(desk):
    group = desk.enter()
    stop = desk.stop_of(group)
    desk.pass_time(minutes=1)
    turn_defensive(desk)
    desk.broker.answers.append(LOST)
    desk.engine.keep_rules_of_time()
    desk.turn(3)
    stop.refresh_from_db()
    assert (stop.trigger_price, stop.pending_op, stop.pending_trigger_price) == (Decimal("805.65"), "NONE", None)
    assert len(moves(desk)) == 1


def test_a_stop_that_grows_after_a_drawdown_keeps_its_nearer_place_and_a_new_one_begins_there(desk):
    group = desk.enter(filled=4)
    entry = group.orders.get(reason="ENTRY")
    desk.pass_time(minutes=1)
    turn_defensive(desk)
    desk.engine.keep_rules_of_time()
    desk.turn(3)
    desk.broker.fill(entry.broker_order_id, 6, "812.35")
    desk.turn(4)
    stop = desk.stop_of(group)
    assert (stop.quantity, stop.trigger_price) == (10, Decimal("805.65")) and desk.working() == 10
    desk.broker.end(stop.broker_order_id)  # cancelled in the broker's app
    desk.turn(4)
    assert desk.stop_of(group).trigger_price == Decimal("805.65") and desk.working() == 10


def test_of_several_stops_one_that_will_not_move_does_not_keep_the_others(desk):
    group = desk.enter(filled=4)
    entry = group.orders.get(reason="ENTRY")
    type(desk.instrument).objects.filter(pk=desk.instrument.pk).update(freeze_quantity=6)
    desk.broker.fill(entry.broker_order_id, 6, "812.35")
    desk.turn(5)
    stops = group.orders.filter(reason="STOP").order_by("pk")
    assert [one.quantity for one in stops] == [6, 4], "no more than the exchange takes in one"
    desk.pass_time(minutes=1)
    turn_defensive(desk)
    desk.broker.answers.append(Refuse("REJECTED", "changed too often"))
    for _ in range(3):
        desk.engine.keep_rules_of_time()
        desk.turn(2)
    assert [one.trigger_price for one in stops.all()] == [Decimal("804.00"), Decimal("805.65")]
    assert len(moves(desk)) == 2 and desk.working() == 10


def test_a_stop_that_was_drawn_nearer_in_the_brokers_app_is_not_moved_away_again(desk):
    group = desk.enter()
    stop = desk.stop_of(group)
    desk.pass_time(minutes=1)
    desk.broker.at += timedelta(seconds=5)
    desk.broker._put(desk.broker.book[stop.broker_order_id], trigger_price=Decimal("808.00"))
    desk.turn(2)
    turn_defensive(desk)
    desk.engine.keep_rules_of_time()
    desk.turn(3)
    assert not moves(desk) and desk.broker.book[stop.broker_order_id].trigger_price == Decimal("808.00")
    stop.refresh_from_db()
    assert stop.trigger_price == Decimal("808.00")
    assert stop.events.filter(kind="order.changed_outside", detail__trigger="808.00").exists()


@pytest.mark.parametrize(("side", "stop"), [(Side.BUY, "804.00"), (Side.SELL, "820.60")])
def test_what_a_trade_may_still_lose_is_that_of_what_is_left_of_it(desk, side, stop):
    group = desk.enter()
    key = f"part:{side}"
    part_exit(group_id=group.pk, key=key, quantity=4, reason=Reason.RULE, actor="me")
    desk.turn(3)
    sold = group.orders.get(intent__part__key=key)
    desk.broker.fill(sold.broker_order_id, 4, "812.30")
    desk.turn(3)
    Group.objects.filter(pk=group.pk).update(side=side, stop_price=stop)
    assert at_risk(Group.objects.get(pk=group.pk)) == 6 * 8_30


def test_what_was_asked_for_while_defensive_keeps_the_stop_it_began_with(desk):
    turn_defensive(desk)
    desk.pass_time(minutes=1)
    group = desk.enter()
    desk.engine.keep_rules_of_time()
    group.refresh_from_db()
    assert group.trail_price is None and not tightenings()


def test_a_stop_that_locks_a_gain_is_not_drawn_back_to_the_entry(desk):
    group = desk.enter()
    Group.objects.filter(pk=group.pk).update(stop_price=Decimal("815.00"))
    desk.pass_time(minutes=1)
    turn_defensive(desk)
    desk.engine.keep_rules_of_time()
    group.refresh_from_db()
    assert group.trail_price is None and not tightenings()
