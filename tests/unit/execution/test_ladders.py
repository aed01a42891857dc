"""Trades of a hook: pyramids, legs, take-profits, parts; the pool and its queue. Real rows, a broker in memory."""

import uuid
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.utils import timezone

from execution.brokers.port import BrokerStatus
from execution.engine_settings import publish_settings
from execution.models import EngineLease, Group, Intent, LadderPlan, Leg, Order, PartExit, QueuedSignal
from execution.services.approval_decide import approval_decide
from execution.services.leg_send import PASSING
from execution.services.order_cancel import order_cancel
from execution.services.part_exit import part_exit
from execution.services.room_recount import find_drift
from execution.services.slot_reserve import pool_room
from risk import gates
from risk.models import Assessment
from risk.policies import publish_policy
from strategies.contracts.publish import publish_library
from strategies.models import Signal
from tests.factories import DeploymentFactory
from tests.factories.market import InstrumentFactory
from tests.factories.world import quote
from tests.small_broker import LOST
from tests.small_desk import SmallDesk
from tests.unit.execution.test_late_news import give_up
from trading.domain.clock import IST
from trading.domain.errors import Conflict, NotAllowed
from trading.domain.orders import Reason, Side
from trading.marketdata.models import CorporateAction, PriceBand
from trading.marketdata.quotes import last_quote, store_quotes
from trading.monitoring.models import Alert
from trading.portfolio.models import ClosedTrade, Portfolio
from trading.venue.sessions import exchange_date

pytestmark = pytest.mark.django_db


@pytest.fixture
def no_stop_needed(desk):
    publish_policy(portfolio=desk.portfolio, values={"stop_required": False}, actor="test")


def alert(desk: SmallDesk, **changes) -> Signal:
    """A hook's signal to buy a hundred at 812.35, its stop at 790."""
    desk.world.still_running()
    wall = timezone.now()
    values = {
        "portfolio": desk.portfolio, "instrument": desk.instrument, "source": "HOOK", "kind": "ENTRY", "side": "BUY",
        "entry": Decimal("812.35"), "stop": Decimal("790.00"), "quantity": 100, "timeframe": "15",
        "origin": "SBIN long", "explanation": "An alert.", "bar_at": desk.now[0], "created_at": wall,
        "expires_at": wall + timedelta(minutes=2), "dedupe_key": f"hook:{uuid.uuid4()}",
    } | changes  # fmt: skip
    return Signal.objects.create(**values)


def decided(desk: SmallDesk, signal: Signal) -> Signal:
    desk.engine.answer("engine.signal", {"signal_id": str(signal.pk)})
    signal.refresh_from_db()
    return signal


def begin(desk: SmallDesk, **changes) -> Group:
    signal = decided(desk, alert(desk, **changes))
    assert signal.state == Signal.State.ACCEPTED, (signal.refusal_code, signal.refusal)
    desk.turn(2)
    return Group.objects.get(signal=signal)


def order_of(leg: Leg) -> Order:
    return Order.objects.get(intent__leg=leg, intent__state="APPROVED")


def legs_of(group: Group) -> list[Leg]:
    return list(Leg.objects.filter(pyramid__group=group).order_by("pyramid__index", "index"))


def fill(desk: SmallDesk, order: Order, quantity: int | None = None, price: str = "812.30") -> None:
    order.refresh_from_db()
    desk.broker.fill(order.broker_order_id, quantity or order.remaining_quantity, price)
    desk.turn(4)


def sound(desk: SmallDesk, group: Group) -> None:
    """What must be true at every step: nothing can be oversold, and risk's books are those of the orders."""
    held = desk.held()
    assert desk.working() <= held, desk.broker.book
    assert desk.net_at_broker() == held >= 0
    assert not find_drift(days=[desk.now[0].date()])
    assert (Group.objects.get(pk=group.pk).state != "CLOSED") == (pool_room(desk.portfolio.pk).taken == 1)


def test_legs_lie_below_the_entry_with_their_shares(desk):
    group = begin(desk)
    legs = legs_of(group)
    assert [leg.quantity for leg in legs] == [20] * 5
    assert [str(leg.limit_price.normalize()) for leg in legs[1:]] == ["808.25", "804.2", "800.15", "796.1"]
    orders = [order_of(leg) for leg in legs]
    assert {order.state for order in orders} == {"OPEN"} and {order.order_type for order in orders} == {"LIMIT"}
    assert group.state == Group.State.LIVE and group.ladder.name == "Five steps"
    sound(desk, group)


def test_a_take_profit_is_watched_where_a_stop_waits_at_the_broker_and_never_oversells(desk):
    group = begin(desk)
    first, second = legs_of(group)[:2]
    fill(desk, order_of(first), 8)
    part = PartExit.objects.get(leg=first)
    assert (part.quantity, part.state, part.rests) == (8, "WAITING", False), "what is filled has its take-profit"
    assert part.trigger_price == Decimal("820.45"), "one per cent above the fill, away from it on the tick"
    assert desk.stop_of(group).quantity == 8
    fill(desk, order_of(first))
    part.refresh_from_db()
    assert part.quantity == 20, "it grows with the rest"
    fill(desk, order_of(second), price="808.25")
    assert desk.stop_of(group).remaining_quantity == 40
    sound(desk, group)
    desk.engine.hear_ticks(desk.ticks("820.50"))
    quote(desk.world.feed, desk.instrument, "820.50")
    for _ in range(5):
        desk.engine.sweep()
        sound(desk, group)
        desk.engine.read_books()
        sound(desk, group)
    asked = Order.objects.filter(intent__part__isnull=False)
    assert {order.limit_price for order in asked} == {Decimal("820.4500"), Decimal("812.3000")}
    for order in asked:
        fill(desk, order, price="820.45")
        sound(desk, group)
    group.refresh_from_db()
    assert desk.held() == 0 and group.state == Group.State.CLOSED, group.orders.values_list("reason", "state")
    assert group.close_reason == Reason.TARGET, "flat by its parts: what rested below was taken back"
    trade = ClosedTrade.objects.get(group_ref=group.pk)
    assert trade.quantity == 40 and trade.gross_paise > 0
    assert not Order.objects.filter(group=group).live().exists()
    sound(desk, group)


def test_without_a_stop_take_profits_rest_at_the_broker(desk, no_stop_needed):
    LadderPlan.objects.update(stop_pct=None)
    group = begin(desk, stop=None)
    assert group.stop_price is None
    first = legs_of(group)[0]
    fill(desk, order_of(first), 8)
    resting = Order.objects.get(intent__part__leg=first)
    assert (resting.quantity, resting.state, resting.limit_price) == (8, "OPEN", Decimal("820.4500"))
    fill(desk, order_of(first))
    sold = Order.objects.filter(intent__part__leg=first).live()
    assert sum(order.remaining_quantity for order in sold) == 20
    sound(desk, group)
    for order in sold:
        fill(desk, order, price="820.45")
    group.refresh_from_db()
    assert group.state == Group.State.CLOSED and desk.held() == 0
    sound(desk, group)


def test_another_signal_adds_a_pyramid_up_to_the_most(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_pyramids": 2, "offset_pyramids": 2}, actor="test")
    group = begin(desk, quantity=50)
    fill(desk, order_of(legs_of(group)[0]))
    assert decided(desk, alert(desk, quantity=50, entry=Decimal("811.00"))).state == Signal.State.ACCEPTED
    desk.turn(2)
    assert [one.index for one in group.pyramids.all()] == [0, 1]
    assert Order.objects.filter(group=group, reason="ENTRY").count() == 10
    third = decided(desk, alert(desk, quantity=50))
    assert (third.state, third.refusal_code) == (Signal.State.REFUSED, "PYRAMIDS_FULL")
    assert pool_room(desk.portfolio.pk).taken == 1, "a pyramid takes no slot"
    sound(desk, group)


def test_an_exit_closes_all_at_once_and_an_exit_of_nothing_says_so(desk):
    assert decided(desk, alert(desk, kind="EXIT", side="SELL")).refusal_code == "NOTHING_TO_CLOSE"
    group = begin(desk)
    fill(desk, order_of(legs_of(group)[0]))
    short = alert(desk, kind="EXIT", side="BUY", features={"closes": "SELL"})
    assert decided(desk, short).refusal_code == "NOTHING_TO_CLOSE"
    assert decided(desk, alert(desk, kind="EXIT", side="SELL")).state == Signal.State.ACCEPTED
    desk.turn(4)
    leaving = Order.objects.get(group=group, reason="RULE")
    assert leaving.quantity == 20
    fill(desk, leaving, price="811.00")
    group.refresh_from_db()
    assert group.state == Group.State.CLOSED
    sound(desk, group)


def test_a_reduction_closes_the_stated_size(desk):
    group = begin(desk)
    fill(desk, order_of(legs_of(group)[0]))
    assert decided(desk, alert(desk, kind="REDUCE", side="SELL", quantity=5)).state == Signal.State.ACCEPTED
    desk.turn(4)
    part = PartExit.objects.get(reason="RULE")
    sold = Order.objects.get(intent__part=part)
    assert sold.quantity == 5 and desk.stop_of(group).remaining_quantity == 15
    sound(desk, group)
    fill(desk, sold, price="812.00")
    part.refresh_from_db()
    assert part.state == "DONE" and desk.held() == 15
    tp = PartExit.objects.get(key__startswith="tp:")
    assert tp.quantity == 15, "its take-profit is for what is left"
    sound(desk, group)


def test_a_reversal_waits_for_flat_and_then_goes_the_other_way(desk):
    group = begin(desk)
    fill(desk, order_of(legs_of(group)[0]))
    turned = decided(desk, alert(desk, kind="REVERSE", side="SELL", entry=Decimal("812.00"), stop=Decimal("830.00")))
    assert turned.state == Signal.State.QUEUED
    assert QueuedSignal.objects.get().cause == "NOT_FLAT"
    desk.turn(4)
    fill(desk, Order.objects.get(group=group, reason="RULE"), price="811.00")
    turned.refresh_from_db()
    assert turned.state == Signal.State.ACCEPTED, turned.refusal
    other = Group.objects.get(signal=turned)
    assert other.side == "SELL" and other.state == Group.State.LIVE
    assert [str(leg.limit_price.normalize()) for leg in legs_of(other)[1:2]] == ["816.1"], "gaps are mirrored"


def test_a_full_pool_queues_replaces_ranks_and_promotes(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1}, actor="test")
    group = begin(desk)
    others = [InstrumentFactory(symbol=f"NSE:{name}-EQ") for name in ("ITC", "WIPRO")]
    for one in others:
        quote(desk.world.feed, one, "812.35")
    shallow = decided(desk, alert(desk, instrument=others[0], quantity=10))
    deep = decided(desk, alert(desk, instrument=others[1], entry=Decimal("830.00"), quantity=10))
    assert shallow.state == deep.state == Signal.State.QUEUED
    again = decided(desk, alert(desk, instrument=others[0], entry=Decimal("813.00"), quantity=10))
    shallow.refresh_from_db()
    assert again.state == Signal.State.QUEUED and shallow.refusal_code == "QUEUE_REPLACED"
    desk.engine.sweep()
    waiting = list(QueuedSignal.objects.filter(state="WAITING").order_by("rank"))
    assert [one.signal_id for one in waiting] == [deep.pk, again.pk]
    assert "beyond its entry" in waiting[0].rank_reason and waiting[1].replacement_count == 1
    decided(desk, alert(desk, kind="EXIT", side="SELL"))
    desk.turn(3)
    for one in others:
        quote(desk.world.feed, one, "812.35")
    desk.engine.sweep()
    group.refresh_from_db()
    assert group.state == Group.State.CLOSED
    deep.refresh_from_db()
    again.refresh_from_db()
    assert deep.state == Signal.State.ACCEPTED, deep.refusal
    assert again.state == Signal.State.QUEUED
    assert pool_room(desk.portfolio.pk).taken == 1


def test_what_a_signal_waits_for_is_told_as_it_is_now(desk):
    """Every slot was taken when it came; by now one is free, and its instrument is held the other way."""
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1}, actor="test")
    begin(desk)
    other = InstrumentFactory(symbol="NSE:ITC-EQ")
    quote(desk.world.feed, other, "812.35")
    decided(desk, alert(desk, instrument=other, quantity=10))
    sell = decided(desk, alert(desk, instrument=other, quantity=10, side="SELL", stop=Decimal("830.00")))
    waits = QueuedSignal.objects.get(signal=sell)
    assert waits.cause == "POOL_FULL"
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 5, "ranking": ["oldest"]}, actor="test")
    desk.engine.sweep()
    desk.engine.sweep()
    now = QueuedSignal.objects.get(signal=sell)
    assert (now.state, now.cause, now.expires_at) == ("WAITING", "NOT_FLAT", waits.expires_at)


def test_a_contracts_signal_waits_for_the_end_of_a_hooks_trade_and_adds_nothing_to_it(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1}, actor="test")
    begin(desk)
    plan = DeploymentFactory(portfolio=desk.portfolio, version=publish_library(actor="test")[0])
    waits = decided(desk, alert(desk, source="CONTRACT", deployment=plan))
    assert waits.state == Signal.State.QUEUED, waits.refusal
    desk.engine.sweep()
    row = QueuedSignal.objects.get(signal=waits)
    assert (row.state, row.cause) == ("WAITING", "NOT_FLAT")
    assert "adds to a trade" not in row.rank_reason


def test_a_queued_signal_expires_and_an_exit_removes_one(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1, "queue_size": 1}, actor="test")
    begin(desk)
    other, third = (InstrumentFactory(symbol=f"NSE:{name}-EQ") for name in ("ITC", "WIPRO"))
    first = decided(desk, alert(desk, instrument=other))
    assert decided(desk, alert(desk, instrument=third)).refusal_code == "QUEUE_FULL"
    assert decided(desk, alert(desk, instrument=other, kind="EXIT", side="SELL")).state == Signal.State.ACCEPTED
    first.refresh_from_db()
    assert (first.state, first.refusal_code) == (Signal.State.REFUSED, "EXIT_ALERT")
    late = decided(desk, alert(desk, instrument=other))
    QueuedSignal.objects.filter(state="WAITING").update(expires_at=timezone.now())
    desk.engine.sweep()
    late.refresh_from_db()
    assert (late.state, late.refusal_code) == (Signal.State.EXPIRED, "QUEUE_EXPIRED")


def test_a_ticket_takes_a_slot_too(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1}, actor="test")
    begin(desk)
    other = InstrumentFactory(symbol="NSE:ITC-EQ")
    quote(desk.world.feed, other, "812.35")
    intent = desk.ask(symbol=other.symbol)
    assert (intent.state, intent.refusal_code) == (Intent.State.REFUSED, "POOL_FULL")


def test_what_risk_refuses_leaves_its_verdicts_and_no_trade(desk):
    refused = decided(desk, alert(desk, stop=Decimal("820.00")))
    assert (refused.state, refused.refusal_code) == (Signal.State.REFUSED, "STOP_REQUIRED")
    assert not Group.objects.exists() and not Leg.objects.exists()
    intent = Intent.objects.get(signal=refused)
    assert (intent.state, intent.refusal_code, intent.wanted_quantity) == ("REFUSED", "STOP_REQUIRED", 20)
    last = Assessment.objects.get(intent_id=intent.pk).verdicts[-1]
    assert (last.gate, last.outcome) == ("STOP_REQUIRED", "REJECT")
    assert pool_room(desk.portfolio.pk).taken == 0 and not find_drift(days=[desk.now[0].date()])


def test_a_pyramid_that_risk_refuses_leaves_the_trade_as_it_was(desk):
    group = begin(desk)
    fill(desk, order_of(legs_of(group)[0]))
    refused = decided(desk, alert(desk, entry=Decimal("900.00")))
    assert (refused.state, refused.refusal_code) == (Signal.State.REFUSED, "PRICE_COLLAR"), refused.refusal
    assert group.pyramids.count() == 1 and Intent.objects.get(signal=refused).group_id == group.pk
    sound(desk, group)


def test_a_pyramid_that_nobody_approves_leaves_a_trade_whose_entry_rests(desk):
    group = begin(desk)
    assert group.state == Group.State.LIVE, "nothing is filled, and five orders rest at the broker"
    Portfolio.objects.filter(pk=desk.portfolio.pk).update(approval_mode="MANUAL")
    decided(desk, alert(desk, entry=Decimal("812.00")))
    asked = Intent.objects.get(state="WAITING")
    assert asked.group_id == group.pk
    approval_decide(intent_id=asked.pk, approve=False, actor="me", now=desk.now[0])
    desk.turn(2)
    group.refresh_from_db()
    assert group.state == Group.State.LIVE
    fill(desk, order_of(legs_of(group)[0]))
    assert desk.stop_of(group).quantity == 20, "what fills is protected"
    sound(desk, group)


def test_a_leg_beyond_the_stop_or_too_small_says_why_it_is_not_sent(desk):
    group = begin(desk, stop=Decimal("803.00"), quantity=5)
    blocked = {leg.index: leg.blocked_code for leg in legs_of(group)}
    assert blocked == {0: "", 1: "", 2: "", 3: "BEYOND_STOP", 4: "BEYOND_STOP"}
    decided(desk, alert(desk, kind="EXIT", side="SELL"))
    desk.turn(3)
    tiny = begin(desk, quantity=3)
    assert [leg.quantity for leg in legs_of(tiny)] == [3, 0, 0, 0, 0]


def test_more_than_the_exchange_takes_at_once_goes_in_pieces_in_and_out(desk):
    type(desk.instrument).objects.filter(pk=desk.instrument.pk).update(freeze_quantity=30)
    desk.instrument.refresh_from_db()
    plan = LadderPlan.objects.get(name="One entry")
    group = begin(desk, ladder_ref=plan.pk, quantity=100)
    entries = Order.objects.filter(group=group, reason="ENTRY").order_by("pk")
    assert [order.quantity for order in entries] == [30, 30, 30, 10]
    for order in entries:
        fill(desk, order)
        sound(desk, group)
    desk.turn(6)
    stops = Order.objects.filter(group=group, reason="STOP").live()
    assert sum(order.remaining_quantity for order in stops) == 100
    assert max(order.quantity for order in stops) <= 30
    decided(desk, alert(desk, kind="EXIT", side="SELL"))
    desk.turn(6)
    leaving = Order.objects.filter(group=group, reason="RULE").order_by("pk")
    assert [order.quantity for order in leaving] == [30, 30, 30, 10]
    for order in leaving:
        fill(desk, order, price="811.00")
        sound(desk, group)
    group.refresh_from_db()
    assert group.state == Group.State.CLOSED


def test_a_part_is_asked_for_once_and_never_of_what_is_over(desk):
    group = begin(desk)
    fill(desk, order_of(legs_of(group)[0]))
    wish = {"group_id": group.pk, "key": "mine", "quantity": 5, "reason": Reason.MANUAL, "actor": "me"}
    assert part_exit(**wish).pk == part_exit(**wish).pk
    with pytest.raises(Conflict):
        part_exit(**wish | {"quantity": 6})
    desk.turn(4)
    assert Order.objects.filter(intent__part__key="mine").count() == 1
    decided(desk, alert(desk, kind="EXIT", side="SELL"))
    with pytest.raises(NotAllowed, match="on its way out"):
        part_exit(**wish | {"key": "another"})


@pytest.mark.parametrize("mode", ["AGGREGATE", "HYBRID", "PYRAMID_AGGREGATE"])
def test_the_whole_cycle_in_every_mode_frees_the_slot_and_lets_the_next_in(desk, mode):
    values = {"take_profit": mode, "aggregate_target_pct": "1", "max_open_groups": 1}
    publish_settings(portfolio=desk.portfolio, values=values, actor="test")
    group = begin(desk)
    other = InstrumentFactory(symbol="NSE:ITC-EQ")
    quote(desk.world.feed, other, "812.35")
    queued = decided(desk, alert(desk, instrument=other, quantity=10))
    first, second = legs_of(group)[:2]
    fill(desk, order_of(first), price="812.30")
    fill(desk, order_of(second), price="808.20")
    sound(desk, group)
    target = Decimal("818.40")  # one per cent above the average of 810.25, on the tick
    quote(desk.world.feed, desk.instrument, str(target))
    for _ in range(6):
        quote(desk.world.feed, other, "812.35")  # a price must be young, however busy the machine is
        desk.engine.hear_ticks(desk.ticks(str(target)))
        desk.engine.read_books()
        desk.engine.sweep()  # what the books told is settled by the next step of the trade
        sound(desk, group)
    for order in Order.objects.filter(group=group, side=Side.SELL, trigger_price=None).live():
        fill(desk, order, price=str(target))
        desk.instrument_price(str(target))
    quote(desk.world.feed, other, "812.35")
    desk.engine.sweep()
    group.refresh_from_db()
    queued.refresh_from_db()
    assert desk.held() == 0 and group.state == Group.State.CLOSED, list(group.orders.values("reason", "state"))
    assert group.close_reason == Reason.TARGET
    assert queued.state == Signal.State.ACCEPTED, queued.refusal


def test_what_a_leg_waits_for_are_codes_that_gates_say_and_never_a_kill_switch():
    said = "".join(path.read_text() for path in Path(gates.__file__).parent.glob("*.py"))
    assert not {code for code in PASSING if f'"{code}"' not in said}
    assert not PASSING & {"KILL_SWITCH", "LOCKDOWN"}


# -- an engine that is not ready -------------------------------------------------------------------------------------


def test_an_alert_that_meets_an_engine_in_preflight_waits_and_enters_when_it_runs(desk):
    signal = alert(desk)
    EngineLease.objects.update(state="PREFLIGHT", cause="comparing with the broker")
    desk.engine.answer("engine.signal", {"signal_id": str(signal.pk)})
    queued = QueuedSignal.objects.get(signal=signal)
    assert (queued.state, queued.cause) == ("WAITING", "ENGINE_NOT_READY")
    assert queued.expires_at == signal.expires_at, "what only we keep waiting waits within its own time"
    desk.engine.sweep()
    assert not Intent.objects.exists() and not Group.objects.exists()
    desk.turn()  # it runs
    signal.refresh_from_db()
    queued.refresh_from_db()
    assert (signal.state, queued.state) == ("ACCEPTED", "PROMOTED")
    assert Group.objects.get(signal=signal).pyramids.count() == 1


def test_an_alert_whose_time_ends_before_the_engine_is_ready_expires_and_says_so(desk):
    signal = alert(desk, expires_at=timezone.now() + timedelta(seconds=60))
    EngineLease.objects.update(state="PREFLIGHT")
    desk.engine.answer("engine.signal", {"signal_id": str(signal.pk)})
    QueuedSignal.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    desk.turn()
    signal.refresh_from_db()
    assert (signal.state, signal.refusal_code) == ("EXPIRED", "QUEUE_EXPIRED")
    assert not Group.objects.exists()


def test_what_waited_for_the_engine_and_then_for_a_slot_waits_as_long_as_for_a_slot(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1, "queue_ttl_s": 3600}, actor="test")
    begin(desk)
    other = InstrumentFactory(symbol="NSE:INFY-EQ", sector="")
    quote(desk.world.feed, other, "812.35")
    signal = alert(desk, instrument=other)
    EngineLease.objects.update(state="PREFLIGHT")
    desk.engine.answer("engine.signal", {"signal_id": str(signal.pk)})
    desk.world.still_running()
    desk.turn()
    queued = QueuedSignal.objects.get(signal=signal)
    assert (queued.state, queued.cause) == ("WAITING", "POOL_FULL")
    assert queued.expires_at - signal.created_at > timedelta(minutes=50)


# -- over night ------------------------------------------------------------------------------------------------------


def next_day(desk: SmallDesk, price: str = "812.35") -> None:
    """The day's orders are over, and the next day's first price is here."""
    desk.pass_time(days=1)
    desk.broker.book.clear()
    desk.broker.facts.clear()
    desk.engine.read_books()
    quote(desk.world.feed, desk.instrument, price)
    last = last_quote(desk.world.feed.name, desk.instrument.symbol)
    store_quotes(desk.world.feed.name, [replace(last, traded_at=desk.now[0])])
    EngineLease.objects.update(beat_at=timezone.now())
    desk.engine.advance_groups()
    desk.engine.send_queued()
    desk.engine.read_books()


def test_what_a_ladder_left_unfilled_rests_again_on_the_next_day(desk):
    group = begin(desk, product="CNC")
    legs = legs_of(group)
    fill(desk, order_of(legs[0]))
    fill(desk, order_of(legs[1]), 5, "808.25")
    next_day(desk)
    assert [order.quantity for order in Order.objects.filter(intent__leg=legs[1], state="OPEN")] == [15]
    for leg in legs[2:]:
        again = Order.objects.get(intent__leg=leg, state="OPEN")
        assert (again.quantity, again.limit_price) == (20, leg.limit_price)
    assert desk.stop_of(group).remaining_quantity == 25, "its stop is as large as what is held"
    desk.engine.advance_groups()
    assert Order.objects.filter(intent__leg=legs[2]).count() == 2, "once a day"
    assert not find_drift(days=[desk.now[0].date()])


DAY_S_END = ["EXPIRED", "CANCELLED"]
"""What brokers say of an order that the end of its day took away."""


def end_of_day(desk: SmallDesk, word: str, *, at: str = "15:31") -> None:
    """What rests at the broker ends, and the desk hears of it."""
    hour, minute = map(int, at.split(":"))
    desk.now[0] = desk.broker.at = desk.now[0].astimezone(IST).replace(hour=hour, minute=minute)
    for number, order in desk.broker.book.items():
        if not order.status.is_final:
            desk.broker.end(number, BrokerStatus(word))
    desk.engine.read_books()


@pytest.mark.parametrize("word", DAY_S_END)
def test_legs_come_back_whichever_word_the_broker_has_for_a_day_s_end(desk, word):
    group = begin(desk, product="CNC")
    legs = legs_of(group)
    fill(desk, order_of(legs[0]))
    fill(desk, order_of(legs[1]), 5, "808.25")
    end_of_day(desk, word)
    assert {one.state for one in Order.objects.filter(intent__leg__in=legs[1:])} == {word}
    desk.now[0] = desk.now[0].replace(hour=11)
    next_day(desk)
    assert [order.quantity for order in Order.objects.filter(intent__leg=legs[1], state="OPEN")] == [15]
    assert [Order.objects.get(intent__leg=leg, state="OPEN").quantity for leg in legs[2:]] == [20] * 3
    assert desk.stop_of(group).remaining_quantity == 25
    assert not find_drift(days=[desk.now[0].date()])


@pytest.mark.parametrize("word", DAY_S_END)
def test_resting_take_profits_come_back_whichever_word_the_broker_has(desk, no_stop_needed, word):
    LadderPlan.objects.update(stop_pct=None)
    group = begin(desk, product="CNC", stop=None)
    first = legs_of(group)[0]
    fill(desk, order_of(first))
    assert Order.objects.get(intent__part__leg=first).state == "OPEN"
    end_of_day(desk, word)
    assert not Order.objects.filter(intent__part__leg=first).live().exists()
    desk.now[0] = desk.now[0].replace(hour=11)
    next_day(desk)
    again = Order.objects.filter(intent__part__leg=first).live().get()
    assert (again.quantity, again.limit_price) == (20, Decimal("820.4500"))


def test_a_leg_that_somebody_cancelled_does_not_come_back(desk):
    group = begin(desk, product="CNC")
    legs = legs_of(group)
    fill(desk, order_of(legs[0]))
    desk.pass_time(minutes=20)
    desk.broker.end(order_of(legs[1]).broker_order_id)  # in the broker's app, while the market is open
    order_cancel(order_id=order_of(legs[2]).pk, actor="me", now=desk.now[0])
    desk.turn(2)
    end_of_day(desk, "CANCELLED")
    desk.now[0] = desk.now[0].replace(hour=11)
    next_day(desk)
    assert not Order.objects.filter(intent__leg__in=legs[1:3]).live().exists()
    assert Order.objects.filter(intent__leg__in=legs[3:], state="OPEN").count() == 2


def test_a_ladder_whose_market_opens_beyond_its_stop_is_not_bought_on(desk):
    group = begin(desk, product="CNC")
    legs = legs_of(group)
    fill(desk, order_of(legs[0]))
    next_day(desk, "780.00")
    assert not Order.objects.filter(intent__leg__in=legs[1:], state="OPEN").exists()
    group.refresh_from_db()
    assert group.pk and not Order.objects.filter(intent__leg__in=legs[1:]).exclude(state="EXPIRED").exists()


def test_a_split_ends_the_ladder_and_says_so(desk):
    group = begin(desk, product="CNC")
    legs = legs_of(group)
    fill(desk, order_of(legs[0]))
    CorporateAction.objects.create(
        instrument=desk.instrument, ex_date=(desk.now[0] + timedelta(days=1)).date(), kind="SPLIT_OR_BONUS",
        factor=Decimal("0.5"), state="CONFIRMED", source="test", found_at=timezone.now(),
    )  # fmt: skip
    next_day(desk)
    assert not Order.objects.filter(intent__leg__in=legs[1:], state="OPEN").exists()
    assert {leg.blocked_code for leg in legs_of(group)[1:]} == {"CORPORATE_ACTION"}
    assert Alert.objects.filter(code="LADDER_CUT").exists()


# -- bands -----------------------------------------------------------------------------------------------------------


def band(desk: SmallDesk, lower: str, upper: str) -> None:
    PriceBand.objects.update_or_create(
        feed=desk.world.feed, instrument=desk.instrument, session_date=exchange_date(desk.now[0]),
        defaults={"lower": Decimal(lower), "upper": Decimal(upper), "source": "BOOK", "heard_at": timezone.now()},
    )  # fmt: skip


def test_a_take_profit_beyond_the_day_s_band_is_sent_when_the_band_reaches_it(desk, no_stop_needed):
    band(desk, "780.00", "815.00")
    LadderPlan.objects.update(stop_pct=None)
    group = begin(desk, stop=None)
    fill(desk, order_of(legs_of(group)[0]))
    part = PartExit.objects.get(group=group, leg__index=0)
    assert (part.rests, part.limit_price) == (True, Decimal("820.45"))
    assert not Order.objects.filter(intent__part=part).exists(), "the exchange takes no price above 815"
    band(desk, "780.00", "830.00")
    desk.turn(3)
    assert Order.objects.get(intent__part=part).state == "OPEN"
    sound(desk, group)


def test_a_band_that_ends_between_two_ticks_is_kept_to_from_inside(desk):
    band(desk, "795.02", "830.00")
    group = begin(desk)
    fill(desk, order_of(legs_of(group)[0]))
    stop = desk.stop_of(group)
    assert (stop.limit_price, stop.trigger_price) == (Decimal("795.05"), Decimal("795.10"))


def test_a_stop_beyond_the_day_s_band_waits_at_its_edge(desk):
    band(desk, "795.00", "830.00")
    group = begin(desk)
    fill(desk, order_of(legs_of(group)[0]))
    stop = desk.stop_of(group)
    assert group.stop_price == Decimal("790.00")
    assert (stop.limit_price, stop.trigger_price, stop.state) == (Decimal("795.00"), Decimal("795.05"), "OPEN")


def test_fault_18_a_leg_that_turns_up_after_it_was_given_up_is_taken_back(desk):
    desk.broker.answers.extend(["taken", LOST])
    desk.broker.hidden.add("B000002")
    group = begin(desk)
    first, lost = [order_of(leg) for leg in legs_of(group)[:2]]
    fill(desk, first)
    assert give_up(desk, lost).state == "NOT_PLACED"
    desk.turn(2)
    sound(desk, group)
    desk.broker.hidden.clear()
    desk.turn(1)
    lost.refresh_from_db()
    assert not find_drift(days=[desk.now[0].date()]), "it holds its room again"
    desk.turn(3)
    lost.refresh_from_db()
    assert (lost.state, lost.broker_order_id) == ("CANCELLED", "B000002")
    sound(desk, group)
