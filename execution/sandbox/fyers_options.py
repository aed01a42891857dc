"""Options in FYERS's words: the chain of an expiry, and a quote of one contract."""

from __future__ import annotations

import time
from typing import Any

from execution.sandbox.exchange import Exchange
from execution.sandbox.fyers_rows import quote_change, rupees
from execution.sandbox.http import ApiError, Reply, Request, ok
from execution.sandbox.options import FAMILIES, Contract, OptionBoard, OptionQuote, ends_at, expiries
from execution.sandbox.tokens import App

MOST_STRIKES = 50


class FyersOptions:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.board = OptionBoard(exchange.market)

    async def chain(self, request: Request, app: App) -> Reply:
        """`/data/options-chain-v3`: so many strikes to each side of the money, by the expiry's stamp."""
        self.exchange.advance(time.time())
        family = FAMILIES.get(request.query.get("symbol", ""))
        if family is None or not self.board.listed():
            raise ApiError(400, -300, "Invalid symbol")
        asked = request.query.get("strikecount", "10")
        if not asked.isdigit() or not 1 <= int(asked) <= MOST_STRIKES:
            raise ApiError(400, -50, f"strikecount must be from 1 to {MOST_STRIKES}")
        days = {str(ends_at(day)): day for day in expiries(family, self.exchange.market.running.day)}
        stamp = request.query.get("timestamp") or next(iter(days))
        if stamp not in days:
            raise ApiError(400, -50, "timestamp must be an expiry of expiryData")
        venue = self.exchange.clock.at(time.time())
        lines = [
            self._line(one, self.board.quote(one, self.exchange.tick, venue))
            for one in self.board.chain(family.index.symbol, days[stamp], int(asked), self.exchange.tick)
        ]
        calls, puts = (sum(line["oi"] for line in lines if line["option_type"] == side) for side in ("CE", "PE"))
        data = {
            "callOi": calls,
            "putOi": puts,
            "expiryData": [{"date": f"{day:%d-%m-%Y}", "expiry": stamp} for stamp, day in days.items()],
            "optionsChain": [self._underlying(family.index.symbol, family.root), *lines],
        }
        return ok({"data": data})

    def _underlying(self, symbol: str, root: str) -> dict[str, Any]:
        change = quote_change(self.exchange.quote(symbol))
        return {
            "ask": 0,
            "bid": 0,
            "description": symbol.split(":")[1],
            "ex_symbol": root,
            "exchange": "NSE",
            "fyToken": self.exchange.market.listings[symbol].fy_token,
            "ltp": change["lp"],
            "ltpch": change["ch"],
            "ltpchp": change["chp"],
            "option_type": "",
            "strike_price": -1,
            "symbol": symbol,
        }

    @staticmethod
    def _line(one: Contract, said: OptionQuote) -> dict[str, Any]:
        more = said.interest - said.prev_interest
        return {
            "ask": rupees(said.ask),
            "bid": rupees(said.bid),
            "fyToken": one.fy_token,
            "ltp": rupees(said.last),
            "ltpch": rupees(said.last - said.prev_close),
            "ltpchp": round(100 * (said.last - said.prev_close) / said.prev_close, 2),
            "oi": said.interest,
            "oich": more,
            "oichp": round(100 * more / said.prev_interest, 2),
            "option_type": "CE" if one.is_call else "PE",
            "prev_oi": said.prev_interest,
            "strike_price": one.strike // 100,
            "symbol": one.symbol,
            "volume": said.volume,
        }

    def quote(self, symbol: str) -> dict[str, Any] | None:
        """An element of a quotes reply; None for what is no option."""
        one = self.board.find(symbol)
        if one is None:
            return None
        venue = self.exchange.clock.at(time.time())
        said = self.board.quote(one, self.exchange.tick, venue)
        quote = self.board.as_quote(said, venue)
        values = {
            **quote_change(quote),
            "open_price": rupees(quote.open),
            "high_price": rupees(quote.high),
            "low_price": rupees(quote.low),
            "prev_close_price": rupees(quote.prev_close),
            "atp": rupees(quote.average),
            "volume": said.volume,
            "bid": rupees(said.bid),
            "ask": rupees(said.ask),
            "spread": rupees(said.ask - said.bid),
            "short_name": one.name,
            "exchange": "NSE",
            "description": one.name,
            "original_name": symbol,
            "symbol": symbol,
            "fyToken": one.fy_token,
            "tt": str(quote.traded_at),
            "cmd": {},
        }
        return {"n": symbol, "s": "ok", "v": values}
