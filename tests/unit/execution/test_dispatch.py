"""Orders are claimed together, sent side by side, and written down together; one that is odd is odd alone."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils import timezone
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH

from execution.brokers.port import Acknowledged, CallClass
from execution.brokers.registry import AuthState, set_auth_state
from execution.engine.dispatch import Dispatch
from execution.engine_settings import publish_settings
from execution.models import EngineLease, Group, Order, ParkedFill
from execution.services.fill_apply import fill_apply
from execution.services.order_claim import CLAIM, SEND_WITHIN_S, orders_claim, orders_claim_in_turn
from execution.services.order_submit import Outcome, orders_place, outcomes_record
from execution.services.order_update import order_update
from execution.states import OrderState
from risk.kill_switch import of_portfolio, raise_level
from risk.models import OrderRate
from risk.order_rate import RATES, take_turn, take_turns
from risk.policies import publish_policy
from tests.factories import InstrumentFactory
from tests.factories.world import quote
from tests.small_desk import SmallDesk, small_desk


def several(desk: SmallDesk, count: int) -> list[Order]:
    """Queued entries, each in a share of its own."""
    orders = []
    for _ in range(count):
        share = InstrumentFactory()
        quote(desk.world.feed, share)
        orders.append(desk.order(desk.ask(symbol=share.symbol)))
    return orders


def states(orders) -> list[str]:
    return [Order.objects.get(pk=one.pk).state for one in orders]


def kinds(order: Order) -> list[str]:
    return [event.kind for event in order.events.all()]


# -- claims ------------------------------------------------------------------------------------------------------------


def test_orders_are_claimed_together_as_they_were_given(desk):
    first, second, third = several(desk, 3)
    Order.objects.filter(pk=second.pk).update(valid_until=timezone.now())
    claimed = orders_claim(order_ids=[third.pk, second.pk, first.pk], fence=1)
    assert [one.order_id for one in claimed] == [third.pk, first.pk]
    assert len({one.token for one in claimed}) == 2
    assert states([first, second, third]) == ["SENDING", "WITHDRAWN", "SENDING"]
    assert kinds(first) == ["order.queued", "order.claimed"]
    assert orders_claim(order_ids=[first.pk, third.pk], fence=1) == []


def test_nothing_is_claimed_together_without_the_lease_or_after_the_switch(desk):
    orders = several(desk, 2)
    numbers = [one.pk for one in orders]
    EngineLease.objects.update(token=2)
    assert orders_claim(order_ids=numbers, fence=1) == []
    assert states(orders) == ["QUEUED", "QUEUED"]
    raise_level(scope=of_portfolio(desk.portfolio), level=1, reason="enough", actor="me")
    assert orders_claim(order_ids=numbers, fence=2) == []
    assert states(orders) == ["WITHDRAWN", "WITHDRAWN"]


def test_how_a_claim_is_read_is_kept():
    assert max(len(statement) for statement in CLAIM.values()) <= MAX_CACHED_STATEMENT_LENGTH, "else it is read anew"


def test_a_claim_takes_its_turn_with_it_or_leaves_everything_as_it_was(desk):
    first, second = several(desk, 2)
    account = desk.account.pk

    def claim(*orders: Order):
        return orders_claim_in_turn(
            account_id=account, klass=CallClass.ORDER, order_ids=[one.pk for one in orders], fence=1
        )  # fmt: skip

    def places() -> list:
        return list(OrderRate.objects.order_by("call_class").values_list("call_class", "next_free_at"))

    assert claim(first) is None, "the account has never made such a call"
    while not take_turn(account, "order"):
        pass
    taken = places()
    assert claim(first, second) is None
    assert states([first, second]) == ["QUEUED", "QUEUED"] and places() == taken
    assert kinds(first) == ["order.queued"]
    OrderRate.objects.update(next_free_at=timezone.now() - timedelta(hours=1))
    claimed = claim(first, second)
    assert claimed is not None and [one.order_id for one in claimed] == [first.pk, second.pk]
    assert states([first, second]) == ["SENDING", "SENDING"]
    assert dict(places())["order"] > timezone.now() - timedelta(minutes=1)


# -- outcomes ----------------------------------------------------------------------------------------------------------


def placed(desk: SmallDesk, orders: list[Order]) -> list[Outcome]:
    claimed = orders_claim(order_ids=[one.pk for one in orders], fence=1)
    return [Outcome(one.order_id, one.token, desk.broker.place(one.request)) for one in claimed]


def test_outcomes_are_written_down_together_and_an_odd_one_goes_its_own_way(desk):
    first, second, third = several(desk, 3)
    said = placed(desk, [first, second, third])
    said[1] = Outcome(second.pk, uuid4(), Acknowledged("SOMEBODY-ELSES"))  # to another claim
    fill_apply(account_id=desk.account.pk, fact=fact_of(desk, "B000003"), source="SOCKET")  # faster than the answer
    outcomes_record(said)
    assert states([first, second, third]) == ["ACKED", "SENDING", "FILLED"]
    assert kinds(first) == ["order.queued", "order.claimed", "order.acknowledged"]
    assert second.events.get(kind="reply.stray").applied is False
    assert ParkedFill.objects.get().drained_at is not None
    assert Group.objects.get(pk=first.group_id).state == Group.State.LIVE


def fact_of(desk: SmallDesk, number: str):
    return replace(desk.broker.fill(number, 10, "812.30"), client_order_id=None)


def test_one_number_for_two_orders_binds_neither_twice(desk):
    first, second = several(desk, 2)
    said = placed(desk, [first, second])
    outcomes_record([replace(one, result=Acknowledged("B000001")) for one in said])
    assert states([first, second]) == ["ACKED", "UNKNOWN"]
    assert second.events.filter(kind="broker.id_taken").exists()


def test_an_answer_after_the_stream_adds_what_is_new(desk):
    (order,) = several(desk, 1)
    said = placed(desk, [order])
    order_update(account_id=desk.account.pk, news=desk.broker.orders()[0], source="SOCKET")
    assert states([order]) == ["OPEN"]
    outcomes_record([replace(said[0], arrival_price=Decimal("812.00"))])
    order.refresh_from_db()
    assert (order.state, order.broker_order_id, order.arrival_price) == ("OPEN", "B000001", Decimal("812.00"))
    assert kinds(order) == ["order.queued", "order.claimed", "order.seen"]


# -- turns -------------------------------------------------------------------------------------------------------------


def test_places_taken_together_follow_one_another(desk):
    account = desk.account.pk
    pace, at_once = RATES["order"]
    waits = take_turns(account, "order", at_once + 2)
    assert waits[:at_once] == [0.0] * at_once
    assert waits[-1] - waits[-2] == pytest.approx(1 / pace)
    assert take_turn(account, "order") == pytest.approx(waits[-1] + 1 / pace, abs=0.1)


# -- hands -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(transactional_db, valkey) -> Iterator[tuple[SmallDesk, Dispatch]]:
    desk = small_desk()
    failures: list[Exception] = []

    def guarded(work) -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    dispatch = Dispatch(
        account_id=desk.account.pk, gateway=desk.broker, fence=1, price_of=lambda symbol: None, guarded=guarded,
    )  # fmt: skip
    desk.engine.dispatch = dispatch
    yield desk, dispatch
    dispatch.close()
    assert failures == []


def wait_until(true) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "waited half a minute"
        time.sleep(0.01)


def test_what_is_given_together_arrives_once_each_and_is_written_down(busy, monkeypatch):
    desk, dispatch = busy
    monkeypatch.setitem(RATES, "order", (1e6, 1_000))
    publish_policy(portfolio=desk.portfolio, values={"max_open_positions": 100}, actor="a test")
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 100}, actor="a test")
    orders = several(desk, 12)
    for _ in range(3):
        assert dispatch.give([one.pk for one in orders])
    wait_until(lambda: not Order.objects.exclude(state=OrderState.ACKED).exists())
    assert len(desk.broker.book) == 12
    assert {one.client_order_id for one in desk.broker.orders()} == {one.client_order_id for one in orders}


def test_fault_33_what_was_queued_when_the_sign_in_was_lost_is_held_and_takes_no_place_in_the_rate(busy):
    desk, dispatch = busy
    while not take_turn(desk.account.pk, "order"):
        pass
    in_turn, waiting, late = several(desk, 3)
    dispatch.give([in_turn.pk])
    wait_until(lambda: dispatch._turns)
    set_auth_state(desk.account, AuthState.EXPIRED, "your token has expired")
    taken = list(OrderRate.objects.order_by("call_class").values_list("next_free_at", flat=True))
    dispatch.give([waiting.pk], CallClass.ORDER)
    dispatch.give([late.pk])
    wait_until(lambda: not dispatch._known)
    Order.objects.filter(pk=late.pk).update(valid_until=timezone.now())
    desk.engine.sweep()
    assert states([in_turn, waiting, late]) == ["QUEUED", "QUEUED", "WITHDRAWN"]
    assert list(OrderRate.objects.order_by("call_class").values_list("next_free_at", flat=True)) == taken
    assert not desk.broker.calls
    set_auth_state(desk.account, AuthState.AUTHENTICATED, "")
    desk.engine.sweep()
    wait_until(lambda: states([in_turn, waiting]) == ["ACKED", "ACKED"])


def test_a_way_out_does_not_wait_behind_an_entry_whose_turn_has_not_come(busy):
    desk, dispatch = busy
    while not take_turn(desk.account.pk, "order"):
        pass
    take_turns(desk.account.pk, "order", 50)  # twenty seconds of entries
    entry, way_out = several(desk, 2)
    Order.objects.filter(pk=way_out.pk).update(reason="MANUAL")
    dispatch.give([entry.pk])
    wait_until(lambda: dispatch._turns)
    dispatch.give([way_out.pk])
    wait_until(lambda: Order.objects.get(pk=way_out.pk).state == OrderState.ACKED)
    assert Order.objects.get(pk=entry.pk).state == OrderState.QUEUED
    raise_level(scope=of_portfolio(desk.portfolio), level=1, reason="enough", actor="me")


def test_what_was_claimed_is_sent_and_written_down_before_the_hands_rest(busy):
    desk, dispatch = busy
    (order,) = several(desk, 1)
    placing, go_on, place = threading.Event(), threading.Event(), desk.broker.place

    def slow(request, *, klass=CallClass.ORDER):
        placing.set()
        assert go_on.wait(30)
        return place(request, klass=klass)

    desk.broker.place = slow
    dispatch.give([order.pk])
    assert placing.wait(30)
    closing = threading.Thread(target=dispatch.close)
    closing.start()
    wait_until(lambda: not dispatch.give([order.pk]))
    go_on.set()
    closing.join()
    assert states([order]) == ["ACKED"]


def test_what_fails_of_one_order_does_not_keep_what_is_claimed_from_leaving(desk):
    first = several(desk, 1)[0]
    nobody = first.pk + 1000  # of which nothing can be written down
    claimed = orders_claim(order_ids=[first.pk, nobody], fence=1)
    assert [one.order_id for one in claimed] == [first.pk]


def test_fault_52_a_claim_that_slept_on_its_way_does_not_leave_any_more(desk):
    """A machine that was suspended, or a process that was stopped, between the claim and the wire: by now another
    engine may have the account, and the price is an old one."""
    order = several(desk, 1)[0]
    (claimed,) = orders_claim(order_ids=[order.pk], fence=1)
    slept = replace(claimed, claimed_at=claimed.claimed_at - SEND_WITHIN_S - 1)
    ((outcome,),) = orders_place([slept], gateway=desk.broker, paced=False, price_of=lambda symbol: None)
    assert not desk.broker.calls
    outcomes_record([outcome])
    assert states([order]) == ["REJECTED"] and Order.objects.get(pk=order.pk).broker_message.startswith("NOT_SENT")
    desk.turn(2)
    assert not desk.broker.calls and Group.objects.get(pk=order.group_id).state == "CLOSED"
