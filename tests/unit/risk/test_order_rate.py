"""No second and no minute has too many calls, over all classes and processes, however many are asked for at once."""

import time

import pytest

from execution.engine import bands, runner
from risk.order_rate import RATES, take_turn
from tests.factories import BrokerAccountFactory
from tests.races.test_races import race

MINUTE_OF_A_BROKER = 200


def live_account(**values) -> int:
    return BrokerAccountFactory(environment="LIVE", **values).pk


def busiest(leaves: list[float], seconds: float) -> int:
    leaves = sorted(leaves)
    return max(sum(1 for other in leaves if at <= other < at + seconds) for at in leaves)


def asked(account: int, kind: str) -> float:
    """When a call that is asked for now may leave."""
    return time.monotonic() + take_turn(account, kind)


@pytest.mark.django_db
def test_no_second_has_more_than_ten_calls():
    account = live_account()
    assert busiest([asked(account, kind) for _ in range(20) for kind in RATES], 0.99) <= 10


@pytest.mark.django_db(transaction=True)
def test_no_minute_has_more_than_six_tenths_of_the_brokers_and_three_of_ten_are_kept_for_exits():
    """Eight processes, every class at once, far more than a minute holds."""
    account = live_account()
    kinds = ("order", "exit", "read")

    def work(number: int) -> list[tuple[str, float]]:
        return [(kind, asked(account, kind)) for _ in range(16) for kind in kinds]

    leaves = [one for part in race(work, workers=8) for one in part]  # type: ignore[attr-defined]
    assert len(leaves) == 384
    most = MINUTE_OF_A_BROKER * 60 // 100
    assert busiest([at for _, at in leaves], 60) <= most
    assert busiest([at for kind, at in leaves if kind != "exit"], 60) <= most * 70 // 100
    assert busiest([at for _, at in leaves], 0.99) <= 10


@pytest.mark.django_db
def test_exits_do_not_queue_behind_entries():
    account = live_account()
    for _ in range(60):
        take_turn(account, "order")
    assert take_turn(account, "order") > 30 and take_turn(account, "read") > 30
    first = [take_turn(account, "exit") for _ in range(12)]
    assert first[0] == 0 and max(first) < 6  # a dozen are kept, at their own two a second
    assert take_turn(account, "exit") < 9


@pytest.mark.django_db
def test_exits_may_take_the_whole_minute_and_no_more():
    account = live_account()
    leaves = [asked(account, "exit") for _ in range(200)]
    assert leaves[35] - leaves[0] < 18, "what is free to all, and what is kept for them, at their own two a second"
    assert leaves[-1] - leaves[0] > 110 and busiest(leaves, 60) <= 120


@pytest.mark.django_db
def test_a_broker_that_allows_twice_as_much_gets_twice_as_much():
    waits = {}
    for broker in ("FYERS", "ZERODHA"):
        account = live_account(broker=broker)
        waits[broker] = [take_turn(account, "read") for _ in range(120)][-1]
    assert waits["FYERS"] > 90 and waits["ZERODHA"] < 45


@pytest.mark.django_db
def test_the_desks_own_exchange_has_its_seconds_and_wide_minutes():
    account = BrokerAccountFactory(environment="SANDBOX").pk
    leaves = [asked(account, "read") for _ in range(120)]
    assert 38 < leaves[-1] - leaves[0] < 41 and busiest(leaves, 0.99) <= 4, "three a second, and nothing else"


def test_polling_leaves_more_than_half_of_the_shared_minute_to_orders():
    shared = MINUTE_OF_A_BROKER * 60 // 100 * 70 // 100
    steady = 2 * 60 / runner.BOOKS_BUSY_S + 60 / runner.FUNDS_BUSY_S + 5 * 60 / runner.RECON_EVERY_S
    steady += bands.CALLS_A_TURN * 60 / bands.EVERY_S
    assert steady < shared / 2
    assert shared / 2 > 2 * 60 / runner.BOOKS_APART_S, "also where every moment has news"


@pytest.mark.django_db
def test_two_orders_may_leave_at_once_and_an_account_does_not_slow_another():
    first, second = live_account(), live_account()
    assert [take_turn(first, "order") for _ in range(2)] == [0, 0]
    assert 0.3 < take_turn(first, "order") < 0.5
    assert take_turn(second, "order") == 0
