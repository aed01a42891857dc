"""What waits is done together: calls that come while one is under way are made at once by the next.

There is no thread for it and no pause to collect: a call that meets nobody is made at once, alone, by its own thread.
Those that come meanwhile wait in their order, and the first of them makes them all, in one transaction if it likes.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from threading import Lock, Thread, current_thread
from typing import Generic, TypeVar

from django.db import connection

from trading.domain.newest_first import NewestFirst

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")


class _Place(Generic[A, R]):
    """Where one call waits: until it has its answer, or has come to the head of those that wait."""

    def __init__(self, asked: A) -> None:
        self.asked = asked
        self.answer: R | BaseException | None = None
        self.answered = False
        self._called = Lock()
        self._called.acquire()

    def wait(self) -> None:
        self._called.acquire()

    def call(self) -> None:
        self._called.release()


class Gathering(Generic[A, R]):
    """`act` takes what was asked, in the order in which it came, and gives an answer or an exception for each.

    What it raises itself is raised by all that were made together. Calls of different keys never wait for each other.
    `alone` says of a caller that its call is made at once, by itself: one whose rows belong to its own transaction.
    """

    def __init__(
        self, act: Callable[[Sequence[A]], Sequence[R | Exception]], *, most: int,
        alone: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._act, self._most, self._alone = act, most, alone
        self._lock = Lock()
        self._waiting: dict[Hashable, deque[_Place[A, R]]] = {}  # its key is there while a call is under way

    def __call__(self, key: Hashable, asked: A) -> R:
        if self._alone():
            (answer,) = self._act([asked])
            return _told(answer)
        place: _Place[A, R] = _Place(asked)
        with self._lock:
            others = self._waiting.get(key)
            if others is None:
                self._waiting[key] = deque([place])
            else:
                others.append(place)
        if others is not None:
            place.wait()
        if not place.answered:
            self._lead(key)
        return _told(place.answer)  # type: ignore[return-value]

    def _lead(self, key: Hashable) -> None:
        """Make all calls that wait, the caller's first; then the next at the head leads."""
        with self._lock:
            waiting = self._waiting[key]
            together = [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
        answers: Sequence[R | BaseException] = []
        try:
            answers = self._act([one.asked for one in together])
            if len(answers) != len(together):  # nobody is given the answer of another, and nobody waits for ever
                raise RuntimeError(f"{len(answers)} answers to {len(together)} calls")
        except BaseException as error:
            answers = [error] * len(together)
            raise
        finally:
            for place, answer in zip(together, answers, strict=True):
                place.answer, place.answered = answer, True
            for place in together[1:]:
                place.call()
            with self._lock:
                if waiting:
                    waiting[0].call()
                else:
                    del self._waiting[key]


class Lanes(Generic[A, R]):
    """The same for callers on an event loop, who wait in no thread: a few threads take turns, and a turn takes all that
    waits for one key, up to `most`. Keys have their turns in the order in which they came; one key has one at a time.
    Of the threads that are free the one that was busy last has the next turn.

    `act` is as in Gathering. `rest` is called in a thread that has had nothing to do for `rest_after_s`, once.
    """

    def __init__(
        self, act: Callable[[Sequence[A]], Sequence[R | Exception]], *, most: int, threads: int,
        rest: Callable[[], None] = lambda: None, rest_after_s: float = 5.0, name: str = "lane",
    ) -> None:  # fmt: skip
        self._act, self._most, self._threads, self._name = act, most, threads, name
        self._rest, self._rest_after_s = rest, rest_after_s
        self._ready = NewestFirst()
        self._workers: list[Thread] = []
        self._waiting: dict[Hashable, deque[tuple[asyncio.Future[R], A]]] = {}  # its key is there during its turn
        self._turns: deque[Hashable] = deque()

    async def __call__(self, key: Hashable, asked: A) -> R:
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        with self._ready:
            if not self._workers:
                for number in range(self._threads):
                    self._workers.append(Thread(target=self._work, name=f"{self._name}_{number}", daemon=True))
                    self._workers[-1].start()
            others = self._waiting.get(key)
            if others is None:
                self._waiting[key] = deque([(answer, asked)])
                self._turns.append(key)
                self._ready.notify()
            else:
                others.append((answer, asked))
        return await answer

    def close(self) -> None:
        """End the threads once their turns are over. Whoever calls afterwards has new ones."""
        with self._ready:
            workers, self._workers = self._workers, []
            self._ready.notify_all()
        for one in workers:
            one.join()

    def _work(self) -> None:
        me, rested = current_thread(), True
        while True:
            with self._ready:
                while not self._turns and me in self._workers:
                    if not self._ready.wait(None if rested else self._rest_after_s):
                        break
                turns = [self._turns.popleft()] if self._turns else []
                over = not turns and me not in self._workers
            for key in turns:
                self._turn(key)
            if not turns:
                self._rest()
            rested = not turns
            if over:
                return

    def _turn(self, key: Hashable) -> None:
        with self._ready:
            waiting = self._waiting[key]
            together = [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
        answers: Sequence[R | BaseException]
        try:
            answers = self._act([asked for _, asked in together])
            if len(answers) != len(together):  # nobody is given the answer of another, and nobody waits for ever
                raise RuntimeError(f"{len(answers)} answers to {len(together)} calls")
        except Exception as error:
            answers = [error] * len(together)
        with self._ready:
            if waiting:
                self._turns.append(key)
                self._ready.notify()
            else:
                del self._waiting[key]
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[R], R | BaseException]]] = {}
        for (place, _), answer in zip(together, answers, strict=True):
            by_loop.setdefault(place.get_loop(), []).append((place, answer))
        for loop, answered in by_loop.items():
            if not loop.is_closed():  # else nobody waits any more
                loop.call_soon_threadsafe(_tell, answered)


def _tell(answered: Sequence[tuple["asyncio.Future[R]", R | BaseException]]) -> None:
    """On the loop: those that still wait hear their answers."""
    for place, answer in answered:
        if place.done():
            continue
        if isinstance(answer, BaseException):
            place.set_exception(answer)
        else:
            place.set_result(answer)


def _told(answer: R | BaseException) -> R:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def last_on_commit(kind: type[T]) -> T | None:
    """Whose method runs last once the running transaction has committed, where it is one of this kind and belongs to
    the same part of the transaction: what follows can go with it."""
    waiting = connection.run_on_commit[-1:]
    if not waiting or waiting[0][0] != set(connection.savepoint_ids):
        return None
    whose = getattr(waiting[0][1], "__self__", None)
    return whose if isinstance(whose, kind) else None
