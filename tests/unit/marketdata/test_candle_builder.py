"""Bars made of ticks, and what is said of them when not all ticks were seen."""

import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.marketdata.builder import Bar, BarFlag, CandleBuilder, resample
from trading.venue.sessions import session_on

DAY = date(2026, 2, 16)
OPEN = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)
calendar_session = partial(session_on, assume_weekdays=True)


def builder(minutes: int = 1, **options) -> CandleBuilder:
    return CandleBuilder(minutes, calendar_session, **options)


def listening(minutes: int = 1) -> CandleBuilder:
    return builder(minutes, listening_from=OPEN - timedelta(minutes=20))


def at(minute: int, second: float = 0) -> datetime:
    return OPEN + timedelta(minutes=minute, seconds=second)


def feed(made: CandleBuilder, *ticks, symbol: str = "NSE:SBIN-EQ") -> list[Bar]:
    closed: list[Bar] = []
    for price, volume, when in ticks:
        closed += made.tick(symbol, Decimal(price), volume, when)
    return closed


def test_a_tick_of_a_later_bar_closes_the_bar():
    (bar,) = feed(
        listening(), ("100", 10, at(0, 1)), ("102.5", 30, at(0, 20)), ("99", 35, at(0, 40)), ("101", 40, at(1, 0))
    )
    assert (bar.started_at, bar.open, bar.high, bar.low, bar.close) == (
        OPEN, Decimal(100), Decimal("102.5"), Decimal(99), Decimal(99),
    )  # fmt: skip
    assert (bar.volume, bar.ticks, bar.is_whole) == (35, 3, True)


def test_time_closes_a_bar_only_after_its_grace():
    made = listening()
    feed(made, ("100", 10, at(0, 1)))
    assert made.advance(at(1, 1.9)) == []
    (bar,) = made.advance(at(1, 2))
    assert bar.close == 100
    assert made.advance(at(5)) == []


def test_a_late_tick_within_the_grace_still_counts_and_does_not_move_the_close_backwards():
    made = listening()
    feed(made, ("100", 10, at(0, 50)), ("104", 15, at(0, 30)))
    (bar,) = made.advance(at(1, 3))
    assert (bar.high, bar.close, bar.volume) == (104, 100, 15)


def test_a_tick_later_than_that_is_counted_and_its_volume_is_not_lost():
    made = listening()
    feed(made, ("100", 10, at(0, 50)), ("101", 20, at(1, 1)), ("500", 18, at(0, 55)), ("102", 25, at(1, 30)))
    (bar,) = made.advance(at(2, 3))
    assert made.counts.late == 1
    assert (bar.high, bar.volume) == (102, 15)


def test_the_pre_open_is_no_part_of_the_first_bar_when_it_was_seen():
    made = listening()
    feed(made, ("100", 5_000, OPEN - timedelta(minutes=7)), ("101", 5_200, at(0, 3)))
    (bar,) = made.advance(at(1, 5))
    assert (bar.volume, bar.flags) == (200, BarFlag.NONE)
    assert made.counts.out_of_session == 1


def test_the_first_bar_says_that_its_volume_may_hold_the_pre_open():
    made = listening()
    feed(made, ("101", 5_200, at(0, 3)))
    (bar,) = made.advance(at(1, 5))
    assert (bar.volume, bar.flags, bar.is_whole) == (5_200, BarFlag.FIRST_OF_DAY, True)


def test_a_bar_joined_in_the_middle_is_partial_and_takes_no_volume_it_did_not_see():
    made = builder()
    closed = feed(made, ("100", 90_000, at(7, 30)), ("101", 90_400, at(7, 40)), ("102", 90_500, at(8, 1)))
    assert [(bar.volume, bar.flags, bar.is_whole) for bar in closed] == [(400, BarFlag.PARTIAL, False)]
    (following,) = made.advance(at(9, 3))
    assert (following.volume, following.is_whole) == (100, True)


def test_joining_in_the_first_minute_is_partial_too():
    made = builder()
    feed(made, ("100", 700, at(0, 30)))
    (bar,) = made.advance(at(1, 3))
    assert bar.flags == BarFlag.PARTIAL


def test_the_volume_of_a_silence_goes_to_the_bar_that_runs_and_is_flagged():
    made = listening()
    feed(made, ("100", 100, at(0, 1)))
    made.reconnected()
    closed = feed(made, ("103", 900, at(3, 10)), ("103.5", 950, at(3, 20)))
    closed += made.advance(at(4, 3))
    before, after = closed
    assert before.flags & BarFlag.GAP and not before.is_whole
    assert after.flags == BarFlag.GAP | BarFlag.CATCH_UP
    assert after.volume == 850
    feed(made, ("104", 1_000, at(4, 30)))
    assert made.running("NSE:SBIN-EQ").flags == BarFlag.NONE


def test_a_falling_day_volume_is_counted_and_takes_nothing_back():
    made = listening()
    feed(made, ("100", 100, at(0, 1)), ("100", 60, at(0, 2)), ("100", 130, at(0, 3)))
    assert made.running("NSE:SBIN-EQ").volume == 130
    assert made.counts.volume_backwards == 1


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_an_impossible_price_makes_no_bar(price):
    made = listening()
    feed(made, (price, 10, at(0, 1)))
    assert made.running("NSE:SBIN-EQ") is None
    assert made.counts.bad_price == 1


def test_a_new_day_starts_its_volume_anew():
    made = listening()
    feed(made, ("100", 9_000, at(374, 30)))
    (last,) = feed(made, ("100", 40, at(1440, 5)))
    assert last.started_at == at(374)
    assert made.running("NSE:SBIN-EQ").volume == 40


def test_a_tick_after_the_close_closes_the_last_bar_and_joins_none():
    made = listening()
    feed(made, ("100", 9_000, at(374, 30)))
    (last,) = feed(made, ("100", 9_500, at(390)))
    assert last.volume == 9_000
    assert made.running("NSE:SBIN-EQ") is None


def test_bars_of_an_hour_end_with_the_session():
    made = listening(60)
    feed(made, ("100", 10, at(361)))
    (bar,) = made.advance(at(375, 2))
    assert bar.started_at == at(360)


ticks_of_a_day = st.lists(
    st.tuples(st.integers(0, 375 * 60 - 1), st.integers(1, 200_000), st.integers(0, 5_000)), min_size=1, max_size=300
)


@settings(max_examples=60, deadline=None)
@given(ticks=ticks_of_a_day, minutes=st.sampled_from([1, 3, 5, 60]))
def test_bars_equal_the_exchanges_own_when_every_tick_is_seen(ticks, minutes):
    made, total, told = listening(minutes), 0, []
    expected: dict[datetime, list] = {}
    for second, paise, traded in sorted(ticks, key=lambda tick: tick[0]):
        total += traded
        price, when = Decimal(paise) / 100, at(0, second)
        told += made.tick("NSE:SBIN-EQ", price, total, when)
        if total == 0:  # yesterday's price, told before the day's first trade
            continue
        expected.setdefault(at(second // 60 // minutes * minutes), []).append((price, traded))
    told += made.advance(at(376))
    assert [bar.started_at for bar in told] == sorted(expected)
    for bar in told:
        prices = [price for price, _ in expected[bar.started_at]]
        assert (bar.open, bar.high, bar.low, bar.close) == (prices[0], max(prices), min(prices), prices[-1])
        assert bar.volume == sum(traded for _, traded in expected[bar.started_at])
        assert bar.ticks == len(prices)


@settings(max_examples=40, deadline=None)
@given(ticks=ticks_of_a_day, minutes=st.sampled_from([3, 5, 15, 60]))
def test_minutes_resampled_are_the_longer_bars(ticks, minutes):
    short, long, total = listening(1), listening(minutes), 0
    told: dict[int, list[Bar]] = {1: [], minutes: []}
    for second, paise, traded in sorted(ticks, key=lambda tick: tick[0]):
        total += traded
        for made in (short, long):
            told[made.timeframe_minutes] += made.tick("NSE:SBIN-EQ", Decimal(paise) / 100, total, at(0, second))
    for made in (short, long):
        told[made.timeframe_minutes] += made.advance(at(376))
    assert resample(told[1], minutes, calendar_session) == told[minutes]


def test_fifty_two_symbols_at_four_ticks_a_second_take_less_than_two_percent_of_a_core():
    made, symbols = listening(), [f"NSE:S{number}-EQ" for number in range(52)]
    ticks = [(symbol, Decimal("100.05"), q, at(0, q / 4)) for q in range(60 * 4) for symbol in symbols]
    started = time.process_time()
    for tick in ticks:
        made.tick(*tick)
    made.advance(at(1, 2))
    assert (time.process_time() - started) / 60 < 0.02


def test_yesterdays_price_told_before_the_first_trade_is_no_part_of_the_first_bar():
    made = listening()
    closed = feed(made, ("120", 0, at(0, 0)), ("100", 50, at(0, 2)), ("101", 80, at(0, 30)), ("101", 90, at(1, 0)))
    (bar,) = closed
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (100, 101, 100, 101, 80)
    assert bar.flags == BarFlag.FIRST_OF_DAY and made.counts.untraded == 1


def test_minutes_before_the_first_trade_have_no_bar_and_the_first_trade_is_known_to_be_whole():
    made = builder()  # joins in the middle of the day
    assert feed(made, ("120", 0, at(30)), ("120", 0, at(31, 5)), ("120", 0, at(32, 5))) == []
    assert made.advance(at(33)) == [] and made.running("NSE:SBIN-EQ") is None
    feed(made, ("100", 50, at(33, 10)))
    (bar,) = made.advance(at(35))
    assert (bar.started_at, bar.open, bar.volume, bar.is_whole) == (at(33), 100, 50, True)


def test_an_index_without_volume_keeps_its_first_price():
    index = "NSE:NIFTY50-INDEX"
    closed = feed(listening(), ("120", 0, at(0, 0)), ("121", 0, at(0, 30)), ("122", 0, at(1, 0)), symbol=index)
    (bar,) = closed
    assert (bar.open, bar.high, bar.low, bar.close) == (120, 121, 120, 121)
