"""The fields of one alert, read and checked one by one, as plain values. What they mean for a trade is in `meaning`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from execution.hooks.refusal import Findings, quoted
from trading.api.serializers import MAX_PRICE, MAX_UNITS

SIZE_TYPES = {
    "contracts": "UNITS", "base": "LOTS", "quote": "RUPEES", "units": "UNITS", "lots": "LOTS", "rupees": "RUPEES",
}  # fmt: skip
INTENTS = {"signal": "SIGNAL", "entry": "SIGNAL", "exit": "EXIT", "reduce": "REDUCE", "reverse": "REVERSE"}
SIDES = {"buy": "BUY", "long": "BUY", "sell": "SELL", "short": "SELL"}
POSITIONS = {"long": "BUY", "short": "SELL", "flat": "FLAT"}
ACTIONS = {
    "buy": "BUY", "long": "BUY", "sell": "SELL", "short": "SELL", "exit": "EXIT", "close": "EXIT", "flat": "EXIT",
    "square_off": "EXIT", "reduce": "REDUCE", "reverse": "REVERSE",
}  # fmt: skip
PRECISION = {"auto": "auto", "strict": "strict"}

EMPTY = frozenset(["", "null", "none", "na", "n/a", "nan", "undefined"])
PLACEHOLDER = re.compile(r"\{\{.*?\}\}")
SYMBOL = re.compile(r"[A-Z0-9&_.!^:+*/ -]{1,60}")
MAX_SIZE = Decimal(MAX_UNITS)
MAX_RUPEES = Decimal(1_000_000_000)


@dataclass(frozen=True, slots=True)
class Fields:
    """One alert as `path → value` under the canonical paths. `shown` names a path as its sender writes it."""

    values: Mapping[str, Any]
    dialect: str
    shown: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()  # names nobody reads; kept with the body


@dataclass(frozen=True, slots=True)
class Alert:
    """What one alert says. Sides, kinds and sizes are words of the sender; prices in rupees, None where not given."""

    dialect: str
    source: str
    user_id: str
    said_at: datetime | None
    said_within_s: int  # the sender's clock tells no more exactly than this
    exchange: str
    symbol: str
    timeframe: str
    action: str
    position: str
    position_before: str
    position_size: Decimal | None
    position_size_before: Decimal | None
    entry_price: Decimal | None
    close_price: Decimal | None
    order_size: Decimal | None
    trade_id: str
    alert_name: str
    message: str
    intent: str
    intent_side: str
    size_type: str
    strict: bool
    stop: Decimal | None
    target: Decimal | None
    max_slippage_pct: Decimal | None
    ignored: tuple[str, ...]
    shown: Mapping[str, str]

    def name_of(self, path: str) -> str:
        return self.shown.get(path, path)

    @property
    def price(self) -> Decimal | None:
        return self.entry_price or self.close_price


def read_alert(fields: Fields, *, default_timeframe: str = "") -> Alert:
    """One alert of its fields. Refused (400, INVALID_ALERT) with every field that is wrong."""
    read = _Reader(fields)
    said_at, within_s = read.instant("timestamp")
    exchange, symbol = read.listing()
    alert = Alert(
        dialect=fields.dialect,
        source=read.text("source", 40),
        user_id=read.text("user_id", 150),
        said_at=said_at,
        said_within_s=within_s,
        exchange=exchange,
        symbol=symbol,
        timeframe=read.timeframe("tv.timeframe") or default_timeframe,
        action=read.one_of("tv.action", ACTIONS),
        position=read.one_of("tv.market_position", POSITIONS),
        position_before=read.one_of("tv.prev_market_position", POSITIONS),
        position_size=read.size("tv.market_position_size"),
        position_size_before=read.size("tv.prev_market_position_size"),
        entry_price=read.price("tv.entry_price"),
        close_price=read.price("tv.close_price"),
        order_size=read.size("tv.order_size"),
        trade_id=read.text("strategy_info.trade_id", 200),
        alert_name=read.text("strategy_info.alert_name", 200),
        message=read.text("strategy_info.alert_message", 2000),
        intent=read.one_of("execution_intent.type", INTENTS),
        intent_side=read.one_of("execution_intent.side", SIDES),
        size_type=read.one_of("execution_intent.position_size_type", SIZE_TYPES) or "UNITS",
        strict=read.one_of("execution_intent.precision_mode", PRECISION) == "strict",
        stop=read.price("risk.stop_loss"),
        target=read.price("risk.take_profit"),
        max_slippage_pct=read.number("risk.max_slippage_percent", most=Decimal(50)),
        ignored=fields.ignored,
        shown=fields.shown,
    )
    read.findings.refuse_if_any()
    return alert


class _Reader:
    """Reads values by their path and gathers what is wrong with them."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.findings = Findings()

    def wrong(self, path: str, code: str, message: str) -> None:
        self.findings.add(self.fields.shown.get(path, path), code, message)

    def given(self, path: str) -> Any:
        """The value, None where there is none or only a word for none."""
        value = self.fields.values.get(path)
        if isinstance(value, str):
            value = value.strip()
            if PLACEHOLDER.search(value):
                self.wrong(path, "PLACEHOLDER", f"{quoted(value)} was not filled in by the sender: an alert of a "
                           "strategy fills {{strategy.…}}, one of an indicator does not.")  # fmt: skip
                return None
            return None if value.lower() in EMPTY else value
        return value

    def text(self, path: str, most: int) -> str:
        value = self.given(path)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | Decimal):
            self.wrong(path, "NOT_TEXT", "Text is expected.")
            return ""
        text = value if isinstance(value, str) else f"{value:f}"[:most]
        if len(text) > most:
            self.wrong(path, "TOO_LONG", f"{most} characters at most.")
        return text[:most]

    def one_of(self, path: str, words: Mapping[str, str]) -> str:
        value = self.given(path)
        if value is None:
            return ""
        found = words.get(value.lower().replace(" ", "_")) if isinstance(value, str) else None
        if found is None:
            self.wrong(path, "UNKNOWN_VALUE", f"{quoted(value)} is none of {', '.join(words)}.")
        return found or ""

    def number(self, path: str, *, most: Decimal, least: Decimal = Decimal(0)) -> Decimal | None:
        value = self.given(path)
        if value is None:
            return None
        number = _as_number(value)
        if number is None:
            self.wrong(path, "NOT_A_NUMBER", f"{quoted(value)} is not a number.")
        elif not least <= number <= most:
            self.wrong(path, "OUT_OF_RANGE", f"{quoted(value)} is not between {least} and {most}.")
        else:
            return round(number, 8)
        return None

    def price(self, path: str) -> Decimal | None:
        value = self.number(path, most=MAX_PRICE)
        # A price that rounds to nothing is none: zero stands for "not set" in most senders.
        return round(value, 4) or None if value is not None else None

    def size(self, path: str) -> Decimal | None:
        """A size; signed positions of a short are taken without their sign."""
        in_rupees = SIZE_TYPES.get(str(self.fields.values.get("execution_intent.position_size_type")).lower())
        most = MAX_RUPEES if in_rupees == "RUPEES" else MAX_SIZE
        value = self.number(path, most=most, least=-most if path.endswith("position_size") else Decimal(0))
        return abs(value) if value is not None else None

    def listing(self) -> tuple[str, str]:
        """Exchange and symbol, in capitals; `NSE:SBIN` in one field is both."""
        exchange, symbol = self.text("tv.exchange", 20).upper(), self.text("tv.symbol", 60).upper()
        if not symbol:
            if not any(one.field == self.fields.shown.get("tv.symbol", "tv.symbol") for one in self.findings.found):
                self.wrong("tv.symbol", "MISSING", "Which instrument?")
        elif not SYMBOL.fullmatch(symbol):
            self.wrong("tv.symbol", "NOT_A_SYMBOL", f"{quoted(symbol)} is not the name of an instrument.")
        if exchange and not SYMBOL.fullmatch(exchange):
            self.wrong("tv.exchange", "NOT_A_SYMBOL", f"{quoted(exchange)} is not the name of an exchange.")
        if ":" in symbol:
            before, _, after = symbol.partition(":")
            return before or exchange, after
        return exchange, symbol

    def timeframe(self, path: str) -> str:
        value = self.text(path, 12)
        if not value:
            return ""
        name = timeframe_name(value)
        if not name:
            self.wrong(path, "UNKNOWN_VALUE", f"{quoted(value)} is no timeframe: 15, 60, 1D, 15m, 1h.")
        return name

    def instant(self, path: str) -> tuple[datetime | None, int]:
        """When it was said, UTC, and how many seconds that may be off by its own coarseness."""
        value = self.given(path)
        if value is None:
            return None, 0
        if isinstance(value, datetime):  # an adapter has read it already: to the minute
            return value, 60
        at = _as_instant(value)
        if at is None:
            self.wrong(path, "NOT_AN_INSTANT", f"{quoted(value)} is no ISO 8601 time such as 2026-02-16T04:15:00Z.")
        return at, 1


def timeframe_name(value: str) -> str:
    """`15` → 15m, `60` → 1h, `D` → 1d, `1h` → 1h; "" for what is none. TradingView's `M` is a month, `15` minutes."""
    found = re.fullmatch(r"(\d{0,4})\s*(S|s|m|min|H|h|D|d|W|w|M)?", value)
    if not found or not value:
        return ""
    count, unit = int(found[1] or 1), found[2] or ("m" if found[1] else "")
    if not unit or not count:
        return ""
    unit = {"min": "m", "M": "mo"}.get(unit, unit.lower())
    if unit == "m" and count % 60 == 0:
        count, unit = count // 60, "h"
    return f"{count}{unit}"


def _as_number(value: Any) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9,]{0,20}(\.[0-9]{0,20})?", value):
            return None
        try:
            value = Decimal(value.replace(",", ""))
        except InvalidOperation:
            return None
    return value if isinstance(value, Decimal) and value.is_finite() else None


def _as_instant(value: Any) -> datetime | None:
    """ISO 8601 (without a zone: UTC), or seconds or milliseconds since 1970."""
    try:
        if isinstance(value, Decimal) or (isinstance(value, str) and re.fullmatch(r"\d{10}|\d{13}", value)):
            seconds = Decimal(value)
            if not Decimal(10**9) <= seconds < Decimal(10**13):
                return None
            return datetime.fromtimestamp(float(seconds / 1000 if seconds >= 10**11 else seconds), UTC)
        if not isinstance(value, str):
            return None
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
