"""Where a paper account's prices come from: the read side of another account's gateway. It has no way to send."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from execution.brokers.errors import AuthError, BrokerError
from execution.brokers.port import (
    BrokerGateway,
    Depth,
    History,
    ListedInstrument,
    OptionChain,
    Profile,
    Quote,
    Tick,
)
from trading.marketdata.sources import HistoryLimits
from trading.venue.fill_model import Stretch

FRESH_S = 5.0
"""A streamed price is believed for so long, wall seconds: as long as the gates do for an entry."""
QUIET = timedelta(seconds=60)
"""The last trade behind a price may be so long ago, at the venue's pace."""
ASK_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Mark:
    """The last that was heard of one symbol. `heard_at` monotonic, `volume` the day's running total."""

    last: Decimal
    bid: Decimal | None
    ask: Decimal | None
    volume: int
    traded_at: datetime
    heard_at: float

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.heard_at <= FRESH_S

    def stretch(self, *, opens: bool = False, before: "Mark | None" = None) -> Stretch:
        """What it tells an order: one price, and what was traded since the one before it of the same day."""
        traded = self.volume - before.volume if before is not None and before.volume <= self.volume else 0
        return Stretch(self.last, self.last, self.last, opens, self.bid, self.ask, traded)


class PriceSource:
    """Prices by symbol, streamed or asked for. Safe between threads; `connection` is for the price stream alone."""

    def __init__(self, connect: Callable[[], BrokerGateway], *, ask_every_s: float = ASK_EVERY_S) -> None:
        self._connect = connect
        self._ask_every_s = ask_every_s
        self._gateway: BrokerGateway | None = None
        self._lock = threading.Lock()
        self._marks: dict[str, Mark] = {}
        self._asked: dict[str, float] = {}
        self._bands: dict[tuple[str, date], tuple[Decimal, Decimal] | None] = {}

    @property
    def connection(self) -> BrokerGateway:
        """AuthError (NOT_SIGNED_IN) where the source has no token that lives."""
        with self._lock:
            if self._gateway is None:
                self._gateway = self._connect()
            return self._gateway

    def close(self) -> None:
        with self._lock:
            if self._gateway is not None:
                self._gateway.close()
                self._gateway = None

    # -- what is asked of the source as it is ------------------------------------------------------------------------

    def profile(self) -> Profile:
        return self.connection.profile()

    def quotes(self, symbols: Iterable[str]) -> list[Quote]:
        return self.connection.quotes(symbols)

    def depth(self, symbol: str) -> Depth:
        return self.connection.depth(symbol)

    @property
    def bands_a_call(self) -> int:
        return self.connection.bands_a_call

    def bands(self, symbols: Iterable[str]) -> dict[str, tuple[Decimal, Decimal]]:
        return self.connection.bands(symbols)

    @property
    def history_limits(self) -> HistoryLimits:
        return self.connection.history_limits

    def history(self, symbol: str, *, timeframe: str, start: datetime, end: datetime) -> History:
        return self.connection.history(symbol, timeframe=timeframe, start=start, end=end)

    def instruments(self) -> list[ListedInstrument]:
        return self.connection.instruments()

    def option_chain(self, symbol: str, *, expiry: date | None, strikes: int) -> OptionChain:
        return self.connection.option_chain(symbol, expiry=expiry, strikes=strikes)

    def clock_skew_s(self) -> float | None:
        return self.connection.clock_skew_s()

    def market_open(self) -> bool:
        return self.connection.market_open()

    # -- what is remembered of it ------------------------------------------------------------------------------------

    def hear(self, ticks: Iterable[Tick], *, now: datetime, speed: float) -> list[tuple[str, Stretch]]:
        """Take what streamed in; what is fresh of it, by symbol, in the order in which it came. `now` is venue time."""
        return self._told(ticks, now=now, speed=speed, asked=False)

    def ask(self, symbols: Sequence[str], *, now: datetime, speed: float) -> list[tuple[str, Stretch]]:
        """Ask for what is not streamed, each symbol every other second; what is fresh of it. `now` is venue time.

        AuthError where the source has lost its sign-in. Where it cannot be asked there is no price.
        """
        wall = time.monotonic()
        due = [
            symbol for symbol in dict.fromkeys(symbols)
            if not ((mark := self._marks.get(symbol)) is not None and mark.is_fresh and symbol not in self._asked)
            and wall - self._asked.get(symbol, float("-inf")) >= self._ask_every_s
        ]  # fmt: skip
        if not due:
            return []
        self._asked.update(dict.fromkeys(due, wall))
        try:
            quotes = self.quotes(due)
        except AuthError:
            raise
        except BrokerError:
            return []
        return self._told(quotes, now=now, speed=speed, asked=True)

    def _told(
        self, news: Iterable[Quote | Tick], *, now: datetime, speed: float, asked: bool
    ) -> list[tuple[str, Stretch]]:
        told = []
        for one in news:
            if (mark := _mark(one, now=now, speed=speed)) is None:
                continue
            stretch = self._take(one.symbol, mark, asked=asked)
            if stretch is not None and mark.is_fresh:
                told.append((one.symbol, stretch))
        return told

    def _take(self, symbol: str, mark: Mark, *, asked: bool) -> Stretch | None:
        with self._lock:
            before = self._marks.get(symbol)
            if before is not None and mark.traded_at < before.traded_at:
                return None  # news from before what is known
            self._marks[symbol] = mark
            if not asked:
                self._asked.pop(symbol, None)
        same_day = before is not None and before.traded_at.date() == mark.traded_at.date()
        return mark.stretch(before=before if same_day else None)

    def last(self, symbol: str) -> Mark | None:
        """The last that was heard, fresh or not."""
        return self._marks.get(symbol)

    def fresh(self, symbol: str) -> Mark | None:
        mark = self._marks.get(symbol)
        return mark if mark is not None and mark.is_fresh else None

    def band(self, symbol: str, day: date) -> tuple[Decimal, Decimal] | None:
        """The day's band as the source tells it, asked once; None: it tells none."""
        if (symbol, day) not in self._bands:
            try:
                self._bands[symbol, day] = self.bands([symbol]).get(symbol)
            except AuthError:
                raise
            except BrokerError:
                return None
        return self._bands[symbol, day]


def _mark(said: Quote | Tick, *, now: datetime, speed: float) -> Mark | None:
    """What a price is worth. Where its last trade is old it is known, and not fresh: nothing trades by it, for a feed
    that stands still shows old bids too, and a stream begins with what it knows from before."""
    if said.traded_at is None:
        return None
    old = now - said.traded_at > QUIET * max(1.0, speed)
    heard_at = float("-inf") if old else time.monotonic()
    return Mark(said.last_price, said.bid, said.ask, said.volume, said.traded_at, heard_at)
