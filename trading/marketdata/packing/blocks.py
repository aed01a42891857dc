"""How bars are packed: the bars of one series in one stretch of exchange days are one string of bytes.

A bar packed this way takes about twelve bytes; what a price needs is found out block by block. Layout 1, little-endian:

    0      layout, 1
    1      bytes of a start: 0 (bars follow each other in steps), 2 or 4
    2, 3   bytes of a price and of a volume: 1, 2, 4 or 8
    4      source of all bars, 0: each has its own
    5      1: bars carry marks
    8..12  first start, minutes from midnight in India of the block's first day
    12..16 step in minutes, where bars follow each other in steps
    16..   columns, each for all bars: starts, open, high, low, close, volume, sources, marks

A price is stored as (price - base) / unit, where prices are whole ten-thousandths of a rupee and `base` and `unit`
stand beside the block. All arithmetic is on whole numbers: what went in comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trading.indicators.rows import compiled as kernel

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

LAYOUT: Final = 1
HEADER: Final = 16
DAY: Final = 1440  # minutes; also the timeframe from which on a block holds a year
MONTHLY: Final = 5  # minutes, the timeframe from which on a block holds a month
IST_S: Final = 19_800  # India is this many seconds ahead of UTC
EPOCH: Final = date(1970, 1, 1)
UNITS_PER_RUPEE: Final = 10_000


@dataclass(slots=True)
class Columns:
    """Bars of any number of series, as columns of one length.

    `series`: whose bar it is (an instrument's or a series' number); `starts`: epoch seconds UTC, whole minutes; prices:
    ten-thousandths of a rupee; `volume`: units; `source`: Source; `mark`: Mark.
    """

    series: Ints
    starts: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    source: Bytes
    mark: Bytes

    def __len__(self) -> int:
        return int(self.starts.size)

    def take(self, rows: Any) -> "Columns":
        """These rows (numbers, or bool for each)."""
        return Columns(*(getattr(self, one.name)[rows] for one in fields(self)))

    @classmethod
    def of(cls, numbers: Sequence[Ints] | Ints, source: Bytes, mark: Bytes) -> "Columns":
        """From the seven columns of whole numbers, series to volume, in this order."""
        series, starts, o, h, lo, c, volume = (np.ascontiguousarray(column) for column in numbers)
        return cls(series, starts, o, h, lo, c, volume, source, mark)

    @classmethod
    def empty(cls) -> "Columns":
        return cls.of(np.empty((7, 0), np.int64), np.empty(0, np.uint8), np.empty(0, np.uint8))

    @classmethod
    def joined(cls, parts: "list[Columns]") -> "Columns":
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))


@dataclass(frozen=True, slots=True)
class Packed:
    """One block: `first_day` is the first exchange day it may hold bars of, counted from 1970-01-01."""

    series: int
    first_day: int
    bars: int
    streamed: int  # bars of our own making
    untrusted: int
    base: int
    unit: int
    packed: memoryview | bytes


BlockRow: TypeAlias = tuple[int, int, int, int, int, bytes | memoryview]
"""Series, first day, bars, base, unit, packed: what is needed to read a block."""


def days_of(starts: Ints) -> Ints:
    """Exchange days, counted from 1970-01-01 in India."""
    return (starts + IST_S) // 86_400


def first_days_of(days: Ints, timeframe: int) -> Ints:
    """First day of the block of each exchange day: the day itself, its month's, or its year's for daily bars.

    A live session rewrites its block with every bar, so that minutes lie by the day; longer bars are read far back.
    """
    if timeframe < MONTHLY:
        return days
    span = "datetime64[M]" if timeframe < DAY else "datetime64[Y]"
    return days.astype("datetime64[D]").astype(span).astype("datetime64[D]").astype(np.int64)


def day_number(day: date) -> int:
    return (day - EPOCH).days


def date_of(number: int) -> date:
    return EPOCH + timedelta(days=int(number))


def pack(columns: Columns, timeframe: int) -> list[Packed]:
    """Blocks of bars sorted by series and start, no bar twice."""
    if not len(columns):
        return []
    firsts = first_days_of(days_of(columns.starts), timeframe)
    edge = np.flatnonzero((np.diff(columns.series) != 0) | (np.diff(firsts) != 0)) + 1
    begins = np.concatenate(([0], edge, [len(columns)]))
    minutes = (columns.starts + IST_S) // 60 - firsts * DAY
    blocks = begins.size - 1
    plan = np.empty((blocks, 10), np.int64)
    prices = (columns.open, columns.high, columns.low, columns.close)
    size = _plan(begins, minutes, *prices, columns.volume, columns.source, columns.mark, timeframe, plan)
    raw = np.zeros(size, np.uint8)
    _pack(begins, minutes, *prices, columns.volume, columns.source, columns.mark, plan, raw)
    view = raw.data
    heads = begins[:-1]
    return [
        Packed(series, day, bars, streamed, untrusted, base, unit, view[at : at + length])
        for series, day, (bars, streamed, untrusted, base, unit, at, length, *_) in zip(
            columns.series[heads].tolist(), firsts[heads].tolist(), plan.tolist(), strict=True
        )
    ]


def unpack(blocks: Sequence[BlockRow]) -> Columns:
    """All bars of blocks, in the order given."""
    if not blocks:
        return Columns.empty()
    raw, table = laid_end_to_end(blocks)
    rows = int(table[:, 2].sum())
    out = np.empty((7, rows), np.int64)
    source, mark = np.empty(rows, np.uint8), np.empty(rows, np.uint8)
    if _unpack(raw, table, out, source, mark) != rows:
        raise ValueError("a block does not hold what it says")
    return Columns.of(out, source, mark)


def laid_end_to_end(blocks: Sequence[BlockRow]) -> tuple[Bytes, Ints]:
    """All packed bytes as one, and int64[blocks, 6]: series, first day, bars, base, unit, number of bytes."""
    raw = np.frombuffer(b"".join([one[5] for one in blocks]), np.uint8)
    return raw, np.array([(*one[:5], len(one[5])) for one in blocks], np.int64)


@kernel
def _gcd(left, right):  # type: ignore[no-untyped-def]
    while right:
        left, right = right, left % right
    return left


@kernel
def _width(value):  # type: ignore[no-untyped-def]
    """Bytes that hold a whole number from 0 to `value`."""
    if value < 256:
        return 1
    if value < 65_536:
        return 2
    return 4 if value < 4_294_967_296 else 8


@kernel
def _plan(begins, minutes, open_, high, low, close, volume, source, mark, timeframe, plan):  # type: ignore[no-untyped-def]
    """For each block: bars, streamed, untrusted, base, unit, place, length, width of start, of price, of volume."""
    at = 0
    for block in range(begins.size - 1):
        first, end = begins[block], begins[block + 1]
        base, highest, most = low[first], high[first], volume[first]
        regular, same, marked, streamed, untrusted = True, True, False, 0, 0
        for row in range(first, end):
            base, highest = min(base, low[row]), max(highest, high[row])
            most = max(most, volume[row])
            regular = regular and minutes[row] == minutes[first] + (row - first) * timeframe
            same = same and source[row] == source[first]
            marked = marked or mark[row] != 0
            streamed += source[row] == 1
            untrusted += (mark[row] & 15) != 0
        unit = np.int64(0)
        for row in range(first, end):
            for price in (open_[row], high[row], low[row], close[row]):
                if unit == 0 or (price - base) % unit:
                    unit = _gcd(price - base, unit)
        unit = max(unit, np.int64(1))
        count = end - first
        w_start = 0 if regular else (2 if minutes[end - 1] < 65_536 else 4)
        w_price, w_volume = _width((highest - base) // unit), _width(most)
        length = HEADER + count * (w_start + 4 * w_price + w_volume + (0 if same else 1) + (1 if marked else 0))
        plan[block, 0], plan[block, 1], plan[block, 2], plan[block, 3] = count, streamed, untrusted, base
        plan[block, 4], plan[block, 5], plan[block, 6], plan[block, 7] = unit, at, length, w_start
        plan[block, 8], plan[block, 9] = w_price, w_volume
        at += length
    return at


@kernel
def _put(raw, at, width, value):  # type: ignore[no-untyped-def]
    for place in range(width):
        raw[at + place] = np.uint8(value & 255)
        value >>= 8


@kernel
def get(raw, at, width):  # type: ignore[no-untyped-def]
    """The whole number of `width` bytes at a place."""
    if width == 2:
        return np.int64(raw[at]) | (np.int64(raw[at + 1]) << 8)
    if width == 1:
        return np.int64(raw[at])
    if width == 4:
        return (
            np.int64(raw[at])
            | (np.int64(raw[at + 1]) << 8)
            | (np.int64(raw[at + 2]) << 16)
            | (np.int64(raw[at + 3]) << 24)
        )
    value = np.int64(0)
    for place in range(width):
        value |= np.int64(raw[at + place]) << (8 * place)
    return value


@kernel
def _pack(begins, minutes, open_, high, low, close, volume, source, mark, plan, raw):  # type: ignore[no-untyped-def]
    for block in range(begins.size - 1):
        first, end = begins[block], begins[block + 1]
        count, base, unit, at = plan[block, 0], plan[block, 3], plan[block, 4], plan[block, 5]
        w_start, w_price, w_volume = plan[block, 7], plan[block, 8], plan[block, 9]
        rest = plan[block, 6] - HEADER - count * (w_start + 4 * w_price + w_volume)
        same = True
        for row in range(first, end):
            same = same and source[row] == source[first]
        marked = rest == 2 * count or (rest == count and same)
        raw[at], raw[at + 1], raw[at + 2], raw[at + 3] = LAYOUT, w_start, w_price, w_volume
        raw[at + 4] = source[first] if same else 0
        raw[at + 5] = 1 if marked else 0
        _put(raw, at + 8, 4, minutes[first])
        _put(raw, at + 12, 4, minutes[first + 1] - minutes[first] if count > 1 and w_start == 0 else 0)
        at += HEADER
        if w_start:
            for row in range(first, end):
                _put(raw, at, w_start, minutes[row])
                at += w_start
        for price in (open_, high, low, close):
            for row in range(first, end):
                _put(raw, at, w_price, (price[row] - base) // unit)
                at += w_price
        for row in range(first, end):
            _put(raw, at, w_volume, volume[row])
            at += w_volume
        if not same:
            for row in range(first, end):
                raw[at] = source[row]
                at += 1
        if marked:
            for row in range(first, end):
                raw[at] = mark[row]
                at += 1


@kernel
def _unpack(raw, table, out, source, mark):  # type: ignore[no-untyped-def]
    """Fill columns from blocks that lie one after another; the number of bars, or -1 for bytes that are no block."""
    at, row = 0, 0
    for block in range(table.shape[0]):
        series, day, count, base, unit = (
            table[block, 0],
            table[block, 1],
            table[block, 2],
            table[block, 3],
            table[block, 4],
        )
        end = at + table[block, 5]
        if raw[at] != LAYOUT:
            return -1
        w_start, w_price, w_volume = np.int64(raw[at + 1]), np.int64(raw[at + 2]), np.int64(raw[at + 3])
        whose, marked = raw[at + 4], raw[at + 5]
        first, step = get(raw, at + 8, 4), get(raw, at + 12, 4)
        starts = at + HEADER
        prices = starts + count * w_start
        volumes = prices + 4 * count * w_price
        sources = volumes + count * w_volume
        marks = sources + (count if whose == 0 else 0)
        if marks + (count if marked else 0) != end:
            return -1
        for bar in range(count):
            minute = get(raw, starts + bar * w_start, w_start) if w_start else first + bar * step
            out[0, row + bar] = series
            out[1, row + bar] = (day * DAY + minute) * 60 - IST_S
            source[row + bar] = raw[sources + bar] if whose == 0 else whose
            mark[row + bar] = raw[marks + bar] if marked else 0
        for part in range(4):
            for bar in range(count):
                out[2 + part, row + bar] = base + unit * get(raw, prices + (part * count + bar) * w_price, w_price)
        for bar in range(count):
            out[6, row + bar] = get(raw, volumes + bar * w_volume, w_volume)
        row += count
        at = end
    return row
