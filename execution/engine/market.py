"""Ticks in, and what follows from them: last prices, candles, targets reached, stops passed."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from execution.brokers.port import Tick
from execution.models import Group, PartExit
from strategies.tactics.chase import mid_price
from trading.domain.orders import Reason, Side
from trading.marketdata.builder import Bar, CandleBuilder
from trading.marketdata.models import Feed
from trading.marketdata.quotes import Quote
from trading.venue.sessions import SessionKind, session_on

FRESH_S = 5
ODD_JUMP = Decimal("0.2")
"""A price that is further away from the last one, as a share of it, is believed when a second one says the same."""
SOFTWARE_STOP_SLACK = Decimal("0.004")
"""How far past its stop a price must be before the desk no longer waits for the broker's stop order."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Where one open trade ends."""

    group_id: UUID
    side: Side
    stop: Decimal | None
    target: Decimal | None
    trail: Decimal | None = None

    def reached(self, price: Decimal) -> Reason | None:
        ahead = self.side.sign
        if self.target is not None and (price - self.target) * ahead >= 0:
            return Reason.TARGET
        if self.trail is not None and (price - self.trail) * ahead <= 0:
            return Reason.TRAILING
        if self.stop is not None and (self.stop - price) * ahead > self.stop * SOFTWARE_STOP_SLACK:
            return Reason.STOP
        return None


@dataclass(frozen=True, slots=True)
class PartGuard:
    """Where a part of an open trade is to be closed."""

    part_id: int
    side: Side
    price: Decimal

    def reached(self, price: Decimal) -> bool:
        return (price - self.price) * self.side.sign >= 0


class Market:
    """The prices of one feed as they stream in. Safe between the price thread and the others."""

    def __init__(
        self, feed: Feed, *, on_guard: Callable[[UUID, Reason], None],
        on_part: Callable[[int], None] = lambda part_id: None,
    ) -> None:  # fmt: skip
        assume = feed.kind != Feed.Kind.EXCHANGE
        self.feed = feed
        self._on_guard = on_guard
        self._on_part = on_part
        self._lock = threading.Lock()
        # Frames take a moment on the wire, and on a fast clock that moment is many seconds of the market.
        self.grace = timedelta(seconds=max(2.0, 0.3 * feed.speed))
        self._builder = CandleBuilder(
            1, lambda day: session_on(day, kind=SessionKind.EQUITY, assume_weekdays=assume), grace=self.grace
        )
        self._quotes: dict[str, Quote] = {}
        self._doubted: dict[str, Decimal] = {}  # prices far from all before them, until the next one
        self._changed: set[str] = set()
        self._bars: list[Bar] = []
        self._guards: dict[str, list[Guard]] = {}
        self._parts: dict[str, list[PartGuard]] = {}
        self.last_tick_at: float | None = None

    def hear(self, ticks: Iterable[Tick]) -> None:
        """Take one frame of ticks."""
        received = time.time()
        reached: list[tuple[UUID, Reason]] = []
        due: list[int] = []
        with self._lock:
            self.last_tick_at = received
            for tick in ticks:
                if tick.traded_at is None:
                    continue
                self._bars += self._builder.tick(tick.symbol, tick.last_price, tick.volume, tick.traded_at)
                if not self._is_believed(tick.symbol, tick.last_price, tick.traded_at):
                    continue
                self._quotes[tick.symbol] = Quote(
                    symbol=tick.symbol, last_price=tick.last_price, bid=tick.bid, ask=tick.ask,
                    previous_close=tick.previous_close, volume=tick.volume, traded_at=tick.traded_at,
                    received_at=received,
                )  # fmt: skip
                self._changed.add(tick.symbol)
                self._judge(tick.symbol, tick.last_price, reached, due)
        self._act(reached, due)

    def take_quotes(self, quotes: Iterable[Quote]) -> int:
        """Take prices that were asked for. They move the last prices and the guards, and make no candles: between two
        questions a high or a low is missed, and history brings the bars. An older price than the known one is passed
        over. How many were taken."""
        taken = 0
        reached: list[tuple[UUID, Reason]] = []
        due: list[int] = []
        with self._lock:
            for quote in quotes:
                known = self._quotes.get(quote.symbol)
                if known is not None and quote.traded_at < known.traded_at:
                    continue
                live = not (quote.indicative or quote.is_stale)
                if live and not self._is_believed(quote.symbol, quote.last_price, quote.traded_at):
                    continue
                self._quotes[quote.symbol] = quote
                self._changed.add(quote.symbol)
                taken += 1
                if live:
                    self._judge(quote.symbol, quote.last_price, reached, due)
        self._act(reached, due)
        return taken

    def _is_believed(self, symbol: str, price: Decimal, traded_at: datetime) -> bool:
        """False for what is no price, for a frame of before that comes again, and for the first of a far jump: one odd
        print closes nothing."""
        if not price.is_finite() or price <= 0:
            return False
        known = self._quotes.get(symbol)
        if known is None:
            return True
        if self.feed.kind == Feed.Kind.EXCHANGE and traded_at < known.traded_at:  # a simulated day may begin anew
            return False
        doubted = self._doubted.pop(symbol, None)
        for before in (known.last_price, doubted):
            if before is not None and abs(price - before) <= before * ODD_JUMP:
                return True
        self._doubted[symbol] = price
        return False

    def _judge(self, symbol: str, price: Decimal, reached: list[tuple[UUID, Reason]], due: list[int]) -> None:
        for guard in self._guards.get(symbol, ()):
            reason = guard.reached(price)
            if reason is not None:
                reached.append((guard.group_id, reason))
        due += [part.part_id for part in self._parts.get(symbol, ()) if part.reached(price)]

    def _act(self, reached: list[tuple[UUID, Reason]], due: list[int]) -> None:
        """Outside the lock: what follows writes rows, and comes back to say what to watch."""
        for group_id, reason in reached:
            self._on_guard(group_id, reason)
        for part_id in due:
            self._on_part(part_id)

    def changed_quotes(self) -> list[Quote]:
        """Quotes that moved since the last call."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return [self._quotes[symbol] for symbol in changed]

    def middle_of(self, symbol: str) -> Decimal | None:
        """The middle of the book now, the last price where it has none; None where the price is not fresh."""
        quote = self._quotes.get(symbol)  # one look at a dictionary needs no lock
        if quote is None or quote.age_s > FRESH_S or quote.is_stale or quote.indicative:
            return None
        return mid_price(bid=quote.bid, ask=quote.ask, last=quote.last_price)

    def quotes(self) -> dict[str, Quote]:
        with self._lock:
            return dict(self._quotes)

    def closed_bars(self, now: datetime) -> list[Bar]:
        """Bars that are over, by ticks or by the clock."""
        with self._lock:
            bars = self._bars + self._builder.advance(now)
            self._bars = []
            return bars

    def settled_minute(self, now: datetime) -> datetime:
        """The start of the minute of venue time before which every bar is over and given away."""
        return (now - self.grace).replace(second=0, microsecond=0)

    def reconnected(self) -> None:
        """The line was down: what we know of the running bars has a hole."""
        with self._lock:
            self._builder.reconnected()

    def guard(self, groups: Iterable[Group], parts: Iterable[PartExit] = ()) -> None:
        """Watch these open trades from now on, and the parts of them that wait for their price."""
        waiting: dict[str, list[PartGuard]] = {}
        for part in parts:
            if part.trigger_price is not None:
                waiting.setdefault(part.group.instrument.symbol, []).append(
                    PartGuard(part.pk, Side(part.group.side), part.trigger_price)
                )
        guards: dict[str, list[Guard]] = {}
        for group in groups:
            guards.setdefault(group.instrument.symbol, []).append(
                Guard(group.pk, Side(group.side), group.stop_price, group.target_price, group.trail_price)
            )
        with self._lock:
            self._guards, self._parts = guards, waiting
