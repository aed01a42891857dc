"""What is known about the market data itself: how much of each day is stored, what is missing and why.

Read from the counts that blocks carry and from CandleCoverage; bars are unpacked where a block holds more than a
day, where it is archived, and for what one day lacks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
from django.db.models import Max, QuerySet, Sum

from trading.domain.clock import IST
from trading.marketdata.candles import columns_of
from trading.marketdata.files.archive import archived_between
from trading.marketdata.marks import UNTRUSTED, Source
from trading.marketdata.models import (
    CandleArchive,
    CandleBlock,
    CandleCoverage,
    CandleSeries,
    Feed,
    Instrument,
    RefusedBar,
)
from trading.marketdata.packing.blocks import DAY, MONTHLY, date_of, days_of, unpack
from trading.marketdata.quality.stored import doubt_of
from trading.marketdata.sessions import session_kind
from trading.venue import calendar
from trading.venue.sessions import Session, SessionKind, exchange_date, session_on

MINUTE = 1


class GapClass(StrEnum):
    """Why bars of a day are not there, and whether anything will bring them."""

    WHOLE = "WHOLE"  # nothing is missing
    RUNNING = "RUNNING"  # the day is not over, and nothing is missing so far
    MISSING = "MISSING"  # the history has not been asked for all of it: a fetch may bring the rest
    NEVER_WAS = (
        "NEVER_WAS"  # the history was asked and had no more: the instrument did not trade, or its source lost it
    )
    NO_DATA = "NO_DATA"  # not one bar, and the history was not asked
    DOUBTFUL = "DOUBTFUL"  # all are there, but some bars are marked: nothing is traded on those


@dataclass(frozen=True, slots=True)
class Span:
    """Days that make one column of the coverage: a day, of daily candles a month. Both included."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Cell:
    """One instrument's bars of one span. `expected`: bars that are over so far."""

    span: Span
    bars: int
    expected: int
    untrusted: int
    streamed: int
    kind: GapClass

    @property
    def pct(self) -> int:
        """Share of the bars that are stored, percent, never rounded up to a hundred."""
        if not self.expected:
            return 0
        return min(100, self.bars * 100 // self.expected)

    @property
    def missing(self) -> int:
        return max(0, self.expected - self.bars)

    @property
    def level(self) -> int:
        """0 nothing, 1 to 3 parts, 4 whole: the shade of the heat map."""
        return 0 if not self.bars else 4 if not self.missing else 1 + min(2, self.pct // 34)


def spans_until(feed: Feed, timeframe: int, *, until: datetime, count: int) -> list[Span]:
    """The last `count` columns up to an instant, oldest first: exchange days, of daily candles months."""
    if timeframe < DAY:
        return [Span(day, day) for day in session_days(feed, until=until, count=count)]
    last, spans = exchange_date(until), []
    for _ in range(count):
        spans.append(Span(last.replace(day=1), last))
        last = last.replace(day=1) - timedelta(days=1)
    return spans[::-1]


def session_days(feed: Feed, *, until: datetime, count: int) -> list[date]:
    """The last `count` exchange days up to that of `until`, oldest first; weekdays of years before the calendar."""
    days: list[date] = []
    day = exchange_date(until)
    for _ in range(count * 3 + 15):
        if session_on(day, assume_weekdays=_is_assumed(feed, day)) is not None:
            days.append(day)
        if len(days) == count:
            break
        day -= timedelta(days=1)
    return days[::-1]


def coverage(
    feed: Feed, instruments: Sequence[Instrument], spans: Sequence[Span], *, timeframe: int = MINUTE, now: datetime
) -> dict[int, list[Cell]]:
    """By instrument id, one Cell for each of `spans` (rising), from the bars of the timeframe that are stored."""
    if not instruments or not spans:
        return {}
    ids = [one.pk for one in instruments]
    stored = _stored(feed, ids, spans[0].first, spans[-1].last, timeframe)
    asked = _asked(feed, ids, spans[0].first, spans[-1].last, timeframe)
    due = {
        (kind, span): _due(feed, span, kind, timeframe, now)
        for kind in {session_kind(one) for one in instruments} for span in spans
    }  # fmt: skip
    out: dict[int, list[Cell]] = {}
    for one in instruments:
        cells = []
        for span in spans:
            expected, opens, closes = due[session_kind(one), span]
            numbers = [stored.get((one.pk, day), (0, 0, 0)) for day in _days_of(span)]
            bars, untrusted, streamed = (sum(part) for part in zip(*numbers, strict=True))
            over = closes is not None and closes <= now
            known = opens is not None and closes is not None and _was_asked(opens, closes, asked[one.pk])
            kind = _kind(bars, expected, untrusted, over=over, asked=known)
            cells.append(Cell(span, bars, expected, untrusted, streamed, kind))
        out[one.pk] = cells
    return out


def timeframes_of(feed: Feed) -> list[int]:
    """The timeframes of which anything is stored, shortest first."""
    kept = CandleSeries.objects.filter(feed=feed, newest_at__isnull=False)
    return sorted(set(kept.values_list("timeframe", flat=True)))


def followed_instruments(feed: Feed, timeframe: int = MINUTE) -> list[Instrument]:
    """Instruments of which bars of this timeframe are stored, by symbol."""
    series = CandleSeries.objects.filter(feed=feed, timeframe=timeframe)
    return list(Instrument.objects.filter(pk__in=series.values("instrument_id")).order_by("symbol"))


def feeds_with_candles() -> list[Feed]:
    """Feeds of which anything is stored, by name."""
    return list(Feed.objects.filter(pk__in=CandleSeries.objects.values("feed")).order_by("name"))


@dataclass(frozen=True, slots=True)
class Stored:
    """How much of a feed is in the store."""

    instruments: int
    bars: int  # in the database
    archived: int  # in files of the archive
    untrusted: int
    newest_at: datetime | None


def stored(feed: Feed) -> Stored:
    """Sums over everything that is stored of a feed, minutes and longer bars together."""
    series = CandleSeries.objects.filter(feed=feed)
    sums: dict[str, Any] = CandleBlock.objects.filter(series__feed=feed).aggregate(
        bars=Sum("bars", default=0), untrusted=Sum("untrusted", default=0)
    )
    newest = series.aggregate(newest=Max("newest_at"))["newest"]
    archived = CandleArchive.objects.filter(feed=feed).aggregate(bars=Sum("bars", default=0))["bars"]
    return Stored(series.values("instrument_id").distinct().count(), sums["bars"], archived, sums["untrusted"], newest)


@dataclass(frozen=True, slots=True)
class Run:
    """Bars in a row that are not there, or that nothing is traded on. `doubt`: why; empty: not there."""

    starts_at: datetime
    bars: int
    doubt: str = ""


def lacking_bars(
    feed: Feed, instrument: Instrument, span: Span, *, timeframe: int = MINUTE, now: datetime
) -> list[Run]:
    """What a span lacks of its bars so far, in order: the missing ones and, apart from them, the doubtful ones."""
    kind, due = session_kind(instrument), []
    for day in _days_of(span):
        session = session_on(day, kind=kind, assume_weekdays=_is_assumed(feed, day))
        if session is not None:
            due += _over(session, timeframe, now)
    if not due:
        return []
    start, end = _midnight(span.first), _midnight(span.last + timedelta(days=1))
    found = columns_of(feed, [instrument], timeframe, start=start, end=end)
    marked = zip(found.starts.tolist(), found.mark.tolist(), strict=True)
    said = {_key(at, timeframe): doubt_of(mark) for at, mark in marked}
    runs: list[Run] = []
    goes_on = False
    for at in due:
        doubt = said.get(_key(int(at.timestamp()), timeframe))
        if doubt == "":
            goes_on = False
            continue
        if goes_on and runs[-1].doubt == (doubt or ""):
            runs[-1] = replace(runs[-1], bars=runs[-1].bars + 1)
        else:
            runs.append(Run(at, 1, doubt or ""))
        goes_on = True
    return runs


def refused_bars(feed: Feed, instruments: Sequence[Instrument] | None = None) -> QuerySet[RefusedBar]:
    """Bars that the history told and that cannot be, of which no good one came so far, newest first."""
    rows = RefusedBar.objects.filter(feed=feed, state__in=RefusedBar.UNSETTLED).select_related("instrument")
    return rows if instruments is None else rows.filter(instrument__in=instruments)


def _stored(
    feed: Feed, ids: list[int], first: date, last: date, timeframe: int
) -> dict[tuple[int, date], tuple[int, int, int]]:
    """Bars, untrusted ones and ones of our own making, by instrument id and exchange day.

    Blocks of a day say it themselves; those of a month or a year, and archived ones, are counted.
    """
    found: dict[tuple[int, date], tuple[int, int, int]] = {}
    if timeframe < MONTHLY:
        found = _archived(feed, ids, first, last, timeframe)
        rows = CandleBlock.objects.filter(
            series__feed=feed, series__timeframe=timeframe, series__instrument_id__in=ids,
            first_day__range=(first, last),
        ).values_list("series__instrument_id", "first_day", "bars", "untrusted", "streamed")  # fmt: skip
        return found | {(pk, day): (bars, doubtful, ours) for pk, day, bars, doubtful, ours in rows}
    kept = columns_of(feed, ids, timeframe, start=_midnight(first), end=_midnight(last + timedelta(days=1)))
    if not len(kept):
        return found
    days = days_of(kept.starts)
    heads = np.flatnonzero((np.diff(kept.series, prepend=-1) != 0) | (np.diff(days, prepend=-1) != 0))
    counts = np.diff(heads, append=len(kept))
    untrusted = np.add.reduceat((kept.mark & int(UNTRUSTED)) != 0, heads, dtype=np.int64)
    streamed = np.add.reduceat(kept.source == Source.STREAM, heads, dtype=np.int64)
    table = (kept.series[heads], days[heads], counts, untrusted, streamed)
    for pk, day, *numbers in zip(*(column.tolist() for column in table), strict=True):
        found[pk, date_of(day)] = (numbers[0], numbers[1], numbers[2])
    return found


def _archived(
    feed: Feed, ids: list[int], first: date, last: date, timeframe: int
) -> dict[tuple[int, date], tuple[int, int, int]]:
    """What files of the archive hold of these days: bars, untrusted ones, and ones of our own making."""
    series = CandleSeries.objects.filter(feed=feed, timeframe=timeframe, instrument_id__in=ids)
    owners = dict(series.values_list("pk", "instrument_id"))
    found = {}
    for row in archived_between(list(owners), timeframe, first, last):
        bars = unpack([row])
        doubtful = int(np.count_nonzero(bars.mark & int(UNTRUSTED)))
        streamed = int(np.count_nonzero(bars.source == Source.STREAM))
        found[owners[row[0]], date_of(row[1])] = (len(bars), doubtful, streamed)
    return found


def _days_of(span: Span) -> list[date]:
    return [span.first + timedelta(days=n) for n in range((span.last - span.first).days + 1)]


def _due(
    feed: Feed, span: Span, kind: SessionKind, timeframe: int, now: datetime
) -> tuple[int, datetime | None, datetime | None]:
    """Bars of a span that are over at `now`, and when its first session opens and its last one closes."""
    found = (session_on(day, kind=kind, assume_weekdays=_is_assumed(feed, day)) for day in _days_of(span))
    sessions = [one for one in found if one is not None]
    if not sessions:
        return 0, None, None
    expected = sum(
        _minutes_by(one, now) if timeframe == MINUTE else len(_over(one, timeframe, now)) for one in sessions
    )
    return expected, sessions[0].opens_at, sessions[-1].closes_at


def _over(session: Session, timeframe: int, now: datetime) -> list[datetime]:
    """The starts of a session's bars that are over at `now`."""
    if timeframe >= DAY:
        return [session.opens_at] if session.closes_at <= now else []
    return [at for at in session.bar_starts(timeframe) if session.bar_end(at, timeframe) <= now]


def _key(start: int, timeframe: int) -> int:
    """Daily candles of one day are one, whatever minute they are labelled with."""
    return int(days_of(np.array([start], np.int64))[0]) if timeframe >= DAY else start


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), IST)


def _is_assumed(feed: Feed, day: date) -> bool:
    """Whether weekdays count as sessions: of a sandbox, and of years before those that the calendar knows."""
    return feed.kind != Feed.Kind.EXCHANGE or day < calendar.current().known_from


def _minutes_by(session: Session, now: datetime) -> int:
    """Minutes of continuous trading that are over at `now`."""
    if session.closes_at <= now:
        return session.minutes
    return sum(
        max(0, int((min(now, part.closes_at) - part.opens_at) / timedelta(minutes=1))) for part in session.segments
    )


def _asked(
    feed: Feed, ids: list[int], first: date, last: date, timeframe: int
) -> dict[int, list[tuple[datetime, datetime]]]:
    spans: dict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
    rows = CandleCoverage.objects.filter(
        feed=feed, timeframe=timeframe, instrument_id__in=ids, to_at__date__gte=first,
        from_at__date__lte=last + timedelta(days=1),
    )  # fmt: skip
    for pk, start, end in rows.values_list("instrument_id", "from_at", "to_at"):
        spans[pk].append((start, end))
    return spans


def _was_asked(opens_at: datetime, closes_at: datetime, spans: list[tuple[datetime, datetime]]) -> bool:
    return any(start <= opens_at and closes_at <= end for start, end in spans)


def _kind(bars: int, expected: int, untrusted: int, *, over: bool, asked: bool) -> GapClass:
    if bars >= expected:
        if untrusted:
            return GapClass.DOUBTFUL
        return GapClass.WHOLE if over else GapClass.RUNNING
    if asked:
        return GapClass.NEVER_WAS
    return GapClass.MISSING if bars else GapClass.NO_DATA
