"""A bell is rung at the door of an engine on this machine, and where there is none, over the stream."""

import os
import queue
import resource
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import redis
from django.conf import settings

from execution.engine.bells import Bells
from execution.services.order_hand import Handed
from trading.domain.orders import OrderRequest, OrderType, Product, Side
from trading.doorbell import LARGEST, Bell, Door, has_door, ring_nearby
from trading.outbox import after_commit, nudge_stream

ACCOUNT = 4_000_017
ORDER: Bell = ("engine.order", {"account_id": ACCOUNT, "order_id": 5, "reason": "ENTRY"})
STEP: Bell = ("engine.group", {"account_id": ACCOUNT, "group_id": "a trade"})


def test_what_is_rung_together_is_heard_together_at_the_newest_door_alone():
    assert not ring_nearby(ACCOUNT, [ORDER]), "no engine lives here"
    with closing(Door(ACCOUNT, wait_s=0.01)) as former:
        with closing(Door(ACCOUNT, wait_s=0.01)) as door:
            assert ring_nearby(ACCOUNT, [ORDER, STEP])
            assert door.wait() == [ORDER, STEP]
            assert door.wait() == [] and former.wait() == []
            former.close()
            assert ring_nearby(ACCOUNT, [STEP]) and door.wait() == [STEP], "whoever goes leaves the door of the next"
    assert not ring_nearby(ACCOUNT, [ORDER])


def test_a_process_that_has_no_socket_left_finds_no_door():
    with closing(Door(ACCOUNT)):
        assert has_door(ACCOUNT)
        before, free = resource.getrlimit(resource.RLIMIT_NOFILE), os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            assert not has_door(ACCOUNT)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_door_that_nobody_answers_does_not_hold_up_whoever_rings():
    with closing(Door(ACCOUNT)):
        most = 100_000  # more than any machine lets wait
        assert any(not ring_nearby(ACCOUNT, [ORDER]) for _ in range(most))
        assert not ring_nearby(ACCOUNT, [("engine.group", {"group_id": "x" * LARGEST})])


@pytest.mark.django_db(transaction=True)
def test_a_bell_goes_over_the_stream_only_where_no_door_takes_it(valkey):
    line, stream = redis.Redis.from_url(settings.REDIS_URL), nudge_stream(ACCOUNT)
    with closing(Door(ACCOUNT)) as door:
        after_commit(ORDER[0], **ORDER[1])
        assert door.wait() == [ORDER] and not line.exists(stream)
    after_commit(ORDER[0], **ORDER[1])
    assert line.xlen(stream) == 1


@pytest.mark.django_db(transaction=True)
def test_each_bell_goes_to_whom_it_is_for_and_what_was_rung_twice_is_answered_once():
    given, asked, answered, stop = list[Any](), list[str](), queue.Queue[Sequence[Bell]](), threading.Event()
    taken: list[Handed] = []

    def give(orders: Sequence[tuple[int, str]]) -> bool:
        given.extend(orders)
        return True

    def take(handed: Sequence[Handed]) -> bool:
        taken.extend(handed)
        return True

    bells = Bells(
        give=give, take=take, answer=answered.put, read_books=asked.append, is_open=lambda: not stop.is_set()
    )  # fmt: skip
    cancel: Mapping[str, Any] = {"account_id": ACCOUNT, "order_id": 6}
    assert bells.hear_all([STEP, ORDER, ("engine.signal", {"signal_id": "1"}), ("engine.order", cancel), STEP])
    assert bells.hear("engine.signal", {"signal_id": "2"}) and bells.hear("engine.books", {})
    assert given == [(5, "ENTRY")] and asked == ["engine.books"]
    for urgent, expected in ((True, [("engine.signal", {}), ("engine.order", cancel)]), (False, [STEP])):
        stop.clear()
        answering = threading.Thread(target=bells.work, args=(stop,), kwargs={"urgent": urgent})
        answering.start()
        assert answered.get(timeout=30) == expected
        stop.set()
        answering.join()
    stop.clear()
    token = UUID(int=7 << 88 | 5)
    claim = dict(ORDER[1]) | {
        "claim": str(token), "fence": 7, "asked_ns": 10**9, "tag": "P5", "symbol": "NSE:SBIN-EQ", "side": "BUY",
        "quantity": 10, "order_type": "LIMIT", "product": "INTRADAY", "limit": "812.3500", "trigger": None, "owner": 3,
        "group": "a trade",
    }  # fmt: skip
    given.clear()
    assert bells.hear_all([("engine.order", claim), ("engine.order", claim | {"limit": "dear"}), ORDER])
    assert given == [(5, "ENTRY")], "what comes with its claim is nobody's to claim"
    assert [(one.claimed.order_id, one.claimed.token, one.fence, one.is_late) for one in taken] == [(5, token, 7, True)]
    assert taken[0].claimed.request == OrderRequest(
        "P5", "NSE:SBIN-EQ", Side.BUY, 10, OrderType.LIMIT, Product.INTRADAY, limit_price=Decimal("812.35")
    )
    stop.set()
    assert not bells.hear(*ORDER), "an engine that ends takes nothing"
