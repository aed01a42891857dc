"""What is said of bars that are not as they should be."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from trading.marketdata.builder import Bar
from trading.marketdata.quality.bars import Gap, check_bars
from trading.venue.sessions import session_on

OPEN = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)
SATURDAY = datetime(2026, 3, 21, 4, 0, tzinfo=UTC)


def bar(minute: int, *, opens: datetime = OPEN, volume: int = 10, price: str = "100", high: str | None = None) -> Bar:
    at = Decimal(price)
    return Bar("NSE:SBIN-EQ", opens + timedelta(minutes=minute), at, Decimal(high or price), at, at, volume)


def day(*lacking: int, opens: datetime = OPEN) -> list[Bar]:
    return [bar(minute, opens=opens) for minute in range(375) if minute not in lacking]


def test_a_whole_day_has_nothing_wrong():
    report = check_bars(day(), 1)
    assert (report.good, report.days, report.missing, report.gaps, report.short_days) == (375, 1, 0, 0, 0)
    assert report.suspected_label is None and not report.mixed_labels
    assert (report.first, report.last) == ("2026-02-16T03:45:00+00:00", "2026-02-16T09:59:00+00:00")


def test_missing_minutes_are_counted_in_runs():
    report = check_bars(day(0, 10, 11, 12, 374), 1)
    assert (report.missing, report.gaps) == (5, 3)
    assert report.largest_gap == Gap("2026-02-16", "09:25", 3)


def test_a_pause_of_the_exchange_is_no_gap_and_parts_two():
    session = session_on(date(2021, 2, 24))
    bars = [Bar("X", at, *[Decimal(1)] * 4, volume=1) for at in session.bar_starts(1)]
    assert check_bars(bars, 1).gaps == 0
    broken = [one for one in bars if not session.segments[0].closes_at - timedelta(minutes=2) <= one.started_at]
    broken += bars[-70:]
    report = check_bars(broken, 1)
    assert (report.missing, report.gaps) == (7, 2)


@pytest.mark.parametrize(
    ("broken", "count"),
    [
        (bar(1, price="0"), 1),
        (bar(1, price="-5"), 1),
        (bar(1, high="99"), 1),
        (bar(1, price="NaN"), 1),
        (bar(1, high="Infinity"), 1),
        (bar(1, volume=-1), 1),
        (bar(1, price="99999999999"), 1),
        (bar(1), 0),
    ],
)
def test_impossible_bars_are_bad(broken, count):
    assert check_bars([bar(0), broken], 1).bad_bars == count


def test_fault_42_the_first_of_two_bars_with_one_stamp_is_kept():
    report = check_bars([bar(0), bar(1), bar(0, price="7")], 1)
    assert (report.good, report.duplicates, report.unsorted) == (2, 1, 1)


def test_bars_outside_the_session_are_told_apart():
    strays = [bar(-6), bar(375), bar(400), bar(0, opens=SATURDAY), bar(1, opens=OPEN + timedelta(seconds=30))]
    report = check_bars(day() + strays, 1)
    assert report.out_of_session == {"pre_open": 1, "after_close": 2, "pause": 0, "closed_day": 1, "off_grid": 1}
    assert report.good == 375


def test_a_five_minute_file_is_measured_by_its_own_grid():
    bars = [bar(minute) for minute in range(0, 375, 5)] + [bar(7)]
    report = check_bars(bars, 5)
    assert (report.good, report.missing, report.out_of_session["off_grid"]) == (75, 0, 1)


def test_days_marked_at_the_end_of_each_bar_are_suspected():
    shifted = [bar(minute, opens=OPEN + timedelta(days=one)) for one in range(3) for minute in range(1, 376)]
    report = check_bars(shifted, 1)
    assert report.suspected_label == "end"
    assert not report.mixed_labels


def test_a_single_late_first_day_is_no_suspicion():
    bars = [bar(minute) for minute in range(1, 376)]
    for one in (1, 2, 3):
        bars += day(opens=OPEN + timedelta(days=one))
    report = check_bars(bars, 1)
    assert report.suspected_label is None and not report.mixed_labels


def test_start_and_end_marks_in_one_file_are_mixed():
    bars = []
    for one in range(4):
        opens = OPEN + timedelta(days=one)
        bars += [bar(minute + one % 2, opens=opens) for minute in range(375)]
    assert check_bars(bars, 1).mixed_labels


def test_first_bars_without_volume_are_counted_but_not_for_an_index():
    bars = [bar(0, volume=0), bar(1)]
    assert check_bars(bars, 1).zero_volume_first_bars == 1
    assert check_bars(bars, 1, is_index=True).zero_volume_first_bars == 0


def test_prices_of_more_than_two_decimals_are_noise():
    assert check_bars([bar(0, price="100.05"), bar(1, price="100.0501"), bar(2, price="84677.83")], 1).float_noise == 1


def test_known_days_without_bars_are_named_and_assumed_ones_are_not():
    report = check_bars(day() + day(opens=OPEN + timedelta(days=3)), 1)
    assert report.missing_days == ["2026-02-17", "2026-02-18"]
    old = OPEN.replace(year=2016, month=8, day=16)
    report = check_bars(day(opens=old) + day(opens=old + timedelta(days=6)), 1)
    assert (report.days, report.missing_days) == (2, [])


def test_a_short_day_is_counted():
    assert check_bars(day(*range(100, 111)), 1).short_days == 0
    assert check_bars(day(*range(100, 112)), 1).short_days == 1
