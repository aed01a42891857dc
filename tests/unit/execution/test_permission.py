"""Who may send, and when: leases, pauses, kill switches, people who say yes, days that lost enough."""

import time
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from execution.brokers.port import Acknowledged, Unknown
from execution.engine import lifecycle
from execution.engine.lease import acquire, give_up, renew
from execution.models import EngineLease, Group, Intent, Order
from execution.services.approval_decide import approval_decide, approval_expire
from execution.services.group_exit import group_exit
from execution.services.kill_switch_pull import kill_switch_pull, kill_switch_rearm
from execution.services.order_submit import order_submit, record_send
from execution.services.signal_accept import signal_accept
from execution.states import OrderState
from risk.kill_switch import DESK, of_portfolio
from risk.models import Assessment, DrawdownState, LossLock, RiskBucket
from risk.order_rate import take_turn
from strategies.models import Signal
from tests.factories import ContractVersionFactory, DeploymentFactory, InstrumentFactory, SignalFactory
from tests.factories.people import a_factor
from tests.factories.world import quote
from trading.domain.errors import Conflict
from trading.domain.orders import Reason
from trading.monitoring.models import Alert
from trading.portfolio.models import Portfolio, TradingDay

REFUSED, WAITING = Intent.State.REFUSED, Intent.State.WAITING


def sent(desk) -> int:
    return sum(call.startswith("place") for call in desk.broker.calls)


def free(desk) -> bool:
    return not RiskBucket.objects.exclude(reserved=0).exists()


# -- leases ------------------------------------------------------------------------------------------------------


def test_fault_52_an_engine_without_the_lease_sends_nothing_and_leaves_the_order_to_the_next(desk):
    order = desk.order(desk.ask())
    EngineLease.objects.update(token=2)  # somebody else has taken over
    desk.engine.send_queued()
    order.refresh_from_db()
    assert (sent(desk), order.state) == (0, OrderState.QUEUED)
    order_submit(order_id=order.pk, gateway=desk.broker, fence=2)
    assert sent(desk) == 1


def test_an_engine_whose_lease_ran_out_sends_nothing(desk):
    order = desk.order(desk.ask())
    EngineLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    desk.engine.send_queued()
    assert sent(desk) == 0
    assert Order.objects.get(pk=order.pk).state == OrderState.QUEUED


def test_the_fence_only_grows(desk):
    account = desk.account.pk
    EngineLease.objects.update(expires_at=None, holder="", token=7)
    first = acquire(account, "a:1")
    assert first == 8 and acquire(account, "b:2") is None and renew(account, first)
    give_up(account, first)
    second = acquire(account, "b:2")
    assert second == 9 and not renew(account, first)


def test_a_reply_to_another_claim_is_kept_out(desk):
    order = desk.order(desk.ask())
    desk.engine.send_queued()
    order.refresh_from_db()
    record_send(order_id=order.pk, token=uuid4(), result=Acknowledged("SOMEBODY-ELSES"))
    order.refresh_from_db()
    assert order.broker_order_id == "B000001"
    assert order.events.get(kind="reply.stray").applied is False


def test_a_late_reply_to_the_own_claim_is_evidence(desk):
    order = desk.order(desk.ask())
    desk.engine.send_queued()
    order.refresh_from_db()
    Order.objects.filter(pk=order.pk).update(state=OrderState.UNKNOWN, broker_order_id=None)
    record_send(order_id=order.pk, token=order.claim_token, result=Acknowledged("B000001"))
    order.refresh_from_db()
    assert (order.state, order.broker_order_id) == (OrderState.ACKED, "B000001")
    record_send(order_id=order.pk, token=order.claim_token, result=Unknown("late"))
    order.refresh_from_db()
    assert order.state == OrderState.ACKED


def test_an_order_is_claimed_once(desk):
    order = desk.order(desk.ask())
    for _ in range(3):
        order_submit(order_id=order.pk, gateway=desk.broker, fence=1)
    assert sent(desk) == 1


def test_an_order_that_waited_too_long_is_withdrawn(desk):
    order = desk.order(desk.ask())
    Order.objects.update(valid_until=timezone.now())
    desk.turn(2)
    order.refresh_from_db()
    assert (order.state, sent(desk), order.group.state) == (OrderState.WITHDRAWN, 0, "CLOSED")
    assert free(desk)


def test_a_paused_engine_sends_no_entry_and_goes_on_protecting(desk):
    group = desk.enter()
    other = InstrumentFactory(symbol="NSE:TCS-EQ")
    quote(desk.world.feed, other)
    intent = desk.ask(symbol=other.symbol)
    lifecycle.pause(desk.account.pk, "me")
    before = sent(desk)
    desk.engine.sweep()
    assert (sent(desk), desk.order(intent).state) == (before, OrderState.WITHDRAWN)
    group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    for _ in range(4):
        desk.engine.sweep()
        desk.engine.read_books()
    assert Order.objects.get(reason="MANUAL").state == OrderState.OPEN


# -- the kill switch ---------------------------------------------------------------------------------------------


def test_an_entry_that_waits_for_its_turn_is_stopped_by_the_switch(desk, monkeypatch):
    order = desk.order(desk.ask())
    while not take_turn(desk.account.pk, "order"):
        pass  # the account's pace is used up: the next one has to wait

    def meanwhile(seconds: float) -> None:
        assert seconds > 0
        kill_switch_pull(scope=DESK, level=1, reason="enough", actor="me", now=desk.now[0])

    monkeypatch.setattr(time, "sleep", meanwhile)
    order_submit(order_id=order.pk, gateway=desk.broker, fence=1, paced=True)
    order.refresh_from_db()
    assert (sent(desk), order.state) == (0, OrderState.WITHDRAWN)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_a_queued_entry_dies_and_stays_dead(desk, level):
    order = desk.order(desk.ask())
    kill_switch_pull(scope=of_portfolio(desk.portfolio), level=level, reason="no", actor="me", now=desk.now[0])
    desk.engine.read_books()
    desk.engine.advance_groups()
    kill_switch_rearm(scope=of_portfolio(desk.portfolio), reason="yes", actor="me", factor=a_factor(), now=desk.now[0])
    desk.turn(3)
    order.refresh_from_db()
    assert (order.state, sent(desk)) == (OrderState.WITHDRAWN, 0)
    assert free(desk)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_the_kill_switch_of_the_whole_desk_holds_for_every_portfolio(desk, level):
    desk.ask()
    kill_switch_pull(scope=DESK, level=level, reason="no", actor="me", now=desk.now[0])
    desk.turn(2)
    assert sent(desk) == 0
    assert desk.ask().refusal_code == "KILL_SWITCH"


def test_flatten_closes_what_is_held_and_works_again_after_a_crash(desk):
    group = desk.enter(filled=4)
    kill_switch_pull(scope=of_portfolio(desk.portfolio), level=4, reason="no", actor="me", now=desk.now[0])
    kill_switch_pull(scope=of_portfolio(desk.portfolio), level=4, reason="again", actor="me", now=desk.now[0])
    desk.turn(4)
    exit_order = Order.objects.get(reason="KILL")
    assert exit_order.quantity == 4 == desk.working()
    desk.broker.fill(exit_order.broker_order_id, 4, "811.00")
    desk.turn(2)
    assert Group.objects.get(pk=group.pk).state == "CLOSED" and desk.held() == 0


def test_cancel_all_leaves_the_stop(desk):
    desk.enter(filled=4)
    kill_switch_pull(scope=of_portfolio(desk.portfolio), level=3, reason="no", actor="me", now=desk.now[0])
    desk.turn(3)
    assert desk.working() == 4 == desk.held()
    assert Order.objects.get(reason="ENTRY").state == OrderState.CANCELLED


# -- a person's yes ----------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(desk):
    Portfolio.objects.update(approval_mode="MANUAL")
    desk.portfolio.refresh_from_db()
    intent = desk.ask(source=Intent.Source.API)
    assert intent.state == WAITING
    return intent


def decide(desk, intent, approve=True):
    desk.world.still_running()
    return approval_decide(intent_id=intent.pk, approve=approve, actor="me", now=desk.now[0])


def test_a_yes_sends_it_once(desk, waiting):
    assert decide(desk, waiting).state == Intent.State.APPROVED
    assert decide(desk, waiting).state == Intent.State.APPROVED
    desk.turn(2)
    assert sent(desk) == 1
    with pytest.raises(Conflict):
        decide(desk, waiting, approve=False)


def test_a_no_gives_everything_back(desk, waiting):
    assert decide(desk, waiting, approve=False).refusal_code == "NOT_APPROVED"
    assert free(desk) and Group.objects.get().state == "CLOSED"


def test_nobody_decides(desk, waiting):
    desk.turn(2)
    assert not approval_expire(intent_id=waiting.pk, now=desk.now[0])
    Intent.objects.update(decide_by=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Conflict):
        decide(desk, waiting)
    desk.turn()
    assert Intent.objects.get().refusal_code == "APPROVAL_EXPIRED" and free(desk)
    assert Group.objects.get().state == "CLOSED"


def test_a_yes_after_the_close_of_the_market_is_a_no(desk, waiting):
    desk.pass_time(hours=6)
    found = decide(desk, waiting)
    assert (found.state, found.refusal_code) == (REFUSED, "MARKET_HOURS")
    assert free(desk) and Group.objects.get().state == "CLOSED" and not Order.objects.exists()


def test_a_yes_to_a_price_that_ran_away_is_a_no(desk, waiting):
    desk.world.still_running()
    quote(desk.world.feed, desk.instrument, "900.00")
    found = approval_decide(intent_id=waiting.pk, approve=True, actor="me", now=desk.now[0])
    assert (found.state, found.refusal_code) == (REFUSED, "PRICE_COLLAR")


def test_a_killed_question_is_not_answered_after_the_rearming(desk, waiting):
    kill_switch_pull(scope=of_portfolio(desk.portfolio), level=1, reason="no", actor="me", now=desk.now[0])
    kill_switch_rearm(scope=of_portfolio(desk.portfolio), reason="yes", actor="me", factor=a_factor(), now=desk.now[0])
    with pytest.raises(Conflict):
        decide(desk, waiting)
    assert Intent.objects.get().refusal_code == "KILL_SWITCH" and free(desk)


def test_a_yes_to_what_was_closed_meanwhile_is_a_no(desk, waiting):
    group_exit(group_id=waiting.group_id, reason=Reason.MANUAL, actor="me")
    desk.turn()
    assert decide(desk, waiting).refusal_code == "CLOSE_ASKED"
    assert free(desk)


# -- the day's loss ----------------------------------------------------------------------------------------------


def test_a_hard_loss_closes_everything_and_locks_the_day(desk):
    desk.enter(quantity=100, filled=100)
    day = TradingDay.objects.get()
    day.opening_equity_paise = 1_200_000_00
    day.save()
    desk.broker.answers.clear()
    value = desk.engine.value(desk.portfolio)
    assert value.stale and not LossLock.objects.exists(), "nothing is latched on a price that is not known"
    desk.engine.market.hear(desk.ticks("812.00"))
    desk.engine.value(desk.portfolio)
    assert set(LossLock.objects.values_list("kind", flat=True)) == {"WARN", "HALF", "SOFT", "HARD"}
    desk.engine.keep_rules_of_time()
    desk.turn(4)
    assert Order.objects.get(reason="KILL").quantity == desk.held() == desk.working()
    desk.broker.fill(Order.objects.get(reason="KILL").broker_order_id, desk.held(), "812.00")
    desk.turn(2)
    TradingDay.objects.update(opening_equity_paise=1_000_000_00)
    assert desk.ask().refusal_code in {"DAILY_LOSS_HARD"}, "latched: better figures do not unlock it"


# -- signals -----------------------------------------------------------------------------------------------------


@pytest.fixture
def signal(desk):
    from tests.factories.strategies import house_version

    version = house_version()
    deployment = DeploymentFactory(portfolio=desk.portfolio, version=version)
    return SignalFactory(
        portfolio=desk.portfolio, deployment=deployment, instrument=desk.instrument, entry="812.35", stop="804.00",
        target="829.00",
    )  # fmt: skip


def test_a_signal_is_taken_up_once(desk, signal):
    for _ in range(3):
        desk.world.still_running()
        signal_accept(signal_id=signal.pk, now=desk.now[0])
    signal.refresh_from_db()
    assert (signal.state, Intent.objects.count()) == (Signal.State.ACCEPTED, 1), signal.refusal


def test_a_crash_between_intent_and_signal_leaves_neither(desk, signal, monkeypatch):
    from execution.services.signal_round import Round

    def killed(*_):
        raise KeyboardInterrupt

    desk.world.still_running()
    with monkeypatch.context() as patch:
        patch.setattr(Round, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            signal_accept(signal_id=signal.pk, now=desk.now[0])
    assert not Intent.objects.exists() and not RiskBucket.objects.exclude(reserved=0).exists()
    signal_accept(signal_id=signal.pk, now=desk.now[0])
    signal.refresh_from_db()
    assert (signal.state, Intent.objects.count()) == (Signal.State.ACCEPTED, 1)


def test_fault_59_a_signal_that_cannot_be_read_holds_up_nobody(desk):
    broken = SignalFactory(
        portfolio=desk.portfolio,
        deployment=DeploymentFactory(portfolio=desk.portfolio, version=ContractVersionFactory()),
        instrument=desk.instrument, entry="812.35", stop="804.00", target="829.00",
    )  # fmt: skip
    group = desk.enter()
    assert desk.working() == 10 == desk.held(), group
    assert Alert.objects.filter(code="STEP_FAILED", dedupe_key__contains=str(broken.pk)).exists()


def test_fault_49_a_trade_that_cannot_be_advanced_holds_up_no_other(desk):
    stuck = desk.ask()
    other = InstrumentFactory(symbol="NSE:TCS-EQ")
    quote(desk.world.feed, other)
    intent = desk.ask(symbol=other.symbol)
    desk.turn()
    with connection.cursor() as cursor:  # past the ORM, which refuses it: no order can be made of this
        cursor.execute("UPDATE execution_group SET stop_price = 'NaN' WHERE id = %s", [stuck.group_id])
    for each in (stuck, intent):
        desk.broker.fill(desk.order(each).broker_order_id, 10, "812.30")
    desk.turn(3)
    assert desk.working() == 10
    assert Alert.objects.filter(code="STEP_FAILED").exists()


def test_nothing_of_a_refused_wish_remains_but_its_reasons(desk):
    intent = desk.ask(stop_price=None)
    assert (intent.state, intent.refusal_code) == (REFUSED, "STOP_REQUIRED")
    assert not Order.objects.exists() and not Group.objects.exists() and free(desk)
    said = Assessment.objects.get(intent_id=intent.pk).verdicts
    assert [one.outcome for one in said].count("REJECT") == 1


def test_on_the_defensive_the_stop_is_nearer_and_the_size_smaller(desk, signal):
    """Fifteen percent below the peak: half the size, and a stop at eight tenths of its distance."""
    DrawdownState.objects.create(
        portfolio=desk.portfolio, step="DEFENSIVE", peak_paise=1, peak_at=desk.now[0], equity_paise=1, drawdown_pct=16,
        step_since=desk.now[0],
    )  # fmt: skip
    desk.world.still_running()
    decided = signal_accept(signal_id=signal.pk, now=desk.now[0])
    assert decided.state == Signal.State.ACCEPTED, decided.refusal
    signal.refresh_from_db()
    intent = Intent.objects.get(signal=signal)
    assert signal.stop < intent.stop_price < intent.limit_price
    assert abs((intent.limit_price - intent.stop_price) / (intent.limit_price - signal.stop) - Decimal("0.8")) < 0.02
    assert intent.allowed_quantity * 2 <= intent.wanted_quantity + 1
