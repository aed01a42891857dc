"""Stored candles judged day by day: a report for each day, marks on the bars in doubt, and why a bar is not trusted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np

from trading.domain.clock import IST
from trading.marketdata.candles import columns_of, mark_bars
from trading.marketdata.fetching.refused import unsettled
from trading.marketdata.marks import UNTRUSTED, Mark, Source
from trading.marketdata.models import CandleSeries, CorporateAction, Feed, Instrument, QualityDay
from trading.marketdata.packing.blocks import UNITS_PER_RUPEE, Columns
from trading.marketdata.quality.bars import DayBook, SessionLookup
from trading.marketdata.quality.days import Bars, DayQuality, OfficialDay, judge_days
from trading.marketdata.quality.defects import MEANINGS, Defect
from trading.marketdata.quality.spikes import LEAST, LEAST_DAILY, spikes
from trading.marketdata.sessions import session_kind
from trading.venue.sessions import Session, SessionKind, exchange_date, session_on

DAILY: Final = 1440
MARKS: Final[dict[Defect, Mark]] = {
    Defect.OUTLIERS: Mark.OUTLIER,
    Defect.IMPOSSIBLE_BARS: Mark.BROKEN,
    Defect.DISPUTED_BARS: Mark.DISPUTED,
    Defect.STRAY_SESSION: Mark.MISPLACED,
    Defect.EARLY_BARS: Mark.MISPLACED,
    Defect.LATE_BARS: Mark.MISPLACED,
    Defect.PAUSE_BARS: Mark.MISPLACED,
    Defect.OFF_GRID: Mark.MISPLACED,
    Defect.END_LABELLED: Mark.MISPLACED,
    Defect.PREOPEN_VOLUME: Mark.PREOPEN_VOLUME,
    Defect.CATCH_UP_VOLUME: Mark.CATCH_UP,
    Defect.ZERO_FIRST_VOLUME: Mark.NO_VOLUME,
}
OURS: Final = Mark(sum({int(mark) for mark in MARKS.values()}))


@dataclass(slots=True)
class SeriesReport:
    """What the stored candles of one instrument are worth over the days judged."""

    symbol: str
    timeframe: int
    days: int = 0
    score: float = 0.0
    expected: int = 0
    present: int = 0
    untrusted: int = 0
    marked: int = 0
    defects: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def line(self) -> str:
        told = ", ".join(f"{code} {count:,}" for code, count in sorted(self.defects.items()))
        return (
            f"{self.symbol} {self.timeframe}m: score {self.score}, {self.days} days, {self.present:,} of"
            f" {self.expected:,} bars, {self.untrusted:,} untrusted{f'; {told}' if told else ''}"
        )


def check_stored(
    *, feed: Feed, instruments: Sequence[Instrument], timeframe: int, first: date, last: date, now: datetime
) -> list[SeriesReport]:
    """Judge the stored candles of these days, keep a QualityDay for each and mark the bars in doubt.

    Judged again, a day's report and marks are written anew. An instrument without candles in these days is left out.
    `timeframe` in minutes, below a day. Bars are held against the exchange's own day where daily candles are stored.
    """
    reports = []
    for instrument in instruments:
        stored = columns_of(feed, [instrument], timeframe, start=_midnight(first), end=_midnight(last + timedelta(1)))
        if len(stored):
            reports.append(_check_series(feed, instrument, timeframe, stored, first=first, last=last, now=now))
    return reports


def mark_spikes(
    *, feed: Feed, instruments: Sequence[Instrument], timeframe: int, first: date, last: date
) -> dict[str, int]:
    """Mark prices that those around them contradict, as soon as the next bar is stored; how many, by symbol.

    Of minutes it is what can be said while the day goes on: the evening's check judges all of it, and anew. Of daily
    bars it is all that is said: a day lies on no grid.
    """
    stored = columns_of(feed, instruments, timeframe, start=_midnight(first), end=_midnight(last + timedelta(1)))
    symbols = {one.pk: one for one in instruments}
    edges = np.flatnonzero(np.diff(stored.series, prepend=-1, append=-1))
    found: dict[str, int] = {}
    for begin, end in pairwise(edges):
        part = slice(int(begin), int(end))
        high, low, close = (one[part] / UNITS_PER_RUPEE for one in (stored.high, stored.low, stored.close))
        odd = spikes(high, low, close, least=LEAST_DAILY if timeframe >= DAILY else LEAST)
        odd &= (stored.mark[part] & int(Mark.OUTLIER)) == 0
        if odd.any():
            share = symbols[int(stored.series[begin])]
            starts = stored.starts[part][odd].tolist()
            marks = {datetime.fromtimestamp(start, UTC): Mark.OUTLIER for start in starts}
            found[share.symbol] = mark_bars(feed, share, timeframe, marks)
    return found


def _check_series(
    feed: Feed, instrument: Instrument, timeframe: int, stored: Columns, *, first: date, last: date, now: datetime
) -> SeriesReport:
    bars = _bars(stored)
    is_index = instrument.instrument_type == "INDEX"
    lookup = lookup_of(session_kind(instrument))
    official = _official_days(feed, instrument, first, last)
    days = judge_days(bars, timeframe, is_index=is_index, official=official, session_lookup=lookup)
    days = [day for day in days if first <= day.day <= last]
    _doubt_refused(feed, instrument, timeframe, stored, days, now)
    if _ends_labelled(bars, timeframe, is_index, lookup):
        _doubt_all(days, bars)
    report = SeriesReport(instrument.symbol, timeframe, days=len(days))
    report.marked = _mark(feed, instrument, timeframe, stored, days)
    _keep(feed, instrument, timeframe, days, now)
    for day in days:
        report.expected, report.present = report.expected + day.expected, report.present + day.present
        report.untrusted += day.untrusted
        for defect, count in day.defects.items():
            report.defects[defect.value] = report.defects.get(defect.value, 0) + count
    report.score = round(sum(day.score for day in days) / len(days), 1) if days else 0.0
    return report


def _bars(stored: Columns) -> Bars:
    opened, high, low, close = (one / UNITS_PER_RUPEE for one in (stored.open, stored.high, stored.low, stored.close))
    return Bars(stored.starts, opened, high, low, close, stored.volume.astype(np.float64))


def _official_days(feed: Feed, instrument: Instrument, first: date, last: date) -> dict[date, OfficialDay]:
    """The stored daily candles of these days, but for those that are in doubt themselves."""
    found = columns_of(feed, [instrument], DAILY, start=_midnight(first), end=_midnight(last + timedelta(1)))
    found = found.take((found.mark & int(UNTRUSTED)) == 0)
    days = (exchange_date(datetime.fromtimestamp(start, UTC)) for start in found.starts.tolist())
    prices = (one / UNITS_PER_RUPEE for one in (found.high, found.low, found.close))
    numbers = zip(*(one.tolist() for one in prices), found.volume.astype(float).tolist(), strict=True)
    return {day: OfficialDay(*one) for day, one in zip(days, numbers, strict=True)}


def judge_again(*, feed: Feed, instruments: Sequence[Instrument], first: date, last: date, now: datetime) -> int:
    """Hold the stored bars of these days against daily candles that came just now; how many series were judged."""
    begin, end = _midnight(first), _midnight(last + timedelta(1))
    series = CandleSeries.objects.filter(
        feed=feed, instrument__in=instruments, timeframe__lt=DAILY, newest_at__gte=begin
    )
    judged = 0
    for timeframe in sorted(set(series.values_list("timeframe", flat=True))):
        shares = Instrument.objects.filter(pk__in=series.filter(timeframe=timeframe).values("instrument_id"))
        for share in shares:
            stored = columns_of(feed, [share], timeframe, start=begin, end=end)
            if len(stored):
                days = [exchange_date(datetime.fromtimestamp(int(stored.starts[at]), UTC)) for at in (0, -1)]
                _check_series(feed, share, timeframe, stored, first=days[0], last=days[1], now=now)
                judged += 1
    return judged


def _ends_labelled(bars: Bars, timeframe: int, is_index: bool, lookup: SessionLookup) -> bool:
    book = DayBook(timeframe, is_index=is_index, session_lookup=lookup)
    book.judge(bars.starts, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return book.finish().suspected_label == "end"


def _doubt_refused(
    feed: Feed, instrument: Instrument, timeframe: int, stored: Columns, days: list[DayQuality], now: datetime
) -> None:
    """Minutes of which the history told what cannot be: nothing of its own is there, or only what our ticks made."""
    if not days:
        return
    span = {"start": _midnight(days[0].day), "end": _midnight(days[-1].day + timedelta(1))}
    by_day = {day.day: day for day in days}
    for at in unsettled(feed, instrument, timeframe, **span, now=now):
        day, start = by_day.get(exchange_date(at)), int(at.timestamp())
        place = int(np.searchsorted(stored.starts, start))
        if day is None or place == len(stored) or stored.starts[place] != start:
            continue
        ours = stored.source[place] == Source.STREAM
        day.doubt(Defect.DISPUTED_BARS if ours else Defect.IMPOSSIBLE_BARS, np.array([start]))


def _doubt_all(days: list[DayQuality], bars: Bars) -> None:
    by_day = {day.day: day for day in days}
    for start in bars.starts.tolist():
        day = by_day.get(exchange_date(datetime.fromtimestamp(start, UTC)))
        if day is not None:
            day.doubts.setdefault(start, set()).add(Defect.END_LABELLED)
            day.met(Defect.END_LABELLED)


def _mark(feed: Feed, instrument: Instrument, timeframe: int, stored: Columns, days: list[DayQuality]) -> int:
    """Put the doubts on the bars and take away those of before. Bars without either are not touched."""
    wanted: dict[int, Mark] = {}
    for day in days:
        for start, defects in day.doubts.items():
            mark = Mark.NONE
            for defect in defects:
                mark |= MARKS.get(defect, Mark.NONE)
            wanted[start] = mark
    ours = int(OURS)
    marks: dict[datetime, Mark] = {}
    for start, before in zip(stored.starts.tolist(), stored.mark.tolist(), strict=True):
        mark = wanted.get(start, Mark.NONE)
        if int(mark) != before & ours:
            marks[datetime.fromtimestamp(start, UTC)] = mark
    return mark_bars(feed, instrument, timeframe, marks, clear=OURS)


def _keep(feed: Feed, instrument: Instrument, timeframe: int, days: list[DayQuality], now: datetime) -> None:
    QualityDay.objects.bulk_create(
        [
            QualityDay(
                feed=feed, instrument=instrument, timeframe=timeframe, day=day.day, score=day.score,
                expected=day.expected, present=day.present, untrusted=day.untrusted,
                defects={code.value: count for code, count in day.defects.items()}, largest_gap=day.largest_gap,
                gap_from=day.gap_from, checked_at=now,
            )
            for day in days
        ],
        update_conflicts=True,
        unique_fields=["feed", "timeframe", "instrument", "day"],
        update_fields=[
            "score", "expected", "present", "untrusted", "defects", "largest_gap", "gap_from", "checked_at",
        ],
        batch_size=2000,
    )  # fmt: skip


@lru_cache(maxsize=8)
def lookup_of(kind: SessionKind) -> SessionLookup:
    """The sessions of one kind; days that no calendar knows are judged as weekdays and told as unknown."""

    def lookup(day: date) -> Session | None:
        return session_on(day, kind=kind, assume_weekdays=True)

    return lookup


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=IST)


# -- why a bar is not trusted ------------------------------------------------------------------------------------------

NOT_TRUSTED: Final = "DATA_NOT_TRUSTED"
WAITS_FOR_CLOSE: Final = "an announced corporate action of {} waits for the close before it"
REASONS: Final[dict[Mark, str]] = {
    Mark.OUTLIER: "a price that those around it contradict",
    Mark.MISPLACED: "its time is in doubt",
    Mark.DISPUTED: "two sources disagree",
    Mark.BROKEN: "its numbers cannot be",
}


def doubt_of(mark: int) -> str:
    """Why nothing is traded on a bar of these marks; empty: it is trusted."""
    return ", ".join(text for one, text in REASONS.items() if mark & one)


def distrusted(
    feed: Feed, instruments: Iterable[Instrument], timeframe: int, *, start: datetime, end: datetime
) -> dict[int, str]:
    """Instruments with an untrusted bar in [start, end), by id, and in words why: what a scanner must say.

    Longer bars are made of minutes, so that one doubtful minute is a doubt about them all.
    """
    wanted = list(instruments)
    found: dict[int, int] = {}
    for minutes in {1, timeframe}:
        stored = columns_of(feed, wanted, minutes, start=start, end=end)
        bad = (stored.mark & int(UNTRUSTED)) != 0
        for pk, mark in zip(stored.series[bad].tolist(), stored.mark[bad].tolist(), strict=True):
            found[pk] = found.get(pk, 0) | mark
    return {pk: doubt_of(mark) for pk, mark in found.items()}


def doubts_about(
    feed: Feed, instruments: Iterable[Instrument], timeframe: int, *, bar_at: datetime, since: datetime
) -> dict[int, str]:
    """Instruments of which nothing may be said at the close of a bar, by id, and why (DATA_NOT_TRUSTED).

    `bar_at`: the end of the bar; `since`: the oldest bar that is looked at. Its own bar is not trusted, or a suspected
    corporate action within the window was neither confirmed nor dismissed: then old and new prices are not comparable.
    """
    wanted = list(instruments)
    found = distrusted(feed, wanted, timeframe, start=bar_at - timedelta(minutes=timeframe), end=bar_at)
    undecided = CorporateAction.objects.filter(
        instrument__in=wanted, state__in=CorporateAction.UNDECIDED, ex_date__gt=exchange_date(since),
        ex_date__lte=exchange_date(bar_at),
    ).values_list("instrument_id", "ex_date", "state")  # fmt: skip
    for pk, ex_date, state in undecided:
        is_suspected = state == CorporateAction.State.SUSPECTED
        what = "a suspected corporate action of {} is not decided" if is_suspected else WAITS_FOR_CLOSE
        found.setdefault(pk, what.format(ex_date))
    return found


def meaning_of(code: str) -> str:
    """A defect's code in words; the code itself where it is not known (a report of a newer version)."""
    try:
        return MEANINGS[Defect(code)].text
    except ValueError:
        return code
