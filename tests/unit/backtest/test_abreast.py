"""Sixteen bars together say what sixteen bars say one by one."""

import numpy as np

from strategies.backtest.abreast import BLOCK, compared, extremes, first_of, touched
from trading.venue.matching import kernel


@kernel
def everything(x, y, low, high, at, to, first, after):
    return compared(x, y, at, to), touched(low, high, at, 7, 60), extremes(low, at, first, after), first_of(high[at])


def test_sixteen_bars_together_say_what_they_say_one_by_one():
    draw = np.random.default_rng(1)
    for _ in range(200):
        x, y = draw.integers(0, 3, (2, 40)).astype(float)
        x[draw.random(40) < 0.1] = np.nan
        low = draw.integers(-5, 100, 40)
        high = low + 3
        at, to = draw.integers(0, 40 - BLOCK, 2)
        first = int(draw.integers(0, BLOCK))
        after = int(draw.integers(first + 1, BLOCK + 1))
        both, hits, lowest_and_highest, place = everything(x, y, low, high, at, to, first, after)
        for bar in range(BLOCK):
            a, b = x[at + bar], y[to + bar]
            assert [both >> BLOCK * which + bar & 1 for which in range(3)] == [a > b, a < b, a == b]
            assert (hits >> bar & 1) == (low[at + bar] <= 7 or high[at + bar] >= 60)
        assert both >> 3 * BLOCK == 0 and hits >> BLOCK == 0
        held = low[at + first : at + after]
        assert lowest_and_highest == (held.min(), held.max())
        bits = int(high[at])
        assert place == (64 if bits == 0 else (bits & -bits).bit_length() - 1)
