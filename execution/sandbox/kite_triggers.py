"""Triggers in Kite's words: GTT of one leg or two, placed, changed, deleted, listed."""

from __future__ import annotations

import json
import time
from typing import Any

from execution.sandbox.exchange import Exchange
from execution.sandbox.fyers_rows import rupees
from execution.sandbox.http import Reply, Request
from execution.sandbox.kite_fields import KiteError, price, success, whole
from execution.sandbox.kite_rows import PRODUCT_OF, PRODUCT_WORD, clock_time, side_word, token_of, trading_symbol
from execution.sandbox.tokens import App
from execution.sandbox.triggers import REJECTED, TRIGGERED, YEAR_S, Trigger
from execution.sandbox.universe import Listing

SIDES = {"BUY": 1, "SELL": -1}
LEGS_OF = {"single": 1, "two-leg": 2}


class KiteTriggers:
    """Handlers of `/gtt/triggers`. KiteError or Refused where it cannot be."""

    def __init__(self, exchange: Exchange, by_name: dict[tuple[str, str], Listing]) -> None:
        self.exchange = exchange
        self.by_name = by_name

    async def place(self, request: Request, app: App) -> Reply:
        symbol, side, product, legs = self._read(request.form())
        trigger = self.exchange.place_trigger(
            app.user, symbol=symbol, side=side, product=product, legs=legs, wall=time.time()
        )
        return success({"trigger_id": trigger.id})

    async def change(self, request: Request, app: App) -> Reply:
        *_, legs = self._read(request.form())
        trigger = self.exchange.change_trigger(app.user, int(request.query["id"]), legs, time.time())
        return success({"trigger_id": trigger.id})

    async def delete(self, request: Request, app: App) -> Reply:
        return success({"trigger_id": self.exchange.cancel_trigger(app.user, int(request.query["id"]), time.time()).id})

    async def book(self, request: Request, app: App) -> Reply:
        self.exchange.advance(time.time())
        return success([self._row(one) for one in self.exchange.triggers.of(app.user)])

    async def one(self, request: Request, app: App) -> Reply:
        trigger = self.exchange.triggers.all.get(int(request.query["id"]))
        if trigger is None or trigger.user != app.user:
            raise KiteError(404, "GeneralException", "Couldn't find that trigger.")
        return success(self._row(trigger))

    def _read(self, form: dict[str, str]) -> tuple[str, int, str, list[tuple[int, int, int]]]:
        condition, orders = _json(form, "condition", dict), _json(form, "orders", list)
        listing = self.by_name.get((condition.get("exchange", ""), condition.get("tradingsymbol", "")))
        if listing is None or listing.is_index:
            raise KiteError(400, "InputException", "Invalid `tradingsymbol`.")
        values = condition.get("trigger_values")
        count = LEGS_OF.get(form.get("type", ""))
        if count is None or not isinstance(values, list) or not len(values) == len(orders) == count:
            raise KiteError(400, "InputException", "Invalid `type`.")
        if not condition.get("last_price"):
            raise KiteError(400, "InputException", "Invalid `last_price`.")
        rows = [{name: str(value) for name, value in order.items()} for order in orders]
        words = {(row.get("transaction_type"), row.get("product"), row.get("order_type")) for row in rows}
        side, product, order_type = words.pop()
        if words or side not in SIDES or product not in PRODUCT_OF or order_type != "LIMIT":
            raise KiteError(400, "InputException", "Invalid `orders`.")
        legs = [
            (price({"trigger_values": str(value)}, "trigger_values"), price(row, "price"), whole(row, "quantity"))
            for value, row in zip(values, rows, strict=True)
        ]
        return listing.symbol, SIDES[side], PRODUCT_OF[product], legs

    def _row(self, trigger: Trigger) -> dict[str, Any]:
        listing = self.exchange.market.listings[trigger.symbol]
        named = {"exchange": "NSE", "tradingsymbol": trading_symbol(listing)}
        orders: list[dict[str, Any]] = []
        for at, leg in enumerate(trigger.legs):
            result = None
            if trigger.fired == at:
                failed = bool(trigger.message)
                result = {
                    **named,
                    "order_result": {
                        "status": "failed" if failed else "success",
                        "order_id": trigger.order_id,
                        "rejection_reason": trigger.message,
                    },
                }
            orders.append(
                {
                    **named,
                    "transaction_type": side_word(trigger.side),
                    "quantity": leg.qty,
                    "order_type": "LIMIT",
                    "product": PRODUCT_WORD[trigger.product],
                    "price": rupees(leg.limit),
                    "result": result,
                }
            )
        return {
            "id": trigger.id,
            "user_id": trigger.user,
            "parent_trigger": None,
            "type": "two-leg" if len(trigger.legs) == 2 else "single",
            "created_at": clock_time(trigger.created_at),
            "updated_at": clock_time(trigger.updated_at),
            "expires_at": clock_time(trigger.created_at + YEAR_S),
            "status": trigger.status,
            "condition": {
                **named,
                "instrument_token": token_of(listing),
                "trigger_values": [rupees(leg.trigger) for leg in trigger.legs],
                "last_price": rupees(trigger.last),
            },
            "orders": orders,
            "meta": {"rejection_reason": trigger.message} if trigger.status in (REJECTED, TRIGGERED) else {},
        }


def _json(form: dict[str, str], name: str, kind: type) -> Any:
    try:
        value = json.loads(form.get(name, ""), parse_float=str)
    except ValueError as error:
        raise KiteError(400, "InputException", f"Invalid `{name}`.") from error
    rows = value if isinstance(value, list) else [value]
    if not isinstance(value, kind) or not all(isinstance(one, dict) for one in rows):
        raise KiteError(400, "InputException", f"Invalid `{name}`.")
    return value
