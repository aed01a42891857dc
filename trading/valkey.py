"""Small questions to Valkey that a decision waits for: one trip for all of them, over a line that a thread keeps.

A client of redis-py hands out a line for each call and looks after it before and after, which takes longer than Valkey
needs to answer. What nobody waits for uses such a client.

One that says nothing (a machine that froze, a line that was cut without a word) costs whoever asks a whole second, and
a way out of a trade has a dozen words to say on its way. So one that was asked in vain is left alone for a moment by
the whole process (`heard_out`): what is then not known, or not rung, is as it is where Valkey is away.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings

logger = logging.getLogger(__name__)
_local = threading.local()
os.register_at_fork(after_in_child=lambda: _local.__dict__.clear())  # else two processes read each other's answers
Command = tuple[str | int | bytes, ...]
ALONE_S = 3.0
"""How long it is left alone after it said nothing in time; then one asks, and the others wait for its fate."""
_alone_until = 0.0  # monotonic; 0: it answers


class LeftAlone(redis.RedisError):
    """Not asked: it was asked a moment ago, in vain."""


@contextmanager
def heard_out() -> Iterator[None]:
    """Around whatever is asked of Valkey. Raises LeftAlone where nobody answered a moment ago."""
    if not may_ask():
        raise LeftAlone("it did not answer a moment ago")
    try:
        yield
    except Exception as error:
        note_trouble(error)
        raise
    note_answer()


def may_ask() -> bool:
    """Not while it is left alone; whoever comes first afterwards asks for all."""
    global _alone_until
    if _alone_until:
        now = time.monotonic()
        if now < _alone_until:
            return False
        _alone_until = now + ALONE_S
    return True


def note_answer() -> None:
    global _alone_until
    _alone_until = 0.0


def note_trouble(error: BaseException) -> None:
    """Silence alone costs time: a line that is refused, or an answer that is an error, says so at once."""
    global _alone_until
    silent = isinstance(error, redis.TimeoutError) or isinstance(error.__cause__, redis.TimeoutError)
    _alone_until = time.monotonic() + ALONE_S if silent else 0.0


@dataclass(frozen=True, slots=True)
class Errand:
    """Commands, and who takes what is answered to them; None where Valkey is away. `about`: what they are for."""

    about: str
    commands: Sequence[Command]
    take: Callable[[Sequence[Any] | None], None]


def run_errands(*errands: Errand) -> None:
    """All of them in one trip."""
    with on_errands(*errands):
        pass


@contextmanager
def on_errands(*errands: Errand) -> Iterator[None]:
    """The same while the caller does something else: what they find is there once the block is over."""
    if not errands:
        yield
        return
    if not may_ask():
        yield
        for one in errands:
            one.take(None)
        return
    kept = _local.__dict__.pop("line", None)  # whoever asks meanwhile has another
    line: Any = kept if kept is not None and kept.url == settings.REDIS_URL else _Line(settings.REDIS_URL)
    commands = [command for one in errands for command in one.commands]
    answers: list[Any] | None = None
    line.send(commands)
    try:
        yield
    except BaseException:
        line.close()  # what is still to come belongs to nobody
        raise
    try:
        answers = line.answers(commands)
        _local.line = line
        note_answer()
    except redis.RedisError as error:
        line.close()
        note_trouble(error)
        logger.warning("%s: not known, %s", ", ".join(one.about for one in errands), type(error).__name__)
    place = 0
    for one in errands:
        one.take(None if answers is None else answers[place : place + len(one.commands)])
        place += len(one.commands)


class _Line:
    """A connection to Valkey. What goes wrong is told by `answers`."""

    def __init__(self, url: str) -> None:
        self.url, self._is_used = url, False
        pool = redis.ConnectionPool.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        self._connection: Any = pool.make_connection()
        self._trouble: redis.RedisError | None = None

    def send(self, commands: Sequence[Command]) -> None:
        self._trouble = None
        try:
            self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        except redis.RedisError as error:
            self._trouble = error

    def answers(self, commands: Sequence[Command]) -> list[Any]:
        """To each, in their order. A kept line that has ended while nobody used it is opened anew. Raises
        redis.RedisError."""
        try:
            return self._read(len(commands))
        except redis.ConnectionError:
            if not self._is_used:
                raise
        self._connection.disconnect()
        self.send(commands)
        return self._read(len(commands))

    def _read(self, many: int) -> list[Any]:
        if self._trouble is not None:
            raise self._trouble
        found = [self._connection.read_response() for _ in range(many)]
        self._is_used = True
        return found

    def close(self) -> None:
        self._connection.disconnect()
