"""The port, spoken in Kite. Sends once, reads patiently, and says so when it does not know."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from execution.brokers.candle_lines import as_one
from execution.brokers.environment import of_other_environment
from execution.brokers.errors import BusinessError
from execution.brokers.http import BULK, BeforeCall, CallGuard, HttpClient
from execution.brokers.kite import account_mapping, chain, mapping, trigger_mapping
from execution.brokers.kite.credentials import Credentials
from execution.brokers.kite.endpoints import Endpoints
from execution.brokers.kite.symbols import DERIVATIVES, KiteName, to_kite
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
from trading.domain.clock import IST
from trading.domain.fills import FillFact
from trading.domain.orders import OrderRequest, OrderType
from trading.marketdata.sources import HistoryLimits
from trading.venue.sessions import Phase, exchange_date, session_on

T = TypeVar("T")
QUOTES_PER_CALL = 500
MARKET_PULSE = "NSE:NIFTY50-INDEX"  # moves whenever the cash market does


class KiteGateway:
    """One Zerodha account. Keep it: its connections stay warm, and it remembers the day's instrument numbers.

    `before_call` is told the class of every call before it is made, and may wait or raise: the account's rate bucket
    sits there, and where it raises RateLimited an order is Refused. `guard` is the circuit breaker. `exchanges` names
    the dumps that instruments() reads.
    """

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        credentials: Credentials,
        before_call: BeforeCall | None = None,
        guard: CallGuard | None = None,
        exchanges: tuple[str, ...] = ("NSE",),
    ) -> None:
        self.endpoints = endpoints
        self.exchanges = exchanges
        self._http = HttpClient(
            headers={
                "authorization": credentials.header,
                "x-kite-version": "3",
                "content-type": "application/x-www-form-urlencoded",
            },
            before_call=before_call,
            guard=guard,
            idle_s=endpoints.idle_s,
        )
        self._tokens: dict[str, dict[str, int]] = {}
        self._derivatives: dict[str, list[ListedInstrument]] = {}
        self._tokens_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"KiteGateway({self.endpoints.api})"

    def close(self) -> None:
        self._http.close()

    # -- sending: once -------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest, *, klass: CallClass = CallClass.ORDER) -> SendResult:
        """Send once. Source: Kite Connect v3, place order; `tag` carries our client order id."""
        if refused := self._refused(request):
            return refused
        return self._send("POST", self.endpoints.orders(), mapping.place_body(request), klass)

    def place_together(
        self, requests: Sequence[OrderRequest], *, klass: CallClass = CallClass.ORDER
    ) -> Iterator[list[tuple[int, SendResult]]]:
        return place_together(
            self._http, self.endpoints.orders(), requests, klass=klass, read=mapping.read_send_reply,
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
        """Fields that are not given keep their value at the broker, which allows 25 changes of one order."""
        body = mapping.modify_body(
            order_type=order_type, quantity=quantity, limit_price=limit_price, trigger_price=trigger_price
        )
        url = self.endpoints.orders(quote(broker_order_id, safe=""))
        return self._send("PUT", url, body, CallClass.ORDER, known_id=broker_order_id)

    def cancel(self, broker_order_id: str) -> SendResult:
        url = self.endpoints.orders(quote(broker_order_id, safe=""))
        return self._send("DELETE", url, b"", CallClass.CANCEL, known_id=broker_order_id)

    def place_trigger(self, request: TriggerRequest) -> SendResult:
        """Source: Kite Connect v3, GTT orders. No tag goes with it: after doubt the book of triggers is compared."""
        if wrong := what_is_wrong_with_trigger(request) or trigger_mapping.what_is_wrong_with(request):
            return Refused("INVALID_REQUEST", wrong)
        return self._send("POST", self.endpoints.triggers(), trigger_mapping.body(request), CallClass.ORDER)

    def modify_trigger(self, trigger_id: str, request: TriggerRequest) -> SendResult:
        if wrong := what_is_wrong_with_trigger(request) or trigger_mapping.what_is_wrong_with(request):
            return Refused("INVALID_REQUEST", wrong, trigger_id)
        url = self.endpoints.triggers(quote(trigger_id, safe=""))
        return self._send("PUT", url, trigger_mapping.body(request), CallClass.ORDER, known_id=trigger_id)

    def cancel_trigger(self, trigger_id: str) -> SendResult:
        url = self.endpoints.triggers(quote(trigger_id, safe=""))
        return self._send("DELETE", url, b"", CallClass.CANCEL, known_id=trigger_id)

    def _send(self, method: str, url: str, body: bytes, klass: CallClass, *, known_id: str | None = None) -> SendResult:
        return send(
            self._http, method, url, body, klass=klass, known_id=known_id,
            read=partial(mapping.read_send_reply, known_id=known_id),
        )  # fmt: skip

    # -- the broker's books --------------------------------------------------------------------------------------

    def profile(self) -> Profile:
        return self._get("user/profile", mapping.read_profile)

    def funds(self) -> Funds:
        return self._get("user/margins", mapping.read_funds)

    def margin(self, requests: Sequence[OrderRequest]) -> Margin:
        """Nothing is placed, so it may be asked again like any read. One order and a basket are two calls at Kite."""
        if not 1 <= len(requests) <= MARGIN_ORDERS:
            raise ValueError(f"the margin of {len(requests)} orders; 1 to {MARGIN_ORDERS} can be asked for")
        one = len(requests) == 1
        path = "margins/orders" if one else "margins/basket?consider_positions=true"
        return self._http.read(
            "POST", f"{self.endpoints.api}/{path}", body=account_mapping.margin_body(requests),
            headers={"content-type": "application/json"},
            understand=mapping.reader(account_mapping.read_margin if one else account_mapping.read_basket),
        )  # fmt: skip

    def holdings(self) -> list[BrokerHolding]:
        return self._get("portfolio/holdings", account_mapping.read_holdings)

    def triggers(self) -> list[StandingTrigger]:
        return self._get("gtt/triggers", trigger_mapping.read_triggers)

    def orders(self) -> list[BookOrder]:
        return self._get("orders", mapping.read_orders)

    def trades(self) -> list[FillFact]:
        return self._get("trades", mapping.read_fills)

    def trades_of(self, broker_order_id: str) -> list[FillFact]:
        """The fills of one order: what the socket's order messages leave out."""
        return self._get(f"orders/{quote(broker_order_id, safe='')}/trades", mapping.read_fills)

    def positions(self) -> list[BrokerPosition]:
        return self._get("portfolio/positions", mapping.read_positions)

    # -- the market ----------------------------------------------------------------------------------------------

    def quotes(self, symbols: Iterable[str]) -> list[Quote]:
        """Symbols the venue does not know are left out; if it knows none of them, BusinessError."""
        wanted = list(dict.fromkeys(symbols))
        found = [quote for part in self._quoted(wanted, mapping.read_quotes) for quote in part]
        if wanted and not found:
            raise BusinessError("UNKNOWN_SYMBOL", "The venue quotes none of these symbols.", asked=len(wanted))
        return found

    def _quoted(self, symbols: list[str], read: Callable[[dict[str, str], Any], T]) -> list[T]:
        """Full quotes in as few calls as the venue allows, each read with Kite's key → our symbol."""
        names = {name.key: symbol for symbol in symbols if (name := to_kite(symbol)) is not None}
        keys, read_parts = list(names), []
        for at in range(0, len(keys), QUOTES_PER_CALL):
            part = {key: names[key] for key in keys[at : at + QUOTES_PER_CALL]}
            path = f"quote?{urlencode([('i', key) for key in part])}"
            read_parts.append(self._get(path, partial(read, part), klass=CallClass.DATA))
        return read_parts

    @property
    def bands_a_call(self) -> int:
        return QUOTES_PER_CALL

    def bands(self, symbols: Iterable[str]) -> dict[str, tuple[Decimal, Decimal]]:
        found: dict[str, tuple[Decimal, Decimal]] = {}
        for part in self._quoted(list(dict.fromkeys(symbols)), mapping.read_bands):
            found |= part
        return found

    def depth(self, symbol: str) -> Depth:
        key = self._known(symbol).key
        return self._get(f"quote?{urlencode({'i': key})}", lambda payload: mapping.read_depth(payload, key, symbol),
                         klass=CallClass.DATA)  # fmt: skip

    @property
    def history_limits(self) -> HistoryLimits:
        return mapping.HISTORY_LIMITS

    def history(self, symbol: str, *, timeframe: str, start: datetime, end: datetime) -> History:
        """Bars that begin within [start, end). Long spans are asked for in pieces and come back as one."""
        token = self.token_of(symbol)
        daily = timeframe == "1d"
        first, last = _indian_days(start, end) if daily else (start, end)
        parts: list[History] = []
        for since, until in mapping.spans(timeframe, first, last):
            asked = urlencode({"from": since, "to": until, "continuous": 0, "oi": 0})
            path = f"instruments/historical/{token}/{mapping.INTERVALS[timeframe]}?{asked}"
            read = mapping.reader(lambda said: mapping.read_candles(said, daily=daily), nan=True)
            parts.append(self._http.read("GET", f"{self.endpoints.api}/{path}", understand=read, klass=CallClass.DATA))
        return as_one(parts, start=start, end=end)

    def instruments(self) -> list[ListedInstrument]:
        """Every line of the account's instrument dumps."""
        listed: list[ListedInstrument] = []
        for exchange in self.exchanges:
            listed += self._http.read(
                "GET",
                f"{self.endpoints.api}/instruments/{exchange}",
                understand=mapping.read_instruments,
                timeouts=BULK,
            )
        return listed

    def token_of(self, symbol: str) -> int:
        """The number of an instrument, from the day's dump. BusinessError (UNKNOWN_SYMBOL) where it is not listed."""
        name = self._known(symbol)
        with self._tokens_lock:
            if name.exchange not in self._tokens:
                self._tokens[name.exchange] = self._http.read(
                    "GET",
                    f"{self.endpoints.api}/instruments/{name.exchange}",
                    understand=mapping.read_tokens,
                    timeouts=BULK,
                )
            token = self._tokens[name.exchange].get(symbol)
        if token is None:
            raise BusinessError("UNKNOWN_SYMBOL", f"The venue does not list {symbol}.")
        return token

    def option_chain(self, symbol: str, *, expiry: date | None = None, strikes: int = 50) -> OptionChain:
        """Read off the day's dump, which is kept, and quoted in one call."""
        spot = self.quotes([symbol])[0].last_price
        exchange = DERIVATIVES[self._known(symbol).exchange]
        for newly in (False, True):
            found = chain.choose(
                self._contracts(exchange, newly=newly), symbol, expiry=expiry, spot=spot, strikes=min(strikes, 50)
            )
            asked = chain.keys_of(found.contracts)
            path = f"quote?{urlencode([('i', key) for key in asked])}"
            lines = self._get(path, partial(chain.read_lines, asked), klass=CallClass.DATA)
            if lines:
                return OptionChain(symbol, spot, found.expiries, tuple(lines))
        raise BusinessError("NO_OPTIONS", f"The venue quotes none of the options on {symbol[:60]}.")

    def _contracts(self, exchange: str, *, newly: bool) -> list[ListedInstrument]:
        """The dump of a derivatives exchange. What was kept is of another day where none of it is quoted any more."""
        with self._tokens_lock:
            kept = None if newly else self._derivatives.get(exchange)
        if kept is None:
            kept = self._http.read(
                "GET", f"{self.endpoints.api}/instruments/{exchange}", understand=mapping.read_instruments,
                timeouts=BULK, klass=CallClass.DATA,
            )  # fmt: skip
            with self._tokens_lock:
                self._derivatives[exchange] = kept
        return kept

    def clock_skew_s(self) -> float | None:
        return self._http.clock_skew_s()

    def market_open(self) -> bool:
        """Kite has no such call: the exchange's own time in a quote is held against the calendar."""
        key = self._known(MARKET_PULSE).key
        at = self._get(f"quote?{urlencode({'i': key})}", lambda payload: mapping.read_quoted_at(payload, key))
        session = session_on(exchange_date(at)) if at is not None else None
        return session is not None and at is not None and session.phase_at(at) is Phase.CONTINUOUS

    def _known(self, symbol: str) -> KiteName:
        name = to_kite(symbol)
        if name is None:
            raise BusinessError("UNKNOWN_SYMBOL", f"{symbol[:60]} has no name at Zerodha.")
        return name

    def _get(self, path: str, understand: Callable[[Any], T], *, klass: CallClass = CallClass.READ) -> T:
        url = f"{self.endpoints.api}/{path}"
        return self._http.read("GET", url, understand=mapping.reader(understand), klass=klass)


def _indian_days(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The exchange days whose midnights in UTC lie in [start, end), from their first midnight in India to their last.

    A daily bar of ours is stamped at midnight UTC of its day, Kite's at midnight in India.
    """
    numbers = (-int(-instant.timestamp() // 86_400) for instant in (start, end))
    first, last = (datetime.combine(datetime.fromtimestamp(n * 86_400, UTC).date(), time(), IST) for n in numbers)
    return first, last
