"""Bells of an account, from wherever they are rung: each goes to whom it is for, and is answered there.

Rung in this process, through the door on this machine, or over the stream. Orders that wait go to the senders at once,
by whoever hears of them; signals and cancels have a thread of their own, which never waits for the step of another
trade.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import connection

from execution.services.order_hand import Handed
from trading.doorbell import Bell

logger = logging.getLogger(__name__)

URGENT = frozenset({"engine.signal", "engine.order"})  # what may end at the wire
REST_S = 0.5


class Bells:
    """`give` lets queued orders, by number and reason, be sent, `take` those that come with their claim, `answer` takes
    all others, `read_books` the name of a bell that asks for the books. `is_open`: somebody answers here."""

    def __init__(
        self, *, give: Callable[[Sequence[tuple[int, str]]], bool], take: Callable[[Sequence[Handed]], bool],
        answer: Callable[[Sequence[Bell]], None], read_books: Callable[[str], None], is_open: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._give, self._take, self._answer = give, take, answer
        self._read_books, self._is_open = read_books, is_open
        self._urgent, self._steps = _Waiting(), _Waiting()

    def hear(self, name: str, ids: Mapping[str, Any]) -> bool:
        """One that was rung in this process. False: nobody answers here any more."""
        return self.hear_all([(name, ids)])

    def hear_all(self, bells: Sequence[Bell]) -> bool:
        """Those of one reading. Neither waits nor asks anybody."""
        if not self._is_open():
            return False
        handed = [one for name, ids in bells if name == "engine.order" and "claim" in ids for one in _read(ids)]
        taken = self._take(handed) if handed else True
        queued = [
            (ids["order_id"], ids["reason"]) for name, ids in bells
            if name == "engine.order" and "reason" in ids and "claim" not in ids
        ]  # fmt: skip
        if queued:
            taken = self._give(queued) and taken
        for name, ids in bells:
            if name in ("engine.books", "engine.reconcile"):
                self._read_books(name)
            elif name == "engine.signal":
                self._urgent.put((name, {}))  # they are taken in their order, whichever of them rang
            elif name != "engine.order":
                self._steps.put((name, ids))
            elif "reason" not in ids:
                self._urgent.put((name, ids))
        return taken

    def work(self, stop: threading.Event, *, urgent: bool) -> None:
        """The work of a thread. Between bells it keeps its line to the database for a while."""
        waiting = self._urgent if urgent else self._steps
        while not stop.is_set():
            if bells := waiting.take(REST_S):
                self._answer(bells)
            else:
                connection.close()


def _read(ids: Mapping[str, Any]) -> list[Handed]:
    try:
        return [Handed.read(ids)]
    except (KeyError, TypeError, ValueError, ArithmeticError):
        logger.error("a bell brought a claim that cannot be read; the sweep finds its row")
        return []


class _Waiting:
    """What was rung twice is answered once: the row tells all."""

    def __init__(self) -> None:
        self._came = threading.Condition()
        self._bells: dict[tuple[str, tuple[Any, ...]], Bell] = {}

    def put(self, bell: Bell) -> None:
        with self._came:
            self._bells[bell[0], tuple(bell[1].items())] = bell
            self._came.notify()

    def take(self, within_s: float) -> list[Bell]:
        with self._came:
            if not self._bells:
                self._came.wait(within_s)
            bells, self._bells = list(self._bells.values()), {}
            return bells
