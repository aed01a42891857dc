"""When the exchange trades: the only home of session arithmetic.

A session is one exchange day of one kind of instrument. It is made of segments of continuous trading: one on an
ordinary day, two on a day with an outage or a drill. Its instants are aware UTC; its date is the day in India.
Days and hours come from the `calendar` in force, which also says what it covers; no hour stands in this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from trading.domain.clock import IST
from trading.venue import calendar
from trading.venue.calendar import DayKind, Plan, SessionKind, SubPhase, remembered

__all__ = [
    "Phase",
    "PhaseSpan",
    "Segment",
    "Session",
    "SessionKind",
    "SubPhase",
    "bar_start",
    "entry_window",
    "exchange_date",
    "next_session",
    "phase_at",
    "previous_day",
    "previous_session",
    "session_on",
    "square_off_at",
]

_SEARCH_DAYS: Final = 30


class Phase(StrEnum):
    """What the exchange does at an instant."""

    CLOSED = "CLOSED"
    PREOPEN = "PREOPEN"
    CONTINUOUS = "CONTINUOUS"
    CLOSING_AUCTION = "CLOSING_AUCTION"
    POST_CLOSE = "POST_CLOSE"


PHASE_OF: Final[dict[SubPhase, Phase]] = {
    SubPhase.PREOPEN_ENTRY: Phase.PREOPEN,
    SubPhase.PREOPEN_LIMIT_ONLY: Phase.PREOPEN,
    SubPhase.PREOPEN_MATCHING: Phase.PREOPEN,
    SubPhase.PREOPEN_BUFFER: Phase.PREOPEN,
    SubPhase.CONTINUOUS: Phase.CONTINUOUS,
    SubPhase.REFERENCE_PRICE: Phase.CLOSING_AUCTION,
    SubPhase.AUCTION_ENTRY: Phase.CLOSING_AUCTION,
    SubPhase.AUCTION_LIMIT_ONLY: Phase.CLOSING_AUCTION,
    SubPhase.AUCTION_MATCHING: Phase.CLOSING_AUCTION,
    SubPhase.POST_CLOSE: Phase.POST_CLOSE,
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of continuous trading: open at its start, over at its end."""

    opens_at: datetime
    closes_at: datetime

    def holds(self, instant: datetime) -> bool:
        return self.opens_at <= instant < self.closes_at


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """A phase of one day in instants. It may end at random from `may_end_at` on; mostly that is its end."""

    phase: SubPhase
    opens_at: datetime
    closes_at: datetime
    may_end_at: datetime

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
    phases: tuple[PhaseSpan, ...] = ()

    @property
    def minutes(self) -> int:
        """Minutes of continuous trading, pauses left out."""
        return sum(_minutes(segment.closes_at - segment.opens_at) for segment in self.segments)

    def phase_at(self, now: datetime) -> Phase:
        """The phase at an aware instant; a pause between two segments is CLOSED but for its own pre-open."""
        span = self.span_at(now)
        return PHASE_OF[span.phase] if span is not None else Phase.CLOSED

    def span_at(self, now: datetime) -> PhaseSpan | None:
        """The phase to the minute, with its ends; None when nothing goes on."""
        return next((span for span in self.phases if span.holds(now)), None)

    @property
    def has_preopen(self) -> bool:
        return any(PHASE_OF[span.phase] is Phase.PREOPEN for span in self.phases)

    @property
    def auction(self) -> Segment | None:
        """The closing auction, from the reference price to the matching; None where the day has none."""
        return self._whole(Phase.CLOSING_AUCTION)

    @property
    def post_close(self) -> Segment | None:
        return self._whole(Phase.POST_CLOSE)

    def _whole(self, phase: Phase) -> Segment | None:
        spans = [span for span in self.phases if PHASE_OF[span.phase] is phase]
        return Segment(spans[0].opens_at, spans[-1].closes_at) if spans else None

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


@remembered(8192)
def _session_on(day: date, kind: SessionKind, assume_weekdays: bool) -> Session | None:
    known = calendar.current()
    plan = known.plan_on(day, kind)
    unusual = known.days.get(day)
    if unusual is not None and unusual.kind is DayKind.CLOSED:
        return None
    if unusual is not None and unusual.kind is DayKind.HOURS:
        segments = tuple(Segment(_utc(day, opens), _utc(day, closes)) for opens, closes in unusual.hours)
        phases = _phases_of_segments(day, plan, segments)
        return Session(
            day, kind, segments[0].opens_at, segments[-1].closes_at, unusual.name, not unusual.certain, segments, phases
        )
    if unusual is not None:
        return _ordinary(day, kind, plan, name=unusual.name, assumed=not unusual.certain)
    if day.weekday() >= 5:
        return None
    if known.knows(day):
        return _ordinary(day, kind, plan, name="Regular", assumed=False)
    return _ordinary(day, kind, plan, name="Assumed weekday", assumed=True) if assume_weekdays else None


def _ordinary(day: date, kind: SessionKind, plan: Plan, *, name: str, assumed: bool) -> Session:
    phases = tuple(
        PhaseSpan(
            span.phase, _utc(day, span.opens), _utc(day, span.closes),
            _utc(day, span.closes) - timedelta(minutes=span.random_end_minutes),
        )
        for span in plan
    )  # fmt: skip
    segments = tuple(Segment(one.opens_at, one.closes_at) for one in phases if one.phase is SubPhase.CONTINUOUS)
    return Session(day, kind, segments[0].opens_at, segments[-1].closes_at, name, assumed, segments, phases)


def _phases_of_segments(day: date, plan: Plan, segments: tuple[Segment, ...]) -> tuple[PhaseSpan, ...]:
    """A day with hours of its own: before each stretch the ordinary pre-open, moved along, and no more."""
    usual = _ordinary(day, SessionKind.EQUITY, plan, name="", assumed=False)
    phases: list[PhaseSpan] = []
    for segment in segments:
        shift = segment.opens_at - usual.opens_at
        phases += [
            PhaseSpan(one.phase, one.opens_at + shift, one.closes_at + shift, one.may_end_at + shift)
            for one in usual.phases
            if PHASE_OF[one.phase] is Phase.PREOPEN
        ]
        phases.append(PhaseSpan(SubPhase.CONTINUOUS, segment.opens_at, segment.closes_at, segment.closes_at))
    return tuple(phases)


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


def previous_day(day: date) -> date | None:
    """The trading day before a day; None where the known calendar does not reach."""
    for back in range(1, _SEARCH_DAYS + 1):
        if session_on(day - timedelta(days=back)) is not None:
            return day - timedelta(days=back)
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
