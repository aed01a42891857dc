"""Alerts that come together: each is told what it would be told alone, whichever way it came in."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest
import redis
from django.conf import settings as desk
from django.db import connection
from django.utils import timezone

from execution.hooks.arrival import Knock
from execution.hooks.keep import hook_switch
from execution.hooks.keeping import STORE
from execution.hooks.receive import receive, receive_all
from execution.models import Delivery, Hook, Intent
from strategies.models import Signal
from tests.factories.hooks import a_hook, an_alert
from tests.factories.world import World, open_market
from trading.outbox import nudge_stream
from trading.web.handler import OneStepHandler


@pytest.fixture
def world(valkey: Any, db: Any) -> World:
    return open_market()


@pytest.fixture
def handler(settings: Any) -> Iterator[OneStepHandler]:
    settings.ALLOWED_HOSTS = ["testserver"]
    made = OneStepHandler()
    yield made
    for way in (made._short_way, made._alert_way):
        assert way is not None
        way.close()
    made._threads.shutdown()


def knock(hook: Hook, alert: Any, remote_ip: str = "203.0.113.9") -> Knock:
    raw = alert if isinstance(alert, bytes) else json.dumps(alert).encode()
    return Knock(hook.pk, raw, remote_ip, timezone.now())


def test_of_many_each_is_told_what_it_would_be_told_alone(world):
    row, secret = a_hook(world.portfolio)
    other, others = a_hook(world.portfolio, name="Off")
    hook_switch(hook=other, enabled=False, actor="test")
    known = an_alert(secret, strategy_info__trade_id="known")
    assert receive(knock(row, known)).status == 202
    fresh = an_alert(secret, strategy_info__trade_id="fresh")
    came = [
        knock(row, fresh),
        knock(row, an_alert("wrong")),
        knock(row, fresh),  # a copy within the same turn
        knock(row, known),
        knock(row, an_alert(secret, tv__symbol="NOSUCH")),
        knock(other, an_alert(others)),
        knock(row, b"buy now"),
        knock(row, an_alert(secret, strategy_info__trade_id="last")),
    ]
    replies = receive_all(came)
    told = [(one.status, one.body.get("code")) for one in replies if not isinstance(one, Exception)]
    assert told == [
        (202, None), (401, "SECRET_WRONG"), (200, None), (200, None), (422, "SYMBOL_NOT_MAPPED"),
        (403, "HOOK_DISABLED"), (415, "PLAIN_TEXT"), (202, None),
    ]  # fmt: skip
    assert replies[0].body == replies[2].body  # type: ignore[union-attr]
    assert Signal.objects.count() == 3
    outcomes = sorted(Delivery.objects.values_list("outcome", flat=True))
    assert outcomes == ["ACCEPTED"] * 3 + ["REFUSED"] * 4 + ["REPEATED"] * 2
    by_answer = {str(one.pk): one for one in Delivery.objects.prefetch_related("signals")}
    for place in (0, 7):  # nobody is given the signal of another
        body = replies[place].body  # type: ignore[union-attr]
        assert [str(one.pk) for one in by_answer[body["delivery"]].signals.all()] == [body["signals"][0]["id"]]


@pytest.mark.django_db(transaction=True)
def test_where_one_cannot_be_written_the_others_are(world):
    row, secret = a_hook(world.portfolio)
    came = [
        knock(row, an_alert(secret, strategy_info__trade_id="one")),
        knock(row, an_alert(secret, strategy_info__trade_id="two"), remote_ip="no address"),
        knock(row, an_alert(secret, strategy_info__trade_id="three")),
    ]
    replies = receive_all(came)
    assert [getattr(one, "status", type(one).__name__) for one in replies] == [202, "DataError", 202]
    assert Signal.objects.count() == Delivery.objects.count() == 2


# --- by the door of a web process -------------------------------------------------------------------------------------
class Answer:
    def __init__(self, sent: list[dict[str, Any]]) -> None:
        self.status = sent[0]["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        self.json = json.loads(sent[1]["body"])


Send = Callable[[Mapping[str, Any]], Awaitable[None]]


async def post(
    handler: OneStepHandler, path: str, alert: Any, *, method: str = "POST", query: str = "", send: Send | None = None
) -> Answer:  # fmt: skip
    raw = json.dumps(alert).encode()
    told = {"host": "testserver", "content-type": "application/json", "content-length": str(len(raw))}
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in told.items()], "server": ("testserver", 80),
        "client": ("203.0.113.9", 40_000),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def keep(message: Mapping[str, Any]) -> None:
        sent.append(dict(message))

    await handler(scope, receive, send or keep)
    return Answer(sent)


@pytest.mark.django_db(transaction=True)
def test_both_ways_say_the_same_and_the_short_one_takes_them_together(world, handler):
    row, secret = a_hook(world.portfolio, secret_in_address=True)
    long_path = row.path.upper().replace("HOOKS", "hooks")  # the same address to us, and not as we write it

    async def knock_at_both() -> list[Answer]:
        alerts = [an_alert(secret, strategy_info__trade_id=name) for name in ("short", "long")]
        bare = an_alert(strategy_info__trade_id="bare")
        return [
            await post(handler, row.path, alerts[0]),
            await post(handler, long_path, alerts[1]),
            await post(handler, row.path, alerts[1]),
            await post(handler, long_path, alerts[0]),
            await post(handler, row.path, an_alert("wrong")),
            await post(handler, long_path, an_alert("wrong")),
            await post(handler, row.path, bare, query=f"secret={secret}"),
            await post(handler, row.path, {}, method="GET"),
        ]

    replies = asyncio.run(knock_at_both())
    assert [one.status for one in replies] == [202, 202, 200, 200, 401, 401, 202, 405]
    own = {"content-length": ""}
    for short, long in ((0, 1), (2, 3), (4, 5)):
        assert replies[short].headers | own == replies[long].headers | own
        assert replies[short].json.keys() == replies[long].json.keys()
    assert set(Delivery.objects.values_list("remote_ip", flat=True)) == {"203.0.113.9"}

    async def many() -> list[Answer]:
        alerts = [an_alert(secret, strategy_info__trade_id=f"many {number}") for number in range(20)]
        return await asyncio.gather(*(post(handler, row.path, one) for one in [*alerts, *alerts[:5]]))

    stream = nudge_stream(world.portfolio.account_id)
    valkey = redis.Redis.from_url(desk.REDIS_URL)
    rung = valkey.xlen(stream)
    assert sorted(one.status for one in asyncio.run(many())) == [200] * 5 + [202] * 20
    assert Signal.objects.count() == 23
    # One alone, then those that came meanwhile: a bell for each turn.
    assert 0 < valkey.xlen(stream) - rung < 20


@pytest.mark.django_db(transaction=True)
def test_fault_24_a_sender_that_gave_up_was_stored_once_by_one_statement_and_nothing_was_decided_inline(world, handler):
    """A charting service waits three seconds and sends anew: what it did not hear is stored, the copy is told."""
    row, secret = a_hook(world.portfolio)
    alert = an_alert(secret, strategy_info__trade_id="unheard")

    class GoneError(OSError):
        pass

    async def gone(message: Mapping[str, Any]) -> None:
        raise GoneError

    async def send_twice() -> Answer:
        with pytest.raises(GoneError):
            await post(handler, row.path, alert, send=gone)
        return await post(handler, row.path, alert)

    again = asyncio.run(send_twice())
    assert again.status == 200 and again.headers["idempotent-replay"] == "true"
    (signal,) = Signal.objects.all()
    assert again.json["signals"][0]["id"] == str(signal.pk)
    assert not Intent.objects.exists() and signal.state == Signal.State.NEW, "the engine decides, and it was not asked"
    said: list[str] = []

    def listen(execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        said.append(sql)
        return execute(sql, *more)

    with connection.execute_wrapper(listen):
        assert receive(knock(row, an_alert(secret, strategy_info__trade_id="counted"))).status == 202
    written = [sql for sql in said if "INSERT INTO" in sql]
    assert written == [STORE] and len(said) <= 8
