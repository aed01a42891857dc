"""`after_commit(name, **ids)`: the one way to ring a worker or an engine.

The row is the work and this is only its bell: it rings after the commit, and when it cannot ring, the sweep finds the
row. Names that start with `engine.` go to the engine that holds the account: in this process, through its door on this
machine (`trading/doorbell.py`), else over a stream of Valkey; all others are Celery tasks. Ids and plain values only: a
message may be read by a newer or an older process.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import KombuError, OperationalError
from prometheus_client import Counter

from trading.domain.crashpoint import crashpoint
from trading.doorbell import Bell, has_door, ring_nearby
from trading.gathering import last_on_commit
from trading.valkey import heard_out

logger = logging.getLogger(__name__)
LOST_BELLS = Counter("tarazu_lost_bells_total", "Bells that could not be rung; the sweep does their work", ["name"])
LONGEST_STREAM = 1000

Id = int | str | bool | None
_here: dict[int, Callable[[str, Mapping[str, Id]], bool]] = {}


def nudge_stream(account_id: int) -> str:
    """The stream an engine reads to hear that its account has work: entries `{"name": …, "ids": JSON}`."""
    return f"{settings.REDIS_PREFIX}:nudge:{account_id}"


def after_commit(name: str, **ids: Id) -> dict[str, Id]:
    """Ring `name` once the running transaction has committed; at once when there is none. Never raises afterwards.
    Returns what it will bring: something may be added until then.

    `engine.*` needs `account_id` among the ids: ValueError without it, while the caller can still be corrected.
    """
    if name.startswith("engine."):
        if not isinstance(ids.get("account_id"), int):
            raise ValueError(f"{name} rings the engine of one account: account_id is missing")
        last = last_on_commit(_Bells)
        if last is not None:
            last.bells.append((name, ids))
        else:
            transaction.on_commit(_Bells([(name, ids)]).ring, robust=True)
    else:
        transaction.on_commit(lambda: _send(name, ids), robust=True)
    return ids


def is_heard_nearby(account_id: int) -> bool:
    """Whether the engine of the account is in this process, or stands at its door on this machine."""
    return account_id in _here or has_door(account_id)


@contextmanager
def heard_here(account_id: int, answer: Callable[[str, Mapping[str, Id]], bool]) -> Iterator[None]:
    """In this process lives the engine of an account: what rings for it here is told to it at once, without a way
    through Valkey. `answer` says whether it takes the bell; it must neither wait nor raise."""
    _here[account_id] = answer
    try:
        yield
    finally:
        _here.pop(account_id, None)


class _Bells:
    """Bells of engines that follow each other in a transaction: rung in their order, in one trip."""

    def __init__(self, bells: list[tuple[str, dict[str, Id]]]) -> None:
        self.bells = bells

    def ring(self) -> None:
        by_account: dict[int, list[Bell]] = {}
        for name, ids in self.bells:
            crashpoint("intake.before_bell")
            account_id = int(ids["account_id"] or 0)
            answer = _here.get(account_id)
            if answer is None or not answer(name, ids):
                by_account.setdefault(account_id, []).append((name, ids))
        far = {account_id: bells for account_id, bells in by_account.items() if not ring_nearby(account_id, bells)}
        if far:
            _ring_far(far)


def _ring_far(by_account: Mapping[int, Sequence[Bell]]) -> None:
    try:
        with heard_out(), _connection().pipeline(transaction=False) as pipe:
            for account_id, bells in by_account.items():
                for name, ids in bells:
                    pipe.xadd(
                        nudge_stream(account_id), {"name": name, "ids": json.dumps(ids)}, maxlen=LONGEST_STREAM,
                        approximate=True,
                    )  # fmt: skip
            pipe.execute()
    except (redis.RedisError, OSError) as error:
        for bells in by_account.values():
            for name, ids in bells:
                _lost(name, ids, error)


def _send(name: str, ids: dict[str, Id]) -> None:
    try:
        with heard_out():
            current_app.send_task(name, kwargs=ids, retry=False, ignore_result=True)
    except (KombuError, OperationalError, redis.RedisError, OSError) as error:
        _lost(name, ids, error)


def _lost(name: str, ids: Mapping[str, Id], error: Exception) -> None:
    LOST_BELLS.labels(name=name).inc()
    logger.warning("bell %s %s was not rung, the sweep will find its row: %s", name, ids, type(error).__name__)


def _connection() -> redis.Redis:
    """One client a process, with a pool of its own: each request of the web is a new thread, and would connect anew."""
    return _client(settings.REDIS_URL)


@lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
    return client
