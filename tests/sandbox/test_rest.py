"""The broker's REST side, over real HTTP."""

from __future__ import annotations

import base64
import json
import time

import pytest

from tests.sandbox.conftest import USER, Sandbox, ticket

SBIN = "NSE:SBIN-EQ"
ORDERS = "/api/v3/orders/sync"


def test_a_token_has_the_claims_the_broker_gives(stepped: Sandbox):
    token = stepped.sign_in().split(":", 1)[1]
    head, payload, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert len(head) == 36
    assert len(claims["hsm_key"]) == 56 and claims["fy_id"] == USER
    assert claims["exp"] - time.time() >= 6 * 3600 and claims["exp"] % 86_400 == 1_800  # 06:00 IST


def test_an_auth_code_works_once_and_needs_the_secret(stepped: Sandbox):
    from urllib.parse import parse_qs, urlsplit

    query = {"client_id": "SANDBOX001-100", "redirect_uri": "http://a.b/cb", "response_type": "code", "state": "s"}
    redirect = stepped.http.get(f"{stepped.base}/api/v3/generate-authcode", params=query)
    code = parse_qs(urlsplit(redirect.headers["location"]).query)["auth_code"][0]
    url = f"{stepped.base}/api/v3/validate-authcode"
    wrong = stepped.http.post(url, json={"grant_type": "authorization_code", "appIdHash": "0" * 64, "code": code})
    assert wrong.status_code == 400 and wrong.json()["s"] == "error"
    forged = {"grant_type": "authorization_code", "appIdHash": "0" * 64, "code": "a.b.c"}
    assert stepped.http.post(url, json=forged).json()["s"] == "error"
    import hashlib

    good = hashlib.sha256(b"SANDBOX001-100:sandbox-secret").hexdigest()
    body = {"grant_type": "authorization_code", "appIdHash": good, "code": code}
    assert stepped.http.post(url, json=body).json()["s"] == "ok"
    assert stepped.http.post(url, json=body).json() == {"s": "error", "code": -437, "message": "invalid auth code"}


@pytest.mark.parametrize(
    ("path", "code"), [("/api/v3/funds", -16), ("/data/history", -16), ("/data/quotes", -15), ("/data/depth", -15)]
)
def test_a_bad_token_gets_the_documented_body(stepped: Sandbox, path: str, code: int):
    for token in ("", "x", "SANDBOX001-100:a.b.c", "SANDBOX001-100:", "é:é"):
        reply = stepped.http.get(stepped.base + path, headers={"Authorization": token.encode()})
        assert (reply.status_code, reply.json()["code"]) == (401, code)


def test_a_logout_ends_the_tokens_of_the_app_also_after_a_restart(sandbox):
    exchange = sandbox("--stepped")
    old = exchange.sign_in()
    assert exchange.call("POST", "/api/v3/logout", token=old, content=b"null").json()["code"] == 200
    assert exchange.call("GET", "/api/v3/profile", token=old).status_code == 401
    exchange.stop()
    exchange.start()
    assert exchange.call("GET", "/api/v3/profile", token=old).status_code == 401
    kept = exchange.sign_in()
    exchange.stop()
    exchange.start()
    assert exchange.call("GET", "/api/v3/profile", token=kept).json()["data"]["fy_id"] == USER


def test_every_path_answers_in_json(stepped: Sandbox):
    for method, path, status in (("GET", "/nothing", 404), ("PUT", ORDERS, 405), ("GET", "/sandbox/nothing", 404)):
        reply = stepped.call(method, path)
        assert reply.status_code == status
        assert {"s", "code", "message"} <= set(reply.json())
    for body in (b"{", b"", b"[1", b'{"qty": NaN}', b"\xff\xfe"):
        reply = stepped.call("POST", ORDERS, content=body)
        assert (reply.status_code, reply.json()["code"]) == (400, -50)
    assert stepped.call("POST", ORDERS, content=b"[]").json()["code"] == -50


def test_a_market_order_fills_at_the_displayed_price_and_moves_the_books(stepped: Sandbox):
    ask = stepped.depth(SBIN)["ask"][0]
    reply = stepped.place(SBIN, 1, 10, orderTag="demo")
    assert (reply["s"], reply["code"]) == ("ok", 1101)
    row = stepped.order(reply["id"])
    assert (row["status"], row["filledQty"], row["remainingQuantity"], row["orderTag"]) == (2, 10, 0, "1:demo")
    assert row["tradedPrice"] == ask["price"]
    assert row["orderNumStatus"] == f"{reply['id']}:2"
    (trade,) = stepped.get("/api/v3/tradebook", order_tag="1:demo")["tradeBook"]
    assert (trade["orderNumber"], trade["tradedQty"], trade["tradePrice"]) == (reply["id"], 10, ask["price"])
    (position,) = stepped.get("/api/v3/positions")["netPositions"]
    assert (position["id"], position["netQty"], position["netAvg"]) == ("NSE:SBIN-EQ-INTRADAY", 10, ask["price"])
    funds = {row["id"]: row["equityAmount"] for row in stepped.get("/api/v3/funds")["fund_limit"]}
    assert sorted(funds) == list(range(1, 11))
    assert funds[2] == pytest.approx(ask["price"] * 10 * 0.2, abs=0.01)
    assert funds[10] == pytest.approx(1_000_000 - funds[2], abs=0.01)
    assert stepped.get("/api/v3/orders", order_tag="1:other")["orderBook"] == []


def test_an_order_larger_than_the_display_is_filled_in_parts(rich: Sandbox):
    shown = sum(level["volume"] for level in rich.depth(SBIN)["ask"])
    ask = rich.depth(SBIN)["ask"]
    reply = rich.place(SBIN, 1, shown + 50, type=1, limitPrice=ask[-1]["price"] + 1)
    row = rich.order(reply["id"])
    assert (row["status"], row["filledQty"]) == (6, shown)
    assert len(rich.get("/api/v3/tradebook")["tradeBook"]) == len(ask)
    rich.step(ticks=1)
    assert rich.order(reply["id"])["filledQty"] > shown


def test_an_ioc_remainder_is_cancelled(rich: Sandbox):
    best = rich.depth(SBIN)["ask"][0]
    reply = rich.place(SBIN, 1, best["volume"] + 5, type=1, limitPrice=best["price"], validity="IOC")
    row = rich.order(reply["id"])
    assert (row["status"], row["filledQty"]) == (1, best["volume"])


def test_a_resting_order_is_modified_and_cancelled(stepped: Sandbox):
    bid = stepped.depth(SBIN)["bids"][-1]["price"]
    order_id = stepped.place(SBIN, 1, 10, type=1, limitPrice=bid)["id"]
    assert stepped.order(order_id)["status"] == 6
    changed = stepped.call("PATCH", ORDERS, json={"id": order_id, "type": 1, "qty": 20, "limitPrice": bid - 1}).json()
    assert (changed["code"], stepped.order(order_id)["qty"]) == (1102, 20)
    assert stepped.order(order_id)["limitPrice"] == pytest.approx(bid - 1)
    gone = stepped.call("DELETE", ORDERS, json={"id": order_id}).json()
    assert (gone["code"], stepped.order(order_id)["status"]) == (1103, 1)
    again = stepped.call("DELETE", ORDERS, json={"id": order_id})
    assert again.status_code == 400 and again.json()["s"] == "error"
    assert stepped.call("DELETE", ORDERS, json={"id": "26112099999999"}).json()["code"] == -51


def test_a_stop_order_waits_for_its_trigger(stepped: Sandbox):
    low = stepped.depth(SBIN)["lower_ckt"]
    last = stepped.depth(SBIN)["ltp"]
    order_id = stepped.place(SBIN, -1, 10, type=3, stopPrice=round(last - 0.05, 2))["id"]
    assert stepped.order(order_id)["status"] == 6
    for _ in range(40):
        stepped.step(ticks=50)
        if stepped.order(order_id)["status"] == 2:
            break
    row = stepped.order(order_id)
    assert row["status"] == 2 and low < row["tradedPrice"]
    (trade,) = stepped.get("/api/v3/tradebook")["tradeBook"]
    assert trade["orderType"] == 3


WRONG = {
    "unknown symbol": ({"symbol": "NSE:NOPE-EQ"}, -300),
    "an index": ({"symbol": "NSE:NIFTY50-INDEX"}, -300),
    "no symbol": ({"symbol": None}, -300),
    "negative quantity": ({"qty": -1}, -50),
    "no quantity": ({"qty": 0}, -50),
    "fractional quantity": ({"qty": 1.5}, -50),
    "text quantity": ({"qty": "10"}, -50),
    "true as quantity": ({"qty": True}, -50),
    "unknown type": ({"type": 9}, -50),
    "unknown side": ({"side": 0}, -50),
    "unknown product": ({"productType": "MARGIN"}, -50),
    "unknown validity": ({"validity": "GTC"}, -50),
    "price off the tick": ({"type": 1, "limitPrice": 800.03}, -50),
    "price below a paisa": ({"type": 1, "limitPrice": 800.0001}, -50),
    "limit without price": ({"type": 1}, -50),
    "text price": ({"type": 1, "limitPrice": "800"}, -50),
    "price out of the circuit": ({"type": 1, "limitPrice": 100}, -99),
    "stop on the wrong side": ({"type": 3, "stopPrice": 10}, -50),
    "stop beyond its limit": ({"type": 4, "side": 1, "stopPrice": 960, "limitPrice": 950}, -50),
    "tag with a sign": ({"orderTag": "a-b"}, -50),
    "long tag": ({"orderTag": "a" * 31}, -50),
    "after-market order": ({"offlineOrder": True}, -50),
    "exit legs": ({"stopLoss": 5}, -50),
    "delivery sale of nothing": ({"productType": "CNC", "side": -1}, -99),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_order_is_refused_and_changes_nothing(shared: Sandbox, wrong: str):
    fields, code = WRONG[wrong]
    before = (shared.get("/api/v3/funds"), shared.get("/api/v3/positions"), shared.get("/api/v3/tradebook"))
    reply = shared.call("POST", ORDERS, json={**ticket(SBIN, 1, 10), **fields})
    assert reply.status_code == 400
    assert (reply.json()["s"], reply.json()["code"]) == ("error", code), reply.json()
    assert reply.json()["message"]
    assert before == (shared.get("/api/v3/funds"), shared.get("/api/v3/positions"), shared.get("/api/v3/tradebook"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    exchange = Sandbox(
        tmp_path_factory.mktemp("state"), "--start", "2026-11-20T09:15", "--no-rate-limit", "--stepped"
    ).start()
    exchange.step(ticks=3)
    yield exchange
    assert exchange.stop() == 0
    exchange.http.close()


def test_missing_money_is_a_rejection_in_the_book(stepped: Sandbox):
    reply = stepped.place("NSE:MARUTI-EQ", 1, 400, orderTag="big")
    assert (reply["s"], reply["code"]) == ("error", -99)
    assert reply["message"].startswith("RED:Margin Shortfall:INR ") and "Available:INR 1,000,000.00" in reply["message"]
    row = stepped.order(reply["id"])
    assert (row["status"], row["message"], row["filledQty"]) == (5, reply["message"], 0)


def test_closing_a_position_needs_no_margin(stepped: Sandbox):
    price = stepped.depth(SBIN)["ltp"]
    qty = int(1_000_000 * 5 / price * 0.9)
    stepped.place(SBIN, 1, qty)
    for _ in range(300):
        stepped.step(ticks=5)
        if stepped.get("/api/v3/positions")["netPositions"][0]["netQty"] == qty:
            break
    assert stepped.place(SBIN, -1, qty)["s"] == "ok"


def test_before_the_open_orders_are_refused(sandbox):
    exchange = sandbox("--stepped")
    reply = exchange.place(SBIN, 1, 10)
    assert reply["code"] == -99 and "closed" in reply["message"]
    assert exchange.get("/data/marketStatus")["marketStatus"][0]["status"] == "PREOPEN"


def test_many_orders_in_one_request_answer_one_by_one(stepped: Sandbox):
    bid = stepped.depth(SBIN)["bids"][-1]["price"]
    rows = [ticket(SBIN, 1, 1, type=1, limitPrice=bid), ticket("NSE:NOPE-EQ", 1, 1)]
    data = stepped.call("POST", "/api/v3/multi-order/sync", json=rows).json()["data"]
    assert [entry["statusCode"] for entry in data] == [200, 400]
    order_id = data[0]["body"]["id"]
    gone = stepped.call("DELETE", "/api/v3/multi-order/sync", json=[{"id": order_id}]).json()
    assert gone["data"][0]["body"]["code"] == 1103
    assert stepped.call("POST", "/api/v3/multi-order/sync", json=rows * 6).json()["code"] == -50


def test_positions_are_exited_on_request(stepped: Sandbox):
    stepped.place(SBIN, 1, 10)
    reply = stepped.call("DELETE", "/api/v3/positions", json={"id": "NSE:SBIN-EQ-INTRADAY"}).json()
    assert reply["code"] == 200
    assert stepped.get("/api/v3/positions")["netPositions"][0]["netQty"] == 0
    assert stepped.call("DELETE", "/api/v3/positions", json={"exit_all": 1}).json()["code"] == -352


def test_users_do_not_see_each_other(sandbox):
    exchange = sandbox("--stepped", "--app", "SECONDAPP1-100:hush:XS00002:50000")
    exchange.step(ticks=3)
    other = exchange.sign_in("SECONDAPP1-100", "hush")
    bid = exchange.depth(SBIN)["bids"][-1]["price"]
    order_id = exchange.place(SBIN, 1, 10, type=1, limitPrice=bid)["id"]
    assert exchange.call("GET", "/api/v3/orders", token=other).json()["orderBook"] == []
    assert exchange.call("GET", f"/api/v3/orders?id={order_id}", token=other).json()["orderBook"] == []
    assert exchange.call("DELETE", ORDERS, token=other, json={"id": order_id}).json()["code"] == -51
    assert exchange.call("PATCH", ORDERS, token=other, json={"id": order_id, "qty": 1}).json()["code"] == -51
    funds = exchange.call("GET", "/api/v3/funds", token=other).json()["fund_limit"]
    assert funds[9]["equityAmount"] == 50_000
    mixed = "SANDBOX001-100:" + other.split(":", 1)[1]
    assert exchange.call("GET", "/api/v3/funds", token=mixed).status_code == 401


def test_too_many_requests_are_told_to_wait(tmp_path):
    exchange = Sandbox(tmp_path / "state", "--start", "2026-11-20T09:15", "--stepped").start()
    try:
        replies = [exchange.call("GET", "/api/v3/profile") for _ in range(14)]
        refused = [reply for reply in replies if reply.status_code == 429]
        assert refused and refused[0].json()["code"] == -429
        assert int(refused[0].headers["Retry-After"]) >= 1 and int(refused[0].headers["X-Retry-After-Ms"]) > 0
        time.sleep(1.1)
        assert exchange.call("GET", "/api/v3/profile").status_code == 200
    finally:
        exchange.stop()
        exchange.http.close()


def test_quotes_and_masters_agree(stepped: Sandbox):
    rows = stepped.get("/data/quotes", symbols=f"{SBIN},NSE:M&M-EQ,NSE:NIFTY50-INDEX,NSE:NOPE-EQ")["d"]
    assert [row["s"] for row in rows] == ["ok", "ok", "ok", "error"]
    quote = rows[0]["v"]
    assert quote["bid"] < quote["ask"] and quote["low_price"] <= quote["lp"] <= quote["high_price"]
    assert stepped.call("POST", "/data/quotes", json={"symbols": [SBIN]}).json()["d"][0]["v"] == quote
    lines = stepped.http.get(f"{stepped.base}/sym_details/NSE_CM.csv").text.splitlines()
    cells = {line.split(",")[9]: line.split(",") for line in lines}
    assert len(cells) == 54 and all(len(row) == 21 for row in cells.values())
    assert cells[SBIN][0] == quote["fyToken"] == "10100000003045" and float(cells[SBIN][4]) == 0.05
    master = stepped.http.get(f"{stepped.base}/sym_details/NSE_CM_sym_master.json").json()
    assert master[SBIN]["upperPrice"] == stepped.depth(SBIN)["upper_ckt"]
    assert master[SBIN]["previousClose"] == quote["prev_close_price"]
    assert (
        stepped.http.get(f"{stepped.base}/sym_details/index_hsm_mapping.json").json()["NSE:NIFTY50-INDEX"] == "Nifty 50"
    )
    bare = stepped.token.split(":", 1)[1]
    reply = stepped.call("POST", "/data/symbol-token", token=bare, json={"symbols": [SBIN, "NSE:FOO-EQ"]}).json()
    assert reply["validSymbol"] == {SBIN: "10100000003045"} and reply["invalidSymbol"] == ["NSE:FOO-EQ"]


def test_the_next_placement_can_lose_its_reply(stepped: Sandbox):
    import httpx

    stepped.place(SBIN, 1, 1)
    stepped.http.post(f"{stepped.base}/sandbox/faults", json={"kind": "drop_reply", "count": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        stepped.place(SBIN, 1, 7, orderTag="lost")
    (row,) = stepped.get("/api/v3/orders", order_tag="1:lost")["orderBook"]
    assert (row["qty"], row["status"]) == (7, 2)
    assert stepped.place(SBIN, 1, 1)["s"] == "ok"


def test_replies_can_be_slow(stepped: Sandbox):
    stepped.sign_in()
    stepped.get("/api/v3/profile")
    stepped.http.post(f"{stepped.base}/sandbox/faults", json={"kind": "delay_ms", "count": 1, "ms": 300})
    began = time.monotonic()
    stepped.get("/api/v3/profile")
    assert time.monotonic() - began >= 0.3
