"""The fault panel: plans are data, the same seed is the same bad day, and every fault is done as it says."""

import json
import time

import httpx
import pytest

from execution.sandbox.faults import KINDS, BadPlan, FaultDeck, Plan, Rule, shipped
from tests.sandbox.conftest import Sandbox

SBIN = "NSE:SBIN-EQ"
CALLS = ["place", "orders", "trades", "frame", "cancel", "positions", "modify", "other"] * 40


def a_day(plan: Plan, seed: int | None = None) -> list[tuple[str, ...]]:
    deck = FaultDeck()
    deck.play(plan, seed=seed)
    return [tuple(rule.kind for rule in deck.at(call)) for call in CALLS]


@pytest.mark.parametrize("name", shipped())
def test_the_same_seed_is_the_same_day(name):
    plan = shipped()[name]
    assert a_day(plan) == a_day(plan)
    assert a_day(plan, seed=99) != a_day(plan)
    assert any(a_day(plan)), "something goes wrong on it"


def test_a_rule_waits_counts_and_ends():
    deck = FaultDeck()
    deck.play(Plan("", "", 1, (Rule("too_many", on="read", after=2, count=3),)))
    fired = [bool(deck.at("orders")) for _ in range(8)]
    assert fired == [False, False, True, True, True, False, False, False]
    assert not deck.at("place") and deck.shown()["done"] == {"too_many": 3}


def test_one_rule_does_not_disturb_the_dice_of_another():
    alone, beside = FaultDeck(), FaultDeck()
    rule = Rule("html", on="orders", chance=0.5)
    alone.play(Plan("", "", 3, (rule,)))
    beside.play(Plan("", "", 3, (rule, Rule("delay", on="trades", chance=0.5))))
    for call in CALLS:
        mine = [rule.kind for rule in alone.at(call)]
        assert mine == [rule.kind for rule in beside.at(call) if rule.kind == "html"]


@pytest.mark.parametrize(
    "body",
    [
        [], {}, {"rules": {}}, {"rules": [{}]}, {"rules": [{"kind": "earthquake"}]},
        {"rules": [{"kind": "delay", "ms": -1}]},
        {"rules": [{"kind": "delay", "ms": 1.5}]}, {"rules": [{"kind": "delay", "chance": 2}]},
        {"rules": [{"kind": "delay", "chance": True}]}, {"rules": [{"kind": "delay", "on": "nowhere"}]},
        {"rules": [{"kind": "delay", "mss": 1}]}, {"seed": "x", "rules": []},
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused_in_words(body):
    with pytest.raises(BadPlan, match=r"\w"):
        Plan.read(body)


# -- at a running exchange ---------------------------------------------------------------------------------------


@pytest.fixture
def venue(stepped: Sandbox) -> Sandbox:
    stepped.place(SBIN, 1, 10)
    return stepped


def switch(venue: Sandbox, **body: object) -> dict:
    reply = venue.http.post(f"{venue.base}/sandbox/faults", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def do(venue: Sandbox, **body: object) -> str:
    reply = venue.http.post(f"{venue.base}/sandbox/act", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()["id"]


def order(venue: Sandbox, **changes: object) -> dict:
    body = {"symbol": SBIN, "qty": 3, "type": 2, "side": 1, "productType": "INTRADAY", "validity": "DAY"} | changes
    return body | {"limitPrice": 0, "stopPrice": 0, "disclosedQty": 0, "offlineOrder": False}


def test_a_lie_is_told_about_an_order_that_was_taken(venue):
    switch(venue, kind="timeout_400")
    reply = venue.call("POST", "/api/v3/orders/sync", json=order(venue, orderTag="lied"))
    assert (reply.status_code, reply.json()["message"]) == (400, "order request timed out")
    assert [row["qty"] for row in venue.get("/api/v3/orders", order_tag="1:lied")["orderBook"]] == [3]


def test_an_answer_may_name_another_order(venue):
    known = venue.get("/api/v3/orders")["orderBook"][-1]["id"]
    switch(venue, kind="other_id")
    assert venue.call("POST", "/api/v3/orders/sync", json=order(venue)).json()["id"] == known


@pytest.mark.parametrize(
    ("rule", "status", "carried_out"),
    [
        ({"kind": "too_many", "on": "place"}, 429, False),
        ({"kind": "server_error", "on": "place"}, 503, False),
        ({"kind": "server_error", "on": "place", "status": 502, "acted": True}, 502, True),
        ({"kind": "html", "on": "place", "acted": True}, 200, True),
        ({"kind": "token_expired", "on": "place"}, 401, False),
        ({"kind": "cut_short", "on": "place"}, 200, True),
    ],
)
def test_answers_in_the_brokers_place(venue, rule, status, carried_out):
    before = len(venue.get("/api/v3/orders")["orderBook"])
    switch(venue, **rule)
    reply = venue.call("POST", "/api/v3/orders/sync", json=order(venue))
    assert reply.status_code == status
    if status == 200:
        with pytest.raises(ValueError):
            json.loads(reply.content)
    assert len(venue.get("/api/v3/orders")["orderBook"]) == before + carried_out


def test_books_that_are_empty_short_doubled_or_wrong(venue):
    venue.place(SBIN, 1, 4)
    rows = venue.get("/api/v3/tradebook")["tradeBook"]
    for kind, on, seen in (("empty_book", "orders", 0), ("short_book", "orders", 1)):
        switch(venue, kind=kind, on=on)
        assert len(venue.get("/api/v3/orders")["orderBook"]) == seen
    switch(venue, kind="doubled_fills")
    assert len(venue.get("/api/v3/tradebook")["tradeBook"]) == 2 * len(rows)
    switch(venue, kind="other_price")
    other = venue.get("/api/v3/tradebook")["tradeBook"]
    assert [row["tradeNumber"] for row in other] == [row["tradeNumber"] for row in rows]
    assert other[-1]["tradePrice"] != rows[-1]["tradePrice"]
    assert venue.get("/api/v3/tradebook")["tradeBook"] == rows, "for one reading"


def test_a_book_that_is_late(venue):
    switch(venue, kind="late_book", on="orders", ms=300, count=100)
    assert venue.get("/api/v3/orders")["orderBook"] == []
    time.sleep(0.35)
    assert len(venue.get("/api/v3/orders")["orderBook"]) == 1


def test_things_that_happen_at_the_exchange_are_in_its_books(venue):
    net = lambda: venue.get("/api/v3/positions")["netPositions"][0]["netQty"]  # noqa: E731
    filled = do(venue, act="over_fill", qty=2)
    (row,) = [row for row in venue.get("/api/v3/orders")["orderBook"] if row["id"] == filled]
    assert (row["qty"], row["filledQty"], row["remainingQuantity"], net()) == (10, 12, 0, 12)
    do(venue, act="manual_trade", symbol=SBIN, side=-1, qty=5)
    assert net() == 7 and venue.get("/api/v3/orders")["orderBook"][-1]["orderTag"] == "2:Untagged"
    do(venue, act="square_off")
    assert net() == 0 and venue.get("/api/v3/orders")["orderBook"][-1]["orderTag"] == "2:AutoSquareOff"
    refused = venue.http.post(f"{venue.base}/sandbox/act", json={"act": "square_off"})
    assert refused.status_code == 400 and "nothing is held" in refused.json()["message"]


def test_a_cancelled_order_may_trade_after_all(venue):
    quote = venue.get("/data/quotes", symbols=SBIN)["d"][0]["v"]
    resting = venue.call(
        "POST", "/api/v3/orders/sync", json=order(venue, type=1) | {"limitPrice": round(quote["lp"] * 0.99, 1)}
    ).json()["id"]
    assert do(venue, act="risk_cancel") == resting
    assert do(venue, act="late_fill", id=resting, qty=3) == resting
    (row,) = [row for row in venue.get("/api/v3/orders")["orderBook"] if row["id"] == resting]
    assert (row["status"], row["filledQty"]) == (2, 3)


def test_the_page_switches_what_the_door_switches(venue):
    page = f"{venue.base}/sandbox/panel"
    assert all(kind in venue.http.get(page).text for kind in KINDS)
    assert "Done." in venue.http.post(page, data={"switch": "plan", "name": "bad-day", "seed": "5"}).text
    state = venue.http.get(f"{venue.base}/sandbox/faults").json()
    assert state["plan"] == "bad-day" and len(state["rules"]) == len(shipped()["bad-day"].rules)
    assert "there are the plans" in venue.http.post(page, data={"switch": "plan", "name": "<b>"}).text
    venue.http.post(page, data={"switch": "off"})
    assert venue.http.get(f"{venue.base}/sandbox/faults").json()["rules"] == []


def test_a_page_of_another_site_cannot_use_the_door(venue):
    for path in ("faults", "plan", "act", "panel", "clock"):
        reply = venue.http.post(f"{venue.base}/sandbox/{path}", json={}, headers={"origin": "https://evil.example"})
        assert reply.status_code == 403
    own = venue.http.post(f"{venue.base}/sandbox/plan", json={"name": "storm"}, headers={"origin": venue.base})
    assert own.status_code == 200


@pytest.mark.parametrize(
    "body", [{"kind": "earthquake"}, {"kind": "delay", "ms": "soon"}, {"kind": "silence", "seconds": -1}]
)
def test_a_switch_that_does_not_exist_is_named(venue, body):
    reply = venue.http.post(f"{venue.base}/sandbox/faults", json=body)
    assert reply.status_code == 400 and reply.json()["message"]


def test_a_plan_without_rules_changes_nothing(venue):
    assert venue.http.post(f"{venue.base}/sandbox/plan", json={"plan": {"rules": []}}).json()["rules"] == []
    assert venue.place(SBIN, 1, 1)["s"] == "ok"
    with pytest.raises(httpx.RemoteProtocolError):
        switch(venue, kind="drop_reply")
        venue.place(SBIN, 1, 1)
