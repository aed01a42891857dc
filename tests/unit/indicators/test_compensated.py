"""The simple mean is summed by eight at once; here by one, in plain Python, as pandas does it."""

import numpy as np
import pytest

from trading.indicators.moving import sma


def plain(row: np.ndarray, n: int) -> np.ndarray:
    """Mean of the last n, Kahan's sum: what leaves before what enters; equal prices give the price."""
    out, total, gained, lost, flat = np.full(row.size, np.nan), 0.0, 0.0, 0.0, 0
    prices = row.tolist()
    for i, price in enumerate(prices):
        if i >= n:
            step = -prices[i - n] - lost
            more = total + step
            total, lost = more, more - total - step
        step = price - gained
        more = total + step
        total, gained = more, more - total - step
        flat = flat + 1 if i and price == prices[i - 1] else 1
        if i >= n - 1:
            out[i] = price if flat >= n else total / n
    return out


def walk(at: float, bars: int, by: float) -> np.ndarray:
    return at * np.exp(np.random.default_rng(int(at)).normal(size=bars).cumsum() * by)


SERIES = {
    "between two powers of two": walk(700.0, 2_600, 0.0002),
    "across powers of two, again and again": walk(256.0, 2_600, 0.004),
    "at a tick of five paise": np.round(walk(1_290.0, 2_600, 0.0005) * 20) / 20,
    "whole rupees that often stand still": np.round(walk(90.0, 2_600, 0.001)),
    "around nothing": walk(50.0, 2_600, 0.01) - 50.0,
    "from paise to lakhs": walk(3.0, 2_600, 0.2),
    "standing still": np.full(2_600, 151.35),
}


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 20, 200])
def test_eight_stretches_at_once_give_the_bits_of_one_sum(series, n):
    row = SERIES[series]
    np.testing.assert_array_equal(sma(np.ascontiguousarray(row[None, :]), n)[0], plain(row, n))


def test_bar_by_bar_gives_the_same_bits():
    rows = np.stack([SERIES["across powers of two, again and again"], SERIES["at a tick of five paise"]])[:, :700]
    live = sma.stream(2, 20)
    np.testing.assert_array_equal(np.stack([live.update(bar) for bar in rows.T.copy()], axis=1), sma(rows.copy(), 20))
