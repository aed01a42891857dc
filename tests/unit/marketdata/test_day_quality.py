"""Every class of defect is found where it was planted, and nowhere else."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from trading.marketdata.quality.days import Bars, OfficialDay, judge_days
from trading.marketdata.quality.defects import Defect, score_of
from trading.venue.sessions import SessionKind, session_on

MONDAY = date(2026, 2, 16)


def day_of(day: date = MONDAY, *, price: float = 800.0, volume: float = 1000.0, seed: int = 1) -> Bars:
    """A calm, whole day of minutes on the tick of five paise."""
    starts = np.array([int(at.timestamp()) for at in session_on(day).bar_starts(1)], np.int64)
    steps = np.random.default_rng(seed).integers(-2, 3, starts.size).cumsum() * 0.05
    close = np.round(price + steps, 2)
    open_ = np.concatenate(([price], close[:-1]))
    high, low = np.round(np.maximum(open_, close) + 0.05, 2), np.round(np.minimum(open_, close) - 0.05, 2)
    return Bars(starts, open_, high, low, close, np.full(starts.size, volume))


def without(bars: Bars, rows) -> Bars:
    keep = np.ones(bars.starts.size, bool)
    keep[rows] = False
    return Bars(*(getattr(bars, n)[keep] for n in ("starts", "open", "high", "low", "close", "volume")))


def with_bar(bars: Bars, start: int) -> Bars:
    at = int(np.searchsorted(bars.starts, start))
    columns = [np.insert(getattr(bars, n), at, getattr(bars, n)[0]) for n in ("open", "high", "low", "close", "volume")]
    return Bars(np.insert(bars.starts, at, start), *columns)


def judged(bars: Bars, **more):
    (found,) = judge_days(bars, 1, **more)
    return found


def official(bars: Bars, *, volume: float | None = None, scale: float = 1.0) -> OfficialDay:
    """What the exchange says of a day of these bars."""
    prices = (float(bars.high.max()), float(bars.low.min()), float(bars.close[-1]))
    return OfficialDay(*(price * scale for price in prices), float(bars.volume.sum()) if volume is None else volume)


def test_a_bar_beyond_the_exchange_s_own_day_is_disputed_and_it_alone():
    bars = day_of()
    told = official(bars, volume=float(bars.volume.sum()) * 1.02)
    bars.high[100] = told.high * 1.001
    found = judged(bars, official={MONDAY: told})
    assert found.doubts == {int(bars.starts[100]): {Defect.DISPUTED_BARS}} and found.untrusted == 1
    bars = day_of()
    bars.low[7] = told.low * 0.999
    assert judged(bars, official={MONDAY: told}).defects[Defect.DISPUTED_BARS] == 1
    assert Defect.DISPUTED_BARS not in judged(day_of(), official={MONDAY: told}).defects


def test_a_day_that_ends_elsewhere_or_holds_more_than_was_traded_is_disputed_as_a_whole():
    bars = day_of()
    told = official(bars)
    for other in (replace(told, close=told.close * 1.06), replace(told, volume=told.volume / 1.03)):
        found = judged(bars, official={MONDAY: other})
        assert found.untrusted == found.expected and found.score == 0
    small = replace(told, close=told.close * 1.02, volume=told.volume / 1.01)  # an auction, a rounding
    assert Defect.DISPUTED_BARS not in judged(bars, official={MONDAY: small}).defects
    assert Defect.DISPUTED_BARS not in judged(bars, official={MONDAY: replace(told, volume=1.0)}, is_index=True).defects


@pytest.mark.parametrize("scale", [0.5, 0.98, 2.0])
def test_the_same_day_adjusted_for_an_action_is_no_dispute(scale):
    bars = day_of()
    assert Defect.DISPUTED_BARS not in judged(bars, official={MONDAY: official(bars, scale=scale)}).defects


@pytest.mark.parametrize("nothing", [(0, 0, 0, 0), (float("nan"), 1, 1, 1), (1, 2, 0, 0)])
def test_an_exchange_s_day_without_numbers_disputes_nothing(nothing):
    assert Defect.DISPUTED_BARS not in judged(day_of(), official={MONDAY: OfficialDay(*nothing)}).defects


def test_a_calm_whole_day_is_worth_a_hundred():
    found = judged(day_of())
    assert (found.defects, found.score, found.present) == ({}, 100, found.expected)


def test_missing_minutes_are_counted_and_the_largest_hole_is_told():
    found = judged(without(day_of(), [10, 11, 12, 50]))
    assert found.defects == {Defect.MISSING_BARS: 4}
    assert (found.largest_gap, found.gap_from) == (3, "09:25")
    assert judged(without(day_of(), slice(0, 60))).defects[Defect.SHORT_DAY] == 1


@pytest.mark.parametrize(
    ("minutes_from_open", "defect"),
    [(-7, Defect.EARLY_BARS), (375, Defect.LATE_BARS), (-135, Defect.STRAY_SESSION), (500, Defect.STRAY_SESSION)],
)
def test_bars_outside_the_session_are_told_apart(minutes_from_open, defect):
    bars = day_of()
    found = judged(with_bar(bars, int(bars.starts[0]) + 60 * minutes_from_open))
    assert found.defects == {defect: 1}
    assert found.untrusted == 0  # they are not of the session


def test_a_day_when_the_exchange_was_closed_is_a_stray_session():
    bars = day_of()
    saturday = Bars(bars.starts - 2 * 86_400, *(getattr(bars, n) for n in ("open", "high", "low", "close", "volume")))
    assert judged(saturday).defects[Defect.STRAY_SESSION] == bars.starts.size


def test_a_pause_of_the_exchange_has_no_bars():
    day = date(2021, 2, 24)
    bars = day_of(day)
    assert judged(bars).score == 100
    noon = int(bars.starts[0]) + 60 * 200
    assert judged(with_bar(bars, noon)).defects == {Defect.PAUSE_BARS: 1}


def test_an_outlier_comes_back_and_a_real_move_does_not():
    spike, jump = day_of(), day_of()
    spike.high[100] *= 1.2
    found = judged(spike)
    assert found.defects == {Defect.OUTLIERS: 1} and found.untrusted == 1
    assert list(found.doubts) == [int(spike.starts[100])]
    for name in ("open", "high", "low", "close"):
        getattr(jump, name)[100:] *= 1.2
    assert Defect.OUTLIERS not in judged(jump).defects


def test_an_outlier_is_seen_among_prices_that_stand_still():
    still = day_of()
    for name in ("open", "high", "low", "close"):
        getattr(still, name)[:] = 100.0
    assert Defect.OUTLIERS not in judged(still).defects
    still.high[200] = still.close[200] = 200.0
    assert list(judged(still).doubts) == [int(still.starts[200])]


def test_impossible_numbers_are_told():
    bars = day_of()
    bars.low[5] = bars.high[5] + 1
    assert judged(bars).defects[Defect.IMPOSSIBLE_BARS] == 1


def test_prices_with_more_digits_than_the_exchange_has():
    bars = day_of()
    bars.close[7] = np.float32(bars.close[7]) + 1e-4 * 7
    assert judged(bars).defects[Defect.FLOAT_NOISE] == 1


def test_the_first_bar_without_volume_and_a_day_without_any():
    bars = day_of()
    bars.volume[0] = 0
    assert judged(bars).defects == {Defect.ZERO_FIRST_VOLUME: 1}
    bars.volume[:] = 0
    assert judged(bars).defects == {Defect.NO_VOLUME: 1}
    assert judged(bars, is_index=True).defects == {Defect.NO_VOLUME: 1}


def test_a_bar_after_a_hole_that_holds_the_volume_of_the_hole():
    bars = day_of()
    bars.volume[60] = 50_000
    assert judged(without(bars, slice(20, 60))).defects[Defect.CATCH_UP_VOLUME] == 1
    assert Defect.CATCH_UP_VOLUME not in judged(bars).defects  # a busy minute is no catching up


def test_pre_open_volume_shows_against_the_exchanges_own_volume():
    days = [MONDAY + timedelta(days=n) for n in range(3)]
    bars = [day_of(day) for day in days]
    joined = Bars(*(np.concatenate([getattr(b, n) for b in bars])
                    for n in ("starts", "open", "high", "low", "close", "volume")))  # fmt: skip
    total = float(bars[0].volume.sum())
    found = judge_days(joined, 1, official=dict.fromkeys(days, official(bars[0], volume=total * 1.0005)))
    assert [Defect.PREOPEN_VOLUME in day.defects for day in found] == [True] * 3
    found = judge_days(joined, 1, official=dict.fromkeys(days, official(bars[0], volume=total * 1.02)))
    assert not any(day.defects for day in found)
    found = judge_days(joined, 1, official=dict.fromkeys(days, official(bars[0], volume=total * 1.5)))
    assert all(day.defects == {Defect.VOLUME_SHORT: 1} for day in found)


def test_trading_days_without_a_bar_are_reported_and_holidays_are_not():
    friday, tuesday = day_of(date(2026, 1, 23)), day_of(date(2026, 1, 28))
    joined = Bars(*(np.concatenate([getattr(friday, n), getattr(tuesday, n)])
                    for n in ("starts", "open", "high", "low", "close", "volume")))  # fmt: skip
    found = judge_days(joined, 1)
    assert [(day.day.isoformat(), day.score) for day in found] == [
        ("2026-01-23", 100), ("2026-01-27", 0), ("2026-01-28", 100),  # the 26th is Republic Day
    ]  # fmt: skip


def test_bars_are_judged_by_the_hours_of_their_own_kind():
    day = date(2026, 8, 4)

    def lookup(asked: date):
        return session_on(asked, kind=SessionKind.EQUITY_DERIVATIVE_STOCK)

    found = judged(day_of(day), session_lookup=lookup)
    assert found.expected == 360 and found.defects == {Defect.LATE_BARS: 15}


def test_a_day_that_no_calendar_knows_says_so():
    bars = day_of()
    old = Bars(bars.starts - 86_400 * 3500, *(getattr(bars, n) for n in ("open", "high", "low", "close", "volume")))
    assert Defect.UNKNOWN_DAY in judged(old).defects


def test_a_score_is_the_share_of_good_bars_less_the_weight_of_defects():
    assert score_of(expected=375, trusted=375, defects={}) == 100
    assert score_of(expected=100, trusted=50, defects={Defect.SHORT_DAY: 1}) == 40
    assert score_of(expected=100, trusted=0, defects={Defect.MISSING_DAY: 1}) == 0
