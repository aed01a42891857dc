"""What differs between brokers before a gateway exists: addresses, sign-in, sockets."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from execution.brokers.http import BeforeCall, CallGuard
from execution.brokers.port import BookOrder, BrokerGateway, BrokerPosition, Profile, Tick, Tokens
from execution.brokers.socket_loop import LineGuard, OnState, Pace
from trading.domain.fills import FillFact


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account's broker lives. `base_url` None: the broker's own hosts; else one server that speaks like it."""

    base_url: str | None
    redirect_uri: str = ""


@dataclass(frozen=True, slots=True)
class Hearers:
    """Who is told what an order socket says. Called from the socket's threads."""

    on_order: Callable[[BookOrder], None]
    on_fill: Callable[[FillFact], None]
    on_state: OnState
    on_position: Callable[[BrokerPosition], None] = lambda position: None


class Socket(Protocol):
    """A socket that stays connected until told to stop."""

    def run(self, stop: Event) -> None: ...


class Prices(Socket, Protocol):
    """A stream of prices of a changing set of symbols."""

    heard: int

    def watch(self, symbols: Iterable[str]) -> None: ...

    def start_over(self, why: str) -> None: ...


class Login(Protocol):
    """Signing in with a person, in two steps. Errors: AuthError, BrokerError."""

    def login_url(self, state: str) -> str: ...

    def read_callback(self, callback: str, *, state: str) -> str: ...

    def exchange(self, code: str) -> Tokens: ...

    def whose(self, tokens: Tokens) -> Profile: ...


class Dialect(Protocol):
    """One broker's way of speaking. `app_id` and `secret` are the app's, `token` the access token of the day."""

    def is_loopback(self, place: Place) -> bool:
        """Plain http on this machine: the only place where a sign-in may go without a person."""

    def addresses(self, place: Place) -> tuple[str, ...]:
        """Of whatever a day of trading speaks to, one for each host."""

    def login(self, place: Place, *, app_id: str, secret: str) -> Login: ...

    def sign_in_sandbox(self, place: Place, *, app_id: str, secret: str) -> Tokens: ...

    def gateway(
        self, place: Place, *, app_id: str, token: str, before_call: BeforeCall | None = None,
        guard: CallGuard | None = None,
    ) -> BrokerGateway: ...  # fmt: skip

    def masters(self, place: Place, *, app_id: str, token: str) -> dict[str, BrokerGateway]:
        """By name, gateways that read one instrument master each; shares before what is written on them."""

    def order_socket(
        self,
        place: Place,
        *,
        app_id: str,
        token: str,
        gateway: BrokerGateway,
        hearers: Hearers,
        pace: Pace,
        guard: LineGuard | None = None,
    ) -> Socket: ...

    def price_socket(
        self,
        place: Place,
        *,
        app_id: str,
        token: str,
        gateway: BrokerGateway,
        on_ticks: Callable[[list[Tick]], None],
        on_state: OnState,
        on_refused: Callable[[list[str]], None],
        symbols: Iterable[str],
        pace: Pace,
        guard: LineGuard | None = None,
    ) -> Prices: ...
