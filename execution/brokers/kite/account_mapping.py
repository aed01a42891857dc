"""Margins and holdings in Kite's fields. Pure; as `mapping`, nothing is guessed. Source: Kite Connect v3."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from execution.brokers import fields
from execution.brokers.errors import BusinessError, UnexpectedReply
from execution.brokers.fields import Row
from execution.brokers.kite.mapping import PRODUCT_WORDS, TYPE_WORDS
from execution.brokers.kite.symbols import from_kite, to_kite
from execution.brokers.port import BrokerHolding, Margin
from trading.domain.orders import OrderRequest


def margin_body(requests: Sequence[OrderRequest]) -> bytes:
    """The basket of a margin call, as JSON with exact prices. BusinessError for what has no name at Zerodha."""
    rows = []
    for one in requests:
        name = to_kite(one.symbol)
        if name is None or one.product not in PRODUCT_WORDS:
            raise BusinessError("UNKNOWN_SYMBOL", f"{one.symbol[:60]} as {one.product} has no name at Zerodha.")
        words = {
            "exchange": name.exchange,
            "tradingsymbol": name.tradingsymbol,
            "transaction_type": one.side.value,
            "variety": "regular",
            "product": PRODUCT_WORDS[one.product],
            "order_type": TYPE_WORDS[one.order_type],
        }
        numbers = {"quantity": one.quantity, "price": one.limit_price, "trigger_price": one.trigger_price}
        parts = [f"{json.dumps(key)}:{json.dumps(word)}" for key, word in words.items()]
        parts += [f"{json.dumps(key)}:{format(Decimal(value or 0), 'f')}" for key, value in numbers.items()]
        rows.append(f"{{{','.join(parts)}}}")
    return f"[{','.join(rows)}]".encode()


def read_margin(payload: Any) -> Margin:
    """The margin of one order."""
    lines = fields.rows(payload, "margins")
    if len(lines) != 1:
        raise UnexpectedReply(f"margins: one line was expected, not {len(lines)}.")
    alone = _total(lines[0])
    return Margin(required=alone, available=None, each=(alone,))


def read_basket(payload: Any) -> Margin:
    """The margin of several: `final` is what they block together, one covering another."""
    data = fields.row(payload, "margins")
    together = _total(fields.row(fields.pick(data, "final"), "final"))
    each = tuple(_total(line) for line in fields.rows(fields.pick(data, "orders"), "orders"))
    return Margin(required=together, available=None, each=each)


def _total(line: Row) -> Decimal:
    found = fields.rupees(line, "total")
    if found < 0:
        raise UnexpectedReply("margins: a margin cannot be negative.")
    return found


def read_holdings(payload: Any) -> list[BrokerHolding]:
    return [_holding(line) for line in fields.rows(payload, "holdings")]


def _holding(line: Row) -> BrokerHolding:
    """Kite counts what is on its way apart from what is delivered; what was sold today is `used_quantity`."""
    delivered = fields.quantity(line, "quantity", default=0)
    on_the_way = fields.quantity(line, "t1_quantity", default=0)
    pledged = fields.quantity(line, "collateral_quantity", default=0)
    used = fields.quantity(line, "used_quantity", default=0)
    return BrokerHolding(
        symbol=from_kite(fields.identity(line, "exchange"), fields.identity(line, "tradingsymbol")),
        isin=fields.text(line, "isin", default=""),
        quantity=delivered + on_the_way + pledged,
        sellable=max(0, delivered + on_the_way - used),
        unsettled=on_the_way,
        average_price=fields.price_or_none(line, "average_price") or Decimal(0),
        last_price=fields.price_or_none(line, "last_price"),
    )
