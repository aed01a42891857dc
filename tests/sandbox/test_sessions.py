"""Time, sessions and the memory of the exchange."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from datetime import date

import pytest

from execution.sandbox.calendar import session_hours
from execution.sandbox.virtual_clock import VenueClock
from tests.sandbox.conftest import ROOT, Sandbox

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
SBIN, RELIANCE = "NSE:SBIN-EQ", "NSE:RELIANCE-EQ"


def test_a_change_of_speed_is_no_jump():
    clock = VenueClock(wall=100.0, venue=5_000.0, speed=60)
    clock.set_speed(1, wall=101.0)
    assert clock.at(101.0) == 5_060.0
    assert clock.at(103.0) == 5_062.0
    clock.limit = 5_061.0
    assert clock.at(200.0) == 5_061.0
    for speed in (0, 0.5, 601, float("nan")):
        with pytest.raises(ValueError):
            clock.set_speed(speed, wall=104.0)


def test_the_clock_runs_at_its_speed_and_tells_it(sandbox):
    exchange = sandbox("--speed", "60")
    first = exchange.http.get(f"{exchange.base}/sandbox/clock").json()
    assert (first["phase"], first["session_date"], first["speed"], first["stepped"]) == (
        "CONTINUOUS",
        "2026-11-20",
        60,
        False,
    )
    time.sleep(0.5)
    second = exchange.http.get(f"{exchange.base}/sandbox/clock").json()
    ratio = (second["venue"] - first["venue"]) / (second["wall"] - first["wall"])
    assert ratio == pytest.approx(60, rel=0.01)
    changed = exchange.http.post(f"{exchange.base}/sandbox/clock", json={"speed": 600}).json()
    assert changed["speed"] == 600
    for wrong in (0, 1000, "x", None, True):
        assert exchange.http.post(f"{exchange.base}/sandbox/clock", json={"speed": wrong}).status_code == 400


def test_the_close_expires_orders_squares_off_and_opens_the_next_day(stepped: Sandbox):
    bid = stepped.depth(SBIN)["bids"][-1]["price"]
    resting_id = stepped.place(SBIN, 1, 5, type=1, limitPrice=round(bid - 60, 2))["id"]
    stepped.place(RELIANCE, -1, 10)
    _, closes_at = session_hours(FRIDAY)
    reply = stepped.step(until=closes_at)
    assert reply["venue"] == closes_at
    assert stepped.http.get(f"{stepped.base}/sandbox/clock").json()["phase"] == "CLOSING"
    assert stepped.order(resting_id)["status"] == 7
    rows = stepped.get("/api/v3/orders")["orderBook"]
    (square_off,) = [row for row in rows if row["source"] == "A"]
    assert square_off["orderTag"].startswith("2:") and (square_off["status"], square_off["side"]) == (2, 1)
    assert square_off["tradedPrice"] == stepped.get("/data/quotes", symbols=RELIANCE)["d"][0]["v"]["lp"]
    (position,) = stepped.get("/api/v3/positions")["netPositions"]
    assert position["netQty"] == 0
    funds = stepped.get("/api/v3/funds")["fund_limit"]
    assert funds[9]["equityAmount"] == pytest.approx(1_000_000 + position["realized_profit"], abs=0.01)
    assert stepped.place(SBIN, 1, 1)["code"] == -99

    stepped.step(ticks=1)
    clock = stepped.http.get(f"{stepped.base}/sandbox/clock").json()
    assert (clock["session_date"], clock["phase"]) == ("2026-11-23", "CONTINUOUS")
    assert clock["venue"] == session_hours(MONDAY)[0]
    assert stepped.get("/api/v3/orders")["orderBook"] == []
    assert stepped.get("/api/v3/funds")["fund_limit"][0]["equityAmount"] == pytest.approx(funds[9]["equityAmount"])
    new_id = stepped.place(SBIN, 1, 1)["id"]
    assert new_id.startswith("261123") and new_id[6:] > resting_id[6:]


def test_a_delivery_becomes_a_holding_and_can_be_sold(stepped: Sandbox):
    bought = stepped.order(stepped.place(SBIN, 1, 10, productType="CNC")["id"])
    stepped.step(until=session_hours(FRIDAY)[1])
    stepped.step(ticks=2)
    (holding,) = stepped.get("/api/v3/holdings")["holdings"]
    assert (holding["symbol"], holding["quantity"], holding["costPrice"]) == (SBIN, 10, bought["tradedPrice"])
    assert stepped.place(SBIN, -1, 11, productType="CNC")["code"] == -99
    assert stepped.place(SBIN, -1, 10, productType="CNC")["s"] == "ok"


def test_the_holiday_after_monday_is_skipped(sandbox):
    exchange = sandbox("--stepped", "--start", "2026-11-23T15:00")
    exchange.step(ticks=7199)
    exchange.step(ticks=3)
    clock = exchange.http.get(f"{exchange.base}/sandbox/clock").json()
    assert clock["session_date"] == "2026-11-25"  # the 24th is Guru Nanak Jayanti


def test_kill_9_in_mid_trade_loses_nothing_and_doubles_nothing(sandbox):
    exchange = sandbox("--speed", "60")
    bid = exchange.depth(SBIN)["bids"][0]["price"]
    resting = [
        exchange.place(SBIN, 1, 50, type=1, limitPrice=round(bid - n * 0.3, 2), orderTag=f"r{n}")["id"]
        for n in range(1, 6)
    ]
    filled = exchange.place(RELIANCE, 1, 10, orderTag="done")["id"]
    time.sleep(1.3)
    before = {row["id"]: row for row in exchange.get("/api/v3/orders")["orderBook"]}
    trades_before = {row["tradeNumber"]: row for row in exchange.get("/api/v3/tradebook")["tradeBook"]}
    venue_before = exchange.http.get(f"{exchange.base}/sandbox/clock").json()["venue"]
    exchange.stop(signal.SIGKILL)
    journal = exchange.state / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"k":"tx","orders":[{"id":"half a li')
    time.sleep(0.5)
    exchange.start()
    venue_after = exchange.http.get(f"{exchange.base}/sandbox/clock").json()["venue"]
    assert venue_before - 90 <= venue_after <= venue_before + 60
    after = {row["id"]: row for row in exchange.get("/api/v3/orders")["orderBook"]}
    trades_after = {row["tradeNumber"]: row for row in exchange.get("/api/v3/tradebook")["tradeBook"]}
    assert set(before) == set(after) == {*resting, filled}
    for number, trade in trades_before.items():
        assert trades_after[number] == {**trade, "row": trades_after[number]["row"]}
    for row in after.values():
        traded = sum(trade["tradedQty"] for trade in trades_after.values() if trade["orderNumber"] == row["id"])
        assert traded == row["filledQty"] <= row["qty"]
        assert row["filledQty"] >= before[row["id"]]["filledQty"]
    new = exchange.place(SBIN, 1, 1)["id"]
    assert new not in after
    net = {row["symbol"]: row["netQty"] for row in exchange.get("/api/v3/positions")["netPositions"]}
    assert net[RELIANCE] == 10


def test_kill_9_while_orders_pour_in_keeps_every_acknowledged_one(sandbox):
    exchange = sandbox("--stepped")
    exchange.step(ticks=5)
    exchange.sign_in()
    known: list[str] = []
    for round_ in range(3):
        for n in range(10):
            reply = exchange.place(SBIN, 1 if n % 2 else -1, 3 + n, orderTag=f"k{round_}x{n}")
            known.append(reply["id"])
        exchange.step(ticks=2)
        exchange.stop(signal.SIGKILL)
        exchange.start()
    rows = exchange.get("/api/v3/orders")["orderBook"]
    assert [row["id"] for row in rows] == known and len(set(known)) == 30
    trades = exchange.get("/api/v3/tradebook")["tradeBook"]
    assert len({trade["tradeNumber"] for trade in trades}) == len(trades)
    assert sum(row["filledQty"] for row in rows) == sum(trade["tradedQty"] for trade in trades)


def test_a_speed_set_while_running_outlives_a_kill(sandbox):
    exchange = sandbox("--speed", "60")
    exchange.http.post(f"{exchange.base}/sandbox/clock", json={"speed": 120})
    exchange.stop(signal.SIGKILL)
    exchange.start()
    assert exchange.http.get(f"{exchange.base}/sandbox/clock").json()["speed"] == 120
    exchange.options = ("--start", "2026-11-20T09:15", "--speed", "30")
    exchange.stop()
    exchange.start()
    assert exchange.http.get(f"{exchange.base}/sandbox/clock").json()["speed"] == 30


def test_a_stop_is_quick_and_clean_with_clients_connected(sandbox):
    import websockets.sync.client as client

    exchange = sandbox("--speed", "60")
    with client.connect(f"ws://127.0.0.1:{exchange.port}/hsm/v1-5/prod"):
        began = time.monotonic()
        assert exchange.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 1.5
    exchange.start()
    assert exchange.stop(signal.SIGINT) == 0


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "execution.sandbox", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def test_what_is_wrong_at_the_start_is_said_in_one_line(sandbox, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--port", str(taken.getsockname()[1]), "--state-dir", str(tmp_path / "a"))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "--port" in done.stderr
    exchange = sandbox("--stepped")
    done = run("--port", "0", "--state-dir", str(exchange.state))
    assert done.returncode == 2 and "in use" in done.stderr and len(done.stderr.splitlines()) == 1
    exchange.stop()
    done = run("--port", "0", "--state-dir", str(exchange.state), "--seed", "8")
    assert done.returncode == 2 and "another market" in done.stderr and len(done.stderr.splitlines()) == 1
    broken = tmp_path / "day.json"
    broken.write_text('{"date": "2026-02-16"}')
    done = run("--port", "0", "--state-dir", str(tmp_path / "b"), "--session", str(broken))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    done = run("--port", "0", "--state-dir", "/proc/nothing")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_two_stepped_runs_of_the_same_orders_are_equal(sandbox, tmp_path):
    books = []
    for name in ("one", "two"):
        exchange = sandbox("--stepped", state=tmp_path / name)
        exchange.step(ticks=3)
        bid = exchange.depth(SBIN)["bids"][1]["price"]
        exchange.place(SBIN, 1, 40, type=1, limitPrice=bid)
        exchange.place(SBIN, -1, 30, type=3, stopPrice=bid)
        exchange.place(RELIANCE, -1, 25)
        exchange.step(ticks=400)
        books.append((exchange.get("/api/v3/orders"), exchange.get("/api/v3/tradebook"), exchange.get("/api/v3/funds")))
    assert books[0] == books[1]
    assert len(books[0][1]["tradeBook"]) >= 2
