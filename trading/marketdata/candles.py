"""Candles: look into the database, fetch only what is missing, store, serve.

A candle is written once. A bar made of our own ticks (STREAM) gives way to the exchange's own (HISTORY, IMPORT);
nothing else is ever overwritten, so that storing the same bars again changes nothing.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import DatabaseError, connection, transaction

from trading.domain.errors import NotFound
from trading.marketdata.builder import Bar
from trading.marketdata.models import Candle, CandleCoverage, Feed, Instrument
from trading.marketdata.quality import makes_sense
from trading.marketdata.ranges import Range, joined, merged, without
from trading.marketdata.sessions import session_kind
from trading.marketdata.sources import HistorySource, HistoryUnavailable
from trading.venue.sessions import Phase, SessionKind, exchange_date, session_on

logger = logging.getLogger(__name__)

STREAM, HISTORY, IMPORT = "STREAM", "HISTORY", "IMPORT"
MOST_QUESTIONS = 4  # to a history, for one instrument
SETTLING_BARS = 3  # a history may lag by this many bars: what is absent there is not yet known to be absent
_FEW = 500  # rows up to which arrays beat a temporary table
_COLUMNS = "instrument_id, started_at, open, high, low, close, volume"
_TYPES = ("bigint", "timestamptz", "numeric(14,4)", "numeric(14,4)", "numeric(14,4)", "numeric(14,4)", "bigint")

_STORE = """
INSERT INTO marketdata_candle (feed_id, timeframe, source, {columns})
SELECT %(feed)s, %(timeframe)s, %(source)s, i.instrument_id, i.started_at, i.open, i.high, i.low, i.close, i.volume
FROM (SELECT DISTINCT ON (instrument_id, started_at) * FROM {incoming} ORDER BY instrument_id, started_at) i
LEFT JOIN LATERAL (
    SELECT id, source FROM marketdata_candle c
    WHERE c.feed_id = %(feed)s AND c.instrument_id = i.instrument_id AND c.timeframe = %(timeframe)s
      AND c.started_at = i.started_at LIMIT 1) c ON true
WHERE c.id IS NULL OR (c.source = 'STREAM' AND %(source)s <> 'STREAM')
ON CONFLICT (feed_id, instrument_id, timeframe, started_at) DO UPDATE
SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
    volume = excluded.volume, source = excluded.source
WHERE marketdata_candle.source = 'STREAM' AND excluded.source <> 'STREAM'
"""

_TOUCHES_THE_PAST = """
SELECT EXISTS (
  SELECT 1 FROM (SELECT instrument_id, min(started_at) AS first FROM {incoming} GROUP BY instrument_id) i
  CROSS JOIN LATERAL (
    SELECT started_at FROM marketdata_candle c
    WHERE c.feed_id = %(feed)s AND c.instrument_id = i.instrument_id AND c.timeframe = %(timeframe)s
    ORDER BY started_at DESC LIMIT 1) newest
  WHERE newest.started_at >= i.first)
"""


def store_bars(feed: Feed, timeframe: int, bars: Iterable[Bar], source: str) -> int:
    """Store closed bars of known instruments; the number of rows written (new, or corrected by history).

    Left out: bars with impossible numbers, and bars of our own making that are not whole (`Bar.is_whole`): history
    fills those. Error: NotFound UNKNOWN_INSTRUMENT, and then nothing is stored.
    """
    wanted = [bar for bar in bars if source != STREAM or bar.is_whole]
    sound = [bar for bar in wanted if makes_sense(bar.open, bar.high, bar.low, bar.close, bar.volume)]
    if len(sound) < len(wanted):
        logger.warning("%d impossible bars of %s were not stored", len(wanted) - len(sound), feed.name)
    if not sound:
        return 0
    ids = _ids_of({bar.symbol for bar in sound})
    rows = [(ids[b.symbol], b.started_at, b.open, b.high, b.low, b.close, b.volume) for b in sound]
    with transaction.atomic():
        if len(rows) <= _FEW:
            return _store_few(feed, timeframe, rows, source)
        return store_text(
            feed,
            timeframe,
            (f"{i}\t{at.isoformat()}\t{o}\t{h}\t{lo}\t{c}\t{v}\n" for i, at, o, h, lo, c, v in rows),
            source,
        )


def store_text(feed: Feed, timeframe: int, chunks: Iterable[str], source: str) -> int:
    """Store many candles given as text for COPY: instrument id, start, open, high, low, close, volume, tab-separated.

    The text must be sound: the database refuses impossible candles, and then nothing is stored. Rows written.
    """
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(_COLUMNS.split(", "), _TYPES, strict=True))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS incoming_candle ({columns}) ON COMMIT DROP")
        cursor.execute("TRUNCATE incoming_candle")
        with cursor.copy(f"COPY incoming_candle ({_COLUMNS}) FROM STDIN") as copy:
            for chunk in chunks:
                copy.write(chunk)
        cursor.execute("ANALYZE incoming_candle")
        cursor.execute("SET LOCAL jit = off")  # compiling the statement takes longer than running it
        return _store(cursor, feed, timeframe, source, incoming="incoming_candle", values={})


def _store_few(feed: Feed, timeframe: int, rows: Sequence[tuple], source: str) -> int:
    columns = list(zip(*rows, strict=True))
    values = {f"c{number}": list(column) for number, column in enumerate(columns)}
    arrays = ", ".join(f"%(c{number})s::{kind}[]" for number, kind in enumerate(_TYPES))
    with connection.cursor() as cursor:
        incoming = f"(SELECT * FROM unnest({arrays}) AS given({_COLUMNS})) few"  # noqa: S608 - our own names
        return _store(cursor, feed, timeframe, source, incoming=incoming, values=values)


def _store(cursor: Any, feed: Feed, timeframe: int, source: str, *, incoming: str, values: dict[str, Any]) -> int:
    given = values | {"feed": feed.pk, "timeframe": timeframe, "source": source}
    cursor.execute(_TOUCHES_THE_PAST.format(incoming=incoming), given)
    touches_the_past = cursor.fetchone()[0]
    cursor.execute(_STORE.format(incoming=incoming, columns=_COLUMNS), given)
    written = int(cursor.rowcount)
    if written and touches_the_past:
        cursor.execute(
            "INSERT INTO marketdata_candlerevision AS r (feed_id, number) VALUES (%s, 1)"
            " ON CONFLICT (feed_id) DO UPDATE SET number = r.number + 1",
            [feed.pk],
        )
    return written


def _ids_of(symbols: set[str]) -> dict[str, int]:
    ids = dict(Instrument.objects.filter(symbol__in=symbols).values_list("symbol", "id"))
    if unknown := sorted(symbols - ids.keys()):
        raise NotFound("UNKNOWN_INSTRUMENT", f"no such instrument: {', '.join(unknown[:5])}", symbols=unknown)
    return ids


@dataclass(slots=True)
class Fetched:
    """What one `ensure_candles` took. `saved` counts the instruments that needed no call."""

    instruments: int = 0
    calls: int = 0
    saved: int = 0
    bars: int = 0
    stored: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # symbol → why its history could not be had

    @property
    def saved_pct(self) -> float:
        return 100.0 * self.saved / self.instruments if self.instruments else 100.0


def ensure_candles(
    feed: Feed,
    instruments: Sequence[Instrument],
    timeframe: int,
    start: datetime,
    end: datetime,
    history: HistorySource,
    *,
    now: datetime,
) -> Fetched:
    """Make sure that the closed bars of [start, end) that exist are stored; fetch only the missing ranges.

    `now` is venue time: bars not over by then are not asked for, and the newest few are asked for again until they are
    there. One fetcher at a time for each instrument; call it outside a transaction, for it waits for the network.
    A source that does not answer is told in `failed`; what did arrive is stored.
    """
    end = min(end, now)
    wanted = {one.pk: _session_ranges(start, end, timeframe, session_kind(one)) for one in instruments}
    result = Fetched(instruments=len(instruments))
    missing = _missing(feed, timeframe, wanted)
    for instrument in instruments:
        if not missing[instrument.pk]:
            result.saved += 1
            continue
        with _sole_fetcher(feed, instrument, timeframe):
            ranges = _missing(feed, timeframe, {instrument.pk: wanted[instrument.pk]})[instrument.pk]
            if not ranges:  # another fetcher was quicker
                result.saved += 1
                continue
            for one in ranges:
                try:
                    _fetch(feed, instrument, timeframe, one, history, now=now, result=result)
                except HistoryUnavailable as error:
                    logger.warning("no history of %s: %s", instrument.symbol, error)
                    result.failed[instrument.symbol] = error.code
                    break
    return result


def _fetch(
    feed: Feed,
    instrument: Instrument,
    timeframe: int,
    asked: Range,
    history: HistorySource,
    *,
    now: datetime,
    result: Fetched,
) -> None:
    start, end = asked
    result.calls += 1
    bars = [bar for bar in history.history(instrument.symbol, timeframe, start, end) if start <= bar.started_at < end]
    bars = [bar for bar in bars if _ends_at(bar.started_at, timeframe) <= now]
    result.bars += len(bars)
    settled = now - timedelta(minutes=timeframe * SETTLING_BARS)
    with transaction.atomic():
        result.stored += store_bars(feed, timeframe, bars, HISTORY)
        _remember(feed, instrument, timeframe, (start, min(end, settled)))


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


def _missing(feed: Feed, timeframe: int, wanted: dict[int, list[Range]]) -> dict[int, list[Range]]:
    """What must be asked for, by instrument id: what is wanted, less what was asked before, less what is stored."""
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
    return {pk: _few_questions(joined(left.get(pk, []), wanted[pk])) for pk in wanted}


def _few_questions(ranges: list[Range]) -> list[Range]:
    """Many small holes are asked for as one range: calls are dearer than bars."""
    return [(ranges[0][0], ranges[-1][1])] if len(ranges) > MOST_QUESTIONS else ranges


def _stored_ranges(feed: Feed, ids: Sequence[int], timeframe: int, within: Range) -> dict[int, list[Range]]:
    """Unbroken runs of stored candles, by instrument id."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT instrument_id, min(started_at), max(started_at) FROM (
              SELECT instrument_id, started_at, started_at - make_interval(mins => %(step)s) *
                     row_number() OVER (PARTITION BY instrument_id ORDER BY started_at) AS run
              FROM marketdata_candle
              WHERE feed_id = %(feed)s AND instrument_id = ANY(%(ids)s) AND timeframe = %(step)s
                AND started_at >= %(first)s AND started_at < %(last)s
            ) runs GROUP BY instrument_id, run
            """,
            {"feed": feed.pk, "ids": list(ids), "step": timeframe, "first": within[0], "last": within[1]},
        )
        result: dict[int, list[Range]] = {}
        for pk, first, last in cursor.fetchall():
            result.setdefault(pk, []).append((first, last + timedelta(minutes=timeframe)))
    return result


def _session_ranges(start: datetime, end: datetime, timeframe: int, kind: SessionKind) -> list[Range]:
    """The continuous trading within [start, end), cut to bars that are over by `end`."""
    result: list[Range] = []
    if start >= end:
        return result
    day, last_day = exchange_date(start), exchange_date(end)
    while day <= last_day:
        for closes_at, starts in _bars_of(day, timeframe, kind):
            over = [at for at in starts if at >= start and min(at + timedelta(minutes=timeframe), closes_at) <= end]
            if over:
                result.append((over[0], min(over[-1] + timedelta(minutes=timeframe), closes_at)))
        day += timedelta(days=1)
    return result


@lru_cache(maxsize=4096)
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


def candles_of(feed: Feed, instrument: Instrument, timeframe: int, *, start: datetime, end: datetime) -> list[Bar]:
    """Stored candles with start <= started_at < end, in order, as exact prices (for charts and journals)."""
    rows = (
        Candle.objects.filter(
            feed=feed, instrument=instrument, timeframe=timeframe, started_at__gte=start, started_at__lt=end
        )
        .order_by("started_at")
        .values_list("started_at", "open", "high", "low", "close", "volume")
    )
    return [Bar(instrument.symbol, at.astimezone(UTC), o, h, lo, c, v) for at, o, h, lo, c, v in rows]
