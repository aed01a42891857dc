"""Calls that come while one is under way are made together by the next."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest
from django.db import connection, transaction

from trading.gathering import Gathering, Lanes
from trading.outbox import after_commit, heard_here

MOST = 4


class Counter:
    """Doubles numbers, refuses those below zero, breaks at zero, forgets 99; may be held."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go = Event(), Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        self.begun.set()
        assert self.go.wait(30)
        if 0 in numbers:
            raise ZeroDivisionError
        return [2 * one if one > 0 else ValueError(one) for one in numbers if one != 99]


def waiting(gathering: Gathering, key: str, count: int) -> None:
    while len(gathering._waiting[key]) < count:
        Event().wait(0.001)


def all_at_once(
    counter: Counter, pool: ThreadPoolExecutor, numbers: Sequence[int]
) -> list[Future[int]]:  # fmt: skip
    """The first number is under way while all others come, one after the other."""
    gathering: Gathering[int, int] = Gathering(counter, most=MOST)
    calls = [pool.submit(gathering, "one", numbers[0])]
    assert counter.begun.wait(30)
    for place, number in enumerate(numbers[1:], 1):
        calls.append(pool.submit(gathering, "one", number))
        waiting(gathering, "one", place)
    counter.go.set()
    for call in calls:
        call.exception(30)
    assert not gathering._waiting
    return calls


def test_who_meets_nobody_is_alone_and_who_waited_goes_together_in_order():
    counter = Counter()
    with ThreadPoolExecutor(8) as pool:
        calls = all_at_once(counter, pool, [1, 2, 3, 4, 5, 6, 7])
    assert [call.result() for call in calls] == [2, 4, 6, 8, 10, 12, 14]
    assert counter.batches == [[1], [2, 3, 4, 5], [6, 7]]


def test_an_answer_that_is_an_error_is_raised_for_its_caller_alone():
    with ThreadPoolExecutor(8) as pool:
        calls = all_at_once(Counter(), pool, [1, 2, -3, 4])
    assert [call.result() for call in (calls[0], calls[1], calls[3])] == [2, 4, 8]
    with pytest.raises(ValueError, match="-3"):
        calls[2].result()


def test_what_breaks_breaks_those_made_with_it_and_the_next_go_on():
    with ThreadPoolExecutor(8) as pool:
        calls = all_at_once(Counter(), pool, [1, 2, 0, 4, 5, 6])
    assert [type(call.exception()) for call in calls] == [type(None), *[ZeroDivisionError] * 4, type(None)]
    assert calls[5].result() == 12


def test_an_answer_that_is_missing_is_nobody_elses_and_nobody_waits_for_it():
    with ThreadPoolExecutor(8) as pool:
        calls = all_at_once(Counter(), pool, [1, 2, 99, 4, 5, 6])
    assert [type(call.exception()) for call in calls] == [type(None), *[RuntimeError] * 4, type(None)]
    assert calls[5].result() == 12


def test_another_key_does_not_wait():
    counter = Counter()
    gathering: Gathering[int, int] = Gathering(counter, most=MOST)
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(gathering, "one", 1)
        assert counter.begun.wait(30)
        other = pool.submit(gathering, "two", 2)
        while len(counter.batches) < 2:
            Event().wait(0.001)
        counter.go.set()
        assert (held.result(30), other.result(30)) == (2, 4)


@pytest.mark.django_db(transaction=True)
def test_bells_that_follow_each_other_ring_together_in_their_order_and_none_of_what_was_undone():
    heard: list[object] = []

    def answer(name: str, ids: Mapping[str, object]) -> bool:
        heard.append(ids["order_id"])
        return True

    with heard_here(7, answer), transaction.atomic():
        after_commit("engine.order", account_id=7, order_id=1)
        after_commit("engine.order", account_id=7, order_id=2)
        with suppress(LookupError), transaction.atomic():
            after_commit("engine.order", account_id=7, order_id=3)
            raise LookupError
        with transaction.atomic():
            after_commit("engine.order", account_id=7, order_id=4)
        after_commit("engine.order", account_id=7, order_id=5)
        assert len(connection.run_on_commit) == 3 and not heard
    assert heard == [1, 2, 4, 5]


# -- callers on an event loop ------------------------------------------------------------------------------------------


def on_a_loop(counter: Counter, numbers: Sequence[int], keys: str = "") -> list[int | BaseException]:
    """The first number is under way while all others come."""
    lanes: Lanes[int, int] = Lanes(counter, most=MOST, threads=2)

    async def calls() -> list[int | BaseException]:
        first = asyncio.ensure_future(lanes(keys[:1] or "one", numbers[0]))
        await asyncio.to_thread(counter.begun.wait, 30)
        others = [
            asyncio.ensure_future(lanes(keys[place : place + 1] or "one", number))
            for place, number in enumerate(numbers[1:], 1)
        ]
        await asyncio.sleep(0)  # all of them have put down what they ask
        counter.go.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    try:
        return asyncio.run(calls())
    finally:
        lanes.close()
        assert not lanes._waiting


def test_on_a_loop_who_waited_goes_together_in_order_too():
    counter = Counter()
    assert on_a_loop(counter, [1, 2, 3, 4, 5, 6, 7]) == [2, 4, 6, 8, 10, 12, 14]
    assert counter.batches == [[1], [2, 3, 4, 5], [6, 7]]


def test_on_a_loop_one_that_is_refused_fails_alone_and_what_breaks_fails_for_all_of_its_turn():
    told = on_a_loop(Counter(), [1, -2, 3, 4, 5, 0, 6])
    assert [told[0], *told[2:5]] == [2, 6, 8, 10]
    assert isinstance(told[1], ValueError)
    assert all(isinstance(one, ZeroDivisionError) for one in told[5:])
    assert isinstance(on_a_loop(Counter(), [1, 99, 3])[2], RuntimeError)


def test_on_a_loop_another_key_has_a_turn_of_its_own():
    counter = Counter()
    assert on_a_loop(counter, [1, 2, 3, 4], keys="abab") == [2, 4, 6, 8]
    assert [1] in counter.batches and [3] in counter.batches


def test_a_thread_that_has_had_nothing_to_do_rests_once_and_works_again():
    rested, counter = Event(), Counter()
    counter.go.set()
    lanes: Lanes[int, int] = Lanes(counter, most=MOST, threads=1, rest=rested.set, rest_after_s=0.001)
    for _ in range(2):
        rested.clear()
        assert asyncio.run(lanes("one", 4)) == 8
        assert rested.wait(30)
    lanes.close()
