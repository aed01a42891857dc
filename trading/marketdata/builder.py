"""Bars made of ticks: the exchange's own, when every tick was seen, and honest about it when not.

A bar closes when a tick of a later bar arrives, or when venue time has passed its end by a grace. Until then a late
tick still counts; afterwards it is only counted. A minute without a tick has no bar, and neither has one before the
day's first trade: the price that is told then is yesterday's. An index never trades and has its bars all the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import IntFlag

from trading.marketdata.marks import Mark
from trading.venue.sessions import Session, bar_start, exchange_date

SessionLookup = Callable[[date], Session | None]
GRACE = timedelta(seconds=2)
INDEX = "-INDEX"  # how the symbol of an index ends


class BarFlag(IntFlag):
    """What is doubtful about a bar. Zero: nothing."""

    NONE = 0
    PARTIAL = 1  # we began to listen in the middle of it
    GAP = 2  # the line was down during it: a high or a low may be missing
    CATCH_UP = 4  # its volume holds what was traded while the line was down
    FIRST_OF_DAY = 8  # its volume is all of the day so far, so it may hold the pre-open's


@dataclass(slots=True)
class Bar:
    """One bar. Prices in rupees; volume in units; `started_at` is aware and labels the start; `ticks` 0: not known.

    `source` and `mark` (what is doubtful about it) are said of bars that come from the store.
    """

    symbol: str
    started_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    ticks: int = 0
    flags: BarFlag = BarFlag.NONE
    source: str = ""
    mark: Mark = Mark.NONE

    @property
    def is_whole(self) -> bool:
        """Whether its prices are all it had. Others wait for history."""
        return not self.flags & (BarFlag.PARTIAL | BarFlag.GAP)


@dataclass(slots=True)
class _Line:
    """What is remembered of one symbol."""

    day: date | None = None
    day_volume: int | None = None  # running total of the day at the last tick; None: no tick of the day yet
    bar: Bar | None = None
    ends_at: datetime | None = None
    last_at: datetime | None = None
    closed_to: datetime | None = None  # bars before this instant are given away
    was_down: bool = False


@dataclass(slots=True)
class TickCounts:
    """What became of the ticks that made no bar."""

    late: int = 0  # of a bar already closed
    out_of_session: int = 0
    volume_backwards: int = 0  # the day's total fell: the larger one is kept
    bad_price: int = 0
    untraded: int = 0  # before the day's first trade


@dataclass(slots=True)
class CandleBuilder:
    """Makes bars of `timeframe_minutes` for any number of symbols. One thread at a time.

    `session_lookup(day)` gives the session of an exchange day or None: days and hours are the calendar's to say.
    `listening_from` is the venue time from which every tick is heard; unset, it is the first instant we are told of.
    """

    timeframe_minutes: int
    session_lookup: SessionLookup
    grace: timedelta = GRACE
    listening_from: datetime | None = None
    counts: TickCounts = field(default_factory=TickCounts)
    _lines: dict[str, _Line] = field(default_factory=dict)
    _session: Session | None = None
    _session_day: date | None = None

    def tick(self, symbol: str, price: Decimal, day_volume: int, traded_at: datetime) -> list[Bar]:
        """Take one tick: last price, volume of the day so far (units), exchange time. Gives the bars it closed."""
        line = self._lines.get(symbol)
        if line is None:
            line = self._lines[symbol] = _Line()
        if not price.is_finite() or price <= 0:
            self.counts.bad_price += 1
            return []
        if self.listening_from is None:
            self.listening_from = traded_at
        bar = line.bar
        if bar is not None and line.ends_at is not None and bar.started_at <= traded_at < line.ends_at:
            self._fold(line, bar, price, day_volume, traded_at)
            return []
        return self._next(line, symbol, price, day_volume, traded_at)

    def advance(self, venue_now: datetime) -> list[Bar]:
        """Close every bar whose end and grace have passed, oldest first."""
        if self.listening_from is None:
            self.listening_from = venue_now
        limit = venue_now - self.grace
        closed = [
            self._close(line)
            for line in self._lines.values()
            if line.bar is not None and line.ends_at is not None and line.ends_at <= limit
        ]
        return sorted(closed, key=lambda bar: (bar.started_at, bar.symbol))

    def reconnected(self, symbols: Iterable[str] | None = None) -> None:
        """The line was down: running bars may lack a price, and the next tick brings the volume of the silence."""
        if symbols is None:
            self.listening_from = None
        for symbol in self._lines if symbols is None else symbols:
            line = self._lines.get(symbol)
            if line is None:
                continue
            line.was_down = True
            if line.bar is not None:
                line.bar.flags |= BarFlag.GAP

    def running(self, symbol: str) -> Bar | None:
        """The bar that is not over yet, as it stands."""
        line = self._lines.get(symbol)
        return line.bar if line else None

    def _next(self, line: _Line, symbol: str, price: Decimal, day_volume: int, traded_at: datetime) -> list[Bar]:
        """A tick that does not belong to the running bar."""
        if (line.closed_to is not None and traded_at < line.closed_to) or (
            line.bar and traded_at < line.bar.started_at
        ):
            self.counts.late += 1
            return []
        closed = [self._close(line)] if line.bar is not None else []
        day = exchange_date(traded_at)
        if line.day != day:
            line.day, line.day_volume = day, None
        if day_volume <= 0 and not symbol.endswith(INDEX):
            self.counts.untraded += 1
            line.day_volume = line.day_volume or 0
            return closed
        session = self._session_of(day)
        start = bar_start(traded_at, session, self.timeframe_minutes) if session is not None else None
        if session is None or start is None:
            self.counts.out_of_session += 1
            line.day_volume = max(day_volume, line.day_volume or 0)  # a pre-open total is no part of the first bar
            return closed
        flags = BarFlag.NONE
        if line.day_volume is None:
            if self.listening_from is not None and self.listening_from <= session.opens_at:
                line.day_volume, flags = 0, BarFlag.FIRST_OF_DAY
            else:
                line.day_volume, flags = day_volume, BarFlag.PARTIAL
        elif line.day_volume == 0:
            flags = BarFlag.FIRST_OF_DAY
        if line.was_down:
            flags |= BarFlag.GAP
        line.bar = Bar(symbol, start, price, price, price, price, volume=0, flags=flags)
        line.ends_at = session.bar_end(start, self.timeframe_minutes)
        line.last_at = None
        self._fold(line, line.bar, price, day_volume, traded_at)
        return closed

    def _fold(self, line: _Line, bar: Bar, price: Decimal, day_volume: int, traded_at: datetime) -> None:
        if line.last_at is None or traded_at >= line.last_at:
            line.last_at = traded_at
            bar.close = price
        if price > bar.high:
            bar.high = price
        elif price < bar.low:
            bar.low = price
        bar.ticks += 1
        traded = day_volume - (line.day_volume or 0)
        if traded > 0:
            bar.volume += traded
            line.day_volume = day_volume
            if line.was_down:
                bar.flags |= BarFlag.CATCH_UP
        elif traded < 0:
            self.counts.volume_backwards += 1
        line.was_down = False

    def _close(self, line: _Line) -> Bar:
        bar = line.bar
        assert bar is not None
        line.closed_to, line.bar, line.ends_at = line.ends_at, None, None
        return bar

    def _session_of(self, day: date) -> Session | None:
        if day != self._session_day:
            self._session, self._session_day = self.session_lookup(day), day
        return self._session


def resample(bars: Iterable[Bar], minutes: int, session_lookup: SessionLookup) -> list[Bar]:
    """Longer bars of shorter ones, each symbol's in time order. Bars outside a session are left out.

    The last bar of each symbol is given as far as it goes: whether it is over is for the caller to know.
    """
    result: dict[tuple[str, datetime], Bar] = {}
    for bar in bars:
        session = session_lookup(exchange_date(bar.started_at))
        start = bar_start(bar.started_at, session, minutes) if session is not None else None
        if start is None:
            continue
        whole = result.get((bar.symbol, start))
        if whole is None:
            result[bar.symbol, start] = Bar(
                bar.symbol, start, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.ticks, bar.flags
            )
            continue
        whole.high, whole.low, whole.close = max(whole.high, bar.high), min(whole.low, bar.low), bar.close
        whole.volume += bar.volume
        whole.ticks += bar.ticks
        whole.flags |= bar.flags
    return list(result.values())
