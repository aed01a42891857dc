"""Orders, trades, positions and quotes in Kite's words. Rupees leave here as floats, times as Indian clock time."""

from __future__ import annotations

from typing import Any

from execution.sandbox.accounts import Position, Trade
from execution.sandbox.calendar import ist
from execution.sandbox.exchange import Ticket
from execution.sandbox.fyers_rows import exchange_id, fyers_id, rupees, shown_limit
from execution.sandbox.market import Depth, Quote
from execution.sandbox.order_book import (
    CANCELLED,
    EXPIRED,
    FILLED,
    LIMIT,
    MARKET,
    PENDING,
    REJECTED,
    STOP,
    STOP_LIMIT,
    Order,
)
from execution.sandbox.universe import Listing

Row = dict[str, Any]
NSE, INDICES = 1, 9
TYPE_OF = {"LIMIT": LIMIT, "MARKET": MARKET, "SL-M": STOP, "SL": STOP_LIMIT}
WORD_OF = {code: word for word, code in TYPE_OF.items()}
PRODUCT_OF = {"MIS": "INTRADAY", "CNC": "CNC"}
PRODUCT_WORD = {ours: word for word, ours in PRODUCT_OF.items()}
ENDS = {CANCELLED: "CANCELLED", EXPIRED: "CANCELLED", FILLED: "COMPLETE", REJECTED: "REJECTED"}
INDEX_NAMES = {"NIFTY50": "NIFTY 50", "NIFTYBANK": "NIFTY BANK"}


def clock_time(epoch: float) -> str:
    return f"{ist(epoch):%Y-%m-%d %H:%M:%S}"


def side_word(side: int) -> str:
    return "BUY" if side == 1 else "SELL"


def token_of(listing: Listing) -> int:
    """Exchange number and segment in one."""
    return listing.exchange_token * 256 + (INDICES if listing.is_index else NSE)


def trading_symbol(listing: Listing) -> str:
    return INDEX_NAMES.get(listing.short_name, listing.short_name) if listing.is_index else listing.short_name


def status_word(order: Order) -> str:
    if order.status == PENDING:
        return "OPEN" if order.triggered else "TRIGGER PENDING"
    return ENDS[order.status]


def order_row(order: Order, listing: Listing) -> Row:
    own_tag = order.tag and not order.tag.startswith("2:")
    return {
        "account_id": order.user,
        "placed_by": order.user if own_tag or not order.tag else "SYSTEM",
        "order_id": order.id,
        "exchange_order_id": exchange_id(order.id),
        "parent_order_id": None,
        "status": status_word(order),
        "status_message": order.message or None,
        "status_message_raw": None,
        "order_timestamp": clock_time(order.updated_at),
        "exchange_update_timestamp": clock_time(order.updated_at),
        "exchange_timestamp": clock_time(order.placed_at),
        "variety": "regular",
        "modified": False,
        "exchange": "NSE",
        "tradingsymbol": trading_symbol(listing),
        "instrument_token": token_of(listing),
        "order_type": WORD_OF[order.type],
        "transaction_type": side_word(order.side),
        "validity": order.validity,
        "validity_ttl": 0,
        "product": PRODUCT_WORD[order.product],
        "quantity": order.qty,
        "disclosed_quantity": order.disclosed,
        "price": rupees(shown_limit(order)),
        "trigger_price": rupees(order.stop),
        "average_price": rupees(order.average),
        "filled_quantity": order.filled,
        "pending_quantity": order.remaining if order.is_live else 0,
        "cancelled_quantity": order.remaining if order.status in (CANCELLED, EXPIRED) else 0,
        "market_protection": 0,
        "meta": {},
        "tag": order.tag if own_tag else None,
        "guid": fyers_id(order.id)[:16],
    }


def trade_row(trade: Trade, listing: Listing) -> Row:
    return {
        "trade_id": trade.id,
        "order_id": trade.order_id,
        "exchange_order_id": exchange_id(trade.order_id),
        "exchange": "NSE",
        "tradingsymbol": trading_symbol(listing),
        "instrument_token": token_of(listing),
        "product": PRODUCT_WORD[trade.product],
        "transaction_type": side_word(trade.side),
        "quantity": trade.qty,
        "average_price": rupees(trade.price),
        "fill_timestamp": clock_time(trade.at),
        "exchange_timestamp": clock_time(trade.at),
        "order_timestamp": clock_time(trade.at)[11:],
    }


def position_row(position: Position, listing: Listing, quote: Quote) -> Row:
    unrealised = position.unrealised(quote.last)
    return {
        "tradingsymbol": trading_symbol(listing),
        "exchange": "NSE",
        "instrument_token": token_of(listing),
        "product": PRODUCT_WORD[position.product],
        "quantity": position.net,
        "overnight_quantity": 0,
        "multiplier": 1,
        "average_price": rupees(position.net_avg),
        "close_price": rupees(quote.prev_close),
        "last_price": rupees(quote.last),
        "value": rupees(position.sell_val - position.buy_val),
        "pnl": rupees(position.realised + unrealised),
        "m2m": rupees(position.realised + unrealised),
        "unrealised": rupees(unrealised),
        "realised": rupees(position.realised),
        "buy_quantity": position.buy_qty,
        "buy_price": rupees(position.buy_avg),
        "buy_value": rupees(position.buy_val),
        "sell_quantity": position.sell_qty,
        "sell_price": rupees(position.sell_avg),
        "sell_value": rupees(position.sell_val),
        "day_buy_quantity": position.buy_qty,
        "day_sell_quantity": position.sell_qty,
    }


def margin_row(ticket: Ticket, paise: float) -> Row:
    """One order's line of a margin reply. Shares only: all of it is VaR and ELM."""
    return {
        "type": "equity",
        "tradingsymbol": ticket.symbol.split(":", 1)[1].rsplit("-", 1)[0],
        "exchange": "NSE",
        "span": 0,
        "exposure": 0,
        "option_premium": 0,
        "additional": 0,
        "bo": 0,
        "cash": 0,
        "var": rupees(paise),
        "pnl": {"realised": 0, "unrealised": 0},
        "leverage": 1 if ticket.product == "CNC" else 5,
        "charges": {"total": 0},
        "total": round(paise / 100, 2),
    }


def quote_row(listing: Listing, quote: Quote, depth: Depth, band: tuple[int, int], at: float) -> Row:
    """A full quote; `at` is the venue's time."""
    sides = {"buy": depth.bids, "sell": depth.asks}
    empty = {"price": 0, "quantity": 0, "orders": 0}
    shown = {
        name: [{"price": rupees(x.price), "quantity": x.size, "orders": x.orders} for x in levels]
        for name, levels in sides.items()
    }
    return {
        "instrument_token": token_of(listing),
        "timestamp": clock_time(at),
        "last_trade_time": clock_time(quote.traded_at),
        "last_price": rupees(quote.last),
        "last_quantity": quote.last_size,
        "average_price": rupees(quote.average),
        "volume": quote.volume,
        "buy_quantity": sum(level.size for level in depth.bids) * 20,
        "sell_quantity": sum(level.size for level in depth.asks) * 20,
        "oi": 0,
        "oi_day_high": 0,
        "oi_day_low": 0,
        "net_change": 0,
        "lower_circuit_limit": rupees(band[0]),
        "upper_circuit_limit": rupees(band[1]),
        "ohlc": {
            "open": rupees(quote.open),
            "high": rupees(quote.high),
            "low": rupees(quote.low),
            "close": rupees(quote.prev_close),
        },
        "depth": {name: [*rows, *[empty] * (5 - len(rows))] for name, rows in shown.items()},
    }
