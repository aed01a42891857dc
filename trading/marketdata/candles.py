"""Candles: what is stored, and how it is written and read.

A candle is written once. A bar made of our own ticks (STREAM) gives way to the exchange's own (HISTORY, IMPORT), and
so does one that only holds the place of a bar that cannot be (BROKEN); nothing else is ever overwritten, so that
storing the same bars again changes nothing. Writers of one series wait for each other at its row; the blocks below it
(`blocks.py`) are then theirs alone.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from django.db import connection, transaction

from trading.domain.errors import NotFound, TradingError
from trading.marketdata.builder import Bar, BarFlag
from trading.marketdata.files.archive import archived_at, archived_between, blocks_of
from trading.marketdata.marks import Mark, Source
from trading.marketdata.models import CandleBlock, CandleSeries, Feed, Instrument
from trading.marketdata.packing.block_rows import blocks_at, insert_blocks, update_blocks
from trading.marketdata.packing.blocks import (
    MONTHLY,
    Bytes,
    Columns,
    Ints,
    date_of,
    day_number,
    days_of,
    first_days_of,
    pack,
    unpack,
)
from trading.marketdata.quality.bars import LARGEST_VOLUME, makes_sense

logger = logging.getLogger(__name__)

STREAM, HISTORY, IMPORT = (source.name for source in Source)
_KEPT, _NEW, _CONFIRMED, _CORRECTED = range(4)  # what becomes of a bar
_NEVER = np.iinfo(np.int64).max
LARGEST_UNITS = 10**14  # of a price, in ten-thousandths of a rupee


class ImpossibleCandle(TradingError):
    """These cannot be the numbers of a candle; nothing of what was given is stored."""


def store_bars(feed: Feed, timeframe: int, bars: Iterable[Bar], source: str) -> int:
    """Store closed bars of known instruments; the number of bars written (new, or corrected by history).

    Left out: bars with impossible numbers or between two minutes, and bars of our own making that are not whole
    (`Bar.is_whole`): history fills those. Error: NotFound UNKNOWN_INSTRUMENT, and then nothing is stored.
    """
    wanted = [bar for bar in bars if source != STREAM or bar.is_whole]
    sound = [
        bar for bar in wanted
        if makes_sense(bar.open, bar.high, bar.low, bar.close, bar.volume)
        and not (bar.started_at.second or bar.started_at.microsecond)
    ]  # fmt: skip
    if len(sound) < len(wanted):
        logger.warning("%d impossible bars of %s were not stored", len(wanted) - len(sound), feed.name)
    if not sound:
        return 0
    ids = _ids_of({bar.symbol for bar in sound})
    return store_columns(feed, timeframe, _columns_of(sound, ids, Source[source]))


def store_columns(feed: Feed, timeframe: int, columns: Columns) -> int:
    """Store closed bars given as columns, `columns.series` being instrument ids; the number of bars written.

    Of two given bars of one start the first counts. Errors: ImpossibleCandle, and then nothing is stored.
    """
    if not len(columns):
        return 0
    _refuse_impossible(columns)
    columns = _in_order(columns)
    with transaction.atomic():
        return _merge(feed, timeframe, columns)


def columns_from(instrument_id: int, bars: Ints, source: Source) -> Columns:
    """Bars of one instrument given as int64[6, bars]: starts, open, high, low, close (ten-thousandths), volume."""
    count = bars.shape[1]
    numbers = [np.full(count, instrument_id, np.int64), *bars]
    return Columns.of(numbers, np.full(count, source, np.uint8), np.zeros(count, np.uint8))


def mark_bars(
    feed: Feed, instrument: Instrument, timeframe: int, marks: Mapping[datetime, Mark], *, clear: Mark = Mark.NONE
) -> int:
    """Add marks to stored bars by their start, after taking away those of `clear`; the number of bars changed.

    `clear` reaches only the bars named in `marks`: a start with Mark.NONE has its doubts taken away.
    """
    if not marks:
        return 0
    with transaction.atomic():
        series = CandleSeries.objects.select_for_update(no_key=True).filter(
            feed=feed, instrument=instrument, timeframe=timeframe
        ).first()  # fmt: skip
        if series is None:
            return 0
        starts = np.array(sorted(int(at.timestamp()) for at in marks), np.int64)
        given = {int(at.timestamp()): int(mark) for at, mark in marks.items()}
        days = np.unique(first_days_of(days_of(starts), timeframe))
        asked = [series.pk] * days.size, days.tolist()
        rows = blocks_at(*asked)
        rows += archived_at(*asked, timeframe, {row[:2] for row in rows})
        stored = _in_order(unpack(rows)) if rows else Columns.empty()
        if not len(stored):
            return 0
        places = np.searchsorted(stored.starts, starts)
        there = (places < len(stored)) & (stored.starts[np.minimum(places, len(stored) - 1)] == starts)
        before = stored.mark.copy()
        for place, start in zip(places[there].tolist(), starts[there].tolist(), strict=True):
            stored.mark[place] = (int(before[place]) & ~int(clear)) | given[start]
        changed = int(np.count_nonzero(before != stored.mark))
        if changed:
            blocks, known = pack(stored, timeframe), {row[:2] for row in blocks_at(*asked)}
            update_blocks([one for one in blocks if (one.series, one.first_day) in known])
            insert_blocks([one for one in blocks if (one.series, one.first_day) not in known])
            CandleSeries.objects.filter(pk=series.pk).update(revision=series.revision + 1)
        return changed


def forget_candles(feed: Feed) -> None:
    """Delete all candles of a feed whose time is over."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM marketdata_candleblock b USING marketdata_candleseries s"
            " WHERE s.id = b.series_id AND s.feed_id = %s",
            [feed.pk],
        )
        cursor.execute("DELETE FROM marketdata_candleseries WHERE feed_id = %s", [feed.pk])


# -- reading ---------------------------------------------------------------------------------------------------------


def candles_of(feed: Feed, instrument: Instrument, timeframe: int, *, start: datetime, end: datetime) -> list[Bar]:
    """Stored candles with start <= started_at < end, in order, as exact prices (for charts and journals).

    Untrusted ones too: `Bar.mark` says so.
    """
    return _bars(instrument.symbol, columns_of(feed, [instrument], timeframe, start=start, end=end))


def bars_of_block(block: CandleBlock) -> list[Bar]:
    """All candles of one block."""
    row = (block.series_id, day_number(block.first_day), block.bars, block.base, block.unit, bytes(block.packed))
    return _bars(block.series.instrument.symbol, unpack([row]))


def _bars(symbol: str, found: Columns) -> list[Bar]:
    table = (found.starts, found.open, found.high, found.low, found.close, found.volume, found.source, found.mark)
    return [
        Bar(
            symbol, datetime.fromtimestamp(at, UTC), _price(o), _price(h), _price(lo), _price(c), volume,
            source=Source(source).name, mark=Mark(mark),
        )
        for at, o, h, lo, c, volume, source, mark in zip(*(column.tolist() for column in table), strict=True)
    ]  # fmt: skip


def _price(units: int) -> Decimal:
    return Decimal(units).scaleb(-4)


def columns_of(
    feed: Feed, instruments: Sequence[Instrument] | Sequence[int], timeframe: int, *, start: datetime, end: datetime
) -> Columns:
    """Stored candles with start <= started_at < end; `series` holds instrument ids, sorted by id and start."""
    series = dict(
        CandleSeries.objects.filter(feed=feed, timeframe=timeframe, instrument__in=instruments).values_list(
            "pk", "instrument_id"
        )
    )
    if not series or start >= end:
        return Columns.empty()
    first, last = block_span(start, end, timeframe)
    rows = blocks_of(list(series), timeframe, first, last)
    found = unpack([(series[row[0]], *row[1:]) for row in rows])
    found = found.take((found.starts >= start.timestamp()) & (found.starts < end.timestamp()))
    return found if len(series) == 1 else _in_order(found)


def bars_by_day(
    feed: Feed, instruments: Sequence[Instrument], timeframe: int, *, first: date, last: date
) -> dict[tuple[int, date], int]:
    """How many candles of an exchange day are stored, by (instrument id, day); days without any are absent."""
    if timeframe >= MONTHLY:
        found = columns_of(
            feed, instruments, timeframe, start=_midnight(first), end=_midnight(last + timedelta(days=1))
        )
        if not len(found):
            return {}
        days = days_of(found.starts)  # in order, as the series are: the bars of a day lie side by side
        begins = np.flatnonzero((np.diff(found.series, prepend=-1) != 0) | (np.diff(days, prepend=-1) != 0))
        counts = np.diff(begins, append=len(found))
        each = zip(found.series[begins].tolist(), days[begins].tolist(), counts.tolist(), strict=True)
        return {(pk, date_of(day)): count for pk, day, count in each}
    rows = CandleBlock.objects.filter(
        series__feed=feed, series__timeframe=timeframe, series__instrument__in=instruments,
        first_day__range=(first, last),
    ).values_list("series__instrument_id", "first_day", "bars")  # fmt: skip
    series = dict(
        CandleSeries.objects.filter(feed=feed, timeframe=timeframe, instrument__in=instruments).values_list(
            "pk", "instrument_id"
        )
    )
    archived = archived_between(list(series), timeframe, first, last)
    elsewhere = {(series[row[0]], date_of(row[1])): row[2] for row in archived}
    return elsewhere | {(pk, day): bars for pk, day, bars in rows}


def block_span(start: datetime, end: datetime, timeframe: int) -> tuple[date, date]:
    """First days of the blocks that hold the first and the last instant of [start, end)."""
    ends = np.array([int(start.timestamp()), int(np.ceil(end.timestamp())) - 1], np.int64)
    first, last = first_days_of(days_of(ends), timeframe)
    return date_of(first), date_of(last)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=5, minutes=30)


# -- writing ---------------------------------------------------------------------------------------------------------


def _ids_of(symbols: set[str]) -> dict[str, int]:
    ids = dict(Instrument.objects.filter(symbol__in=symbols).values_list("symbol", "id"))
    if unknown := sorted(symbols - ids.keys()):
        raise NotFound("UNKNOWN_INSTRUMENT", f"no such instrument: {', '.join(unknown[:5])}", symbols=unknown)
    return ids


def _columns_of(bars: Sequence[Bar], ids: Mapping[str, int], source: Source) -> Columns:
    rows = np.array(
        [
            (
                ids[bar.symbol], int(bar.started_at.timestamp()), _units(bar.open), _units(bar.high), _units(bar.low),
                _units(bar.close), bar.volume, bar.mark | (Mark.CATCH_UP if bar.flags & BarFlag.CATCH_UP else 0),
            )
            for bar in bars
        ],
        np.int64,
    ).T  # fmt: skip
    return Columns.of(rows[:7], np.full(len(bars), source, np.uint8), rows[7].astype(np.uint8))


def _units(price: Decimal) -> int:
    return round(price * 10_000)


def _refuse_impossible(columns: Columns) -> None:
    o, h, lo, c = columns.open, columns.high, columns.low, columns.close
    sound = (
        (lo > 0) & (lo <= o) & (lo <= c) & (h >= o) & (h >= c) & (h <= LARGEST_UNITS) & (columns.volume >= 0)
        & (columns.volume <= LARGEST_VOLUME) & (columns.starts % 60 == 0)
        & (columns.source >= Source.STREAM) & (columns.source <= Source.IMPORT)
    )  # fmt: skip
    if not sound.all():
        row = int(np.flatnonzero(~sound)[0])
        raise ImpossibleCandle(
            "IMPOSSIBLE_CANDLE",
            f"{int(np.count_nonzero(~sound))} of {sound.size} candles cannot be, such as open {o[row] / 1e4}, high"
            f" {h[row] / 1e4}, low {lo[row] / 1e4}, close {c[row] / 1e4}, volume {columns.volume[row]}"
            f" at {datetime.fromtimestamp(int(columns.starts[row]), UTC).isoformat()}",
        )


def _in_order(columns: Columns) -> Columns:
    """By series and start, the first given of each."""
    step = np.diff(columns.series)
    if bool(np.all((step > 0) | ((step == 0) & (np.diff(columns.starts) > 0)))):
        return columns
    columns = columns.take(np.lexsort((columns.starts, columns.series)))
    again = (np.diff(columns.series) == 0) & (np.diff(columns.starts) == 0)
    return columns.take(np.concatenate(([True], ~again))) if again.any() else columns


def _merge(feed: Feed, timeframe: int, incoming: Columns) -> int:
    """Write what is new or better than what is stored. `incoming` is in order; a transaction is open."""
    instruments = np.unique(incoming.series)
    series = _held_series(feed, timeframe, instruments.tolist())
    numbers = np.array([series[pk][0] for pk in instruments.tolist()])
    incoming = replace(incoming, series=numbers[np.searchsorted(instruments, incoming.series)])
    incoming = _in_order(incoming)  # series are numbered in another order than instruments
    newest = dict(series.values())
    days = first_days_of(days_of(incoming.starts), timeframe)
    heads = np.flatnonzero(np.concatenate(([True], (np.diff(incoming.series) != 0) | (np.diff(days) != 0))))
    asked = incoming.series[heads].tolist(), days[heads].tolist()
    rows = blocks_at(*asked)
    known = {row[:2] for row in rows}
    stored = unpack(rows + archived_at(*asked, timeframe, known))  # what was archived comes back with what is new
    if len(stored):
        stored = _in_order(stored)
    whole, fate = _better(stored, incoming) if len(stored) else (incoming, np.full(len(incoming), _NEW, np.uint8))
    fresh = fate != _KEPT
    written = int(np.count_nonzero(fresh))
    if not written:
        return 0
    touched = {tuple(pair) for pair in np.unique(_keys(whole.take(fresh), timeframe), axis=1).T.tolist()}
    blocks = [one for one in pack(whole, timeframe) if (one.series, one.first_day) in touched]
    insert_blocks([one for one in blocks if (one.series, one.first_day) not in known])
    update_blocks([one for one in blocks if (one.series, one.first_day) in known])
    _remember(whole.take(fresh), fate[fresh], newest)
    return written


def _held_series(feed: Feed, timeframe: int, instruments: list[int]) -> dict[int, tuple[int, int | None]]:
    """Series row and newest start by instrument, made where absent, held until the transaction ends."""
    with connection.cursor() as cursor:
        given: dict[str, Any] = {"feed": feed.pk, "timeframe": timeframe, "ids": instruments}
        select = """
            SELECT instrument_id, id, extract(epoch FROM newest_at)::bigint FROM marketdata_candleseries
            WHERE feed_id = %(feed)s AND timeframe = %(timeframe)s AND instrument_id = ANY(%(ids)s)
            ORDER BY instrument_id FOR NO KEY UPDATE"""
        cursor.execute(select, given)
        found = cursor.fetchall()
        if len(found) < len(instruments):
            # In the order in which rows are held, so that two writers never wait for each other crosswise.
            cursor.execute(
                "INSERT INTO marketdata_candleseries (feed_id, timeframe, instrument_id, revision)"
                " SELECT %(feed)s, %(timeframe)s, id, 0 FROM unnest(%(ids)s::bigint[]) AS given(id) ORDER BY id"
                " ON CONFLICT DO NOTHING",
                given,
            )
            cursor.execute(select, given)
            found = cursor.fetchall()
    return {pk: (series, newest) for pk, series, newest in found}


def _keys(columns: Columns, timeframe: int) -> Ints:
    return np.stack((columns.series, first_days_of(days_of(columns.starts), timeframe)))


def _better(stored: Columns, incoming: Columns) -> tuple[Columns, Bytes]:
    """Both as one, in order, and what became of each bar."""
    both = Columns.joined([stored, incoming])
    ours = np.concatenate((np.ones(len(stored), bool), np.zeros(len(incoming), bool)))
    order = np.lexsort((~ours, both.starts, both.series))
    both, ours = both.take(order), ours[order]
    again = (np.diff(both.series) == 0) & (np.diff(both.starts) == 0)
    after = np.flatnonzero(again) + 1  # a given bar right after the stored one of its start
    broken = (both.mark & int(Mark.BROKEN)) != 0
    poor = (both.source[after - 1] == Source.STREAM) | (broken[after - 1] & ~broken[after])
    better = poor & (both.source[after] != Source.STREAM)
    differs = np.zeros(after.size, bool)
    for name in ("open", "high", "low", "close", "volume", "mark"):
        values = getattr(both, name)
        differs |= values[after] != values[after - 1]
    fate = np.where(ours, _KEPT, _NEW).astype(np.uint8)
    fate[after] = np.where(differs, _CORRECTED, _CONFIRMED)
    keep = np.ones(len(both), bool)
    keep[after[~better]] = False
    keep[after[better] - 1] = False
    return both.take(keep), fate[keep]


def _remember(written: Columns, fate: Bytes, newest: Mapping[int, int | None]) -> None:
    """Note the newest start of each series, and whether its past is another one now."""
    heads = np.flatnonzero(np.concatenate(([True], np.diff(written.series) != 0)))
    last = np.concatenate((heads[1:], [len(written)])) - 1
    ids = written.series[heads].tolist()
    before = np.repeat([_NEVER if newest[pk] is None else newest[pk] for pk in ids], np.diff([*heads, len(written)]))
    past = (fate == _CORRECTED) | ((fate == _NEW) & (written.starts < before) & (before != _NEVER))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketdata_candleseries s SET newest_at = greatest(s.newest_at, to_timestamp(g.newest)),"
            " revision = s.revision + g.past"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::int[]) AS g(id, newest, past) WHERE s.id = g.id",
            [ids, written.starts[last].tolist(), np.logical_or.reduceat(past, heads).astype(int).tolist()],
        )
