"""The short way of an order from the socket: its answers, rows and refusals are those of the long way."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from rest_framework.renderers import JSONRenderer

from accounts.api_keys import issue, revoke
from accounts.models import ApiKey
from execution.api.order_lane import Answered, OrderLane, Posted, forget_all
from execution.api.placing import STORY
from execution.api.reads import order_with_story
from execution.engine_settings import publish_settings
from execution.models import Group, Intent, Order, OrderEvent
from risk.models import Assessment
from risk.policies import publish_policy
from tests.factories import InstrumentFactory, PortfolioFactory
from tests.factories.world import World, open_market, quote, running_engine
from trading.api.models import IdempotencyRecord
from trading.api.throttling import PerCaller
from trading.domain import crashpoint
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio
from trading.web.handler import OneStepHandler

ORDERS = "/api/v1/orders/"
LONG = {"accept": "application/json, */*"}  # the same to a program, and not the usual form


@pytest.fixture
def world(valkey, db) -> World:
    return open_market()


@pytest.fixture
def handler(settings):
    settings.ALLOWED_HOSTS = ["testserver"]
    made = OneStepHandler()
    yield made
    for way in (made._short_way, made._alert_way):
        assert way is not None
        way.close()
    made._threads.shutdown()


@pytest.fixture(autouse=True)
def nothing_kept():
    forget_all()


def ticket(portfolio: Portfolio, /, **changes: Any) -> dict[str, Any]:
    wish = {
        "portfolio": portfolio.pk, "symbol": "NSE:SBIN-EQ", "side": "BUY", "quantity": 10, "order_type": "LIMIT",
        "product": "INTRADAY", "limit_price": "812.35", "stop_price": "804.00",
    } | changes  # fmt: skip
    return {name: value for name, value in wish.items() if value is not ...}


def key_of(world: World, **more: Any) -> tuple[ApiKey, str]:
    key, token = issue(owner=world.user, name="bot", scope="trade", now=timezone.now(), **more)
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now())  # else the first call goes the long way
    return key, token


class Reply:
    def __init__(self, sent: list[dict[str, Any]]) -> None:
        self.status = sent[0]["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        self.body = sent[1]["body"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_of(token: str, body: Any, *, key: str, **headers: str) -> tuple[dict[str, Any], Any]:
    """Scope and reader of a posted order."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {
        "host": "testserver", "authorization": f"Bearer {token}", "content-type": "application/json",
        "content-length": str(len(raw)), "idempotency-key": key,
    } | headers  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": ORDERS, "query_string": b"", "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in told.items()], "server": ("testserver", 80),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    return scope, receive


async def told_by(handler: OneStepHandler, scope: dict[str, Any], receive: Any) -> Reply:
    sent: list[dict[str, Any]] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(dict(message))

    await handler(scope, receive, send)
    return Reply(sent)


def post(
    handler: OneStepHandler, token: str, body: Any, *, key: str = "key-00000001", **headers: str
) -> Reply:  # fmt: skip
    return asyncio.run(told_by(handler, *request_of(token, body, key=key, **headers)))


def shape(value: Any) -> Any:
    """Without what is another's for every order: numbers of rows, instants, names, the age of a price."""
    if isinstance(value, dict):
        own = {"id", "client_order_id", "portfolio", "group", "intent"}
        own |= {"value", "message"} if value.get("gate") == "QUOTE_AGE" else set()
        return {name: shape(one) for name, one in value.items() if name not in own}
    if isinstance(value, list):
        return [shape(one) for one in value]
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "instant", value) if isinstance(value, str) else value


@pytest.mark.django_db(transaction=True)
def test_both_ways_say_and_write_the_same(world, handler):
    key, token = key_of(world)
    long = PortfolioFactory(owner=world.user)
    running_engine(long.account)
    replies = [
        post(handler, token, ticket(world.portfolio)),
        post(handler, token, ticket(long), key="key-00000002", **LONG),
    ]
    assert [one.status for one in replies] == [201, 201], replies[0].json
    assert shape(replies[0].json) == shape(replies[1].json)
    assert [one.headers["ratelimit-remaining"] for one in replies] == ["119", "118"]  # each was counted once
    own = dict.fromkeys(("ratelimit-remaining", "ratelimit-reset", "content-length"), "")
    assert {**replies[0].headers, **own} == {**replies[1].headers, **own}
    orders = Order.objects.order_by("id")
    for model, same in ((Assessment, "intent_id"), (OrderEvent, "order__intent_id")):
        of_each = [model.objects.filter(**{same: one.intent_id}).count() for one in orders]  # type: ignore[attr-defined]
        assert of_each[0] == of_each[1] > 0
    records = IdempotencyRecord.objects.order_by("id").values("owner", "status", "claimed_at")
    assert list(records) == [{"owner": world.user.pk, "status": 201, "claimed_at": None}] * 2
    # What is in order a moment ago is not when it is not any more, whatever is kept of it.
    again = post(handler, token, ticket(world.portfolio))
    assert again.headers["idempotent-replay"] == "true" and again.json == replies[0].json
    again = post(handler, token, ticket(long), key="key-00000002", **LONG)
    assert again.headers["idempotent-replay"] == "true" and again.json == replies[1].json
    assert not any("verdicts" in one.body for one in IdempotencyRecord.objects.all()), "their assessments have them"
    assert post(handler, token, ticket(world.portfolio, quantity=11)).json["code"] == "IDEMPOTENCY_KEY_REUSED"
    Instrument.objects.filter(pk=world.instrument.pk).update(active=False)
    assert post(handler, token, ticket(world.portfolio), key="key-00000003").json["code"] == "UNKNOWN_SYMBOL"
    Instrument.objects.filter(pk=world.instrument.pk).update(active=True)
    revoke(key_id=key.pk, actor="me", now=timezone.now())
    assert post(handler, token, ticket(long), key="key-00000004").json["code"] == "API_KEY_REFUSED"
    assert Order.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_what_is_not_usual_is_said_by_the_long_way(world, handler, monkeypatch):
    _, token = key_of(world)
    refused = post(handler, token, ticket(world.portfolio, stop_price=...))
    assert (refused.status, refused.headers["content-type"]) == (422, "application/problem+json")
    assert refused.json["verdicts"] and refused.json["intent"] == str(Intent.objects.get().pk)
    assert post(handler, token, ticket(world.portfolio, stop_price=...)).json == refused.json
    for changes, status in (({"quantity": 0}, 400), ({"limit_price": 812.35}, 400), ({"symbol": "NSE:NONE"}, 404)):
        assert post(handler, token, ticket(world.portfolio, **changes), key="key-00000002").status == status
    assert post(handler, token, b"{", key="key-00000003").json["code"] == "MALFORMED_JSON"
    assert post(handler, token, ticket(world.portfolio), key="short").status == 400
    assert post(handler, f"{token}x", ticket(world.portfolio)).status == 401
    assert post(handler, token, ticket(world.portfolio), host="elsewhere").status == 400
    monkeypatch.setitem(PerCaller.limits, "write", 1)
    assert post(handler, token, ticket(world.portfolio), key="key-00000004").json["code"] == "THROTTLED"
    assert not Order.objects.exists() and not Group.objects.exists()


# -- the lane itself ---------------------------------------------------------------------------------------------------


def posted(token: str, body: dict[str, Any], key: str) -> Posted:
    found = Posted.read(token, key, json.dumps(body).encode(), address=ORDERS, now=timezone.now())
    assert found is not None
    return found


def statuses(answers: list[Answered]) -> list[int]:
    return [one.status for one in answers]


def batch(world: World, token: str, many: int) -> list[Posted]:
    """So many orders, each of a share of its own."""
    shares = [InstrumentFactory(sector="") for _ in range(many)]
    for one in shares:
        quote(world.feed, one)
    return [
        posted(token, ticket(world.portfolio, symbol=one.symbol), f"key-{number:08}")
        for number, one in enumerate(shares)
    ]  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"order_type": "MARKET", "limit_price": ...}])
def test_what_is_told_of_a_new_order_is_what_a_reading_of_it_tells(world, changes):
    _, token = key_of(world)
    (answer,) = OrderLane().answer([posted(token, ticket(world.portfolio, **changes), "key-00000001")])
    assert answer.body is not None
    read = order_with_story(world.user, Order.objects.get().pk)
    assert read is not None
    told = json.loads(JSONRenderer().render(STORY.to_representation(read)))
    assert list(json.loads(answer.body).items()) == list(told.items())


def test_several_are_answered_in_their_places(world):
    _, token = key_of(world)
    several = batch(world, token, 4)
    several[1:1] = [posted(token, ticket(world.portfolio, target_price="829.01"), "key-off-tick")]
    several += [posted("tz_stranger1_x", ticket(world.portfolio), "key-stranger"), several[0]]
    answers = OrderLane().answer(several)
    assert statuses(answers) == [201, 0, 201, 201, 201, 0, 0]
    told = [json.loads(one.body)["symbol"] for one in answers if one.body]
    assert told == [one.ticket["symbol"] for one in (several[0], *several[2:5])]
    assert answers[0].counted is not None
    assert answers[1].counted is answers[5].counted is None  # the long way counts what it answers
    assert Order.objects.count() == IdempotencyRecord.objects.count() == 4


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    "end", [
        lambda key, world: ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now()),
        lambda key, world: ApiKey.objects.filter(pk=key.pk).update(scope="read"),
        lambda key, world: type(world.user).objects.filter(pk=world.user.pk).update(is_active=False),
        lambda key, world: Portfolio.objects.filter(pk=world.portfolio.pk).update(owner=PortfolioFactory().owner),
        lambda key, world: Instrument.objects.filter(pk=world.instrument.pk).update(active=False),
    ],
)  # fmt: skip
def test_what_is_kept_opens_nothing_once_its_row_has_changed(world, end, kept):
    key, token = key_of(world)
    if kept:
        assert statuses(OrderLane().answer([posted(token, ticket(world.portfolio), "key-00000001")])) == [201]
        Group.objects.update(state=Group.State.CLOSED)
    before = Order.objects.count()
    end(key, world)
    for _ in range(2):
        assert statuses(OrderLane().answer([posted(token, ticket(world.portfolio), "key-00000002")])) == [0]
    assert Order.objects.count() == before


def test_a_key_past_its_time_is_for_the_long_way(world):
    _, token = key_of(world, expires_at=timezone.now() + timedelta(minutes=1))
    key = ApiKey.objects.filter(owner=world.user)
    assert statuses(OrderLane().answer(batch(world, token, 1))) == [201]
    key.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert statuses(OrderLane().answer([posted(token, ticket(world.portfolio), "key-00000009")])) == [0]


def test_who_does_not_say_which_portfolio_must_have_one(world):
    _, token = key_of(world)
    body = ticket(world.portfolio, portfolio=...)
    assert statuses(OrderLane().answer([posted(token, body, "key-00000001")])) == [201]
    PortfolioFactory(owner=world.user, account=world.portfolio.account)
    assert statuses(OrderLane().answer([posted(token, body | {"quantity": 9}, "key-00000002")])) == [0]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_told_that_was_not_committed(world):
    _, token = key_of(world)
    several = batch(world, token, 3)

    def trouble(point: str) -> None:
        if point == "intake.intent_written":
            raise OperationalError("the server closed the connection")

    crashpoint.arm(trouble)
    try:
        answers = OrderLane().answer(several)
    finally:
        crashpoint.arm(None)
    assert [one.body for one in answers] == [None] * 3
    assert not Intent.objects.exists() and not IdempotencyRecord.objects.exists()
    assert statuses(OrderLane().answer(several)) == [201] * 3


@pytest.mark.django_db(transaction=True)
def test_one_whose_key_was_taken_meanwhile_goes_the_long_way_alone(world):
    _, token = key_of(world)
    several = batch(world, token, 3)
    seen: list[str] = []

    def somebody(point: str) -> None:
        if point == "risk.assessed" and not seen:  # in another transaction, after this one has looked
            seen.append(point)
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(1) as other:
                other.submit(taken).result()

    def taken() -> None:
        IdempotencyRecord.objects.create(owner=world.user, key=several[1].key, request_hash="x")
        connection.close()

    crashpoint.arm(somebody)
    try:
        answers = OrderLane().answer(several)
    finally:
        crashpoint.arm(None)
    assert statuses(answers) == [201, 0, 201]
    assert Order.objects.count() == 2


POINTS = (
    "intake.asked", "risk.assessed", "risk.reserved", "intake.intent_written", "intake.before_bell", "intake.committed",
)  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_killed_at_any_point_a_request_has_its_order_and_its_answer_or_neither(world):
    _, token = key_of(world)
    publish_policy(portfolio=world.portfolio, actor="test", values={"max_open_positions": 50})
    publish_settings(portfolio=world.portfolio, actor="test", values={"max_open_groups": 50})
    several = batch(world, token, 2 * len(POINTS))
    for number, point in enumerate(POINTS):
        mine = several[2 * number : 2 * number + 2]
        assert _dies_at(point, mine)
        kept = IdempotencyRecord.objects.filter(key__in=[one.key for one in mine], status=201)
        assert [one["id"] for one in kept.order_by("key").values_list("body", flat=True)] == [
            *Order.objects.filter(instrument__symbol__in=[one.ticket["symbol"] for one in mine])
            .order_by("id").values_list("pk", flat=True)
        ]  # fmt: skip
        assert kept.count() == (2 if point in POINTS[4:] else 0)  # those after the commit
        # What was done is for the long way, which tells it again.
        assert statuses(OrderLane().answer(mine)) == ([0, 0] if point in POINTS[4:] else [201, 201])
    assert Order.objects.count() == Intent.objects.count() == len(several)


def _dies_at(point: str, several: list[Posted]) -> bool:
    """Whether a process that answers them was killed there."""
    child = os.fork()
    if child == 0:
        theirs, connection.connection = connection.connection, None  # the parent's, which stays open
        crashpoint.arm(lambda passed: os.kill(os.getpid(), signal.SIGKILL) if passed == point else None)
        OrderLane().answer(several)
        os._exit(0 if theirs is not None else 1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
