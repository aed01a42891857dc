"""From the press of the kill switch to the last new order on the wire, while two hundred orders a second leave."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.bench.harness import Figure, Run, bench, percentile

PER_SECOND = 200
SENDERS = 6
ORDERS = 120
PRESS_AFTER_S = 0.15


class Wire:
    """A broker on loopback that takes every order and remembers when its request arrived."""

    def __init__(self) -> None:
        arrived = self.arrived = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                arrived.append(time.monotonic())
                self.rfile.read(int(self.headers.get("content-length", 0)))
                body = b'{"s": "ok", "code": 1101, "id": "%d"}' % len(arrived)
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: a line for each order would be measured too."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/orders"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()


@bench
def kill_switch(run: Run) -> Iterator[Figure]:
    """Press to the last order on the wire, under load."""
    from django.db import connection

    from risk.kill_switch import DESK, rearm
    from tests.factories import PortfolioFactory
    from tests.small_desk import hold_lease

    portfolio = PortfolioFactory()
    hold_lease(portfolio.account)
    wire = Wire()
    late_ms, left_over = [], 0
    try:
        for _ in range(run.rounds(40)):
            orders = _queued(portfolio)
            wire.arrived.clear()
            pressed, committed = _round(orders, wire)
            late_ms.append(max([0.0, *(1000 * (at - pressed) for at in wire.arrived)]))
            left_over += sum(1 for at in wire.arrived if at > committed + 0.25)
            rearm(scope=DESK, reason="the next round", actor="bench")
    finally:
        wire.close()
        connection.close()
    yield Figure("kill switch: press to the last order on the wire, median", percentile(late_ms, 0.5), "ms")
    yield Figure("kill switch: press to the last order on the wire, p99", percentile(late_ms, 0.99), "ms")
    yield Figure("kill switch: orders later than 250 ms after it", float(left_over), "orders")


def _queued(portfolio) -> list[int]:
    """Entries that wait, in instruments of their own."""
    from django.utils import timezone

    from execution.states import OrderState
    from risk.kill_switch import kill_state, scope_keys
    from tests.factories import GroupFactory, IntentFactory, OrderFactory

    epoch = kill_state(scope_keys(portfolio)).epoch
    rows = []
    for _ in range(ORDERS):
        order = OrderFactory(
            intent=IntentFactory(group=GroupFactory(portfolio=portfolio)), state=OrderState.QUEUED,
            broker_order_id=None, kill_epoch=epoch, valid_until=timezone.now() + timedelta(minutes=5),
        )  # fmt: skip
        rows.append(order.pk)
    return rows


def _round(orders: list[int], wire: Wire) -> tuple[float, float]:
    """Send them at their rate, press in the middle; when it was pressed and when that was committed."""
    from django.db import connection
    from django.utils import timezone

    from execution.services.kill_switch_pull import kill_switch_pull
    from execution.services.order_submit import order_submit
    from risk.kill_switch import DESK

    started = time.monotonic()
    stop = threading.Event()

    def send(number: int) -> None:
        gateway = _Gateway(wire.address)
        for place in range(number, len(orders), SENDERS):
            due = started + place / PER_SECOND
            if stop.wait(max(0.0, due - time.monotonic())):
                break
            order_submit(order_id=orders[place], gateway=gateway, fence=1)
        gateway.close()
        connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    time.sleep(PRESS_AFTER_S)
    pressed = time.monotonic()
    kill_switch_pull(scope=DESK, level=2, reason="bench", actor="bench", now=timezone.now())
    committed = time.monotonic()
    for thread in threads:
        thread.join()
    return pressed, committed


class _Gateway:
    """The part of a gateway that places: one warm connection, one request an order."""

    def __init__(self, address: str) -> None:
        from execution.brokers.http import HttpClient

        self._address = address
        self._http = HttpClient()

    def place(self, request, *, klass):
        from execution.brokers.port import Acknowledged

        reply = self._http.send_once("POST", self._address, request.client_order_id.encode(), klass=klass)
        return Acknowledged(f"K{request.client_order_id}-{reply.status}")

    def close(self) -> None:
        self._http.close()
