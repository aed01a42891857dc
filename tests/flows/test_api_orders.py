"""Programs place, cancel and close through /api/v1/, and nothing that is wrong changes anything."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Barrier

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.api_keys import issue
from execution.models import Group, Intent, Order
from execution.states import OrderState, PendingOp
from tests.factories import GroupFactory, InstrumentFactory, OrderFactory, PortfolioFactory, UserFactory
from tests.factories.world import World, open_market
from trading.api.models import IdempotencyRecord

pytestmark = pytest.mark.django_db
ORDERS = "/api/v1/orders/"


class Program:
    """A client with a key, as a trading program is."""

    def __init__(self, user, scope="trade"):
        self.http = Client(raise_request_exception=True)
        _, token = issue(owner=user, name="bot", scope=scope, now=timezone.now())
        self.headers = {"authorization": f"Bearer {token}"}

    def get(self, path, **query):
        return self.http.get(path, query, headers=self.headers)

    def post(self, path, body=None, *, key="key-00000001", raw=None, content_type="application/json"):
        headers = self.headers | ({"idempotency-key": key} if key else {})
        data = raw if raw is not None else ("" if body is None else json.dumps(body))
        return self.http.post(path, data, content_type=content_type, headers=headers)


@pytest.fixture
def world(valkey) -> World:
    return open_market()


@pytest.fixture
def program(world) -> Program:
    return Program(world.user)


def ticket(**changes):
    wish = {
        "symbol": "NSE:SBIN-EQ",
        "side": "BUY",
        "quantity": 10,
        "order_type": "LIMIT",
        "limit_price": "812.35",
        "stop_price": "804.00",
    } | changes
    return {name: value for name, value in wish.items() if value is not ...}


def nothing_happened():
    return not Order.objects.exists() and not Group.objects.exists()


def test_an_order_that_risk_allows_is_queued_with_its_story(program, world):
    reply = program.post(ORDERS, ticket(target_price="829.00"))
    assert reply.status_code == 201, reply.content
    order = reply.json()
    assert (order["symbol"], order["state"], order["quantity"]) == ("NSE:SBIN-EQ", "QUEUED", 10)
    assert order["limit_price"] == "812.35"
    assert {verdict["outcome"] for verdict in order["verdicts"]} <= {"PASS", "SHRINK"}
    assert order["placed_at"] == "2026-02-16T05:30:00Z"
    assert Order.objects.get().portfolio == world.portfolio
    detail = program.get(f"{ORDERS}{order['id']}/").json()
    assert detail["client_order_id"] == order["client_order_id"]
    assert [event["kind"] for event in detail["events"]] == ["order.queued"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"quantity": 0}, "quantity"),
        ({"quantity": -10}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": 10.0}, "quantity"),
        ({"quantity": "10"}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": None}, "quantity"),
        ({"quantity": 10**9}, "quantity"),
        ({"quantity": 10**400}, "quantity"),
        ({"quantity": ...}, "quantity"),
        ({"limit_price": "NaN"}, "limit_price"),
        ({"limit_price": "Infinity"}, "limit_price"),
        ({"limit_price": "1e308"}, "limit_price"),
        ({"limit_price": "-1"}, "limit_price"),
        ({"limit_price": "0"}, "limit_price"),
        ({"limit_price": 812.35}, "limit_price"),
        ({"limit_price": "812,35"}, "limit_price"),
        ({"limit_price": ...}, "limit_price"),
        ({"order_type": "MARKET"}, "limit_price"),
        ({"stop_price": []}, "stop_price"),
        ({"side": "HOLD"}, "side"),
        ({"side": {}}, "side"),
        ({"order_type": "STOP"}, "order_type"),
        ({"product": "FREE"}, "product"),
        ({"symbol": ""}, "symbol"),
        ({"symbol": "X" * 61}, "symbol"),
        ({"symbol": "NSE:\u0000"}, "symbol"),
        ({"symbol": "\ud800"}, "symbol"),
        ({"portfolio": "mine"}, "portfolio"),
        ({"stop_prise": "804.00"}, "stop_prise"),
    ],
)
def test_fault_60_a_wrong_field_is_named_and_nothing_changes(program, changes, field):
    reply = program.post(ORDERS, ticket(**changes))
    assert reply.status_code == 400, reply.content
    assert reply["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["code"] == "INVALID_REQUEST"
    assert field in {error["field"] for error in problem["errors"]}
    assert nothing_happened()
    assert not Intent.objects.exists()
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"symbol": "NSE:NOSUCH-EQ"}, 404, "UNKNOWN_SYMBOL"),
        ({"limit_price": "812.37"}, 422, None),
        ({"stop_price": "804.01"}, 422, None),
        ({"target_price": "829.01"}, 422, "TICK_SIZE"),
        ({"stop_price": ...}, 422, None),
        ({"stop_price": "820.00"}, 422, None),
        ({"limit_price": "999.95", "stop_price": "990.00"}, 422, None),
        ({"portfolio": 999_999_999_999}, 404, "PORTFOLIO_NOT_FOUND"),
    ],
)
def test_what_cannot_be_ordered_is_refused_with_its_code(program, changes, status, code):
    reply = program.post(ORDERS, ticket(**changes))
    assert reply.status_code == status, reply.content
    problem = reply.json()
    assert problem["code"] == (code or problem["code"])
    assert problem["code"]
    assert problem["detail"]
    assert nothing_happened()


def test_a_closed_market_refuses(program, world):
    from datetime import datetime

    from tests.factories.world import open_feed
    from trading.domain.clock import IST

    open_feed(at=datetime(2026, 2, 16, 18, 0, tzinfo=IST))
    reply = program.post(ORDERS, ticket())
    assert reply.status_code == 422
    assert reply.json()["code"] == "MARKET_HOURS"
    assert {"gate", "outcome", "message"} <= set(reply.json()["verdicts"][0])
    assert nothing_happened()


@pytest.mark.parametrize(
    "raw",
    [
        "", "{", "[]", "null", '"text"', "12", '{"quantity": NaN}', '{"quantity": 1, "quantity": 2}', "{'a': 1}",
        "[" * 8000, '{"a":' * 3000, b"\xff\xfe{}", '{"quantity": ' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_malformed_json_is_told_as_such(program, raw):
    reply = program.post(ORDERS, raw=raw)
    assert reply.status_code == 400, reply.content
    assert reply.json()["code"] in {"MALFORMED_JSON", "INVALID_REQUEST"}
    assert nothing_happened()


def test_a_body_over_sixteen_kilobytes_is_not_read(program):
    reply = program.post(ORDERS, raw='{"symbol": "' + "x" * 17_000 + '"}')
    assert reply.status_code == 413
    assert reply.json()["code"] == "BODY_TOO_LARGE"


def test_only_json_is_spoken(program):
    reply = program.post(ORDERS, raw="symbol=NSE:SBIN-EQ", content_type="application/x-www-form-urlencoded")
    assert reply.status_code == 415
    assert reply["content-type"] == "application/problem+json"
    assert nothing_happened()


# --- keys and scopes


def test_nobody_gets_nothing(client, db):
    reply = client.get(ORDERS)
    assert reply.status_code == 401
    assert reply["www-authenticate"] == "Bearer"
    assert reply.json()["code"] == "NOT_AUTHENTICATED"


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer a b", "Bearer tz_00000000_nothing", "bearer tz__", "Bearer \u00e9"]
)
def test_a_wrong_key_opens_nothing(client, db, header):
    reply = client.get(ORDERS, headers={"authorization": header})
    assert reply.status_code == 401
    assert reply.json()["code"] == "API_KEY_REFUSED"


def test_a_key_that_may_read_cannot_trade(world):
    reader = Program(world.user, scope="read")
    assert reader.get(ORDERS).status_code == 200
    reply = reader.post(ORDERS, ticket())
    assert reply.status_code == 403
    assert reply.json()["code"] == "SCOPE_TOO_SMALL"
    order = OrderFactory(intent__group__portfolio=world.portfolio)
    assert reader.post(f"{ORDERS}{order.pk}/cancel/").status_code == 403
    assert reader.post(f"/api/v1/positions/{order.group_id}/close/").status_code == 403
    assert Order.objects.count() == 1


def test_a_page_trades_with_its_session_and_a_csrf_token(world):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(world.user)
    headers = {"idempotency-key": "page-0000001"}
    reply = browser.post(ORDERS, ticket(), content_type="application/json", headers=headers)
    assert reply.status_code == 403
    assert nothing_happened()
    token = "a" * 32
    browser.cookies["csrftoken"] = token
    headers["x-csrftoken"] = token
    reply = browser.post(ORDERS, ticket(), content_type="application/json", headers=headers)
    assert reply.status_code == 201, reply.content


def test_calls_are_counted_for_each_key_and_the_one_too_many_is_told_when_to_return(program, monkeypatch):
    from trading.api.throttling import PerCaller

    monkeypatch.setitem(PerCaller.limits, "read", 3)
    replies = [program.get(ORDERS) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert [reply["ratelimit-remaining"] for reply in replies] == ["2", "1", "0", "0"]
    assert replies[3].json()["code"] == "THROTTLED"
    assert 1 <= int(replies[3]["retry-after"]) <= 60


# --- once and only once


def test_the_same_key_gets_the_same_answer_and_trades_once(program):
    first = program.post(ORDERS, ticket())
    again = program.post(ORDERS, ticket())
    assert (first.status_code, again.status_code) == (201, 201)
    assert again["idempotent-replay"] == "true"
    assert "idempotent-replay" not in first
    assert again.json() == first.json()
    assert Order.objects.count() == 1


def test_a_refusal_is_remembered_too(program):
    first = program.post(ORDERS, ticket(stop_price=...))
    again = program.post(ORDERS, ticket(stop_price=...))
    assert (first.status_code, again.status_code) == (422, 422)
    assert again.json() == first.json()
    assert again["content-type"] == "application/problem+json"
    assert Intent.objects.count() == 1


def test_a_key_used_for_another_request_is_a_conflict(program):
    program.post(ORDERS, ticket())
    reply = program.post(ORDERS, ticket(quantity=11))
    assert reply.status_code == 409
    assert reply.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert Order.objects.get().quantity == 10


def test_two_people_may_use_the_same_key(program, world):
    assert program.post(ORDERS, ticket()).status_code == 201
    other = open_market()
    assert Program(other.user).post(ORDERS, ticket()).status_code == 201
    assert Order.objects.count() == 2


@pytest.mark.parametrize("key", [None, "short", "x" * 65, "with space", "ünïcode-key"])
def test_a_post_that_trades_needs_a_proper_key(program, key):
    reply = program.post(ORDERS, ticket(), key=key)
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["code"].startswith("IDEMPOTENCY_KEY_M")
    assert nothing_happened()


def test_a_copy_that_comes_while_the_first_is_at_work_is_told_to_come_back(program, world):
    program.post(ORDERS, ticket())
    IdempotencyRecord.objects.update(status=None, body=None, claimed_at=timezone.now())
    reply = program.post(ORDERS, ticket())
    assert reply.status_code == 409
    assert reply.json()["code"] == "IDEMPOTENCY_KEY_IN_FLIGHT"
    assert reply["retry-after"] == "1"


def test_fault_53_an_answer_that_was_lost_with_its_process_is_found_again_without_a_second_trade(program, world):
    first = program.post(ORDERS, ticket())
    IdempotencyRecord.objects.update(status=None, body=None, claimed_at=timezone.now() - timedelta(minutes=1))
    again = program.post(ORDERS, ticket())
    assert again.status_code == 201
    assert again.json()["id"] == first.json()["id"]
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_fault_21_fifty_copies_at_once_make_one_order(valkey):
    world = open_market()
    program = Program(world.user)
    copies = 50
    together = Barrier(copies)

    def send(_):
        try:
            together.wait(timeout=30)
            http = Client()
            headers = program.headers | {"idempotency-key": "fifty-copies"}
            reply = http.post(ORDERS, json.dumps(ticket()), content_type="application/json", headers=headers)
            return reply.status_code, reply.json().get("id"), reply.json().get("code")
        finally:
            connection.close()

    with ThreadPoolExecutor(copies) as pool:
        answers = list(pool.map(send, range(copies)))
    assert Intent.objects.count() == 1
    order = Order.objects.get()
    assert {answer[0] for answer in answers} <= {201, 409}
    assert {answer[1] for answer in answers if answer[0] == 201} == {order.pk}
    assert {answer[2] for answer in answers if answer[0] == 409} <= {"IDEMPOTENCY_KEY_IN_FLIGHT"}
    world.still_running()
    assert program.post(ORDERS, ticket(), key="fifty-copies")["idempotent-replay"] == "true"


# --- cancel and close


def test_a_cancel_is_asked_for_once(program, world):
    order = OrderFactory(intent__group__portfolio=world.portfolio)
    path = f"{ORDERS}{order.pk}/cancel/"
    first = program.post(path, key="cancel-00001")
    assert first.status_code == 202, first.content
    assert first.json()["asked"] is True
    assert program.post(path, key="cancel-00001")["idempotent-replay"] == "true"
    assert program.post(path, key="cancel-00002").json()["asked"] is False
    order.refresh_from_db()
    assert order.pending_op == PendingOp.CANCEL_ASKED


def test_an_order_in_the_queue_is_withdrawn(program, world):
    order = OrderFactory(intent__group__portfolio=world.portfolio, state=OrderState.QUEUED, broker_order_id=None)
    reply = program.post(f"{ORDERS}{order.pk}/cancel/")
    assert reply.json()["order"]["state"] == "WITHDRAWN"


def test_a_position_is_closed_once(program, world):
    group = GroupFactory(portfolio=world.portfolio, instrument=world.instrument, state=Group.State.ACTIVE)
    path = f"/api/v1/positions/{group.pk}/close/"
    first = program.post(path, key="close-000001")
    assert first.status_code == 202, first.content
    assert first.json()["asked"] is True
    assert program.post(path, key="close-000002").json()["asked"] is False


@pytest.mark.parametrize("path", ["orders/{order}/", "orders/{order}/cancel/", "positions/{group}/close/"])
def test_what_belongs_to_another_does_not_exist(program, world, path):
    theirs = OrderFactory()
    address = "/api/v1/" + path.format(order=theirs.pk, group=theirs.group_id)
    reply = program.get(address) if path.endswith("{order}/") else program.post(address)
    assert reply.status_code == 404
    assert reply["content-type"] == "application/problem+json"
    theirs.refresh_from_db()
    theirs.group.refresh_from_db()
    assert (theirs.pending_op, theirs.group.close_reason) == (PendingOp.NONE, "")


def test_another_ones_portfolio_cannot_be_named(program, world):
    theirs = PortfolioFactory()
    reply = program.post(ORDERS, ticket(portfolio=theirs.pk))
    assert reply.status_code == 404
    assert nothing_happened()


def test_whoever_has_several_portfolios_says_which(program, world):
    PortfolioFactory(account=world.portfolio.account)
    reply = program.post(ORDERS, ticket())
    assert reply.status_code == 422
    assert reply.json()["code"] == "PORTFOLIO_UNCLEAR"
    assert program.post(ORDERS, ticket(portfolio=world.portfolio.pk), key="key-00000002").status_code == 201


def test_an_order_beyond_the_money_is_refused_or_shrunk_never_granted_whole(program, world):
    reply = program.post(ORDERS, ticket(quantity=1_000_000))
    if reply.status_code == 201:
        order = Order.objects.get()
        assert order.quantity * Decimal("812.35") <= Decimal("1000000")
        assert any(verdict["outcome"] == "SHRINK" for verdict in reply.json()["verdicts"])
    else:
        assert reply.status_code == 422
        assert nothing_happened()


def test_the_factories_stand_alone():
    assert UserFactory().check_password("a-long-enough-passphrase")
    assert InstrumentFactory().tick_size == Decimal("0.05")
