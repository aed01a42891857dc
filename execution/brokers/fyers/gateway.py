"""The port, spoken in FYERS. Sends once, reads patiently, and says so when it does not know."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

from execution.brokers.candle_lines import as_one
from execution.brokers.environment import of_other_environment
from execution.brokers.errors import BusinessError
from execution.brokers.fyers import account_mapping, mapping, trigger_mapping
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.http import BULK, BeforeCall, CallGuard, HttpClient, Reply
from execution.brokers.port import (
    MARGIN_ORDERS,
    BookOrder,
    BrokerHolding,
    BrokerPosition,
    CallClass,
    Depth,
    Funds,
    History,
    ListedInstrument,
    Margin,
    OptionChain,
    Profile,
    Quote,
    Refused,
    SendResult,
    StandingTrigger,
    TriggerRequest,
    what_is_wrong_with_trigger,
)
from execution.brokers.sending import place_together, send
from trading.domain.fills import FillFact
from trading.domain.orders import OrderRequest, OrderType
from trading.marketdata.sources import HistoryLimits

T = TypeVar("T")
QUOTES_PER_CALL = 50


class FyersGateway:
    """One FYERS account. Keep it: its connections stay warm, and a cold one costs an order a handshake.

    `before_call` is told the class of every call before it is made, and may wait or raise: the account's rate
    bucket sits there, and where it raises RateLimited an order is Refused. `guard` is the circuit breaker. `masters`
    names the instrument files that instruments() reads.
    """

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        credentials: Credentials,
        before_call: BeforeCall | None = None,
        guard: CallGuard | None = None,
        masters: tuple[str, ...] = ("NSE_CM",),
    ) -> None:
        self.endpoints = endpoints
        self.masters = masters
        self._orders_url = endpoints.orders
        self._http = HttpClient(
            headers={"authorization": credentials.header, "content-type": "application/json", "version": "3"},
            before_call=before_call,
            guard=guard,
            idle_s=endpoints.idle_s,
        )
        self._public = HttpClient(before_call=before_call, idle_s=endpoints.idle_s)  # shows our token to nobody

    def __repr__(self) -> str:
        return f"FyersGateway({self.endpoints.api})"

    def close(self) -> None:
        self._http.close()
        self._public.close()

    # -- sending: once -------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest, *, klass: CallClass = CallClass.ORDER) -> SendResult:
        """Send once. Source: FYERS API v3, place order; `orderTag` carries our client order id."""
        if refused := self._refused(request):
            return refused
        return self._send("POST", mapping.place_body(request), klass)

    def place_together(
        self, requests: Sequence[OrderRequest], *, klass: CallClass = CallClass.ORDER
    ) -> Iterator[list[tuple[int, SendResult]]]:
        return place_together(
            self._http, self._orders_url, requests, klass=klass, read=mapping.read_send_reply,
            body_of=mapping.place_body, refused=self._refused,
        )  # fmt: skip

    def _refused(self, request: OrderRequest) -> Refused | None:
        """What may not leave at all."""
        if wrong := mapping.what_is_wrong_with(request):
            return Refused("INVALID_REQUEST", wrong)
        return of_other_environment(request, live=self.endpoints.is_live)

    def modify(
        self,
        broker_order_id: str,
        *,
        order_type: OrderType,
        quantity: int | None = None,
        limit_price: Decimal | None = None,
        trigger_price: Decimal | None = None,
    ) -> SendResult:
        """Fields that are not given keep their value at the broker."""
        body = mapping.modify_body(
            broker_order_id,
            order_type=order_type,
            quantity=quantity,
            limit_price=limit_price,
            trigger_price=trigger_price,
        )
        return self._send("PATCH", body, CallClass.ORDER, known_id=broker_order_id)

    def cancel(self, broker_order_id: str) -> SendResult:
        body = mapping.encode({"id": broker_order_id})
        return self._send("DELETE", body, CallClass.CANCEL, known_id=broker_order_id)

    def place_trigger(self, request: TriggerRequest) -> SendResult:
        """Source: FYERS API v3, GTT orders. No tag goes with it: after doubt the book of triggers is compared."""
        if wrong := what_is_wrong_with_trigger(request):
            return Refused("INVALID_REQUEST", wrong)
        return self._send_trigger("POST", trigger_mapping.place_body(request))

    def modify_trigger(self, trigger_id: str, request: TriggerRequest) -> SendResult:
        if wrong := what_is_wrong_with_trigger(request):
            return Refused("INVALID_REQUEST", wrong, trigger_id)
        return self._send_trigger("PATCH", trigger_mapping.modify_body(trigger_id, request), known_id=trigger_id)

    def cancel_trigger(self, trigger_id: str) -> SendResult:
        body = mapping.encode({"id": trigger_id})
        return self._send_trigger("DELETE", body, klass=CallClass.CANCEL, known_id=trigger_id)

    def _send_trigger(
        self, method: str, body: bytes, *, klass: CallClass = CallClass.ORDER, known_id: str | None = None
    ) -> SendResult:
        return self._send(method, body, klass, known_id=known_id, url=f"{self.endpoints.api}/gtt/orders/sync")

    def _send(
        self, method: str, body: bytes, klass: CallClass, *, known_id: str | None = None, url: str = ""
    ) -> SendResult:
        return send(
            self._http, method, url or self._orders_url, body, klass=klass, known_id=known_id,
            read=partial(mapping.read_send_reply, known_id=known_id),
        )  # fmt: skip

    # -- the broker's books --------------------------------------------------------------------------------------

    def profile(self) -> Profile:
        return self._get(f"{self.endpoints.api}/profile", mapping.reader("data", mapping.read_profile))

    def funds(self) -> Funds:
        return self._get(f"{self.endpoints.api}/funds", mapping.reader("fund_limit", mapping.read_funds))

    def margin(self, requests: Sequence[OrderRequest]) -> Margin:
        """Nothing is placed, so it may be asked again like any read."""
        if not 1 <= len(requests) <= MARGIN_ORDERS:
            raise ValueError(f"the margin of {len(requests)} orders; 1 to {MARGIN_ORDERS} can be asked for")
        return self._http.read(
            "POST", f"{self.endpoints.api}/multiorder/margin", body=account_mapping.margin_body(requests),
            understand=mapping.reader("data", account_mapping.read_margin),
        )  # fmt: skip

    def holdings(self) -> list[BrokerHolding]:
        return self._get(f"{self.endpoints.api}/holdings", mapping.reader("holdings", account_mapping.read_holdings))

    def triggers(self) -> list[StandingTrigger]:
        return self._get(f"{self.endpoints.api}/gtt/orders", mapping.reader("orderBook", trigger_mapping.read_triggers))

    def orders(self) -> list[BookOrder]:
        return self._get(f"{self.endpoints.api}/orders", mapping.reader("orderBook", mapping.read_orders))

    def trades(self) -> list[FillFact]:
        return self._get(f"{self.endpoints.api}/tradebook", mapping.reader("tradeBook", mapping.read_fills))

    def positions(self) -> list[BrokerPosition]:
        return self._get(f"{self.endpoints.api}/positions", mapping.reader("netPositions", mapping.read_positions))

    # -- the market ----------------------------------------------------------------------------------------------

    def quotes(self, symbols: Iterable[str]) -> list[Quote]:
        """Symbols the venue does not know are left out; if it knows none of them, BusinessError."""
        wanted = list(dict.fromkeys(symbols))
        found: list[Quote] = []
        for at in range(0, len(wanted), QUOTES_PER_CALL):
            asked = ",".join(wanted[at : at + QUOTES_PER_CALL])
            url = _with(f"{self.endpoints.data}/quotes", symbols=asked)
            found += self._get(url, mapping.reader("d", mapping.read_quotes)).quotes
        if wanted and not found:
            raise BusinessError("UNKNOWN_SYMBOL", "The venue quotes none of these symbols.", asked=len(wanted))
        return found

    def depth(self, symbol: str) -> Depth:
        url = _with(f"{self.endpoints.data}/depth", symbol=symbol, ohlcv_flag=1)
        return self._get(url, mapping.reader("d", lambda payload: mapping.read_depth(payload, symbol)))

    @property
    def bands_a_call(self) -> int:
        return 1

    def bands(self, symbols: Iterable[str]) -> dict[str, tuple[Decimal, Decimal]]:
        found = {}
        for symbol in dict.fromkeys(symbols):
            try:
                depth = self.depth(symbol)
            except BusinessError:
                continue  # the venue does not know it
            if depth.lower_band is not None and depth.upper_band is not None:
                found[symbol] = (depth.lower_band, depth.upper_band)
        return found

    @property
    def history_limits(self) -> HistoryLimits:
        return mapping.HISTORY_LIMITS

    def history(self, symbol: str, *, timeframe: str, start: datetime, end: datetime) -> History:
        """Bars that begin within [start, end). Long spans are asked for in pieces and come back as one."""
        parts: list[History] = []
        for first, last in mapping.spans(timeframe, start, end):
            url = _with(
                f"{self.endpoints.data}/history",
                symbol=symbol,
                resolution=mapping.RESOLUTIONS[timeframe],
                date_format=0,
                range_from=first,
                range_to=last,
                cont_flag=0,
            )
            parts.append(self._get(url, mapping.read_candles))
        return as_one(parts, start=start, end=end)

    def instruments(self) -> list[ListedInstrument]:
        """Every active line of the account's instrument files."""
        listed: list[ListedInstrument] = []
        for stem in self.masters:
            listed += self._public.read(
                "GET", self.endpoints.symbol_master(stem), understand=mapping.read_symbol_master, timeouts=BULK
            )
        return listed

    def option_chain(self, symbol: str, *, expiry: date | None = None, strikes: int = 50) -> OptionChain:
        """The chain of an underlying's expiry, `strikes` to each side of the money; None: the nearest expiry.

        The venue wants an expiry asked for by its own stamp, so a certain one takes two calls. BusinessError
        (UNKNOWN_EXPIRY) where it lists no such day.
        """
        stamp = ""
        if expiry is not None:
            stamps = self._chain(symbol, "", 1, mapping.expiry_stamps)
            if expiry not in stamps:
                raise BusinessError("UNKNOWN_EXPIRY", f"{symbol} has no contracts that end on {expiry}.")
            stamp = stamps[expiry]
        return self._chain(symbol, stamp, strikes, mapping.read_option_chain)

    def _chain(self, symbol: str, stamp: str, strikes: int, read: Callable[[Any], T]) -> T:
        url = _with(f"{self.endpoints.data}/options-chain-v3", symbol=symbol, strikecount=strikes, timestamp=stamp)
        return self._get(url, mapping.reader("data", read))

    def clock_skew_s(self) -> float | None:
        return self._http.clock_skew_s()

    def market_open(self) -> bool:
        url = f"{self.endpoints.data}/marketStatus"
        return self._get(url, mapping.reader("marketStatus", mapping.read_market_open))

    def _get(self, url: str, understand: Callable[[Reply], T]) -> T:
        """Market data and the account's books fail apart from each other."""
        klass = CallClass.DATA if url.startswith(self.endpoints.data) else CallClass.READ
        return self._http.read("GET", url, understand=understand, klass=klass)


def _with(url: str, **parameters: Any) -> str:
    return f"{url}?{urlencode(parameters)}"
