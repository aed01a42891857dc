"""What can be wrong with bars, in plain arithmetic: no database, no clock.

`DayBook` keeps one byte a minute of every day it has seen, so that a file of any length is judged in bounded memory.
Which minutes a day should have is the calendar's word; where the calendar is silent, weekdays are assumed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trading.marketdata.builder import Bar
from trading.venue import calendar
from trading.venue.sessions import Session, session_on

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
SessionLookup = Callable[[date], Session | None]

LEAST_PRICE = Decimal("0.0001")  # what the candle table can hold
LARGEST_PRICE = Decimal("9999999999")
LARGEST_VOLUME = 10**15
IST_OFFSET_S = 19_800
DAY_S = 86_400
MINUTES = 1440
SHORT_BELOW = 0.97  # a day with fewer of its bars than this share is short
SUSPICION = 0.5  # share of days that must look mislabelled before anything is said
MIXED = 0.2  # share of days of the rarer label from which a file counts as mixed

# What became of a row
GOOD, BAD, DUPLICATE, PRE_OPEN, AFTER_CLOSE, PAUSE, CLOSED_DAY, OFF_GRID = range(8)


def makes_sense(open_: Decimal, high: Decimal, low: Decimal, close: Decimal, volume: int) -> bool:
    """Whether these can be the numbers of a bar: prices positive and enclosed by high and low, volume not negative."""
    return (
        all(price.is_finite() for price in (open_, high, low, close))
        and LEAST_PRICE <= low <= min(open_, close)
        and max(open_, close) <= high <= LARGEST_PRICE
        and 0 <= volume <= LARGEST_VOLUME
    )


def sensible(open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> Bools:
    """`makes_sense` over float64[bars] each, as bool[bars]. NaN and infinity make no sense."""
    with np.errstate(invalid="ignore"):
        return (
            (low >= float(LEAST_PRICE)) & (low <= open_) & (low <= close) & (high >= open_) & (high >= close)
            & (high <= float(LARGEST_PRICE)) & (volume >= 0) & (volume <= LARGEST_VOLUME)
        )  # fmt: skip


def with_noise(*prices: Floats) -> Bools:
    """Rows with a price of more than two decimals: the trace of a float32 somewhere on the way."""
    return np.any([np.abs(price * 100 - np.rint(price * 100)) > 1e-4 for price in prices], axis=0)


@calendar.remembered(8192)
def ordinary_calendar(day: date) -> Session | None:
    return session_on(day, assume_weekdays=True)


@dataclass(slots=True)
class Gap:
    """Bars in a row that are missing. `from_at`: local time in India."""

    date: str
    from_time: str
    bars: int


@dataclass(slots=True)
class QualityReport:
    """What a run of bars is worth. Counts are bars unless their name says days."""

    rows: int = 0
    good: int = 0
    bad_bars: int = 0
    duplicates: int = 0
    unsorted: int = 0  # steps backward in time
    out_of_session: dict[str, int] = field(
        default_factory=lambda: {"pre_open": 0, "after_close": 0, "pause": 0, "closed_day": 0, "off_grid": 0}
    )
    missing: int = 0  # bars absent on days that have any
    gaps: int = 0  # runs of absent bars
    largest_gap: Gap | None = None
    days: int = 0  # days with bars in session
    short_days: int = 0
    missing_days: list[str] = field(
        default_factory=list
    )  # known exchange days between the first and the last without bars
    zero_volume_first_bars: int = 0  # days; not for indices
    float_noise: int = 0
    first: str | None = None  # start of the first good bar
    last: str | None = None
    suspected_label: str | None = None  # "end" or "start": the stamps look like the other label than the one given
    mixed_labels: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _Day:
    seen: NDArray[np.uint8]  # by minute of the day in India: 1 a bar stood here
    outside: NDArray[np.uint8]  # the same for bars not in session
    first_minute: int = MINUTES
    first_volume: float = -1.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """The bars a day should have: by minute of the day, the fate of a bar that starts there."""

    fate: NDArray[np.uint8]
    starts: Ints  # minutes of the day
    opens: int
    closes: int
    known: bool


class DayBook:
    """Judges bars in any order, chunk by chunk, and sums up at the end.

    `timeframe` in minutes, below a day. Stamps given to `judge` are starts of bars, epoch seconds.
    """

    def __init__(
        self, timeframe: int, *, is_index: bool = False, session_lookup: SessionLookup = ordinary_calendar
    ) -> None:
        if not 1 <= timeframe < MINUTES:
            raise ValueError(f"bars of {timeframe} minutes are not judged by the minute")
        self.timeframe = timeframe
        self.is_index = is_index
        self.session_lookup = session_lookup
        self.report = QualityReport()
        self._days: dict[int, _Day] = {}
        self._plans: dict[int, _Plan] = {}
        self._last_stamp: int | None = None
        self._first_good: int | None = None
        self._last_good: int | None = None

    def judge(
        self, starts: Ints, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats
    ) -> NDArray[np.uint8]:
        """The fate of each bar (GOOD, BAD, …). Arrays of one length, rows in the order of the source."""
        report = self.report
        report.rows += int(starts.size)
        if starts.size == 0:
            return np.empty(0, np.uint8)
        before = np.concatenate(([starts[0] if self._last_stamp is None else self._last_stamp], starts[:-1]))
        report.unsorted += int(np.count_nonzero(starts < before))
        self._last_stamp = int(starts[-1])
        fate = np.where(sensible(open_, high, low, close, volume), GOOD, BAD).astype(np.uint8)
        local = starts + IST_OFFSET_S
        day_numbers = local // DAY_S
        minutes = (local % DAY_S) // 60
        off_minute = (fate == GOOD) & (starts % 60 != 0)
        fate[off_minute] = OFF_GRID
        for number in np.unique(day_numbers):
            rows = np.flatnonzero((day_numbers == number) & (fate == GOOD))
            if rows.size:
                fate[rows] = self._judge_day(int(number), minutes[rows], volume[rows])
        good = fate == GOOD
        report.bad_bars += int(np.count_nonzero(fate == BAD))
        report.duplicates += int(np.count_nonzero(fate == DUPLICATE))
        report.good += int(np.count_nonzero(good))
        for name, code in (("pre_open", PRE_OPEN), ("after_close", AFTER_CLOSE), ("pause", PAUSE),
                           ("closed_day", CLOSED_DAY), ("off_grid", OFF_GRID)):  # fmt: skip
            report.out_of_session[name] += int(np.count_nonzero(fate == code))
        if good.any():
            report.float_noise += int(np.count_nonzero(with_noise(open_[good], high[good], low[good], close[good])))
            first, last = int(starts[good].min()), int(starts[good].max())
            self._first_good = first if self._first_good is None else min(first, self._first_good)
            self._last_good = last if self._last_good is None else max(last, self._last_good)
        return fate

    def _judge_day(self, number: int, minutes: Ints, volume: Floats) -> NDArray[np.uint8]:
        day = self._days.get(number)
        if day is None:
            day = self._days[number] = _Day(np.zeros(MINUTES, np.uint8), np.zeros(MINUTES, np.uint8))
        fate = self._plan(number).fate[minutes].copy()
        _, first_rows = np.unique(minutes, return_index=True)
        again = np.ones(minutes.size, bool)
        again[first_rows] = False
        again |= (day.seen[minutes] | day.outside[minutes]) > 0
        fate[again] = DUPLICATE
        good = fate == GOOD
        day.seen[minutes[good]] = 1
        day.outside[minutes[~good & ~again]] = 1
        if good.any():
            first = int(np.argmin(np.where(good, minutes, MINUTES)))
            if minutes[first] < day.first_minute:
                day.first_minute, day.first_volume = int(minutes[first]), float(volume[first])
        return fate

    def _plan(self, number: int) -> _Plan:
        if number not in self._plans:
            self._plans[number] = plan_of(date_of(number), self.timeframe, self.session_lookup)
        return self._plans[number]

    def finish(self) -> QualityReport:
        """Sum up what only shows when all was seen. To be called once, at the end."""
        report = self.report
        start_like = end_like = late_like = 0
        for number in sorted(self._days):
            day, plan = self._days[number], self._plan(number)
            if not plan.starts.size or not day.seen.any():
                continue
            report.days += 1
            present = day.seen[plan.starts] > 0
            absent = int(np.count_nonzero(~present))
            report.missing += absent
            if present.mean() < SHORT_BELOW:
                report.short_days += 1
            if absent:
                self._count_gaps(number, plan, present)
            if not self.is_index and day.first_volume == 0:
                report.zero_volume_first_bars += 1
            at_open, at_second = bool(present[0]), present.size > 1 and bool(present[1])
            at_close = plan.closes < MINUTES and bool(day.outside[plan.closes])
            before_open = plan.opens >= self.timeframe and bool(day.outside[plan.opens - self.timeframe])
            start_like += at_open and not at_close
            end_like += not at_open and at_second and at_close
            late_like += at_open and before_open and not present[-1]
        self._judge_labels(start_like, end_like, late_like)
        for at, name in ((self._first_good, "first"), (self._last_good, "last")):
            if at is not None:
                setattr(report, name, datetime.fromtimestamp(at, UTC).isoformat())
        report.missing_days = self._missing_days()
        return report

    def _judge_labels(self, start_like: int, end_like: int, late_like: int) -> None:
        report = self.report
        if not report.days:
            return
        if end_like >= 1 and end_like / report.days >= SUSPICION:
            report.suspected_label = "end"
        elif late_like >= 1 and late_like / report.days >= SUSPICION:
            report.suspected_label = "start"
        rarer = min(start_like, end_like)
        report.mixed_labels = rarer >= 2 and rarer / (start_like + end_like) >= MIXED

    def _count_gaps(self, number: int, plan: _Plan, present: Bools) -> None:
        run = 0
        for at in range(present.size + 1):
            broken = at == present.size or bool(present[at])
            if not broken and run and plan.starts[at] - plan.starts[at - 1] != self.timeframe:
                self._close_gap(number, plan, at, run)  # a pause of the exchange parts two gaps
                run = 0
            if not broken:
                run += 1
            elif run:
                self._close_gap(number, plan, at, run)
                run = 0

    def _close_gap(self, number: int, plan: _Plan, end: int, run: int) -> None:
        self.report.gaps += 1
        largest = self.report.largest_gap
        if largest is None or run > largest.bars:
            first = int(plan.starts[end - run])
            self.report.largest_gap = Gap(date_of(number).isoformat(), f"{first // 60:02d}:{first % 60:02d}", run)

    def _missing_days(self) -> list[str]:
        with_bars = [number for number, day in self._days.items() if day.seen.any()]
        if not with_bars:
            return []
        missing = set(range(min(with_bars), max(with_bars) + 1)) - set(with_bars)
        return [date_of(n).isoformat() for n in sorted(missing) if self._plan(n).known and self._plan(n).starts.size]


@calendar.remembered(8192)
def plan_of(day: date, timeframe: int, session_lookup: SessionLookup) -> _Plan:
    """The bars a day should have on a calendar, and the fate of a bar by the minute it starts in."""
    session = session_lookup(day)
    known = calendar.current().knows(day)
    if session is None:
        return _Plan(np.full(MINUTES, CLOSED_DAY, np.uint8), np.empty(0, np.int64), 0, 0, known)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(seconds=IST_OFFSET_S)

    def minute(instant: datetime) -> int:
        return int((instant - midnight).total_seconds() // 60)

    opens, closes = minute(session.opens_at), minute(session.closes_at)
    fate = np.full(MINUTES, PAUSE, np.uint8)
    fate[:opens] = PRE_OPEN
    fate[closes:] = AFTER_CLOSE
    for segment in session.segments:
        fate[minute(segment.opens_at) : minute(segment.closes_at)] = OFF_GRID
    starts = np.array([minute(start) for start in session.bar_starts(timeframe)], np.int64)
    fate[starts] = GOOD
    return _Plan(fate, starts, opens, closes, known)


def date_of(number: int) -> date:
    """The exchange day of a number of days since 1970 in India."""
    return date(1970, 1, 1) + timedelta(days=number)


def check_bars(
    bars: Sequence[Bar] | Iterable[Bar], timeframe: int, *, is_index: bool = False,
    session_lookup: SessionLookup = ordinary_calendar,
) -> QualityReport:  # fmt: skip
    """Judge bars of one symbol, in the order given."""
    rows = list(bars)
    book = DayBook(timeframe, is_index=is_index, session_lookup=session_lookup)
    starts = np.array([int(bar.started_at.timestamp()) for bar in rows], np.int64)
    columns = (
        np.array([float(getattr(bar, name)) for bar in rows]) for name in ("open", "high", "low", "close", "volume")
    )
    book.judge(starts, *columns)
    return book.finish()
