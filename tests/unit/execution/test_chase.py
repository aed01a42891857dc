"""An entry that does not fill follows the market: counted in rows, never further than its idea tolerates, given up."""

import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from execution.brokers.port import BrokerStatus
from execution.engine_settings import publish_settings
from execution.models import ChaseStep, EngineLease, Order
from execution.services.group_advance import group_advance
from execution.services.group_exit import group_exit
from execution.services.kill_switch_pull import kill_switch_pull
from execution.services.room_recount import find_drift
from execution.states import OrderState, PendingOp
from risk.kill_switch import of_portfolio
from risk.models import Reservation, RiskBucket
from risk.policies import publish_policy
from strategies.models import Signal
from tests.factories import DeploymentFactory, SignalFactory
from tests.factories.strategies import house_version
from tests.factories.world import running_engine
from tests.small_broker import LOST, Refuse
from trading.domain.orders import Reason, Side
from trading.marketdata.listing.bands import store_bands
from trading.marketdata.quotes import Quote, store_quotes
from trading.venue.sessions import exchange_date


def market(desk, price: str, *, age_s: float = 0, spread: str = "0.10") -> None:
    """The book stands around a price, and the engine beats."""
    running_engine(desk.account)
    mid, half = Decimal(price), Decimal(spread) / 2
    store_quotes(desk.world.feed.name, [
        Quote(desk.instrument.symbol, mid, mid - half, mid + half, Decimal("812.35"), 1000, desk.now[0],
              time.time() - age_s)
    ])  # fmt: skip


def turn(desk, price: str, times: int = 1, **how) -> None:
    for _ in range(times):
        market(desk, price, **how)
        desk.engine.sweep()
        desk.engine.read_books()


def entered(desk, **settings) -> Order:
    """A contract's buy at 812.35 that rests at its limit of 813.15, while the market has gone to 814."""
    if settings:
        publish_settings(portfolio=desk.portfolio, values=settings, actor="me")
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=house_version())
    signal = SignalFactory(
        portfolio=desk.portfolio, deployment=deployment, instrument=desk.instrument, entry="812.35", stop="804.00",
        target="829.00", expires_at=timezone.now() + timedelta(minutes=5),
    )  # fmt: skip
    turn(desk, "812.35", 2)
    signal.refresh_from_db()
    assert signal.state == Signal.State.ACCEPTED, signal.refusal
    order = Order.objects.get(reason="ENTRY")
    assert (order.state, order.limit_price) == (OrderState.OPEN, Decimal("813.15"))
    return order


def wait(desk, price: str = "814.00", *, seconds: int = 60, turns: int = 2, **how) -> None:
    desk.pass_time(seconds=seconds)
    turn(desk, price, turns, **how)


def drift(desk):
    return find_drift(days=[exchange_date(desk.now[0])])


def again(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def test_it_is_re_priced_to_the_mid_a_few_times_and_then_given_up(desk):
    order = entered(desk)
    wait(desk, seconds=59)
    assert not ChaseStep.objects.exists(), "it has its minute"
    wait(desk, seconds=1)
    after = again(order)
    assert (after.limit_price, after.pending_op) == (Decimal("814.00"), PendingOp.NONE)
    assert desk.broker.book[after.broker_order_id].limit_price == Decimal("814.00")
    wait(desk, "814.30")
    wait(desk, "820.00")
    prices = [(step.old_price, step.new_price) for step in ChaseStep.objects.order_by("number")]
    furthest = Decimal("814.75")  # 0.3 % beyond what the idea was worth, on the passive side of the tick
    assert prices == [
        (Decimal("813.15"), Decimal("814.00")), (Decimal("814.00"), Decimal("814.30")),
        (Decimal("814.30"), furthest),
    ]  # fmt: skip
    assert again(order).limit_price == furthest and not drift(desk)
    wait(desk, "820.00", turns=4)
    assert again(order).state == OrderState.CANCELLED and desk.held() == 0
    assert ChaseStep.objects.count() == 3
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()


def test_room_is_held_for_the_dearer_price_while_the_broker_has_not_said(desk):
    order = entered(desk)
    desk.broker.answers.append(LOST)
    desk.pass_time(seconds=60)
    market(desk, "814.00")
    group_advance(group_id=order.group_id, now=desk.now[0])
    asked = again(order)
    assert (asked.pending_op, asked.pending_limit_price) == (PendingOp.MODIFY_ASKED, Decimal("814.00"))
    exposure = Reservation.objects.get(bucket__kind="EXPOSURE", released_at=None)
    assert exposure.amount == asked.quantity * 814_00, "the dearer price, of all that may still trade"
    assert not drift(desk)
    turn(desk, "814.00", 2)
    assert again(order).limit_price == Decimal("814.00") and not drift(desk)


def test_a_dearer_price_means_fewer_where_the_risk_of_a_trade_is_used_up(desk):
    publish_policy(portfolio=desk.portfolio, values={"risk_per_trade_pct": "0.2"}, actor="me")
    order = entered(desk)
    budget = order.quantity * (order.limit_price - Decimal("804.00"))
    wait(desk)
    after = again(order)
    assert after.quantity < order.quantity
    assert after.quantity * (Decimal("814.00") - Decimal("804.00")) <= budget + 10
    exposure = Reservation.objects.get(bucket__kind="EXPOSURE", released_at=None)
    assert exposure.amount == after.quantity * 814_00 and not drift(desk)


def test_what_filled_stays_and_the_rest_follows(desk):
    order = entered(desk)
    desk.broker.fill(order.broker_order_id, 5, "813.10")
    turn(desk, "814.00", 2)
    wait(desk)
    after = again(order)
    assert (after.filled_quantity, after.limit_price, desk.held()) == (5, Decimal("814.00"), 5)
    assert after.quantity > 5 and not drift(desk)
    left = after.quantity - 5
    desk.broker.fill(order.broker_order_id, left, "813.95")
    turn(desk, "814.00", 3)
    assert again(order).state == OrderState.FILLED and desk.held() == 5 + left == desk.net_at_broker()
    assert desk.stop_of(order.group).quantity == desk.held() and not drift(desk)


def test_a_fill_that_races_the_change_is_booked_and_nothing_is_left_over(desk):
    order = entered(desk)
    desk.pass_time(seconds=60)
    market(desk, "814.00")
    group_advance(group_id=order.group_id, now=desk.now[0])
    desk.broker.fill(order.broker_order_id, order.quantity, "813.15")  # before the change arrives
    turn(desk, "814.00", 3)
    after = again(order)
    assert (after.state, after.filled_quantity, after.pending_op) == (
        OrderState.FILLED, order.quantity, PendingOp.NONE,
    )  # fmt: skip
    assert after.pending_limit_price is None and desk.held() == order.quantity and not drift(desk)


def test_a_change_that_the_broker_refuses_leaves_the_order_as_it_was(desk):
    order = entered(desk)
    desk.broker.answers.append(Refuse())
    wait(desk)
    after = again(order)
    assert (after.limit_price, after.quantity, after.pending_op) == (
        Decimal("813.15"), order.quantity, PendingOp.NONE,
    )  # fmt: skip
    assert ChaseStep.objects.count() == 1, "it counts, so that a broker is not asked without end"
    exposure = Reservation.objects.get(bucket__kind="EXPOSURE", released_at=None)
    assert exposure.amount == order.quantity * 813_15 and not drift(desk)
    wait(desk)
    assert again(order).limit_price == Decimal("814.00")


def test_nothing_follows_a_price_that_is_old_or_a_market_that_is_shut(desk):
    order = entered(desk)
    wait(desk, age_s=30)
    assert not ChaseStep.objects.exists()
    desk.now[0] = desk.now[0].replace(hour=15, minute=45)
    turn(desk, "814.00", 2)
    assert not ChaseStep.objects.exists()
    assert again(order).pending_op != PendingOp.NONE or again(order).is_final, "its patience ends all the same"


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_a_pause_and_the_kill_switch_stop_it(desk, how):
    order = entered(desk)
    if how == "pause":
        EngineLease.objects.filter(account=desk.account).update(paused_by="me")
    else:
        kill_switch_pull(scope=of_portfolio(desk.portfolio), level=1, reason="no", actor="me", now=desk.now[0])
    wait(desk)
    assert not ChaseStep.objects.exists() and again(order).limit_price == Decimal("813.15")


def test_an_exit_comes_before_it(desk):
    order = entered(desk)
    desk.pass_time(seconds=60)
    market(desk, "814.00")
    group_advance(group_id=order.group_id, now=desk.now[0])
    group_exit(group_id=order.group_id, reason=Reason.SQUARE_OFF, actor="the clock")
    turn(desk, "814.00", 3)
    after = again(order)
    assert after.state == OrderState.CANCELLED and not any(call.startswith("modify") for call in desk.broker.calls)
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()


def test_two_who_look_at_once_take_one_step(desk):
    order = entered(desk)
    desk.pass_time(seconds=60)
    market(desk, "814.00")
    group_advance(group_id=order.group_id, now=desk.now[0])
    group_advance(group_id=order.group_id, now=desk.now[0])
    assert ChaseStep.objects.count() == 1
    assert again(order).events.filter(kind="change.asked").count() == 1


def test_a_lost_answer_is_settled_by_the_book(desk):
    order = entered(desk)
    desk.broker.answers.append(LOST)
    wait(desk)
    after = again(order)
    assert (after.limit_price, after.pending_op) == (Decimal("814.00"), PendingOp.NONE)
    assert after.events.filter(kind="change.unknown").exists()
    assert after.events.filter(kind="order.changed", source="BOOK").exists()


def test_what_was_changed_in_the_brokers_app_is_heard_and_a_picture_from_before_is_not(desk):
    order = entered(desk)
    wait(desk)
    old = again(order)
    turn(desk, "814.00", 2)
    picture = desk.broker.book[order.broker_order_id]
    desk.broker._put(picture, limit_price=Decimal("813.15"))  # as it was, and no newer
    turn(desk, "814.00")
    assert again(order).limit_price == old.limit_price
    desk.broker.at += timedelta(seconds=5)
    desk.broker._put(picture, limit_price=Decimal("810.00"))
    turn(desk, "814.00")
    assert again(order).limit_price == Decimal("810.00")
    assert again(order).events.filter(kind="order.changed_outside").exists()


def test_a_hand_is_not_led(desk):
    intent = desk.ask()
    turn(desk, "812.35")
    wait(desk, "814.00", seconds=240)
    order = Order.objects.get(intent=intent)
    assert not ChaseStep.objects.exists() and order.state == OrderState.OPEN
    wait(desk, "814.00", seconds=61, turns=3)
    assert again(order).state == OrderState.CANCELLED


def test_nothing_better_is_written_down_too(desk):
    order = entered(desk, chase_times=1)
    wait(desk, "812.00")
    step = ChaseStep.objects.get()
    assert (step.code, step.new_price) == ("NO_BETTER", Decimal("813.15"))
    wait(desk, "812.00", turns=3)
    assert again(order).state == OrderState.CANCELLED


def test_switched_off_it_rests_until_its_patience_ends(desk):
    order = entered(desk, chase_times=0)
    wait(desk, seconds=240)
    assert not ChaseStep.objects.exists() and again(order).state == OrderState.OPEN
    wait(desk, seconds=61, turns=3)
    assert again(order).state == OrderState.CANCELLED


def test_a_gate_that_says_no_is_the_word_of_that_look(desk):
    order = entered(desk)
    RiskBucket.objects.filter(kind="EXPOSURE").update(used=90_000_000)
    wait(desk)
    step = ChaseStep.objects.get()
    assert (step.code, again(order).limit_price) == ("NO_ROOM", Decimal("813.15"))
    assert again(order).pending_limit_price is None


def test_an_exit_that_does_not_fill_is_priced_anew_and_never_outside_the_band(desk):
    group = desk.enter()
    store_bands(
        desk.world.feed, session_date=exchange_date(desk.now[0]), source="test", heard_at=timezone.now(),
        bands={desk.instrument.symbol: (Decimal("811.00"), Decimal("830.00"))},
    )  # fmt: skip
    group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    turn(desk, "812.35", 2)
    first = Order.objects.filter(reason="MANUAL").get()
    assert first.limit_price == Decimal("811.00"), "the exchange takes no price below its band"
    Order.objects.filter(pk=first.pk).update(acked_at=timezone.now() - timedelta(seconds=7))
    turn(desk, "812.35", 3)
    assert Order.objects.filter(reason="MANUAL").count() == 2
    assert desk.broker.book[first.broker_order_id].status is BrokerStatus.CANCELLED
    assert first.side == Side.SELL
