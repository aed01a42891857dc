"""The data socket, the order socket, and the history they must agree with. The decoder here is the tests' own."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import Any

import pytest
import websockets.sync.client as client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from execution.sandbox.calendar import session_hours
from execution.sandbox.fyers_sockets import ORDER_QUEUE, OrderConnection
from tests.sandbox.conftest import Sandbox

SBIN, TOPIC, INDEX_TOPIC = "NSE:SBIN-EQ", "sf|nse_cm|3045", "if|nse_cm|Nifty 50"
ABSENT = -(2**31)
OPENS_AT = session_hours(date(2026, 11, 20))[0]


def frame(kind: int, *fields: tuple[int, bytes]) -> bytes:
    """A client frame with a useless length, as the official client sends."""
    return b"\0\0" + bytes([kind, len(fields)]) + b"".join(struct.pack(">BH", n, len(v)) + v for n, v in fields)


def topics(*names: str) -> bytes:
    return struct.pack(">H", len(names)) + b"".join(bytes([len(n)]) + n.encode() for n in names)


class Feed:
    """A subscriber that keeps the last values of every topic."""

    def __init__(self, exchange: Sandbox) -> None:
        self.socket = ExitStack().enter_context(
            client.connect(f"ws://127.0.0.1:{exchange.port}/hsm/v1-5/prod", max_size=None, max_queue=None)
        )
        token = (exchange.token or exchange.sign_in()).split(":", 1)[1]
        payload = token.split(".")[1]
        self.key = json.loads(base64.urlsafe_b64decode(payload + "=="))["hsm_key"]
        self.names: dict[bytes, str] = {}
        self.values: dict[str, list[int]] = {}
        self.kinds: list[str] = []
        self.number = 0

    def sign_in(self) -> bytes:
        self.socket.send(b"\0\1\x0b")
        self.socket.send(frame(1, (1, self.key.encode()), (2, b"P"), (3, b"\1"), (4, b"test")))
        return self.socket.recv(5)

    def subscribe(self, *names: str) -> None:
        self.socket.send(frame(4, (1, topics(*names)), (2, b"\x0b")))
        assert self.socket.recv(5) == bytes.fromhex("00060401010001") + b"K"

    def read(self, timeout: float = 5) -> None:
        """Take in one feed frame."""
        data = self.socket.recv(timeout)
        assert isinstance(data, bytes)
        length, kind, number, count = struct.unpack(">HBIH", data[:9])
        assert kind == 6 and number == self.number + 1 and length == len(data) - 2
        self.number, at = number, 9
        for _ in range(count):
            letter, key = chr(data[at]), data[at + 1 : at + 3]
            self.kinds.append(letter)
            at += 3
            if letter == "S":
                size = data[at]
                name, at = data[at + 1 : at + 1 + size].decode(), at + 1 + size
                self.names[key] = name
                fields = data[at]
                self.values[name] = list(struct.unpack(f">{fields}i", data[at + 1 : at + 1 + 4 * fields]))
                at += 1 + 4 * fields + 2
                assert struct.unpack(">HB", data[at : at + 3]) == (1, 2)
                at += 3
                for _text in range(3):
                    at += 1 + data[at]
            elif letter == "U":
                fields = data[at]
                for n, value in enumerate(struct.unpack(f">{fields}i", data[at + 1 : at + 1 + 4 * fields])):
                    if value != ABSENT:
                        self.values[self.names[key]][n] = value
                at += 1 + 4 * fields
            else:
                assert letter == "L"
                (self.values[self.names[key]][0],) = struct.unpack(">i", data[at : at + 4])
                at += 4
        assert at == len(data)


@contextmanager
def order_socket(exchange: Sandbox, token: str | None = None) -> Iterator[Any]:
    header = {"authorization": token or exchange.token or exchange.sign_in()}
    with client.connect(f"ws://127.0.0.1:{exchange.port}/trade/v3", additional_headers=header) as socket:
        yield socket


def test_frames_are_as_described(stepped: Sandbox):
    feed = Feed(stepped)
    reply = feed.sign_in()
    assert reply[2:] == bytes.fromhex("01020100014b020004") + struct.pack(">I", 100)
    feed.socket.send(frame(12, (1, struct.pack(">Q", 1 << 11)), (2, b"F")))
    assert feed.socket.recv(5) == bytes.fromhex("00060c01010001") + b"K"
    feed.subscribe(TOPIC, INDEX_TOPIC, "dp|nse_cm|3045", "sf|nse_cm|99999")
    feed.read()
    assert feed.kinds == ["S", "S", "S"]
    assert [len(feed.values[name]) for name in (TOPIC, INDEX_TOPIC, "dp|nse_cm|3045")] == [21, 6, 30]
    book = stepped.depth(SBIN)
    share = feed.values[TOPIC]
    assert (share[0], share[1], share[20]) == (round(book["ltp"] * 100), book["v"], round(book["c"] * 100))
    assert (share[6], share[7]) == (round(book["bids"][0]["price"] * 100), round(book["ask"][0]["price"] * 100))
    depth = feed.values["dp|nse_cm|3045"]
    assert depth[:5] == [round(x["price"] * 100) for x in book["bids"]]
    assert depth[15:20] == [x["volume"] for x in book["ask"]]
    feed.subscribe(TOPIC)  # once more: a fresh snapshot
    feed.read()
    assert feed.kinds[3:] == ["S"]
    feed.socket.send(frame(5, (1, topics(TOPIC, INDEX_TOPIC, "dp|nse_cm|3045")), (2, b"\x0b")))
    assert feed.socket.recv(5) == bytes.fromhex("00060501010001") + b"K"
    assert stepped.step(ticks=1)["price_frames_total"] == 2
    feed.socket.close()


def test_lite_mode_pause_and_resume(stepped: Sandbox):
    feed = Feed(stepped)
    feed.sign_in()
    channel = struct.pack(">Q", 1 << 11)
    feed.socket.send(frame(12, (1, channel), (2, b"L")))
    feed.socket.recv(5)
    feed.subscribe(TOPIC)
    feed.read()
    stepped.step(ticks=50)
    sent = stepped.step(ticks=1)["price_frames_total"]
    while feed.number < sent:
        feed.read()
    assert set(feed.kinds[1:]) == {"L"}
    feed.socket.send(frame(7, (1, channel)))
    assert feed.socket.recv(5) == bytes.fromhex("00060701010001") + b"K"
    assert stepped.step(ticks=5)["price_frames_total"] == sent
    feed.socket.send(frame(8, (1, channel)))
    assert feed.socket.recv(5) == bytes.fromhex("00060801010001") + b"K"
    assert stepped.step(ticks=20)["price_frames_total"] > sent
    feed.socket.close()


def test_a_wrong_key_sees_nothing(stepped: Sandbox):
    feed = Feed(stepped)
    feed.key = "0" * 56
    assert b"K" not in feed.sign_in()[4:8]
    feed.socket.send(frame(4, (1, topics(TOPIC)), (2, b"\x0b")))
    assert b"K" not in feed.socket.recv(5)
    stepped.step(ticks=3)
    with pytest.raises(TimeoutError):
        feed.socket.recv(0.2)
    feed.socket.send(b"\0\0\4\1\1\xff\xff")
    with pytest.raises(ConnectionClosed):
        feed.socket.recv(5)


def test_candles_are_exactly_the_published_path(sandbox):
    """Every tick as the data socket told it, gathered into minutes, is what history says; and so after a restart."""
    exchange = sandbox("--stepped")
    exchange.sign_in()
    feed = Feed(exchange)
    feed.sign_in()
    feed.subscribe(TOPIC, INDEX_TOPIC)
    feed.read()
    ticks: list[tuple[int, int, int]] = []
    for _ in range(105):
        sent = exchange.step(ticks=1)["price_frames"]["prices1"]
        while feed.number < sent:
            feed.read()
        share = feed.values[TOPIC]
        ticks.append((share[2], share[0], share[1]))
    minutes: dict[int, list[int]] = {}
    before = 0
    for at, price, volume in ticks:
        start = OPENS_AT + (at - OPENS_AT) // 60 * 60
        bar = minutes.setdefault(start, [start, price, price, price, price, 0])
        bar[2], bar[3], bar[4] = max(bar[2], price), min(bar[3], price), price
        bar[5] += volume - before
        before = volume
    told = [[row[0], *(round(x * 100) for x in row[1:5]), row[5]] for row in history(exchange, "1")]
    assert told == list(minutes.values())
    assert len(told) == 6
    feed.socket.close()
    exchange.stop()
    exchange.start()
    assert [[r[0], *(round(x * 100) for x in r[1:5]), r[5]] for r in history(exchange, "1")] == told


def history(exchange: Sandbox, resolution: str, *, days: int = 0, symbol: str = SBIN, **more: Any) -> list[list[Any]]:
    venue = int(exchange.http.get(f"{exchange.base}/sandbox/clock").json()["venue"])
    span = {"range_from": OPENS_AT - days * 86_400, "range_to": venue, "date_format": 0, **more}
    reply = exchange.get("/data/history", symbol=symbol, resolution=resolution, cont_flag=1, **span)
    assert reply["s"] == "ok", reply
    return reply["candles"]


def test_the_day_that_ended_is_remembered_as_it_was(stepped: Sandbox):
    stepped.step(until=session_hours(date(2026, 11, 20))[1])
    live = {symbol: history(stepped, "5", symbol=symbol) for symbol in (SBIN, "NSE:NIFTY50-INDEX")}
    assert len(live[SBIN]) == 72
    stepped.step(ticks=2)
    for symbol, rows in live.items():
        past = history(stepped, "5", symbol=symbol, range_to=OPENS_AT + 86_399)
        assert past == rows


def test_resolutions_agree_with_each_other(stepped: Sandbox):
    stepped.step(ticks=1500)
    one = history(stepped, "1", days=4)
    for minutes in ("2", "3", "5", "10", "15", "20", "30", "60", "120", "240"):
        rows = history(stepped, minutes, days=4)
        assert sum(row[5] for row in rows) == sum(row[5] for row in one)
        assert max(row[2] for row in rows) == max(row[2] for row in one)
        assert (rows[0][1], rows[-1][4]) == (one[0][1], one[-1][4])
        assert all((row[0] - OPENS_AT) % 86_400 % (int(minutes) * 60) == 0 for row in rows)
    daily = history(stepped, "D", days=4)
    assert [row[0] % 86_400 for row in daily] == [0] * len(daily)
    assert daily[-1][5] == sum(row[5] for row in one if row[0] >= OPENS_AT)


def test_a_forming_candle_is_returned_only_to_ranges_that_reach_it(stepped: Sandbox):
    stepped.step(ticks=130)  # 6 minutes and a half
    assert [row[0] - OPENS_AT for row in history(stepped, "5")] == [0, 300]
    assert [row[0] - OPENS_AT for row in history(stepped, "5", range_to=OPENS_AT + 299)] == [0]
    by_date = {"range_from": "2026-11-20", "range_to": "2026-11-20", "date_format": 1}
    assert [row[0] - OPENS_AT for row in history(stepped, "5", **by_date)] == [0]


def test_sixty_days_of_history_are_there_and_quick(stepped: Sandbox):
    assert len(history(stepped, "D", days=88)) >= 60
    history(stepped, "5", days=1)
    began = time.perf_counter()
    rows = history(stepped, "5", days=7)
    assert len(rows) >= 5 * 72
    assert time.perf_counter() - began < 1.0
    for wrong in (
        {"resolution": "7"},
        {"range_from": "x"},
        {"range_to": 5},
        {"symbol": "NSE:NOPE-EQ"},
        {"range_from": 0},
    ):
        query = {
            "symbol": SBIN,
            "resolution": "5",
            "date_format": 0,
            "range_from": OPENS_AT,
            "range_to": OPENS_AT + 60,
            **wrong,
        }
        assert stepped.call("GET", "/data/history", params=query).status_code == 400


def test_the_order_socket_tells_orders_trades_and_positions(stepped: Sandbox):
    stepped.place("NSE:TCS-EQ", 1, 1)
    with order_socket(stepped) as socket:
        socket.send("ping")
        assert socket.recv(5) == "pong"
        socket.send(json.dumps({"T": "SUB_ORD", "SLIST": ["orders", "trades", ["positions", "edis"]], "SUB_T": 1}))
        assert json.loads(socket.recv(5)) == {"code": 1605, "message": "Successfully subscribed", "s": "ok"}
        before = stepped.step(ticks=1)["order_events"]
        placed = stepped.place(SBIN, 1, 10, orderTag="told")
        frames = [json.loads(socket.recv(5)) for _ in range(4)]
        kinds = [next(k for k in frame if k != "s") for frame in frames]
        assert kinds == ["orders", "trades", "orders", "positions"]
        assert [f["orders"]["org_ord_status"] for f in frames if "orders" in f] == [6, 2]
        trade = frames[1]["trades"]
        (row,) = stepped.get("/api/v3/tradebook", order_tag="1:told")["tradeBook"]
        assert (trade["id"], trade["id_fill"], trade["qty_traded"]) == (placed["id"], row["tradeNumber"], 10)
        assert frames[3]["positions"]["net_qty"] == 10
        assert stepped.step(ticks=1)["order_events"] == before + 4
        socket.send(json.dumps({"T": "SUB_ORD", "SLIST": ["orders"], "SUB_T": -1}))
        socket.recv(5)
        stepped.place(SBIN, 1, 1)
        assert [next(k for k in json.loads(socket.recv(5)) if k != "s") for _ in range(2)] == ["trades", "positions"]


def test_the_order_socket_checks_who_comes(stepped: Sandbox):
    with pytest.raises(InvalidStatus) as refused:
        with order_socket(stepped, token="SANDBOX001-100:a.b.c"):
            pass
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as missing:
        with client.connect(f"ws://127.0.0.1:{stepped.port}/trade/v9"):
            pass
    assert missing.value.response.status_code == 404


def test_one_user_does_not_hear_of_anothers_orders(sandbox):
    exchange = sandbox("--stepped", "--app", "SECONDAPP1-100:hush:XS00002:50000")
    exchange.step(ticks=3)
    other = exchange.sign_in("SECONDAPP1-100", "hush")
    with order_socket(exchange, token=other) as socket:
        socket.send(json.dumps({"T": "SUB_ORD", "SLIST": ["orders", "trades", "positions"], "SUB_T": 1}))
        socket.recv(5)
        exchange.place(SBIN, 1, 1)
        with pytest.raises(TimeoutError):
            socket.recv(0.3)


def test_sockets_can_be_dropped_and_come_back(stepped: Sandbox):
    feed = Feed(stepped)
    feed.sign_in()
    with order_socket(stepped) as socket:
        assert stepped.http.post(f"{stepped.base}/sandbox/faults", json={"kind": "drop_socket"}).json()["dropped"] == 2
        with pytest.raises(ConnectionClosed):
            socket.recv(5)
        with pytest.raises(ConnectionClosed):
            feed.socket.recv(5)
    again = Feed(stepped)
    assert b"K" in again.sign_in()


def test_a_running_feed_is_coalesced(sandbox):
    exchange = sandbox("--speed", "600")
    exchange.sign_in()
    feed = Feed(exchange)
    feed.sign_in()
    feed.subscribe(TOPIC)
    feed.read()
    began, times = time.monotonic(), []
    while time.monotonic() - began < 1.5:
        feed.read()
        times.append(feed.values[TOPIC][2])
    assert 3 <= len(times) <= 8
    assert times == sorted(set(times)) and times[-1] - times[0] > 300
    feed.socket.close()


async def test_a_client_that_cannot_keep_up_with_its_orders_is_closed_not_shortened():
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["text"])

    connection = OrderConnection(name="orders1", user="XS00001", send=send)
    connection.receive(json.dumps({"T": "SUB_ORD", "SLIST": ["orders"], "SUB_T": 1}))
    for number in range(ORDER_QUEUE - 1):
        connection.tell("orders", str(number))
    assert not connection.overrun.is_set()
    connection.tell("orders", "one too many")
    assert connection.overrun.is_set()
    assert sent == []
