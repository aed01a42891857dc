"""Kite's one socket: prices in binary frames (latest wins), orders in text (nothing is ever dropped)."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from execution.sandbox.exchange import Exchange
from execution.sandbox.http import Send
from execution.sandbox.kite_rows import order_row, token_of
from execution.sandbox.order_book import Order
from execution.sandbox.universe import Listing

TICKER_PATH = "/"
FRAME_GAP_S = 0.25
HEARTBEAT_S = 1.0
HEARTBEAT = b"\x00"
MAX_TOKENS = 3_000
MODES = ("ltp", "quote", "full")
MESSAGE_QUEUE = 10_000
_LEVEL = struct.Struct(">IIHxx")


class TickerConnection:
    """One subscriber. A slow one gets the latest prices later; one that does not take its orders is closed."""

    def __init__(self, *, name: str, user: str, exchange: Exchange, send: Send) -> None:
        self.name = name
        self.user = user
        self.exchange = exchange
        self.send = send
        self.frames = 0
        self.events = 0
        self.wake = asyncio.Event()
        self.overrun = asyncio.Event()
        self.queue: asyncio.Queue[str] = asyncio.Queue(MESSAGE_QUEUE)
        self._listings = {token_of(one): one for one in exchange.market.listings.values()}
        self._modes: dict[int, str] = {}
        self._sent: dict[int, bytes] = {}
        self._lock = asyncio.Lock()

    def receive(self, text: str) -> None:
        """Subscribe, unsubscribe, change the mode. What cannot be read is answered with an error."""
        try:
            said = json.loads(text)
            act, value = said["a"], said["v"]
            mode, tokens = value if act == "mode" else ("quote", value)
            known = [token for token in tokens if token in self._listings]
        except (ValueError, KeyError, TypeError):
            self.put(json.dumps({"type": "error", "data": "Invalid message."}))
            return
        if act == "unsubscribe":
            for token in known:
                self._modes.pop(token, None)
                self._sent.pop(token, None)
        elif act in ("subscribe", "mode") and mode in MODES:
            if len(self._modes.keys() | set(known)) > MAX_TOKENS:
                self.put(json.dumps({"type": "error", "data": "Too many instruments."}))
                return
            self._modes |= dict.fromkeys(known, mode)
            for token in known:
                self._sent.pop(token, None)
            self.wake.set()
        else:
            self.put(json.dumps({"type": "error", "data": "Invalid message."}))

    def tell(self, order: Order) -> None:
        """Something happened to an order of this user."""
        row = order_row(order, self.exchange.market.listings[order.symbol])
        row |= {"user_id": order.user, "unfilled_quantity": order.remaining}
        self.events += 1
        self.put(json.dumps({"type": "order", "data": row}, separators=(",", ":")))

    def put(self, text: str) -> None:
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.overrun.set()

    async def flush(self) -> None:
        """Send what changed since the last frame."""
        async with self._lock:
            packets = []
            for token, mode in self._modes.items():
                body = self._packet(token, self._listings[token], mode)
                if self._sent.get(token) != body:
                    self._sent[token] = body
                    packets.append(len(body).to_bytes(2, "big") + body)
            if packets:
                self.frames += 1
                frame = len(packets).to_bytes(2, "big") + b"".join(packets)
                await self.send({"type": "websocket.send", "bytes": frame})

    async def run_prices(self) -> None:
        """Free-running mode: a frame when prices moved, a heartbeat when nothing did."""
        while True:
            try:
                await asyncio.wait_for(self.wake.wait(), HEARTBEAT_S)
            except TimeoutError:
                async with self._lock:
                    await self.send({"type": "websocket.send", "bytes": HEARTBEAT})
                continue
            self.wake.clear()
            await self.flush()
            await asyncio.sleep(FRAME_GAP_S)

    async def run_messages(self) -> None:
        while True:
            text = await self.queue.get()
            try:
                await self.send({"type": "websocket.send", "text": text})
            finally:
                self.queue.task_done()

    def _packet(self, token: int, listing: Listing, mode: str) -> bytes:
        quote = self.exchange.quote(listing.symbol)
        if mode == "ltp":
            return struct.pack(">2I", token, quote.last)
        if listing.is_index:
            body = struct.pack(
                ">7I", token, quote.last, quote.high, quote.low, quote.open, quote.prev_close,
                abs(quote.last - quote.prev_close),
            )  # fmt: skip
            return body + struct.pack(">I", quote.traded_at) if mode == "full" else body
        depth = self.exchange.market.depth(listing.symbol, self.exchange.tick)
        body = struct.pack(
            ">11I", token, quote.last, _fits(quote.last_size), quote.average, _fits(quote.volume),
            sum(level.size for level in depth.bids) * 20, sum(level.size for level in depth.asks) * 20, quote.open,
            quote.high, quote.low, quote.prev_close,
        )  # fmt: skip
        if mode == "quote":
            return body
        levels: list[Any] = [[*side, *[None] * (5 - len(side))] for side in (depth.bids, depth.asks)]
        shown = b"".join(
            _LEVEL.pack(*((level.size, level.price, level.orders) if level else (0, 0, 0)))
            for side in levels
            for level in side
        )
        return body + struct.pack(">5I", quote.traded_at, 0, 0, 0, quote.traded_at) + shown


def _fits(number: int) -> int:
    return min(number, 2**32 - 1)
