"""Kite's fields and ours, both ways. Pure. A reply of another shape raises UnexpectedReply; nothing is guessed.

Source: Kite Connect v3. Field names stand as on the wire.
"""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from execution.brokers import fields
from execution.brokers.candle_lines import read_lines
from execution.brokers.doubt import is_doubtful
from execution.brokers.errors import (
    AuthError,
    BusinessError,
    DeprecatedError,
    RateLimited,
    TransientError,
    UnexpectedReply,
    redact,
)
from execution.brokers.fields import Row
from execution.brokers.http import Reply
from execution.brokers.kite.masters import read_csv
from execution.brokers.kite.symbols import from_kite, to_kite
from execution.brokers.port import (
    Acknowledged,
    BookOrder,
    BrokerPosition,
    BrokerStatus,
    Depth,
    DepthLevel,
    Funds,
    History,
    ListedInstrument,
    Profile,
    Quote,
    Refused,
    SendResult,
    Unknown,
    what_is_wrong_with_order,
)
from trading.domain.clock import IST
from trading.domain.fills import FillFact
from trading.domain.orders import OrderRequest, OrderType, Product, Side
from trading.marketdata.listing.instruments import MasterRefused
from trading.marketdata.sources import HistoryLimits

T = TypeVar("T")

ORDER_TYPES = {
    "LIMIT": OrderType.LIMIT,
    "MARKET": OrderType.MARKET,
    "SL-M": OrderType.STOP,
    "SL": OrderType.STOP_LIMIT,
}
TYPE_WORDS = {order_type: word for word, order_type in ORDER_TYPES.items()}
PRODUCTS = {"MIS": Product.INTRADAY, "CNC": Product.CNC, "NRML": Product.MARGIN}
PRODUCT_WORDS = {product: word for word, product in PRODUCTS.items()}
IN_TRANSIT = {"PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "AMO REQ RECEIVED"}
WORKING = {
    "OPEN", "TRIGGER PENDING", "MODIFY VALIDATION PENDING", "MODIFY PENDING", "CANCEL PENDING", "UPDATE",
}  # fmt: skip
STATUSES = {
    "COMPLETE": BrokerStatus.FILLED,
    "CANCELLED": BrokerStatus.CANCELLED,
    "REJECTED": BrokerStatus.REJECTED,
    **dict.fromkeys(IN_TRANSIT, BrokerStatus.TRANSIT),
    **dict.fromkeys(WORKING, BrokerStatus.PENDING),
}
# What a placement may be refused with for certain, and our word for it. Anything not in this list is doubt.
REFUSALS = {
    "TokenException": "AUTH", "PermissionException": "NOT_PERMITTED", "UserException": "ACCOUNT",
    "InputException": "INVALID_PARAMETER", "OrderException": "REJECTED", "MarginException": "REJECTED",
    "HoldingException": "REJECTED",
}  # fmt: skip
TAG_LENGTH: Final = 20
# Since April 2026 an order at the market without protection is rejected; -1 leaves the band to the broker.
PROTECTED_BY_BROKER: Final = -1

# -- to the broker -------------------------------------------------------------------------------------------------


def encode(values: dict[str, object]) -> bytes:
    """A form with exact prices: a Decimal is written digit by digit and never becomes a float."""
    return urlencode({k: format(v, "f") if isinstance(v, Decimal) else v for k, v in values.items()}).encode()


def place_body(request: OrderRequest) -> bytes:
    """Call `what_is_wrong_with` before: what it lets pass has a name at Kite."""
    name = to_kite(request.symbol)
    assert name is not None
    values: dict[str, object] = {
        "exchange": name.exchange,
        "tradingsymbol": name.tradingsymbol,
        "transaction_type": request.side.value,
        "quantity": request.quantity,
        "product": PRODUCT_WORDS[request.product],
        "order_type": TYPE_WORDS[request.order_type],
        "validity": request.validity.value,
        "tag": request.client_order_id,
    }
    values |= _prices(request.order_type, request.limit_price, request.trigger_price)
    return encode(values)


def modify_body(
    *, order_type: OrderType, quantity: int | None, limit_price: Decimal | None, trigger_price: Decimal | None
) -> bytes:
    values: dict[str, object] = {"order_type": TYPE_WORDS[order_type]}
    if quantity is not None:
        values["quantity"] = quantity
    return encode(values | _prices(order_type, limit_price, trigger_price))


def _prices(order_type: OrderType, limit_price: Decimal | None, trigger_price: Decimal | None) -> dict[str, object]:
    values: dict[str, object] = {}
    if limit_price is not None:
        values["price"] = limit_price
    if trigger_price is not None:
        values["trigger_price"] = trigger_price
    if order_type in (OrderType.MARKET, OrderType.STOP):
        values["market_protection"] = PROTECTED_BY_BROKER
    return values


def what_is_wrong_with(request: OrderRequest) -> str | None:
    """Why this must not be sent at all; None if it may. The broker checks the rest."""
    tag = request.client_order_id
    if not (tag.isascii() and tag.isalnum() and 1 <= len(tag) <= TAG_LENGTH):
        return "The client order id must be 1 to 20 letters and digits, or the order could not be found again."
    if to_kite(request.symbol) is None:
        return f"{request.symbol[:60]} has no name at Zerodha."
    if request.product not in PRODUCT_WORDS:
        return f"Zerodha has no product {request.product}."
    return what_is_wrong_with_order(request)


# -- what became of it ---------------------------------------------------------------------------------------------


def read_send_reply(reply: Reply, *, known_id: str | None = None) -> SendResult:
    """Three-valued. Refused only for a known class in plain words from a server in its right mind; else Unknown.

    An acknowledgement says that the order system took it: what risk management says of it is told by the book.
    """
    try:
        body = fields.row(reply.json(), "reply")
    except UnexpectedReply as error:
        return Unknown(error.message)
    message = redact(_words(body.get("message")))
    if body.get("status") == "success" and 200 <= reply.status < 300:
        data = body.get("data")
        order_id = _order_id(data if isinstance(data, dict) else {}) or known_id
        return Acknowledged(order_id, message) if order_id else Unknown("A success without an order number.")
    if reply.status == 429:
        return Refused("RATE_LIMITED", message or "Too many requests.", known_id)
    known = REFUSALS.get(_words(body.get("error_type")))
    if body.get("status") == "error" and known and reply.status < 500 and not is_doubtful(message):
        return Refused(known, message or _words(body.get("error_type")), known_id)
    kind = _words(body.get("error_type")) or "no class"
    return Unknown(f"HTTP {reply.status}, {kind}: {message or 'no message'}")


def _words(value: Any) -> str:
    return str(value)[:300] if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""


def _order_id(data: Row) -> str | None:
    value = data.get("order_id", data.get("trigger_id"))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip() else None


# -- reading: the envelope -----------------------------------------------------------------------------------------


def open_envelope(reply: Reply, *, nan: bool = False) -> Any:
    """The `data` of a good answer, else a typed error. `nan` as `Reply.json` has it."""
    if reply.status in (502, 503, 504):
        raise TransientError("BROKER_UNAVAILABLE", f"HTTP {reply.status}.", status=reply.status)
    if reply.status == 410:
        raise DeprecatedError("DEPRECATED", "The broker no longer offers this call.")
    try:
        body = fields.row(reply.json(nan=nan), "reply")
    except UnexpectedReply as unreadable:
        raise _by_status(reply, "") or unreadable from None
    if 200 <= reply.status < 300 and body.get("status") == "success":
        if "data" not in body:
            raise UnexpectedReply("a success without data.")
        return body["data"]
    message, kind = _words(body.get("message")), _words(body.get("error_type"))
    if kind == "TokenException":
        raise AuthError("AUTH", message or "The broker does not accept the token.")
    if failure := _by_status(reply, message):
        raise failure
    if kind in ("NetworkException", "DataException"):
        raise TransientError("BROKER_UNAVAILABLE", message or kind, status=reply.status)
    if body.get("status") != "error":
        raise UnexpectedReply(f"HTTP {reply.status}: neither success nor error.", status=reply.status)
    raise BusinessError("BROKER_DECLINED", message or kind or f"HTTP {reply.status}", broker_code=kind)


def _by_status(reply: Reply, message: str) -> Exception | None:
    if reply.status == 401:
        return AuthError("AUTH", message or "The broker does not accept the token.")
    if reply.status == 429:
        return RateLimited(message or "Too many requests.", retry_after=reply.retry_after)
    if reply.status >= 500:
        return TransientError("BROKER_UNAVAILABLE", f"HTTP {reply.status}. {message}".strip(), status=reply.status)
    return None


def reader(understand: Callable[[Any], T], *, nan: bool = False) -> Callable[[Reply], T]:
    """From a reply to what its payload says. `nan`: as `Reply.json` has it."""
    return lambda reply: understand(open_envelope(reply, nan=nan))


# -- reading: account ----------------------------------------------------------------------------------------------


def read_profile(payload: Any) -> Profile:
    data = fields.row(payload, "profile")
    return Profile(
        user_id=fields.identity(data, "user_id"), name=fields.text(data, "user_name", "user_shortname", default="")
    )


def read_funds(payload: Any) -> Funds:
    """The equity segment: `net` is what is left, `debits` what is bound."""
    data = fields.row(payload, "margins")
    equity = fields.row(fields.pick(data, "equity"), "equity")
    used = fields.row(fields.pick(equity, "utilised"), "utilised")
    net, bound = fields.rupees(equity, "net"), fields.rupees(used, "debits")
    return Funds(total=net + bound, utilised=bound, available=net, realised=fields.rupees(used, "m2m_realised"))


# -- reading: orders, fills, positions -----------------------------------------------------------------------------


def read_orders(payload: Any) -> list[BookOrder]:
    return [read_order(line) for line in fields.rows(payload, "orders")]


def read_order(line: Row) -> BookOrder:
    """One order, from the book, from the socket or from a postback (which says `unfilled_quantity`)."""
    raw_status = fields.identity(line, "status").upper()
    status = _coded(STATUSES, raw_status, "status")
    ordered = fields.quantity(line, "quantity")
    filled = fields.quantity(line, "filled_quantity", default=ordered if status is BrokerStatus.FILLED else 0)
    stamped = fields.text(line, "exchange_update_timestamp", "exchange_timestamp", "order_timestamp", default="")
    return BookOrder(
        broker_order_id=fields.identity(line, "order_id"),
        client_order_id=fields.text(line, "tag", default="") or None,
        symbol=_symbol(line),
        side=_side(line),
        order_type=_coded(ORDER_TYPES, fields.identity(line, "order_type"), "order_type"),
        product=read_product(line),
        quantity=ordered,
        filled_quantity=filled,
        remaining_quantity=fields.quantity(
            line, "pending_quantity", "unfilled_quantity", default=max(0, ordered - filled)
        ),
        limit_price=fields.price_or_none(line, "price"),
        trigger_price=fields.price_or_none(line, "trigger_price"),
        average_price=fields.price_or_none(line, "average_price"),
        status=status,
        message=redact(fields.text(line, "status_message", "status_message_raw", default="")),
        updated_at=fields.local_time(stamped) if stamped else None,
        source=fields.text(line, "placed_by", default=""),
        raw_status=raw_status,
    )


def _symbol(line: Row) -> str:
    return from_kite(fields.identity(line, "exchange"), fields.identity(line, "tradingsymbol"))


def _side(line: Row) -> Side:
    return _coded({side.value: side for side in Side}, fields.identity(line, "transaction_type"), "transaction_type")


def _coded(table: dict[str, T], word: str, what: str) -> T:
    if word not in table:
        raise UnexpectedReply(f"{what}: unknown word {word[:40]!r}.")
    return table[word]


def read_product(line: Row) -> str:
    word = fields.identity(line, "product")
    return PRODUCTS.get(word, word)


def read_fills(payload: Any) -> list[FillFact]:
    return [read_fill(line) for line in fields.rows(payload, "trades")]


def read_fill(line: Row) -> FillFact:
    """One fill. Kite's trades carry no tag: the order they belong to is known by its number."""
    count = fields.quantity(line, "quantity")
    if count == 0:
        raise UnexpectedReply("quantity: a fill of nothing.")
    return FillFact(
        broker_order_id=fields.identity(line, "order_id"),
        broker_trade_id=fields.identity(line, "trade_id"),
        symbol=_symbol(line),
        side=_side(line),
        quantity=count,
        price=fields.price(line, "average_price"),
        filled_at=fields.local_time(fields.text(line, "fill_timestamp", "exchange_timestamp")),
    )


def read_positions(payload: Any) -> list[BrokerPosition]:
    data = fields.row(payload, "positions")
    return [read_position(line) for line in fields.rows(fields.pick(data, "net"), "net")]


def read_position(line: Row) -> BrokerPosition:
    return BrokerPosition(
        symbol=_symbol(line),
        product=read_product(line),
        net_quantity=fields.whole(line, "quantity"),
        average_price=fields.price_or_none(line, "average_price") or Decimal(0),
        realised=fields.rupees(line, "realised") if fields.has(line, "realised") else Decimal(0),
        unrealised=fields.rupees(line, "unrealised") if fields.has(line, "unrealised") else Decimal(0),
        last_price=fields.price_or_none(line, "last_price"),
    )


# -- reading: market -----------------------------------------------------------------------------------------------


def read_quotes(names: dict[str, str], payload: Any) -> list[Quote]:
    """`names`: Kite's key → our symbol, in the order asked. What the venue does not know is absent."""
    data = fields.row(payload, "quotes")
    return [_quote(symbol, fields.row(data[key], "quote")) for key, symbol in names.items() if key in data]


def _quote(symbol: str, values: Row) -> Quote:
    day = fields.row(fields.pick(values, "ohlc"), "ohlc")
    depth = values.get("depth")
    sides = fields.row(depth, "depth") if depth else {}
    bids, asks = _levels(sides.get("buy") or []), _levels(sides.get("sell") or [])
    stamped = fields.text(values, "last_trade_time", "timestamp", default="")
    return Quote(
        symbol=symbol,
        last_price=fields.price(values, "last_price"),
        bid=bids[0].price if bids else None,
        ask=asks[0].price if asks else None,
        volume=fields.quantity(values, "volume", default=0),
        previous_close=fields.price_or_none(day, "close"),
        open=fields.price_or_none(day, "open"),
        high=fields.price_or_none(day, "high"),
        low=fields.price_or_none(day, "low"),
        traded_at=fields.local_time(stamped) if stamped else None,
    )


def read_bands(names: dict[str, str], payload: Any) -> dict[str, tuple[Decimal, Decimal]]:
    """The day's circuit limits by our symbol; `names` as in read_quotes. An index has none."""
    data = fields.row(payload, "quotes")
    found = {}
    for key, symbol in names.items():
        values = fields.row(data[key], "quote") if key in data else {}
        low = fields.price_or_none(values, "lower_circuit_limit")
        high = fields.price_or_none(values, "upper_circuit_limit")
        if low is not None and high is not None:
            found[symbol] = (low, high)
    return found


def read_depth(payload: Any, key: str, symbol: str) -> Depth:
    data = fields.row(payload, "quotes")
    if key not in data:
        raise BusinessError("UNKNOWN_SYMBOL", f"The venue does not quote {symbol}.")
    values = fields.row(data[key], "quote")
    sides = fields.row(fields.pick(values, "depth"), "depth")
    return Depth(
        symbol=symbol,
        bids=_levels(fields.pick(sides, "buy")),
        asks=_levels(fields.pick(sides, "sell")),
        last_price=fields.price_or_none(values, "last_price"),
        lower_band=fields.price_or_none(values, "lower_circuit_limit"),
        upper_band=fields.price_or_none(values, "upper_circuit_limit"),
        total_bid_quantity=fields.quantity(values, "buy_quantity", default=0),
        total_ask_quantity=fields.quantity(values, "sell_quantity", default=0),
    )


def read_quoted_at(payload: Any, key: str) -> datetime | None:
    """The exchange's own time in a quote."""
    values = fields.row(payload, "quotes").get(key)
    stamped = fields.text(fields.row(values, "quote"), "timestamp", default="") if values else ""
    return fields.local_time(stamped) if stamped else None


def _levels(payload: Any) -> tuple[DepthLevel, ...]:
    """Levels with a price; an empty level is sent as zeros."""
    levels = ((fields.price_or_none(line, "price"), line) for line in fields.rows(payload, "depth"))
    return tuple(
        DepthLevel(price, fields.quantity(line, "quantity"), fields.quantity(line, "orders", default=0))
        for price, line in levels
        if price is not None
    )


def read_candles(payload: Any, *, daily: bool) -> History:
    """Oldest first. A daily bar is stamped midnight in India; ours is stamped midnight UTC of the same day."""
    candles = fields.pick(fields.row(payload, "history"), "candles")
    return read_lines(candles, time_of=lambda value: _candle_time(value, daily=daily))


def _candle_time(value: Any, *, daily: bool) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise UnexpectedReply("candle time: an instant was expected.") from None
    if at.tzinfo is None:
        raise UnexpectedReply("candle time: a zone was expected.")
    return datetime.combine(at.astimezone(IST).date(), datetime.min.time(), UTC) if daily else at.astimezone(UTC)


# -- reading: what is listed ---------------------------------------------------------------------------------------


def read_instruments(reply: Reply) -> list[ListedInstrument]:
    """The lines of an instrument dump. UnexpectedReply where it cannot be read, or nothing is listed."""
    if reply.status != 200:
        open_envelope(reply)
        raise UnexpectedReply(f"instruments: HTTP {reply.status}.")
    try:
        listed = read_csv(io.StringIO(reply.body.decode()))
    except UnicodeDecodeError:
        raise UnexpectedReply("instruments: not a text.") from None
    except MasterRefused as error:
        raise UnexpectedReply(f"instruments: {error.message}") from None
    if not listed:
        raise UnexpectedReply("instruments: empty.")
    return listed


def read_tokens(reply: Reply) -> dict[str, int]:
    """Our symbol → the number by which quotes are streamed and history is asked for."""
    return {one.symbol: int(one.kite_token) for one in read_instruments(reply)}


# -- history spans -------------------------------------------------------------------------------------------------

INTERVALS = {
    "1m": "minute", "3m": "3minute", "5m": "5minute", "10m": "10minute", "15m": "15minute", "30m": "30minute",
    "60m": "60minute", "1h": "60minute", "1d": "day",
}  # fmt: skip
_DAYS = {"minute": 60, "3minute": 100, "5minute": 100, "10minute": 100, "15minute": 200, "30minute": 200,
         "60minute": 400, "day": 2000}  # fmt: skip
# Kite Connect v3, historical data: days a request by interval, both ends counted.
HISTORY_LIMITS = HistoryLimits(
    minutes_span=timedelta(days=_DAYS["minute"] - 1), daily_span=timedelta(days=_DAYS["day"] - 1),
    spans={int(name[:-1]): timedelta(days=_DAYS[known] - 1) for name, known in INTERVALS.items() if name[-1] == "m"},
)  # fmt: skip


def spans(timeframe: str, start: datetime, end: datetime) -> list[tuple[str, str]]:
    """[start, end) cut into what one request may ask for: Indian clock times, both ends inclusive.

    ValueError for an unknown timeframe or for instants without a zone.
    """
    if timeframe not in INTERVALS:
        raise ValueError(f"unknown timeframe {timeframe!r}")
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("a span needs aware instants")
    step = timedelta(days=_DAYS[INTERVALS[timeframe]] - 1)
    at, until = start.astimezone(IST), end.astimezone(IST)
    found = []
    while at < until:
        last = min(at + step, until)
        found.append((f"{at:%Y-%m-%d %H:%M:%S}", f"{last - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}"))
        at = last
    return found
