"""Replies in the shapes of the protocol's description, made up, with invented people and numbers."""

import base64
import json
from decimal import Decimal
from typing import Any

from execution.brokers.fyers.credentials import Credentials
from execution.brokers.http import Reply
from trading.domain.orders import OrderRequest, OrderType, Product, Side

TAG = "PABCDEFGHIJKLMNOPQRS"


def jwt(**claims: Any) -> str:
    def part(values: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()

    return f"{part({'typ': 'JWT', 'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"


TOKEN = jwt(exp=1763685000, hsm_key="ab" * 28, fy_id="XA00001")
CREDENTIALS = Credentials("SANDBOX001-100", TOKEN)


def reply(body: Any, *, status: int = 200, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def decoded(body: Any) -> Any:
    """As it comes off the wire: fractions exact."""
    return reply(body).json()


def request(**changes: Any) -> OrderRequest:
    values: dict[str, Any] = {
        "client_order_id": TAG,
        "symbol": "NSE:SBIN-EQ",
        "side": Side.BUY,
        "quantity": 10,
        "order_type": OrderType.LIMIT,
        "product": Product.INTRADAY,
        "limit_price": Decimal("612.40"),
    }
    return OrderRequest(**{**values, **changes})


def book_line(**changes: Any) -> dict[str, Any]:
    return {
        "clientId": "XA00001", "id": "25112000000017", "id_fyers": "3d0c6c1e", "exchOrdId": "1100000000012345",
        "qty": 10, "remainingQuantity": 0, "filledQty": 10, "discloseQty": 0, "limitPrice": 612.4, "stopPrice": 0,
        "tradedPrice": 612.35, "type": 1, "fyToken": "10100000003045", "exchange": 10, "segment": 10,
        "symbol": "NSE:SBIN-EQ", "instrument": 0, "message": "", "offlineOrder": False,
        "orderDateTime": "20-Nov-2025 09:31:07", "orderValidity": "DAY", "productType": "INTRADAY", "side": 1,
        "status": 2, "source": "ITS", "slNo": 1, "orderNumStatus": "25112000000017:2", "orderTag": f"1:{TAG}",
        **changes,
    }  # fmt: skip


def socket_order(**changes: Any) -> dict[str, Any]:
    return {
        "client_id": "XA00001", "id": "25112000000017", "id_exchange": "1100000000012345", "qty": 10, "qty_filled": 10,
        "qty_remaining": 0, "price_limit": 0, "price_traded": 612.35, "ord_type": 2, "tran_side": 1, "ord_status": 90,
        "org_ord_status": 2, "symbol": "NSE:SBIN-EQ", "exchange": 10, "segment": 10, "product_type": "INTRADAY",
        "validity": "DAY", "ord_source": "ITS", "ordertag": "2:Untagged", "time_oms": "20-Nov-2025 09:31:07",
        "oms_msg": "", **changes,
    }  # fmt: skip


def trade_line(**changes: Any) -> dict[str, Any]:
    return {
        "clientId": "XA00001", "orderDateTime": "20-Nov-2025 09:31:07", "orderNumber": "25112000000017",
        "exchangeOrderNo": "1100000000012345", "exchange": 10, "side": 1, "segment": 10, "orderType": 2,
        "fyToken": "10100000003045", "productType": "INTRADAY", "tradedQty": 10, "tradePrice": 612.35,
        "tradeValue": 6123.5, "tradeNumber": "52605", "row": 1, "symbol": "NSE:SBIN-EQ", "orderTag": f"1:{TAG}",
        **changes,
    }  # fmt: skip


def socket_trade(**changes: Any) -> dict[str, Any]:
    return {
        "id": "25112000000017", "id_fill": "25112000000017-52605", "qty_traded": 10, "price_traded": 612.35,
        "traded_val": 6123.5, "tran_side": 1, "ord_type": 2, "product_type": "INTRADAY", "symbol": "NSE:SBIN-EQ",
        "fill_time": "20-11-2025 09:31:07", "exchange": 10, "segment": 10, **changes,
    }  # fmt: skip


def position_line(**changes: Any) -> dict[str, Any]:
    return {
        "id": "NSE:SBIN-EQ-INTRADAY", "symbol": "NSE:SBIN-EQ", "productType": "INTRADAY", "side": -1, "netQty": -10,
        "qty": 10, "netAvg": 612.35, "avgPrice": 612.35, "buyQty": 0, "buyAvg": 0, "buyVal": 0, "sellQty": 10,
        "sellAvg": 612.35, "sellVal": 6123.5, "realized_profit": -0.04999999999999982, "unrealized_profit": 12.5,
        "pl": 12.45, "ltp": 611.1, "crossCurrency": "N", "rbiRefRate": 1.0, "exchange": 10, "segment": 10, **changes,
    }  # fmt: skip


def master_line(**changes: Any) -> dict[str, Any]:
    return {
        "fyToken": "10100000003045", "isin": "INE062A01020", "exSymbol": "SBIN", "exSymName": "STATE BANK OF INDIA",
        "symDetails": "STATE BANK OF INDIA", "symTicker": "NSE:SBIN-EQ", "exchange": 10, "segment": 10, "exToken": 3045,
        "exSeries": "EQ", "optType": "XX", "underSym": "SBIN", "underFyTok": "10100000003045", "exInstType": 0,
        "minLotSize": 1, "tickSize": 0.05, "tradingSession": "0915-1530", "lastUpdate": "2025-11-20", "expiryDate": "",
        "strikePrice": -1.0, "qtyFreeze": "", "tradeStatus": 1, "upperPrice": 673.6, "lowerPrice": 551.2,
        "previousClose": 612.4, **changes,
    }  # fmt: skip
