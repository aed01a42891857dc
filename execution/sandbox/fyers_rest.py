"""The REST side of the broker: login, account, orders, market data, symbol master."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from execution.sandbox.accounts import CNC, PRODUCTS
from execution.sandbox.exchange import Exchange, Refused, Ticket
from execution.sandbox.fyers_fields import one_of, order_id, price, side_of, tradable, whole
from execution.sandbox.fyers_history import history
from execution.sandbox.fyers_login import FyersLogin
from execution.sandbox.fyers_masters import FyersMasters
from execution.sandbox.fyers_options import FyersOptions
from execution.sandbox.fyers_rows import order_row, position_row, quote_change, rupees, trade_row
from execution.sandbox.fyers_triggers import FyersTriggers
from execution.sandbox.http import ApiError, Reply, Request, json_reply, ok
from execution.sandbox.market import Depth
from execution.sandbox.order_book import LIMIT, MARKET, STOP, STOP_LIMIT
from execution.sandbox.rate_limit import RateLimit
from execution.sandbox.tokens import App, BadToken, TokenDesk
from execution.sandbox.universe import Listing

T = TypeVar("T")
Handler = Callable[[Request, App], Awaitable[Reply]]
API, DATA = "/api/v3", "/data"
MAX_QTY = 100_000_000
TAG_LENGTH = 30


class FyersRest:
    """Routes of one exchange. `handle` answers every request in JSON (the masters and the login redirect apart)."""

    def __init__(self, *, exchange: Exchange, desk: TokenDesk, limit: RateLimit | None) -> None:
        self.exchange = exchange
        self.desk = desk
        self.limit = limit
        triggers, self.options = FyersTriggers(exchange), FyersOptions(exchange)
        self.routes: dict[str, dict[str, Handler]] = {
            f"{API}/logout": {"POST": self.logout},
            f"{API}/profile": {"GET": self.profile},
            f"{API}/funds": {"GET": self.funds},
            f"{API}/holdings": {"GET": self.holdings},
            f"{API}/multiorder/margin": {"POST": self.margin},
            f"{API}/orders": {"GET": self.orders},
            f"{API}/tradebook": {"GET": self.tradebook},
            f"{API}/positions": {"GET": self.positions, "DELETE": self.exit_positions},
            f"{API}/orders/sync": {"POST": self.place, "PATCH": self.modify, "DELETE": self.cancel},
            f"{API}/multi-order/sync": {"POST": self.place_many, "PATCH": self.modify_many, "DELETE": self.cancel_many},
            f"{API}/gtt/orders/sync": {
                "POST": triggers.place,
                "PATCH": triggers.modify,
                "DELETE": triggers.cancel,
            },
            f"{API}/gtt/orders": {"GET": triggers.book},
            f"{DATA}/marketStatus": {"GET": self.market_status},
            f"{DATA}/history": {"GET": self.history},
            f"{DATA}/quotes": {"GET": self.quotes, "POST": self.quotes},
            f"{DATA}/depth": {"GET": self.depth},
            f"{DATA}/options-chain-v3": {"GET": self.options.chain},
            f"{DATA}/symbol-token": {"POST": self.symbol_token},
        }
        login, masters = FyersLogin(desk), FyersMasters(exchange.market)
        self.open_routes: dict[str, dict[str, Callable[[Request], Reply]]] = {
            f"{API}/generate-authcode": {"GET": login.generate_authcode},
            f"{API}/validate-authcode": {"POST": login.validate_authcode},
            f"{API}/validate-refresh-token": {"POST": login.validate_refresh_token},
            "/sym_details/NSE_CM.csv": {"GET": masters.master_csv},
            "/sym_details/NSE_CM_sym_master.json": {"GET": masters.master_json},
            "/sym_details/index_hsm_mapping.json": {"GET": masters.index_map},
        }

    async def handle(self, request: Request) -> Reply:
        open_methods = self.open_routes.get(request.path)
        if open_methods is not None:
            return _method(open_methods, request)(request)
        methods = self.routes.get(request.path)
        if methods is None:
            raise ApiError(404, 404, "no such path")
        handler = _method(methods, request)
        app = self._sign_in(request)
        self._count(app)
        try:
            return await handler(request, app)
        except Refused as refusal:
            raise ApiError(400, refusal.code, refusal.message, order_id=refusal.order_id) from refusal

    def _sign_in(self, request: Request) -> App:
        header = request.headers.get("authorization", "")
        now = time.time()
        try:
            if request.path == f"{DATA}/symbol-token":
                return self.desk.app_of_token(header.rpartition(":")[2], now=now)
            return self.desk.app_of_header(header, now=now)
        except BadToken as error:
            if error.expired:
                raise ApiError(401, -8, "Your token has expired. Please generate a token") from error
            if request.path.startswith(DATA) and request.path != f"{DATA}/history":
                raise ApiError(401, -15, "Please provide valid token") from error
            raise ApiError(401, -16, "Could not authenticate the user") from error

    def _count(self, app: App) -> None:
        wait_s = self.limit.wait_s(app.user, time.monotonic()) if self.limit else 0.0
        if wait_s > 0:
            after = {"Retry-After": str(max(1, round(wait_s + 0.5))), "X-Retry-After-Ms": str(int(wait_s * 1000) + 1)}
            raise ApiError(429, -429, "request limit reached", headers=after)

    # -- account ------------------------------------------------------------------------------------------------

    async def logout(self, request: Request, app: App) -> Reply:
        self.exchange.log_out(app.id)
        self.desk.logouts = self.exchange.logouts
        return ok(message="you are successfully logged out")

    async def profile(self, request: Request, app: App) -> Reply:
        return ok(
            {
                "data": {
                    "fy_id": app.user,
                    "name": "SANDBOX TRADER",
                    "display_name": app.user,
                    "email_id": "sxxxx@example.com",
                    "image": "",
                    "PAN": "XXxxxxxx0X",
                    "mobile_number": "00xxxxxx00",
                    "pin_change_date": "02-01-2026 10:11:12",
                    "pwd_change_date": "02-01-2026 10:11:12",
                    "totp": True,
                    "pwd_to_expire": 60,
                    "ddpi_enabled": True,
                    "mtf_enabled": False,
                }
            }
        )

    async def funds(self, request: Request, app: App) -> Reply:
        account = self.exchange.accounts[app.user]
        blocked = account.blocked(self.exchange.live_of(app.user))
        realised = account.realised()
        total = account.cash + realised
        rows = (
            ("Total Balance", total),
            ("Utilized Amount", blocked),
            ("Clear Balance", total - blocked),
            ("Realized Profit and Loss", realised),
            ("Collaterals", 0),
            ("Fund Transfer", 0),
            ("Receivables", 0),
            ("Adhoc Limit", 0),
            ("Limit at start of the day", account.cash),
            ("Available Balance", total - blocked),
        )
        limits = [
            {"id": number, "title": title, "equityAmount": round(amount / 100, 2), "commodityAmount": 0}
            for number, (title, amount) in enumerate(rows, start=1)
        ]
        return ok({"fund_limit": limits})

    async def holdings(self, request: Request, app: App) -> Reply:
        rows: list[dict[str, Any]] = []
        for number, (symbol, (quantity, cost)) in enumerate(self.exchange.accounts[app.user].holdings.items(), start=1):
            listing = self._listing(symbol)
            last = self.exchange.quote(symbol).last
            sold = min(0, self.exchange.accounts[app.user].net(symbol, CNC))
            rows.append(
                {
                    "symbol": symbol,
                    "holdingType": "HLD",
                    "quantity": quantity,
                    "remainingQuantity": quantity + sold,
                    "costPrice": rupees(cost / quantity),
                    "ltp": rupees(last),
                    "marketVal": rupees(quantity * last),
                    "pl": rupees(quantity * last - cost),
                    "id": number,
                    "fyToken": listing.fy_token,
                    "exchange": 10,
                    "segment": 10,
                    "isin": listing.isin,
                    "qty_t1": 0,
                    "remainingPledgeQuantity": 0,
                    "collateralQuantity": 0,
                }
            )
        invested = sum(row["costPrice"] * row["quantity"] for row in rows)
        value = sum(row["marketVal"] for row in rows)
        overall = {
            "count_total": len(rows),
            "total_investment": round(invested, 2),
            "total_current_value": round(value, 2),
            "total_pl": round(value - invested, 2),
            "pnl_perc": round(100 * (value - invested) / invested, 2) if invested else 0.0,
        }
        return ok({"holdings": rows, "overall": overall})

    async def margin(self, request: Request, app: App) -> Reply:
        rows = request.json_object().get("data")
        if not isinstance(rows, list) or not 1 <= len(rows) <= 10 or not all(isinstance(row, dict) for row in rows):
            raise ApiError(400, -50, "data must be an array of 1 to 10 orders")
        tickets = [self._ticket({"validity": "DAY", **row}) for row in rows]
        found = self.exchange.margin_of(app.user, tickets)
        data = {
            "margin_avail": round(found.available / 100, 2),
            "margin_total": round(found.together / 100, 2),
            "margin_new_order": round(found.together / 100, 2),
        }
        return ok({"data": data})

    # -- books --------------------------------------------------------------------------------------------------

    async def orders(self, request: Request, app: App) -> Reply:
        wanted_ids = {part.strip() for part in request.query.get("id", "").split(",") if part.strip()}
        wanted_tag = request.query.get("order_tag")
        rows = [
            order_row(order, self._listing(order.symbol), self.exchange.quote(order.symbol), number)
            for number, order in enumerate(self.exchange.orders_of(app.user), start=1)
        ]
        rows = [
            row
            for row in rows
            if (not wanted_ids or row["id"] in wanted_ids) and (not wanted_tag or row["orderTag"] == wanted_tag)
        ]
        return ok({"orderBook": rows})

    async def tradebook(self, request: Request, app: App) -> Reply:
        wanted_tag = request.query.get("order_tag")
        rows = [
            trade_row(t, self._listing(t.symbol), number)
            for number, t in enumerate(self.exchange.trades_of(app.user), start=1)
        ]
        return ok({"tradeBook": [row for row in rows if not wanted_tag or row["orderTag"] == wanted_tag]})

    async def positions(self, request: Request, app: App) -> Reply:
        rows = [
            position_row(position, self._listing(position.symbol), self.exchange.quote(position.symbol).last, number)
            for number, position in enumerate(self.exchange.accounts[app.user].positions.values(), start=1)
        ]
        realised, unrealised = (
            round(sum(row[key] for row in rows), 2) for key in ("realized_profit", "unrealized_profit")
        )
        overall = {
            "count_total": len(rows),
            "count_open": sum(1 for row in rows if row["netQty"]),
            "pl_total": round(realised + unrealised, 2),
            "pl_realized": realised,
            "pl_unrealized": unrealised,
        }
        return ok({"netPositions": rows, "overall": overall})

    # -- orders -------------------------------------------------------------------------------------------------

    async def place(self, request: Request, app: App) -> Reply:
        return ok_of(self._place(request.json_object(), app))

    async def modify(self, request: Request, app: App) -> Reply:
        return ok_of(self._modify(request.json_object(), app))

    async def cancel(self, request: Request, app: App) -> Reply:
        return ok_of(self._cancel(request.json_object(), app))

    async def place_many(self, request: Request, app: App) -> Reply:
        return self._many(request, app, self._place)

    async def modify_many(self, request: Request, app: App) -> Reply:
        return self._many(request, app, self._modify)

    async def cancel_many(self, request: Request, app: App) -> Reply:
        return self._many(request, app, self._cancel)

    def _many(self, request: Request, app: App, act: Callable[[dict[str, Any], App], dict[str, Any]]) -> Reply:
        rows = request.json()
        if not isinstance(rows, list) or not 1 <= len(rows) <= 10 or not all(isinstance(row, dict) for row in rows):
            raise ApiError(400, -50, "the body must be an array of 1 to 10 orders")
        data: list[dict[str, Any]] = []
        for row in rows:
            try:
                data.append({"statusCode": 200, "body": act(row, app), "statusDescription": "HTTP OK"})
            except Refused as refusal:
                error = ApiError(400, refusal.code, refusal.message, order_id=refusal.order_id)
                data.append({"statusCode": 400, "body": error.body(), "statusDescription": "HTTP Error"})
            except ApiError as error:
                data.append({"statusCode": error.status, "body": error.body(), "statusDescription": "HTTP Error"})
        return ok({"data": data})

    def _place(self, body: dict[str, Any], app: App) -> dict[str, Any]:
        order = self.exchange.place(app.user, self._ticket(body), time.time())
        return {
            "s": "ok",
            "code": 1101,
            "message": f"Order submitted successfully. Your Order Ref. No.{order.id}",
            "id": order.id,
        }

    def _modify(self, body: dict[str, Any], app: App) -> dict[str, Any]:
        changes: dict[str, int] = {}
        if body.get("qty") is not None:
            changes["qty"] = whole(body, "qty", low=1, high=MAX_QTY)
        if body.get("type") is not None:
            changes["type"] = one_of(body, "type", (LIMIT, MARKET, STOP, STOP_LIMIT))
        for name, ours in (("limitPrice", "limit"), ("stopPrice", "stop")):
            if body.get(name):
                changes[ours] = price(body, name)
        order = self.exchange.modify(app.user, order_id(body), changes, time.time())
        return {"s": "ok", "code": 1102, "message": "Successfully modified order", "id": order.id}

    def _cancel(self, body: dict[str, Any], app: App) -> dict[str, Any]:
        order = self.exchange.cancel(app.user, order_id(body), time.time())
        return {"s": "ok", "code": 1103, "message": "Successfully cancelled order", "id": order.id}

    def _ticket(self, body: dict[str, Any]) -> Ticket:
        """Check every field of a placement. ApiError -50 or -300 with the reason."""
        listing = tradable(self.exchange.market, body.get("symbol"))
        type_ = one_of(body, "type", (LIMIT, MARKET, STOP, STOP_LIMIT))
        side = side_of(body)
        qty = whole(body, "qty", low=1, high=MAX_QTY)
        product = body.get("productType")
        if product not in PRODUCTS:
            raise ApiError(400, -50, f"productType must be one of {', '.join(PRODUCTS)} for this symbol")
        validity = body.get("validity")
        if validity not in ("DAY", "IOC"):
            raise ApiError(400, -50, "validity must be DAY or IOC")
        if validity == "IOC" and type_ in (STOP, STOP_LIMIT):
            raise ApiError(400, -50, "a stop order cannot be IOC")
        if str(body.get("offlineOrder", False)).lower() not in ("false", "0", "none"):
            raise ApiError(400, -50, "offline orders are not accepted")
        if any(price(body, name) for name in ("stopLoss", "takeProfit")):
            raise ApiError(400, -50, "exit legs are not accepted with this productType")
        disclosed = whole(body, "disclosedQty", low=0, high=qty)
        limit = price(body, "limitPrice") if type_ in (LIMIT, STOP_LIMIT) else 0
        stop = price(body, "stopPrice") if type_ in (STOP, STOP_LIMIT) else 0
        tag = body.get("orderTag") or ""
        if (
            not isinstance(tag, str)
            or (tag and not (tag.isascii() and tag.isalnum() and len(tag) <= TAG_LENGTH))
            or tag == "Untagged"
        ):
            raise ApiError(400, -50, "orderTag must be 1 to 30 letters or digits")
        return Ticket(listing.symbol, side, qty, type_, product, validity, limit, stop, tag, disclosed)

    async def exit_positions(self, request: Request, app: App) -> Reply:
        """Counter orders at market for the chosen positions; 201 if something is still open afterwards."""
        body = request.json_object()
        account = self.exchange.accounts[app.user]
        wanted = body.get("id")
        ids = {wanted} if isinstance(wanted, str) else set(wanted) if isinstance(wanted, list) else None
        products = body.get("productType") or ["ALL"]
        sides = body.get("side") or [1, -1]
        open_ones = [
            p
            for p in account.positions.values()
            if p.net
            and (ids is None or p.id in ids)
            and ("ALL" in products or p.product in products)
            and p.side in sides
        ]
        if ids is not None and not ids <= {p.id for p in account.positions.values()}:
            raise ApiError(400, -53, "invalid position id")
        if not open_ones:
            raise ApiError(400, -352, "no position to exit")
        for position in open_ones:
            if body.get("pending_orders_cancel"):
                for order in self.exchange.live_of(app.user):
                    if (order.symbol, order.product, order.side) == (position.symbol, position.product, -position.side):
                        self.exchange.cancel(app.user, order.id, time.time())
            ticket = Ticket(
                position.symbol, -position.side, abs(position.net), MARKET, position.product, "DAY", 0, 0, "2:Exit"
            )
            self.exchange.place(app.user, ticket, time.time())
        if any(p.net for p in open_ones):
            return ok(code=201, message="Counter orders were placed and are not filled yet.")
        return ok(message="The position is closed.")

    # -- market data --------------------------------------------------------------------------------------------

    def _venue(self) -> float:
        return self.exchange.clock.at(time.time())

    async def market_status(self, request: Request, app: App) -> Reply:
        status = {"CONTINUOUS": "OPEN", "PREOPEN": "PREOPEN"}.get(self.exchange.phase(self._venue()), "CLOSED")
        rows = [{"exchange": 10, "segment": segment, "market_type": "NORMAL", "status": status} for segment in (10, 11)]
        return ok({"marketStatus": rows})

    async def history(self, request: Request, app: App) -> Reply:
        self.exchange.advance(time.time())
        return ok(await history(self.exchange, request.query, venue=self._venue()))

    async def quotes(self, request: Request, app: App) -> Reply:
        if request.method == "POST":
            symbols = request.json_object().get("symbols")
        else:
            symbols = [symbol for symbol in request.query.get("symbols", "").split(",") if symbol]
        if not isinstance(symbols, list) or not 1 <= len(symbols) <= 50 or not all(isinstance(s, str) for s in symbols):
            raise ApiError(400, -50, "symbols must name 1 to 50 symbols")
        return ok({"d": [self._quote(symbol) for symbol in symbols]})

    def _quote(self, symbol: str) -> dict[str, Any]:
        listing = self.exchange.market.listings.get(symbol)
        if listing is None and (option := self.options.quote(symbol)) is not None:
            return option
        if listing is None:
            return {"n": symbol, "s": "error", "v": {"code": -300, "errmsg": "Invalid symbol", "s": "error"}}
        quote, depth = self.exchange.quote(symbol), self._depth(symbol)
        bid, ask = (rupees(side[0].price) if side else 0.0 for side in (depth.bids, depth.asks))
        return {
            "n": symbol,
            "s": "ok",
            "v": {
                **quote_change(quote),
                "open_price": rupees(quote.open),
                "high_price": rupees(quote.high),
                "low_price": rupees(quote.low),
                "prev_close_price": rupees(quote.prev_close),
                "atp": rupees(quote.average),
                "volume": quote.volume,
                "bid": bid,
                "ask": ask,
                "spread": round(ask - bid, 2),
                "short_name": listing.short_name,
                "exchange": "NSE",
                "description": listing.name,
                "original_name": symbol,
                "symbol": symbol,
                "fyToken": listing.fy_token,
                "tt": str(quote.traded_at),
                "cmd": {},
            },
        }

    def _depth(self, symbol: str) -> Depth:
        return self.exchange.market.depth(symbol, self.exchange.tick)

    async def depth(self, request: Request, app: App) -> Reply:
        symbol = request.query.get("symbol", "")
        listing = self._listing(symbol)
        quote, shown = self.exchange.quote(symbol), self._depth(symbol)
        low, high = self.exchange.market.band(symbol)
        change = quote_change(quote)
        book = {
            "totalbuyqty": sum(level.size for level in shown.bids) * 20,
            "totalsellqty": sum(level.size for level in shown.asks) * 20,
            "bids": [{"price": rupees(x.price), "volume": x.size, "ord": x.orders} for x in shown.bids],
            "ask": [{"price": rupees(x.price), "volume": x.size, "ord": x.orders} for x in shown.asks],
            "o": rupees(quote.open),
            "h": rupees(quote.high),
            "l": rupees(quote.low),
            "c": rupees(quote.prev_close),
            "chp": change["chp"],
            "ch": change["ch"],
            "tick_Size": rupees(listing.tick_paise),
            "ltq": quote.last_size,
            "ltt": quote.traded_at,
            "ltp": change["lp"],
            "v": quote.volume,
            "atp": rupees(quote.average),
            "lower_ckt": rupees(low),
            "upper_ckt": rupees(high),
            "expiry": "",
            "oi": 0,
            "oiflag": False,
            "pdoi": 0,
            "oipercent": 0.0,
        }
        return ok({"d": {symbol: book}})

    async def symbol_token(self, request: Request, app: App) -> Reply:
        symbols = request.json_object().get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise ApiError(400, -50, "symbols must be a list of symbols")
        listings = self.exchange.market.listings
        valid = {symbol: listings[symbol].fy_token for symbol in symbols if symbol in listings}
        return ok({"validSymbol": valid, "invalidSymbol": [symbol for symbol in symbols if symbol not in listings]})

    def _listing(self, symbol: str) -> Listing:
        listing = self.exchange.market.listings.get(symbol)
        if listing is None:
            raise ApiError(400, -300, "Invalid symbol")
        return listing


def ok_of(body: dict[str, Any]) -> Reply:
    return json_reply(200, body)


def _method(methods: dict[str, T], request: Request) -> T:
    handler = methods.get(request.method)
    if handler is None:
        raise ApiError(405, 405, f"{request.method} is not allowed here", headers={"Allow": ", ".join(methods)})
    return handler
