"""Options in Kite's words: their lines of the dump, and a full quote of one contract."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from execution.sandbox.exchange import Exchange
from execution.sandbox.kite_rows import quote_row
from execution.sandbox.options import Contract, OptionBoard
from execution.sandbox.universe import Listing

NFO = 2


def token_of(one: Contract) -> int:
    return one.token * 256 + NFO


class KiteOptions:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.board = OptionBoard(exchange.market)

    def dump(self) -> Iterator[str]:
        """Lines of the instrument dump, without a header."""
        for one in self.board.listed().values():
            yield (
                f'{token_of(one)},{one.token},{one.name},"{one.family.root}",0,{one.expiry},{one.strike // 100},0.05,'
                f"{one.family.lot},{'CE' if one.is_call else 'PE'},NFO-OPT,NFO"
            )

    def quote(self, name: str) -> dict[str, Any] | None:
        """A full quote; None for what is no option."""
        one = self.board.find(f"NSE:{name}")
        if one is None:
            return None
        venue = self.exchange.clock.at(time.time())
        said = self.board.quote(one, self.exchange.tick, venue)
        listing = Listing(one.symbol, one.name, one.token, "", "", said.prev_close, 5, 0, 0.0)
        row = quote_row(
            listing, self.board.as_quote(said, venue), self.board.depth(said, one.family.lot), self.board.band(said),
            venue,
        )  # fmt: skip
        return row | {
            "instrument_token": token_of(one),
            "oi": said.interest,
            "oi_day_high": max(said.interest, said.prev_interest),
            "oi_day_low": min(said.interest, said.prev_interest),
        }
