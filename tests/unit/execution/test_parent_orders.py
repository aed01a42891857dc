"""A large entry is let out in children: their sum is never more than was allowed, and what is missing is told."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from execution.deployment_works import Work, choose_work, work_of
from execution.engine_settings import publish_settings, settings_of
from execution.models import EngineLease, Group, Intent, Order, ParentOrder
from execution.services.group_advance import group_advance
from execution.services.group_exit import group_exit
from execution.services.kill_switch_pull import kill_switch_pull
from execution.services.parent_advance import parent_withdraw
from execution.services.parent_ask import large_order_ticket
from execution.services.room_recount import find_drift
from execution.services.runaway_watch import look_at
from execution.states import OrderState
from risk.kill_switch import of_portfolio
from risk.models import RiskBucket
from risk.policies import active_policy, publish_policy
from strategies.models import Deployment, Signal
from strategies.tactics.slices import next_tip, spread_evenly
from tests.factories import DeploymentFactory, SignalFactory, UserFactory
from tests.factories.strategies import house_version
from tests.small_broker import LOST
from tests.unit.execution.test_chase import market, turn
from tests.unit.execution.test_late_news import give_up
from trading.audit.models import AuditEntry
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.domain.orders import Product, Reason, Side
from trading.marketdata.models import Instrument
from trading.monitoring.models import Alert
from trading.portfolio.models import ClosedTrade
from trading.venue.sessions import exchange_date

State = ParentOrder.State


def ask(desk, *, style: str = "TWAP", **changes) -> ParentOrder:
    """Sixty in six parts over twelve minutes, or fifteen shown at a time; no further than 813."""
    market(desk, changes.pop("price", "812.40"))
    desk.keys.append(f"large-{len(desk.keys)}")
    wish = {
        "user": desk.world.user, "portfolio": desk.portfolio, "symbol": desk.instrument.symbol, "side": Side.BUY,
        "quantity": 60, "limit_price": Decimal("813.00"), "stop_price": Decimal("804.00"), "target_price": None,
        "product": Product.INTRADAY, "style": style, "minutes": 12, "slices": 6, "visible": 15,
        "idempotency_key": desk.keys[-1], "source": Intent.Source.PAGE, "now": desk.now[0],
    } | changes  # fmt: skip
    parent = large_order_ticket(**wish)
    turn(desk, "812.40", 2)
    return parent


def again(parent: ParentOrder) -> ParentOrder:
    return ParentOrder.objects.get(pk=parent.pk)


def children(parent: ParentOrder) -> list[Order]:
    return list(Order.objects.filter(intent__parent=parent).order_by("pk"))


def pass_minutes(desk, minutes: float, *, price: str = "812.40", turns: int = 3) -> None:
    desk.pass_time(minutes=minutes)
    turn(desk, price, turns)


def fill_live(desk, parent: ParentOrder, price: str = "812.40") -> None:
    for order in children(parent):
        if order.state == OrderState.OPEN:
            desk.broker.fill(order.broker_order_id, order.remaining_quantity, price)
    turn(desk, "812.40", 3)


def asked_in_all(parent: ParentOrder) -> int:
    return sum(order.filled_quantity if order.is_final else order.quantity for order in children(parent))


def sane(desk, parent: ParentOrder) -> None:
    """At every moment: no more out than was allowed, room as the orders say, a stop as large as what is held."""
    assert asked_in_all(parent) <= parent.quantity
    assert not find_drift(days=[exchange_date(desk.now[0])])
    if desk.held():
        assert desk.working() == desk.held()


def test_over_time_each_part_has_its_turn(desk):
    parent = ask(desk)
    assert (parent.state, parent.quantity, parent.group_id is not None) == (State.LIVE, 60, True)
    for number in range(1, 7):
        assert [order.quantity for order in children(parent)] == [10] * number
        sane(desk, parent)
        fill_live(desk, parent)
        assert len(children(parent)) == number, "the next waits for its turn"
        sane(desk, parent)
        pass_minutes(desk, 2)
    assert (again(parent).state, desk.held(), again(parent).code) == (State.DONE, 60, "")
    assert len({order.client_order_id for order in children(parent)}) == 6
    assert children(parent)[0].limit_price == Decimal("812.40"), "at the mid, not at the furthest"


def test_the_many_orders_of_a_plan_are_no_program_that_runs_away(desk):
    parent = ask(desk, style="ICEBERG", visible=3)
    while again(parent).is_live:
        fill_live(desk, parent)
    assert len(children(parent)) == 20 > active_policy(desk.portfolio.pk).runaway_orders_per_intent
    assert look_at(desk.portfolio, since=None, now=desk.now[0]) == []
    ParentOrder.objects.filter(pk=parent.pk).update(visible_quantity=60)
    (sign,) = look_at(desk.portfolio, since=None, now=desk.now[0])
    assert sign.code == "ORDERS_PER_TRADE", "beyond its plan they are"


def test_what_a_turn_missed_is_spread_over_the_others(desk):
    parent = ask(desk)
    fill_live(desk, parent)
    EngineLease.objects.filter(account=desk.account).update(paused_by="me")
    pass_minutes(desk, 4)
    assert len(children(parent)) == 1 and "paused" in again(parent).waits
    EngineLease.objects.filter(account=desk.account).update(paused_by="")
    pass_minutes(desk, 1)
    assert [order.quantity for order in children(parent)] == [10, 13], "fifty over four turns"
    fill_live(desk, parent)
    pass_minutes(desk, 2)
    assert children(parent)[-1].quantity == 13 and again(parent).waits == ""
    sane(desk, parent)


def test_a_part_that_does_not_fill_follows_the_market_and_gives_its_place_to_the_next(desk):
    parent = ask(desk)
    for _ in range(5):
        desk.pass_time(seconds=30)
        turn(desk, "812.80", 2)
    first, *others = children(parent)
    assert [str(step.new_price) for step in first.chase_steps.order_by("number")][:1] == ["812.8000"]
    assert first.chase_steps.last().new_price <= parent.limit_price
    assert first.state == OrderState.CANCELLED and [one.quantity for one in others] == [12], "sixty over five"
    pass_minutes(desk, 1.5, price="812.80")
    assert children(parent)[-1].quantity == 15, "sixty over four"
    assert RiskBucket.objects.get(kind="SLOTS").taken == 1, "it has its place among the positions all the same"
    sane(desk, parent)


def test_at_its_end_what_is_missing_is_told_and_nothing_of_it_works(desk):
    parent = ask(desk)
    fill_live(desk, parent)
    pass_minutes(desk, 13, turns=4)
    over = again(parent)
    assert (over.state, over.code, desk.held()) == (State.SHORT, "TIME", 10)
    assert all(order.is_final for order in children(parent))
    assert "10 of 60" in Alert.objects.get(code="LARGE_ORDER_SHORT").message
    assert Group.objects.get(pk=over.group_id).state == Group.State.ACTIVE, "what is filled is a trade like any other"
    sane(desk, parent)


def test_one_that_never_filled_gives_everything_back(desk):
    parent = ask(desk)
    pass_minutes(desk, 13, price="820.00", turns=4)
    assert again(parent).state == State.SHORT
    assert Group.objects.get(pk=again(parent).group_id).state == Group.State.CLOSED
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()


def test_it_is_over_before_our_own_square_off(desk):
    desk.now[0] = desk.now[0].replace(hour=9, minute=20)  # 14:50 in India
    parent = ask(desk, minutes=300)
    assert timedelta(0) < parent.ends_at - desk.now[0] < timedelta(minutes=30)
    desk.now[0] = desk.now[0].replace(hour=9, minute=44)
    with pytest.raises(NotAllowed, match="Too little"):
        ask(desk)


def test_an_iceberg_shows_the_next_tip_when_the_last_has_filled(desk):
    parent = ask(desk, style="ICEBERG", quantity=40)
    assert [order.quantity for order in children(parent)] == [15]
    assert children(parent)[0].limit_price == Decimal("813.00")
    pass_minutes(desk, 20)
    assert [order.quantity for order in children(parent)] == [15], "it is meant to wait"
    desk.broker.fill(children(parent)[0].broker_order_id, 5, "813.00")
    turn(desk, "813.00", 3)
    assert len(children(parent)) == 1, "a tip is filled whole"
    fill_live(desk, parent, "813.00")
    assert [order.quantity for order in children(parent)] == [15, 15]
    fill_live(desk, parent, "813.00")
    assert [order.quantity for order in children(parent)] == [15, 15, 10]
    sane(desk, parent)
    fill_live(desk, parent, "813.00")
    assert (again(parent).state, desk.held()) == (State.DONE, 40)


def test_taking_it_back_takes_back_the_rest_once(desk):
    parent = ask(desk)
    desk.broker.fill(children(parent)[0].broker_order_id, 4, "812.40")
    turn(desk, "812.40", 2)
    assert parent_withdraw(parent_id=parent.pk, actor="me", now=desk.now[0])
    assert not parent_withdraw(parent_id=parent.pk, actor="me", now=desk.now[0])
    turn(desk, "812.40", 3)
    assert (again(parent).state, again(parent).code, desk.held()) == (State.SHORT, "WITHDRAWN", 4)
    pass_minutes(desk, 4)
    assert len(children(parent)) == 1
    sane(desk, parent)
    with pytest.raises(NotFound):
        parent_withdraw(parent_id=0, actor="me", now=desk.now[0])


def test_a_fill_that_races_the_taking_back_is_booked(desk):
    parent = ask(desk, style="ICEBERG", quantity=30)
    first = children(parent)[0]
    desk.broker.answers.append("slow")
    parent_withdraw(parent_id=parent.pk, actor="me", now=desk.now[0])
    turn(desk, "813.00")
    desk.broker.fill(first.broker_order_id, 15, "813.00")
    turn(desk, "813.00", 3)
    assert (again(parent).state, desk.held()) == (State.SHORT, 15) and len(children(parent)) == 1
    sane(desk, parent)


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_the_kill_switch_and_an_exit_end_it(desk, how):
    parent = ask(desk)
    fill_live(desk, parent)
    if how == "kill":
        kill_switch_pull(scope=of_portfolio(desk.portfolio), level=1, reason="no", actor="me", now=desk.now[0])
    else:
        group_exit(group_id=parent.group_id, reason=Reason.MANUAL, actor="me")
    pass_minutes(desk, 2, turns=4)
    assert (again(parent).state, again(parent).code) == (
        State.SHORT, "KILL_SWITCH" if how == "kill" else "TRADE_ENDS",
    )  # fmt: skip
    assert len(children(parent)) == 1
    if how == "exit":
        desk.broker.fill(desk.broker.newest(), 10, "812.00")
        turn(desk, "812.00", 3)
        assert desk.held() == 0 and ClosedTrade.objects.get().quantity == 10


def test_two_who_look_at_once_let_out_one_part(desk):
    parent = ask(desk)
    fill_live(desk, parent)
    desk.pass_time(minutes=2)
    market(desk, "812.40")
    for _ in range(3):
        group_advance(group_id=parent.group_id, now=desk.now[0])
    assert len(children(parent)) == 2


def test_it_is_judged_as_a_whole(desk):
    publish_policy(portfolio=desk.portfolio, values={"risk_per_trade_pct": "0.045"}, actor="me")
    parent = ask(desk)
    assert (parent.wanted_quantity, parent.quantity) == (60, 50), "₹450 at risk, ₹9 a unit"
    assert children(parent)[0].quantity == 9, "fifty over six, in whole units"


def test_what_is_no_single_orders_business_does_not_limit_it(desk):
    publish_policy(portfolio=desk.portfolio, values={"max_order_value_rupees": "20000"}, actor="me")
    parent = ask(desk)
    assert parent.quantity == 60 and children(parent)[0].quantity == 10


def test_a_part_above_the_freeze_quantity_is_cut(desk):
    Instrument.objects.filter(pk=desk.instrument.pk).update(freeze_quantity=15)
    parent = ask(desk, slices=2, minutes=12)
    assert [order.quantity for order in children(parent)] == [15, 15]
    fill_live(desk, parent)
    pass_minutes(desk, 6)
    assert [order.quantity for order in children(parent)] == [15, 15, 15, 15]
    sane(desk, parent)


def test_refused_it_says_why_and_leaves_nothing(desk):
    parent = ask(desk, stop_price=Decimal("815.00"))
    assert (parent.state, parent.code, parent.group_id) == (State.REFUSED, "STOP_REQUIRED", None)
    assert not Order.objects.exists() and not Group.objects.exists()
    stale = ask(desk, price="812.40", limit_price=Decimal("900.00"))
    assert (stale.state, stale.code) == (State.REFUSED, "PRICE_COLLAR")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": 0}, "QUANTITY"), ({"limit_price": Decimal("812.37")}, "PRICE"), ({"limit_price": None}, "PRICE"),
        ({"minutes": 0}, "MINUTES"), ({"minutes": 10_000}, "MINUTES"), ({"slices": 61}, "SLICES"),
        ({"slices": 1}, "SLICES"), ({"style": "ICEBERG", "visible": 60}, "VISIBLE"),
        ({"style": "ICEBERG", "visible": 0}, "VISIBLE"), ({"style": "VWAP"}, "STYLE"),
        ({"stop_price": Decimal("NaN")}, "PRICE"),
    ],
)  # fmt: skip
def test_what_cannot_be_worked_is_refused_by_name(desk, changes, code):
    with pytest.raises(NotAllowed) as refused:
        ask(desk, **changes)
    assert refused.value.code == code and not ParentOrder.objects.exists()


def test_the_same_wish_twice_is_one_and_another_under_its_key_a_conflict(desk):
    parent = ask(desk, idempotency_key="one")
    assert ask(desk, idempotency_key="one").pk == parent.pk and len(children(parent)) == 1
    with pytest.raises(Conflict):
        ask(desk, idempotency_key="one", quantity=30)


def test_a_program_may_need_a_yes_for_its_first_part(desk):
    type(desk.portfolio).objects.update(approval_mode="MANUAL")
    desk.portfolio.refresh_from_db()
    parent = ask(desk, source=Intent.Source.API)
    assert parent.state == State.LIVE and not children(parent)
    turn(desk, "812.40", 2)
    assert again(parent).state == State.LIVE, "it waits for a person"
    Intent.objects.filter(parent=parent).update(decide_by=timezone.now() - timedelta(seconds=1))
    turn(desk, "812.40", 3)
    assert (again(parent).state, again(parent).code) == (State.REFUSED, "APPROVAL_EXPIRED")
    assert Group.objects.get(pk=parent.group_id).state == Group.State.CLOSED


@pytest.mark.parametrize("style", ["TWAP", "ICEBERG"])
def test_a_contracts_large_entry_is_worked_as_the_settings_say(desk, style):
    values = {"work_style": style, "work_from_rupees": "100000", "work_slices": 4}
    publish_settings(portfolio=desk.portfolio, values=values, actor="me")
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=house_version())
    signal = SignalFactory(
        portfolio=desk.portfolio, deployment=deployment, instrument=desk.instrument, entry="812.35", stop="804.00",
        target="829.00", expires_at=timezone.now() + timedelta(minutes=5),
    )  # fmt: skip
    turn(desk, "812.35", 2)
    signal.refresh_from_db()
    parent = ParentOrder.objects.get()
    assert signal.state == Signal.State.ACCEPTED and parent.signal_id == signal.pk
    assert Group.objects.get().signal_id == signal.pk and parent.group_id == Group.objects.get().pk
    share = -(-parent.quantity // 4) if style == "TWAP" else parent.quantity // 5
    assert abs(children(parent)[0].quantity - share) <= 1
    assert parent.limit_price == Decimal("814.75" if style == "TWAP" else "813.15")


def test_a_deployment_s_own_choice_comes_before_the_settings(desk):
    publish_settings(portfolio=desk.portfolio, values={"work_style": "TWAP", "work_from_rupees": "1"}, actor="me")
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=house_version())
    settings = settings_of(desk.portfolio.pk)

    def choose(**values):
        return choose_work(deployment_id=deployment.pk, values=values, user=desk.world.user, actor="me")

    assert work_of(deployment.pk, settings).style == "TWAP", "it never chose"
    assert choose(style="ICEBERG", from_rupees=Decimal(100_000), visible_pct=Decimal(10)).version == 1
    assert work_of(deployment.pk, settings) == Work("ICEBERG", Decimal(100_000), 15, 5, Decimal(10))
    assert choose(style="ICEBERG").version == 1, "what changes nothing makes no version"
    assert choose(style="NONE").version == 2 and work_of(deployment.pk, settings).style == "NONE"
    assert choose(style="FOLLOW").version == 3 and work_of(deployment.pk, settings).style == "TWAP"
    assert AuditEntry.objects.filter(action="deployment.work").count() == 3
    with pytest.raises(NotAllowed) as refused:
        choose(style="TWAP", slices=1)
    assert refused.value.code == "WORK_INVALID" and "slices" in refused.value.numbers["fields"]
    with pytest.raises(NotFound):
        choose_work(deployment_id=deployment.pk, values={}, user=UserFactory(), actor="a stranger")
    Deployment.objects.filter(pk=deployment.pk).update(state="RETIRED")
    with pytest.raises(NotAllowed):
        choose(style="TWAP")


def test_a_contracts_large_entry_goes_out_at_once_where_its_deployment_says_so(desk):
    publish_settings(portfolio=desk.portfolio, values={"work_style": "TWAP", "work_from_rupees": "1"}, actor="me")
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=house_version())
    choose_work(deployment_id=deployment.pk, values={"style": "NONE"}, user=desk.world.user, actor="me")
    signal = SignalFactory(
        portfolio=desk.portfolio, deployment=deployment, instrument=desk.instrument, entry="812.35", stop="804.00",
        target="829.00", expires_at=timezone.now() + timedelta(minutes=5),
    )  # fmt: skip
    turn(desk, "812.35", 2)
    signal.refresh_from_db()
    assert signal.state == Signal.State.ACCEPTED and not ParentOrder.objects.exists()


@given(st.integers(1, 100_000), st.integers(1, 100), st.sampled_from([1, 25, 75]))
def test_a_twap_lets_out_exactly_what_there_is(lots, turns, lot):
    left, out = lots * lot, 0
    for turns_left in range(turns, 0, -1):
        share = spread_evenly(left - out, turns_left, lot)
        assert 0 <= share <= left - out and share % lot == 0
        out += share
    assert out == left


@given(st.integers(1, 10_000), st.integers(1, 500), st.sampled_from([1, 25]))
def test_the_tips_of_an_iceberg_are_the_whole(left, visible, lot):
    out = 0
    while out < left:
        tip = next_tip(left - out, visible, lot)
        assert 0 < tip <= max(visible, lot)
        out += tip
    assert out == left


def test_a_part_that_may_be_at_the_broker_after_all_is_not_let_out_a_second_time(desk):
    parent = ask(desk, style="ICEBERG", quantity=30)
    desk.broker.answers.extend(["taken", LOST])  # the stop, and the second part
    desk.broker.hidden.add("B000003")
    fill_live(desk, parent)
    (lost,) = [order for order in children(parent) if order.state == OrderState.UNKNOWN]
    assert give_up(desk, lost).state == OrderState.NOT_PLACED
    turn(desk, "812.40", 3)
    fill_live(desk, parent)
    assert (again(parent).state, again(parent).code) == (State.SHORT, "NOT_PLACED")
    desk.broker.hidden.clear()
    desk.broker.fill("B000003", 15, "812.40")
    turn(desk, "812.40", 3)
    assert desk.held() == 30 == sum(fact.quantity for fact in desk.broker.facts)
    sane(desk, parent)
