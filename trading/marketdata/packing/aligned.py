"""Bars of several instruments side by side: packed blocks become float64[symbols, bars] on common starts.

A first pass finds which starts there are, a second one lays every bar in its place; a bar that an instrument does not
have is NaN. Blocks are given by place (row of the result) and day, so that each row is written once, left to right.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trading.indicators.rows import compiled as kernel
from trading.marketdata.marks import UNTRUSTED
from trading.marketdata.packing.blocks import (
    DAY,
    HEADER,
    IST_S,
    LAYOUT,
    BlockRow,
    Columns,
    Ints,
    get,
    laid_end_to_end,
    pack,
    unpack,
)  # fmt: skip

Floats = NDArray[np.float64]
_NEVER = np.iinfo(np.int64).max
_DOUBTED = int(UNTRUSTED)


def align(
    blocks: Sequence[BlockRow], places: Mapping[int, int], *, symbols: int, timeframe: int, since_s: int | None,
    until_s: int, with_untrusted: bool, newest: int | None = None,
) -> tuple[Ints, Floats]:  # fmt: skip
    """Starts, int64[bars] epoch seconds, and float64[5, symbols, bars]: open, high, low, close, volume.

    Bars with since_s <= start < until_s (epoch seconds); `places` gives the row of each series. `newest` keeps that
    many of the last starts. Daily bars of one day share a column, whatever minute they are labelled with.
    """
    if not blocks:
        return np.empty(0, np.int64), np.empty((5, symbols, 0))
    raw, table = laid_end_to_end(blocks)
    table[:, 0] = [places[one[0]] for one in blocks]
    order = np.lexsort((table[:, 1], table[:, 0]))
    offsets = np.concatenate(([0], np.cumsum(table[:, 5])))[:-1][order]
    table = table[order]
    origin = int(table[:, 1].min())
    table[:, 1] -= origin
    grain = DAY if timeframe >= DAY else 1
    lower = _minute(since_s, origin) if since_s is not None else 0
    upper = _minute(until_s, origin)
    span = int(table[:, 1].max()) + _longest_block(timeframe)
    first = np.full(span * DAY // grain, _NEVER, np.int64)
    if _find(raw, table, offsets, grain, lower, upper, first) < 0:
        raise ValueError("a block does not hold what it says")
    buckets = np.flatnonzero(first != _NEVER)
    if newest is not None:
        buckets = buckets[-newest:]
    starts = (first[buckets] + origin * DAY) * 60 - IST_S
    column = np.full(first.size, -1, np.int32)
    column[buckets] = np.arange(buckets.size, dtype=np.int32)
    out = np.empty((5, symbols, buckets.size))
    scratch = np.empty(int(table[:, 2].max()), np.int32)
    _lay(raw, table, offsets, grain, lower, upper, column, 0 if with_untrusted else _DOUBTED, scratch, out)
    return starts, out


def resample(starts: Ints, values: Floats, groups: Ints) -> tuple[Ints, Floats]:
    """Longer bars of shorter ones: first open, highest high, lowest low, last close, sum of volume; NaN: none of them.

    `groups`: int64[bars], the start of the longer bar of each, rising, -1 for bars that belong to none.
    """
    inside = groups >= 0
    fresh = inside & np.concatenate(([True], groups[1:] != groups[:-1]))
    column = np.where(inside, np.cumsum(fresh) - 1, -1).astype(np.int32)
    longer = groups[fresh]
    out = np.full((5, values.shape[1], longer.size), np.nan)
    _resample(np.ascontiguousarray(values), column, out)
    return longer, out


def _minute(instant_s: int, origin: int) -> int:
    """Minutes from midnight in India of the first day up to an instant, rounded up."""
    return -(-(instant_s + IST_S) // 60) - origin * DAY


def _longest_block(timeframe: int) -> int:
    return 366 if timeframe >= DAY else 31


@kernel
def _find(raw, table, offsets, grain, lower, upper, first):  # type: ignore[no-untyped-def]
    """Note the earliest start within each bucket that has a bar; -1 for bytes that are no block."""
    for block in range(table.shape[0]):
        at, count = offsets[block], table[block, 2]
        if raw[at] != LAYOUT:
            return -1
        width, begins = np.int64(raw[at + 1]), table[block, 1] * DAY
        minute, step = get(raw, at + 8, 4), get(raw, at + 12, 4)
        for bar in range(count):
            here = begins + (get(raw, at + HEADER + bar * width, width) if width else minute + bar * step)
            if lower <= here < upper and here < first[here // grain]:
                first[here // grain] = here
    return 0


@kernel
def _blank(out, place, first, end):  # type: ignore[no-untyped-def]
    for part in range(5):
        for bar in range(first, end):
            out[part, place, bar] = np.nan


@kernel
def _lay(raw, table, offsets, grain, lower, upper, column, doubted, scratch, out):  # type: ignore[no-untyped-def]
    bars, ready, place = out.shape[2], 0, np.int64(0)
    for block in range(table.shape[0]):
        while place < table[block, 0]:
            _blank(out, place, ready, bars)
            place, ready = place + 1, 0
        at, count, base, unit = offsets[block], table[block, 2], table[block, 3], table[block, 4]
        width, w_price, w_volume = np.int64(raw[at + 1]), np.int64(raw[at + 2]), np.int64(raw[at + 3])
        own_source, marked = raw[at + 4] == 0, raw[at + 5] != 0
        begins, minute, step = table[block, 1] * DAY, get(raw, at + 8, 4), get(raw, at + 12, 4)
        at += HEADER
        opening: Any = np.int32(-1)
        last: Any = np.int32(-1)
        whole: Any = True
        for bar in range(count):
            here = begins + (get(raw, at + bar * width, width) if width else minute + bar * step)
            to: Any = column[here // grain] if lower <= here < upper else np.int32(-1)
            scratch[bar] = to
            whole = whole and to >= 0 and (bar == 0 or to == last + 1)
            if to >= 0:
                opening, last = to if opening < 0 else opening, to
        if opening < 0:
            continue
        at += count * width
        _blank(out, place, ready, opening if whole else last + 1)
        ready = last + 1
        for part in range(4):
            if whole and w_price == 2:
                for bar in range(count):
                    value = np.int64(raw[at + 2 * bar]) | (np.int64(raw[at + 2 * bar + 1]) << 8)
                    out[part, place, opening + bar] = (base + unit * value) / 10_000.0
            else:
                for bar in range(count):
                    if scratch[bar] >= 0:
                        value = base + unit * get(raw, at + bar * w_price, w_price)
                        out[part, place, scratch[bar]] = value / 10_000.0
            at += count * w_price
        for bar in range(count):
            if scratch[bar] >= 0:
                out[4, place, scratch[bar]] = get(raw, at + bar * w_volume, w_volume)
        at += count * w_volume + (count if own_source else 0)
        if marked and doubted:
            for bar in range(count):
                if scratch[bar] >= 0 and raw[at + bar] & doubted:
                    _blank(out, place, scratch[bar], scratch[bar] + 1)
    while place < out.shape[1]:
        _blank(out, place, ready, bars)
        place, ready = place + 1, 0


@kernel
def _resample(values, column, out):  # type: ignore[no-untyped-def]
    for symbol in range(values.shape[1]):
        for bar in range(values.shape[2]):
            to, close = column[bar], values[3, symbol, bar]
            if to < 0 or np.isnan(close):
                continue
            if np.isnan(out[3, symbol, to]):
                for part in range(5):
                    out[part, symbol, to] = values[part, symbol, bar]
            else:
                out[1, symbol, to] = max(out[1, symbol, to], values[1, symbol, bar])
                out[2, symbol, to] = min(out[2, symbol, to], values[2, symbol, bar])
                out[3, symbol, to] = close
                out[4, symbol, to] += values[4, symbol, bar]


def warm_blocks() -> int:
    """Compile what packs, unpacks and lays out bars, in the types it is used with; the number of kernels."""
    rows = np.arange(1, 8, dtype=np.int64)
    mixed = np.array([1, 2] * 3 + [1], np.uint8)
    for source in (np.full(7, 2, np.uint8), mixed):
        bars = Columns.of([rows // rows, rows * 60 - IST_S, *[rows + 9] * 5], source, mixed - 1)
        blocks = [(one.series, one.first_day, one.bars, one.base, one.unit, one.packed) for one in pack(bars, 1)]
        unpack(blocks)
        starts, values = align(
            blocks, {1: 0}, symbols=1, timeframe=1, since_s=None, until_s=DAY * 60, with_untrusted=False
        )
        resample(starts, values, starts // 300 * 300)
    return 6
