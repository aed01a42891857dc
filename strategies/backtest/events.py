"""The bars on which a rule holds, without looking at every bar.

Rows of indicators are shared by all combinations, and so is what is known of every block of sixteen of their bars: the
lowest and the highest value. Two rows whose ranges do not overlap do not cross in a block, and sixteen blocks are asked
that at once. Where they do overlap, sixteen bars are compared at once.

Rows are float64[skip + blocks × 16], NaN behind the last bar; `skip` bars of history come before the first traded one,
from which bars are counted. Ranges are float64[SIDES, whole sixteens of blocks].
"""

from __future__ import annotations

from typing import Final

import numpy as np

from strategies.backtest.abreast import BLOCK, WHOLE, bounds, compared, first_of, soon
from trading.venue.matching import bare, kernel

# What is asked of a bar. A program is int64[parts, 3]: what, and one or two rows of the pool.
ABOVE, BELOW, LESS, AT_MOST, MORE, AT_LEAST, EQUAL, UNEQUAL, MARKED = range(9)
LOWEST, HIGHEST = range(2)
SIDES: Final = 2

_UNDER, _AT, _OVER, _UNKNOWN = range(4)  # a row against another at the last bar where both were known


def blocks_of(bars: int) -> int:
    return -(-bars // BLOCK)


def padded_blocks_of(bars: int) -> int:
    """Blocks, made up to whole sixteens: as many are compared at once."""
    return blocks_of(blocks_of(bars)) * BLOCK


@kernel
def block_ranges(row, skip, bars, ranges):
    """Lowest and highest value of every block of a row's traded bars; one with a missing value reaches everywhere."""
    whole = bars // BLOCK
    for block in range(whole):
        ranges[LOWEST, block], ranges[HIGHEST, block] = bounds(row, skip + block * BLOCK)
    ranges[LOWEST, whole:], ranges[HIGHEST, whole:] = -np.inf, np.inf
    if bars > whole * BLOCK:
        rest = row[skip + whole * BLOCK : skip + bars]
        if np.isfinite(rest).all():
            ranges[LOWEST, whole], ranges[HIGHEST, whole] = rest.min(), rest.max()


@bare
def crossings(x, y, skip, blocks, x_ranges, y_ranges, ups, downs):
    """Bars where x goes above y, and below it, as `crosses_above` and `crosses_below` have it; how many of each."""
    up = down = 0
    before = _UNKNOWN
    for at in range(skip - 1, -1, -1):
        if np.isfinite(x[at]) and np.isfinite(y[at]):
            before = _OVER if x[at] > y[at] else (_UNDER if x[at] < y[at] else _AT)
            break
    x_low, x_high, y_low, y_high = x_ranges[LOWEST], x_ranges[HIGHEST], y_ranges[LOWEST], y_ranges[HIGHEST]
    for base in range(0, blocks, BLOCK):
        over = compared(x_low, y_high, base, base) & WHOLE
        under = compared(x_high, y_low, base, base) >> BLOCK & WHOLE
        if (over == WHOLE and before == _OVER) or (under == WHOLE and before == _UNDER):
            continue
        # Blocks that overlap, and those that lie on another side than the block before: the others change nothing.
        asked = WHOLE & ~(over & (over << 1 | (before == _OVER) * 1) | under & (under << 1 | (before == _UNDER) * 1))
        if blocks - base < BLOCK:
            asked &= (1 << (blocks - base)) - 1
        coming = asked & ~over & ~under
        while coming != 0:
            first = skip + (base + first_of(coming)) * BLOCK
            soon(x, first)
            soon(y, first)
            coming &= coming - 1
        while asked != 0:
            place = first_of(asked)
            asked &= asked - 1
            first = (base + place) * BLOCK
            if over >> place & 1:
                if before <= _AT:
                    ups[up] = first
                    up += 1
                before = _OVER
            elif under >> place & 1:
                if before in (_OVER, _AT):
                    downs[down] = first
                    down += 1
                before = _UNDER
            else:
                both = compared(x, y, skip + first, skip + first)
                above, below = both & WHOLE, both >> BLOCK & WHOLE
                if above | below == WHOLE:
                    rises = above & ~(above << 1 | (before >= _OVER) * 1)
                    falls = below & ~(below << 1 | (before in (_UNDER, _UNKNOWN)) * 1)
                    while rises != 0:
                        ups[up] = first + first_of(rises)
                        up += 1
                        rises &= rises - 1
                    while falls != 0:
                        downs[down] = first + first_of(falls)
                        down += 1
                        falls &= falls - 1
                    before = _OVER if above >> (BLOCK - 1) else _UNDER
                else:  # values that are equal, or missing
                    known = above | below | both >> 2 * BLOCK
                    while known != 0:
                        bit = first_of(known)
                        known &= known - 1
                        if above >> bit & 1:
                            if before <= _AT:
                                ups[up] = first + bit
                                up += 1
                            before = _OVER
                        elif below >> bit & 1:
                            if before in (_OVER, _AT):
                                downs[down] = first + bit
                                down += 1
                            before = _UNDER
                        else:
                            before = _AT
    return up, down


@bare
def _bits_of(what, both):
    """The bars of a comparison of sixteen on which it is known to be true."""
    above, below, equal = both & WHOLE, both >> BLOCK & WHOLE, both >> 2 * BLOCK
    if what == LESS:
        return below
    if what == AT_MOST:
        return below | equal
    if what == MORE:
        return above
    if what == AT_LEAST:
        return above | equal
    if what == EQUAL:
        return equal
    return above | below


@bare
def _where(what, x, y, skip, blocks, x_ranges, y_ranges, out):
    """Bars on which a comparison is known to be true, ascending; how many."""
    count = 0
    for block in range(blocks):
        less = x_ranges[HIGHEST, block] < y_ranges[LOWEST, block]
        more = x_ranges[LOWEST, block] > y_ranges[HIGHEST, block]
        if (less and (what in (MORE, AT_LEAST, EQUAL))) or (more and (what in (LESS, AT_MOST, EQUAL))):
            continue
        first = block * BLOCK
        bits = _bits_of(what, compared(x, y, skip + first, skip + first))
        while bits != 0:
            out[count] = first + first_of(bits)
            count += 1
            bits &= bits - 1
    return count


@bare
def _marked(x, skip, blocks, x_ranges, out):
    """Bars that a condition reckoned elsewhere has marked with 1."""
    count = 0
    for block in range(blocks):
        if x_ranges[HIGHEST, block] > 0.0:
            for bar in range(block * BLOCK, block * BLOCK + BLOCK):
                out[count] = bar
                count += 1 if x[skip + bar] > 0.0 else 0
    return count


@bare
def _holds(what, a, b):
    if what == LESS:
        return a < b
    if what == AT_MOST:
        return a <= b
    if what == MORE:
        return a > b
    if what == AT_LEAST:
        return a >= b
    if what == EQUAL:
        return a == b
    if what == UNEQUAL:
        return a < b or a > b
    return a > 0.0


@bare
def find(program, first, after, pool, ranges, skip, bars, crossed, events, spare):
    """Bars on which every part of a program holds, into `events`; how many.

    The first part finds bars, the others are asked at those alone. `crossed` remembers which two rows `events` and
    `spare` were crossed for: a rule to enter and a rule to leave are mostly the two directions of one crossing.
    """
    blocks = -(-bars // BLOCK)
    what, left, right = program[first, 0], program[first, 1], program[first, 2]
    if what in (ABOVE, BELOW):
        ups, downs = crossings(
            pool[left], pool[right], skip, blocks, ranges[left], ranges[right],
            events if what == ABOVE else spare, spare if what == ABOVE else events,
        )  # fmt: skip
        count = ups if what == ABOVE else downs
        crossed[0], crossed[1], crossed[2], crossed[3] = left, right, what, downs if what == ABOVE else ups
    elif what == MARKED:
        count = _marked(pool[left], skip, blocks, ranges[left], events)
    else:
        count = _where(what, pool[left], pool[right], skip, blocks, ranges[left], ranges[right], events)
    return kept(program, first + 1, after, pool, skip, events, count)


@bare
def kept(program, first, after, pool, skip, events, count):
    """Those of the bars at which the parts from `first` to `after` hold as well."""
    for part in range(first, after):
        what, x, y = program[part, 0], pool[program[part, 1]], pool[program[part, 2]]
        left = 0
        for at in range(count):
            bar = events[at]
            events[left] = bar
            left += 1 if _holds(what, x[skip + bar], y[skip + bar]) else 0
        count = left
    return count
