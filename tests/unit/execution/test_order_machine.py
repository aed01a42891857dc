"""Every state meets every word of the broker: what moves, what is told, and what changes nothing."""

from dataclasses import replace

import pytest

from execution.brokers.port import BrokerStatus
from execution.models import Order, OrderEvent
from execution.services.order_update import STATE_OF, order_update
from execution.states import LIVE_STATES, ORDER_MOVES, REVIVABLE, OrderState

S, B = OrderState, BrokerStatus
ENDED = {S.FILLED, S.CANCELLED, S.EXPIRED, S.REJECTED}


def test_the_desk_itself_never_queues_again():
    assert not any(ORDER_MOVES.allows(state, S.QUEUED) for state in S if state != S.QUEUED)


@pytest.mark.parametrize(
    ("target", "sources"), [(S.SENDING, {S.QUEUED}), (S.WITHDRAWN, {S.QUEUED, S.SENDING})], ids=["SENDING", "WITHDRAWN"]
)
def test_only_a_queued_order_is_claimed_and_withdrawn_is_what_nobody_may_have_sent(target, sources):
    assert {state for state in S if state != target and ORDER_MOVES.allows(state, target)} == sources


def test_what_was_filled_stays_filled():
    assert {state for state in S if ORDER_MOVES.allows(S.FILLED, state)} == {S.FILLED}


def test_absence_is_proven_of_the_unknown_alone():
    found = {state for state in S if ORDER_MOVES.allows(state, S.NOT_PLACED)}
    assert found == {S.UNKNOWN, S.NOT_PLACED}


def test_every_state_is_in_the_table():
    assert ORDER_MOVES.states == set(S)


def expected(state: S, status: B) -> S:
    """The machine in words: the broker's word moves what lives, ends what lives, and revives what rested on ours."""
    target = STATE_OF[status]
    if state == S.OPEN and target == S.ACKED:
        return state  # an older picture
    if state in LIVE_STATES:
        return target
    if not status.is_final:
        return target if state in REVIVABLE else state
    return target if ORDER_MOVES.allows(state, target) else state


@pytest.mark.parametrize("status", list(B))
@pytest.mark.parametrize("state", list(S))
def test_a_state_and_a_word_of_the_broker(desk, state, status):
    order = desk.order(desk.ask())
    desk.turn()
    order.refresh_from_db()
    taken = desk.broker.book[order.broker_order_id]
    if status is B.FILLED or state == S.FILLED:
        desk.engine.hear_fill(desk.broker.fill(order.broker_order_id, 10, "812.30"))
        taken = desk.broker.book[order.broker_order_id]
    Order.objects.filter(pk=order.pk).update(state=state, broker_updated_at=None)
    fills = order.fills.count()
    order_update(account_id=desk.account.pk, news=replace(taken, status=status, updated_at=None), source="BOOK")
    order.refresh_from_db()
    wanted = expected(state, status)
    if wanted in (S.ACKED, S.OPEN) and state in REVIVABLE and taken.status is B.FILLED:
        wanted = S.OPEN if STATE_OF[status] == S.OPEN else S.ACKED
    assert order.state == wanted, f"{state} + {status}"
    assert order.fills.count() == fills
    illegal = OrderEvent.objects.filter(order=order, kind="order.illegal")
    assert illegal.exists() == (state in ENDED and status.is_final and not ORDER_MOVES.allows(state, STATE_OF[status]))
    assert not any(event.applied for event in illegal)
