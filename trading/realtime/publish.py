"""Tell the open pages of one person what has just become true. Showing is all it does: a page that misses an event
sees the gap in the numbers and asks again, and no trade ever waits for, or depends on, a page."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import redis
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from trading.gathering import last_on_commit
from trading.valkey import heard_out

logger = logging.getLogger(__name__)

MOMENT_S = 0.003
_aside = ThreadPoolExecutor(1, thread_name_prefix="publish")
_waiting: "list[Event]" = []  # to be told with whatever is told next
_under_way = False  # the thread will send them in a moment
_lock = threading.Lock()
# The number is taken and put into the message where the message is sent from: one way there, and no two numbers can
# overtake each other on it. `_PLACE` keeps its place: eight bytes, as MessagePack writes a number of this size.
_PLACE = 2**64 - 1
_AS_BYTES = b"\xff" * 8
_said = redis.Redis().register_script("""
local number = redis.call('INCR', KEYS[1])
return redis.call('PUBLISH', KEYS[2], ARGV[1] .. struct.pack('>I8', number) .. ARGV[2])
""")
# Where nobody looks an event is a number and no more: a page that is opened later, or was made before, sees the gap.
_counted = redis.Redis().register_script("""
local watched = redis.call('PUBSUB', 'NUMSUB', KEYS[2])[2]
if watched == 0 then redis.call('INCRBY', KEYS[1], ARGV[1]) end
return watched
""")
_unwatched: set[int] = set()  # users whom nobody looked for when we last told them something


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
    """What waits, then these, in their order, in one trip; in another before it, where nobody may be looking."""
    events = [*_take_waiting(), *events]
    if not events:
        return
    try:
        with heard_out():
            client = _connection()
            alone = _count_unwatched(client, events)
            told = [event for event in events if event[0] not in alone]
            answers = _call(client, _said, [_as_message(*event) for event in told])
        for (user_id, _, _), heard in zip(told, answers, strict=True):
            if not heard:
                _unwatched.add(user_id)
    except redis.RedisError as error:
        logger.warning("%d events, the first %s, were not shown: %s", len(events), events[0][1], type(error).__name__)


def _count_unwatched(client: redis.Redis, events: Sequence[Event]) -> set[int]:
    """Those of the users for whom nobody looks: their events are counted, and told to nobody."""
    numbers = Counter(user_id for user_id, _, _ in events if user_id in _unwatched)
    heard = _call(client, _counted, [(_keys_of(user_id), [number]) for user_id, number in numbers.items()])
    alone = {user_id for user_id, pages in zip(numbers, heard, strict=True) if not pages}
    _unwatched.difference_update(numbers.keys() - alone)
    return alone


def _as_message(user_id: int, kind: str, data: dict[str, object]) -> tuple[list[str], list[Any]]:
    event = {"type": "desk.event", "seq": _PLACE, "kind": kind, "at": timezone.now().timestamp(), "data": data}
    return _keys_of(user_id), get_channel_layer().serialize(event).split(_AS_BYTES, 1)


def _keys_of(user_id: int) -> list[str]:
    group = group_name(user_id)
    return [f"{settings.REDIS_PREFIX}:seq:{group}", f"{settings.REDIS_PREFIX}__group__{group}"]


def _call(client: redis.Redis, script: Any, calls: Sequence[tuple[list[str], list[Any]]]) -> list[int]:
    """What a script answers to each, all of them in one trip."""
    if not calls:
        return []
    with client.pipeline(transaction=False) as pipe:
        for keys, args in calls:
            pipe.evalsha(script.sha, len(keys), *keys, *args)
        answers = pipe.execute(raise_on_error=False)
    for place, (keys, args) in enumerate(calls):
        if isinstance(answers[place], redis.exceptions.NoScriptError):  # of a server that has just started
            answers[place] = script(keys=keys, args=args, client=client)
        elif isinstance(answers[place], Exception):
            raise answers[place]
    return answers


def publish_aside(events: Sequence[Event]) -> None:
    """Publish from a thread of its own, for who must not wait for it: what is told has been committed. What comes
    within a moment is told together, and whoever tells it has gone on by then."""
    global _under_way
    with _lock:
        _waiting.extend(events)
        begins = bool(_waiting) and not _under_way
        _under_way = _under_way or begins
    if begins:
        _aside.submit(_send_in_a_moment)


def publish_with_next(events: Sequence[Event]) -> None:
    """Publish with whatever this process tells next, and wake nobody for it: for who has something to do that must not
    be held up by a thread that wakes. Something more is sure to be told of it, or `publish_aside([])` to follow."""
    with _lock:
        _waiting.extend(events)


def publish_aside_after_commit(events: Sequence[Event]) -> None:
    """The same, once the running transaction has committed; at once where what is told was one statement alone."""
    if events:
        transaction.on_commit(lambda: publish_aside(events), robust=True)


def _send_in_a_moment() -> None:
    global _under_way
    time.sleep(MOMENT_S)
    with _lock:
        _under_way = False
    _send([])


def _take_waiting() -> list[Event]:
    with _lock:
        events = list(_waiting)
        _waiting.clear()
    return [(user_id, kind, json.loads(json.dumps(data, default=str))) for user_id, kind, data in events]


def somebody_watches(user_id: int) -> bool:
    """Whether a page of the user is open: figures are made for nobody else. Not known: they are made."""
    try:
        with heard_out():
            ((_, pages),) = _connection().pubsub_numsub(f"{settings.REDIS_PREFIX}__group__{group_name(user_id)}")
    except redis.RedisError:
        return True
    return bool(pages)


def last_sequence(user_id: int) -> int:
    """The number of the newest event of this user, so that a page knows where it stands after a fetch."""
    try:
        with heard_out():
            return int(_connection().get(f"{settings.REDIS_PREFIX}:seq:{group_name(user_id)}") or 0)
    except redis.RedisError:
        logger.warning("sequence of user %s is not readable", user_id)
        return 0
