"""Margins and holdings in FYERS's fields. Pure; as `mapping`, nothing is guessed. Source: FYERS API v3."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from execution.brokers import fields
from execution.brokers.errors import UnexpectedReply
from execution.brokers.fields import Row
from execution.brokers.fyers.mapping import TYPE_CODES, encode
from execution.brokers.port import BrokerHolding, Margin
from trading.domain.orders import OrderRequest


def margin_body(requests: Sequence[OrderRequest]) -> bytes:
    """The basket of a margin call. Source: FYERS API v3, multi-order margin."""
    rows = (
        encode(
            {
                "symbol": one.symbol,
                "qty": one.quantity,
                "side": one.side.sign,
                "type": TYPE_CODES[one.order_type],
                "productType": one.product.value,
                "limitPrice": one.limit_price or 0,
                "stopLoss": 0,
                "stopPrice": one.trigger_price or 0,
                "takeProfit": 0,
            }
        )
        for one in requests
    )
    return b'{"data":[' + b",".join(rows) + b"]}"


def read_margin(payload: Any) -> Margin:
    """`margin_new_order` is described in two ways that contradict each other: the larger of the two sums counts."""
    data = fields.row(payload, "margin")
    asked = max(fields.rupees(data, "margin_total"), fields.rupees(data, "margin_new_order"))
    if asked < 0:
        raise UnexpectedReply("margin: a margin cannot be negative.")
    return Margin(required=asked, available=fields.rupees(data, "margin_avail"))


def read_holdings(payload: Any) -> list[BrokerHolding]:
    return [_holding(line) for line in fields.rows(payload, "holdings")]


def _holding(line: Row) -> BrokerHolding:
    held = fields.quantity(line, "quantity")
    left = fields.whole(line, "remainingQuantity") if fields.has(line, "remainingQuantity") else held
    pledged = fields.whole(line, "collateralQuantity") if fields.has(line, "collateralQuantity") else 0
    on_the_way = fields.whole(line, "qty_t1") if fields.has(line, "qty_t1") else 0
    if fields.text(line, "holdingType", default="") == "T1" and not on_the_way:
        on_the_way = held
    return BrokerHolding(
        symbol=fields.identity(line, "symbol"),
        isin=fields.text(line, "isin", default=""),
        quantity=held,
        sellable=max(0, left - max(0, pledged)),
        unsettled=max(0, on_the_way),
        average_price=fields.price_or_none(line, "costPrice") or Decimal(0),
        last_price=fields.price_or_none(line, "ltp"),
    )
