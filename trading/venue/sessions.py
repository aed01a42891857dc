"""When the exchange trades: the only home of session arithmetic.

A session is one exchange day of one kind of instrument. It is made of segments of continuous trading: one on an
ordinary day, two on a day with an outage or a drill. Its instants are aware UTC; its date is the day in India.
Days and hours come from `calendar`, which also says what it covers. Source of the hours: NSE/CMTR/72349,
NSE/CMTR/74466 and NSE/FAOP/74467 (see `calendar`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from trading.domain.clock import IST
from trading.venue import calendar

PREOPEN_LENGTH: Final = timedelta(minutes=15)
OPEN: Final = time(9, 15)
CLOSE: Final = time(15, 30)
AUCTION_STOCK_CLOSE: Final = time(15, 15)  # from CLOSING_AUCTION_FROM
AUCTION_END: Final = time(15, 35)
DERIVATIVES_CLOSE: Final = time(15, 40)  # from CLOSING_AUCTION_FROM
POST_CLOSE_END: Final = time(16, 0)
_SEARCH_DAYS: Final = 30


class SessionKind(StrEnum):
    """Which rule of hours applies to an instrument."""

    EQUITY = "EQUITY"
    EQUITY_DERIVATIVE_STOCK = "EQUITY_DERIVATIVE_STOCK"  # a share that has derivatives: closes by auction
    DERIVATIVES = "DERIVATIVES"


class Phase(StrEnum):
    """What the exchange does at an instant."""

    CLOSED = "CLOSED"
    PREOPEN = "PREOPEN"
    CONTINUOUS = "CONTINUOUS"
    CLOSING_AUCTION = "CLOSING_AUCTION"
    POST_CLOSE = "POST_CLOSE"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of continuous trading: open at its start, over at its end."""

    opens_at: datetime
    closes_at: datetime

    def holds(self, instant: datetime) -> bool:
        return self.opens_at <= instant < self.closes_at


@dataclass(frozen=True, slots=True)
class Session:
    """One exchange day. `assumed`: the day or its hours are a guess, good for simulation, not for real orders."""

    date: date
    kind: SessionKind
    opens_at: datetime
    closes_at: datetime  # the end of continuous trading
    name: str
    assumed: bool
    segments: tuple[Segment, ...]
    auction: Segment | None = None
    post_close: Segment | None = None
    has_preopen: bool = True

    @property
    def minutes(self) -> int:
        """Minutes of continuous trading, pauses left out."""
        return sum(_minutes(segment.closes_at - segment.opens_at) for segment in self.segments)

    def phase_at(self, now: datetime) -> Phase:
        """The phase at an aware instant; a pause between two segments is CLOSED but for its own pre-open."""
        for segment in self.segments:
            if segment.holds(now):
                return Phase.CONTINUOUS
            if self.has_preopen and segment.opens_at - PREOPEN_LENGTH <= now < segment.opens_at:
                return Phase.PREOPEN
        if self.auction is not None and self.auction.holds(now):
            return Phase.CLOSING_AUCTION
        if self.post_close is not None and self.post_close.holds(now):
            return Phase.POST_CLOSE
        return Phase.CLOSED

    def bar_starts(self, timeframe_minutes: int) -> list[datetime]:
        """Starts of all bars of the day. Every segment begins a new bar; the last bar of a segment may be short."""
        if timeframe_minutes < 1:
            raise ValueError(f"a bar lasts at least one minute, not {timeframe_minutes}")
        step = timedelta(minutes=timeframe_minutes)
        starts: list[datetime] = []
        for segment in self.segments:
            start = segment.opens_at
            while start < segment.closes_at:
                starts.append(start)
                start += step
        return starts

    def bar_end(self, start: datetime, timeframe_minutes: int) -> datetime:
        """When the bar that begins at `start` is complete: its length, cut at the end of its segment."""
        for segment in self.segments:
            if segment.holds(start):
                return min(start + timedelta(minutes=timeframe_minutes), segment.closes_at)
        raise ValueError(f"{start.isoformat()} is not in continuous trading on {self.date}")

    def minutes_since_open(self, instant: datetime) -> float:
        """Minutes of the clock since the first bell, pauses included; negative before it."""
        return (instant - self.opens_at).total_seconds() / 60


def session_on(day: date, *, kind: SessionKind = SessionKind.EQUITY, assume_weekdays: bool = False) -> Session | None:
    """The session of an exchange day, or None when the exchange is closed.

    A day outside the known calendar is closed, unless `assume_weekdays` makes an ordinary, `assumed` session of every
    Monday to Friday there (for old data and for simulations).
    """
    return _session_on(day, kind, assume_weekdays)


@lru_cache(maxsize=8192)
def _session_on(day: date, kind: SessionKind, assume_weekdays: bool) -> Session | None:
    if not calendar.KNOWN_FROM <= day <= calendar.KNOWN_TO:
        if assume_weekdays and day.weekday() < 5:
            return _ordinary(day, kind, name="Assumed weekday", assumed=True)
        return None
    if day in calendar.UNUSUAL_HOURS:
        name, hours = calendar.UNUSUAL_HOURS[day]
        segments = tuple(Segment(_utc(day, opens), _utc(day, closes)) for opens, closes in hours)
        return Session(
            date=day,
            kind=kind,
            opens_at=segments[0].opens_at,
            closes_at=segments[-1].closes_at,
            name=name,
            assumed=day in calendar.HOURS_ASSUMED,
            segments=segments,
            has_preopen=_has_preopen(day, kind),
        )
    if day in calendar.FULL_WEEKEND_DAYS:
        return _ordinary(day, kind, name=calendar.FULL_WEEKEND_DAYS[day], assumed=False)
    if day.weekday() >= 5 or day in calendar.CLOSED_WEEKDAYS:
        return None
    return _ordinary(day, kind, name="Regular", assumed=False)


def _ordinary(day: date, kind: SessionKind, *, name: str, assumed: bool) -> Session:
    new_close = day >= calendar.CLOSING_AUCTION_FROM
    auction: Segment | None = None
    post_close: Segment | None = Segment(_utc(day, time(15, 40)), _utc(day, POST_CLOSE_END))
    close = CLOSE
    if kind is SessionKind.DERIVATIVES:
        post_close = None
        if new_close:
            close = DERIVATIVES_CLOSE
    elif kind is SessionKind.EQUITY_DERIVATIVE_STOCK and new_close:
        close = AUCTION_STOCK_CLOSE
        auction = Segment(_utc(day, AUCTION_STOCK_CLOSE), _utc(day, AUCTION_END))
        post_close = Segment(_utc(day, time(15, 50)), _utc(day, POST_CLOSE_END))
    whole_day = Segment(_utc(day, OPEN), _utc(day, close))
    return Session(
        date=day,
        kind=kind,
        opens_at=whole_day.opens_at,
        closes_at=whole_day.closes_at,
        name=name,
        assumed=assumed,
        segments=(whole_day,),
        auction=auction,
        post_close=post_close,
        has_preopen=_has_preopen(day, kind),
    )


def _has_preopen(day: date, kind: SessionKind) -> bool:
    return kind is not SessionKind.DERIVATIVES or day >= calendar.DERIVATIVES_PREOPEN_FROM


def next_session(
    after: datetime, *, kind: SessionKind = SessionKind.EQUITY, assume_weekdays: bool = False
) -> Session | None:
    """The first session that opens after an aware instant; None where the known calendar ends."""
    day = exchange_date(after)
    for ahead in range(_SEARCH_DAYS + 1):
        session = session_on(day + timedelta(days=ahead), kind=kind, assume_weekdays=assume_weekdays)
        if session is not None and session.opens_at > after:
            return session
    return None


def previous_session(
    before: datetime, *, kind: SessionKind = SessionKind.EQUITY, assume_weekdays: bool = False
) -> Session | None:
    """The last session whose continuous trading was over at an aware instant; None before the known calendar."""
    day = exchange_date(before)
    for back in range(_SEARCH_DAYS + 1):
        session = session_on(day - timedelta(days=back), kind=kind, assume_weekdays=assume_weekdays)
        if session is not None and session.closes_at <= before:
            return session
    return None


def phase_at(now: datetime, *, kind: SessionKind = SessionKind.EQUITY, assume_weekdays: bool = False) -> Phase:
    """What the exchange does at an aware instant."""
    session = session_on(exchange_date(now), kind=kind, assume_weekdays=assume_weekdays)
    return Phase.CLOSED if session is None else session.phase_at(now)


def exchange_date(instant: datetime) -> date:
    """The day in India of an aware instant. A naive datetime is refused: ValueError."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs its time zone")
    return instant.astimezone(IST).date()


def square_off_at(session: Session, minutes_before: int = 15) -> datetime:
    """When our own rule closes intraday positions: before the end of continuous trading, never before the open."""
    return max(session.opens_at, session.closes_at - timedelta(minutes=minutes_before))


def entry_window(
    session: Session, after_open_minutes: int = 5, before_close_minutes: int = 30
) -> tuple[datetime, datetime]:
    """When new positions may be opened: from the first instant up to, not including, the second; may be empty."""
    first = session.opens_at + timedelta(minutes=after_open_minutes)
    last = session.closes_at - timedelta(minutes=before_close_minutes)
    return first, max(first, last)


def bar_start(instant: datetime, session: Session, minutes: int) -> datetime | None:
    """Start of the bar an instant belongs to, counted from the open of its segment; None outside continuous trading."""
    if minutes < 1:
        raise ValueError(f"a bar lasts at least one minute, not {minutes}")
    step = timedelta(minutes=minutes)
    for segment in session.segments:
        if segment.holds(instant):
            return segment.opens_at + ((instant - segment.opens_at) // step) * step
    return None


def _utc(day: date, hours: time) -> datetime:
    return datetime.combine(day, hours, tzinfo=IST).astimezone(UTC)


def _minutes(length: timedelta) -> int:
    return int(length.total_seconds() // 60)
