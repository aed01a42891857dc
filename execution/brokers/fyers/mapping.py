"""FYERS fields and ours, both ways. Pure. A reply of another shape raises UnexpectedReply; nothing is guessed.

Source: FYERS API v3. Field names stand as on the wire; the order socket writes the same facts under other names,
which is why a reader may list two.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

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
from execution.brokers.port import (
    Acknowledged,
    BookOrder,
    BrokerPosition,
    BrokerStatus,
    ChainLine,
    Depth,
    DepthLevel,
    Funds,
    History,
    ListedInstrument,
    OptionChain,
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
from trading.marketdata.sources import HistoryLimits

T = TypeVar("T")

ORDER_TYPES = {1: OrderType.LIMIT, 2: OrderType.MARKET, 3: OrderType.STOP, 4: OrderType.STOP_LIMIT}
TYPE_CODES = {order_type: code for code, order_type in ORDER_TYPES.items()}
SIDES = {1: Side.BUY, -1: Side.SELL}
STATUSES = {
    1: BrokerStatus.CANCELLED,
    2: BrokerStatus.FILLED,
    4: BrokerStatus.TRANSIT,
    5: BrokerStatus.REJECTED,
    6: BrokerStatus.PENDING,
    7: BrokerStatus.EXPIRED,
}
EXCHANGES = {10: "NSE", 11: "MCX", 12: "BSE"}
SEGMENTS = {10: "CM", 11: "FO", 12: "CD", 20: "COM"}
CASH_TYPES = {
    0: "EQ",
    1: "PREF",
    2: "DEBENTURE",
    3: "WARRANT",
    5: "SGB",
    6: "GSEC",
    7: "TBILL",
    8: "MF",
    9: "ETF",
    10: "INDEX",
}
DERIVATIVE_TYPES = {
    11: "FUTIDX", 12: "FUTIVX", 13: "FUTSTK", 14: "OPTIDX", 15: "OPTSTK", 16: "FUTCUR", 17: "FUTIRT", 18: "FUTIRC",
    19: "OPTCUR", 25: "FUTIRD", 30: "FUTCOM", 31: "OPTFUT", 32: "OPTCOM", 33: "FUTBAS", 34: "FUTBLN", 35: "FUTENR",
    36: "OPTBLN", 37: "OPTFUT",
}  # fmt: skip

TAG = re.compile(r"[A-Za-z0-9]{1,30}")
AUTH_CODES = frozenset({-8, -15, -16, -17})
RATE_CODES = frozenset({-429, 429})
# What a placement may be refused with for certain, and our word for it. Anything not in this list is doubt.
REFUSALS = {
    -8: "AUTH", -15: "AUTH", -16: "AUTH", -17: "AUTH", -50: "INVALID_PARAMETER", -51: "INVALID_ORDER",
    -99: "REJECTED", -300: "INVALID_SYMBOL", -352: "INVALID_APP", -429: "RATE_LIMITED", 429: "RATE_LIMITED",
}  # fmt: skip
_NO_ACKNOWLEDGEMENT = 201

# -- to the broker -------------------------------------------------------------------------------------------------


def encode(values: dict[str, object]) -> bytes:
    """JSON with exact prices: a Decimal is written digit by digit and never becomes a float."""
    parts = (f"{json.dumps(key)}:{_literal(value)}" for key, value in values.items())
    return f"{{{','.join(parts)}}}".encode()


def _literal(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)


def place_body(request: OrderRequest) -> bytes:
    return encode(
        {
            "symbol": request.symbol,
            "qty": request.quantity,
            "type": TYPE_CODES[request.order_type],
            "side": request.side.sign,
            "productType": request.product.value,
            "limitPrice": request.limit_price or 0,
            "stopPrice": request.trigger_price or 0,
            "validity": request.validity.value,
            "disclosedQty": 0,
            "offlineOrder": False,
            "stopLoss": 0,
            "takeProfit": 0,
            "orderTag": request.client_order_id,
        }
    )


def modify_body(
    broker_order_id: str,
    *,
    order_type: OrderType,
    quantity: int | None,
    limit_price: Decimal | None,
    trigger_price: Decimal | None,
) -> bytes:
    values: dict[str, object] = {"id": broker_order_id, "type": TYPE_CODES[order_type]}
    if quantity is not None:
        values["qty"] = quantity
    if limit_price is not None:
        values["limitPrice"] = limit_price
    if trigger_price is not None:
        values["stopPrice"] = trigger_price
    return encode(values)


def what_is_wrong_with(request: OrderRequest) -> str | None:
    """Why this must not be sent at all; None if it may. The broker checks the rest."""
    if not TAG.fullmatch(request.client_order_id) or request.client_order_id.lower() == "untagged":
        return "The client order id must be 1 to 30 letters and digits, or the order could not be found again."
    return what_is_wrong_with_order(request)


# -- what became of it ---------------------------------------------------------------------------------------------


def read_send_reply(reply: Reply, *, known_id: str | None = None) -> SendResult:
    """Three-valued. Refused only for a known code in plain words from a server in its right mind; else Unknown.

    `known_id` is the order that a change or a cancel is about: its reply need not repeat it.
    """
    try:
        body = fields.row(reply.json(), "reply")
    except UnexpectedReply as error:
        return Unknown(error.message)
    state, message = body.get("s"), redact(_words(body.get("message")))
    code = body.get("code")
    order_id = _order_id(body) or known_id
    if state == "ok" and 200 <= reply.status < 300 and order_id and code != _NO_ACKNOWLEDGEMENT:
        return Acknowledged(order_id, message)
    known = REFUSALS.get(code) if isinstance(code, int) and not isinstance(code, bool) else None
    if state == "error" and known and reply.status < 500 and not is_doubtful(message):
        return Refused(known, message or f"FYERS code {code}", order_id)
    return Unknown(f"HTTP {reply.status}, code {_words(code) or 'none'}: {message or 'no message'}")


def _words(value: Any) -> str:
    return str(value)[:300] if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""


def _order_id(body: Row) -> str | None:
    value = body.get("id")
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip() else None


# -- reading: the envelope -----------------------------------------------------------------------------------------


def open_envelope(reply: Reply, *, empty: tuple[str, ...] = (), nan: bool = False) -> Row:
    """The body of a good answer. `empty` lists further states that are good (`no_data`); `nan` as `Reply.json` has it.
    Else a typed error."""
    if reply.status in (502, 503, 504):
        raise TransientError("BROKER_UNAVAILABLE", f"HTTP {reply.status}.", status=reply.status)
    if reply.status == 410:
        raise DeprecatedError("DEPRECATED", "The broker no longer offers this call.")
    try:
        body = fields.row(reply.json(nan=nan), "reply")
    except UnexpectedReply as unreadable:
        raise _by_status(reply, "") or unreadable from None
    state = body.get("s")
    if 200 <= reply.status < 300 and (state == "ok" or state in empty):
        return body
    message, code = _words(body.get("message")), body.get("code")
    if code in AUTH_CODES:
        raise AuthError("AUTH", message or "The broker does not accept the token.", broker_code=code)
    if code in RATE_CODES:
        raise RateLimited(message or "Rate limit exceeded.", retry_after=reply.retry_after)
    if failure := _by_status(reply, message):
        raise failure
    if state != "error":
        raise UnexpectedReply(f"HTTP {reply.status}: neither ok nor error.", status=reply.status)
    if "deprecated" in message.lower():
        raise DeprecatedError("DEPRECATED", message)
    raise BusinessError("BROKER_DECLINED", message or f"FYERS code {_words(code)}", broker_code=_words(code))


def _by_status(reply: Reply, message: str) -> Exception | None:
    if reply.status == 401:
        return AuthError("AUTH", message or "The broker does not accept the token.")
    if reply.status == 429:
        return RateLimited(message or "Rate limit exceeded.", retry_after=reply.retry_after)
    if reply.status >= 500:
        return TransientError("BROKER_UNAVAILABLE", f"HTTP {reply.status}. {message}".strip(), status=reply.status)
    return None


def reader(key: str, understand: Callable[[Any], T]) -> Callable[[Reply], T]:
    """From a reply to what its payload says."""
    return lambda reply: understand(fields.pick(open_envelope(reply), key))


# -- reading: account ----------------------------------------------------------------------------------------------


def read_profile(payload: Any) -> Profile:
    data = fields.row(payload, "profile")
    return Profile(user_id=fields.identity(data, "fy_id"), name=fields.text(data, "name", "display_name", default=""))


def read_funds(payload: Any) -> Funds:
    """Equity and commodity amounts together, found by their ids: titles are for people."""
    by_id = {fields.whole(line, "id"): line for line in fields.rows(payload, "fund_limit")}

    def amount(line_id: int) -> Decimal:
        line = by_id.get(line_id)
        if line is None:
            raise UnexpectedReply(f"fund_limit: line {line_id} is missing.")
        commodity = fields.rupees(line, "commodityAmount") if fields.has(line, "commodityAmount") else Decimal(0)
        return fields.rupees(line, "equityAmount") + commodity

    return Funds(total=amount(1), utilised=amount(2), available=amount(10), realised=amount(4))


# -- reading: orders, fills, positions -----------------------------------------------------------------------------


def read_orders(payload: Any) -> list[BookOrder]:
    return [read_order(line) for line in fields.rows(payload, "orderBook")]


def read_order(line: Row) -> BookOrder:
    """One order, from the book or from the socket. Quantities that are left out follow from the status."""
    raw_status = _raw_status(line)
    status = _coded(STATUSES, raw_status, "status")
    ordered = fields.quantity(line, "qty")
    filled = fields.quantity(line, "filledQty", "qty_filled", default=ordered if status is BrokerStatus.FILLED else 0)
    stamped = fields.text(line, "update_time_exch", "time_exch", "orderDateTime", "time_oms", default="")
    if stamped in ("", "NA") and fields.has(line, "orderDateTime", "time_oms"):
        stamped = fields.text(line, "orderDateTime", "time_oms")
    return BookOrder(
        broker_order_id=fields.identity(line, "id"),
        client_order_id=read_tag(line),
        symbol=fields.identity(line, "symbol"),
        side=_coded(SIDES, fields.whole(line, "side", "tran_side"), "side"),
        order_type=_coded(ORDER_TYPES, fields.whole(line, "type", "ord_type"), "type"),
        product=read_product(line),
        quantity=ordered,
        filled_quantity=filled,
        remaining_quantity=fields.quantity(
            line, "remainingQuantity", "qty_remaining", default=max(0, ordered - filled)
        ),
        limit_price=fields.price_or_none(line, "limitPrice", "price_limit"),
        trigger_price=fields.price_or_none(line, "stopPrice", "price_stop"),
        average_price=fields.price_or_none(line, "tradedPrice", "price_traded"),
        status=status,
        message=redact(fields.text(line, "message", "oms_msg", default="")),
        updated_at=fields.local_time(stamped) if stamped not in ("", "NA") else None,
        source=fields.text(line, "source", "ord_source", default=""),
        raw_status=str(raw_status),
    )


def _raw_status(line: Row) -> int:
    """The public status. On the socket `ord_status` is an internal code and `org_ord_status` the public one."""
    if fields.has(line, "org_ord_status"):
        return fields.whole(line, "org_ord_status")
    _, colon, tail = fields.text(line, "orderNumStatus", default="").rpartition(":")
    if colon and tail.isascii() and tail.isdigit() and len(tail) < 4:
        return int(tail)
    return fields.whole(line, "status")


def _coded(table: dict[int, T], code: int, what: str) -> T:
    if code not in table:
        raise UnexpectedReply(f"{what}: unknown code {code}.")
    return table[code]


def read_tag(line: Row) -> str | None:
    """Ours if it begins with `1:`; the broker's own tags begin with `2:`."""
    owner, colon, tag = fields.text(line, "orderTag", "ordertag", default="").partition(":")
    return tag if colon and owner == "1" and tag else None


def read_product(line: Row) -> str:
    word = fields.identity(line, "productType", "product_type")
    return Product(word) if word in Product.__members__ else word


def read_fills(payload: Any) -> list[FillFact]:
    return [read_fill(line) for line in fields.rows(payload, "tradeBook")]


def read_fill(line: Row) -> FillFact:
    """One fill, from the trade book or from the socket.

    The socket numbers fills `<order>-<trade>`, the book `<trade>`; only the trade's own number is kept, or the same
    fill would be known under two names and booked twice.
    """
    broker_order_id = fields.identity(line, "orderNumber", "id")
    count = fields.quantity(line, "tradedQty", "qty_traded")
    if count == 0:
        raise UnexpectedReply("tradedQty: a fill of nothing.")
    return FillFact(
        broker_order_id=broker_order_id,
        broker_trade_id=fields.identity(line, "tradeNumber", "id_fill").removeprefix(f"{broker_order_id}-"),
        symbol=fields.identity(line, "symbol"),
        side=_coded(SIDES, fields.whole(line, "side", "tran_side"), "side"),
        quantity=count,
        price=fields.price(line, "tradePrice", "price_traded"),
        filled_at=fields.local_time(fields.text(line, "orderDateTime", "fill_time")),
        client_order_id=read_tag(line),
    )


def read_positions(payload: Any) -> list[BrokerPosition]:
    return [read_position(line) for line in fields.rows(payload, "netPositions")]


def read_position(line: Row) -> BrokerPosition:
    return BrokerPosition(
        symbol=fields.identity(line, "symbol"),
        product=read_product(line),
        net_quantity=fields.whole(line, "netQty", "net_qty"),
        average_price=fields.price_or_none(line, "netAvg", "net_avg", "avgPrice") or Decimal(0),
        realised=_profit(line, "realized_profit", "pl_realized"),
        unrealised=_profit(line, "unrealized_profit", "pl_unrealized"),
        last_price=fields.price_or_none(line, "ltp"),
    )


def _profit(line: Row, *names: str) -> Decimal:
    return fields.rupees(line, *names) if fields.has(line, *names) else Decimal(0)


# -- reading: market -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QuoteSheet:
    """What was answered, and which symbols the venue would not quote."""

    quotes: list[Quote]
    refused: list[str]


def read_quotes(payload: Any) -> QuoteSheet:
    sheet = QuoteSheet([], [])
    for line in fields.rows(payload, "quotes"):
        symbol = fields.identity(line, "n")
        if line.get("s") == "ok":
            sheet.quotes.append(_quote(symbol, fields.row(fields.pick(line, "v"), "quote")))
        elif line.get("s") == "error":
            sheet.refused.append(symbol)
        else:
            raise UnexpectedReply("quotes: an element is neither ok nor error.")
    return sheet


def _quote(symbol: str, values: Row) -> Quote:
    stamped = values.get("tt")
    return Quote(
        symbol=symbol,
        last_price=fields.price(values, "lp"),
        bid=fields.price_or_none(values, "bid"),
        ask=fields.price_or_none(values, "ask"),
        volume=fields.quantity(values, "volume", default=0),
        previous_close=fields.price_or_none(values, "prev_close_price"),
        open=fields.price_or_none(values, "open_price"),
        high=fields.price_or_none(values, "high_price"),
        low=fields.price_or_none(values, "low_price"),
        traded_at=None if stamped in (None, "", 0, "0") else fields.epoch(stamped, "tt"),
    )


def read_depth(payload: Any, symbol: str) -> Depth:
    book = fields.row(fields.pick(fields.row(payload, "depth"), symbol), "depth")
    return Depth(
        symbol=symbol,
        bids=_levels(fields.pick(book, "bids")),
        asks=_levels(fields.pick(book, "ask", "asks")),
        last_price=fields.price_or_none(book, "ltp"),
        lower_band=fields.price_or_none(book, "lower_ckt"),
        upper_band=fields.price_or_none(book, "upper_ckt"),
        total_bid_quantity=fields.quantity(book, "totalbuyqty", default=0),
        total_ask_quantity=fields.quantity(book, "totalsellqty", default=0),
    )


def _levels(payload: Any) -> tuple[DepthLevel, ...]:
    """Levels with a price; an empty level is sent as zeros."""
    levels = ((fields.price_or_none(line, "price"), line) for line in fields.rows(payload, "depth"))
    return tuple(
        DepthLevel(price, fields.quantity(line, "volume"), fields.quantity(line, "ord", default=0))
        for price, line in levels
        if price is not None
    )


def read_candles(reply: Reply) -> History:
    """Oldest first. Here an empty answer is an answer: no bar fell into the span."""
    body = open_envelope(reply, empty=("no_data",), nan=True)
    if body["s"] == "no_data":
        return History()
    return read_lines(fields.pick(body, "candles"), time_of=lambda value: fields.epoch(value, "candle time"))


def read_option_chain(payload: Any) -> OptionChain:
    """The chain of one expiry: its first line is the underlying itself. Source: FYERS API v3, option chain."""
    data = fields.row(payload, "option chain")
    underlying, spot = "", None
    lines = []
    for line in fields.rows(fields.pick(data, "optionsChain"), "optionsChain"):
        option_type = fields.text(line, "option_type", default="")
        if option_type not in ("CE", "PE"):
            underlying, spot = fields.identity(line, "symbol"), fields.price_or_none(line, "ltp")
            continue
        lines.append(
            ChainLine(
                symbol=fields.identity(line, "symbol"),
                strike=fields.price(line, "strike_price"),
                option_type=option_type,
                last_price=fields.price_or_none(line, "ltp"),
                bid=fields.price_or_none(line, "bid"),
                ask=fields.price_or_none(line, "ask"),
                open_interest=fields.quantity(line, "oi", default=0),
                open_interest_change=fields.whole(line, "oich", default=0),
                volume=fields.quantity(line, "volume", default=0),
            )
        )
    if not lines:
        raise UnexpectedReply("option chain: no options.")
    return OptionChain(underlying, spot, tuple(sorted(expiry_stamps(payload))), tuple(lines))


def expiry_stamps(payload: Any) -> dict[date, str]:
    """How the venue itself writes each expiry: day → the stamp it wants to be asked with."""
    data = fields.row(payload, "option chain")
    return {
        fields.epoch(fields.pick(one, "expiry"), "expiry").astimezone(IST).date(): fields.text(one, "expiry")
        for one in fields.rows(fields.pick(data, "expiryData"), "expiryData")
    }


def read_market_open(payload: Any) -> bool:
    """Whether continuous trading runs in the NSE cash market."""
    for line in fields.rows(payload, "marketStatus"):
        where = (fields.whole(line, "exchange"), fields.whole(line, "segment"), fields.text(line, "market_type"))
        if where == (10, 10, "NORMAL"):
            return fields.text(line, "status").upper() == "OPEN"
    raise UnexpectedReply("marketStatus: the NSE cash market is missing.")


# -- reading: what is listed ---------------------------------------------------------------------------------------


def read_symbol_master(reply: Reply) -> list[ListedInstrument]:
    """The JSON master: one object keyed by ticker, without an envelope. Inactive instruments are left out."""
    if reply.status != 200:
        open_envelope(reply)
        raise UnexpectedReply(f"symbol master: HTTP {reply.status}.")
    master = fields.row(reply.json(), "symbol master")
    if not master:
        raise UnexpectedReply("symbol master: empty.")
    lines = ((ticker, fields.row(line, "symbol master")) for ticker, line in master.items())
    return [_listed(ticker, line) for ticker, line in lines if line.get("tradeStatus", 1) != 0]


def _listed(ticker: str, line: Row) -> ListedInstrument:
    segment = fields.whole(line, "segment")
    kind = fields.whole(line, "exInstType")
    option_type = fields.text(line, "optType", default="XX")
    is_option = option_type in ("CE", "PE")
    names = CASH_TYPES if segment == 10 else DERIVATIVE_TYPES
    return ListedInstrument(
        symbol=fields.text(line, "symTicker", default=ticker),
        name=fields.text(line, "exSymName", "symDetails", "symbolDesc", default=ticker),
        fy_token=fields.identity(line, "fyToken"),
        exchange=_coded(EXCHANGES, fields.whole(line, "exchange"), "exchange"),
        segment=_coded(SEGMENTS, segment, "segment"),
        instrument_type=names.get(kind, f"OTHER_{kind}"),
        isin=fields.text(line, "isin", default=""),
        tick_size=fields.price(line, "tickSize"),
        lot_size=max(1, fields.quantity(line, "minLotSize", default=1)),  # indices hold zero
        freeze_quantity=_digits(line, "qtyFreeze"),
        lower_band=fields.price_or_none(line, "lowerPrice"),
        upper_band=fields.price_or_none(line, "upperPrice"),
        previous_close=fields.price_or_none(line, "previousClose"),
        expiry=_expiry(line),
        strike=fields.price(line, "strikePrice") if is_option else None,
        option_type=option_type if is_option else None,
        underlying=fields.text(line, "underSym", default="") or None,
        sector=fields.text(line, "sector", default="") or None,
        underlying_token=fields.text(line, "underFyTok", default=""),
        exchange_token=fields.text(line, "exToken", default=""),
    )


def _digits(line: Row, name: str) -> int | None:
    """A whole number written as text; empty, zero and absent mean none."""
    written = fields.text(line, name, default="").strip()
    if not written:
        return None
    if not written.isascii() or not written.isdigit() or len(written) > 15:
        raise UnexpectedReply(f"{name}: digits were expected.")
    return int(written) or None


def _expiry(line: Row) -> date | None:
    seconds = _digits(line, "expiryDate")
    return None if seconds is None else fields.epoch(seconds, "expiryDate").astimezone(IST).date()


# -- history spans -------------------------------------------------------------------------------------------------

_MINUTES = {f"{n}m": str(n) for n in (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 240)}
RESOLUTIONS = {**_MINUTES, "1h": "60", "2h": "120", "4h": "240", "1d": "1D"}
# FYERS API v3, history: 100 days of minutes or 366 daily bars a request, both ends counted; nothing before July 2017.
HISTORY_LIMITS = HistoryLimits(minutes_span=timedelta(days=99), daily_span=timedelta(days=365), since=date(2017, 7, 3))


def spans(timeframe: str, start: datetime, end: datetime) -> list[tuple[int, int]]:
    """[start, end) cut into what one request may ask for: epoch seconds, both ends inclusive.

    ValueError for an unknown timeframe or for instants without a zone.
    """
    if timeframe not in RESOLUTIONS:
        raise ValueError(f"unknown timeframe {timeframe!r}")
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("a span needs aware instants")
    step = HISTORY_LIMITS.daily_span if timeframe == "1d" else HISTORY_LIMITS.minutes_span
    found = []
    at, end = start.astimezone(UTC), end.astimezone(UTC)
    while at < end:
        until = min(at + step, end)
        first, last = -int(-at.timestamp() // 1), -int(-until.timestamp() // 1) - 1
        if last >= first:
            found.append((first, last))
        at = until
    return found
