"""kill -9 of any process in mid-trade, then its restart: the trade ends as if nothing had happened.

One desk for all of it, at thirty times the pace of the market: a session then lasts longer than the tests. The contract
rests, so that the trades are those of the test alone; where the scanner is killed it works.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import httpx
import pytest
import redis
import websockets.sync.client as sockets
from websockets.exceptions import ConnectionClosed

from tests.flows.desk_process import DeskProcess, desk_process, disagreements, until
from trading.desk.paths import Folders

pytestmark = pytest.mark.slow

# Ten trades bought and sold within minutes lose their charges and more: limits of a day would stop the test, not it.
ALLOW = (
    "from risk.policies import publish_policy; from trading.portfolio.models import Portfolio; "
    "print(publish_policy(portfolio=Portfolio.objects.get(), actor='test', values=dict("
    "loss_streak=1000, max_trades_per_day=1000, "
    "cooldown_min=0, daily_loss_soft_pct='50', daily_loss_hard_pct='60', drawdown_cautious_pct='50', "
    "drawdown_defensive_pct='60', drawdown_halt_pct='70', day_value_pct='900')).version)"
)
PAUSE = "from strategies.deploy import {act}_deployment as act; print(act(deployment_id=1, actor='test'))"


@pytest.fixture(scope="module")
def desk() -> Iterator[DeskProcess]:
    with desk_process(TARAZU_SANDBOX_SPEED="30") as desk:
        desk.start()
        assert desk.command(PAUSE.format(act="pause")) == "True"
        assert int(desk.command(ALLOW)) > 1
        yield desk


@pytest.fixture
def client(desk: DeskProcess) -> Iterator[httpx.Client]:
    client = desk.signed_in()
    yield client
    client.close()


def mid_trade(desk: DeskProcess, client: httpx.Client, symbol: str) -> str:
    """A trade that is held, with its stop at the exchange."""
    until(lambda: desk.engine_state() == "RUNNING", within_s=60, what="the engine runs")
    group = desk.enter(client, symbol)["group"]
    until(lambda: desk.is_protected(group), within_s=20, what=f"a stop: {desk.orders_of(group)}")
    return str(group)


def ended_well(desk: DeskProcess, group: str) -> None:
    """Closed, once in and once out, every fill of the broker booked once, and nothing left behind."""
    desk.closed(group)
    orders = desk.orders_of(group)
    entries = [order for order in orders if order["reason"] == "ENTRY"]
    assert len(entries) == 1
    assert sum(order["filled_quantity"] for order in orders if order["side"] == "SELL") == entries[0]["filled_quantity"]
    assert not desk.group(group)["quarantined"]
    assert desk.one("SELECT count(*) FROM portfolio_closedtrade WHERE group_ref = %s", group) == 1
    found: list[str] = ["not yet compared"]

    def agrees() -> bool:
        found[:] = disagreements(desk)
        return not found

    try:
        until(agrees, within_s=10, what="agreement", every_s=0.5)
    except AssertionError:
        raise AssertionError("\n".join(found)) from None


def listen(desk: DeskProcess, client: httpx.Client) -> Any:
    """The socket of a page."""
    return sockets.connect(
        desk.address.replace("http", "ws") + "/ws/desk/", origin=desk.address, open_timeout=5,
        additional_headers={"Cookie": f"sessionid={client.cookies['sessionid']}"},
    )  # fmt: skip


def hear(socket: Any, kind: str, *, within_s: float = 10) -> dict[str, Any]:
    end = time.monotonic() + within_s
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=max(0.1, end - time.monotonic())))
        if message["kind"] == kind:
            return message


def test_web_killed_in_mid_trade_answers_again_and_pages_hear_again(desk, client):
    group = mid_trade(desk, client, "NSE:ITC-EQ")
    with ExitStack() as lines:
        line = lines.enter_context(listen(desk, client))
        hear(line, "cells")
        gone = desk.kill("web")
        with pytest.raises(ConnectionClosed):
            while True:
                line.recv(timeout=5)
        desk.started_again("web", instead_of=gone)

        def page() -> bool:
            try:
                return client.get("/").status_code == 200
            except httpx.TransportError:
                return False

        until(page, within_s=20, what="the page answers")  # the same session: nobody has to sign in again
        again = lines.enter_context(listen(desk, client))
        hear(again, "hello")
        assert hear(again, "cells")["data"]["quotes"]
        assert desk.is_protected(group)
        desk.close(client, group)
        hear(again, "position")
    ended_well(desk, group)


def test_worker_killed_in_mid_trade_scans_on_and_no_bar_twice(desk, client):
    group = mid_trade(desk, client, "NSE:WIPRO-EQ")
    assert desk.command(PAUSE.format(act="resume")) == "True"
    try:
        scans = "SELECT count(*) FROM strategies_scanslot WHERE state = 'DONE'"
        # A new desk first fetches the candles before now at the pace its broker allows, and scans nothing until then.
        until(lambda: desk.one(scans), within_s=150, what="a first scan")
        desk.venue("clock", speed=60)  # bars come twice as fast
        gone = desk.kill("worker")
        before = desk.one(scans)
        desk.started_again("worker", instead_of=gone)
        until(lambda: desk.one(scans) >= before + 2, within_s=40, what="the scan goes on")
    finally:
        desk.venue("clock", speed=30)
        assert desk.command(PAUSE.format(act="pause")) == "True"
    times = desk.rows("SELECT bar_at, state FROM strategies_scanslot ORDER BY bar_at")
    bars = [row["bar_at"] for row in times]
    assert len(set(bars)) == len(bars)
    # Every bar between the first and the last of a day has its row: scanned, or said to be missed.
    gaps = [later - earlier for earlier, later in pairwise(bars) if later.date() == earlier.date()]
    assert {gap.total_seconds() for gap in gaps} <= {300.0}
    until(
        lambda: not desk.one("SELECT count(*) FROM strategies_signal WHERE state = 'NEW'"),
        within_s=20, what="every signal is decided",
    )  # fmt: skip
    for row in desk.rows("SELECT id FROM execution_group WHERE state <> 'CLOSED'"):
        desk.close(client, str(row["id"]))
    for row in desk.rows("SELECT id FROM execution_group"):
        desk.closed(str(row["id"]))
    ended_well(desk, group)


def test_fault_50_engine_killed_in_mid_trade_takes_the_trade_up_again(desk, client):
    group = mid_trade(desk, client, "NSE:SBIN-EQ")
    gone = desk.kill("engine")
    desk.close(client, group)  # asked for while nobody is there to do it
    desk.started_again("engine", instead_of=gone)
    ended_well(desk, group)


def test_fault_46_47_a_trade_is_closed_while_valkey_is_empty_and_frozen(desk, client):
    """Not gone, which every line is told of: silent. The page, the bell and the engine have only the rows."""
    group = mid_trade(desk, client, "NSE:TCS-EQ")
    pid = next(pid for pid, command in desk.ours().items() if "unixsocket:" in command)
    with redis.Redis(unix_socket_path=str(Folders(desk.var).valkey_socket)) as valkey:
        valkey.flushall()
    os.kill(pid, signal.SIGSTOP)
    try:
        desk.close(client, group)
        desk.closed(group)
        assert desk.engine_state() == "RUNNING"
    finally:
        os.kill(pid, signal.SIGCONT)
    ended_well(desk, group)
    ended_well(desk, mid_trade_and_out(desk, client, "NSE:ITC-EQ"))  # prices and bells are back


def test_engine_killed_while_its_entry_is_on_the_wire_finds_it_and_protects_it(desk, client):
    """The order has left, the reply has not come: the next engine neither sends it again nor leaves it bare."""
    until(lambda: desk.engine_state() == "RUNNING", within_s=60, what="the engine runs")
    last = desk.last_price("NSE:INFY-EQ")
    desk.venue("faults", kind="delay_ms", ms=1500, count=40)  # whatever asks the broker waits
    try:
        group = desk.enter(client, "NSE:INFY-EQ", last=last)["group"]
        until(
            lambda: desk.orders_of(group)[0]["state"] == "SENDING", within_s=10, what="the entry leaves", every_s=0.01
        )
        gone = desk.kill("engine")
    finally:
        desk.venue("faults", kind="delay_ms", ms=0, count=0)
    assert [order["reason"] for order in desk.orders_of(group)] == ["ENTRY"]  # filled or not, it has no stop yet
    desk.started_again("engine", instead_of=gone)
    until(lambda: desk.is_protected(group), within_s=40, what=f"a stop: {desk.orders_of(group)}")
    desk.close(client, group)
    ended_well(desk, group)


def test_engine_killed_while_the_stop_is_on_the_wire_places_no_second_one(desk, client):
    until(lambda: desk.engine_state() == "RUNNING", within_s=60, what="the engine runs")
    last = desk.last_price("NSE:HDFCBANK-EQ")
    desk.venue("faults", kind="delay_ms", ms=1500, count=40)
    try:
        group = desk.enter(client, "NSE:HDFCBANK-EQ", last=last)["group"]
        until(
            lambda: [o["state"] for o in desk.orders_of(group) if o["reason"] == "STOP"] == ["SENDING"],
            within_s=15, what="the stop leaves", every_s=0.01,
        )  # fmt: skip
        gone = desk.kill("engine")
    finally:
        desk.venue("faults", kind="delay_ms", ms=0, count=0)
    desk.started_again("engine", instead_of=gone)
    until(lambda: desk.is_protected(group), within_s=40, what=f"a stop: {desk.orders_of(group)}")
    assert [order["reason"] for order in desk.orders_of(group)] == ["ENTRY", "STOP"]
    desk.close(client, group)
    ended_well(desk, group)


def test_sandbox_killed_in_mid_trade_keeps_its_books_and_the_desk_comes_back(desk, client):
    group = mid_trade(desk, client, "NSE:AXISBANK-EQ")
    gone = desk.kill("sandbox")
    desk.close(client, group)  # asked for while there is no exchange
    desk.started_again("sandbox", instead_of=gone)
    ended_well(desk, group)
    ended_well(desk, mid_trade_and_out(desk, client))  # and the desk trades on


def mid_trade_and_out(desk: DeskProcess, client: httpx.Client, symbol: str = "NSE:LT-EQ") -> str:
    group = mid_trade(desk, client, symbol)
    desk.close(client, group)
    return group
