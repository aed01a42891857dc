"""Zerodha, put together from its parts."""

from collections.abc import Callable, Iterable

from execution.brokers.dialect import Hearers, Place
from execution.brokers.http import BeforeCall, CallGuard
from execution.brokers.kite.credentials import Credentials
from execution.brokers.kite.endpoints import Endpoints
from execution.brokers.kite.gateway import KiteGateway
from execution.brokers.kite.login import App, KiteLogin, sign_in_sandbox
from execution.brokers.kite.order_socket import KiteOrderSocket
from execution.brokers.kite.price_socket import KitePriceSocket
from execution.brokers.port import BrokerGateway, Tick, Tokens
from execution.brokers.socket_loop import LineGuard, OnState, Pace

LIVE_DUMPS = ("NSE", "NFO", "BSE", "BFO")
SANDBOX_DUMPS = ("NSE",)


def _at(place: Place) -> Endpoints:
    return Endpoints.live() if place.base_url is None else Endpoints.of(place.base_url)


class Kite:
    """See `Dialect`. Both sockets ask the gateway for what the ticker leaves out: fills, and the numbers of symbols."""

    def is_loopback(self, place: Place) -> bool:
        return _at(place).is_loopback

    def addresses(self, place: Place) -> tuple[str, ...]:
        return _at(place).api, _at(place).socket

    def login(self, place: Place, *, app_id: str, secret: str) -> KiteLogin:
        return KiteLogin(endpoints=_at(place), app=App(app_id, secret))

    def sign_in_sandbox(self, place: Place, *, app_id: str, secret: str) -> Tokens:
        return sign_in_sandbox(endpoints=_at(place), app=App(app_id, secret))

    def gateway(
        self, place: Place, *, app_id: str, token: str, before_call: BeforeCall | None = None,
        guard: CallGuard | None = None,
    ) -> KiteGateway:  # fmt: skip
        return KiteGateway(
            endpoints=_at(place), credentials=Credentials(app_id, token), before_call=before_call, guard=guard
        )

    def masters(self, place: Place, *, app_id: str, token: str) -> dict[str, BrokerGateway]:
        exchanges = LIVE_DUMPS if place.base_url is None else SANDBOX_DUMPS
        credentials = Credentials(app_id, token)
        return {
            name: KiteGateway(endpoints=_at(place), credentials=credentials, exchanges=(name,)) for name in exchanges
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
    ) -> KiteOrderSocket:
        assert isinstance(gateway, KiteGateway)
        return KiteOrderSocket(
            endpoints=_at(place), credentials=Credentials(app_id, token), gateway=gateway, on_order=hearers.on_order,
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
    ) -> KitePriceSocket:
        assert isinstance(gateway, KiteGateway)
        return KitePriceSocket(
            endpoints=_at(place), credentials=Credentials(app_id, token), gateway=gateway, on_ticks=on_ticks,
            on_state=on_state, on_refused=on_refused, symbols=symbols, pace=pace, guard=guard,
        )  # fmt: skip
