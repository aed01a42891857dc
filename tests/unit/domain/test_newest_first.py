"""Whoever began to wait last is woken first, and nobody's call is lost."""

import threading
import time
from collections import deque

from trading.domain.newest_first import NewestFirst


def test_the_newest_is_woken_and_the_others_wait_on():
    ready, told = NewestFirst(), deque[int]()
    threads = []

    def wait(number: int) -> None:
        with ready:
            ready.wait()
            told.append(number)

    for number in range(3):
        threads.append(threading.Thread(target=wait, args=(number,), daemon=True))
        threads[-1].start()
        while len(ready._waiting) <= number:
            time.sleep(0.001)
    for left in (2, 1, 0):
        with ready:
            ready.notify()
        threads[left].join(10)
    assert list(told) == [2, 1, 0]


def test_patience_ends_and_a_call_to_nobody_is_no_call():
    ready = NewestFirst()
    with ready:
        ready.notify(5)
        assert not ready.wait(0.01) and not ready.wait(0) and not ready.wait(-1)
        ready.notify_all()
    assert not ready._waiting


def test_of_many_calls_none_is_lost():
    """Eight threads take what two put down, with and without patience; at the end nothing is left."""
    ready, work, done = NewestFirst(), deque[int](), deque[int]()
    over = False

    def take(patience: float | None) -> None:
        while True:
            with ready:
                while not work:
                    if over:
                        return
                    ready.wait(patience)
                one = work.popleft()
            done.append(one)

    def put(first: int) -> None:
        for number in range(first, first + 2_000):
            with ready:
                work.append(number)
                ready.notify()

    takers = [threading.Thread(target=take, args=(0.0005 if at % 2 else None,), daemon=True) for at in range(8)]
    givers = [threading.Thread(target=put, args=(first,), daemon=True) for first in (0, 2_000)]
    for one in takers + givers:
        one.start()
    for one in givers:
        one.join(30)
    with ready:
        over = True
        ready.notify_all()
    for one in takers:
        one.join(30)
    assert not any(one.is_alive() for one in takers + givers)
    assert sorted(done) == list(range(4_000)) and not work
