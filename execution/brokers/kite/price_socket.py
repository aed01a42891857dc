"""Prices as they change, from the ticker. Source: Kite Connect v3, websocket streaming."""

import threading
from collections.abc import Callable, Iterable

from websockets.sync.client import ClientConnection

from execution.brokers.errors import BusinessError, TransientError
from execution.brokers.kite import ticker_frames
from execution.brokers.kite.credentials import Credentials
from execution.brokers.kite.endpoints import Endpoints
from execution.brokers.kite.gateway import KiteGateway
from execution.brokers.kite.ticker_frames import Packet
from execution.brokers.port import Tick
from execution.brokers.socket_loop import USUAL_PACE, LineGuard, OnState, Pace, StayingSocket, from_venue

SYMBOL_LIMIT = 3000
PER_MESSAGE = 500


class KitePriceSocket(StayingSocket):
    """Last prices of a changing set of symbols. Say what you want with `watch`, at any time, from any thread.

    `on_ticks` gets the ticks of each frame together, from the socket's thread: be quick. `on_refused` hears of symbols
    that the venue does not list. The venue sends a heartbeat about every second, so silence is a dead line. The
    address holds the token: nothing here may show it.
    """

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        credentials: Credentials,
        gateway: KiteGateway,
        on_ticks: Callable[[list[Tick]], None],
        on_state: OnState,
        on_refused: Callable[[list[str]], None] = lambda symbols: None,
        symbols: Iterable[str] = (),
        pace: Pace = USUAL_PACE,
        guard: LineGuard | None = None,
    ) -> None:
        super().__init__(url=credentials.socket_url(endpoints.socket), on_state=on_state, pace=pace, guard=guard)
        self._gateway = gateway
        self._on_ticks = on_ticks
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._wanted: frozenset[str] = frozenset()
        self._let_in = False
        self._followed: frozenset[str] = frozenset()
        self._symbols: dict[int, str] = {}
        self.heard = 0  # frames taken in, for whoever keeps step with the venue
        self.watch(symbols)

    def watch(self, symbols: Iterable[str]) -> None:
        """From now on exactly these. ValueError above the venue's limit."""
        wanted = frozenset(symbols)
        if len(wanted) > SYMBOL_LIMIT:
            raise ValueError(f"{len(wanted)} symbols; the venue allows {SYMBOL_LIMIT}")
        with self._lock:
            self._wanted = wanted

    def prepare(self) -> dict[str, str]:
        self._let_in, self._followed, self._symbols = False, frozenset(), {}
        return {}

    def hear(self, socket: ClientConnection, message: str | bytes) -> None:
        if isinstance(message, str):
            return  # orders and notices: the order socket's business
        packets = from_venue(lambda: ticker_frames.read_frame(message))
        ticks = [_tick(self._symbols[one.token], one) for one in packets if one.token in self._symbols]
        self.heard += 1
        if ticks:
            self._on_ticks(ticks)

    def tend(self, socket: ClientConnection) -> None:
        """A handshake that succeeds has let us in; subscriptions follow what is wanted."""
        with self._lock:
            wanted = self._wanted
        if not self._let_in or wanted != self._followed:
            self._follow(socket, wanted)
        if not self._let_in:
            self._let_in = True
            self.accepted()

    def _follow(self, socket: ClientConnection, wanted: frozenset[str]) -> None:
        found, refused = from_venue(lambda: self._resolve(wanted))
        gone = [token for token in self._symbols if token not in found]
        new = [token for token in found if token not in self._symbols]
        self._symbols = found
        from_venue(lambda: _say(socket, gone, new))
        self._followed = wanted
        if refused:
            self._on_refused(refused)

    def _resolve(self, wanted: frozenset[str]) -> tuple[dict[int, str], list[str]]:
        found: dict[int, str] = {}
        refused: list[str] = []
        for symbol in sorted(wanted):
            try:
                found[self._gateway.token_of(symbol)] = symbol
            except BusinessError as error:
                if error.code != "UNKNOWN_SYMBOL":
                    raise TransientError(error.code, error.message) from None
                refused.append(symbol)
        return found, refused


def _say(socket: ClientConnection, gone: list[int], new: list[int]) -> None:
    for at in range(0, len(gone), PER_MESSAGE):
        socket.send(ticker_frames.unsubscribe(gone[at : at + PER_MESSAGE]))
    for at in range(0, len(new), PER_MESSAGE):
        part = new[at : at + PER_MESSAGE]
        socket.send(ticker_frames.subscribe(part))
        socket.send(ticker_frames.full(part))


def _tick(symbol: str, packet: Packet) -> Tick:
    return Tick(
        symbol=symbol,
        last_price=packet.last_price,
        volume=packet.volume or 0,
        traded_at=packet.traded_at or packet.exchange_at,
        bid=packet.bid,
        ask=packet.ask,
        previous_close=packet.previous_close,
        open=packet.open,
        high=packet.high,
        low=packet.low,
    )
