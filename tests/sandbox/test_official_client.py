"""The broker's own client, unchanged but for its addresses, trades on the sandbox."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.conftest import ROOT, START, USER, Sandbox

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("fyers_apiv3") is None,
    reason="the official client (requirements/fyers.txt) is not installed",
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the official client saw of one session."""
    logs = tmp_path_factory.mktemp("logs")
    exchange = Sandbox(tmp_path_factory.mktemp("state"), "--start", START, "--speed", "60").start()
    try:
        command = [sys.executable, "-W", "ignore", "tests/sandbox/official_client.py", str(exchange.port), str(logs)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    finally:
        exchange.stop()
        exchange.http.close()
    assert not list(Path(ROOT).glob("fyers*.log"))
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("SEEN ")]
    return json.loads(line.removeprefix("SEEN "))


def test_it_signs_in_and_reads_the_account(seen: dict[str, Any]):
    assert seen["profile"]["data"]["fy_id"] == USER
    assert [row["id"] for row in seen["funds"]["fund_limit"]] == list(range(1, 11))
    assert seen["holdings"]["s"] == "ok" and seen["holdings"]["holdings"] == []


def test_it_receives_ticks_of_a_share_and_an_index(seen: dict[str, Any]):
    assert seen["ticked"] and {"cn", "ful", "sub"} <= set(seen["status_types"])
    share, index = seen["share_tick"], seen["index_tick"]
    assert share["type"] == "sf" and index["type"] == "if"
    assert share["low_price"] <= share["ltp"] <= share["high_price"] and share["vol_traded_today"] > 0
    assert share["bid_price"] < share["ask_price"] and share["ch"] == pytest.approx(
        share["ltp"] - share["prev_close_price"]
    )
    assert 10_000 < index["ltp"] < 60_000
    assert seen["tick_times"] == sorted(set(seen["tick_times"]))


def test_it_reads_the_market(seen: dict[str, Any]):
    assert [row["s"] for row in seen["quotes"]["d"]] == ["ok", "ok"]
    book = seen["depth"]["d"]["NSE:SBIN-EQ"]
    assert len(book["bids"]) == len(book["ask"]) == 5
    assert seen["market_status"]["marketStatus"][0]["status"] == "OPEN"
    candles = seen["history"]["candles"]
    assert len(candles) >= 3 * 72 and all(len(row) == 6 and row[3] <= row[1] <= row[2] for row in candles)


def test_it_places_modifies_and_cancels(seen: dict[str, Any]):
    assert (seen["placed"]["code"], seen["modified"]["code"], seen["cancelled"]["code"]) == (1101, 1102, 1103)
    assert (seen["bought"]["code"], seen["refused"]["code"]) == (1101, -50)
    assert seen["basket"]["data"][0]["body"]["code"] == 1101
    rows = {row["orderTag"]: row for row in seen["orderbook"]["orderBook"]}
    assert (rows["1:resting1"]["status"], rows["1:resting1"]["qty"]) == (1, 12)
    assert (rows["1:market1"]["status"], rows["1:market1"]["filledQty"]) == (2, 10)
    assert seen["one_order"]["orderBook"][0]["id"] == seen["placed"]["id"]


def test_its_books_agree_with_each_other(seen: dict[str, Any]):
    trades = seen["tradebook"]["tradeBook"]
    assert sum(trade["tradedQty"] for trade in trades) == 10
    (position,) = seen["positions"]["netPositions"]
    assert position["netQty"] == 10
    assert position["buyVal"] == pytest.approx(sum(trade["tradeValue"] for trade in trades))
    assert seen["exit"]["code"] in (200, 201)


def test_it_hears_of_orders_trades_and_positions(seen: dict[str, Any]):
    assert seen["events"]
    assert {frame["s"] for frame in seen["order_events"]} == {"ok"}
    statuses = [
        frame["orders"]["status"] for frame in seen["order_events"] if frame["orders"]["id"] == seen["placed"]["id"]
    ]
    assert statuses[0] == 6 and statuses[-1] == 1
    fills = [frame["trades"] for frame in seen["trade_events"]]
    numbers = [fill["tradeNumber"] for fill in fills]
    assert len(numbers) == len(set(numbers))
    assert {trade["tradeNumber"] for trade in seen["tradebook"]["tradeBook"]} <= set(numbers)
    assert any(frame["positions"]["netQty"] == 10 for frame in seen["position_events"])


def test_a_logout_ends_the_session(seen: dict[str, Any]):
    assert seen["logout"]["code"] == 200
    assert seen["after_logout"]["code"] == -16
