"""From exact prices to arrays: the only door from Decimal to float64.

A window holds the last bars of several instruments on common bar starts; a bar that an instrument does not have is NaN.
The bars of an instrument arrive as one row of arrays in PostgreSQL's binary COPY format (a row for each bar costs five
times as much) and are read by a small kernel: a numeric travels as groups of four decimal digits, which make a whole
number of 1/10,000 rupee, and only that is divided.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from django.db import connection
from numba import njit
from numpy.typing import NDArray

from trading.marketdata.models import Feed, Instrument
from trading.venue.sessions import exchange_date, session_on

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_POSTGRES_EPOCH_S = 946_684_800  # 2000-01-01, from which PostgreSQL counts microseconds
_COPY_HEADER = 19  # signature, flags, length of the (absent) extension
_LEAST_BYTES = 72  # of one bar: six lengths, two times eight bytes, four numerics of a head each
_REREAD_BARS = 3  # a warm window reads its newest bars again: a candle may be stored a little late
_KEPT_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class PriceWindow:
    """Bars of several instruments; NaN: no such bar.

    `starts`: int64[bars], epoch seconds UTC, rising. Prices (rupees) and volume (units): float64[symbols, bars],
    C-contiguous and read-only, rows in the order of `symbols`.
    """

    symbols: tuple[str, ...]
    instrument_ids: tuple[int, ...]
    timeframe: int
    starts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @property
    def bars(self) -> int:
        return int(self.starts.size)

    @property
    def last_start(self) -> datetime | None:
        return datetime.fromtimestamp(int(self.starts[-1]), UTC) if self.starts.size else None

    def row(self, symbol: str) -> int:
        return self.symbols.index(symbol)


def load_window(
    feed: Feed, instruments: Sequence[Instrument], timeframe: int, *, bars: int, until: datetime
) -> PriceWindow:
    """The last `bars` common bar starts of closed candles before `until` (venue time, aware).

    A bar is closed when it ends at or before `until`. Where only minutes are stored, longer bars are made of them.
    Fewer bars than asked for: there are no more.
    """
    if bars < 1:
        raise ValueError(f"a window has at least one bar, not {bars}")
    stored = _stored_timeframe(feed, instruments, timeframe, until)
    limit = (bars + 1) * (timeframe // stored)  # one more, for the last may still be running
    window = _read(feed, instruments, stored, until=until, limit=limit)
    return _finished(window, timeframe, bars, until)


class WindowCache:
    """The windows of one process. The first reading loads, the next ones append what is new.

    A changed past (a filled gap, a corrected bar: CandleRevision) makes it load again. Safe between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple, tuple[int, int, PriceWindow]] = OrderedDict()

    def window(
        self, feed: Feed, instruments: Sequence[Instrument], timeframe: int, *, bars: int, until: datetime
    ) -> PriceWindow:
        """As `load_window`."""
        key = (feed.pk, tuple(one.pk for one in instruments), timeframe, bars)
        revision = _revision(feed)
        with self._lock:
            kept = self._kept.get(key)
        window = None
        if kept is not None and kept[0] == revision:
            window = self._longer(kept[2], kept[1], feed, instruments, bars=bars, until=until)
        if window is not None:
            stored = kept[1] if kept else timeframe
        else:
            stored = _stored_timeframe(feed, instruments, timeframe, until)
            window = load_window(feed, instruments, timeframe, bars=bars, until=until)
        with self._lock:
            self._kept[key] = (revision, stored, window)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT_WINDOWS:
                self._kept.popitem(last=False)
        return window

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()

    def _longer(
        self,
        window: PriceWindow,
        stored: int,
        feed: Feed,
        instruments: Sequence[Instrument],
        *,
        bars: int,
        until: datetime,
    ) -> PriceWindow | None:
        """The window with its newest bars read again and new ones appended; None: it must be loaded afresh."""
        if window.bars <= _REREAD_BARS or until.timestamp() <= window.starts[-1]:
            return None
        since = int(window.starts[-_REREAD_BARS])
        tail = _read(feed, instruments, stored, until=until, since=datetime.fromtimestamp(since, UTC))
        tail = _finished(tail, window.timeframe, bars, until)
        if tail.bars == 0 or tail.starts[0] != since:
            return None
        old = window.bars - _REREAD_BARS
        if tail.bars == _REREAD_BARS and all(
            np.array_equal(getattr(window, name)[:, old:], getattr(tail, name), equal_nan=True) for name in _PRICES
        ):
            return window
        skip = max(0, old + tail.bars - bars)
        starts = np.concatenate((window.starts[skip:old], tail.starts))
        parts = {name: _joined_columns(getattr(window, name), skip, old, getattr(tail, name)) for name in _PRICES}
        return _window(window.symbols, window.instrument_ids, window.timeframe, starts, parts)


_PRICES = ("open", "high", "low", "close", "volume")
windows = WindowCache()


def _joined_columns(before: Floats, first: int, last: int, after: Floats) -> Floats:
    kept = last - first
    joined = np.empty((before.shape[0], kept + after.shape[1]))
    joined[:, :kept] = before[:, first:last]
    joined[:, kept:] = after
    return joined


def _window(
    symbols: tuple[str, ...], ids: tuple[int, ...], timeframe: int, starts: Ints, parts: dict[str, Floats]
) -> PriceWindow:
    for array in (starts, *parts.values()):
        array.setflags(write=False)
    return PriceWindow(symbols, ids, timeframe, starts, **parts)


def _revision(feed: Feed) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM marketdata_candlerevision WHERE feed_id = %s", [feed.pk])
        row = cursor.fetchone()
    return row[0] if row else 0


def _stored_timeframe(feed: Feed, instruments: Sequence[Instrument], timeframe: int, until: datetime) -> int:
    """The timeframe itself where any of its candles is stored, else one minute."""
    if timeframe == 1:
        return 1
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM marketdata_candle WHERE feed_id = %s AND instrument_id = ANY(%s)"
            " AND timeframe = %s AND started_at < %s)",
            [feed.pk, [one.pk for one in instruments], timeframe, until],
        )
        return timeframe if cursor.fetchone()[0] else 1


def _read(
    feed: Feed, instruments: Sequence[Instrument], timeframe: int, *, until: datetime, limit: int | None = None,
    since: datetime | None = None,
) -> PriceWindow:  # fmt: skip
    """Candles as they are stored, aligned: the newest `limit` of each instrument, or all from `since` on."""
    ids = tuple(one.pk for one in instruments)
    symbols = tuple(one.symbol for one in instruments)
    condition = "c.started_at < %(until)s" + (" AND c.started_at >= %(since)s" if since else "")
    query = f"""
        COPY (SELECT i.place, c.*
              FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS i(id, place)
              CROSS JOIN LATERAL (
                SELECT array_agg(started_at), array_agg(open), array_agg(high), array_agg(low), array_agg(close),
                       array_agg(volume)
                FROM (
                  SELECT started_at, open, high, low, close, volume FROM marketdata_candle c
                  WHERE c.feed_id = %(feed)s AND c.instrument_id = i.id AND c.timeframe = %(timeframe)s
                    AND {condition}
                  ORDER BY c.started_at DESC {"LIMIT %(limit)s" if limit else ""}) newest
                HAVING count(*) > 0) c
             ) TO STDOUT (FORMAT BINARY)"""  # noqa: S608 - numbers and instants, quoted by the driver
    given = {"ids": list(ids), "feed": feed.pk, "timeframe": timeframe, "until": until, "limit": limit, "since": since}
    with connection.cursor() as cursor, cursor.copy(query, given) as copy:
        raw = b"".join(copy)
    places, starts, values = _parsed(np.frombuffer(raw, np.uint8), _COPY_HEADER)
    common = np.unique(starts)
    if limit is not None and common.size > limit:
        common = common[-limit:]
    aligned = _aligned(places, starts, values, common, len(ids))
    return _window(symbols, ids, timeframe, common, {name: aligned[at] for at, name in enumerate(_PRICES)})


def _finished(window: PriceWindow, timeframe: int, bars: int, until: datetime) -> PriceWindow:
    """Resampled where needed, without a last bar that is still running, cut to the number asked for."""
    starts, parts = window.starts, {name: getattr(window, name) for name in _PRICES}
    if timeframe != window.timeframe:
        groups = _bar_starts(starts, timeframe)
        starts, *values = _resampled(groups, *(parts[name] for name in _PRICES))
        parts = dict(zip(_PRICES, values, strict=True))
    last = starts.size
    while last and _ends_s(int(starts[last - 1]), timeframe) > until.timestamp():
        last -= 1
    first = max(0, last - bars)
    if (first, last) != (0, starts.size):
        starts = starts[first:last].copy()
        parts = {name: np.ascontiguousarray(array[:, first:last]) for name, array in parts.items()}
    return _window(window.symbols, window.instrument_ids, timeframe, starts, parts)


def _ends_s(start_s: int, timeframe: int) -> float:
    start = datetime.fromtimestamp(start_s, UTC)
    session = session_on(exchange_date(start), assume_weekdays=True)
    if session is None or not any(segment.holds(start) for segment in session.segments):
        return start_s + 60 * timeframe
    return session.bar_end(start, timeframe).timestamp()


def _bar_starts(starts: Ints, timeframe: int) -> Ints:
    """The start of the longer bar of each minute, -1 outside continuous trading."""
    groups = np.full(starts.size, -1, np.int64)
    at = 0
    while at < starts.size:
        day = exchange_date(datetime.fromtimestamp(int(starts[at]), UTC))
        next_day_s = (int(starts[at]) + 19_800) // 86_400 * 86_400 + 86_400 - 19_800  # midnight in India
        end = int(np.searchsorted(starts, next_day_s))
        session = session_on(day, assume_weekdays=True)
        for segment in session.segments if session else ():
            opens, closes = int(segment.opens_at.timestamp()), int(segment.closes_at.timestamp())
            part = slice(
                at + int(np.searchsorted(starts[at:end], opens)), at + int(np.searchsorted(starts[at:end], closes))
            )
            groups[part] = opens + (starts[part] - opens) // (60 * timeframe) * (60 * timeframe)
        at = end
    return groups


@njit(cache=True, nogil=True)
def _big_endian(raw, at, width):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for offset in range(width):
        value = (value << 8) | np.int64(raw[at + offset])
    if width < 8 and value >= np.int64(1) << (8 * width - 1):
        value -= np.int64(1) << (8 * width)
    return value


@njit(cache=True, nogil=True)
def _ten_thousandths(raw, at):  # type: ignore[no-untyped-def]
    """A numeric in its wire format: count, weight, sign, scale, then base-10,000 digits."""
    count = _big_endian(raw, at, 2)
    weight = _big_endian(raw, at + 2, 2)
    value = np.int64(0)
    for place in range(weight + 2):  # down to the group of 1/10,000
        value = value * 10_000 + (_big_endian(raw, at + 8 + 2 * place, 2) if 0 <= place < count else 0)
    if weight < -1:
        value = np.int64(0)
    return -value if _big_endian(raw, at + 4, 2) != 0 else value


@njit(cache=True, nogil=True)
def _parsed(raw, at):  # type: ignore[no-untyped-def]
    """Binary COPY of one row an instrument: its place from 1, then arrays of starts, four prices and volume.

    Gives int64[rows] places from 0, int64[rows] epoch seconds, float64[5, rows] prices and volume.
    """
    room = max(1, (raw.size - at) // _LEAST_BYTES)
    places, starts, values = np.empty(room, np.int64), np.empty(room, np.int64), np.empty((5, room))
    row = 0
    while at + 2 <= raw.size and _big_endian(raw, at, 2) == 7:
        place = _big_endian(raw, at + 6, 8) - 1
        at += 14
        count = 0
        for column in range(6):
            at += 4  # bytes of the array
            count = _big_endian(raw, at + 12, 4)
            at += 20  # dimensions, null flag, type, length, lower bound
            for element in range(count):
                width = _big_endian(raw, at, 4)
                at += 4
                if column == 0:
                    places[row + element] = place
                    starts[row + element] = _big_endian(raw, at, 8) // 1_000_000 + _POSTGRES_EPOCH_S
                elif column == 5:
                    values[4, row + element] = _big_endian(raw, at, 8)
                else:
                    values[column - 1, row + element] = _ten_thousandths(raw, at) / 10_000
                at += width
        row += count
    return places[:row], starts[:row], values[:, :row]


@njit(cache=True, nogil=True)
def _aligned(places, starts, values, common, symbols):  # type: ignore[no-untyped-def]
    """float64[5, symbols, bars] on the common starts. Quick when the rows of one symbol arrive newest first."""
    result = np.full((5, symbols, common.size), np.nan)
    column = -1
    for row in range(places.size):
        place = places[row]
        if column < 0 or common[column] < starts[row]:
            column = common.size - 1
        while column >= 0 and common[column] > starts[row]:
            column -= 1
        if column < 0 or common[column] != starts[row]:
            continue
        for part in range(5):
            result[part, place, column] = values[part, row]
    return result


@njit(cache=True, nogil=True)
def _resampled(groups, open_, high, low, close, volume):  # type: ignore[no-untyped-def]
    """Longer bars of minutes: first open, highest high, lowest low, last close, sum of volume; NaN: no minute."""
    count = 0
    previous = np.int64(-1)
    for bar in range(groups.size):
        if groups[bar] >= 0 and groups[bar] != previous:
            previous = groups[bar]
            count += 1
    starts = np.empty(count, np.int64)
    shape = (open_.shape[0], count)
    o, h, lo, c, v = (
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.full(shape, np.nan),
    )
    column = -1
    previous = np.int64(-1)
    for bar in range(groups.size):
        if groups[bar] < 0:
            continue
        if groups[bar] != previous:
            previous = groups[bar]
            column += 1
            starts[column] = previous
        for symbol in range(open_.shape[0]):
            if np.isnan(close[symbol, bar]):
                continue
            if np.isnan(c[symbol, column]):
                o[symbol, column] = open_[symbol, bar]
                h[symbol, column] = high[symbol, bar]
                lo[symbol, column] = low[symbol, bar]
                v[symbol, column] = volume[symbol, bar]
            else:
                h[symbol, column] = max(h[symbol, column], high[symbol, bar])
                lo[symbol, column] = min(lo[symbol, column], low[symbol, bar])
                v[symbol, column] += volume[symbol, bar]
            c[symbol, column] = close[symbol, bar]
    return starts, o, h, lo, c, v
