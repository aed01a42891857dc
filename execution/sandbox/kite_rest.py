"""A second dialect of the same exchange: Kite Connect v3. Sign-in, account, orders, quotes, history, instruments.

Unlike FYERS it takes an order first and rejects it afterwards: what risk management declines is an order of the book.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from execution.sandbox.accounts import CNC
from execution.sandbox.calendar import IST, ist
from execution.sandbox.exchange import Exchange, Refused, Ticket
from execution.sandbox.fyers_history import history
from execution.sandbox.fyers_rows import rupees
from execution.sandbox.http import Reply, Request, json_reply
from execution.sandbox.kite_fields import KiteError, need_protection, price, success, whole, word
from execution.sandbox.kite_options import KiteOptions
from execution.sandbox.kite_rows import (
    PRODUCT_OF,
    TYPE_OF,
    clock_time,
    margin_row,
    order_row,
    position_row,
    quote_row,
    token_of,
    trade_row,
    trading_symbol,
)
from execution.sandbox.kite_triggers import KiteTriggers
from execution.sandbox.order_book import LIMIT, STOP, STOP_LIMIT
from execution.sandbox.rate_limit import RateLimit
from execution.sandbox.tokens import App, BadToken, TokenDesk
from execution.sandbox.universe import Listing

Handler = Callable[[Request, App], Awaitable[Reply]]
DUMP_COLUMNS = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    "instrument_type,segment,exchange"
)
TAG = re.compile(r"[A-Za-z0-9]{1,20}")
ORDERS = "/orders/regular"
MINUTES_OF = {
    "minute": 1, "3minute": 3, "5minute": 5, "10minute": 10, "15minute": 15, "30minute": 30, "60minute": 60,
}  # fmt: skip
DAYS_OF = {"minute": 60, "3minute": 100, "5minute": 100, "10minute": 100, "15minute": 200, "30minute": 200,
           "60minute": 400, "day": 2000}  # fmt: skip


class KiteRest:
    """Routes of one exchange in Kite's words. `knows` says whether a path is one of its own."""

    def __init__(self, *, exchange: Exchange, desk: TokenDesk, limit: RateLimit | None, redirect_uri: str = "") -> None:
        self.exchange = exchange
        self.desk = desk
        self.limit = limit
        self.redirect_uri = redirect_uri or "http://127.0.0.1:8000/broker/callback/"
        self.by_name = {("NSE", trading_symbol(one)): one for one in exchange.market.listings.values()}
        self.by_token = {token_of(one): one for one in exchange.market.listings.values()}
        triggers, self.options = KiteTriggers(exchange, self.by_name), KiteOptions(exchange)
        self.routes: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
            (method, re.compile(pattern), handler)
            for method, pattern, handler in (
                ("DELETE", r"/session/token", self.log_out),
                ("GET", r"/user/profile", self.profile),
                ("GET", r"/user/margins", self.margins),
                ("GET", r"/orders", self.orders),
                ("GET", r"/trades", self.trades),
                ("GET", r"/orders/(?P<id>\w+)/trades", self.trades),
                ("POST", ORDERS, self.place),
                ("PUT", ORDERS + r"/(?P<id>\w+)", self.modify),
                ("DELETE", ORDERS + r"/(?P<id>\w+)", self.cancel),
                ("GET", r"/portfolio/positions", self.positions),
                ("GET", r"/portfolio/holdings", self.holdings),
                ("POST", r"/margins/orders", self.margin_of_orders),
                ("POST", r"/margins/basket", self.margin_of_basket),
                ("GET", r"/gtt/triggers", triggers.book),
                ("POST", r"/gtt/triggers", triggers.place),
                ("GET", r"/gtt/triggers/(?P<id>\d{1,12})", triggers.one),
                ("PUT", r"/gtt/triggers/(?P<id>\d{1,12})", triggers.change),
                ("DELETE", r"/gtt/triggers/(?P<id>\d{1,12})", triggers.delete),
                ("GET", r"/quote", self.quote),
                ("GET", r"/instruments(?:/(?P<exchange>NSE|NFO))?", self.instruments),
                ("GET", r"/instruments/historical/(?P<token>\d+)/(?P<interval>\w+)", self.historical),
            )
        )

    @staticmethod
    def knows(path: str) -> bool:
        return path.split("/")[1] in (
            "connect", "session", "user", "orders", "trades", "portfolio", "quote", "instruments", "margins", "gtt",
        )  # fmt: skip

    async def handle(self, request: Request) -> Reply:
        if (request.method, request.path) == ("GET", "/connect/login"):
            return self.log_in(request)
        if (request.method, request.path) == ("POST", "/session/token"):
            return self.session_token(request)
        matches = [(method, found, act) for method, path, act in self.routes if (found := path.fullmatch(request.path))]
        if not matches:
            raise KiteError(404, "GeneralException", "Route not found")
        for method, found, act in matches:
            if method == request.method:
                app = self._sign_in(request)
                self._count(app)
                request.query.update(found.groupdict())
                try:
                    return await act(request, app)
                except Refused as refusal:
                    kind = "InputException" if refusal.code in (-50, -51, -300) else "OrderException"
                    raise KiteError(400, kind, refusal.message) from refusal
        raise KiteError(405, "GeneralException", "Method not allowed")

    def _sign_in(self, request: Request) -> App:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme != "token":
                raise BadToken
            return self.desk.app_of_header(rest, now=time.time())
        except BadToken as error:
            raise KiteError(403, "TokenException", "Incorrect `api_key` or `access_token`.") from error

    def _count(self, app: App) -> None:
        if self.limit and self.limit.wait_s(app.user, time.monotonic()) > 0:
            raise KiteError(429, "NetworkException", "Too many requests")

    # -- sign-in ------------------------------------------------------------------------------------------------

    def log_in(self, request: Request) -> Reply:
        """Approves at once: the sandbox has no human to ask. The redirect is the one that was registered."""
        app = self.desk.apps.get(request.query.get("api_key", ""))
        if app is None:
            raise KiteError(400, "InputException", "Invalid `api_key`.")
        token = self.desk.auth_code(app, nonce="", challenge="", now=time.time())
        answer = [("action", "login"), ("status", "success"), ("request_token", token)]
        answer += parse_qsl(request.query.get("redirect_params", ""))
        return json_reply(302, {"status": "success"}, {"Location": f"{self.redirect_uri}?{urlencode(answer)}"})

    def session_token(self, request: Request) -> Reply:
        form = request.form()
        app = self.desk.apps.get(form.get("api_key", ""))
        token = form.get("request_token", "")
        proof = hashlib.sha256(f"{app.id}{token}{app.secret}".encode()).hexdigest() if app else ""
        if app is None or not hmac.compare_digest(proof.encode(), form.get("checksum", "").encode()):
            raise KiteError(403, "TokenException", "Invalid `checksum`.")
        now = time.time()
        try:
            access = self.desk.exchange(token, app_id_hash=app.hash, verifier=None, now=now)
        except BadToken as error:
            raise KiteError(403, "TokenException", "Token is invalid or has expired.") from error
        data = self._profile(app)
        data |= {"api_key": app.id, "access_token": access, "refresh_token": "", "login_time": clock_time(now)}
        return success(data)

    async def log_out(self, request: Request, app: App) -> Reply:
        self.exchange.log_out(app.id)
        self.desk.logouts = self.exchange.logouts
        return success(True)

    # -- account ------------------------------------------------------------------------------------------------

    @staticmethod
    def _profile(app: App) -> dict[str, Any]:
        return {
            "user_id": app.user,
            "user_type": "individual",
            "user_name": "SANDBOX TRADER",
            "user_shortname": app.user,
            "broker": "ZERODHA",
            "exchanges": ["NSE"],
            "products": ["CNC", "MIS"],
            "order_types": list(TYPE_OF),
            "meta": {"demat_consent": "consent"},
        }

    async def profile(self, request: Request, app: App) -> Reply:
        return success(self._profile(app))

    async def margins(self, request: Request, app: App) -> Reply:
        account = self.exchange.accounts[app.user]
        blocked, realised = account.blocked(self.exchange.live_of(app.user)), account.realised()
        total = account.cash + realised
        equity = {
            "enabled": True,
            "net": round((total - blocked) / 100, 2),
            "available": {"cash": round(account.cash / 100, 2), "live_balance": round((total - blocked) / 100, 2)},
            "utilised": {"debits": round(blocked / 100, 2), "m2m_realised": round(realised / 100, 2)},
        }
        return success({"equity": equity, "commodity": {"enabled": False, "net": 0.0, "available": {}, "utilised": {}}})

    async def orders(self, request: Request, app: App) -> Reply:
        return success([order_row(one, self._of(one.symbol)) for one in self.exchange.orders_of(app.user)])

    async def trades(self, request: Request, app: App) -> Reply:
        wanted = request.query.get("id")
        if wanted is not None and (wanted not in self.exchange.orders or self._order(wanted, app) is None):
            raise KiteError(404, "GeneralException", "Couldn't find that `order_id`.")
        trades = [one for one in self.exchange.trades_of(app.user) if wanted in (None, one.order_id)]
        return success([trade_row(one, self._of(one.symbol)) for one in trades])

    async def positions(self, request: Request, app: App) -> Reply:
        rows = [
            position_row(one, self._of(one.symbol), self.exchange.quote(one.symbol))
            for one in self.exchange.accounts[app.user].positions.values()
        ]
        return success({"net": rows, "day": rows})

    async def holdings(self, request: Request, app: App) -> Reply:
        rows = [
            {
                "tradingsymbol": trading_symbol(self._of(symbol)),
                "exchange": "NSE",
                "instrument_token": token_of(self._of(symbol)),
                "isin": self._of(symbol).isin,
                "product": "CNC",
                "quantity": quantity,
                "used_quantity": max(0, -self.exchange.accounts[app.user].net(symbol, CNC)),
                "t1_quantity": 0,
                "collateral_quantity": 0,
                "average_price": rupees(cost / quantity),
                "last_price": rupees(self.exchange.quote(symbol).last),
                "close_price": rupees(self.exchange.quote(symbol).prev_close),
            }
            for symbol, (quantity, cost) in self.exchange.accounts[app.user].holdings.items()
        ]
        return success(rows)

    async def margin_of_orders(self, request: Request, app: App) -> Reply:
        """Each order for itself."""
        tickets = self._basket(request)
        return success([margin_row(one, self.exchange.margin_of(app.user, [one]).together) for one in tickets])

    async def margin_of_basket(self, request: Request, app: App) -> Reply:
        tickets = self._basket(request)
        found = self.exchange.margin_of(app.user, tickets)
        rows = [margin_row(one, alone) for one, alone in zip(tickets, found.each, strict=True)]
        alone = {"type": "equity", "total": round(sum(row["total"] for row in rows), 2)}
        return success({"initial": alone, "final": {**alone, "total": rupees(found.together)}, "orders": rows})

    def _basket(self, request: Request) -> list[Ticket]:
        rows = request.json()
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise KiteError(400, "InputException", "The body must be an array of orders.")
        plain = [{name: str(value) for name, value in row.items()} for row in rows]
        return [self._ticket({"market_protection": "-1", **row}) for row in plain]

    def _of(self, symbol: str) -> Listing:
        return self.exchange.market.listings[symbol]

    def _order(self, order_id: str, app: App) -> Any:
        order = self.exchange.orders.get(order_id)
        return order if order is not None and order.user == app.user else None

    # -- orders -------------------------------------------------------------------------------------------------

    async def place(self, request: Request, app: App) -> Reply:
        try:
            order_id = self.exchange.place(app.user, self._ticket(request.form()), time.time()).id
        except Refused as refusal:
            if refusal.order_id is None:
                raise
            order_id = refusal.order_id  # taken, and rejected afterwards
        return success({"order_id": order_id})

    async def modify(self, request: Request, app: App) -> Reply:
        form, changes = request.form(), {}
        if form.get("quantity"):
            changes["qty"] = whole(form, "quantity")
        if form.get("order_type"):
            changes["type"] = word(form, "order_type", TYPE_OF)
            need_protection(form, changes["type"])
        for name, ours in (("price", "limit"), ("trigger_price", "stop")):
            if form.get(name):
                changes[ours] = price(form, name)
        order = self.exchange.modify(app.user, request.query["id"], changes, time.time())
        return success({"order_id": order.id})

    async def cancel(self, request: Request, app: App) -> Reply:
        return success({"order_id": self.exchange.cancel(app.user, request.query["id"], time.time()).id})

    def _ticket(self, form: dict[str, str]) -> Ticket:
        listing = self.by_name.get((form.get("exchange", ""), form.get("tradingsymbol", "")))
        if listing is None or listing.is_index:
            raise KiteError(400, "InputException", "Invalid `tradingsymbol`.")
        type_ = word(form, "order_type", TYPE_OF)
        need_protection(form, type_)
        validity = form.get("validity", "DAY")
        if validity not in ("DAY", "IOC") or (validity == "IOC" and type_ in (STOP, STOP_LIMIT)):
            raise KiteError(400, "InputException", "Invalid `validity`.")
        tag = form.get("tag", "")
        if tag and not TAG.fullmatch(tag):
            raise KiteError(400, "InputException", "`tag` must be 1 to 20 letters or digits.")
        return Ticket(
            listing.symbol,
            word(form, "transaction_type", {"BUY": 1, "SELL": -1}),
            whole(form, "quantity"),
            type_,
            word(form, "product", PRODUCT_OF),
            validity,
            price(form, "price") if type_ in (LIMIT, STOP_LIMIT) else 0,
            price(form, "trigger_price") if type_ in (STOP, STOP_LIMIT) else 0,
            tag,
        )

    # -- market data --------------------------------------------------------------------------------------------

    async def quote(self, request: Request, app: App) -> Reply:
        keys = [value for name, value in request.pairs if name == "i"]
        if not 1 <= len(keys) <= 500:
            raise KiteError(400, "InputException", "`i` must name 1 to 500 instruments.")
        venue = self.exchange.clock.at(time.time())
        found = {}
        for key in keys:
            exchange, _, name = key.partition(":")
            listing = self.by_name.get((exchange, name))
            if exchange == "NFO" and (option := self.options.quote(name)) is not None:
                found[key] = option
            elif listing is not None:
                depth = self.exchange.market.depth(listing.symbol, self.exchange.tick)
                band = self.exchange.market.band(listing.symbol)
                found[key] = quote_row(listing, self.exchange.quote(listing.symbol), depth, band, venue)
        return success(found)

    async def instruments(self, request: Request, app: App) -> Reply:
        """The dump of one exchange, or of all."""
        wanted = request.query.get("exchange")
        lines = [DUMP_COLUMNS]
        if wanted != "NFO":
            lines += [self._dump_line(one) for one in self.exchange.market.listings.values()]
        if wanted != "NSE":
            lines += self.options.dump()
        body = gzip.compress(("\n".join(lines) + "\n").encode())
        return Reply(200, body, "text/csv", {"Content-Encoding": "gzip"})

    @staticmethod
    def _dump_line(one: Listing) -> str:
        tick = 0 if one.is_index else rupees(one.tick_paise)
        segment = "INDICES" if one.is_index else "NSE"
        return f'{token_of(one)},{one.exchange_token},{trading_symbol(one)},"{one.name}",0,,0,{tick},1,EQ,{segment},NSE'

    async def historical(self, request: Request, app: App) -> Reply:
        listing = self.by_token.get(int(request.query["token"]))
        interval = request.query["interval"]
        if listing is None or interval not in DAYS_OF:
            raise KiteError(400, "InputException", "Invalid instrument or interval.")
        start, end = _instant(request, "from"), _instant(request, "to")
        if end < start or end - start > timedelta(days=DAYS_OF[interval]):
            raise KiteError(400, "InputException", f"The range may span {DAYS_OF[interval]} days at this interval.")
        self.exchange.advance(time.time())
        candles: list[list[Any]] = []
        venue, daily = self.exchange.clock.at(time.time()), interval == "day"
        piece = timedelta(days=300 if daily else 90)
        at = start
        while at <= end:
            until = min(at + piece, end)
            # a daily candle is stamped midnight in India here and midnight UTC there, five and a half hours later
            shift = 19_800 if daily else 0
            query = {
                "symbol": listing.symbol, "resolution": "D" if daily else str(MINUTES_OF[interval]), "date_format": "0",
                "range_from": str(int(at.timestamp()) + shift), "range_to": str(int(until.timestamp()) + shift),
            }  # fmt: skip
            rows = (await history(self.exchange, query, venue=venue))["candles"]
            candles += [[f"{ist(row[0] - shift):%Y-%m-%dT%H:%M:%S%z}", *row[1:]] for row in rows]
            at = until + timedelta(seconds=1)
        return success({"candles": candles})


def _instant(request: Request, name: str) -> datetime:
    try:
        return datetime.strptime(request.query.get(name, ""), "%Y-%m-%d %H:%M:%S").replace(tzinfo=IST)
    except ValueError as error:
        raise KiteError(400, "InputException", f"`{name}` must be YYYY-MM-DD HH:MM:SS.") from error
