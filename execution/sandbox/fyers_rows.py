"""Orders, trades and positions in the broker's words: REST rows and socket frames. Rupees leave here as floats."""

from __future__ import annotations

import uuid
from typing import Any

from execution.sandbox.accounts import Position, Trade
from execution.sandbox.calendar import ist
from execution.sandbox.market import Quote
from execution.sandbox.order_book import FILLED, MARKET, PENDING, STOP, Order
from execution.sandbox.universe import Listing

Row = dict[str, Any]
NAMESPACE = uuid.UUID("6b1f6f0e-6a55-4c7e-9a55-3a6b3f4f0001")


def rupees(paise: float) -> float:
    return round(paise / 100, 4)


def order_time(epoch: float) -> str:
    return f"{ist(epoch):%d-%b-%Y %H:%M:%S}"


def tag_of(order: Order) -> str:
    if not order.tag:
        return "2:Untagged"
    return order.tag if order.tag.startswith("2:") else f"1:{order.tag}"


def shown_limit(order: Order) -> int:
    """A market order shows the protection price it works at."""
    return order.working_limit if order.type in (MARKET, STOP) and order.triggered else order.limit


def exchange_id(order_id: str) -> str:
    return "11" + order_id.zfill(14)


def fyers_id(order_id: str) -> str:
    return str(uuid.uuid5(NAMESPACE, order_id))


def quote_change(quote: Quote) -> Row:
    change = quote.last - quote.prev_close
    return {
        "lp": rupees(quote.last),
        "ch": rupees(change),
        "chp": round(100 * change / quote.prev_close, 2) if quote.prev_close else 0.0,
    }


def order_row(order: Order, listing: Listing, quote: Quote, number: int) -> Row:
    """One element of `orderBook`."""
    return {
        "clientId": order.user,
        "id": order.id,
        "id_fyers": fyers_id(order.id),
        "exchOrdId": exchange_id(order.id),
        "qty": order.qty,
        "remainingQuantity": order.remaining,
        "filledQty": order.filled,
        "discloseQty": order.disclosed,
        "disclosedQty": order.disclosed,
        "dqQtyRem": 0,
        "limitPrice": rupees(shown_limit(order)),
        "stopPrice": rupees(order.stop),
        "tradedPrice": rupees(order.average),
        "type": order.type,
        "fyToken": listing.fy_token,
        "exchange": 10,
        "segment": 10,
        "symbol": order.symbol,
        "instrument": listing.instrument,
        "message": order.message,
        "offlineOrder": False,
        "orderDateTime": order_time(order.placed_at),
        "orderValidity": order.validity,
        "pan": "",
        "productType": order.product,
        "side": order.side,
        "status": order.status,
        "source": order.source,
        "ex_sym": listing.short_name,
        "description": listing.name,
        **quote_change(quote),
        "slNo": number,
        "orderNumStatus": f"{order.id}:{order.status}",
        "orderTag": tag_of(order),
        "takeProfit": 0,
        "stopLoss": 0,
    }


def trade_row(trade: Trade, listing: Listing, number: int) -> Row:
    """One element of `tradeBook`."""
    tag = trade.tag if trade.tag.startswith("2:") else f"1:{trade.tag}" if trade.tag else "2:Untagged"
    return {
        "clientId": trade.user,
        "symbol": trade.symbol,
        "fyToken": listing.fy_token,
        "orderNumber": trade.order_id,
        "exchangeOrderNo": exchange_id(trade.order_id),
        "tradeNumber": trade.id,
        "tradedQty": trade.qty,
        "tradePrice": rupees(trade.price),
        "tradeValue": rupees(trade.value),
        "side": trade.side,
        "orderType": trade.type,
        "exchange": 10,
        "segment": 10,
        "row": number,
        "orderDateTime": order_time(trade.at),
        "productType": trade.product,
        "orderTag": tag,
    }


def position_row(position: Position, listing: Listing, last: int, number: int) -> Row:
    """One element of `netPositions`."""
    unrealised = position.unrealised(last)
    return {
        "id": position.id,
        "symbol": position.symbol,
        "fyToken": listing.fy_token,
        "productType": position.product,
        "side": position.side,
        "netQty": position.net,
        "qty": abs(position.net),
        "buyQty": position.buy_qty,
        "sellQty": position.sell_qty,
        "buyAvg": rupees(position.buy_avg),
        "sellAvg": rupees(position.sell_avg),
        "netAvg": rupees(position.net_avg),
        "avgPrice": rupees(position.net_avg),
        "buyVal": rupees(position.buy_val),
        "sellVal": rupees(position.sell_val),
        "realized_profit": rupees(position.realised),
        "unrealized_profit": rupees(unrealised),
        "pl": rupees(position.realised + unrealised),
        "ltp": rupees(last),
        "cfBuyQty": 0,
        "cfSellQty": 0,
        "dayBuyQty": position.buy_qty,
        "daySellQty": position.sell_qty,
        "crossCurrency": "N",
        "rbiRefRate": 1.0,
        "qtyMulti_com": 1.0,
        "exchange": 10,
        "segment": 10,
        "slNo": number,
    }


def order_frame(order: Order, listing: Listing) -> Row:
    """What the order socket says of an order."""
    internal = {PENDING: 20, FILLED: 90}.get(order.status, 30)
    row: Row = {
        "client_id": order.user,
        "id": order.id,
        "id_fyers": fyers_id(order.id),
        "id_exchange": exchange_id(order.id),
        "qty": order.qty,
        "qty_filled": order.filled,
        "qty_remaining": order.remaining,
        "price_limit": rupees(shown_limit(order)),
        "price_stop": rupees(order.stop),
        "price_traded": rupees(order.average),
        "ord_type": order.type,
        "tran_side": order.side,
        "ord_status": internal,
        "org_ord_status": order.status,
        "symbol": order.symbol,
        "fy_token": listing.fy_token,
        "exchange": 10,
        "segment": 10,
        "instrument": listing.instrument,
        "product_type": order.product,
        "validity": order.validity,
        "offline_flag": False,
        "ord_source": order.source,
        "ordertag": tag_of(order),
        "time_oms": order_time(order.updated_at),
        "symbol_exch": listing.short_name,
        "symbol_desc": listing.name,
        "oms_msg": order.message,
        "tick_size": rupees(listing.tick_paise),
        "lot_size": 1,
    }
    return {"s": "ok", "orders": row}


def trade_frame(trade: Trade, listing: Listing) -> Row:
    row = trade_row(trade, listing, 0)
    return {
        "s": "ok",
        "trades": {
            "client_id": trade.user,
            "id": trade.order_id,
            "id_fill": trade.id,
            "id_exchange": exchange_id(trade.order_id),
            "qty_traded": trade.qty,
            "price_traded": rupees(trade.price),
            "traded_val": rupees(trade.value),
            "tran_side": trade.side,
            "ord_type": trade.type,
            "product_type": trade.product,
            "symbol": trade.symbol,
            "fy_token": listing.fy_token,
            "exchange": 10,
            "segment": 10,
            "fill_time": f"{ist(trade.at):%d-%m-%Y %H:%M:%S}",
            "ordertag": row["orderTag"],
        },
    }


def position_frame(position: Position, listing: Listing, last: int) -> Row:
    row = position_row(position, listing, last, 0)
    return {
        "s": "ok",
        "positions": {
            "id": row["id"],
            "symbol": row["symbol"],
            "fy_token": row["fyToken"],
            "product_type": row["productType"],
            "net_qty": row["netQty"],
            "qty": row["qty"],
            "net_avg": row["netAvg"],
            "buy_qty": row["buyQty"],
            "buy_avg": row["buyAvg"],
            "buy_val": row["buyVal"],
            "sell_qty": row["sellQty"],
            "sell_avg": row["sellAvg"],
            "sell_val": row["sellVal"],
            "tran_side": row["side"],
            "pl_realized": row["realized_profit"],
            "pl_unrealized": row["unrealized_profit"],
            "pl_total": row["pl"],
            "rbirefrate": 1.0,
            "exchange": 10,
            "segment": 10,
            "day_buy_qty": row["dayBuyQty"],
            "day_sell_qty": row["daySellQty"],
            "cf_buy_qty": 0,
            "cf_sell_qty": 0,
            "qty_multiplier": 1.0,
            "cross_curr_flag": "N",
        },
    }
