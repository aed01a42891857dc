"""A broker on loopback that costs next to nothing: it takes orders of the FYERS dialect, keeps them in its book, tells
the order socket of them, and stamps the first byte of each placement.

`python tests/bench/broker_stub.py <sandbox port>` prints its own port, then for each placement one line with
`time.monotonic_ns()`: all processes of a machine share that clock. Orders rest until they are cancelled; nothing is
matched. Whatever is not about orders (sign-in, prices, masters, funds) is the sandbox's to answer, through a tunnel.
"""

import asyncio
import base64
import hashlib
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop

ORDERS, BOOK, TRADES, STREAM = b"/api/v3/orders/sync", b"/api/v3/orders", b"/api/v3/tradebook", b"/trade/v3"
MINE = frozenset({ORDERS, BOOK, TRADES, STREAM})
PENDING, CANCELLED = 6, 1
IST = timedelta(hours=5, minutes=30)
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
SUBSCRIBED = b'{"code":1605,"message":"Successfully subscribed","s":"ok"}'


class Street:
    """All that the broker knows: orders and listeners of each account, by its app."""

    def __init__(self) -> None:
        self.orders: dict[bytes, dict[str, dict[str, Any]]] = {}
        self.listeners: dict[bytes, set[Client]] = {}
        self._number = 0

    def place(self, app: bytes, body: dict[str, Any]) -> bytes:
        self._number += 1
        number = f"26{self._number:012}"
        order = self.orders.setdefault(app, {})[number] = {**body, "id": number, "status": PENDING, "at": _now()}
        asyncio.get_running_loop().call_soon(self.tell, app, order)  # the answer is first on the line
        said = f"Order submitted successfully. Your Order Ref. No.{number}"
        return json.dumps({"s": "ok", "code": 1101, "message": said, "id": number}).encode()

    def change(self, app: bytes, method: bytes, body: dict[str, Any]) -> bytes:
        order = self.orders.get(app, {}).get(body["id"])
        if order is None or order["status"] != PENDING:
            return b'{"s":"error","code":-51,"message":"invalid order id"}'
        order |= {"status": CANCELLED} if method == b"DELETE" else body
        order["at"] = _now()
        self.tell(app, order)
        return json.dumps({"s": "ok", "code": 1103, "message": "Done", "id": order["id"]}).encode()

    def book(self, app: bytes) -> bytes:
        rows = [_row(order) for order in self.orders.get(app, {}).values()]
        return json.dumps({"s": "ok", "code": 200, "message": "", "orderBook": rows}).encode()

    def tell(self, app: bytes, order: dict[str, Any]) -> None:
        listening = self.listeners.get(app)
        if listening:
            frame = _frame(TEXT, json.dumps({"s": "ok", "orders": _told(order)}).encode())
            for client in listening:
                client.transport.write(frame)


def _now() -> str:
    return f"{datetime.now(UTC) + IST:%d-%b-%Y %H:%M:%S}"


def _row(order: dict[str, Any]) -> dict[str, Any]:
    """One element of `orderBook`, as far as anybody reads it."""
    left = order["qty"] if order["status"] == PENDING else 0
    return {
        "id": order["id"], "qty": order["qty"], "filledQty": 0, "remainingQuantity": left, "tradedPrice": 0,
        "limitPrice": order["limitPrice"], "stopPrice": order["stopPrice"], "type": order["type"],
        "side": order["side"], "symbol": order["symbol"], "productType": order["productType"],
        "status": order["status"], "orderDateTime": order["at"], "orderTag": f"1:{order['orderTag']}", "message": "",
        "orderNumStatus": f"{order['id']}:{order['status']}", "source": "API",
    }  # fmt: skip


def _told(order: dict[str, Any]) -> dict[str, Any]:
    """The same in the words of the order socket."""
    left = order["qty"] if order["status"] == PENDING else 0
    return {
        "id": order["id"], "qty": order["qty"], "qty_filled": 0, "qty_remaining": left, "price_traded": 0,
        "price_limit": order["limitPrice"], "price_stop": order["stopPrice"], "ord_type": order["type"],
        "tran_side": order["side"], "symbol": order["symbol"], "product_type": order["productType"],
        "org_ord_status": order["status"], "time_oms": order["at"], "ordertag": f"1:{order['orderTag']}",
        "oms_msg": "", "ord_source": "API",
    }  # fmt: skip


def _frame(kind: int, data: bytes) -> bytes:
    """One unmasked frame of a server."""
    size = len(data)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2)
    return bytes([0x80 | kind]) + length + data


class Client(asyncio.Protocol):
    """One connection. It asks, is answered, and asks again; or it has become a socket."""

    transport: asyncio.Transport

    def __init__(self, street: Street, port: int) -> None:
        self.street, self.port = street, port
        self.app = b""
        self.asked = b""
        self.hears = False  # a listener of the order socket
        self.tunnel: Tunnel | None = None
        self.through = False  # everything is the sandbox's from now on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        if self.hears:
            self.street.listeners[self.app].discard(self)
        if self.tunnel is not None:
            self.tunnel.close()

    def data_received(self, data: bytes) -> None:
        if self.through:
            assert self.tunnel is not None
            self.tunnel.send(data)
            return
        if not self.asked and data.startswith(b"POST " + ORDERS):
            os.write(1, b"%d\n" % time.monotonic_ns())
        self.asked += data
        if self.hears:
            self.hear()
            return
        head, found, body = self.asked.partition(b"\r\n\r\n")
        if not found:
            return
        words, *lines = head.split(b"\r\n")
        method, target, _ = words.split(b" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if len(body) < int(headers.get(b"content-length", 0)):
            return
        whole, self.asked = self.asked, b""
        self.app = headers.get(b"authorization", b"").partition(b":")[0]
        path = target.partition(b"?")[0]
        if path in MINE:
            self.answer(method, path, headers, body)
        else:
            self.through = b"upgrade" in headers
            self.tunnel = self.tunnel or Tunnel(self)
            self.tunnel.send(whole)

    def answer(self, method: bytes, path: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
        if path == STREAM:
            self.become_listener(headers[b"sec-websocket-key"])
            return
        if path == BOOK:
            said = self.street.book(self.app)
        elif path == TRADES:
            said = b'{"s":"ok","code":200,"message":"","tradeBook":[]}'
        elif method == b"POST":
            said = self.street.place(self.app, json.loads(body))
        else:
            said = self.street.change(self.app, method, json.loads(body))
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(said)
        self.transport.write(head + said)

    # -- the order socket --------------------------------------------------------------------------------------------

    def become_listener(self, key: bytes) -> None:
        proof = base64.b64encode(hashlib.sha1(key + WEBSOCKET).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: " + proof + b"\r\n\r\n"
        )
        self.hears = True
        self.street.listeners.setdefault(self.app, set()).add(self)

    def hear(self) -> None:
        """Frames of a client: masked and short."""
        while len(self.asked) >= 6:
            kind, size, start = self.asked[0] & 15, self.asked[1] & 127, 6
            if size == 126:
                size, start = int.from_bytes(self.asked[2:4]), 8
            if len(self.asked) < start + size:
                return
            mask, data = self.asked[start - 4 : start], self.asked[start : start + size]
            self.asked = self.asked[start + size :]
            text = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
            if kind == CLOSE:
                self.transport.write(_frame(CLOSE, text))
                self.transport.close()
            elif kind == PING:
                self.transport.write(_frame(PONG, text))
            elif kind == TEXT:
                self.transport.write(_frame(TEXT, b"pong" if text == b"ping" else SUBSCRIBED))


class Tunnel(asyncio.Protocol):
    """A connection's line to the sandbox, opened when it is needed, and again when the sandbox has hung up."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.up: asyncio.Transport | None = None
        self.waiting: list[bytes] = []
        self.opening: asyncio.Task[Any] | None = None

    def send(self, data: bytes) -> None:
        if self.up is not None:
            self.up.write(data)
            return
        self.waiting.append(data)
        if self.opening is None:
            loop = asyncio.get_running_loop()
            self.opening = loop.create_task(
                loop.create_connection(lambda: self, "127.0.0.1", self.client.port)  # type: ignore[arg-type, return-value]
            )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.up = transport  # type: ignore[assignment]
        transport.write(b"".join(self.waiting))  # type: ignore[attr-defined]
        self.waiting.clear()

    def data_received(self, data: bytes) -> None:
        self.client.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.up = self.opening = None
        if self.client.through:
            self.client.transport.close()

    def close(self) -> None:
        if self.up is not None:
            self.up.close()


async def main(sandbox: int) -> None:
    street = Street()
    server = await asyncio.get_running_loop().create_server(lambda: Client(street, sandbox), "127.0.0.1", 0)
    os.write(1, b"%d\n" % server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
