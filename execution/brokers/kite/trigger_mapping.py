"""GTT orders in Kite's fields. Pure; as `mapping`, nothing is guessed. Source: Kite Connect v3, GTT orders."""

import json
from decimal import Decimal
from typing import Any

from execution.brokers import fields
from execution.brokers.errors import UnexpectedReply, redact
from execution.brokers.fields import Row
from execution.brokers.kite.mapping import PRODUCT_WORDS, encode, read_product
from execution.brokers.kite.symbols import from_kite, to_kite
from execution.brokers.port import StandingTrigger, TriggerLeg, TriggerRequest, TriggerStatus
from trading.domain.orders import Side

STATUSES = {
    "active": TriggerStatus.ACTIVE, "triggered": TriggerStatus.TRIGGERED, "disabled": TriggerStatus.CANCELLED,
    "expired": TriggerStatus.EXPIRED, "cancelled": TriggerStatus.CANCELLED, "rejected": TriggerStatus.REJECTED,
    "deleted": TriggerStatus.CANCELLED,
}  # fmt: skip


def body(request: TriggerRequest) -> bytes:
    """The form of a new trigger, and of a changed one: Kite wants all of it both times."""
    name = to_kite(request.symbol)
    if name is None:
        raise ValueError(f"{request.symbol} has no name at Zerodha")
    named = f'"exchange":{json.dumps(name.exchange)},"tradingsymbol":{json.dumps(name.tradingsymbol)}'
    values = ",".join(_exact(leg.trigger_price) for leg in request.rising)
    condition = f'{{{named},"trigger_values":[{values}],"last_price":{_exact(request.last_price)}}}'
    orders = ",".join(
        f'{{{named},"transaction_type":{json.dumps(request.side.value)},"quantity":{leg.quantity},'
        f'"order_type":"LIMIT","product":{json.dumps(PRODUCT_WORDS[request.product])},'
        f'"price":{_exact(leg.limit_price)}}}'
        for leg in request.rising
    )
    kind = "two-leg" if len(request.legs) == 2 else "single"
    return encode({"type": kind, "condition": condition, "orders": f"[{orders}]"})


def _exact(price: Decimal) -> str:
    return format(price, "f")


def what_is_wrong_with(request: TriggerRequest) -> str | None:
    if to_kite(request.symbol) is None:
        return f"{request.symbol[:60]} has no name at Zerodha."
    if request.product not in PRODUCT_WORDS:
        return f"Zerodha has no product {request.product}."
    return None


def read_triggers(payload: Any) -> list[StandingTrigger]:
    return [_trigger(line) for line in fields.rows(payload, "triggers")]


def _trigger(line: Row) -> StandingTrigger:
    condition = fields.row(fields.pick(line, "condition"), "condition")
    orders = fields.rows(fields.pick(line, "orders"), "orders")
    values = fields.pick(condition, "trigger_values")
    status = fields.identity(line, "status").lower()
    if not isinstance(values, list) or len(values) != len(orders) or not orders or status not in STATUSES:
        raise UnexpectedReply(f"trigger: unknown status {status[:20]!r}, or prices without their orders.")
    legs = [
        TriggerLeg(
            trigger_price=fields.price({"trigger_values": value}, "trigger_values"),
            limit_price=fields.price_or_none(order, "price") or Decimal(0),
            quantity=fields.quantity(order, "quantity"),
        )
        for value, order in zip(values, orders, strict=True)
    ]
    word = fields.identity(orders[0], "transaction_type")
    if word not in Side.__members__:
        raise UnexpectedReply(f"transaction_type: unknown word {word[:20]!r}.")
    stamped = fields.text(line, "created_at", default="")
    return StandingTrigger(
        trigger_id=fields.identity(line, "id"),
        symbol=from_kite(fields.identity(condition, "exchange"), fields.identity(condition, "tradingsymbol")),
        side=Side[word],
        product=read_product(orders[0]),
        legs=tuple(sorted(legs, key=lambda leg: leg.trigger_price)),
        status=STATUSES[status],
        message=redact(_why(orders)),
        created_at=fields.local_time(stamped) if stamped else None,
    )


def _why(orders: list[Row]) -> str:
    """What became of the order that was placed, where it was declined."""
    for order in orders:
        result = order.get("result")
        told = result.get("order_result") if isinstance(result, dict) else None
        if isinstance(told, dict) and isinstance(told.get("rejection_reason"), str) and told["rejection_reason"]:
            return str(told["rejection_reason"])
    return ""
