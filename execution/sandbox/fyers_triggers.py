"""Triggers in FYERS's words: GTT and OCO orders, placed, changed, cancelled, listed."""

from __future__ import annotations

import time
from typing import Any

from execution.sandbox.exchange import Exchange
from execution.sandbox.fyers_fields import order_id, price, row_of, side_of, tradable, whole
from execution.sandbox.fyers_rows import fyers_id, order_time, quote_change, rupees
from execution.sandbox.http import ApiError, Reply, Request, json_reply, ok
from execution.sandbox.tokens import App
from execution.sandbox.triggers import ACTIVE, CANCELLED, EXPIRED, REJECTED, TRIGGERED, Trigger

MAX_QTY = 100_000_000
STATUS_OF = {ACTIVE: 6, TRIGGERED: 2, CANCELLED: 1, REJECTED: 5, EXPIRED: 7}
SINGLE, OCO = 1, 2


class FyersTriggers:
    """Handlers of `/gtt/orders/sync` and `/gtt/orders`. ApiError or Refused where it cannot be."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def place(self, request: Request, app: App) -> Reply:
        body = request.json_object()
        listing = tradable(self.exchange.market, body.get("symbol"))
        trigger = self.exchange.place_trigger(
            app.user, symbol=listing.symbol, side=side_of(body), product=str(body.get("productType")),
            legs=_legs(body), wall=time.time(),
        )  # fmt: skip
        return _said(1101, "Successfully placed order", trigger)

    async def modify(self, request: Request, app: App) -> Reply:
        body = request.json_object()
        trigger = self.exchange.change_trigger(app.user, _number(body), _legs(body), time.time())
        return _said(1102, "Successfully modified order", trigger)

    async def cancel(self, request: Request, app: App) -> Reply:
        trigger = self.exchange.cancel_trigger(app.user, _number(request.json_object()), time.time())
        return _said(1103, "Successfully cancelled order", trigger)

    async def book(self, request: Request, app: App) -> Reply:
        self.exchange.advance(time.time())
        return ok({"orderBook": [self._row(one) for one in self.exchange.triggers.of(app.user)]})

    def _row(self, trigger: Trigger) -> dict[str, Any]:
        listing, quote = self.exchange.market.listings[trigger.symbol], self.exchange.quote(trigger.symbol)
        first, second = trigger.legs[-1], trigger.legs[0] if len(trigger.legs) == 2 else None
        change = quote_change(quote)
        return {
            "clientId": trigger.user,
            "exchange": 10,
            "segment": 10,
            "fy_token": listing.fy_token,
            "id_fyers": fyers_id(f"gtt-{trigger.id}"),
            "id": str(trigger.id),
            "instrument": listing.instrument,
            "lot_size": 1,
            "multiplier": 0,
            "precision": 2,
            "tick_size": rupees(listing.tick_paise),
            "ord_status": STATUS_OF[trigger.status],
            "report_type": "PLACED" if trigger.is_active else trigger.status.upper(),
            "price_limit": rupees(first.limit),
            "price_trigger": rupees(first.trigger),
            "qty": first.qty,
            "price2_limit": rupees(second.limit) if second else 0,
            "price2_trigger": rupees(second.trigger) if second else 0,
            "qty2": second.qty if second else 0,
            "product_type": trigger.product,
            "tran_side": trigger.side,
            "gtt_oco_ind": OCO if second else SINGLE,
            "symbol": trigger.symbol,
            "symbol_desc": listing.name,
            "symbol_exch": listing.short_name,
            "create_time": order_time(trigger.created_at),
            "create_time_epoch": int(trigger.created_at),
            "oms_msg": trigger.message,
            "ltp": change["lp"],
            "ltp_ch": change["ch"],
            "ltp_chp": change["chp"],
        }


def _legs(body: dict[str, Any]) -> list[tuple[int, int, int]]:
    info = row_of(body, "orderInfo")
    legs = [row_of(info, name) for name in ("leg1", "leg2") if info.get(name) is not None]
    if not legs or info.get("leg1") is None:
        raise ApiError(400, -50, "orderInfo must hold leg1")
    return [(price(leg, "triggerPrice"), price(leg, "price"), whole(leg, "qty", low=1, high=MAX_QTY)) for leg in legs]


def _number(body: dict[str, Any]) -> int:
    written = order_id(body)
    if not written.isdigit() or len(written) > 12:
        raise ApiError(400, -51, "invalid order id")
    return int(written)


def _said(code: int, message: str, trigger: Trigger) -> Reply:
    return json_reply(200, {"s": "ok", "code": code, "message": message, "id": str(trigger.id)})
