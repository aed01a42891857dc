"""What is known about the market data itself: how much of each day is stored, what is missing and why.

Read from the counts that blocks carry and from CandleCoverage; no bar is unpacked, but for the minutes of one day
and for days whose bars are archived.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
from django.db.models import Max, QuerySet, Sum

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
from trading.marketdata.packing.blocks import date_of, unpack
from trading.marketdata.quality.stored import doubt_of
from trading.marketdata.sessions import session_kind
from trading.venue import calendar
from trading.venue.sessions import Session, exchange_date, session_on

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
class DayOfData:
    """One instrument's minutes of one exchange day. `expected`: minutes of continuous trading so far."""

    day: date
    bars: int
    expected: int
    untrusted: int
    streamed: int
    kind: GapClass

    @property
    def pct(self) -> int:
        """Share of the day's minutes that are stored, percent, never rounded up to a hundred."""
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


def coverage_by_day(
    feed: Feed, instruments: Sequence[Instrument], days: Sequence[date], *, now: datetime
) -> dict[int, list[DayOfData]]:
    """By instrument id, one DayOfData for each of `days`, from the minutes that are stored."""
    if not instruments or not days:
        return {}
    ids = [one.pk for one in instruments]
    stored: dict[tuple[int, date], tuple[int, int, int]] = {
        (row["series__instrument_id"], row["first_day"]): (row["bars"], row["untrusted"], row["streamed"])
        for row in CandleBlock.objects.filter(
            series__feed=feed, series__timeframe=MINUTE, series__instrument_id__in=ids,
            first_day__range=(days[0], days[-1]),
        ).values("series__instrument_id", "first_day", "bars", "untrusted", "streamed")
    }  # fmt: skip
    stored = _archived(feed, ids, days) | stored
    asked = _asked(feed, ids, days)
    out: dict[int, list[DayOfData]] = {}
    for one in instruments:
        rows = []
        for day in days:
            session = session_on(day, kind=session_kind(one), assume_weekdays=_is_assumed(feed, day))
            bars, untrusted, streamed = stored.get((one.pk, day), (0, 0, 0))
            over = session is not None and session.closes_at <= now
            expected = _minutes_by(session, now) if session else 0
            kind = _kind(bars, expected, untrusted, over=over, asked=_was_asked(session, asked[one.pk]))
            rows.append(DayOfData(day, bars, expected, untrusted, streamed, kind))
        out[one.pk] = rows
    return out


def followed_instruments(feed: Feed) -> list[Instrument]:
    """Instruments of which minutes of this feed are stored, by symbol."""
    series = CandleSeries.objects.filter(feed=feed, timeframe=MINUTE)
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
    """Minutes in a row of one day that are not there, or that nothing is traded on. `doubt`: why; empty: not there."""

    starts_at: datetime
    minutes: int
    doubt: str = ""


def lacking_minutes(feed: Feed, instrument: Instrument, day: date, *, now: datetime) -> list[Run]:
    """What one day lacks of its minutes so far, in order: the missing ones and, apart from them, the doubtful ones."""
    session = session_on(day, kind=session_kind(instrument), assume_weekdays=_is_assumed(feed, day))
    if session is None:
        return []
    until = min(now, session.closes_at)
    found = columns_of(feed, [instrument], MINUTE, start=session.opens_at, end=until)
    said = {at: doubt_of(mark) for at, mark in zip(found.starts.tolist(), found.mark.tolist(), strict=True)}
    runs: list[Run] = []
    for start in session.bar_starts(MINUTE):
        if start + timedelta(minutes=1) > until:
            break
        doubt = said.get(int(start.timestamp()))
        if doubt == "":
            continue
        last = runs[-1] if runs else None
        if last and last.starts_at + timedelta(minutes=last.minutes) == start and last.doubt == (doubt or ""):
            runs[-1] = replace(last, minutes=last.minutes + 1)
        else:
            runs.append(Run(start, 1, doubt or ""))
    return runs


def refused_bars(feed: Feed, instruments: Sequence[Instrument] | None = None) -> QuerySet[RefusedBar]:
    """Bars that the history told and that cannot be, of which no good one came so far, newest first."""
    rows = RefusedBar.objects.filter(feed=feed, state__in=RefusedBar.UNSETTLED).select_related("instrument")
    return rows if instruments is None else rows.filter(instrument__in=instruments)


def _archived(feed: Feed, ids: list[int], days: Sequence[date]) -> dict[tuple[int, date], tuple[int, int, int]]:
    """What files of the archive hold of these days: bars, untrusted ones, and ones of our own making."""
    series = CandleSeries.objects.filter(feed=feed, timeframe=MINUTE, instrument_id__in=ids)
    owners = dict(series.values_list("pk", "instrument_id"))
    found = {}
    for row in archived_between(list(owners), MINUTE, days[0], days[-1]):
        bars = unpack([row])
        doubtful = int(np.count_nonzero(bars.mark & int(UNTRUSTED)))
        streamed = int(np.count_nonzero(bars.source == Source.STREAM))
        found[owners[row[0]], date_of(row[1])] = (len(bars), doubtful, streamed)
    return found


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


def _asked(feed: Feed, ids: list[int], days: Sequence[date]) -> dict[int, list[tuple[datetime, datetime]]]:
    spans: dict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
    rows = CandleCoverage.objects.filter(
        feed=feed, timeframe=MINUTE, instrument_id__in=ids, to_at__date__gte=days[0],
        from_at__date__lte=days[-1] + timedelta(days=1),
    )  # fmt: skip
    for pk, start, end in rows.values_list("instrument_id", "from_at", "to_at"):
        spans[pk].append((start, end))
    return spans


def _was_asked(session: Session | None, spans: list[tuple[datetime, datetime]]) -> bool:
    if session is None:
        return False
    return any(start <= session.opens_at and session.closes_at <= end for start, end in spans)


def _kind(bars: int, expected: int, untrusted: int, *, over: bool, asked: bool) -> GapClass:
    if bars >= expected:
        if untrusted:
            return GapClass.DOUBTFUL
        return GapClass.WHOLE if over else GapClass.RUNNING
    if asked:
        return GapClass.NEVER_WAS
    return GapClass.MISSING if bars else GapClass.NO_DATA
