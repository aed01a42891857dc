"""Small questions to Valkey that a decision waits for: one trip for all of them, over a line that a thread keeps.

A client of redis-py hands out a line for each call and looks after it before and after, which takes longer than Valkey
needs to answer. What nobody waits for uses such a client.
"""

import logging
import os
import threading
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
    except redis.RedisError as error:
        line.close()
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
