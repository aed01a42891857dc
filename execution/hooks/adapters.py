"""Dialects: the full payload, the simple one, a screener's list. Each becomes fields under one set of paths."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from execution.hooks.payload import EMPTY, Fields
from execution.hooks.refusal import FieldError, Findings, Refused, quoted
from execution.hooks.templates import FULL
from trading.domain.clock import IST

SECTIONS = {
    "tv": (
        "exchange", "symbol", "timeframe", "action", "market_position", "market_position_size", "prev_market_position",
        "prev_market_position_size", "entry_price", "close_price", "order_size",
    ),
    "strategy_info": ("trade_id", "alert_name", "alert_message"),
    "execution_intent": ("type", "side", "position_size_type", "precision_mode"),
    "risk": ("stop_loss", "take_profit", "max_slippage_percent"),
}  # fmt: skip
TOP = ("secret", "user_id", "source", "timestamp")
SIMPLE = {
    "tv.exchange": ("exchange",),
    "tv.symbol": ("symbol", "ticker", "tradingsymbol"),
    "tv.timeframe": ("timeframe", "interval"),
    "tv.action": ("action", "side", "signal"),
    "tv.market_position": ("market_position", "position"),
    "tv.prev_market_position": ("prev_market_position",),
    "tv.market_position_size": ("market_position_size",),
    "tv.prev_market_position_size": ("prev_market_position_size",),
    "tv.entry_price": ("price", "entry_price", "entry"),
    "tv.close_price": ("close", "close_price"),
    "strategy_info.trade_id": ("trade_id", "order_id", "id"),
    "strategy_info.alert_name": ("alert_name", "strategy"),
    "strategy_info.alert_message": ("message", "comment"),
    "execution_intent.type": ("type", "intent"),
    "execution_intent.precision_mode": ("precision_mode", "precision"),
    "risk.stop_loss": ("stop_loss", "stop", "sl"),
    "risk.take_profit": ("take_profit", "target", "tp"),
    "risk.max_slippage_percent": ("max_slippage_percent", "max_slippage_pct"),
    "timestamp": ("timestamp", "time", "timenow"),
    "user_id": ("user_id",),
    "source": ("source",),
}
SIZES = {"contracts": ("quantity", "qty", "contracts", "order_size"), "base": ("lots",), "quote": ("amount", "rupees")}
CHARTINK = ("stocks", "trigger_prices", "triggered_at", "scan_name", "scan_url", "alert_name", "webhook_url", "secret")
CHARTINK_MARKS = {"trigger_prices", "triggered_at", "scan_name", "alert_name"}
CHARTINK_NAMES = {
    "timestamp": "triggered_at", "strategy_info.alert_name": "alert_name",
    "strategy_info.alert_message": "scan_name", "tv.action": "action",
}  # fmt: skip
MOST_STOCKS = 50
MOST_IGNORED = 20


def alerts_in(body: Mapping[str, Any], *, wall: datetime) -> list[Fields]:
    """The alerts of one body, in its order. Refused (400) where it is of no shape that is known."""
    dialect = dialect_of(body)
    if dialect == "chartink":
        return _chartink(body, wall)
    return [_full(body) if dialect == "tradingview" else _simple(body)]


def dialect_of(body: Mapping[str, Any]) -> str:
    """`chartink`, `tradingview` (the full payload) or `simple`, by the names it has."""
    if "stocks" in body and CHARTINK_MARKS & set(body):
        return "chartink"
    return "tradingview" if set(SECTIONS) & set(body) else "simple"


def refuse_plain_text() -> Refused:
    """A plain sentence cannot be traded: what to paste instead."""
    said = "Plain text cannot be traded. Paste the template into the alert's message, with your hook's secret in it."
    error = FieldError("", "NOT_JSON", "The body is no JSON object.")
    return Refused(415, "PLAIN_TEXT", said, [error], template=FULL)


def _full(body: Mapping[str, Any]) -> Fields:
    findings = Findings()
    values: dict[str, Any] = {name: body[name] for name in TOP if name in body}
    ignored = [str(name) for name in body if name not in TOP and name not in SECTIONS]
    for section, known in SECTIONS.items():
        inner = body.get(section)
        if inner is None:
            continue
        if not isinstance(inner, Mapping):
            findings.add(section, "NOT_AN_OBJECT", "An object is expected: {…}.")
            continue
        values |= {f"{section}.{name}": inner[name] for name in known if name in inner}
        ignored += [f"{section}.{name}" for name in inner if name not in known]
    findings.refuse_if_any()
    values.pop("secret", None)
    return Fields(values, "tradingview", ignored=_short(ignored))


def _simple(body: Mapping[str, Any]) -> Fields:
    findings = Findings()
    values: dict[str, Any] = {}
    shown = {path: names[0] for path, names in SIMPLE.items()} | {"tv.order_size": "quantity"}
    seen = {"secret"}
    for path, names in SIMPLE.items():
        found = [name for name in names if name in body]
        seen.update(found)
        if found:
            values[path], shown[path] = body[found[0]], found[0]
    sizes = [(kind, name) for kind, names in SIZES.items() for name in names if not _is_empty(body.get(name))]
    seen.update(name for names in SIZES.values() for name in names)
    if len(sizes) > 1:
        findings.add(sizes[1][1], "TWO_SIZES", f"Say how much once: {sizes[0][1]} or {sizes[1][1]}.")
    if sizes:
        values["tv.order_size"], shown["tv.order_size"] = body[sizes[0][1]], sizes[0][1]
        values["execution_intent.position_size_type"] = sizes[0][0]
    findings.refuse_if_any()
    return Fields(values, "simple", shown, _short([str(name) for name in body if name not in seen]))


def _chartink(body: Mapping[str, Any], wall: datetime) -> list[Fields]:
    """A screener's comma lists: one alert for each stock, each with its price."""
    findings = Findings()
    stocks = _words(body.get("stocks"), "stocks", findings)
    prices = _words(body.get("trigger_prices", ""), "trigger_prices", findings)
    if not stocks and not findings.found:
        findings.add("stocks", "MISSING", "Which stocks?")
    if len(stocks) > MOST_STOCKS:
        findings.add("stocks", "TOO_MANY", f"{len(stocks)} stocks at once; {MOST_STOCKS} at most.")
    if prices and len(prices) != len(stocks):
        findings.add("trigger_prices", "UNEVEN", f"{len(prices)} prices for {len(stocks)} stocks.")
    repeated = [stock for stock in dict.fromkeys(stocks) if stocks.count(stock) > 1]
    if repeated:
        findings.add("stocks", "REPEATED", f"{quoted(repeated[0])} is listed twice.")
    told = {
        "source": "chartink",
        "timestamp": _told_at(body.get("triggered_at"), wall, findings),
        "strategy_info.alert_name": body.get("alert_name") or body.get("scan_name"),
        "strategy_info.alert_message": body.get("scan_name"),
        "tv.exchange": "NSE",
    }
    findings.refuse_if_any()
    ignored = _short([str(name) for name in body if name not in CHARTINK])
    return [
        Fields(
            told | {"tv.symbol": stock, "tv.entry_price": prices[place] if prices else None}, "chartink",
            CHARTINK_NAMES | {"tv.symbol": f"stocks[{place}]", "tv.entry_price": f"trigger_prices[{place}]"}, ignored,
        )
        for place, stock in enumerate(stocks)
    ]  # fmt: skip


def _words(value: Any, path: str, findings: Findings) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, Decimal):
        return [f"{value:f}"[:40]]
    if not isinstance(value, str):
        findings.add(path, "NOT_TEXT", "A list with commas is expected.")
        return []
    return [word.strip() for word in value.split(",") if word.strip()]


def _told_at(value: Any, wall: datetime, findings: Findings) -> datetime | None:
    """`2:34 pm` of today, or `2026-02-16 14:34:00`, both IST."""
    if _is_empty(value):
        return None
    text = str(value).strip().lower()
    clock = re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(am|pm)?", text)
    try:
        if clock:
            hour = int(clock[1]) % 12 + (12 if clock[4] == "pm" else 0) if clock[4] else int(clock[1])
            at = wall.astimezone(IST).replace(hour=hour, minute=int(clock[2]), second=int(clock[3] or 0), microsecond=0)
            # Just after midnight a time of the evening is that of yesterday.
            return (at - timedelta(days=1) if at - wall > timedelta(hours=12) else at).astimezone(UTC)
        at = datetime.fromisoformat(text.upper())
        return (at if at.tzinfo else at.replace(tzinfo=IST)).astimezone(UTC)
    except (ValueError, OverflowError):
        findings.add("triggered_at", "NOT_AN_INSTANT", f"{text[:40]!r} is no time such as 2:34 pm.")
        return None


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in EMPTY)


def _short(names: list[str]) -> tuple[str, ...]:
    return tuple(name[:60] for name in names[:MOST_IGNORED])
