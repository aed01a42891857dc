"""What the bars of each day are worth, as arithmetic over arrays: no database, no clock.

One pass per series over bars in order of time. Which bars a day should have is the calendar's word; a day that the
calendar does not know is judged as an ordinary weekday and told as unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np

from trading.marketdata.quality.bars import (
    AFTER_CLOSE,
    CLOSED_DAY,
    DAY_S,
    GOOD,
    IST_OFFSET_S,
    OFF_GRID,
    PAUSE,
    PRE_OPEN,
    SHORT_BELOW,
    Floats,
    Ints,
    SessionLookup,
    date_of,
    ordinary_calendar,
    plan_of,
    sensible,
    with_noise,
)
from trading.marketdata.quality.defects import MEANINGS, OUTSIDE, Defect, score_of
from trading.marketdata.quality.spikes import spikes

STRAY_HOURS: Final = 60  # minutes before the open or after the close from which a bar belongs to no session
CATCH_UP: Final = 4.0  # times the usual volume
FULL_VOLUME: Final = 0.9975  # share of the exchange's day from which on the pre-open must be among the bars
SHORT_VOLUME: Final = 0.9  # share below which the bars miss trading
WHOLE_SHARE: Final = 0.9  # of a day's bars, for its volume to be compared
OUTSIDE_DAY: Final = 0.0005  # of a price, by which a bar may leave the exchange's own high and low of the day
CLOSE_APART: Final = 0.05  # of a price, by which a day's last bar may end from the official close
OVER_VOLUME: Final = 1.02  # times the exchange's volume of the day that its bars may hold


@dataclass(frozen=True, slots=True)
class OfficialDay:
    """What somebody else says of a whole day: the exchange's own file, or a daily candle. Rupees and units."""

    high: float
    low: float
    close: float
    volume: float


@dataclass(slots=True)
class DayQuality:
    """One day of one series. `defects`: how many bars each concerns. `doubts`: start of bar → what is wrong with it."""

    day: date
    expected: int
    present: int
    defects: dict[Defect, int] = field(default_factory=dict)
    doubts: dict[int, set[Defect]] = field(default_factory=dict)
    known: bool = True
    largest_gap: int = 0
    gap_from: str = ""
    volume_share: float | None = None  # of the exchange's volume of the day, where the day is whole
    first_start: int = 0  # of its first bar with volume at the open; 0: there is none

    @property
    def untrusted(self) -> int:
        """Bars of the session on which nothing is traded."""
        return sum(
            1 for found in self.doubts.values()
            if not found & OUTSIDE and any(MEANINGS[one].untrusted for one in found)
        )  # fmt: skip

    @property
    def score(self) -> int:
        return score_of(expected=self.expected, trusted=self.present - self.untrusted, defects=self.defects)

    def met(self, defect: Defect, count: int = 1) -> None:
        if count:
            self.defects[defect] = self.defects.get(defect, 0) + count

    def doubt(self, defect: Defect, starts: Ints) -> None:
        self.met(defect, int(starts.size))
        for start in starts.tolist():
            self.doubts.setdefault(start, set()).add(defect)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one series, rising in time: epoch seconds of their starts, prices in rupees, volume in units."""

    starts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    ticks: Floats | None = None

    def part(self, rows: slice | Ints) -> "Bars":
        """These bars."""
        ticks = None if self.ticks is None else self.ticks[rows]
        return Bars(
            self.starts[rows], self.open[rows], self.high[rows], self.low[rows], self.close[rows], self.volume[rows],
            ticks,
        )  # fmt: skip


def judge_days(
    bars: Bars,
    timeframe: int,
    *,
    is_index: bool = False,
    official: Mapping[date, OfficialDay] | None = None,
    session_lookup: SessionLookup = ordinary_calendar,
) -> list[DayQuality]:
    """Every day from the first bar to the last, those without bars too; rising.

    `official`: days as the exchange tells them, where that is known: bars that contradict them are disputed, and only
    their volume tells whether the first bar holds the pre-open. `timeframe` in minutes, below a day.
    """
    if not bars.starts.size:
        return []
    numbers = (bars.starts + IST_OFFSET_S) // DAY_S
    found: list[DayQuality] = []
    edges = np.flatnonzero(np.diff(numbers)) + 1
    begins = np.concatenate(([0], edges, [numbers.size]))
    expected_next = int(numbers[0])
    for at in range(begins.size - 1):
        number = int(numbers[begins[at]])
        found += _days_without(expected_next, number, timeframe, session_lookup)
        expected_next = number + 1
        part = bars.part(slice(int(begins[at]), int(begins[at + 1])))
        told = (official or {}).get(date_of(number))
        found.append(_judge(part, number, timeframe, is_index=is_index, official=told, session_lookup=session_lookup))
    _judge_preopen(found)
    return found


def _judge_preopen(days: list[DayQuality]) -> None:
    """Bars that hold the pre-open add up to all of the exchange's day, and do so day after day: one day is chance."""
    shares = [day.volume_share for day in days if day.volume_share is not None]
    if not shares or float(np.median(shares)) < FULL_VOLUME:
        return
    for day in days:
        full = day.volume_share is not None and day.volume_share >= FULL_VOLUME
        if full and day.first_start and Defect.PREOPEN_VOLUME not in day.defects:
            day.doubt(Defect.PREOPEN_VOLUME, np.array([day.first_start]))


def _days_without(first: int, end: int, timeframe: int, session_lookup: SessionLookup) -> list[DayQuality]:
    gone = []
    for number in range(first, end):
        plan = plan_of(date_of(number), timeframe, session_lookup)
        if plan.starts.size and plan.known:
            gone.append(DayQuality(date_of(number), int(plan.starts.size), 0, {Defect.MISSING_DAY: 1}))
    return gone


def _judge(
    bars: Bars, number: int, timeframe: int, *, is_index: bool, official: OfficialDay | None,
    session_lookup: SessionLookup,
) -> DayQuality:  # fmt: skip
    day = date_of(number)
    plan = plan_of(day, timeframe, session_lookup)
    minutes = (bars.starts + IST_OFFSET_S) % DAY_S // 60
    fate = plan.fate[minutes]
    fate = np.where(bars.starts % 60 != 0, OFF_GRID, fate)
    result = DayQuality(day, int(plan.starts.size), int(np.count_nonzero(fate == GOOD)), known=plan.known)
    if not plan.known:
        result.met(Defect.UNKNOWN_DAY)
    far = np.zeros(fate.size, bool)
    if plan.starts.size:
        far = ((fate == PRE_OPEN) & (minutes < plan.opens - STRAY_HOURS)) | (
            (fate == AFTER_CLOSE) & (minutes >= plan.closes + STRAY_HOURS)
        )
    result.doubt(Defect.STRAY_SESSION, bars.starts[far | (fate == CLOSED_DAY)])
    result.doubt(Defect.EARLY_BARS, bars.starts[(fate == PRE_OPEN) & ~far])
    result.doubt(Defect.LATE_BARS, bars.starts[(fate == AFTER_CLOSE) & ~far])
    result.doubt(Defect.PAUSE_BARS, bars.starts[fate == PAUSE])
    result.doubt(Defect.OFF_GRID, bars.starts[fate == OFF_GRID])
    result.doubt(
        Defect.IMPOSSIBLE_BARS, bars.starts[~sensible(bars.open, bars.high, bars.low, bars.close, bars.volume)]
    )
    result.met(Defect.FLOAT_NOISE, int(np.count_nonzero(with_noise(bars.open, bars.high, bars.low, bars.close))))
    good = fate == GOOD
    if not good.any() or not plan.starts.size:
        return result
    _judge_presence(result, plan.starts, minutes[good], timeframe)
    rows = np.flatnonzero(good)
    result.doubt(Defect.OUTLIERS, bars.starts[rows][spikes(bars.high[rows], bars.low[rows], bars.close[rows])])
    ticks = None if bars.ticks is None else bars.ticks[rows]
    if official is not None:
        _compare(result, bars.part(rows), official, is_index=is_index)
    if not is_index:
        daily = None if official is None else official.volume
        _judge_volume(result, bars.starts[rows], bars.volume[rows], ticks, timeframe, daily)
    elif not bars.volume[rows].any():
        result.met(Defect.NO_VOLUME)
    return result


def _compare(result: DayQuality, bars: Bars, official: OfficialDay, *, is_index: bool) -> None:
    """Hold the bars of a session against the exchange's own day.

    Of 724 days of recorded minutes none left the official range by a single tick, and none held more than the official
    volume; last prices ended up to 2.1 % from the official close. A day whose high and low are both off by one same
    factor is the same day adjusted for something: that is no dispute, and volumes are not compared.
    """
    if not 0 < official.low <= official.high or official.close <= 0:
        return
    upper, lower = float(bars.high.max()) / official.high, float(bars.low.min()) / official.low
    scale = upper if abs(upper / lower - 1) <= OUTSIDE_DAY else 1.0
    outside = (bars.high > official.high * scale * (1 + OUTSIDE_DAY)) | (
        bars.low < official.low * scale * (1 - OUTSIDE_DAY)
    )
    whole = result.present >= WHOLE_SHARE * result.expected
    apart = whole and abs(float(bars.close[-1]) / (official.close * scale) - 1) > CLOSE_APART
    is_raw = abs(scale - 1) <= OUTSIDE_DAY and not is_index
    too_much = is_raw and 0 < OVER_VOLUME * official.volume < float(bars.volume.sum())
    if apart or too_much:
        outside[:] = True
    result.doubt(Defect.DISPUTED_BARS, bars.starts[outside])


def _judge_presence(result: DayQuality, expected: Ints, minutes: Ints, timeframe: int) -> None:
    there = np.isin(expected, minutes)
    missing = int(np.count_nonzero(~there))
    result.met(Defect.MISSING_BARS, missing)
    if there.mean() < SHORT_BELOW:
        result.met(Defect.SHORT_DAY)
    run = 0
    for at, minute in enumerate(expected.tolist()):
        run = 0 if there[at] else run + 1
        if run > result.largest_gap:
            first = minute - (run - 1) * timeframe
            result.largest_gap, result.gap_from = run, f"{first // 60:02d}:{first % 60:02d}"


def _judge_volume(
    result: DayQuality, starts: Ints, volume: Floats, ticks: Floats | None, timeframe: int, daily: float | None
) -> None:
    total = float(volume.sum())
    if total == 0:
        result.met(Defect.NO_VOLUME)
        return
    if volume[0] == 0:
        result.doubt(Defect.ZERO_FIRST_VOLUME, starts[:1])
    usual = float(np.median(volume[1:])) if volume.size > 1 else 0.0
    one_tick = ticks is not None and ticks[0] <= 2 and usual > 0 and volume[0] > CATCH_UP * usual
    whole = result.present >= WHOLE_SHARE * result.expected
    if daily is not None and daily > 0 and whole:
        result.volume_share = total / daily
        result.first_start = int(starts[0]) if volume[0] > 0 else 0
    if volume[0] > 0 and one_tick:
        result.doubt(Defect.PREOPEN_VOLUME, starts[:1])
    if daily is not None and daily > 0 and total < SHORT_VOLUME * daily:
        result.met(Defect.VOLUME_SHORT)
    if volume.size < 10 or usual == 0:
        return
    holes = np.diff(starts) // (60 * timeframe) - 1
    after = np.flatnonzero(holes > 0) + 1
    caught_up = after[(volume[after] > CATCH_UP * usual) & (volume[after] > 0.3 * holes[after - 1] * usual)]
    result.doubt(Defect.CATCH_UP_VOLUME, starts[caught_up])
