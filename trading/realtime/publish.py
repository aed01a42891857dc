"""Tell the open pages of one person what has just become true. Showing is all it does: a page that misses an event
sees the gap in the numbers and asks again, and no trade ever waits for, or depends on, a page."""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import redis
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from trading.gathering import last_on_commit

logger = logging.getLogger(__name__)

_aside = ThreadPoolExecutor(1, thread_name_prefix="publish")
# The number is taken and put into the message where the message is sent from: one way there, and no two numbers can
# overtake each other on it. `_PLACE` keeps its place: eight bytes, as MessagePack writes a number of this size.
_PLACE = 2**64 - 1
_AS_BYTES = b"\xff" * 8
_said = redis.Redis().register_script("""
local number = redis.call('INCR', KEYS[1])
return redis.call('PUBLISH', KEYS[2], ARGV[1] .. struct.pack('>I8', number) .. ARGV[2])
""")


def group_name(user_id: int) -> str:
    """The channel group of one person's pages. Built on the server, never from what a client sends."""
    return f"user.{user_id}"


def _connection() -> redis.Redis:
    """One client a process, with a pool of its own: each request of the web is a new thread, and would connect anew.

    A publish costs 0.04 ms on it, and 2 ms through a new event loop.
    """
    return _client(settings.REDIS_URL)


@lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
    return client


Event = tuple[int, str, dict[str, object]]
"""For whom, its kind and its data."""


def publish_now(user_id: int, kind: str, data: dict) -> None:
    """Send one event to every open page of the user, with the next sequence number of that user.

    Events that show state (`order`, `position`, `signal`) say what to fetch; `prices` and `summary` carry the text
    of cells. A failure is logged and goes no further.
    """
    _send([(user_id, kind, data)])


def publish(user_id: int, kind: str, **data: object) -> None:
    """Publish once the running transaction has committed: pages never see what may yet be undone.

    Events that follow each other are sent together.
    """
    plain = json.loads(json.dumps(data, default=str))
    last = last_on_commit(_Events)
    if last is not None:
        last.events.append((user_id, kind, plain))
    else:
        transaction.on_commit(_Events([(user_id, kind, plain)]).send, robust=True)


class _Events:
    """What is told once its transaction, or the part of it that they belong to, has committed."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def send(self) -> None:
        _send(self.events)


def _send(events: Sequence[Event]) -> None:
    """In their order, in one trip."""
    at = timezone.now().timestamp()
    serialize = get_channel_layer().serialize
    calls = []
    for user_id, kind, data in events:
        group = group_name(user_id)
        event = {"type": "desk.event", "seq": _PLACE, "kind": kind, "at": at, "data": data}
        keys = [f"{settings.REDIS_PREFIX}:seq:{group}", f"{settings.REDIS_PREFIX}__group__{group}"]
        calls.append((keys, serialize(event).split(_AS_BYTES, 1)))
    try:
        client = _connection()
        with client.pipeline(transaction=False) as pipe:
            for keys, args in calls:
                pipe.evalsha(_said.sha, len(keys), *keys, *args)
            answers = pipe.execute(raise_on_error=False)
        for (keys, args), answer in zip(calls, answers, strict=True):
            if isinstance(answer, redis.exceptions.NoScriptError):  # of a server that has just started
                _said(keys=keys, args=args, client=client)
            elif isinstance(answer, Exception):
                raise answer
    except redis.RedisError as error:
        logger.warning("%d events, the first %s, were not shown: %s", len(events), events[0][1], type(error).__name__)


def publish_aside(events: Sequence[Event]) -> None:
    """Publish now, from a thread of its own, for who must not even wait for that: what is told has been committed."""
    _aside.submit(_send, [(user_id, kind, json.loads(json.dumps(data, default=str))) for user_id, kind, data in events])


def somebody_watches(user_id: int) -> bool:
    """Whether a page of the user is open: figures are made for nobody else. Not known: they are made."""
    try:
        ((_, pages),) = _connection().pubsub_numsub(f"{settings.REDIS_PREFIX}__group__{group_name(user_id)}")
    except redis.RedisError:
        return True
    return bool(pages)


def last_sequence(user_id: int) -> int:
    """The number of the newest event of this user, so that a page knows where it stands after a fetch."""
    try:
        return int(_connection().get(f"{settings.REDIS_PREFIX}:seq:{group_name(user_id)}") or 0)
    except redis.RedisError:
        logger.warning("sequence of user %s is not readable", user_id)
        return 0
