"""The symbol master files and the index map, as the broker publishes them."""

from __future__ import annotations

from typing import Any

from execution.sandbox.calendar import close_time
from execution.sandbox.fyers_rows import rupees
from execution.sandbox.http import Reply, Request, json_reply
from execution.sandbox.market import Market
from execution.sandbox.universe import UNDERLYING_OF_INDEX, Listing


class FyersMasters:
    """What is listed today. Bands and closes are those of the running session."""

    def __init__(self, market: Market) -> None:
        self.market = market

    def master_csv(self, request: Request) -> Reply:
        rows = [",".join(str(cell) for cell in self._master_row(listing)) for listing in self.market.listings.values()]
        return Reply(200, ("\n".join(rows) + "\n").encode(), "text/csv")

    def _hours(self) -> str:
        return f"0915-{close_time(self.market.running.day):%H%M}|1815-1915:"

    def _master_row(self, listing: Listing) -> tuple[Any, ...]:
        under = UNDERLYING_OF_INDEX.get(listing.short_name, listing.short_name)
        return (
            listing.fy_token,
            listing.name,
            listing.instrument,
            0 if listing.is_index else 1,
            rupees(listing.tick_paise),
            listing.isin,
            self._hours(),
            self.market.running.day.isoformat(),
            "",
            listing.symbol,
            10,
            10,
            listing.exchange_token,
            under,
            listing.exchange_token,
            -1.0,
            "XX",
            listing.fy_token,
            "None",
            0,
            0.0,
        )

    def master_json(self, request: Request) -> Reply:
        day = self.market.running.day.isoformat()
        master = {}
        for symbol, listing in self.market.listings.items():
            low, high = self.market.band(symbol)
            under = UNDERLYING_OF_INDEX.get(listing.short_name, listing.short_name)
            master[symbol] = {
                "fyToken": listing.fy_token,
                "isin": listing.isin,
                "exSymbol": under,
                "exSymName": listing.name,
                "symDetails": listing.name,
                "symbolDesc": listing.name,
                "symTicker": symbol,
                "exchange": 10,
                "segment": 10,
                "exToken": listing.exchange_token,
                "exSeries": "" if listing.is_index else "EQ",
                "optType": "XX",
                "underSym": under,
                "underFyTok": listing.fy_token,
                "exInstType": listing.instrument,
                "minLotSize": 0 if listing.is_index else 1,
                "tickSize": rupees(listing.tick_paise),
                "tradingSession": self._hours(),
                "lastUpdate": day,
                "expiryDate": "",
                "strikePrice": -1.0,
                "qtyFreeze": "",
                "tradeStatus": 1,
                "currencyCode": "INR",
                "upperPrice": rupees(high),
                "lowerPrice": rupees(low),
                "faceValue": 10.0,
                "qtyMultiplier": 1.0,
                "previousClose": rupees(self.market.running.names[symbol].prev_close),
                "previousOi": 0.0,
                "asmGsmVal": "",
                "exchangeName": "NSE",
                "originalExpDate": "",
                "is_mtf_tradable": 0,
                "mtf_margin": 0.0,
                "stream": "",
            }
        return json_reply(200, master)

    def index_map(self, request: Request) -> Reply:
        names = {symbol: x.index_name for symbol, x in self.market.listings.items() if x.is_index}
        return json_reply(200, names)
