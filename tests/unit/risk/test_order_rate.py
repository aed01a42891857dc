"""At most ten calls in any one second, over all classes and processes, however many are asked for at once."""

import time

import pytest

from risk.order_rate import RATES, take_turn
from tests.factories import BrokerAccountFactory


@pytest.mark.django_db
def test_no_second_has_more_than_ten_calls():
    account = BrokerAccountFactory().pk
    leaves = []
    for _ in range(20):
        for kind in RATES:
            asked = time.monotonic()
            leaves.append(asked + take_turn(account, kind))
    leaves.sort()
    busiest = max(sum(1 for other in leaves if at <= other < at + 0.99) for at in leaves)
    assert busiest <= 10


@pytest.mark.django_db
def test_exits_do_not_queue_behind_entries():
    account = BrokerAccountFactory().pk
    for _ in range(50):
        take_turn(account, "order")
    assert take_turn(account, "order") > 10
    assert take_turn(account, "exit") == 0


@pytest.mark.django_db
def test_two_orders_may_leave_at_once_and_an_account_does_not_slow_another():
    first, second = BrokerAccountFactory().pk, BrokerAccountFactory().pk
    assert [take_turn(first, "order") for _ in range(2)] == [0, 0]
    assert 0.3 < take_turn(first, "order") < 0.5
    assert take_turn(second, "order") == 0
