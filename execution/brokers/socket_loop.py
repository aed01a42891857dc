"""A socket that stays: it connects, listens, notices silence, and comes back after a growing pause."""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from execution.brokers.errors import AuthError, BrokerError, TransientError, redact

R = TypeVar("R")
State = Literal["connected", "disconnected"]
OnState = Callable[[State, str], None]

# The library writes whole handshakes, tokens included, when its logger is at DEBUG. This one never is.
_QUIET = logging.getLogger("execution.brokers.websocket")
_QUIET.setLevel(logging.WARNING)

_GLANCE_S = 0.2  # how often a waiting socket looks at its other duties: stop, ping, new subscriptions


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `silence` is how long a connection may say nothing before it is taken for dead; None for ever."""

    open_timeout: float = 5.0
    ping_every: float = 10.0
    silence: float | None = 30.0
    first_delay: float = 0.2
    longest_delay: float = 10.0


USUAL_PACE = Pace()


class LineGuard(Protocol):
    """Who knows whether the broker's streams are well. A cause keeps a connection from being tried."""

    def may_connect(self) -> str: ...

    def accepted(self) -> None: ...

    def failed(self, *, status: int | None, cause: str, retry_after: float | None) -> None:
        """The line was lost, or did not come about. `status` of a handshake that was answered with no."""


class StayingSocket:
    """Runs in a thread of its own: `run(stop)` returns after `stop` is set, within about a quarter of a second.

    `on_state` hears "connected" once the venue has accepted us, and "disconnected" with a cause each time that ends
    or an attempt fails. Whatever a callback raises is not the socket's to judge: it ends `run`.
    """

    def __init__(
        self, *, url: str, on_state: OnState, pace: Pace = USUAL_PACE, guard: LineGuard | None = None
    ) -> None:  # fmt: skip
        self._url = url
        self._guard = guard
        self._on_state = on_state
        self.pace = pace
        self._heard_at = 0.0
        self._accepted = False
        self._start_over: str | None = None

    def start_over(self, why: str) -> None:
        """Leave the connection and come back: it is open, and yet it does not do what it is for. From any thread."""
        self._start_over = why

    def run(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            self._accepted = False
            if self._guard is not None and (resting := self._guard.may_connect()):
                self._on_state("disconnected", resting)
                stop.wait(self.pace.longest_delay)
                continue
            failure: Exception
            try:
                self._connection(stop)
                self._on_state("disconnected", "stopped")
                return
            except _FromVenue as error:
                failure = error.failure
            except Exception:
                self._on_state("disconnected", "a listener failed")
                raise
            failures = 1 if self._accepted else failures + 1
            self._tell_guard(failure)
            self._on_state("disconnected", _cause(failure))
            stop.wait(self._delay(failures, failure))

    def _tell_guard(self, failure: Exception) -> None:
        """A sign-in that is not accepted is no trouble of the line: it has a state of its own."""
        if self._guard is None or isinstance(failure, AuthError):
            return
        response = failure.response if isinstance(failure, InvalidStatus) else None
        self._guard.failed(
            status=response.status_code if response is not None else None, cause=_cause(failure),
            retry_after=_retry_after(response.headers.get("Retry-After")) if response is not None else None,
        )  # fmt: skip

    def _delay(self, failures: int, failure: Exception) -> float:
        """Doubling from the first pause to the longest; at once the longest where we are not let in."""
        pace = self.pace
        if isinstance(failure, AuthError):
            return pace.longest_delay
        return min(pace.longest_delay, pace.first_delay * 2.0 ** min(failures - 1, 20)) * random.uniform(0.7, 1.0)

    def _connection(self, stop: threading.Event) -> None:
        headers = from_venue(self.prepare)
        with ExitStack() as opened:
            socket = from_venue(lambda: opened.enter_context(self._open(headers)))
            self._heard_at = pinged_at = time.monotonic()
            from_venue(lambda: self.greet(socket))
            self._start_over = None
            while not stop.is_set():
                if self._start_over is not None:
                    raise _FromVenue(TransientError("STALLED", self._start_over))
                message = from_venue(lambda: _receive(socket))
                now = time.monotonic()
                if message is not None:
                    self._heard_at = now
                    self.hear(socket, message)
                elif self.pace.silence is not None and now - self._heard_at > self.pace.silence:
                    silent = now - self._heard_at
                    raise _FromVenue(TransientError("SILENT", f"nothing heard for {silent:.1f} s"))
                if now - pinged_at >= self.pace.ping_every:
                    pinged_at = now
                    from_venue(lambda: self.ping(socket))
                self.tend(socket)

    def _open(self, headers: dict[str, str]) -> AbstractContextManager[ClientConnection]:
        return connect(
            self._url,
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=self.pace.open_timeout,
            close_timeout=1.0,
            ping_interval=self.pace.ping_every,
            ping_timeout=self.pace.ping_every,
            max_size=8 * 2**20,
            max_queue=1024,
            logger=_QUIET,
        )

    def accepted(self, words: str = "") -> None:
        """To be called once the venue has let us in."""
        self._accepted = True
        if self._guard is not None:
            self._guard.accepted()
        self._on_state("connected", words)

    # -- what a dialect fills in ---------------------------------------------------------------------------------

    def prepare(self) -> dict[str, str]:
        """Before each connection. Returns the headers of the handshake."""
        return {}

    def greet(self, socket: ClientConnection) -> None:
        """First words on a fresh connection."""

    def hear(self, socket: ClientConnection, message: str | bytes) -> None:
        """One message. Trouble of the venue's is raised through `from_venue`; callbacks are called bare."""

    def ping(self, socket: ClientConnection) -> None:
        """The dialect's own sign of life, every `ping_every` seconds."""

    def tend(self, socket: ClientConnection) -> None:
        """Other duties, looked at after each message and at every glance. Raises as `hear` does."""


class _FromVenue(Exception):
    """Trouble on the venue's side of the wall: to be reported and survived. Ours passes through untouched."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(type(failure).__name__)
        self.failure = failure


def from_venue(act: Callable[[], R]) -> R:
    """Do this, and let what the line or the venue does wrong end the connection rather than the thread."""
    try:
        return act()
    except InvalidStatus as error:
        status = error.response.status_code
        failure: Exception = AuthError("AUTH", f"HTTP {status} at the handshake.") if status in (401, 403) else error
    except (OSError, WebSocketException, BrokerError) as error:
        failure = error
    raise _FromVenue(failure)


def _receive(socket: ClientConnection) -> str | bytes | None:
    try:
        return socket.recv(timeout=_GLANCE_S)
    except TimeoutError:
        return None


def _retry_after(written: str | None) -> float | None:
    try:
        return max(0.0, float(written)) if written is not None else None
    except ValueError:
        return None


def _cause(failure: Exception) -> str:
    """One line for a person; library texts may quote addresses or headers, so only ours are passed on."""
    if isinstance(failure, BrokerError):
        return redact(str(failure))
    if isinstance(failure, InvalidStatus):
        return f"HTTP {failure.response.status_code} at the handshake"
    return type(failure).__name__
