"""Prices that a test sets by hand, behind the read side of the port: what a paper account lives on.

It has no book. Whoever sends it something has crossed the line between paper and money, and is told so loudly.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from execution.brokers.errors import AuthError, TransientError
from execution.brokers.port import Bar, History, Profile, Quote, Tick


class OrderOnTheTape(AssertionError):
    """An order came to a place that only has prices."""


class Tape:
    """`now` is venue time. `silent`: it cannot be asked. `signed_out`: it does not know us any more."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.quoted: dict[str, Quote] = {}
        self.bars: list[Bar] = []
        self.band: tuple[Decimal, Decimal] | None = None
        self.silent = self.signed_out = False
        self.closed = 0

    def set(self, symbol: str, last: str, *, bid: str = "", ask: str = "", volume: int = 0) -> Tick:
        """The market is here, at this instant; the same as a tick, for whoever streams."""
        price, shown = Decimal(last), [Decimal(one) if one else None for one in (bid, ask)]
        self.quoted[symbol] = Quote(symbol, price, *shown, volume, price, price, price, price, self.now)
        return Tick(symbol, price, volume, self.now, *shown)

    def quotes(self, symbols: Iterable[str]) -> list[Quote]:
        self._answer()
        return [self.quoted[symbol] for symbol in symbols if symbol in self.quoted]

    def bands(self, symbols: Iterable[str]) -> dict[str, tuple[Decimal, Decimal]]:
        self._answer()
        return {symbol: self.band for symbol in symbols if self.band is not None}

    def history(self, symbol: str, *, timeframe: str, start: datetime, end: datetime) -> History:
        self._answer()
        return History([bar for bar in self.bars if start <= bar.started_at < end])

    def profile(self) -> Profile:
        self._answer()
        return Profile("TAPE", "Tape")

    def close(self) -> None:
        self.closed += 1

    def _answer(self) -> None:
        if self.signed_out:
            raise AuthError("AUTH", "no such token")
        if self.silent:
            raise TransientError("BROKER_UNAVAILABLE", "HTTP 503.")

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise OrderOnTheTape

    place = modify = cancel = place_trigger = modify_trigger = cancel_trigger = _refuse
    orders = trades = positions = funds = holdings = triggers = margin = _refuse
