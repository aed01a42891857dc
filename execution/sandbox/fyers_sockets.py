"""The two sockets: prices (binary, coalesced, latest wins) and orders (text, nothing is ever dropped)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Any
from urllib.parse import parse_qsl

from execution.sandbox import fyers_wire as wire
from execution.sandbox.accounts import Position, Trade
from execution.sandbox.exchange import Event, Exchange
from execution.sandbox.faults import REMEMBERED, FaultDeck
from execution.sandbox.fyers_rows import order_frame, position_frame, trade_frame
from execution.sandbox.http import Receive, Scope, Send
from execution.sandbox.kite_ticker import TICKER_PATH, TickerConnection
from execution.sandbox.market import Depth
from execution.sandbox.order_book import Order
from execution.sandbox.tokens import BadToken, TokenDesk

PRICE_PATH, ORDER_PATH = "/hsm/v1-5/prod", "/trade/v3"
FRAME_GAP_S = 0.25  # a price connection gets at most four frames a second
ACK_INTERVAL = 100
ORDER_QUEUE = 10_000
SLOW_S = 5.0  # a client that does not read for so long is closed
MAX_TOPICS = 5_000
GROUPS = {"orders": "orders", "trades": "trades", "positions": "positions"}


class PriceTopics:
    """Field values of topics at the present tick, shared by all connections."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        listings = exchange.market.listings.values()
        self.by_name = {
            self.name(kind, x): (kind, x.symbol) for x in listings for kind in (("if",) if x.is_index else ("sf", "dp"))
        }
        self._cache: dict[tuple[str, str], list[int]] = {}
        self._cached_at: tuple[Any, int] = (None, -2)

    @staticmethod
    def name(kind: str, listing: Any) -> str:
        return f"{kind}|nse_cm|{listing.index_name if kind == 'if' else listing.exchange_token}"

    def values(self, kind: str, symbol: str) -> list[int]:
        now = (self.exchange.market.running.day, self.exchange.tick)
        if now != self._cached_at:
            self._cache.clear()
            self._cached_at = now
        key = (kind, symbol)
        if key not in self._cache:
            self._cache[key] = {"sf": self._share, "if": self._index, "dp": self._depth}[kind](symbol)
        return self._cache[key]

    def _share(self, symbol: str) -> list[int]:
        quote, depth = self.exchange.quote(symbol), self._shown(symbol)
        low, high = self.exchange.market.band(symbol)
        bid, ask = (side[0] if side else None for side in (depth.bids, depth.asks))
        return [
            quote.last,
            wire.fits(quote.volume),
            quote.traded_at,
            quote.traded_at,
            bid.size if bid else 0,
            ask.size if ask else 0,
            bid.price if bid else 0,
            ask.price if ask else 0,
            wire.fits(quote.last_size),
            sum(x.size for x in depth.bids) * 20,
            sum(x.size for x in depth.asks) * 20,
            quote.average,
            wire.ABSENT,
            quote.low,
            quote.high,
            wire.ABSENT,
            wire.ABSENT,
            low,
            high,
            quote.open,
            quote.prev_close,
        ]

    def _index(self, symbol: str) -> list[int]:
        quote = self.exchange.quote(symbol)
        return [quote.last, quote.prev_close, quote.traded_at, quote.high, quote.low, quote.open]

    def _depth(self, symbol: str) -> list[int]:
        depth = self._shown(symbol)
        sides = (depth.bids, depth.asks)
        columns = [[getattr(level, name) for level in side] for name in ("price", "size", "orders") for side in sides]
        return [value for column in columns for value in [*column, 0, 0, 0, 0, 0][:5]]

    def _shown(self, symbol: str) -> Depth:
        return self.exchange.market.depth(symbol, self.exchange.tick)


class PriceConnection:
    """One subscriber of the data socket. A slow one simply gets the latest prices later."""

    def __init__(self, *, name: str, topics: PriceTopics, desk: TokenDesk, send: Send, faults: FaultDeck) -> None:
        self.faults = faults
        self.name = name
        self.topics = topics
        self.desk = desk
        self.send = send
        self.user: str | None = None
        self.frames = 0
        self.wake = asyncio.Event()
        self._ids: dict[str, bytes] = {}
        self._channel: dict[str, int] = {}
        self._sent: dict[str, list[int]] = {}
        self._lite: set[int] = set()
        self._paused: set[int] = set()
        self._lock = asyncio.Lock()

    async def receive(self, data: bytes) -> None:
        """Answer one client frame. ValueError if it cannot be read."""
        frame = wire.read_frame(data)
        if frame.type in (wire.PING, wire.ACK):
            return
        if frame.type == wire.AUTH:
            await self._authenticate(frame.text(1))
        elif self.user is None:
            await self._answer(wire.result(frame.type, ok=False))
        elif frame.type == wire.MODE:
            channels = frame.channels()
            (self._lite.update if frame.text(2) == "L" else self._lite.difference_update)(channels)
            await self._answer(wire.result(wire.MODE, ok=True))
        elif frame.type in (wire.PAUSE, wire.RESUME):
            (self._paused.update if frame.type == wire.PAUSE else self._paused.difference_update)(frame.channels())
            await self._answer(wire.result(frame.type, ok=True))
            self.wake.set()
        elif frame.type == wire.SUBSCRIBE:
            await self._subscribe(frame)
        elif frame.type == wire.UNSUBSCRIBE:
            for topic in frame.topics():
                self._channel.pop(topic, None)
                self._sent.pop(topic, None)
            await self._answer(wire.result(wire.UNSUBSCRIBE, ok=True))

    async def _authenticate(self, key: str) -> None:
        try:
            self.user = self.desk.app_of_hsm_key(key, now=time.time()).user
        except BadToken:
            await self._answer(wire.result(wire.AUTH, ok=False, ack_interval=0))
            return
        await self._answer(wire.result(wire.AUTH, ok=True, ack_interval=ACK_INTERVAL))

    async def _subscribe(self, frame: wire.ControlFrame) -> None:
        channel = frame.fields.get(2, b"\x0b")[0]
        known = [topic for topic in frame.topics() if topic in self.topics.by_name]
        if len(self._channel) + len(known) > MAX_TOPICS:
            await self._answer(wire.result(wire.SUBSCRIBE, ok=False))
            return
        for topic in known:
            self._ids.setdefault(topic, (len(self._ids) + 1).to_bytes(2, "little"))
            self._channel[topic] = channel
            self._sent.pop(topic, None)  # a repeated subscribe gets a fresh snapshot
        await self._answer(wire.result(wire.SUBSCRIBE, ok=True))
        await self.flush()

    async def flush(self) -> None:
        """Send what changed since the last frame; a snapshot first for what is new."""
        if time.time() < self.faults.silent_until:
            return
        async with self._lock:
            items = [item for topic in self._channel if (item := self._item(topic)) is not None]
            if not items:
                return
            for frame in wire.feed_frames(items, first_number=self.frames + 1):
                self.frames += 1
                await self.send({"type": "websocket.send", "bytes": frame})

    def _item(self, topic: str) -> bytes | None:
        channel = self._channel[topic]
        if channel in self._paused:
            return None
        kind, symbol = self.topics.by_name[topic]
        values, before = self.topics.values(kind, symbol), self._sent.get(topic)
        if before is values:
            return None
        self._sent[topic] = values
        if before is None:
            listing = self.topics.exchange.market.listings[symbol]
            short = symbol.split(":", 1)[1]
            return wire.snapshot_item(self._ids[topic], topic, values, token=str(listing.exchange_token), symbol=short)
        if channel in self._lite:
            return wire.lite_item(self._ids[topic], values[0]) if kind != "dp" and values[0] != before[0] else None
        return wire.update_item(self._ids[topic], before, values)

    async def _answer(self, frame: bytes) -> None:
        async with self._lock:
            await self.send({"type": "websocket.send", "bytes": frame})

    async def run(self) -> None:
        """Free-running mode: a frame when prices moved, with a pause between frames."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            await self.flush()
            await asyncio.sleep(FRAME_GAP_S)


class OrderConnection:
    """One subscriber of the order socket. Whoever cannot keep up is closed and must read the books again."""

    def __init__(self, *, name: str, user: str, send: Send) -> None:
        self.name = name
        self.user = user
        self.send = send
        self.events = 0
        self.queue: asyncio.Queue[str] = asyncio.Queue(ORDER_QUEUE)
        self.wanted: set[str] = set()
        self.overrun = asyncio.Event()

    def receive(self, text: str) -> None:
        if text == "ping":
            self.put("pong")
            return
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict) or message.get("T") != "SUB_ORD":
            self.put(json.dumps({"s": "error", "code": -50, "message": "unknown message"}))
            return
        names = {
            str(name)
            for entry in message.get("SLIST") or []
            for name in (entry if isinstance(entry, list) else [entry])
        }
        if message.get("SUB_T") == -1:
            self.wanted -= names
        else:
            self.wanted |= names
        self.put(json.dumps({"code": 1605, "message": "Successfully subscribed", "s": "ok"}, separators=(",", ":")))

    def tell(self, kind: str, text: str) -> None:
        if kind in self.wanted:
            self.events += 1
            self.put(text)

    def put(self, text: str) -> None:
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.overrun.set()

    async def run(self) -> None:
        while True:
            text = await self.queue.get()
            try:
                await self.send({"type": "websocket.send", "text": text})
            finally:
                self.queue.task_done()


class Sockets:
    """All connections. `publish` is what the exchange calls with events that are safely on the disk."""

    def __init__(self, *, exchange: Exchange, desk: TokenDesk) -> None:
        self.exchange = exchange
        self.desk = desk
        self.topics = PriceTopics(exchange)
        self.prices: dict[str, PriceConnection] = {}
        self.orders: dict[str, OrderConnection] = {}
        self.tickers: dict[str, TickerConnection] = {}
        self.order_events = 0
        self.faults = FaultDeck()
        self._transports: dict[str, Any] = {}
        self._number = 0
        self._held: dict[str, list[tuple[str, str]]] = {}
        self._recent: deque[tuple[str, str, str]] = deque(maxlen=REMEMBERED)

    def publish(self, events: list[Event]) -> None:
        listings = self.exchange.market.listings
        for event in events:
            subject = event.subject
            listing = listings[subject.symbol]
            if isinstance(subject, Order):
                frame = order_frame(subject, listing)
            elif isinstance(subject, Trade):
                frame = trade_frame(subject, listing)
            else:
                assert isinstance(subject, Position)
                frame = position_frame(subject, listing, self.exchange.quote(subject.symbol).last)
            text = json.dumps(frame, separators=(",", ":"))
            self._recent.append((event.user, event.kind, text))
            for kind, told in self._spoilt(event.user, event.kind, text):
                self._tell(event.user, kind, told)
            if isinstance(subject, Order) and not self.is_silent:
                listening = [ticker for ticker in self.tickers.values() if ticker.user == event.user]
                for ticker in listening:
                    ticker.tell(subject)
                self.order_events += bool(listening)  # a client has several connections, and needs one of them

    def _tell(self, user: str, kind: str, text: str) -> None:
        if time.time() < self.faults.silent_until:
            return
        for connection in self.orders.values():
            if connection.user == user:
                before = connection.events
                connection.tell(kind, text)
                self.order_events += connection.events - before

    def _spoilt(self, user: str, kind: str, text: str) -> list[tuple[str, str]]:
        """What really leaves in place of one frame: nothing, it twice, or it after the next."""
        fired = {rule.kind for rule in self.faults.at("frame")}
        late = self._held.pop(user, [])
        if "late_frame" in fired and not late:
            self._held[user] = [(kind, text)]
            return []
        frames = [] if "lost_frame" in fired else [(kind, text)]
        return [*(frames * 2 if "doubled_frame" in fired else frames), *late]

    def say_again(self, count: int) -> int:
        """Send the last frames once more, as some brokers do after a reconnect."""
        again = list(self._recent)[-count:] if count else []
        for user, kind, text in again:
            self._tell(user, kind, text)
        return len(again)

    @property
    def is_silent(self) -> bool:
        return time.time() < self.faults.silent_until

    def prices_moved(self) -> None:
        streams: list[PriceConnection | TickerConnection] = [*self.prices.values(), *self.tickers.values()]
        for connection in streams:
            connection.wake.set()

    async def hand_over(self) -> None:
        """Stepped mode: return when every frame of this step is with the transports; who does not read is closed."""
        prices: dict[str, PriceConnection | TickerConnection] = {**self.prices, **self.tickers}
        for name, price in prices.items():
            try:
                await asyncio.wait_for(price.flush(), SLOW_S)
            except (TimeoutError, OSError):
                self._abort(name)
        orders: dict[str, OrderConnection | TickerConnection] = {**self.orders, **self.tickers}
        for name, order in orders.items():
            try:
                await asyncio.wait_for(order.queue.join(), SLOW_S)
            except (TimeoutError, OSError):
                self._abort(name)

    def drop_all(self) -> int:
        """Cut every connection without a closing handshake."""
        names = list(self._transports)
        for name in names:
            self._abort(name)
        return len(names)

    def _abort(self, name: str) -> None:
        transport = self._transports.get(name)
        if transport is not None:
            transport.abort()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        await receive()  # websocket.connect
        if path == PRICE_PATH:
            await self._serve_prices(receive, send)
        elif path == ORDER_PATH:
            await self._serve_orders(scope, receive, send)
        elif path == TICKER_PATH:
            await self._serve_ticker(scope, receive, send)
        else:
            await send(
                {
                    "type": "websocket.http.response.start",
                    "status": 404,
                    "headers": [(b"content-type", b"application/json")],
                }
            )
            await send(
                {"type": "websocket.http.response.body", "body": b'{"s":"error","code":404,"message":"no such path"}'}
            )

    def _name(self, kind: str, send: Send) -> str:
        self._number += 1
        name = f"{kind}{self._number}"
        self._transports[name] = transport_of(send)
        return name

    async def _serve_prices(self, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        name = self._name("prices", send)
        connection = self.prices[name] = PriceConnection(
            name=name, topics=self.topics, desk=self.desk, send=send, faults=self.faults
        )
        runner = asyncio.create_task(connection.run()) if not self.exchange.clock.stepped else None
        try:
            while (message := await receive())["type"] == "websocket.receive":
                data = message.get("bytes")
                if data is not None and not self.is_silent:
                    await connection.receive(data)
        except ValueError:
            await send({"type": "websocket.close", "code": 1003, "reason": "unreadable frame"})
        finally:
            del self.prices[name], self._transports[name]
            await _stop(runner)

    async def _serve_orders(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = next(
            (value.decode("latin-1") for key, value in scope["headers"] if key.lower() == b"authorization"), ""
        )
        try:
            app = self.desk.app_of_header(header, now=time.time())
        except BadToken:
            await send({"type": "websocket.close"})  # before accept: the handshake is answered 403
            return
        await send({"type": "websocket.accept"})
        name = self._name("orders", send)
        connection = self.orders[name] = OrderConnection(name=name, user=app.user, send=send)
        runner = asyncio.create_task(connection.run())
        overrun = asyncio.create_task(self._close_overrun(connection, name))
        try:
            while (message := await receive())["type"] == "websocket.receive":
                if not self.is_silent:
                    connection.receive(message.get("text") or "")
        finally:
            del self.orders[name], self._transports[name]
            await _stop(runner)
            await _stop(overrun)

    async def _serve_ticker(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        header = f"{query.get('api_key', '')}:{query.get('access_token', '')}"
        try:
            app = self.desk.app_of_header(header, now=time.time())
        except BadToken:
            await send({"type": "websocket.close"})  # before accept: the handshake is answered 403
            return
        await send({"type": "websocket.accept"})
        name = self._name("ticker", send)
        connection = TickerConnection(name=name, user=app.user, exchange=self.exchange, send=send)
        self.tickers[name] = connection
        stepped = self.exchange.clock.stepped
        tasks = [
            asyncio.create_task(connection.run_messages()),
            asyncio.create_task(self._close_overrun(connection, name)),
            *([] if stepped else [asyncio.create_task(connection.run_prices())]),
        ]
        try:
            while (message := await receive())["type"] == "websocket.receive":
                connection.receive(message.get("text") or "")
        finally:
            del self.tickers[name], self._transports[name]
            for task in tasks:
                await _stop(task)

    async def _close_overrun(self, connection: OrderConnection | TickerConnection, name: str) -> None:
        await connection.overrun.wait()
        self._abort(name)


def transport_of(send: Send) -> Any:
    """The TCP transport behind an ASGI channel of the server in use: its protocol object owns `send`."""
    return getattr(send, "__self__").transport  # noqa: B009


async def _stop(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await task
