"""What happens to our orders, told as it happens: the text messages of the ticker's connection.

Kite tells an order's filled quantity but not its single fills; they are asked for as soon as a message says that
something traded. Source: Kite Connect v3, websocket streaming and orders.
"""

import json
import logging
import queue
import threading
from collections.abc import Callable
from decimal import Decimal

from websockets.sync.client import ClientConnection

from execution.brokers import fields
from execution.brokers.errors import BrokerError, UnexpectedReply
from execution.brokers.kite import mapping
from execution.brokers.kite.credentials import Credentials
from execution.brokers.kite.endpoints import Endpoints
from execution.brokers.kite.gateway import KiteGateway
from execution.brokers.port import BookOrder, BrokerPosition
from execution.brokers.socket_loop import USUAL_PACE, LineGuard, OnState, Pace, StayingSocket, from_venue
from trading.domain.fills import FillFact

logger = logging.getLogger(__name__)


class KiteOrderSocket(StayingSocket):
    """Orders and fills of one account. The venue's heartbeat keeps the line alive; silence means it is dead.

    A message that cannot be read ends the connection: what it said is then found in the books, which whoever hears
    "disconnected" and "connected" reads again. Fills that cannot be asked for now are found there too.
    """

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        credentials: Credentials,
        gateway: KiteGateway,
        on_order: Callable[[BookOrder], None],
        on_fill: Callable[[FillFact], None],
        on_position: Callable[[BrokerPosition], None],
        on_state: OnState,
        pace: Pace = USUAL_PACE,
        guard: LineGuard | None = None,
    ) -> None:
        super().__init__(url=credentials.socket_url(endpoints.socket), on_state=on_state, pace=pace, guard=guard)
        self._gateway = gateway
        self._on_order = on_order
        self._on_fill = on_fill
        self._on_position = on_position
        self._let_in = False
        self._filled: dict[str, int] = {}
        self._to_ask: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def run(self, stop: threading.Event) -> None:
        asker = threading.Thread(target=self._ask_for_fills, name="kite-fills", daemon=True)
        asker.start()
        try:
            super().run(stop)
        finally:
            self._to_ask.put(None)
            asker.join(timeout=10.0)

    def prepare(self) -> dict[str, str]:
        self._let_in = False
        return {}

    def tend(self, socket: ClientConnection) -> None:
        if not self._let_in:
            self._let_in = True
            self.accepted()

    def hear(self, socket: ClientConnection, message: str | bytes) -> None:
        if isinstance(message, bytes):
            return  # prices and heartbeats: the price socket's business
        said = from_venue(lambda: _parse(message))
        if said.get("type") != "order":
            return
        order = from_venue(lambda: mapping.read_order(fields.row(said.get("data"), "order")))
        self._on_order(order)
        if order.filled_quantity > self._filled.get(order.broker_order_id, 0):
            self._filled[order.broker_order_id] = order.filled_quantity
            self._to_ask.put(order.broker_order_id)

    def _ask_for_fills(self) -> None:
        """One order at a time. What cannot be had now is left to the reading of the books."""
        while (broker_order_id := self._to_ask.get()) is not None:
            try:
                fills = self._gateway.trades_of(broker_order_id)
                moved = {fill.symbol for fill in fills}
                positions = [one for one in self._gateway.positions() if one.symbol in moved]
            except BrokerError as error:
                logger.warning("fills of an order could not be asked for: %s", error.code)
                continue
            for fill in fills:
                self._on_fill(fill)
            for position in positions:
                self._on_position(position)


def _parse(message: str) -> fields.Row:
    try:
        found = json.loads(message, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise UnexpectedReply("order messages: not JSON.") from None
    return fields.row(found, "order message")
