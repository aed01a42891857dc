"""Imported candles told again: what comes out is what went in."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from execution.sandbox.calendar import session_hours
from tests.sandbox.conftest import Sandbox

DAY = date(2026, 2, 16)
OPENS_AT, CLOSES_AT = session_hours(DAY)
SYMBOL = "NSE:RELIANCE-EQ"


def a_minute(n: int) -> list[Any]:
    """A candle with odd volume; every third minute falls, the seventh trades three shares in all."""
    opened = 1400.0 + n * 0.1
    close = opened - 0.4 if n % 3 == 0 else opened + 0.3
    volume = 3 if n == 7 else 1000 + n
    return [
        OPENS_AT + 60 * n,
        round(opened, 2),
        round(max(opened, close) + 0.5, 2),
        round(min(opened, close) - 0.6, 2),
        round(close, 2),
        volume,
    ]


@pytest.fixture
def replay(sandbox: Callable[..., Sandbox], tmp_path: Path) -> Sandbox:
    minutes = [a_minute(n) for n in range(30) if n != 12]
    yesterday = [[row[0] - 3 * 86_400, *row[1:]] for row in minutes]
    file = tmp_path / "day.json"
    file.write_text(
        json.dumps(
            {
                "date": DAY.isoformat(),
                "symbols": {SYMBOL: {"tick_size": "0.1", "prev_close": "1399.9", "lower": "1260", "upper": "1539.8"}},
                "candles": {SYMBOL: minutes},
                "history": {SYMBOL: {"1": yesterday}},
            }
        )
    )
    return sandbox("--stepped", "--session", str(file))


def candles(exchange: Sandbox, resolution: str, *, since: int = OPENS_AT) -> list[list[Any]]:
    query = {"symbol": SYMBOL, "resolution": resolution, "date_format": 0, "range_from": since, "range_to": CLOSES_AT}
    return exchange.get("/data/history", **query)["candles"]


def test_a_replayed_day_gives_back_its_candles(replay: Sandbox):
    clock = replay.http.get(f"{replay.base}/sandbox/clock").json()
    assert (clock["session_date"], clock["phase"]) == (DAY.isoformat(), "PREOPEN")
    prices = []
    for _ in range(4):
        prices.append(
            (replay.step()["venue"] - OPENS_AT, replay.get("/data/quotes", symbols=SYMBOL)["d"][0]["v"]["lp"])
        )
    first = a_minute(0)
    assert prices == [
        (0, first[1]),
        (15, first[2]),
        (30, first[3]),
        (59, first[4]),
    ]  # a falling minute: high before low
    replay.step(until=CLOSES_AT - 1)
    assert candles(replay, "1") == [a_minute(n) for n in range(30) if n != 12]
    five = candles(replay, "5")
    assert [row[0] for row in five] == [OPENS_AT + 300 * n for n in range(6)]
    assert sum(row[5] for row in five) == sum(row[5] for row in candles(replay, "1"))
    earlier = candles(replay, "1", since=OPENS_AT - 3 * 86_400)
    assert len(earlier) == 58
    daily = candles(replay, "D", since=OPENS_AT - 4 * 86_400)
    assert [row[0] % 86_400 for row in daily] == [0, 0]


def test_a_replay_trades_with_a_spread_of_one_tick_and_ends(replay: Sandbox):
    replay.step(ticks=8)
    book = replay.depth(SYMBOL)
    assert book["ask"][0]["price"] - book["bids"][0]["price"] == pytest.approx(0.1)
    bought = replay.order(replay.place(SYMBOL, 1, 10)["id"])
    assert (bought["status"], bought["tradedPrice"]) == (2, book["ask"][0]["price"])
    reply = replay.step(until=CLOSES_AT + 1)
    assert reply["done"] is True
    rows = replay.get("/api/v3/orders")["orderBook"]
    assert [row["source"] for row in rows] == ["ITS", "A"]
    assert rows[1]["tradedPrice"] == a_minute(29)[4]
    assert replay.place(SYMBOL, 1, 1)["code"] == -99
    assert replay.step()["done"] is True
