"""History: look into the database, fetch only what is missing, store, serve."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
from django.db import DatabaseError, connection, transaction

from trading.domain.clock import IST
from trading.marketdata.builder import Bar
from trading.marketdata.candles import HISTORY, columns_of, store_bars
from trading.marketdata.fetching.ranges import Range, common, joined, merged, without
from trading.marketdata.fetching.refused import due_again, set_aside, told_apart
from trading.marketdata.fetching.tally import tally
from trading.marketdata.marks import Mark
from trading.marketdata.models import CandleCoverage, Feed, Instrument
from trading.marketdata.quality.impossible import RefusedLine
from trading.marketdata.sessions import session_kind
from trading.marketdata.sources import DAILY, HistoryLimits, HistorySource, HistoryUnavailable
from trading.venue.calendar import remembered
from trading.venue.sessions import Phase, SessionKind, exchange_date, session_on

logger = logging.getLogger(__name__)

MOST_QUESTIONS = 4  # to a history, for one instrument
WORTH_ASKING = timedelta(hours=3)  # of trading that an answer lacks at its begin or end
SETTLING_BARS = 3  # a history may lag by this many bars: what is absent there is not yet known to be absent


@dataclass(slots=True)
class Fetched:
    """What one `ensure_candles` took.

    `needed`: requests it would take to fetch all that was wanted; `calls`: requests made; `saved` counts the
    instruments that needed no call.
    """

    instruments: int = 0
    needed: int = 0
    calls: int = 0
    saved: int = 0
    bars: int = 0
    stored: int = 0
    refused: int = 0  # bars that cannot be, and were not known before
    failed: dict[str, str] = field(default_factory=dict)  # symbol → why its history could not be had

    @property
    def saved_pct(self) -> float:
        return 100.0 * self.saved / self.instruments if self.instruments else 100.0


class Interrupted(Exception):
    """Whoever watched the calls wants no more of them. What was fetched is stored."""


Watch = Callable[[Fetched], None]


def ensure_candles(
    feed: Feed,
    instruments: Sequence[Instrument],
    timeframe: int,
    start: datetime,
    end: datetime,
    history: HistorySource,
    *,
    now: datetime,
    watch: Watch = lambda _: None,
) -> Fetched:
    """Make sure that the closed bars of [start, end) that exist are stored; fetch only the missing ranges.

    `now` is venue time: bars not over by then are not asked for, and the newest few are asked for again until they are
    there. One fetcher at a time for each instrument; call it outside a transaction, for it waits for the network.
    A source that does not answer is told in `failed`; what did arrive is stored, request by request, so that whoever
    asks next goes on where this one was killed. `watch` is told after every call, and may raise Interrupted.
    """
    end = min(end, now)
    wanted = {one.pk: _session_ranges(start, end, timeframe, session_kind(one)) for one in instruments}
    result = Fetched(instruments=len(instruments))
    result.needed = sum(requests_for(ranges, timeframe, history.limits) for ranges in wanted.values())
    missing = _missing(feed, timeframe, wanted, now=now)
    try:
        for instrument in instruments:
            if not missing[instrument.pk]:
                result.saved += 1
                continue
            with _sole_fetcher(feed, instrument, timeframe):
                ranges = _missing(feed, timeframe, {instrument.pk: wanted[instrument.pk]}, now=now)[instrument.pk]
                if not ranges:  # another fetcher was quicker
                    result.saved += 1
                    continue
                try:
                    for one in ranges:
                        _fetch(feed, instrument, timeframe, one, history, now=now, result=result, watch=watch)
                except HistoryUnavailable as error:
                    logger.warning("no history of %s: %s", instrument.symbol, error)
                    result.failed[instrument.symbol] = error.code
    finally:
        tally(feed, exchange_date(now), needed=result.needed, calls=result.calls, bars=result.bars)
    return result


def requests_for(ranges: Sequence[Range], timeframe: int, limits: HistoryLimits) -> int:
    """Requests that it takes to fetch all of these."""
    if not ranges:
        return 0
    return sum(1 for _ in limits.requests((ranges[0][0], ranges[-1][1]), timeframe))


def requests_between(
    instrument: Instrument, timeframe: int, start: datetime, end: datetime, limits: HistoryLimits
) -> int:
    """Requests that it takes to fetch everything an instrument traded in [start, end)."""
    return requests_for(_session_ranges(start, end, timeframe, session_kind(instrument)), timeframe, limits)


def _fetch(
    feed: Feed,
    instrument: Instrument,
    timeframe: int,
    asked: Range,
    history: HistorySource,
    *,
    now: datetime,
    result: Fetched,
    watch: Watch,
) -> None:
    settled = now - timedelta(minutes=timeframe * SETTLING_BARS)
    oldest = next(history.limits.requests(asked, timeframe), (asked[1], asked[1]))[0]
    if oldest > asked[0]:  # from a time of which the source knows nothing: known to be absent
        _remember(feed, instrument, timeframe, (asked[0], oldest))
    open_ranges = list(history.limits.requests(asked, timeframe))
    while open_ranges:
        start, end = open_ranges.pop(0)
        result.calls += 1
        told = history.history(instrument.symbol, timeframe, *_whole_days(start, end, timeframe))
        if any(bar.symbol != instrument.symbol for bar in told.bars):
            raise HistoryUnavailable("OTHER_SYMBOL", f"bars of {told.bars[0].symbol} came for {instrument.symbol}")
        bars, odd = told_apart(told.bars)
        bars = [
            bar for bar in _in_session(bars, timeframe, session_kind(instrument))
            if start <= bar.started_at < end and _ends_at(bar.started_at, timeframe) <= now
        ]  # fmt: skip
        refused = [
            one for one in (_of_its_day(line, timeframe) for line in [*told.refused, *odd])
            if one.started_at is None
            or (start <= one.started_at < end and _ends_at(one.started_at, timeframe) <= now)
        ]  # fmt: skip
        result.bars += len(bars)
        known = min(end, settled)
        answered = [bar.started_at for bar in bars] + [one.started_at for one in refused if one.started_at]
        lacking = _lacking(answered, (start, known), timeframe, session_kind(instrument))
        with transaction.atomic():
            result.stored += store_bars(feed, timeframe, bars, HISTORY)
            result.refused += set_aside(
                feed=feed, instrument=instrument, timeframe=timeframe, asked=(start, end), bars=bars, refused=refused,
                in_session=_due(refused, timeframe, session_kind(instrument)), now=now,
            )  # fmt: skip
            for one in without([(start, known)], lacking):
                _remember(feed, instrument, timeframe, one)
        watch(result)
        open_ranges = lacking + open_ranges


def _lacking(starts: list[datetime], asked: Range, timeframe: int, kind: SessionKind) -> list[Range]:
    """What of a range must be asked for once more: much before or behind the bars of an answer that may have been cut.

    `starts`: of the answer's bars, those that cannot be too. Sources answer with the newest thousand bars, or stop in
    the middle. An answer without a bar is believed.
    """
    if not starts:
        return []
    first, last = min(starts), max(_ends_at(at, timeframe) for at in starts)
    sides = [(asked[0], min(first, asked[1])), (max(last, asked[0]), asked[1])]
    return [
        side for side in sides
        if sum((b - a for a, b in _session_ranges(*side, timeframe, kind)), timedelta()) >= WORTH_ASKING
    ]  # fmt: skip


def _whole_days(start: datetime, end: datetime, timeframe: int) -> Range:
    """Daily bars are labelled by some with the open and by others with midnight: their days are asked for whole."""
    if timeframe < DAILY:
        return start, end
    last = exchange_date(end - timedelta(microseconds=1)) + timedelta(days=1)
    return _midnight(exchange_date(start)), _midnight(last)


def _in_session(bars: list[Bar], timeframe: int, kind: SessionKind) -> list[Bar]:
    """Daily bars begin when their session does; others that begin outside one are not trusted from the start."""
    for bar in bars:
        if timeframe >= DAILY:
            session = session_on(exchange_date(bar.started_at), assume_weekdays=True)
            if session is not None:
                bar.started_at = session.opens_at
        elif bar.started_at not in _starts_of(exchange_date(bar.started_at), timeframe, kind):
            bar.mark |= Mark.MISPLACED
    return bars


def _of_its_day(line: RefusedLine, timeframe: int) -> RefusedLine:
    """A refused daily line begins when its session does, as its bar would."""
    if timeframe < DAILY or line.started_at is None:
        return line
    session = session_on(exchange_date(line.started_at), assume_weekdays=True)
    return line if session is None else replace(line, started_at=session.opens_at)


def _due(refused: list[RefusedLine], timeframe: int, kind: SessionKind) -> list[datetime]:
    """The starts among these at which a session has a bar."""
    return [
        one.started_at for one in refused
        if one.started_at is not None and (
            session_on(exchange_date(one.started_at), assume_weekdays=True) is not None if timeframe >= DAILY
            else one.started_at in _starts_of(exchange_date(one.started_at), timeframe, kind)
        )
    ]  # fmt: skip


@remembered(maxsize=4096)
def _starts_of(day: date, timeframe: int, kind: SessionKind) -> frozenset[datetime]:
    return frozenset(at for _, starts in _bars_of(day, timeframe, kind) for at in starts)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=IST)


def _remember(feed: Feed, instrument: Instrument, timeframe: int, known: Range) -> None:
    """Add a range to what is covered. Under the fetcher's lock, so nobody else writes these rows."""
    if known[0] >= known[1]:
        return
    rows = CandleCoverage.objects.filter(
        feed=feed, instrument=instrument, timeframe=timeframe, from_at__lte=known[1], to_at__gte=known[0]
    )
    (whole,) = merged([known, *rows.values_list("from_at", "to_at")])
    rows.delete()
    CandleCoverage.objects.create(
        feed=feed, instrument=instrument, timeframe=timeframe, from_at=whole[0], to_at=whole[1]
    )


def _missing(feed: Feed, timeframe: int, wanted: dict[int, list[Range]], *, now: datetime) -> dict[int, list[Range]]:
    """What must be asked for, by instrument id: what is wanted, less what was asked before, less what is stored; and
    the bars that were refused and may be asked for again."""
    ids = [pk for pk, ranges in wanted.items() if ranges]
    if not ids:
        return {pk: [] for pk in wanted}
    first, last = min(wanted[pk][0][0] for pk in ids), max(wanted[pk][-1][1] for pk in ids)
    known: dict[int, list[Range]] = {pk: [] for pk in ids}
    for pk, from_at, to_at in CandleCoverage.objects.filter(
        feed=feed, instrument_id__in=ids, timeframe=timeframe, from_at__lt=last, to_at__gt=first
    ).values_list("instrument_id", "from_at", "to_at"):
        known[pk].append((from_at, to_at))
    left = {pk: without(wanted[pk], known[pk]) for pk in ids}
    open_ids = [pk for pk in ids if left[pk]]
    if open_ids:
        earliest = min(left[pk][0][0] for pk in open_ids)
        stored = _stored_ranges(feed, open_ids, timeframe, (earliest, last))
        left |= {pk: without(left[pk], stored.get(pk, [])) for pk in open_ids}
    for pk, again in due_again(feed, ids, timeframe, now=now).items():
        left[pk] = merged([*left[pk], *common(again, wanted[pk])])
    return {pk: _few_questions(joined(left.get(pk, []), wanted[pk])) for pk in wanted}


def _few_questions(ranges: list[Range]) -> list[Range]:
    """Many small holes are asked for as one range: calls are dearer than bars."""
    return [(ranges[0][0], ranges[-1][1])] if len(ranges) > MOST_QUESTIONS else ranges


def _stored_ranges(feed: Feed, ids: Sequence[int], timeframe: int, within: Range) -> dict[int, list[Range]]:
    """Unbroken runs of stored candles, by instrument id."""
    found = columns_of(feed, ids, timeframe, start=within[0], end=within[1])
    if not len(found):
        return {}
    broken = (np.diff(found.series) != 0) | (np.diff(found.starts) != 60 * timeframe)
    heads = np.concatenate(([0], np.flatnonzero(broken) + 1))
    lasts = np.concatenate((heads[1:], [len(found)])) - 1
    result: dict[int, list[Range]] = {}
    for pk, first, last in zip(*(one.tolist() for one in (found.series[heads], found.starts[heads],
                                                          found.starts[lasts])), strict=True):  # fmt: skip
        end = datetime.fromtimestamp(last, UTC) + timedelta(minutes=timeframe)
        result.setdefault(pk, []).append((datetime.fromtimestamp(first, UTC), end))
    return result


def _session_ranges(start: datetime, end: datetime, timeframe: int, kind: SessionKind) -> list[Range]:
    """The continuous trading within [start, end), cut to bars that are over by `end`."""
    result: list[Range] = []
    if start >= end:
        return result
    day, last_day = exchange_date(start), exchange_date(end)
    while day <= last_day:
        for closes_at, starts in _bars_of(day, timeframe, kind):
            if start <= starts[0] and closes_at <= end:
                result.append((starts[0], closes_at))
                continue
            over = [at for at in starts if at >= start and min(at + timedelta(minutes=timeframe), closes_at) <= end]
            if over:
                result.append((over[0], min(over[-1] + timedelta(minutes=timeframe), closes_at)))
        day += timedelta(days=1)
    return result


@remembered(maxsize=4096)
def _bars_of(day: date, timeframe: int, kind: SessionKind) -> tuple[tuple[datetime, list[datetime]], ...]:
    session = session_on(day, kind=kind, assume_weekdays=True)
    if session is None:
        return ()
    starts = session.bar_starts(timeframe)
    return tuple((one.closes_at, [at for at in starts if one.holds(at)]) for one in session.segments)


def _ends_at(started_at: datetime, timeframe: int) -> datetime:
    session = session_on(exchange_date(started_at), assume_weekdays=True)
    if session is not None and session.phase_at(started_at) is Phase.CONTINUOUS:
        return session.bar_end(started_at, timeframe)
    return started_at + timedelta(minutes=timeframe)


@contextmanager
def _sole_fetcher(feed: Feed, instrument: Instrument, timeframe: int) -> Iterator[None]:
    """One fetcher for each (feed, instrument, timeframe), over all processes."""
    name = f"candles:{feed.pk}:{instrument.pk}:{timeframe}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    try:
        yield
    finally:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])
        except (DatabaseError, transaction.TransactionManagementError):
            connection.close()  # the lock goes with the connection
            raise
