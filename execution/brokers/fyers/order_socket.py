"""What happens to our orders, told as it happens. Text frames; source: FYERS API v3, order socket."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from websockets.sync.client import ClientConnection

from execution.brokers import fields
from execution.brokers.errors import AuthError, UnexpectedReply
from execution.brokers.fyers import mapping
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.port import BookOrder, BrokerPosition
from execution.brokers.socket_loop import USUAL_PACE, LineGuard, OnState, Pace, StayingSocket, from_venue
from trading.domain.fills import FillFact

SUBSCRIBED = 1605
_SUBSCRIBE = '{"T":"SUB_ORD","SLIST":["orders","trades","positions"],"SUB_T":1}'

Report = BookOrder | FillFact | BrokerPosition | None


class OrderSocket(StayingSocket):
    """Orders, fills and positions of one account. The server answers our pings, so silence means a dead line.

    A frame that cannot be read ends the connection: what it said is then found in the books, which whoever hears
    "disconnected" and "connected" reads again.
    """

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        credentials: Credentials,
        on_order: Callable[[BookOrder], None],
        on_fill: Callable[[FillFact], None],
        on_position: Callable[[BrokerPosition], None],
        on_state: OnState,
        pace: Pace = USUAL_PACE,
        guard: LineGuard | None = None,
    ) -> None:
        super().__init__(url=endpoints.order_socket, on_state=on_state, pace=pace, guard=guard)
        self._credentials = credentials
        self._on_order = on_order
        self._on_fill = on_fill
        self._on_position = on_position

    def prepare(self) -> dict[str, str]:
        return {"authorization": self._credentials.header}

    def greet(self, socket: ClientConnection) -> None:
        socket.send("ping")
        socket.send(_SUBSCRIBE)

    def ping(self, socket: ClientConnection) -> None:
        socket.send("ping")

    def hear(self, socket: ClientConnection, message: str | bytes) -> None:
        if message == "pong":
            return
        said = from_venue(lambda: _parse(message))
        if said.get("code") == SUBSCRIBED:
            self.accepted()
            return
        report = from_venue(lambda: read_report(said))
        match report:
            case BookOrder():
                self._on_order(report)
            case FillFact():
                self._on_fill(report)
            case BrokerPosition():
                self._on_position(report)


def _parse(message: str | bytes) -> fields.Row:
    try:
        found = json.loads(message, parse_float=Decimal)
    except (ValueError, RecursionError):
        found = None
    return fields.row(found, "order socket")


def read_report(said: dict[str, Any] | fields.Row) -> Report:
    """One frame: an order, a fill, a position, or None for what is none of these (alerts, logins)."""
    if said.get("s") == "error":
        code, words = said.get("code"), str(said.get("message", ""))
        if code in mapping.AUTH_CODES:
            raise AuthError("AUTH", words)
        raise UnexpectedReply(f"order socket: {words or code}")
    for key, read in (
        ("orders", mapping.read_order),
        ("positions", mapping.read_position),
        ("trades", mapping.read_fill),
    ):
        if key in said:
            return read(fields.row(said[key], key))
    return None
