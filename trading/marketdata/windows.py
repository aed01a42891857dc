"""From exact prices to arrays: the only door from stored candles to float64.

A window holds the last bars of several instruments on common bar starts; a bar that an instrument does not have, or
that is not to be trusted, is NaN. Bars are read as they are stored (`blocks.py`) and laid side by side (`aligned.py`);
where a timeframe is not stored, it is made of shorter bars, counted from the open of the exchange's own session.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

import numpy as np
from django.db import connection
from django.db.models import Max
from numpy.typing import NDArray

from trading.marketdata.candles import block_span
from trading.marketdata.files.archive import any_archived_before, blocks_of
from trading.marketdata.listing.actions import factors_at
from trading.marketdata.models import CandleSeries, Feed, Instrument
from trading.marketdata.packing import window_files
from trading.marketdata.packing.aligned import align, resample
from trading.marketdata.packing.block_rows import any_before
from trading.marketdata.packing.blocks import DAY, IST_S, date_of
from trading.marketdata.sessions import session_kind
from trading.venue.calendar import remembered
from trading.venue.sessions import Session, SessionKind, exchange_date, session_on

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Kinds = frozenset[SessionKind]

_REREAD_BARS = 3  # a warm window reads its newest bars again: a candle may be stored a little late
_KEPT_WINDOWS = 16
_PARTLY = 8  # up to one instrument in so many is read anew alone, when its past has changed
_OLDEST = date(1990, 1, 1)
PRICES = ("open", "high", "low", "close", "volume")


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


@dataclass(frozen=True, slots=True)
class SeriesState:
    """One stored series of an instrument, and how often its past was changed."""

    instrument_id: int
    timeframe: int
    series_id: int
    revision: int


def load_window(
    feed: Feed, instruments: Sequence[Instrument], timeframe: int, *, bars: int, until: datetime,
    with_untrusted: bool = False, adjusted: bool = False,
) -> PriceWindow:  # fmt: skip
    """The last `bars` common bar starts of closed candles before `until` (venue time, aware).

    A bar is closed when it ends at or before `until`. Stored bars of the timeframe are taken as they are, what is
    missing is made of the minutes that are stored, or of the longest bars that fit. Bars that are not to be trusted are
    NaN unless asked for. `adjusted`: as if the corporate actions confirmed up to `until` had always been so. Fewer bars
    than asked for: there are no more.
    """
    if bars < 1:
        raise ValueError(f"a window has at least one bar, not {bars}")
    series = series_of(feed, instruments, timeframe)
    window = _load(series, instruments, timeframe, bars=bars, until=until, with_untrusted=with_untrusted)
    return adjusted_window(window, until=until) if adjusted else window


def adjusted_window(window: PriceWindow, *, until: datetime) -> PriceWindow:
    """A window of raw prices as it looks after the actions confirmed by then; itself where there are none."""
    factors = factors_at(window.instrument_ids, window.starts, known_on=exchange_date(until)) if window.bars else None
    if factors is None:
        return window
    prices, volumes = factors
    parts = {name: getattr(window, name) * prices for name in PRICES if name != "volume"}
    parts["volume"] = window.volume / volumes
    return _window(window.symbols, window.instrument_ids, window.timeframe, window.starts, parts)


def series_of(feed: Feed, instruments: Sequence[Instrument], timeframe: int) -> list[SeriesState]:
    """The stored series that a window of this timeframe is made of."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT instrument_id, timeframe, id, revision FROM marketdata_candleseries WHERE feed_id = %s"
            " AND timeframe <= %s AND %s %% timeframe = 0 AND instrument_id = ANY(%s) AND newest_at IS NOT NULL"
            " ORDER BY timeframe, instrument_id",
            [feed.pk, timeframe, timeframe, [one.pk for one in instruments]],
        )
        found = [SeriesState(*row) for row in cursor.fetchall()]
    shorter = {one.timeframe for one in found if one.timeframe < timeframe}
    wanted = {timeframe, 1 if 1 in shorter else max(shorter, default=timeframe)}
    return [one for one in found if one.timeframe in wanted]


class WindowCache:
    """The windows of one process. The first reading loads, the next ones append what is new.

    A changed past (a filled gap, a corrected bar, a mark) makes it load the instruments concerned again. Safe between
    threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple, tuple[list[SeriesState], PriceWindow]] = OrderedDict()

    def window(
        self, feed: Feed, instruments: Sequence[Instrument], timeframe: int, *, bars: int, until: datetime,
        adjusted: bool = False,
    ) -> PriceWindow:  # fmt: skip
        """As `load_window`. What is kept is raw, so that an action confirmed now counts at once."""
        key = (_database(), feed.pk, tuple(one.pk for one in instruments), timeframe, bars)
        series = series_of(feed, instruments, timeframe)
        with self._lock:
            kept = self._kept.get(key)
        kept = kept or _from_file(key, series, instruments, timeframe)
        window = _brought_up(kept, series, instruments, bars=bars, until=until) if kept else None
        if window is None:
            window = _load(series, instruments, timeframe, bars=bars, until=until)
            window_files.store(key, _made_of(series), window.starts, [getattr(window, name) for name in PRICES])
        with self._lock:
            self._kept[key] = (series, window)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT_WINDOWS:
                self._kept.popitem(last=False)
        return adjusted_window(window, until=until) if adjusted else window

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


windows = WindowCache()


@lru_cache(maxsize=8)
def _number_of(host: str, name: str) -> tuple[str, str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        return host, name, int(cursor.fetchone()[0])


def _database() -> tuple[str, str, int]:
    """Which database this is: a restored one is another, whatever its name and its revisions."""
    known = connection.settings_dict
    return _number_of(str(known["HOST"]), str(known["NAME"]))


def _made_of(series: list[SeriesState]) -> list[list[int]]:
    return [[one.instrument_id, one.timeframe, one.series_id, one.revision] for one in series]


def _from_file(
    key: tuple, series: list[SeriesState], instruments: Sequence[Instrument], timeframe: int
) -> tuple[list[SeriesState], PriceWindow] | None:
    """The window that another process, or this one before it was started anew, has left; None: none of this past."""
    found = window_files.load(key, _made_of(series))
    if found is None:
        return None
    starts, values = found
    symbols, ids = tuple(one.symbol for one in instruments), tuple(one.pk for one in instruments)
    return series, PriceWindow(symbols, ids, timeframe, starts, *values)


def _brought_up(
    kept: tuple[list[SeriesState], PriceWindow], series: list[SeriesState], instruments: Sequence[Instrument],
    *, bars: int, until: datetime,
) -> PriceWindow | None:  # fmt: skip
    """A kept window with what was changed and what is new; None: it must be loaded afresh."""
    before, window = kept
    if before != series:
        changed = {one.instrument_id for one in set(before) ^ set(series)}
        concerned = [one for one in instruments if one.pk in changed]
        if window.bars == 0 or len(concerned) * _PARTLY > len(instruments):
            return None
        window_or_none = _with_rows_read_again(window, series, concerned)
        if window_or_none is None:
            return None
        window = window_or_none
    return _longer(window, series, instruments, bars=bars, until=until)


def _with_rows_read_again(
    window: PriceWindow, series: list[SeriesState], concerned: list[Instrument]
) -> PriceWindow | None:
    """The same starts with the rows of some instruments as they are now; None: they have starts of their own."""
    end = _end_s(int(window.starts[-1]), window.timeframe, _kinds(concerned))
    since, until = (datetime.fromtimestamp(at, UTC) for at in (int(window.starts[0]), end))
    starts, values = _between(series, concerned, window.timeframe, since=since, until=until)
    columns = np.searchsorted(window.starts, starts)
    if not np.array_equal(window.starts[np.minimum(columns, window.bars - 1)], starts):
        return None
    parts = {name: getattr(window, name).copy() for name in PRICES}
    for row, instrument in enumerate(concerned):
        place = window.instrument_ids.index(instrument.pk)
        for part, name in enumerate(PRICES):
            parts[name][place] = np.nan
            parts[name][place, columns] = values[part, row]
    return _window(window.symbols, window.instrument_ids, window.timeframe, window.starts, parts)


def _longer(
    window: PriceWindow, series: list[SeriesState], instruments: Sequence[Instrument], *, bars: int, until: datetime
) -> PriceWindow | None:
    """The window with its newest bars read again and new ones appended; None: it must be loaded afresh."""
    if window.bars <= _REREAD_BARS or until.timestamp() <= window.starts[-1]:
        return None
    since = int(window.starts[-_REREAD_BARS])
    starts, values = _between(
        series, instruments, window.timeframe, since=datetime.fromtimestamp(since, UTC), until=until
    )
    if starts.size == 0 or starts[0] != since:
        return None
    old = window.bars - _REREAD_BARS
    if starts.size == _REREAD_BARS and all(
        np.array_equal(getattr(window, name)[:, old:], values[part], equal_nan=True) for part, name in enumerate(PRICES)
    ):
        return window
    skip = max(0, old + starts.size - bars)
    parts = {
        name: np.concatenate((getattr(window, name)[:, skip:old], values[part]), axis=1)
        for part, name in enumerate(PRICES)
    }
    both = np.concatenate((window.starts[skip:old], starts))
    return _window(window.symbols, window.instrument_ids, window.timeframe, both, parts)


def _window(
    symbols: tuple[str, ...], ids: tuple[int, ...], timeframe: int, starts: Ints, parts: dict[str, Floats]
) -> PriceWindow:
    for array in (starts, *parts.values()):
        array.setflags(write=False)
    return PriceWindow(symbols, ids, timeframe, starts, **parts)


# -- reading ---------------------------------------------------------------------------------------------------------


def _load(
    series: list[SeriesState], instruments: Sequence[Instrument], timeframe: int, *, bars: int, until: datetime,
    with_untrusted: bool = False,
) -> PriceWindow:  # fmt: skip
    """Read back as many days as the exchange's calendar needs for `bars`; more where the tape has holes."""
    deep = bars + 1  # one more, for the last may still be running
    newest = _newest(series)
    near = until if newest is None else min(until, newest + timedelta(days=1))
    while True:
        first = _first_day(deep, timeframe, near, _kinds(instruments))
        since = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(seconds=IST_S)
        starts, values = _between(
            series, instruments, timeframe, since=since, until=until, newest=bars + 1, with_untrusted=with_untrusted
        )
        if starts.size >= bars or first <= _OLDEST or not _any_older(series, since):
            break
        deep *= 4
    keep = slice(max(0, starts.size - bars), None)
    symbols, ids = tuple(one.symbol for one in instruments), tuple(one.pk for one in instruments)
    if starts.size > bars:
        starts, values = starts[keep].copy(), np.ascontiguousarray(values[:, :, keep])
    return _window(symbols, ids, timeframe, starts, dict(zip(PRICES, values, strict=True)))


def _between(
    series: list[SeriesState], instruments: Sequence[Instrument], timeframe: int, *, since: datetime, until: datetime,
    newest: int | None = None, with_untrusted: bool = False,
) -> tuple[Ints, Floats]:  # fmt: skip
    """Closed bars with since <= start < until: their starts, and float64[5, symbols, bars]."""
    result = np.empty(0, np.int64), np.empty((5, len(instruments), 0))
    kinds = _kinds(instruments)
    for stored in sorted({one.timeframe for one in series}):
        own = [one for one in series if one.timeframe == stored]
        places = {pk: place for place, pk in enumerate(one.pk for one in instruments)}
        first, last = block_span(since, until, stored)
        starts, values = align(
            blocks_of([one.series_id for one in own], stored, first, last),
            {one.series_id: places[one.instrument_id] for one in own},
            symbols=len(instruments), timeframe=stored, since_s=int(since.timestamp()),
            until_s=int(np.ceil(until.timestamp())), with_untrusted=with_untrusted,
            newest=newest if stored == timeframe else None,
        )  # fmt: skip
        if stored != timeframe:
            starts, values = resample(starts, values, _bar_starts(starts, timeframe, kinds))
        result = _overlaid(result, (starts, values))
    starts, values = result
    closed = starts.size
    while closed and _end_s(int(starts[closed - 1]), timeframe, kinds) > until.timestamp():
        closed -= 1
    return (starts, values) if closed == starts.size else (starts[:closed], np.ascontiguousarray(values[:, :, :closed]))


def _overlaid(below: tuple[Ints, Floats], above: tuple[Ints, Floats]) -> tuple[Ints, Floats]:
    """Both on common starts; where both have a bar, the upper one counts."""
    if below[0].size == 0 or above[0].size == 0:
        return above if below[0].size == 0 else below
    starts = np.union1d(below[0], above[0])
    values = np.full((5, below[1].shape[1], starts.size), np.nan)
    values[:, :, np.searchsorted(starts, below[0])] = below[1]
    columns = np.searchsorted(starts, above[0])
    values[:, :, columns] = np.where(np.isnan(above[1][3]), values[:, :, columns], above[1])
    return starts, values


def _newest(series: list[SeriesState]) -> datetime | None:
    found = CandleSeries.objects.filter(pk__in=[one.series_id for one in series])
    return found.aggregate(newest=Max("newest_at"))["newest"]


def _any_older(series: list[SeriesState], since: datetime) -> bool:
    for stored in {one.timeframe for one in series}:
        day, ids = block_span(since, since, stored)[0], [one.series_id for one in series if one.timeframe == stored]
        if any_before(ids, day) or any_archived_before(ids, stored, day):
            return True
    return False


# -- the exchange's days ---------------------------------------------------------------------------------------------


def _kinds(instruments: Iterable[Instrument]) -> Kinds:
    return frozenset(session_kind(one) for one in instruments) or frozenset({SessionKind.EQUITY})


@remembered(maxsize=8192)
def _longest_session(day: date, kinds: Kinds) -> Session | None:
    """A day's session of those instruments that trade longest. All kinds open together."""
    found = [session_on(day, kind=kind, assume_weekdays=True) for kind in kinds]
    return max((one for one in found if one is not None), key=lambda one: one.closes_at, default=None)


def _first_day(bars: int, timeframe: int, until: datetime, kinds: Kinds) -> date:
    """The exchange day that lies `bars` closed bars before an instant, and one session more."""
    day, wanted, more = exchange_date(until), bars, 1
    while day > _OLDEST:
        count = _bars_of(day, timeframe, kinds)
        if count and wanted <= 0:
            if more == 0:
                break
            more -= 1
        wanted -= count
        day -= timedelta(days=1)
    return day


@remembered(maxsize=65_536)
def _bars_of(day: date, timeframe: int, kinds: Kinds) -> int:
    session = _longest_session(day, kinds)
    if session is None:
        return 0
    return 1 if timeframe >= DAY else len(session.bar_starts(timeframe))


def _end_s(start_s: int, timeframe: int, kinds: Kinds) -> float:
    """When the bar of a start is over for all of these instruments, epoch seconds."""
    start = datetime.fromtimestamp(start_s, UTC)
    session = _longest_session(exchange_date(start), kinds)
    if session is None:
        return start_s + 60 * timeframe
    if timeframe >= DAY:
        return session.closes_at.timestamp()
    if not any(segment.holds(start) for segment in session.segments):
        return start_s + 60 * timeframe
    return session.bar_end(start, timeframe).timestamp()


def _bar_starts(starts: Ints, timeframe: int, kinds: Kinds) -> Ints:
    """The start of the longer bar of each shorter one, -1 outside continuous trading."""
    groups = np.full(starts.size, -1, np.int64)
    days = (starts + IST_S) // 86_400
    edges = np.concatenate(([0], np.flatnonzero(np.diff(days)) + 1, [starts.size])) if starts.size else [0]
    for at, end in pairwise(edges):
        session = _longest_session(date_of(days[at]), kinds)
        for segment in session.segments if session else ():
            opens, closes = int(segment.opens_at.timestamp()), int(segment.closes_at.timestamp())
            lower, upper = at + np.searchsorted(starts[at:end], (opens, closes))
            if timeframe >= DAY:
                groups[lower:upper] = int(session.opens_at.timestamp())  # type: ignore[union-attr]
            else:
                step = 60 * timeframe
                groups[lower:upper] = opens + (starts[lower:upper] - opens) // step * step
    return groups
