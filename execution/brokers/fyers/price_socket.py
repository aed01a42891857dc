"""Prices as they change. Binary frames; source: FYERS API v3, data socket (HSM)."""

import threading
from collections.abc import Callable, Iterable

from websockets.sync.client import ClientConnection

from execution.brokers.errors import AuthError, TransientError, UnexpectedReply
from execution.brokers.fyers import price_frames
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.price_board import PriceBoard
from execution.brokers.fyers.price_frames import TOPICS_PER_FRAME, Answer, Feed, Kind, Message, ServerFrame
from execution.brokers.fyers.topics import Resolved, TopicResolver
from execution.brokers.http import BeforeCall
from execution.brokers.port import Tick
from execution.brokers.socket_loop import USUAL_PACE, LineGuard, OnState, Pace, StayingSocket, from_venue

SOURCE = "TarazuDesk-1"
SYMBOL_LIMIT = 5000
TOPIC_LIMIT_EXCEEDED = 51001


class PriceSocket(StayingSocket):
    """Last prices of a changing set of symbols. Say what you want with `watch`, at any time, from any thread.

    `on_ticks` gets the ticks of each frame together, from the socket's thread: be quick. `on_refused` hears of
    symbols that the venue has no prices for. A quiet market is silent too: set `pace.silence` to suit, or None.
    """

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        credentials: Credentials,
        on_ticks: Callable[[list[Tick]], None],
        on_state: OnState,
        on_refused: Callable[[list[str]], None] = lambda symbols: None,
        symbols: Iterable[str] = (),
        before_call: BeforeCall | None = None,
        pace: Pace = USUAL_PACE,
        guard: LineGuard | None = None,
    ) -> None:
        super().__init__(url=endpoints.price_socket, on_state=on_state, pace=pace, guard=guard)
        self._credentials = credentials
        self._resolver = TopicResolver(endpoints=endpoints, credentials=credentials, before_call=before_call)
        self._on_ticks = on_ticks
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._wanted: frozenset[str] = frozenset()
        self.heard = 0  # number of the last frame that was taken in, for whoever keeps step with the venue
        self.watch(symbols)
        self._reset()

    def watch(self, symbols: Iterable[str]) -> None:
        """From now on exactly these. ValueError above the venue's limit."""
        wanted = frozenset(symbols)
        if len(wanted) > SYMBOL_LIMIT:
            raise ValueError(f"{len(wanted)} symbols; the venue allows {SYMBOL_LIMIT}")
        with self._lock:
            self._wanted = wanted

    def run(self, stop: threading.Event) -> None:
        try:
            super().run(stop)
        finally:
            self._resolver.close()

    def _reset(self) -> None:
        self._board = PriceBoard({})
        self._subscribed: frozenset[str] = frozenset()
        self._let_in = False
        self._ack_every = 0
        self._unacknowledged = 0

    def prepare(self) -> dict[str, str]:
        self._reset()
        return {}

    def greet(self, socket: ClientConnection) -> None:
        socket.send(price_frames.PING)
        socket.send(price_frames.authenticate(self._credentials.hsm_key, source=SOURCE))
        socket.send(price_frames.mode())

    def ping(self, socket: ClientConnection) -> None:
        socket.send(price_frames.PING)

    def hear(self, socket: ClientConnection, message: str | bytes) -> None:
        frame = from_venue(lambda: _decode(message))
        if isinstance(frame, Feed):
            from_venue(lambda: self._acknowledge(socket, frame))
            if ticks := self._board.ticks(frame):
                self._on_ticks(ticks)
            self.heard = frame.number
        elif isinstance(frame, Answer):
            from_venue(lambda: self._check(frame))
            if frame.kind is Kind.AUTHENTICATE:
                self._let_in, self._ack_every = True, frame.ack_every
                self._follow(socket)
                self.accepted()
        elif isinstance(frame, Message):
            from_venue(lambda: _heed(frame))

    def tend(self, socket: ClientConnection) -> None:
        if self._let_in and self._wanted != self._subscribed:
            self._follow(socket)

    def _follow(self, socket: ClientConnection) -> None:
        """Bring the subscriptions to what is wanted now."""
        with self._lock:
            wanted = self._wanted
        resolved = from_venue(lambda: self._resolver.resolve(sorted(wanted)))
        from_venue(lambda: self._subscribe(socket, resolved))
        self._subscribed = wanted
        if resolved.refused:
            self._on_refused(resolved.refused)

    def _subscribe(self, socket: ClientConnection, resolved: Resolved) -> None:
        before, after = self._board.symbols, resolved.topics
        gone = [topic for topic in before if topic not in after]
        new = [topic for topic in after if topic not in before]
        self._board.symbols = after
        for at in range(0, len(gone), TOPICS_PER_FRAME):
            socket.send(price_frames.unsubscribe(gone[at : at + TOPICS_PER_FRAME]))
        for at in range(0, len(new), TOPICS_PER_FRAME):
            socket.send(price_frames.subscribe(new[at : at + TOPICS_PER_FRAME]))

    def _acknowledge(self, socket: ClientConnection, feed: Feed) -> None:
        self._unacknowledged += 1
        if self._ack_every and self._unacknowledged >= self._ack_every:
            self._unacknowledged = 0
            socket.send(price_frames.acknowledge(feed.number))

    def _check(self, answer: Answer) -> None:
        if answer.is_ok:
            return
        if answer.kind is Kind.AUTHENTICATE:
            raise AuthError("AUTH", "The price socket does not accept the token.")
        raise TransientError("SOCKET_DECLINED", f"The price socket declined: {answer.kind.name.lower()}.")


def _decode(message: str | bytes) -> ServerFrame:
    if isinstance(message, str):
        raise UnexpectedReply("price socket: a text frame.")
    return price_frames.decode(message)


def _heed(message: Message) -> None:
    """The server's own words are errors: leave and come back, rather than listen to half of what we asked for."""
    words = f"{message.text} (code {message.code}, about frame kind {message.about})"
    code = "SYMBOL_LIMIT" if message.code == TOPIC_LIMIT_EXCEEDED else "SOCKET_MESSAGE"
    raise TransientError(code, words)
