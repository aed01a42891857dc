"""A loopback relay before the sandbox that notes when the first byte of an order arrives.

`python tests/bench/stamping_proxy.py <upstream port>` prints its own port, then for each placement one line with
`time.monotonic_ns()`: all processes of a machine share that clock. Sockets and every other call pass untouched.
"""

import asyncio
import sys
import time

import uvloop

ORDER = b"POST /api/v3/orders"


class Upstream(asyncio.Protocol):
    def __init__(self, client: asyncio.Transport) -> None:
        self.client = client

    def data_received(self, data: bytes) -> None:
        self.client.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.client.close()


class Client(asyncio.Protocol):
    def __init__(self, port: int) -> None:
        self.port = port
        self.waiting: list[bytes] = []
        self.up: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.opening = asyncio.ensure_future(self.open())

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        up, _ = await loop.create_connection(lambda: Upstream(self.transport), "127.0.0.1", self.port)
        self.up = up  # type: ignore[assignment]
        up.write(b"".join(self.waiting))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if data.startswith(ORDER):
            at = time.monotonic_ns()
            print(at, flush=True)
        if self.up is None:
            self.waiting.append(data)
        else:
            self.up.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.up is not None:
            self.up.close()


async def main(upstream: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Client(upstream), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
