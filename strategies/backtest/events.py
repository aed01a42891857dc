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
BLOCKS_A_WORD: Final = 64 // BLOCK

_UNDER, _AT, _OVER, _UNKNOWN = range(4)  # a row against another at the last bar where both were known


def blocks_of(bars: int) -> int:
    return -(-bars // BLOCK)


def padded_blocks_of(bars: int) -> int:
    """Blocks, made up to whole sixteens: as many are compared at once."""
    return blocks_of(blocks_of(bars)) * BLOCK


@bare
def words_of(bars):
    """Words of bits, one a bar, in whole sixteens of blocks."""
    return -(-bars // (BLOCK * BLOCK)) * (BLOCK // BLOCKS_A_WORD)


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
def before_the_first(x, y, skip):
    """Where x lies against y before the first traded bar, in the history."""
    for at in range(skip - 1, -1, -1):
        if np.isfinite(x[at]) and np.isfinite(y[at]):
            return _OVER if x[at] > y[at] else (_UNDER if x[at] < y[at] else _AT)
    return _UNKNOWN


@bare
def crossings(x, y, skip, first_block, blocks, x_ranges, y_ranges, before, ups, downs):
    """Bars where x goes above y, and below it, as `crosses_above` and `crosses_below` have it: bits of int64[words].

    A piece of them, the blocks from `first_block` (a multiple of sixteen) to before `blocks`. `before`, and what is
    given back: where x lies against y before the piece, and at its end.
    """
    x_low, x_high, y_low, y_high = x_ranges[LOWEST], x_ranges[HIGHEST], y_ranges[LOWEST], y_ranges[HIGHEST]
    for base in range(first_block, blocks, BLOCK):
        for word in range(base // BLOCKS_A_WORD, base // BLOCKS_A_WORD + BLOCK // BLOCKS_A_WORD):
            ups[word] = downs[word] = 0
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
            rises = falls = 0
            if over >> place & 1:
                rises = (before <= _AT) * 1
                before = _OVER
            elif under >> place & 1:
                falls = (before in (_OVER, _AT)) * 1
                before = _UNDER
            else:
                first = skip + (base + place) * BLOCK
                both = compared(x, y, first, first)
                above, below = both & WHOLE, both >> BLOCK & WHOLE
                if above | below == WHOLE:
                    rises = above & ~(above << 1 | (before >= _OVER) * 1)
                    falls = below & ~(below << 1 | (before in (_UNDER, _UNKNOWN)) * 1)
                    before = _OVER if above >> (BLOCK - 1) else _UNDER
                else:  # values that are equal, or missing
                    known = above | below | both >> 2 * BLOCK
                    while known != 0:
                        bit = known & -known
                        known &= known - 1
                        if above & bit:
                            rises |= bit if before <= _AT else 0
                            before = _OVER
                        elif below & bit:
                            falls |= bit if before in (_OVER, _AT) else 0
                            before = _UNDER
                        else:
                            before = _AT
            word, shift = (base + place) // BLOCKS_A_WORD, (base + place) % BLOCKS_A_WORD * BLOCK
            ups[word] |= rises << shift
            downs[word] |= falls << shift
    return before


@bare
def bars_of(words, bars, out):
    """The bars of bits, int64[words], ascending; how many."""
    count = 0
    for word in range(words_of(bars)):
        bits = words[word]
        while bits != 0:
            out[count] = word * 64 + first_of(bits)
            count += 1
            bits &= bits - 1
    return count


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
def found_by(program, first, pool, ranges, skip, bars, out):
    """Bars on which a part holds that is no crossing, ascending; how many."""
    blocks = -(-bars // BLOCK)
    what, left, right = program[first, 0], program[first, 1], program[first, 2]
    if what == MARKED:
        return _marked(pool[left], skip, blocks, ranges[left], out)
    return _where(what, pool[left], pool[right], skip, blocks, ranges[left], ranges[right], out)


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
