"""FYERS, put together from its parts."""

from collections.abc import Callable, Iterable

from execution.brokers.dialect import Hearers, Place
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.fyers.login import App, FyersLogin, sign_in_sandbox
from execution.brokers.fyers.order_socket import OrderSocket
from execution.brokers.fyers.price_socket import PriceSocket
from execution.brokers.http import BeforeCall, CallGuard
from execution.brokers.port import BrokerGateway, Tick, Tokens
from execution.brokers.socket_loop import LineGuard, OnState, Pace

LIVE_MASTERS = ("NSE_CM", "NSE_FO", "BSE_CM", "BSE_FO")
SANDBOX_MASTERS = ("NSE_CM",)


def _at(place: Place) -> Endpoints:
    return Endpoints.live() if place.base_url is None else Endpoints.of(place.base_url)


class Fyers:
    """See `Dialect`."""

    def is_loopback(self, place: Place) -> bool:
        return _at(place).is_loopback

    def addresses(self, place: Place) -> tuple[str, ...]:
        at = _at(place)
        return at.api, at.data, at.order_socket, at.price_socket

    def login(self, place: Place, *, app_id: str, secret: str) -> FyersLogin:
        return FyersLogin(endpoints=_at(place), app=App(app_id, secret, place.redirect_uri))

    def sign_in_sandbox(self, place: Place, *, app_id: str, secret: str) -> Tokens:
        return sign_in_sandbox(endpoints=_at(place), app=App(app_id, secret, place.redirect_uri))

    def gateway(
        self, place: Place, *, app_id: str, token: str, before_call: BeforeCall | None = None,
        guard: CallGuard | None = None,
    ) -> FyersGateway:  # fmt: skip
        return FyersGateway(
            endpoints=_at(place), credentials=Credentials(app_id, token), before_call=before_call, guard=guard
        )

    def masters(self, place: Place, *, app_id: str, token: str) -> dict[str, BrokerGateway]:
        """The files are public: they are asked for without the token."""
        stems = LIVE_MASTERS if place.base_url is None else SANDBOX_MASTERS
        return {
            stem: FyersGateway(endpoints=_at(place), credentials=Credentials("", ""), masters=(stem,)) for stem in stems
        }

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
    ) -> OrderSocket:
        return OrderSocket(
            endpoints=_at(place), credentials=Credentials(app_id, token), on_order=hearers.on_order,
            on_fill=hearers.on_fill, on_position=hearers.on_position, on_state=hearers.on_state, pace=pace, guard=guard,
        )  # fmt: skip

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
    ) -> PriceSocket:
        return PriceSocket(
            endpoints=_at(place), credentials=Credentials(app_id, token), on_ticks=on_ticks, on_state=on_state,
            on_refused=on_refused, symbols=symbols, pace=pace, guard=guard,
        )  # fmt: skip
