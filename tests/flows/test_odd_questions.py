"""Words that are no number and text that no database keeps are answered in words, wherever somebody may type them."""

from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone

from accounts.api_keys import issue
from strategies.models import BacktestRun
from tests.factories.history import stored_history
from tests.factories.runs import finished_run
from tests.factories.world import World, open_market

ODD = ("²", "\x00", "9" * 40, "ema-alignment@²", "ema\x00alignment@1", "0000051", "9999-12-31", "0001-01-01")


@pytest.fixture
def world(valkey, db) -> World:
    world = open_market()
    stored_history(days=[])
    return world


def test_an_odd_question_breaks_no_page(world, client):
    client.force_login(world.user)
    run, symbol = finished_run(world.user).pk, world.instrument.symbol
    for address, name in (
        ("/strategies/new/", "from"), ("/strategies/fired/", "symbol"), ("/backtests/new/", "contract"),
        ("/backtests/parameters/", "contract"), (f"/backtests/{run}/candles/", "trade"),
        (f"/market/{symbol}/candles/", "tf"), ("/market/data/missing/?day=2026-02-17", "symbol"),
        (f"/market/data/missing/?symbol={symbol}", "day"),
    ):  # fmt: skip
        for odd in ODD:
            asked = f"{address}{'&' if '?' in address else '?'}{urlencode({name: odd})}"
            assert client.get(asked).status_code < 500, asked
    form = {"contract": "ema-alignment@1", "from": "2026-02-17", "to": "2026-02-27", "feed": "NSE", "symbols": "SBIN"}
    for name in ("contract", "feed", "symbols", "slots", "rank"):
        for odd in ("²", "\x00", "ema-alignment@²", "ema\x00alignment@1"):
            assert client.post("/backtests/new/", form | {name: odd}).status_code == 422, (name, odd)
    for odd in ODD[:3]:
        assert client.post("/desk/portfolio/", {"portfolio": odd}).status_code == 404
    assert not BacktestRun.objects.exclude(pk=run).exists()


def test_an_odd_question_of_a_program_is_refused(world):
    _, token = issue(owner=world.user, name="bot", scope="trade", now=timezone.now())
    http = Client(headers={"authorization": f"Bearer {token}"})
    days = f"/api/v1/candles/?symbol={world.instrument.symbol}&feed={world.feed.name}&timeframe=1440"
    for address, name, odd in (
        ("/api/v1/option-chain/expiries/", "underlying", "\x00"),
        ("/api/v1/option-chain/expiries/?underlying=NIFTY", "exchange", "\x00"),
        ("/api/v1/option-chain/expiries/?underlying=NIFTY", "at", "0001-01-01T00:00:00+14:00"),
        (days, "from_date", "0001-01-01"), (f"{days}&from_date=2026-02-17", "to_date", "9999-12-31"),
    ):  # fmt: skip
        reply = http.get(f"{address}{'&' if '?' in address else '?'}{urlencode({name: odd})}")
        assert (reply.status_code, reply.json()["code"]) == (400, "INVALID_REQUEST"), (address, name)
    wish = {"contract": "ema-alignment@²", "from": "2026-02-17", "to": "2026-02-27"}
    reply = http.post(
        "/api/v1/backtests/",
        {"request": wish},
        content_type="application/json",
        headers={"idempotency-key": "an-odd-question"},
    )
    assert (reply.status_code, reply.json()["code"]) == (422, "UNKNOWN_CONTRACT")
