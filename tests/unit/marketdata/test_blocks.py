"""What is packed comes out as it went in."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.marketdata.marks import UNTRUSTED, Mark
from trading.marketdata.packing.blocks import Columns, date_of, pack, unpack
from trading.venue.sessions import session_on

FIELDS = ("series", "starts", "open", "high", "low", "close", "volume", "source", "mark")


def columns(rows: list[tuple[int, ...]]) -> Columns:
    table = np.array(rows, np.int64).reshape(-1, 9).T.copy()
    return Columns(*table[:7], table[7].astype(np.uint8), table[8].astype(np.uint8))


def blocks_of(packed):
    return [(one.series, one.first_day, one.bars, one.base, one.unit, one.packed) for one in packed]


def same(left: Columns, right: Columns) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in FIELDS)


prices = st.integers(1, 10**14) | st.integers(1, 40_000).map(lambda ticks: ticks * 500)
volumes = st.integers(0, 255) | st.integers(0, 10**15)


@st.composite
def bars(draw) -> Columns:
    timeframe_start = 1_771_213_500  # 09:15 on Monday, 16 February 2026
    keys = draw(st.sets(st.tuples(st.integers(1, 3), st.integers(0, 3000)), min_size=1, max_size=60))
    rows = []
    for series, minute in sorted(keys):
        four = sorted(draw(st.tuples(prices, prices, prices, prices)))
        source, mark = draw(st.integers(1, 3)), draw(st.sampled_from([0, 0, 0, 1, 64, 255]))
        start = timeframe_start + 60 * minute
        rows.append((series, start, four[1], four[3], four[0], four[2], draw(volumes), source, mark))
    return columns(rows)


@given(bars(), st.sampled_from([1, 5, 1440]))
def test_what_is_packed_comes_out_as_it_went_in(given_bars, timeframe):
    packed = pack(given_bars, timeframe)
    assert same(unpack(blocks_of(packed)), given_bars)
    assert sum(one.bars for one in packed) == len(given_bars)
    assert sum(one.streamed for one in packed) == np.count_nonzero(given_bars.source == 1)
    assert sum(one.untrusted for one in packed) == np.count_nonzero(given_bars.mark & int(UNTRUSTED))


def a_day(day: date, source: int = 2, mark: int = 0) -> Columns:
    starts = [int(start.timestamp()) for start in session_on(day).bar_starts(1)]
    return columns([(1, at, 100_000, 101_000, 99_500, 100_500, 900, source, mark) for at in starts])


def test_an_ordinary_day_of_minutes_takes_less_than_a_page():
    rng = np.random.default_rng(3)
    day = a_day(date(2026, 2, 16))
    walk = 8_000_000 + 500 * np.cumsum(rng.integers(-20, 21, len(day)))
    day.open[:], day.close[:], day.high[:], day.low[:] = walk, walk, walk + 1_000, walk - 1_500
    day.volume[:] = rng.integers(1, 3_000_000, len(day))
    (block,) = pack(day, 1)
    assert block.unit == 500 and len(block.packed) < 13 * block.bars < 8_000


@pytest.mark.parametrize(
    ("timeframe", "first"), [(1, date(2026, 2, 16)), (15, date(2026, 2, 1)), (1440, date(2026, 1, 1))]
)
def test_a_block_holds_a_day_a_month_or_a_year(timeframe, first):
    start = int(datetime(2026, 2, 16, 3, 45, tzinfo=UTC).timestamp())
    (block,) = pack(columns([(1, start, 1, 1, 1, 1, 0, 1, Mark.NOISE)]), timeframe)
    assert date_of(block.first_day) == first


def test_the_day_of_a_bar_is_the_day_in_india():
    late = datetime(2026, 2, 15, 18, 30, tzinfo=UTC)  # midnight in India
    rows = [(1, int((late + timedelta(minutes=m)).timestamp()), 1, 1, 1, 1, 0, 1, 0) for m in (-1, 0)]
    assert [date_of(one.first_day) for one in pack(columns(rows), 1)] == [date(2026, 2, 15), date(2026, 2, 16)]


def test_bytes_that_are_no_block_are_refused():
    (block,) = pack(a_day(date(2026, 2, 16)), 1)
    row = list(blocks_of([block])[0])
    for wrong in (b"\x07" + bytes(row[5])[1:], bytes(row[5])[:-1] + b"", bytes(row[5]) + b"\x00"):
        with pytest.raises(ValueError, match="does not hold"):
            unpack([(*row[:5], wrong)])
