"""An order handed to its engine with its claim leaves once, whichever of bell and sweep finds it."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.registry import AuthState, set_auth_state
from execution.engine import handed as handed_claims
from execution.engine.dispatch import Dispatch
from execution.models import EngineLease, Order
from execution.services import order_hand
from execution.services.order_cancel import order_cancel
from execution.services.order_hand import Handed
from execution.states import OrderState
from risk.kill_switch import of_portfolio, raise_level
from risk.models import OrderRate
from risk.order_rate import RATES, take_turn
from tests.factories import InstrumentFactory
from tests.factories.world import quote
from tests.small_desk import SmallDesk, small_desk
from trading.domain.clock import running_s
from trading.outbox import heard_here


@pytest.fixture
def desk(transactional_db, valkey) -> SmallDesk:
    desk = small_desk()
    take_turn(desk.account.pk, "order")
    all_turns_come(desk)
    return desk


def all_turns_come(desk: SmallDesk) -> None:
    OrderRate.objects.filter(account_id=desk.account.pk).update(next_free_at=timezone.now() - timedelta(hours=1))


@contextmanager
def at_the_door(desk: SmallDesk) -> Iterator[list[Handed]]:
    """Somebody stands at the door and keeps what he is handed."""
    kept: list[Handed] = []

    def answer(name: str, ids: Mapping[str, Any]) -> bool:
        if "claim" in ids:
            kept.append(Handed.read(ids))
        return True

    with heard_here(desk.account.pk, answer):
        yield kept


def hand(desk: SmallDesk, **changes: Any) -> tuple[Order, list[Handed]]:
    with at_the_door(desk) as kept:
        order = desk.order(desk.ask(**changes))
    return order, kept


def state(order: Order) -> str:
    return str(Order.objects.get(pk=order.pk).state)


def grow_older(order: Order, seconds: float) -> None:
    by = timedelta(seconds=seconds)
    Order.objects.filter(pk=order.pk).update(sent_at=order.sent_at - by, lease_expires_at=order.lease_expires_at - by)


def test_it_is_written_as_claimed_and_its_bell_says_all_that_the_broker_is_told(desk):
    order, (handed,) = hand(desk)
    assert order.state == "SENDING" and order.claim_token == handed.claimed.token and handed.fence == 1
    assert [(one.kind, one.seq) for one in order.events.order_by("seq")] == [("order.queued", 1), ("order.claimed", 2)]
    assert order.lease_expires_at - order.sent_at == timedelta(seconds=15)
    request = handed.claimed.request
    assert (request.client_order_id, request.symbol) == (order.client_order_id, desk.instrument.symbol)
    assert (request.quantity, request.limit_price) == (10, order.limit_price)
    desk.turn()
    assert not desk.broker.calls, "its bell may still come"
    assert desk.engine.handed.hear([handed])
    assert state(order) == "ACKED" and len(desk.broker.book) == 1
    desk.engine.handed.hear([handed])
    desk.engine.handed.find(after_s=0.0)
    desk.turn()
    assert len(desk.broker.book) == 1
    assert next(iter(desk.broker.orders())).client_order_id == order.client_order_id


def test_one_whose_bell_was_lost_is_found_and_its_bell_is_too_late_then(desk):
    order, (handed,) = hand(desk)
    grow_older(order, 2)
    desk.engine.sweep()
    assert state(order) == "ACKED" and len(desk.broker.book) == 1
    desk.engine.handed.hear([handed])
    desk.engine.sweep()
    assert desk.broker.calls == ["place BUY 10 LIMIT"]


def test_a_bell_that_comes_late_brings_nothing_and_the_sweep_asks_anew(desk, monkeypatch):
    order, (handed,) = hand(desk)
    monkeypatch.setattr(order_hand, "HANDED_WITHIN_S", 0.0)
    desk.engine.handed.hear([handed])
    assert not desk.broker.calls and state(order) == "SENDING"
    raise_level(scope=of_portfolio(desk.portfolio), level=1, reason="enough", actor="me")
    grow_older(order, 2)
    desk.engine.sweep()
    order = Order.objects.get(pk=order.pk)
    assert order.state == "WITHDRAWN" and "kill switch" in order.broker_message and not desk.broker.calls


def end_lease(desk: SmallDesk) -> None:
    EngineLease.objects.update(token=2)


def cancel(desk: SmallDesk) -> None:
    order_cancel(order_id=Order.objects.get().pk, actor="me", now=desk.now[0])


def sign_out(desk: SmallDesk) -> None:
    set_auth_state(desk.account, AuthState.EXPIRED, "your token has expired")


def pause(desk: SmallDesk) -> None:
    EngineLease.objects.update(paused_by="me")


@pytest.mark.parametrize("happens", [end_lease, cancel, sign_out, pause])
def test_what_is_found_and_may_not_leave_any_more_never_does(desk, happens):
    BrokerAccount.objects.update(environment="SANDBOX")
    order, (handed,) = hand(desk)
    happens(desk)
    grow_older(order, 2)
    desk.engine.handed.find()
    desk.engine.handed.hear([handed])
    assert state(order) == "WITHDRAWN" and not desk.broker.calls


def test_the_claim_of_another_engine_is_nobodys(desk):
    order, (handed,) = hand(desk)
    EngineLease.objects.update(token=2)
    other = type(desk.engine)(
        account=desk.account, feed=desk.world.feed, gateway=desk.broker, fence=2, now=lambda: desk.now[0]
    )  # type: ignore[arg-type]
    other.handed.hear([handed])
    grow_older(order, 2)
    other.sweep()
    assert state(order) == "SENDING" and not desk.broker.calls
    grow_older(Order.objects.get(pk=order.pk), 20)
    other.sweep()
    assert state(order) == "UNKNOWN" and not desk.broker.calls, "it may have left: the book decides"


def test_the_end_of_its_lease_is_no_time_to_find_it(desk):
    order, _ = hand(desk)
    grow_older(order, handed_claims.FOUND_WITHIN_S + 1)
    desk.engine.handed.find()
    assert state(order) == "SENDING" and not desk.broker.calls


# -- when it is not handed ---------------------------------------------------------------------------------------------


def expired(desk: SmallDesk) -> None:
    EngineLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def used_up(desk: SmallDesk) -> None:
    for _ in range(int(RATES["order"][1])):
        take_turn(desk.account.pk, "order")


def first_call(desk: SmallDesk) -> None:
    OrderRate.objects.all().delete()


@pytest.mark.parametrize("how", [expired, used_up, first_call])
def test_what_a_claim_would_not_let_go_is_queued_and_takes_no_place(desk, how):
    how(desk)
    before = list(OrderRate.objects.order_by("call_class").values_list("call_class", "next_free_at"))
    with at_the_door(desk) as kept:
        order = desk.order(desk.ask())
    assert (order.state, order.claim_token, order.sent_at, kept) == ("QUEUED", None, None, [])
    assert [one.kind for one in order.events.all()] == ["order.queued"]
    assert list(OrderRate.objects.order_by("call_class").values_list("call_class", "next_free_at")) == before


def test_nobody_at_the_door_and_several_pieces_are_queued(desk):
    assert desk.order(desk.ask()).state == "QUEUED"
    desk.turn()
    share = InstrumentFactory(freeze_quantity=8)
    quote(desk.world.feed, share)
    with at_the_door(desk) as kept:
        desk.ask(symbol=share.symbol)
    assert set(Order.objects.filter(instrument=share).values_list("state", flat=True)) == {"QUEUED"} and not kept


def test_nobody_is_waited_for_who_takes_his_place_in_the_rate_just_now(desk):
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM risk_orderrate WHERE call_class = 'shared' FOR UPDATE")
        order, kept = hand(desk)
        assert (order.state, kept) == ("QUEUED", [])
    finally:
        other.close()


def test_a_switch_that_is_pulled_after_the_gates_have_spoken_stops_the_claim(desk, monkeypatch):
    written = order_hand.order_hand

    def late(order, bell):
        puller = threading.Thread(target=pull)
        puller.start()
        puller.join()
        return written(order, bell)

    def pull() -> None:
        raise_level(scope=of_portfolio(desk.portfolio), level=1, reason="enough", actor="me")
        connection.close()

    monkeypatch.setattr("execution.services.order_queue.order_hand", late)
    order, kept = hand(desk)
    assert (order.state, kept) == ("QUEUED", [])
    desk.turn()
    assert state(order) == "WITHDRAWN" and not desk.broker.calls


# -- many at once ------------------------------------------------------------------------------------------------------


def test_bells_and_sweeps_at_once_send_each_order_once(desk):
    failures: list[Exception] = []

    def guarded(work) -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    desk.engine.dispatch = Dispatch(
        account_id=desk.account.pk, gateway=desk.broker, fence=1, price_of=lambda symbol: None, guarded=guarded,
        on_recorded=desk.engine.handed.forget,
    )  # fmt: skip
    rounds = 20
    for number in range(rounds):
        all_turns_come(desk)
        share = InstrumentFactory()
        quote(desk.world.feed, share)
        order, (handed,) = hand(desk, symbol=share.symbol)
        start = threading.Barrier(6)

        def hear(start=start, handed=handed) -> None:
            start.wait()
            desk.engine.handed.hear([handed])

        def find(start=start) -> None:
            start.wait()
            desk.engine.handed.find(after_s=0.0)
            connection.close()

        at_once = [threading.Thread(target=one) for one in (hear, find) * 3]
        for one in at_once:
            one.start()
        for one in at_once:
            one.join()
        end = time.monotonic() + 30
        while state(order) != OrderState.ACKED:
            assert time.monotonic() < end, (number, failures)
            time.sleep(0.005)
        cancel_all(desk)
    desk.engine.dispatch.close()
    assert failures == []
    assert len([one for one in desk.broker.calls if one.startswith("place")]) == rounds


def cancel_all(desk: SmallDesk) -> None:
    for order in list(desk.broker.orders()):
        desk.broker.cancel(order.broker_order_id)
    desk.engine.read_books()
    for _ in range(2):
        desk.engine.advance_groups()


def test_what_has_been_sent_is_remembered_for_as_long_as_a_bell_of_it_might_be_in_time(desk, monkeypatch):
    _, (handed,) = hand(desk)
    desk.engine.handed.hear([handed])
    assert handed.claimed.token in desk.engine.handed._taken
    monkeypatch.setattr(handed_claims, "REMEMBERED_S", 0.0)
    desk.engine.handed.forget([])
    assert not desk.engine.handed._taken
    assert running_s() - handed.claimed.claimed_at < 60
