"""GTT and OCO orders in FYERS's fields. Pure; as `mapping`, nothing is guessed. Source: FYERS API v3, GTT orders."""

from decimal import Decimal
from typing import Any

from execution.brokers import fields
from execution.brokers.errors import UnexpectedReply, redact
from execution.brokers.fields import Row
from execution.brokers.fyers.mapping import SIDES, encode, read_product
from execution.brokers.port import StandingTrigger, TriggerLeg, TriggerRequest, TriggerStatus

STATUSES = {
    1: TriggerStatus.CANCELLED, 2: TriggerStatus.TRIGGERED, 4: TriggerStatus.ACTIVE, 5: TriggerStatus.REJECTED,
    6: TriggerStatus.ACTIVE, 7: TriggerStatus.EXPIRED,
}  # fmt: skip


def place_body(request: TriggerRequest) -> bytes:
    head = encode(
        {"side": request.side.sign, "symbol": request.symbol, "productType": request.product.value}
    ).removesuffix(b"}")
    return head + b',"orderInfo":' + _order_info(request) + b"}"


def modify_body(trigger_id: str, request: TriggerRequest) -> bytes:
    return encode({"id": trigger_id}).removesuffix(b"}") + b',"orderInfo":' + _order_info(request) + b"}"


def _order_info(request: TriggerRequest) -> bytes:
    """Of two legs the first waits above the market and the second below it."""
    legs = [
        encode({"price": leg.limit_price, "triggerPrice": leg.trigger_price, "qty": leg.quantity})
        for leg in reversed(request.rising)
    ]
    return b"{" + b",".join(b'"leg%d":%s' % (at, leg) for at, leg in enumerate(legs, start=1)) + b"}"


def read_triggers(payload: Any) -> list[StandingTrigger]:
    return [_trigger(line) for line in fields.rows(payload, "orderBook")]


def _trigger(line: Row) -> StandingTrigger:
    side, status = fields.whole(line, "tran_side"), fields.whole(line, "ord_status")
    if side not in SIDES or status not in STATUSES:
        raise UnexpectedReply(f"gtt order: unknown side {side} or status {status}.")
    legs = [_leg(line, "")]
    if fields.has(line, "price2_trigger") and fields.number(line, "price2_trigger") > 0:
        legs.append(_leg(line, "2"))
    return StandingTrigger(
        trigger_id=fields.identity(line, "id"),
        symbol=fields.identity(line, "symbol"),
        side=SIDES[side],
        product=read_product(line),
        legs=tuple(sorted(legs, key=lambda leg: leg.trigger_price)),
        status=STATUSES[status],
        message=redact(fields.text(line, "oms_msg", default="")),
        created_at=_created(line),
    )


def _leg(line: Row, number: str) -> TriggerLeg:
    return TriggerLeg(
        trigger_price=fields.price(line, f"price{number}_trigger"),
        limit_price=fields.price_or_none(line, f"price{number}_limit") or Decimal(0),
        quantity=fields.quantity(line, f"qty{number}"),
    )


def _created(line: Row) -> Any:
    stamped = fields.text(line, "create_time", default="")
    return fields.local_time(stamped) if stamped else None
